"""Any packet to its frame, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trioemqx.codec.control import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from trioemqx.codec.encode_publish import encode_ack, encode_ack_packet, encode_publish
from trioemqx.codec.packets import Ack, Publish
from trioemqx.codec.properties import encode_properties
from trioemqx.codec.wire import write_binary, write_u16, write_utf8, write_varint
from trioemqx.errors import connack_return_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioemqx.types import Properties, SubOpts

__all__ = ["encode", "encode_ack", "encode_publish"]


def encode(packet: Packet, version: int) -> bytes:
    """The whole frame. `version` is 3, 4 or 5; a CONNECT uses its own.

    What a version cannot say is left out or mapped: properties and reason codes below MQTT 5, reason codes of CONNACK
    to return codes 0-5, those of SUBACK to 0x80. ValueError when a value fits no packet, or for an AUTH below MQTT 5.
    """
    return _WRITERS[type(packet)](packet, version)


def _frame(first: int, body: bytes) -> bytes:
    return bytes([first]) + write_varint(len(body)) + body


def _properties(properties: Properties | None, version: int) -> bytes:
    return encode_properties(properties) if version >= 5 else b""


def _connect(packet: Connect, version: int) -> bytes:
    version = packet.proto_ver
    will = packet.will
    flags = 0x02 if packet.clean_start else 0
    if will is not None:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    if packet.username is not None:
        flags |= 0x80
    if packet.password is not None:
        flags |= 0x40
    body = write_utf8(packet.proto_name) + bytes([version | (0x80 if packet.is_bridge else 0), flags])
    body += write_u16(packet.keepalive) + _properties(packet.properties, version) + write_utf8(packet.clientid)
    if will is not None:
        body += _will(will, version)
    if packet.username is not None:
        body += write_utf8(packet.username)
    if packet.password is not None:
        body += write_binary(packet.password)
    return _frame(0x10, body)


def _will(will: Will, version: int) -> bytes:
    return _properties(will.properties, version) + write_utf8(will.topic) + write_binary(will.payload)


def _connack(packet: Connack, version: int) -> bytes:
    """MQTT 3.1 reserves the byte that later says "session present"."""
    code = packet.code
    if version < 5 and code > 5:
        code = connack_return_code(code)
    present = packet.session_present and code == 0 and version > 3
    return _frame(0x20, bytes([present, code]) + _properties(packet.properties, version))


def _subscribe(packet: Subscribe, version: int) -> bytes:
    body = write_u16(packet.packet_id) + _properties(packet.properties, version)
    return _frame(0x82, body + b"".join(write_utf8(name) + _options(o, version) for name, o in packet.filters))


def _options(opts: SubOpts, version: int) -> bytes:
    if version < 5:
        return bytes([opts.qos])
    return bytes([opts.qos | (4 if opts.nl else 0) | (8 if opts.rap else 0) | opts.rh << 4])


def _suback(packet: Suback, version: int) -> bytes:
    codes = packet.codes if version >= 5 else [code if code <= 2 else 0x80 for code in packet.codes]
    return _frame(0x90, write_u16(packet.packet_id) + _properties(packet.properties, version) + bytes(codes))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    body = write_u16(packet.packet_id) + _properties(packet.properties, version)
    return _frame(0xA2, body + b"".join(write_utf8(name) for name in packet.filters))


def _unsuback(packet: Unsuback, version: int) -> bytes:
    codes = packet.codes if version >= 5 else []
    return _frame(0xB0, write_u16(packet.packet_id) + _properties(packet.properties, version) + bytes(codes))


def _pingreq(packet: Pingreq, version: int) -> bytes:
    return b"\xc0\0"


def _pingresp(packet: Pingresp, version: int) -> bytes:
    return b"\xd0\0"


def _disconnect(packet: Disconnect, version: int) -> bytes:
    if version < 5 or (packet.code == 0 and packet.properties is None):
        return b"\xe0\0"
    if packet.properties is None:
        return bytes([0xE0, 1, packet.code])
    return _frame(0xE0, bytes([packet.code]) + encode_properties(packet.properties))


def _auth(packet: Auth, version: int) -> bytes:
    if version < 5:
        raise ValueError("AUTH exists in MQTT 5 only")
    if packet.code == 0 and packet.properties is None:
        return b"\xf0\0"
    return _frame(0xF0, bytes([packet.code]) + encode_properties(packet.properties))


# Any: each writer takes the class it is listed under.
_WRITERS: Final[dict[type, Callable[[Any, int], bytes]]] = {
    Connect: _connect,
    Connack: _connack,
    Publish: encode_publish,
    Ack: encode_ack_packet,
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Pingreq: _pingreq,
    Pingresp: _pingresp,
    Disconnect: _disconnect,
    Auth: _auth,
}
