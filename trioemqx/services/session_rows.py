"""Sessions, subscriptions and messages as rows of the store, and back.

Times are wall time in milliseconds. What only a connection needs (its MQTT 5 CONNECT properties, what authentication
added) is not kept: the next connection brings its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from trioemqx.core.delivery import RELEASED, SENT, Delivery
from trioemqx.core.queue import size_of
from trioemqx.core.session import Session
from trioemqx.core.stored import Stored
from trioemqx.core.subscription import Subscription
from trioemqx.services.store.messages import from_row, to_row
from trioemqx.types import ClientInfo, Message, SubOpts

INFO_TEXTS: Final = ("clientid", "peerhost", "sockname", "socktype", "listener", "zone", "proto_name", "mountpoint")
INFO_NAMES: Final = ("username", "cn", "dn")
INFO_NUMBERS: Final = (
    "peerport",
    "sockport",
    "proto_ver",
    "keepalive",
    "expiry_interval",
    "receive_maximum",
    "connected_at",
)
INFO_FLAGS: Final = ("clean_start", "is_bridge", "is_superuser", "anonymous")
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode
"""To ASCII, so that no text can be one that a database refuses."""


def encode(value: object, now: float, wall_ms: int) -> str:
    """The row for a change of the journal. `now` and `wall_ms` are the same moment on both clocks."""
    if isinstance(value, Delivery):
        return entry_text(value)
    if isinstance(value, Stored):
        row = message_row(value, now, wall_ms)
    elif isinstance(value, Session):
        row = session_row(value, now, wall_ms)
    elif isinstance(value, Subscription):
        row = subscription_row(value)
    else:
        return _ENCODE(value)
    return _ENCODE(row)


def message_row(stored: Stored, now: float, wall_ms: int) -> dict[str, object]:
    """A message, as it is for all who get it."""
    message = stored.message
    if message is None:
        raise ValueError("the message has been let go of")
    row = to_row(message, wall_ms - int(max(0.0, now - message.received) * 1000))
    row["retain"] = message.retain
    row["retained"] = message.retained
    return row


def entry_text(delivery: Delivery) -> str:
    """The row of `queue` for a message that one session is to get; written for each of them, hence by hand."""
    size = size_of(delivery.message)
    text = f'{{"message":{delivery.number},"size":{size},"id":{delivery.packet_id},"qos":{delivery.qos}'
    if delivery.state == RELEASED:
        text += f',"released":{delivery.released}'
    if delivery.retain:
        text += ',"retain":true'
    if delivery.identifier:
        text += f',"identifier":{delivery.identifier}'
    if delivery.group:
        text += f',"group":{_ENCODE(delivery.group)},"filter":{_ENCODE(delivery.filter)}'
    return text + "}"


def delivery_from(key: str, row: Mapping[str, Any], message: Message) -> Delivery:
    """The opposite. Raises ValueError, TypeError, KeyError."""
    if row["qos"] not in (1, 2):
        raise ValueError("qos is wrong")
    group, filter = row.get("group", ""), row.get("filter", "")
    delivery = Delivery(message, row["qos"], row.get("retain") is True, row.get("identifier", 0), group, filter)
    delivery.key = key
    delivery.number = row["message"]
    delivery.packet_id = row["id"]
    if "released" in row:
        delivery.released = row["released"]
        delivery.state = RELEASED
    elif delivery.packet_id:
        delivery.state = SENT
    return delivery


def message_from(row: Mapping[str, Any], now: float, wall_ms: int) -> Message:
    """Raises ValueError for a row that is no message. A clock that went back makes no message older than it was."""
    message, at = from_row(row)
    message.received = now - max(0.0, (wall_ms - at) / 1000)
    message.retain = row.get("retain") is True
    message.retained = row.get("retained") is True
    return message


def session_row(session: Session, now: float, wall_ms: int) -> dict[str, object]:
    """A session as it is. `gone_at` is None while its client is connected."""
    info = session.info
    row: dict[str, object] = {name: getattr(info, name) for name in INFO_TEXTS + INFO_NAMES + INFO_NUMBERS + INFO_FLAGS}
    row["expiry_interval"] = session.expiry_interval
    row["created_at"] = session.created_at
    channel = session.channel
    row["gone_at"] = session.disconnected_at if channel is None else None
    will = session.will if channel is None else channel.will
    if will is not None:
        row["will"] = {**to_row(will, wall_ms), "retain": will.retain}
        if channel is None:
            row["will_at"] = wall_ms + int((session.will_at - now) * 1000)
    return row


def info_from(row: Mapping[str, Any]) -> ClientInfo:
    """The client of a session's row. Raises ValueError."""
    info = ClientInfo()
    for names, kind in ((INFO_TEXTS, str), (INFO_NUMBERS, int), (INFO_FLAGS, bool)):
        for name in names:
            if not isinstance(row.get(name), kind):
                raise ValueError(f"{name} is missing or wrong")
            setattr(info, name, row[name])
    for name in INFO_NAMES:
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is no text")
        setattr(info, name, value)
    if not isinstance(row.get("created_at"), int) or not isinstance(row.get("gone_at"), int | None):
        raise ValueError("a time is missing")
    return info


def will_from(row: Mapping[str, Any]) -> Message | None:
    """The will of a session's row. Raises ValueError."""
    kept = row.get("will")
    if kept is None:
        return None
    if not isinstance(kept, dict):
        raise ValueError("the will is no message")
    will, _ = from_row(kept)
    will.retain = kept.get("retain") is True
    will.timestamp = 0
    return will


def subscription_row(subscription: Subscription) -> dict[str, object]:
    """A subscription; `name` is what the client wrote."""
    opts = subscription.opts
    return {
        "name": subscription.name,
        "filter": subscription.filter,
        "group": subscription.group,
        "qos": opts.qos,
        "nl": opts.nl,
        "rap": opts.rap,
        "rh": opts.rh,
        "identifier": opts.identifier,
    }


def subscription_from(session: Session, key: str, row: Mapping[str, Any]) -> Subscription:
    """A session's subscription, not yet in the router. Raises ValueError."""
    texts = [row.get(name) for name in ("filter", "group", "name")]
    numbers = [row.get(name) for name in ("qos", "rh", "identifier")]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("a member is missing or wrong")
    opts = SubOpts(row["qos"], row.get("nl") is True, row.get("rap") is True, row["rh"], row["identifier"])
    subscription = Subscription(session, row["filter"], opts, row["group"], row["name"])
    subscription.key = key
    return subscription
