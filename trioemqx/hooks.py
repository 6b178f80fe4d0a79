"""Hook points, compiled: one tuple of (plugin name, function) per point, () when nobody listens.

pluggy declares, validates and orders implementations (`hookspecs`); calls go through these tuples, so a point without
listeners costs the broker one truth test. New tuples are assigned whole; a call in progress keeps the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trioemqx.errors import crash_of
from trioemqx.types import ClientInfo, Message, Properties, SubOpts

Chain = tuple[tuple[str, Callable[..., Any]], ...]
Crashed = Callable[[str, str, BaseException], None]
"""Called with (plugin, hook point, exception): log, count, and switch a repeat offender off."""

AclCall = tuple[str, Callable[..., Any], bool]
"""(plugin, function, whether it has to be awaited), for the two points of `client.check_acl` in one order."""
Slow = Callable[[str, str, float], None]
"""Called with (plugin, hook point, seconds) when a sync hook took longer than SLOW."""

SLOW: Final = 0.02
"""Seconds a sync hook may hold the event loop before somebody is told."""

Filters = list[tuple[str, SubOpts]]
"""What `client.subscribe` and `client.unsubscribe` fold over: (filter, options) in packet order."""


class Drop(Exception):
    """Raised by a `message_publish` hook: the message goes no further (EMQX: header allow_publish = false)."""


class Refuse(Exception):
    """Raised by a `client_connect` hook: the CONNECT is answered with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with 0x{code:02x}")
        self.code = code


def _forget(plugin: str, point: str, error: BaseException) -> None:
    """Default for `Hooks.crashed`: nobody has been told how to report yet."""


def _not_slow(plugin: str, point: str, seconds: float) -> None:
    """Default for `Hooks.tell_slow`."""


def _no_clock() -> float:
    """Default for `Hooks.clock`: time stands still, so nothing is slow."""
    return 0.0


