"""MQTT 5 properties: one table says what each is called, how it is written, which values are allowed and where.

A property that its packet may not carry, an unknown one and one that cannot be read are malformed (0x81)
[MQTT5 2.2.2.2]; a repeated one and a value that is not allowed are protocol errors (0x82 unless the clause names
another code). Identifiers are variable byte integers, but all that exist are below 128, so one byte is all we read.
"""

from __future__ import annotations

from typing import Final

from trioemqx.codec.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from trioemqx.codec.wire import (
    read_binary,
    read_byte,
    read_u16,
    read_u32,
    read_utf8,
    read_varint,
    write_binary,
    write_u16,
    write_u32,
    write_utf8,
    write_varint,
)
from trioemqx.errors import MalformedPacket, ProtocolError
from trioemqx.types import Properties

WILL: Final = 16
"""Stands for the will properties inside a CONNECT where a packet type is asked for."""
MAX_USER_PROPERTIES: Final = 100
"""Pairs accepted per property block; more are refused with 0x97."""
MAX_PROPERTIES_SIZE: Final = 16 * 1024
"""Bytes accepted per property block; more are refused with 0x97."""

BYTE: Final = 1
U16: Final = 2
U32: Final = 3
VARINT: Final = 4
UTF8: Final = 5
BINARY: Final = 6
PAIR: Final = 7
TOPIC: Final = 8
"""A UTF-8 string that is a topic name: not empty, no wildcards."""


class PropertySpec:
    """One row of the table: numbers must lie in `low`..`high`, else ProtocolError `code`; `packets` is a bit set of
    packet types."""

    __slots__ = ("code", "high", "identifier", "kind", "low", "name", "packets")

    def __init__(
        self, identifier: int, name: str, kind: int, packets: list[int], low: int = 0, high: int = 0, code: int = 0x82
    ) -> None:
        self.identifier = identifier
        self.name = name
        self.kind = kind
        self.packets = 0
        for packet in packets:
            self.packets |= 1 << packet
        self.low = low
        self.high = high
        self.code = code


_ACKS: Final = [PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK]
_ALL: Final = [CONNECT, WILL, CONNACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH, *_ACKS]
_U32_MAX: Final = 0xFFFF_FFFF

TABLE: Final = [
    PropertySpec(0x01, "payload_format_indicator", BYTE, [PUBLISH, WILL], high=1),
    PropertySpec(0x02, "message_expiry_interval", U32, [PUBLISH, WILL], high=_U32_MAX),
    PropertySpec(0x03, "content_type", UTF8, [PUBLISH, WILL]),
    PropertySpec(0x08, "response_topic", TOPIC, [PUBLISH, WILL]),
    PropertySpec(0x09, "correlation_data", BINARY, [PUBLISH, WILL]),
    PropertySpec(0x0B, "subscription_identifier", VARINT, [PUBLISH, SUBSCRIBE]),
    PropertySpec(0x11, "session_expiry_interval", U32, [CONNECT, CONNACK, DISCONNECT], high=_U32_MAX),
    PropertySpec(0x12, "assigned_client_identifier", UTF8, [CONNACK]),
    PropertySpec(0x13, "server_keep_alive", U16, [CONNACK], high=0xFFFF),
    PropertySpec(0x15, "authentication_method", UTF8, [CONNECT, CONNACK, AUTH]),
    PropertySpec(0x16, "authentication_data", BINARY, [CONNECT, CONNACK, AUTH]),
    PropertySpec(0x17, "request_problem_information", BYTE, [CONNECT], high=1),
    PropertySpec(0x18, "will_delay_interval", U32, [WILL], high=_U32_MAX),
    PropertySpec(0x19, "request_response_information", BYTE, [CONNECT], high=1),
    PropertySpec(0x1A, "response_information", UTF8, [CONNACK]),
    PropertySpec(0x1C, "server_reference", UTF8, [CONNACK, DISCONNECT]),
    PropertySpec(0x1F, "reason_string", UTF8, [CONNACK, DISCONNECT, AUTH, *_ACKS]),
    PropertySpec(0x21, "receive_maximum", U16, [CONNECT, CONNACK], low=1, high=0xFFFF),
    PropertySpec(0x22, "topic_alias_maximum", U16, [CONNECT, CONNACK], high=0xFFFF),
    PropertySpec(0x23, "topic_alias", U16, [PUBLISH], low=1, high=0xFFFF, code=0x94),
    PropertySpec(0x24, "maximum_qos", BYTE, [CONNACK], high=1),
    PropertySpec(0x25, "retain_available", BYTE, [CONNACK], high=1),
    PropertySpec(0x26, "user_property", PAIR, _ALL),
    PropertySpec(0x27, "maximum_packet_size", U32, [CONNECT, CONNACK], low=1, high=_U32_MAX),
    PropertySpec(0x28, "wildcard_subscription_available", BYTE, [CONNACK], high=1),
    PropertySpec(0x29, "subscription_identifier_available", BYTE, [CONNACK], high=1),
    PropertySpec(0x2A, "shared_subscription_available", BYTE, [CONNACK], high=1),
]
_BY_IDENTIFIER: Final = {spec.identifier: spec for spec in TABLE}


