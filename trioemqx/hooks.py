"""Hook points, compiled: one tuple of (plugin name, function) per point, () when nobody listens.

pluggy declares, validates and orders implementations (`hookspecs`); calls go through these tuples, so a point without
listeners costs the broker one truth test. New tuples are assigned whole; a call in progress keeps the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trioemqx.types import ClientInfo, Message, Properties, SubOpts

Chain = tuple[tuple[str, Callable[..., Any]], ...]
Crashed = Callable[[str, str, Exception], None]
"""Called with (plugin, hook point, exception): log, count, and switch a repeat offender off."""

Filters = list[tuple[str, SubOpts]]
"""What `client.subscribe` and `client.unsubscribe` fold over: (filter, options) in packet order."""


class Drop(Exception):
    """Raised by a `message_publish` hook: the message goes no further (EMQX: header allow_publish = false)."""


class Refuse(Exception):
    """Raised by a `client_connect` hook: the CONNECT is answered with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with 0x{code:02x}")
        self.code = code


def _forget(plugin: str, point: str, error: Exception) -> None:
    """Default for `Hooks.crashed`: nobody has been told how to report yet."""


class Hooks:
    """All hook points of EMQX 4.4, dots written as underscores."""

    def __init__(self) -> None:
        self.crashed: Crashed = _forget
        # async, first verdict wins; run by services.access
        self.client_authenticate: Chain = ()
        self.client_enhanced_authenticate: Chain = ()
        self.client_check_acl: Chain = ()
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
        for plugin, call in chain:
            try:
                call(*args)
            except Exception as error:
                self.crashed(plugin, point, error)

    def run_message_publish(self, message: Message) -> Message:
        """Fold a message over `message.publish`. Raises Drop when an implementation stops it."""
        for plugin, call in self.message_publish:
            try:
                message = _message(call(message), message)
            except Drop:
                raise
            except Exception as error:
                self.crashed(plugin, "message_publish", error)
        return message

    def run_message_delivered(self, client: ClientInfo, message: Message) -> Message:
        """Fold an outgoing message over `message.delivered`."""
        for plugin, call in self.message_delivered:
            try:
                message = _message(call(client, message), message)
            except Exception as error:
                self.crashed(plugin, "message_delivered", error)
        return message

    def run_client_connect(self, client: ClientInfo, properties: Properties | None) -> Properties | None:
        """Fold the CONNECT's properties over `client.connect`. Raises Refuse; a crash refuses too (0x80), because this
        point can be used to keep clients out."""
        for plugin, call in self.client_connect:
            try:
                properties = _properties(call(client, properties), properties)
            except Refuse:
                raise
            except Exception as error:
                self.crashed(plugin, "client_connect", error)
                raise Refuse(0x80) from error
        return properties

    def run_client_connack(self, client: ClientInfo, reason: str, properties: Properties) -> Properties:
        """Fold the CONNACK's properties over `client.connack`; also run for refusals."""
        for plugin, call in self.client_connack:
            try:
                properties = _properties(call(client, reason, properties), properties) or properties
            except Exception as error:
                self.crashed(plugin, "client_connack", error)
        return properties

    def run_filters(
        self, chain: Chain, point: str, client: ClientInfo, properties: Properties | None, filters: Filters
    ) -> Filters:
        """Fold the filters of a SUBSCRIBE or UNSUBSCRIBE over its point. A result of another length is refused as a
        crash, since answers are given by position."""
        for plugin, call in chain:
            try:
                result = call(client, properties, list(filters))
                if result is None:
                    continue
                if len(result) != len(filters):
                    raise ValueError(f"{point} returned {len(result)} filters for {len(filters)}")
                filters = [_filter(name, opts) for name, opts in result]
            except Exception as error:
                self.crashed(plugin, point, error)
        return filters


def _message(result: object, before: Message) -> Message:
    """What a transforming hook gave back. TypeError, which counts as a crash, for anything but a message or None."""
    if result is None:
        return before
    if not isinstance(result, Message):
        raise TypeError(f"not a Message: {result!r:.100}")
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
