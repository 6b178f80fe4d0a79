"""PUBLISH and the PUBACK family, the packets that come by the million. Compiled; also fast interpreted.

Topics repeat, so a bounded cache from bytes to validated `str` saves decoding and checking them, and gives every later
dictionary lookup the same object with its hash already known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.codes import PUBACK_CODES, PUBREL_CODES
from trioemqx.codec.packets import PUBREC, PUBREL, Ack, Publish
from trioemqx.codec.properties import MAX_PROPERTIES_SIZE, MAX_USER_PROPERTIES, decode_properties
from trioemqx.codec.wire import body_start, decode_text, read_u16
from trioemqx.errors import MalformedPacket, ProtocolError

if TYPE_CHECKING:
    from trioemqx.types import Properties

TOPIC_CACHE_SIZE: Final = 16_384
TOPIC_CACHE_LONGEST: Final = 256
"""Longer topics (bytes) are not cached, so that the two caches together stay below some 20 MB whatever peers send."""

_topics: Final[dict[bytes, str]] = {}
_strict_topics: Final[dict[bytes, str]] = {}


def decode_publish(
    frame: bytes,
    version: int,
    strict: bool = False,
    max_users: int = MAX_USER_PROPERTIES,
    max_size: int = MAX_PROPERTIES_SIZE,
) -> Publish:
    """A whole PUBLISH frame [MQTT5 3.3].

    0x81 for DUP at QoS 0 [MQTT-3.3.1-2], QoS 3 [MQTT-3.3.1-4] and unreadable bytes; 0x82 for packet identifier 0
    [MQTT-2.2.1-3] and for an empty topic without alias; 0x90 for wildcards in the topic [MQTT-3.3.2-2]; 0x94 for
    alias 0.
    """
    size = len(frame)
    if size < 4:
        raise MalformedPacket("PUBLISH without topic")
    at = 2
    if frame[1] + 2 != size or size > 129:
        at = body_start(frame, version)
        if at + 2 > size:
            raise MalformedPacket("PUBLISH without topic")
    flags = frame[0]
    end = at + 2 + (frame[at] << 8 | frame[at + 1])
    if end > size:
        raise MalformedPacket("topic reaches past the packet")
    raw = frame[at + 2 : end]
    topic = (_strict_topics if strict else _topics).get(raw)
    if topic is None:
        topic = _new_topic(raw, version, strict)
    qos = flags >> 1 & 3
    packet_id = 0
    if qos == 0:
        if flags & 8:
            raise MalformedPacket("DUP at QoS 0")
    else:
        packet_id = _packet_id(frame, end, size, qos)
        end += 2
    properties: Properties | None = None
    if version >= 5:
        if end < size and frame[end] == 0:
            end += 1
        else:
            properties, end = decode_properties(frame, end, 3, strict, max_users, max_size)
        if not topic and (properties is None or properties.topic_alias is None):
            raise ProtocolError(0x82, "empty topic without topic alias")
    return Publish(topic, qos, flags & 1 == 1, flags & 8 == 8, packet_id, properties, frame, end)


def _packet_id(frame: bytes, at: int, size: int, qos: int) -> int:
    if qos == 3:
        raise MalformedPacket("QoS 3")
    packet_id = read_u16(frame, at, size)
    if packet_id == 0:
        raise ProtocolError(0x82, "packet identifier is 0")
    return packet_id


def _new_topic(raw: bytes, version: int, strict: bool) -> str:
    """Validate a topic that is not cached yet, and cache it."""
    if not raw:
        if version >= 5:
            return ""
        raise ProtocolError(0x90, "empty topic")  # [MQTT-4.7.3-1]
    topic = decode_text(raw, strict)
    if "+" in topic or "#" in topic:
        raise ProtocolError(0x90, "topic contains a wildcard")
    if len(raw) <= TOPIC_CACHE_LONGEST:
        cache = _strict_topics if strict else _topics
        if len(cache) >= TOPIC_CACHE_SIZE:
            cache.clear()
        cache[raw] = topic
    return topic


def cached_topics() -> int:
    """Topics in both caches now."""
    return len(_topics) + len(_strict_topics)


def decode_ack(
    frame: bytes,
    version: int,
    strict: bool = False,
    max_users: int = MAX_USER_PROPERTIES,
    max_size: int = MAX_PROPERTIES_SIZE,
) -> Ack:
    """A whole PUBACK, PUBREC, PUBREL or PUBCOMP frame [MQTT5 3.4-3.7].

    0x81 for wrong flags [MQTT-2.1.3-1] and unreadable bytes; 0x82 for packet identifier 0 and an unknown reason code.
    """
    size = len(frame)
    if size < 4:
        raise MalformedPacket("acknowledgement without packet identifier")
    kind = frame[0] >> 4
    if frame[0] & 15 != (2 if kind == PUBREL else 0):
        raise MalformedPacket("fixed header flags are wrong", "bad_frame_header")
    at = 2
    if size > 4 or frame[1] != 2:
        at = body_start(frame, version)
    packet_id = read_u16(frame, at, size)
    if packet_id == 0:
        raise ProtocolError(0x82, "packet identifier is 0")
    if at + 2 == size:
        return Ack(kind, packet_id)
    if version < 5:
        raise MalformedPacket("acknowledgement is too long")
    code = frame[at + 2]
    if code not in (PUBACK_CODES if kind <= PUBREC else PUBREL_CODES):
        raise ProtocolError(0x82, f"reason code {code:#04x} is not allowed here")
    if at + 3 == size:
        return Ack(kind, packet_id, code)
    properties, end = decode_properties(frame, at + 3, kind, strict, max_users, max_size)
    if end != size:
        raise MalformedPacket("bytes after the properties")
    return Ack(kind, packet_id, code, properties)
