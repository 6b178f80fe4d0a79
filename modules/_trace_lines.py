"""The hooks of traces: who is concerned by an event, and the line that tells it.

What comes from the network is escaped, so that nobody can write a line of his own into a log, and cut, so that a line
has a bounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from trioemqx.plugin import (
    ClientInfo,
    Message,
    Properties,
    ProtocolError,
    SubOpts,
    hookimpl,
    matches,
    overlaps,
    parse_filter,
)

from ._trace_files import whole
from ._trace_model import Trace, rfc3339

BEFORE_ALL: Final = 100_000
AFTER_ALL: Final = -100_000
"""Priorities: what clients send is seen as they sent it, what they get as they get it."""
LONGEST: Final = 1024
"""Characters of one value in a line."""
MOST_FILTERS: Final = 100
"""Filters of one packet that are told."""
SECRET: Final = ("authentication_data",)


class Selection:
    """The traces that are running, by what they are about."""

    def __init__(self, traces: Iterable[Trace]) -> None:
        self._clients: dict[str, list[Trace]] = {}
        self._addresses: dict[str, list[Trace]] = {}
        self._topics: list[Trace] = []
        for trace in traces:
            if trace.type == "clientid":
                self._clients.setdefault(trace.value, []).append(trace)
            elif trace.type == "ip_address":
                self._addresses.setdefault(trace.value, []).append(trace)
            else:
                self._topics.append(trace)

    def client(self, clientid: str, address: str) -> list[Trace]:
        """Those about a client or its address."""
        found = self._clients.get(clientid, ())
        more = self._addresses.get(address.partition("%")[0], ())
        return [*found, *more] if found or more else []

    def topic(self, topic: str) -> list[Trace]:
        """Those whose filter matches a topic."""
        return [trace for trace in self._topics if matches(trace.value, topic)]

    def filter(self, name: str) -> list[Trace]:
        """Those whose topics a subscription could get messages of; `name` may have a prefix."""
        if not self._topics:
            return []
        try:
            inner = parse_filter(name).filter
        except ProtocolError:
            inner = name
        return [trace for trace in self._topics if overlaps(trace.value, inner)]


class Watcher:
    """Implements the hooks and calls `put` with the traces that are concerned and the line. `payload` is how many bytes
    of a payload are shown."""

    def __init__(self, put: Callable[[list[Trace], str], None], wall: Callable[[], float], payload: int) -> None:
        self.selection = Selection(())
        self._put = put
        self._wall = wall
        self._payload = payload

    # -- clients -----------------------------------------------------------------------------------------------------

    @hookimpl(priority=BEFORE_ALL)
    def client_connect(self, client: ClientInfo, properties: Properties | None) -> None:
        """CONNECT has been read."""
        self._client(
            "client.connect",
            client,
            username=client.username,
            proto_name=client.proto_name,
            proto_ver=client.proto_ver,
            keepalive=client.keepalive,
            clean_start=client.clean_start,
            properties=properties,
        )

    @hookimpl(priority=AFTER_ALL)
    def client_connack(self, client: ClientInfo, reason: str, properties: Properties) -> None:
        """CONNACK is about to be written."""
        self._client("client.connack", client, reason=reason, properties=properties)

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """The client was accepted."""
        self._client("client.connected", client, username=client.username, expiry_interval=client.expiry_interval)

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        """The connection has ended."""
        self._client("client.disconnected", client, reason=reason)

    @hookimpl
    def client_check_acl_complete(
        self, client: ClientInfo, action: str, topic: str, allowed: bool, from_cache: bool
    ) -> None:
        """An access decision was made."""
        about = self.selection.filter(topic) if action == "subscribe" else self.selection.topic(topic)
        result = "allow" if allowed else "deny"
        self._client(
            "client.check_acl_complete", client, about, action=action, topic=topic, result=result, cached=from_cache
        )

    @hookimpl(priority=BEFORE_ALL)
    def client_subscribe(
        self, client: ClientInfo, properties: Properties | None, filters: list[tuple[str, SubOpts]]
    ) -> None:
        """SUBSCRIBE, without what is not allowed."""
        self._filters("client.subscribe", client, filters)

    @hookimpl(priority=BEFORE_ALL)
    def client_unsubscribe(
        self, client: ClientInfo, properties: Properties | None, filters: list[tuple[str, SubOpts]]
    ) -> None:
        """UNSUBSCRIBE."""
        self._filters("client.unsubscribe", client, filters)

    # -- sessions ----------------------------------------------------------------------------------------------------

    @hookimpl
    def session_created(self, client: ClientInfo) -> None:
        """A new session."""
        self._client("session.created", client)

    @hookimpl
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts, is_new: bool) -> None:
        """One filter was subscribed."""
        self._client(
            "session.subscribed", client, self.selection.filter(filter), topic=filter, is_new=is_new, **_options(opts)
        )

    @hookimpl
    def session_unsubscribed(self, client: ClientInfo, filter: str) -> None:
        """One filter was unsubscribed."""
        self._client("session.unsubscribed", client, self.selection.filter(filter), topic=filter)

    @hookimpl
    def session_resumed(self, client: ClientInfo) -> None:
        """A session goes to a new connection."""
        self._client("session.resumed", client)

    @hookimpl
    def session_discarded(self, client: ClientInfo) -> None:
        """A clean start threw it away."""
        self._client("session.discarded", client)

    @hookimpl
    def session_takeovered(self, client: ClientInfo) -> None:
        """A connection loses it to another one."""
        self._client("session.takeovered", client)

    @hookimpl
    def session_terminated(self, client: ClientInfo, reason: str) -> None:
        """It ends."""
        self._client("session.terminated", client, reason=reason)

    # -- messages ----------------------------------------------------------------------------------------------------

    @hookimpl(priority=BEFORE_ALL)
    def message_publish(self, message: Message) -> None:
        """A message is published."""
        self._message("message.publish", message)

    @hookimpl(priority=AFTER_ALL)
    def message_delivered(self, client: ClientInfo, message: Message) -> None:
        """A message is about to be written to a client."""
        self._delivery("message.delivered", client, message)

    @hookimpl
    def message_acked(self, client: ClientInfo, message: Message) -> None:
        """PUBACK or PUBREC."""
        self._delivery("message.acked", client, message)

    @hookimpl
    def message_dropped(self, message: Message, reason: str) -> None:
        """A message went to nobody, or was refused."""
        self._message("message.dropped", message, reason=reason)

    @hookimpl
    def delivery_dropped(self, client: ClientInfo, message: Message, reason: str) -> None:
        """A client does not get a message."""
        self._delivery("delivery.dropped", client, message, reason=reason)

    # -- lines -------------------------------------------------------------------------------------------------------

    def _client(self, event: str, client: ClientInfo, about: Iterable[Trace] = (), **fields: object) -> None:
        traces = [*self.selection.client(client.clientid, client.peerhost), *about]
        if traces:
            self._tell(traces, event, word(client.clientid), client.peername, fields)

    def _filters(self, event: str, client: ClientInfo, filters: list[tuple[str, SubOpts]]) -> None:
        for name, opts in filters[:MOST_FILTERS]:
            options = _options(opts) if event == "client.subscribe" else {}
            self._client(event, client, self.selection.filter(name), topic=name, **options)
        if len(filters) > MOST_FILTERS:
            self._client(event, client, more_filters=len(filters) - MOST_FILTERS)

    def _delivery(self, event: str, client: ClientInfo, message: Message, **fields: object) -> None:
        traces = self.selection.client(client.clientid, client.peerhost) + self.selection.topic(message.topic)
        if traces:
            shown = {"from": message.publisher, **self._shown(message), **fields}
            self._tell(traces, event, word(client.clientid), client.peername, shown)

    def _message(self, event: str, message: Message, **fields: object) -> None:
        about = self.selection.topic(message.topic)
        traces = about if message.sys else self.selection.client(message.publisher, message.peerhost) + about
        if traces:
            self._tell(traces, event, word(message.publisher), message.peerhost, {**self._shown(message), **fields})

    def _shown(self, message: Message) -> dict[str, object]:
        fields: dict[str, object] = {"topic": message.topic, "qos": message.qos, "retain": message.retain}
        if self._payload:
            fields["payload"] = Raw(payload_text(message.payload, self._payload))
        if message.properties is not None:
            fields["properties"] = message.properties
        return fields

    def _tell(self, traces: list[Trace], event: str, clientid: str, peer: str, fields: dict[str, object]) -> None:
        level = level_of(event, fields)
        traces = [trace for trace in traces if trace.tells(level)]
        if not traces:
            return
        parts = [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
        who = f"{clientid}@{word(peer)}" if peer else clientid
        self._put(traces, " ".join([rfc3339(self._wall(), "microseconds"), f"[{event}]", who, *parts]))


class Raw(str):
    """A text that has been escaped already."""

    __slots__ = ()


def level_of(event: str, fields: dict[str, object]) -> str:
    """How much an event matters: what was refused or lost, what clients and sessions do, single messages."""
    if event.endswith(".dropped") or fields.get("result") == "deny":
        return "warning"
    if event == "client.connack" and fields["reason"] != "success":
        return "warning"
    return "debug" if event.startswith("message.") or event == "client.check_acl_complete" else "info"


def _options(opts: SubOpts) -> dict[str, Any]:
    return {"qos": opts.qos, "nl": int(opts.nl), "rap": int(opts.rap), "rh": opts.rh}


def _value(value: object) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Properties):
        given = {name: "******" if name in SECRET else item for name, item in value.as_dict().items()}
        return _cut(repr(given))
    return word(str(value))


def word(text: str) -> str:
    """A text as it is when nobody can take it for something else, else quoted and escaped; cut when it is long."""
    if text and len(text) <= LONGEST and text.isprintable() and not any(char in " '\"=@" for char in text):
        return text
    if len(text) > LONGEST:
        return f"{text[:LONGEST]!r}...({len(text)} characters)"
    return repr(text)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}...({len(text)} characters)"


def payload_text(payload: bytes, most: int) -> str:
    """The beginning of a payload: UTF-8 text quoted and escaped, anything else in hexadecimal digits."""
    start = payload[:most]
    more = "" if len(payload) <= most else f"...({len(payload)} bytes)"
    try:
        # A character may be cut in two.
        text = start.decode("utf-8") if not more else start[: whole(start)].decode("utf-8")
    except UnicodeDecodeError:
        return f"0x{start.hex()}{more}"
    return f"{text!r}{more}"
