"""The hooks: each makes an event of what it sees. Only those that a rule names are ever registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from trioemqx.plugin import ClientInfo, Message, ProtocolError, SubOpts, hookimpl, matches, parse_filter

from .payload import fields
from .settings import Filters

Emit = Callable[[str, str, dict[str, object]], None]
"""Takes (action, clientid that the order is kept for, members of the event)."""
SYS: Final = "$SYS/"


class Events:
    """`rules` are topic filters by hook point, `encoding` is that of payloads, `now` gives milliseconds."""

    def __init__(self, rules: Mapping[str, Filters], encoding: str, now: Callable[[], int], emit: Emit) -> None:
        self._rules = rules
        self._encoding = encoding
        self._now = now
        self._emit = emit

    def wanted(self) -> SimpleNamespace:
        """An object with the hooks that have rules, and no others: a point that is implemented costs the broker time,
        and so it has to stay free where nobody wants its events."""
        return SimpleNamespace(**{point: getattr(self, point) for point in self._rules})

    def _wants(self, point: str, topic: str) -> bool:
        filters = self._rules[point]
        return not filters or any(matches(filter, topic) for filter in filters)

    # -- clients -----------------------------------------------------------------------------------------------------

    @hookimpl
    def client_connect(self, client: ClientInfo) -> None:
        """CONNECT has been read."""
        self._emit("client_connect", client.clientid, _connection(client))

    @hookimpl
    def client_connack(self, client: ClientInfo, reason: str) -> None:
        """A CONNACK is about to be written."""
        known = {"connected_at": client.connected_at} if client.connected_at else {}
        self._emit("client_connack", client.clientid, {**_connection(client), **known, "conn_ack": reason})

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """A client was accepted."""
        self._emit("client_connected", client.clientid, {**_connection(client), "connected_at": client.connected_at})

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        """The connection of an accepted client has ended."""
        times = {"connected_at": client.connected_at, "disconnected_at": self._now()}
        self._emit("client_disconnected", client.clientid, {**_who(client), "reason": reason, **times})

    @hookimpl
    def client_subscribe(self, client: ClientInfo, filters: list[tuple[str, SubOpts]]) -> None:
        """One event for each filter of a SUBSCRIBE."""
        for topic, opts in filters:
            self._subscription("client_subscribe", client, topic, opts=_opts(opts))

    @hookimpl
    def client_unsubscribe(self, client: ClientInfo, filters: list[tuple[str, SubOpts]]) -> None:
        """One event for each filter of an UNSUBSCRIBE, which has no options."""
        for topic, _ in filters:
            self._subscription("client_unsubscribe", client, topic, opts={})

    # -- sessions ----------------------------------------------------------------------------------------------------

    @hookimpl
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts, is_new: bool) -> None:
        """A filter was subscribed."""
        self._subscription("session_subscribed", client, filter, opts={**_opts(opts), "is_new": is_new})

    @hookimpl
    def session_unsubscribed(self, client: ClientInfo, filter: str) -> None:
        """A filter was unsubscribed."""
        self._subscription("session_unsubscribed", client, filter)

    @hookimpl
    def session_terminated(self, client: ClientInfo, reason: str) -> None:
        """A session has ended."""
        self._emit("session_terminated", client.clientid, {**_who(client), "reason": reason})

    def _subscription(self, point: str, client: ClientInfo, topic: str, **more: object) -> None:
        if self._rules[point] and not self._wants(point, _inner(topic)):
            return
        self._emit(point, client.clientid, {**_who(client), "topic": topic, **more})

    # -- messages ----------------------------------------------------------------------------------------------------

    @hookimpl
    def message_publish(self, message: Message) -> None:
        """A message is published."""
        if not message.topic.startswith(SYS) and self._wants("message_publish", message.topic):
            self._emit("message_publish", message.publisher, self._message(message))

    @hookimpl
    def message_delivered(self, client: ClientInfo, message: Message) -> None:
        """A message is about to be written to a client."""
        self._delivery("message_delivered", client, message)

    @hookimpl
    def message_acked(self, client: ClientInfo, message: Message) -> None:
        """A client has acknowledged a message."""
        self._delivery("message_acked", client, message)

    def _delivery(self, point: str, client: ClientInfo, message: Message) -> None:
        if not message.topic.startswith(SYS) and self._wants(point, message.topic):
            self._emit(point, client.clientid, {**_who(client), **self._message(message)})

    def _message(self, message: Message) -> dict[str, object]:
        return {
            "from_client_id": message.publisher,
            "from_username": message.username,
            "topic": message.topic,
            "qos": message.qos,
            "retain": message.retain,
            "ts": message.timestamp,
            **fields(message.payload, self._encoding),
        }


def _who(client: ClientInfo) -> dict[str, object]:
    return {"clientid": client.clientid, "username": client.username}


def _connection(client: ClientInfo) -> dict[str, object]:
    return {
        **_who(client),
        "ipaddress": client.peerhost,
        "keepalive": client.keepalive,
        "proto_ver": client.proto_ver,
    }


def _opts(opts: SubOpts) -> dict[str, Any]:
    return {"qos": opts.qos, "rh": opts.rh, "rap": int(opts.rap), "nl": int(opts.nl)}


def _inner(filter: str) -> str:
    """A filter without its share prefix: what rules are compared with."""
    try:
        return parse_filter(filter).filter
    except ProtocolError:
        return filter
