"""Publish, subscribe and unsubscribe by HTTP, one at a time or in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from trioemqx.core.topics import parse_filter, validate_filter, validate_topic
from trioemqx.core.zone import Zone
from trioemqx.errors import ProtocolError
from trioemqx.services.roles import PUBLISHER
from trioemqx.services.web import ApiError, Call, Endpoint, Param, Params, post
from trioemqx.services.web.answers import BAD_PARAMETER, BAD_QOS, BAD_TOPIC, NOT_ONLINE, bad_params, missing
from trioemqx.services.web.call import from_base64
from trioemqx.services.web.schema import ANY, TEXT, WHOLE, record, rows
from trioemqx.types import Message, Properties, SubOpts

BAD_CLIENTID: Final = "bad clientid: must be string"
MAX_EXPIRY: Final = 0xFFFFFFFF
MAX_IDENTIFIER: Final = 0x0FFFFFFF
MAX_TEXT: Final = 65535
MAX_BATCH: Final = 10_000
TURN: Final = 100
"""Items of a batch that are done before others get their turn."""
_QOS: Final = (0, 1, 2)
_ABSENT: Final = object()
_NOTHING: Final[Mapping[str, Any]] = {}
NO_SESSION: Final = 0x80


# -- publish -----------------------------------------------------------------------------------------------------------


def publish(call: Call) -> object:
    """Publish to each topic; with `return` the ids of the messages are told."""
    ids = publish_one(call, call)
    if not call.has("return"):
        return None
    return {"msgids": ids} if call.has("topics") and not call.has("topic") else {"msgid": ids[-1]}


async def publish_batch(call: Call) -> object:
    """Publish each item; what is wrong with one is told in its place. Others get their turn in between."""
    done: list[dict[str, object]] = []
    for number, item in enumerate(batch(call), 1):
        named = item.get("topic", item.get("topics", ""))
        try:
            publish_one(call, item)
            done.append({"topic": named, "code": 0})
        except ApiError as error:
            bad = error.code == BAD_PARAMETER and error.message == "bad_params"
            done.append({"code": error.code, "message": error.message} if bad else {"topic": named, "code": error.code})
        if number % TURN == 0:
            await trio.lowlevel.checkpoint()
    return done


def publish_one(call: Call, item: Params) -> list[str]:
    """Check and publish; returns the messages' ids. Raises ApiError, before anything is published."""
    if call is not item and not isinstance(item.body, dict):
        raise bad_params()
    names = topics(item)
    if not item.has("payload"):
        raise missing()
    payload = payload_of(item)
    properties = properties_of(item)
    clientid = item.get("clientid")
    if not isinstance(clientid, str):
        raise bad_params(BAD_CLIENTID)
    zone = _zone(call)
    valid = [name for name in names if is_topic(name, zone.max_topic_levels, zone.max_topic_length)]
    if not valid:
        raise ApiError(BAD_TOPIC, "bad_topic")
    qos = item.get("qos", 0)
    if type(qos) is not int or qos not in _QOS:  # 1.0 and true are equal to 1, and no packet can carry them
        raise bad_params("bad_qos")
    retain = item.get("retain", False) is True
    broker = call.host.broker
    metrics = broker.metrics
    told = item.has("return")
    ids = []
    for name in valid:
        message = Message(name, payload, qos, retain, clientid, properties.copy() if properties is not None else None)
        metrics.inc(f"messages.qos{qos}.received")
        broker.publish(message)
        ids.append(message.id if told else "")
    return ids


def topics(item: Params) -> list[str]:
    """What stands in `topic`, or else in `topics`, between commas. Raises ApiError 108 when it is no text."""
    found = item.get("topic", _ABSENT)
    if found is _ABSENT:
        found = item.get("topics", "")
    if not isinstance(found, str):
        raise bad_params()
    return found.split(",")


def _zone(call: Call) -> Zone:
    """The zone whose limits hold for topics that come by HTTP, as they do for those of clients."""
    zone: Zone = call.host.broker.zones["default"]
    return zone


def is_topic(name: str, max_levels: int = 0, max_bytes: int = MAX_TEXT) -> bool:
    """Whether a message can be published to it."""
    try:
        name.encode("utf-8")
        validate_topic(name, max_levels, max_bytes)
    except (ProtocolError, UnicodeEncodeError):
        return False
    return True


def payload_of(item: Params) -> bytes:
    """A text as it is or from base64, anything else as JSON. Raises ApiError 108."""
    payload = item.get("payload")
    if item.get("encoding") == "base64":
        return from_base64(payload)
    if not isinstance(payload, str):
        payload = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return payload.encode("utf-8", "replace")


