"""Any frame to its packet. Both directions decode, because tests and bridges are clients; see `direction`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.codes import (
    AUTH_CODES,
    CONNACK_CODES,
    CONNACK_CODES_V3,
    DISCONNECT_CODES,
    SUBACK_CODES,
    SUBACK_CODES_V3,
    UNSUBACK_CODES,
)
from trioemqx.codec.control import (
    Auth,
    Connack,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from trioemqx.codec.decode_connect import decode_connect
from trioemqx.codec.decode_publish import decode_ack, decode_publish
from trioemqx.codec.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PACKET_NAMES,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from trioemqx.codec.properties import MAX_PROPERTIES_SIZE, MAX_USER_PROPERTIES, decode_properties
from trioemqx.codec.wire import body_start, read_byte, read_u16, read_utf8
from trioemqx.errors import MalformedPacket, ProtocolError
from trioemqx.types import Properties, SubOpts

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILTERS: Final = 1000
"""Filters accepted in one SUBSCRIBE or UNSUBSCRIBE; more are refused with 0x97."""


def decode(
    frame: bytes,
    version: int,
    strict: bool = False,
    max_users: int = MAX_USER_PROPERTIES,
    max_size: int = MAX_PROPERTIES_SIZE,
) -> Packet:
    """The packet in a whole frame (fixed header included), or a `PacketError`; never another exception.

    `version` is 3, 4 or 5; a CONNECT brings its own. `strict` also refuses control characters and non-characters in
    strings. `max_users` and `max_size` bound each property block.
    """
    if len(frame) < 2:
        raise MalformedPacket("packet without fixed header")
    kind = frame[0] >> 4
    if kind == PUBLISH:
        return decode_publish(frame, version, strict, max_users, max_size)
    if PUBACK <= kind <= PUBCOMP:
        return decode_ack(frame, version, strict, max_users, max_size)
    if kind == 0 or (kind == AUTH and version < 5):
        raise MalformedPacket(f"packet type {kind} is reserved", "bad_frame_header")
    if frame[0] & 15 != (2 if kind in (SUBSCRIBE, UNSUBSCRIBE) else 0):
        raise MalformedPacket(f"{PACKET_NAMES[kind]} with fixed header flags {frame[0] & 15:#x}", "bad_frame_header")
    if kind == CONNECT:
        return decode_connect(frame, strict, max_users, max_size)
    body = _Body(frame, kind, version, strict, max_users, max_size)
    packet = _READERS[kind](body)
    if body.at != body.end:
        raise MalformedPacket(f"bytes after the end of {PACKET_NAMES[kind]}")
    return packet


class _Body:
    """A cursor over the variable header and payload of one frame."""

    __slots__ = ("at", "end", "frame", "kind", "max_size", "max_users", "strict", "version")

    def __init__(self, frame: bytes, kind: int, version: int, strict: bool, max_users: int, max_size: int) -> None:
        self.frame = frame
        self.kind = kind
        self.version = version
        self.strict = strict
        self.max_users = max_users
        self.max_size = max_size
        self.at = body_start(frame, version)
        self.end = len(frame)

    def byte(self) -> int:
        """The next byte."""
        value = read_byte(self.frame, self.at, self.end)
        self.at += 1
        return value

    def text(self) -> str:
        """The next string, which has to be valid UTF-8."""
        value, self.at = read_utf8(self.frame, self.at, self.end, self.strict)
        return value

    def packet_id(self) -> int:
        """Never 0 [MQTT-2.2.1-3]."""
        value = read_u16(self.frame, self.at, self.end)
        if value == 0:
            raise ProtocolError(0x82, "packet identifier is 0")
        self.at += 2
        return value

    def properties(self) -> Properties | None:
        """The property block; MQTT 3 has none."""
        if self.version < 5:
            return None
        found, self.at = decode_properties(self.frame, self.at, self.kind, self.strict, self.max_users, self.max_size)
        return found

    def code(self, allowed: frozenset[int]) -> int:
        """The next byte, one of the reason codes that are allowed here."""
        value = self.byte()
        if value not in allowed:
            raise ProtocolError(0x82, f"reason code {value:#04x} is not allowed in {PACKET_NAMES[self.kind]}")
        return value

    def codes(self, allowed: frozenset[int]) -> list[int]:
        """The rest of the packet, one code per filter."""
        if self.at == self.end:
            raise ProtocolError(0x82, f"{PACKET_NAMES[self.kind]} without codes")
        return [self.code(allowed) for _ in range(self.end - self.at)]

    def more(self, count: int) -> bool:
        """True while filters follow; at least one must come, and at most MAX_FILTERS may."""
        if self.at < self.end:
            if count == MAX_FILTERS:
                raise ProtocolError(0x97, f"more than {MAX_FILTERS} filters")
            return True
        if count == 0:
            raise ProtocolError(0x82, f"{PACKET_NAMES[self.kind]} without filters")
        return False


def _connack(body: _Body) -> Packet:
    """[MQTT5 3.2]: bits 7-1 of the first byte are reserved; a refusal never has a session [MQTT-3.2.2-6].
    MQTT 3.1 does not know "session present"."""
    flags = body.byte()
    if flags > 1:
        raise MalformedPacket("reserved CONNACK flags are set")
    code = body.code(CONNACK_CODES if body.version >= 5 else CONNACK_CODES_V3)
    if flags and code:
        raise ProtocolError(0x82, "refusing CONNACK with session present")
    return Connack(flags == 1 and body.version > 3, code, body.properties())


def _subscribe(body: _Body) -> Packet:
    """[MQTT5 3.8]: at least one filter [MQTT-3.8.3-2], each with valid options."""
    packet_id = body.packet_id()
    properties = body.properties()
    identifier = 0
    if properties is not None and properties.subscription_identifier:
        identifier = properties.subscription_identifier[0]
    filters: list[tuple[str, SubOpts]] = []
    while body.more(len(filters)):
        name = body.text()
        options = _options_v5 if body.version >= 5 else _options_v3
        filters.append((name, options(body.byte(), name, identifier)))
    return Subscribe(packet_id, filters, properties)


def _options_v3(byte: int, name: str, identifier: int) -> SubOpts:
    """The requested QoS; the upper six bits are reserved [MQTT 3.1.1, MQTT-3-8.3-4]."""
    if byte > 2:
        raise MalformedPacket(f"subscription option {byte:#04x}")
    return SubOpts(byte)


def _options_v5(byte: int, name: str, identifier: int) -> SubOpts:
    """[MQTT5 3.8.3.1]: reserved bits are malformed [MQTT-3.8.3-5]; QoS 3, Retain Handling 3 and No Local on a shared
    subscription [MQTT-3.8.3-4] are protocol errors."""
    if byte & 0xC0:
        raise MalformedPacket("reserved subscription option bits are set")
    qos = byte & 3
    retain_handling = byte >> 4 & 3
    no_local = byte & 4 == 4
    if qos == 3 or retain_handling == 3:
        raise ProtocolError(0x82, f"subscription option {byte:#04x}")
    if no_local and name.startswith("$share/"):
        raise ProtocolError(0x82, "No Local on a shared subscription")
    return SubOpts(qos, no_local, byte & 8 == 8, retain_handling, identifier)


def _suback(body: _Body) -> Packet:
    packet_id = body.packet_id()
    properties = body.properties()
    return Suback(packet_id, body.codes(SUBACK_CODES if body.version >= 5 else SUBACK_CODES_V3), properties)


def _unsubscribe(body: _Body) -> Packet:
    """[MQTT5 3.10]: at least one filter [MQTT-3.10.3-2]."""
    packet_id = body.packet_id()
    properties = body.properties()
    filters: list[str] = []
    while body.more(len(filters)):
        filters.append(body.text())
    return Unsubscribe(packet_id, filters, properties)


def _unsuback(body: _Body) -> Packet:
    packet_id = body.packet_id()
    properties = body.properties()
    return Unsuback(packet_id, body.codes(UNSUBACK_CODES) if body.version >= 5 else [], properties)


def _pingreq(body: _Body) -> Packet:
    return Pingreq()


def _pingresp(body: _Body) -> Packet:
    return Pingresp()


def _disconnect(body: _Body) -> Packet:
    """[MQTT5 3.14]: no code means 0, no property length means no properties; MQTT 3 has neither."""
    if body.version < 5 or body.at == body.end:
        return Disconnect()
    code = body.code(DISCONNECT_CODES)
    return Disconnect(code, body.properties() if body.at < body.end else None)


def _auth(body: _Body) -> Packet:
    """[MQTT5 3.15]: code and properties may only be left out together."""
    if body.at == body.end:
        return Auth()
    return Auth(body.code(AUTH_CODES), body.properties())


_READERS: Final[dict[int, Callable[[_Body], Packet]]] = {
    CONNACK: _connack,
    SUBSCRIBE: _subscribe,
    SUBACK: _suback,
    UNSUBSCRIBE: _unsubscribe,
    UNSUBACK: _unsuback,
    PINGREQ: _pingreq,
    PINGRESP: _pingresp,
    DISCONNECT: _disconnect,
    AUTH: _auth,
}
