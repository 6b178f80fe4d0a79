"""The columns of every event, made of the broker's objects when a rule asks for them.

The functions at the end are called with what the hooks give, the node's name and the time in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from trioemqx.rules.eventvalues import (
    filled,
    flags,
    given,
    headers,
    packet_properties,
    peer,
    properties_map,
    subscribed_filter,
)
from trioemqx.rules.sql.columns import Columns
from trioemqx.rules.sql.jsontext import decode_bytes
from trioemqx.rules.sql.values import UNDEFINED, Value, text_of
from trioemqx.types import ClientInfo, Message, SubOpts

Getter = Callable[[Any], Value]


class EventColumns(Columns):
    """`getters` are the columns of an event and how to get each; they get this object."""

    __slots__ = ("client", "message", "node", "now", "reason", "what")
    getters: ClassVar[dict[str, Getter]] = {}

    def __init__(
        self,
        node: str,
        now: int,
        message: Message | None = None,
        client: ClientInfo | None = None,
        reason: str = "",
        what: Any = None,
    ) -> None:
        super().__init__(None, client.clientid if client is not None else message.publisher if message else "")
        self.node = node
        self.now = now
        self.message = message
        self.client = client
        self.reason = reason
        self.what = what

    def __missing__(self, name: str) -> Value:
        getter = self.getters.get(name)
        if getter is None:
            return UNDEFINED
        value = self[name] = getter(self)
        return value

    def everything(self) -> dict[str, Value]:
        """All columns in their order."""
        return {name: self[name] for name in self.getters}

    def _decode(self) -> Value:
        message = self.message
        return UNDEFINED if message is None else decode_bytes(message.payload)


# -- columns -----------------------------------------------------------------------------------------------------------

_TIME: Final[dict[str, Getter]] = {"timestamp": lambda e: e.now, "node": lambda e: e.node}
_REASON: Final[dict[str, Getter]] = {"reason": lambda e: e.reason}
_ID: Final[dict[str, Getter]] = {"id": lambda e: e.message.id}
_FROM: Final[dict[str, Getter]] = {
    "from_clientid": lambda e: filled(e.message.publisher),
    "from_username": lambda e: given(e.message.username),
}
_PUBLISHER: Final[dict[str, Getter]] = {
    "clientid": lambda e: filled(e.message.publisher),
    "username": lambda e: given(e.message.username),
    "payload": lambda e: text_of(e.message.payload),
    "peerhost": lambda e: filled(e.message.peerhost),
}
_CLIENT: Final[dict[str, Getter]] = {
    "clientid": lambda e: e.client.clientid,
    "username": lambda e: given(e.client.username),
}
_RECEIVER: Final[dict[str, Getter]] = {
    **_CLIENT,
    "payload": lambda e: text_of(e.message.payload),
    "peerhost": lambda e: filled(e.client.peerhost),
}
_MESSAGE: Final[dict[str, Getter]] = {
    "topic": lambda e: e.message.topic,
    "qos": lambda e: e.message.qos,
    "flags": flags,
    "headers": headers,
    "publish_received_at": lambda e: e.message.timestamp,
    "pub_props": lambda e: properties_map(e.message.properties),
}
_SOCKETS: Final[dict[str, Getter]] = {
    "peername": lambda e: e.client.peername,
    "sockname": lambda e: peer(e.client.sockname, e.client.sockport),
    "proto_name": lambda e: e.client.proto_name,
    "proto_ver": lambda e: e.client.proto_ver,
}
_CONNECT: Final[dict[str, Getter]] = {
    "keepalive": lambda e: e.client.keepalive,
    "clean_start": lambda e: e.client.clean_start,
    "expiry_interval": lambda e: e.client.expiry_interval,
    "connected_at": lambda e: e.client.connected_at or UNDEFINED,
    "conn_props": lambda e: properties_map(e.client.properties),
}
_PEERHOST: Final[dict[str, Getter]] = {"peerhost": lambda e: filled(e.client.peerhost)}
_FILTER: Final[dict[str, Getter]] = {"topic": subscribed_filter, "qos": lambda e: e.what[1].qos}


def _columns(event: str, *parts: dict[str, Getter]) -> dict[str, Getter]:
    getters: dict[str, Getter] = {"event": lambda e: event}
    for part in (*parts, _TIME):
        getters.update(part)
    return getters


class Published(EventColumns):
    """A published message."""

    __slots__ = ()
    getters = _columns("message.publish", _ID, _PUBLISHER, _MESSAGE)


class Delivered(EventColumns):
    """A message that is handed to a subscriber."""

    __slots__ = ()
    getters = _columns("message.delivered", _ID, _FROM, _RECEIVER, _MESSAGE)


class Acked(EventColumns):
    """A message that a subscriber has acknowledged."""

    __slots__ = ()
    getters = _columns("message.acked", _ID, _FROM, _RECEIVER, _MESSAGE, {"puback_props": packet_properties})


class Dropped(EventColumns):
    """A message that went to nobody."""

    __slots__ = ()
    getters = _columns("message.dropped", _ID, _REASON, _PUBLISHER, _MESSAGE)


class DeliveryDropped(EventColumns):
    """A message that a subscriber does not get."""

    __slots__ = ()
    getters = _columns("delivery.dropped", _ID, _REASON, _FROM, _RECEIVER, _MESSAGE)


class Connected(EventColumns):
    """A client that has connected."""

    __slots__ = ()
    getters = _columns(
        "client.connected",
        _CLIENT,
        {"mountpoint": lambda e: filled(e.client.mountpoint)},
        _SOCKETS,
        _CONNECT,
        {"receive_maximum": lambda e: e.client.receive_maximum, "is_bridge": lambda e: e.client.is_bridge},
    )


class Disconnected(EventColumns):
    """A client whose connection has ended."""

    __slots__ = ()
    getters = _columns(
        "client.disconnected",
        _REASON,
        _CLIENT,
        _SOCKETS,
        {"disconnected_at": lambda e: e.now, "disconn_props": packet_properties},
    )


class Connack(EventColumns):
    """The answer to a CONNECT."""

    __slots__ = ()
    getters = _columns("client.connack", {"reason_code": lambda e: e.reason}, _CLIENT, _SOCKETS, _CONNECT)


class AclChecked(EventColumns):
    """A decision about an access: `what` is (action, topic, allowed, from cache)."""

    __slots__ = ()
    getters = _columns(
        "client.check_acl_complete",
        _CLIENT,
        _PEERHOST,
        {
            "topic": lambda e: e.what[1],
            "action": lambda e: e.what[0],
            "is_cache": lambda e: e.what[3],
            "result": lambda e: "allow" if e.what[2] else "deny",
        },
    )


class Subscribed(EventColumns):
    """A subscription: `what` is (filter, options)."""

    __slots__ = ()
    getters = _columns("session.subscribed", _CLIENT, _PEERHOST, _FILTER, {"sub_props": packet_properties})


class Unsubscribed(EventColumns):
    """A subscription that was given up: `what` is (filter, options)."""

    __slots__ = ()
    getters = _columns("session.unsubscribed", _CLIENT, _PEERHOST, _FILTER, {"unsub_props": packet_properties})


CLASSES: Final[dict[str, type[EventColumns]]] = {
    "message_publish": Published,
    "message_delivered": Delivered,
    "message_acked": Acked,
    "message_dropped": Dropped,
    "delivery_dropped": DeliveryDropped,
    "client_connected": Connected,
    "client_disconnected": Disconnected,
    "client_connack": Connack,
    "session_subscribed": Subscribed,
    "session_unsubscribed": Unsubscribed,
    "client_check_acl_complete": AclChecked,
}
"""The columns of events by their names in `events`."""

# -- from hooks --------------------------------------------------------------------------------------------------------


def published(message: Message, node: str, now: int) -> Columns:
    """For `message_publish`."""
    return Published(node, now, message)


def delivered(client: ClientInfo, message: Message, node: str, now: int) -> Columns:
    """For `message_delivered`."""
    return Delivered(node, now, message, client)


def acked(client: ClientInfo, message: Message, node: str, now: int) -> Columns:
    """For `message_acked`."""
    return Acked(node, now, message, client)


def dropped(message: Message, reason: str, node: str, now: int) -> Columns:
    """For `message_dropped`."""
    return Dropped(node, now, message, reason=reason)


def delivery_dropped(client: ClientInfo, message: Message, reason: str, node: str, now: int) -> Columns:
    """For `delivery_dropped`."""
    return DeliveryDropped(node, now, message, client, reason)


def connected(client: ClientInfo, node: str, now: int) -> Columns:
    """For `client_connected`."""
    return Connected(node, now, client=client)


def disconnected(client: ClientInfo, reason: str, node: str, now: int) -> Columns:
    """For `client_disconnected`."""
    return Disconnected(node, now, client=client, reason=reason)


def connack(client: ClientInfo, reason: str, node: str, now: int) -> Columns:
    """For `client_connack`."""
    return Connack(node, now, client=client, reason=reason)


def acl_checked(
    client: ClientInfo, action: str, topic: str, allowed: bool, from_cache: bool, node: str, now: int
) -> Columns:
    """For `client_check_acl_complete`."""
    return AclChecked(node, now, client=client, what=(action, topic, allowed, from_cache))


def subscribed(client: ClientInfo, filter: str, opts: SubOpts, node: str, now: int) -> Columns:
    """For `session_subscribed`."""
    return Subscribed(node, now, client=client, what=(filter, opts))


def unsubscribed(client: ClientInfo, filter: str, opts: SubOpts, node: str, now: int) -> Columns:
    """For `session_unsubscribed`."""
    return Unsubscribed(node, now, client=client, what=(filter, opts))