def properties_of(item: Params) -> Properties | None:
    """The MQTT 5 properties; None without any. Raises ApiError 108."""
    given, older = item.get("properties", _NOTHING), item.get("user_properties", _NOTHING)
    if given is older is _NOTHING:
        return None
    given = _members(given)
    users = [*_user_properties(older), *_user_properties(given.get("user_properties", _NOTHING))]
    if not given and not users:
        return None
    found = Properties()
    for name, value in given.items():
        if name == "user_properties":
            continue
        check = _CHECKS.get(name)
        if check is None:
            raise bad_params()
        attribute, checked = check(value)
        setattr(found, attribute, checked)
    if users:
        found.user_property = users
    return found


def _members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise bad_params()
    return value


def _user_properties(value: object) -> list[tuple[str, str]]:
    return [(_short(name), _short(_user_value(member))) for name, member in _members(value).items()]


def _user_value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return value
    raise bad_params()


def _short(text: object) -> str:
    """A text that fits into a property."""
    if not isinstance(text, str) or "\0" in text or len(text.encode("utf-8", "replace")) > MAX_TEXT:
        raise bad_params()
    return text


def _number(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad_params()
    return value


def _response_topic(value: object) -> tuple[str, object]:
    if not is_topic(_short(value)):
        raise bad_params()
    return "response_topic", value


_CHECKS: Final[Mapping[str, Callable[[Any], tuple[str, object]]]] = {
    "payload_format_indicator": lambda value: ("payload_format_indicator", _number(value, 0, 1)),
    "message_expiry_interval": lambda value: ("message_expiry_interval", _number(value, 0, MAX_EXPIRY)),
    "response_topic": _response_topic,
    "correlation_data": lambda value: ("correlation_data", _short(value).encode("utf-8")),
    "subscription_identifier": lambda value: ("subscription_identifier", [_number(value, 1, MAX_IDENTIFIER)]),
    "content_type": lambda value: ("content_type", _short(value)),
}


# -- subscribe and unsubscribe -----------------------------------------------------------------------------------------


def subscribe(call: Call) -> None:
    """Subscribe a client on its behalf, here or away."""
    subscribe_one(call, call)


async def subscribe_batch(call: Call) -> object:
    """Subscribe for each item."""
    return await _each(call, subscribe_one)


def subscribe_one(call: Call, item: Params) -> None:
    """Raises ApiError, before anything is subscribed."""
    names = topics(item)
    clientid = item.get("clientid")
    if not isinstance(clientid, str):
        raise bad_params(BAD_CLIENTID)
    zone = _zone(call)
    parts = [_parse(name, zone.max_topic_levels, zone.max_topic_length) for name in names]
    valid = [name for name, (usable, _) in zip(names, parts, strict=True) if usable]
    if not valid:
        raise ApiError(BAD_TOPIC, "bad_topic")
    qos = item.get("qos", 0)
    if type(qos) is not int or qos not in _QOS:
        raise ApiError(BAD_QOS, "bad_qos")
    if any(malformed for _, malformed in parts):
        raise ApiError(BAD_TOPIC, "bad_topic")
    broker = call.host.broker
    if broker.find(clientid) is None:
        raise ApiError(NOT_ONLINE, "channel_not_found")
    for name in valid:
        broker.subscribe(clientid, name, SubOpts(qos))


def unsubscribe(call: Call) -> None:
    """Remove one filter of a client; one that it does not have is no error."""
    unsubscribe_one(call, call)


async def unsubscribe_batch(call: Call) -> object:
    """Unsubscribe for each item."""
    return await _each(call, unsubscribe_one)


def unsubscribe_one(call: Call, item: Params) -> None:
    """Raises ApiError, before anything is changed."""
    clientid = item.get("clientid")
    if not isinstance(clientid, str):
        raise bad_params(BAD_CLIENTID)
    name = item.get("topic")
    if not isinstance(name, str):
        raise ApiError(BAD_TOPIC, "bad_topic")
    usable, malformed = _parse(name)
    if not usable:
        raise ApiError(BAD_TOPIC, "bad_topic")
    if malformed or call.host.broker.unsubscribe(clientid, name) == NO_SESSION:
        raise ApiError(NOT_ONLINE, "channel_not_found")


def _parse(name: str, max_levels: int = 0, max_bytes: int = MAX_TEXT) -> tuple[bool, bool]:
    """(usable as a filter, whether its `$share`, `$queue` or `$exclusive` prefix is malformed). The limits are for what
    follows the prefix."""
    try:
        name.encode("utf-8")
        validate_filter(name)
    except (ProtocolError, UnicodeEncodeError):
        return False, False
    try:
        filter = parse_filter(name).filter
    except ProtocolError:
        return True, True
    try:
        validate_filter(filter, max_levels, max_bytes)
    except ProtocolError:
        return False, False
    return True, False


async def _each(call: Call, one: Callable[[Call, Params], None]) -> list[object]:
    """Do one for each item of a batch, with time for others in between."""
    done = []
    for number, item in enumerate(batch(call), 1):
        done.append(_outcome(call, item, one))
        if number % TURN == 0:
            await trio.lowlevel.checkpoint()
    return done


def _outcome(call: Call, item: Params, one: Callable[[Call, Params], None]) -> object:
    """What became of an item of a batch."""
    clientid = item.get("clientid", "undefined")
    row = {"clientid": clientid, "topic": item.get("topic", item.get("topics", "")), "code": 0}
    try:
        one(call, item)
    except ApiError as error:
        row["code"] = error.code
    return row


def batch(call: Call) -> list[Params]:
    """The items of a batch, at most 10 000. Raises ApiError 108."""
    items = call.items()
    if len(items) > MAX_BATCH:
        raise bad_params(f"a batch has at most {MAX_BATCH} items")
    return items


_TOPIC: Final = (
    Param("topic", doc="A topic, or several between commas."),
    Param("topics", doc="The same, where `topic` is not sent."),
)
_PUBLISH: Final = (
    *_TOPIC,
    Param("clientid", doc="Whom the message is from; need not be connected.", required=True),
    Param("payload", "", "A text, or any JSON, which is sent as its text.", required=True),
    Param("encoding", doc="How a text is to be read.", enum=("plain", "base64"), default="plain"),
    Param("qos", "integer", "Quality of service.", enum=_QOS, default=0),
    Param("retain", "boolean", "Keep it for later subscribers.", default=False),
    Param("properties", "object", "MQTT 5 properties: payload_format_indicator, message_expiry_interval, "
          "response_topic, correlation_data, subscription_identifier, content_type, user_properties."),
    Param("user_properties", "object", "User properties, also for EMQX 4.3."),
    Param("return", "", "When it is there the ids of the messages are told."),
)  # fmt: skip
_CLIENT: Final = Param("clientid", doc="The client; it may be away.", required=True)
_SUBSCRIBE: Final = (*_TOPIC, _CLIENT, Param("qos", "integer", "Largest quality of service.", enum=_QOS, default=0))
_UNSUBSCRIBE: Final = (Param("topic", doc="One filter, as it was subscribed.", required=True), _CLIENT)
_OUTCOME: Final = rows(record({"clientid": ANY, "topic": ANY, "code": WHOLE}))
_IDS: Final = record({"msgid": TEXT, "msgids": rows(TEXT)}, optional=("msgid", "msgids"))
_PUBLISHED: Final = rows(record({"topic": ANY, "code": WHOLE, "message": TEXT}, optional=("topic", "message")))


def _post(name: str, handle: Any, descr: str, body: tuple[Param, ...], **more: Any) -> Endpoint:
    path, known_as = f"/mqtt/{name}", f"mqtt_{name}"
    return post(path, handle, name=known_as, descr=descr, group="mqtt", body=body, volatile=True, **more)


ENDPOINTS = (
    _post("subscribe", subscribe, "Subscribe a topic", _SUBSCRIBE, codes=(108, 112, 115, 116)),
    _post("publish", publish, "Publish a MQTT message", _PUBLISH, data=_IDS, codes=(107, 108, 115),
          roles=(PUBLISHER,)),
    _post("unsubscribe", unsubscribe, "Unsubscribe a topic", _UNSUBSCRIBE, codes=(108, 112, 115)),
    _post("subscribe_batch", subscribe_batch, "Batch subscribes topics", _SUBSCRIBE, batch=True, data=_OUTCOME,
          codes=(108,)),
    _post("publish_batch", publish_batch, "Batch publish MQTT messages", _PUBLISH, batch=True, data=_PUBLISHED,
          codes=(108,), roles=(PUBLISHER,)),
    _post("unsubscribe_batch", unsubscribe_batch, "Batch unsubscribes topics", _UNSUBSCRIBE, batch=True,
          data=_OUTCOME, codes=(108,)),
)  # fmt: skip