def decode_properties(
    data: bytes,
    at: int,
    packet_type: int,
    strict: bool = False,
    max_users: int = MAX_USER_PROPERTIES,
    max_size: int = MAX_PROPERTIES_SIZE,
) -> tuple[Properties | None, int]:
    """The property block at `at` (its length first) and the position after it; None for an empty block.

    `packet_type` is that of the packet, or `WILL`.
    """
    size, at = read_varint(data, at, len(data))
    end = at + size
    if end > len(data):
        raise MalformedPacket("property length reaches past its packet")
    if size == 0:
        return None, at
    if size > max_size:
        raise ProtocolError(0x97, f"{size} bytes of properties, at most {max_size}")
    found = Properties()
    users: list[tuple[str, str]] = []
    bit = 1 << packet_type
    while at < end:
        spec = _BY_IDENTIFIER.get(data[at])
        if spec is None or not spec.packets & bit:
            raise MalformedPacket(f"property {data[at]:#04x} is not allowed here")
        at += 1
        if spec.kind == PAIR:
            at = _read_pair(users, data, at, end, strict, max_users)
        elif spec.kind == VARINT:
            at = _read_identifier(found, data, at, end, packet_type)
        elif getattr(found, spec.name) is not None:
            raise ProtocolError(0x82, f"{spec.name} given twice")
        elif spec.kind <= U32:
            at = _read_number(found, spec, data, at, end)
        else:
            at = _read_field(found, spec, data, at, end, strict)
    if users:
        found.user_property = users
    return found, end


def _read_number(found: Properties, spec: PropertySpec, data: bytes, at: int, end: int) -> int:
    if spec.kind == BYTE:
        value = read_byte(data, at, end)
        at += 1
    elif spec.kind == U16:
        value = read_u16(data, at, end)
        at += 2
    else:
        value = read_u32(data, at, end)
        at += 4
    if not spec.low <= value <= spec.high:
        raise ProtocolError(spec.code, f"{spec.name} is {value}")
    setattr(found, spec.name, value)
    return at


def _read_field(found: Properties, spec: PropertySpec, data: bytes, at: int, end: int, strict: bool) -> int:
    if spec.kind == BINARY:
        raw, at = read_binary(data, at, end)
        setattr(found, spec.name, raw)
        return at
    text, at = read_utf8(data, at, end, strict)
    if spec.kind == TOPIC and (not text or "+" in text or "#" in text):
        raise ProtocolError(0x82, f"{spec.name} is not a topic name")  # [MQTT-3.3.2-14]
    setattr(found, spec.name, text)
    return at


def _read_pair(users: list[tuple[str, str]], data: bytes, at: int, end: int, strict: bool, max_users: int) -> int:
    """A user property; the same name may come again and order is kept [MQTT-3.3.2-18]."""
    name, at = read_utf8(data, at, end, strict)
    value, at = read_utf8(data, at, end, strict)
    if len(users) >= max_users:
        raise ProtocolError(0x97, f"more than {max_users} user properties")
    users.append((name, value))
    return at


def _read_identifier(found: Properties, data: bytes, at: int, end: int, packet_type: int) -> int:
    """A Subscription Identifier: several in a PUBLISH, one in a SUBSCRIBE, never 0 [MQTT5 3.8.2.1.2]."""
    value, at = read_varint(data, at, end)
    if value == 0:
        raise ProtocolError(0x82, "subscription_identifier is 0")
    known = found.subscription_identifier
    if known is None:
        found.subscription_identifier = [value]
    elif packet_type == SUBSCRIBE:
        raise ProtocolError(0x82, "subscription_identifier given twice")
    else:
        known.append(value)
    return at


def encode_properties(properties: Properties | None) -> bytes:
    """The property block, its length first; ValueError for a value that cannot be written.

    Whether the packet may carry a property is up to the caller.
    """
    if properties is None:
        return b"\0"
    out: list[bytes] = []
    for spec in TABLE:
        value: object = getattr(properties, spec.name)
        if value is not None:
            _encode_one(spec, value, out)
    block = b"".join(out)
    return write_varint(len(block)) + block


def _encode_one(spec: PropertySpec, value: object, out: list[bytes]) -> None:
    tag = bytes([spec.identifier])
    if isinstance(value, int):
        if not 0 <= value <= spec.high:
            raise ValueError(f"{spec.name} is {value}, at most {spec.high}")
        out.append(tag + (write_u32(value) if spec.kind == U32 else write_u16(value)[2 - spec.kind :]))
    elif isinstance(value, str):
        out.append(tag + write_utf8(value))
    elif isinstance(value, bytes):
        out.append(tag + write_binary(value))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, int):
                out.append(tag + write_varint(item))
            else:
                out.append(tag + write_utf8(item[0]) + write_utf8(item[1]))
    else:
        raise ValueError(f"{spec.name} is {value!r}")