class Hooks:
    """All hook points of EMQX 4.4, dots written as underscores. `clock` gives real seconds."""

    def __init__(self) -> None:
        self.crashed: Crashed = _forget
        self.clock: Callable[[], float] = _no_clock
        self.tell_slow: Slow = _not_slow
        self.timeouts: dict[str, float] = {}
        """Seconds for the async hooks of plugins that set them."""
        # async, first verdict wins; run by services.access
        self.client_authenticate: Chain = ()
        self.client_enhanced_authenticate: Chain = ()
        self.client_check_acl: Chain = ()
        self.client_check_acl_now: Chain = ()  # sync, first verdict wins
        self.acl: tuple[AclCall, ...] = ()
        self.rules_epoch = 0
        """Counts the times that access rules changed: an answer that was under way meanwhile is asked for again."""
        self.tls_handshake_psk_lookup: Chain = ()
        # sync, transform
        self.client_connect: Chain = ()
        self.client_connack: Chain = ()
        self.client_subscribe: Chain = ()
        self.client_unsubscribe: Chain = ()
        self.message_publish: Chain = ()
        self.message_delivered: Chain = ()
        # sync, notify
        self.client_connected: Chain = ()
        self.client_disconnected: Chain = ()
        self.client_check_acl_complete: Chain = ()
        self.session_created: Chain = ()
        self.session_subscribed: Chain = ()
        self.session_unsubscribed: Chain = ()
        self.session_resumed: Chain = ()
        self.session_discarded: Chain = ()
        self.session_takeovered: Chain = ()
        self.session_terminated: Chain = ()
        self.message_acked: Chain = ()
        self.message_dropped: Chain = ()
        self.delivery_dropped: Chain = ()
        self.delivery_completed: Chain = ()

    def notify(self, chain: Chain, point: str, *args: object) -> None:
        """Run a notification: every implementation is called, what it returns is ignored, a crash stays its own."""
        began = self.clock()
        for plugin, call in chain:
            try:
                call(*args)
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, point, error)
            began = self.timed(plugin, point, began)

    def timed(self, plugin: str, point: str, began: float) -> float:
        """What the clock says now; whoever took too long since `began` is told of."""
        now = self.clock()
        if now - began > SLOW:
            self.tell_slow(plugin, point, now - began)
        return now

    def run_message_publish(self, message: Message, check: Callable[[str], object]) -> Message:
        """Fold a message over `message.publish`. Raises Drop when an implementation stops it. An implementation that
        returns a new topic for which `check` raises has crashed."""
        began = self.clock()
        for plugin, call in self.message_publish:
            try:
                changed = _message(call(message), message)
                if changed.topic != message.topic:
                    check(changed.topic)
                message = changed
            except Drop:
                self.timed(plugin, "message_publish", began)
                raise
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, "message_publish", error)
            began = self.timed(plugin, "message_publish", began)
        return message

    def run_message_delivered(self, client: ClientInfo, message: Message, check: Callable[[str], object]) -> Message:
        """Fold an outgoing message over `message.delivered`; `check` as in `run_message_publish`."""
        began = self.clock()
        for plugin, call in self.message_delivered:
            try:
                changed = _message(call(client, message), message)
                if changed.topic != message.topic:
                    check(changed.topic)
                message = changed
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, "message_delivered", error)
            began = self.timed(plugin, "message_delivered", began)
        return message

    def run_client_connect(self, client: ClientInfo, properties: Properties | None) -> Properties | None:
        """Fold the CONNECT's properties over `client.connect`. Raises Refuse; a crash refuses too (0x80), because this
        point can be used to keep clients out."""
        began = self.clock()
        for plugin, call in self.client_connect:
            try:
                properties = _properties(call(client, properties), properties)
            except Refuse:
                raise
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, "client_connect", error)
                raise Refuse(0x80) from error
            began = self.timed(plugin, "client_connect", began)
        return properties

    def run_client_connack(self, client: ClientInfo, reason: str, properties: Properties) -> Properties:
        """Fold the CONNACK's properties over `client.connack`; also run for refusals."""
        began = self.clock()
        for plugin, call in self.client_connack:
            try:
                properties = _properties(call(client, reason, properties), properties) or properties
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, "client_connack", error)
            began = self.timed(plugin, "client_connack", began)
        return properties

    def run_filters(
        self,
        chain: Chain,
        point: str,
        client: ClientInfo,
        properties: Properties | None,
        filters: Filters,
        check: Callable[[str], object],
    ) -> Filters:
        """Fold the filters of a SUBSCRIBE or UNSUBSCRIBE over its point. A result of another length is refused as a
        crash, since answers are given by position; and so is one with options that MQTT does not have. A new filter for
        which `check` raises counts as a crash too, and is refused alone by whoever asked."""
        began = self.clock()
        for plugin, call in chain:
            before = [(name, opts.copy()) for name, opts in filters]
            try:
                result = call(client, properties, list(filters))
                if result is not None:
                    if len(result) != len(filters):
                        raise ValueError(f"{point} returned {len(result)} filters for {len(filters)}")
                    filters = [_filter(name, opts) for name, opts in result]
                for _, opts in filters:
                    _check_opts(opts)
            except BaseException as caught:
                filters = before
                error = crash_of(caught)
                self.crashed(plugin, point, error)
            self._check_names(plugin, point, filters, before, check)
            began = self.timed(plugin, point, began)
        return filters

    def _check_names(
        self, plugin: str, point: str, filters: Filters, before: Filters, check: Callable[[str], object]
    ) -> None:
        """Tell of a filter that an implementation made invalid. It stays, and is refused alone."""
        for index in range(len(filters)):
            name = filters[index][0]
            if name != before[index][0]:
                try:
                    check(name)
                except Exception as error:
                    self.crashed(plugin, point, error)
                    return

    def run_psk_lookup(self, identity: str) -> bytes | None:
        """Ask for the key of a TLS pre-shared-key identity; None when nobody knows it."""
        for plugin, call in self.tls_handshake_psk_lookup:
            try:
                key = call(identity)
                if key is not None:
                    return bytes(key)
            except BaseException as caught:
                error = crash_of(caught)
                self.crashed(plugin, "tls_handshake_psk_lookup", error)
                return None
        return None


def _message(result: object, before: Message) -> Message:
    """What a transforming hook gave back. TypeError, which counts as a crash, for anything but a message or None."""
    if result is None:
        return before
    if not isinstance(result, Message):
        raise TypeError(f"not a Message: {result!r:.100}")
    topic: object = result.topic
    properties: object = result.properties
    payload: object = result._payload
    if not (payload is None or isinstance(payload, bytes)):
        raise TypeError(f"a Message with payload {payload!r:.100}: expected bytes, got {type(payload).__name__}")
    if not isinstance(topic, str) or not (properties is None or isinstance(properties, Properties)):
        raise TypeError(f"a Message with topic {topic!r:.100} and properties {properties!r:.100}")
    return result


def _properties(result: object, before: Properties | None) -> Properties | None:
    if result is None:
        return before
    if not isinstance(result, Properties):
        raise TypeError(f"not Properties: {result!r:.100}")
    return result


def _filter(name: object, opts: object) -> tuple[str, SubOpts]:
    if not isinstance(name, str) or not isinstance(opts, SubOpts):
        raise TypeError(f"not a filter and its options: {name!r:.100}, {opts!r:.100}")
    return name, opts


def _check_opts(opts: SubOpts) -> None:
    """ValueError for options that no SUBSCRIBE can carry: the answer to the client would be a lie."""
    qos: object = opts.qos
    handling: object = opts.rh
    if not (isinstance(qos, int) and 0 <= qos <= 2 and isinstance(handling, int) and 0 <= handling <= 2):
        raise ValueError(f"options with qos {qos!r:.100} and rh {handling!r:.100}: expected 0, 1 or 2")
