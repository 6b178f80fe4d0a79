"""CONNECT, which alone names its own version [MQTT5 3.1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.control import Connect, Will
from trioemqx.codec.packets import CONNECT
from trioemqx.codec.properties import MAX_PROPERTIES_SIZE, MAX_USER_PROPERTIES, WILL, decode_properties
from trioemqx.codec.wire import body_start, read_binary, read_byte, read_u16, read_utf8
from trioemqx.errors import MalformedPacket, PacketError, ProtocolError

if TYPE_CHECKING:
    from trioemqx.types import Properties

_VERSIONS: Final = {(b"MQIsdp", 3): 3, (b"MQTT", 4): 4, (b"MQTT", 5): 5}

_CLEAN: Final = 0x02
_WILL: Final = 0x04
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USERNAME: Final = 0x80


def connect_version(frame: bytes) -> int:
    """The version a CONNECT frame asks for, 3, 4 or 5, even when the rest of it cannot be read; 0 if it cannot be told.

    A refusal must be written in a form the client understands, also when decoding failed.
    """
    if not frame or frame[0] >> 4 != CONNECT:
        return 0
    try:
        return _protocol(frame, body_start(frame, 4))[1]
    except PacketError:
        return 0


def decode_connect(
    frame: bytes,
    strict: bool = False,
    max_users: int = MAX_USER_PROPERTIES,
    max_size: int = MAX_PROPERTIES_SIZE,
) -> Connect:
    """A whole CONNECT frame.

    An unknown protocol name or level is ProtocolError 0x84, before anything behind it is looked at [MQTT-3.1.2-2].
    Whether the client identifier and the will topic are acceptable is for the caller to say.
    """
    at = body_start(frame, 4)
    name, version, is_bridge, at = _protocol(frame, at)
    if version >= 5:
        body_start(frame, version)
    end = len(frame)
    flags = read_byte(frame, at, end)
    _check_flags(flags, version)
    connect = Connect(name, version, is_bridge, flags & _CLEAN != 0, read_u16(frame, at + 1, end))
    at += 3
    if version >= 5:
        connect.properties, at = decode_properties(frame, at, CONNECT, strict, max_users, max_size)
        _check_authentication(connect.properties)
    connect.clientid, at = read_utf8(frame, at, end, strict)
    if flags & _WILL:
        properties: Properties | None = None
        if version >= 5:
            properties, at = decode_properties(frame, at, WILL, strict, max_users, max_size)
        topic, at = read_utf8(frame, at, end, strict)
        payload, at = read_binary(frame, at, end)
        connect.will = Will(topic, payload, flags >> 3 & 3, flags & _WILL_RETAIN != 0, properties)
    if flags & _USERNAME:
        connect.username, at = read_utf8(frame, at, end, strict)
    if flags & _PASSWORD:
        connect.password, at = read_binary(frame, at, end)
    if at != end:
        raise MalformedPacket("bytes after the end of CONNECT")
    return connect


def _protocol(frame: bytes, at: int) -> tuple[str, int, bool, int]:
    """Protocol name, version, bridge mark, and the position of the connect flags."""
    end = len(frame)
    name, at = read_binary(frame, at, end)
    level = read_byte(frame, at, end)
    version = _VERSIONS.get((name, level & 0x7F))
    if version is None:
        raise ProtocolError(0x84, f"protocol level {level} of a protocol this broker does not know")
    return name.decode("ascii"), version, level >= 0x80, at + 1


def _check_flags(flags: int, version: int) -> None:
    """[MQTT-3.1.2-3] reserved bit; [MQTT-3.1.2-11..15] will flags agree, will QoS below 3; MQTT 3: no password without
    user name [MQTT 3.1.1, MQTT-3.1.2-22]."""
    if flags & 1:
        raise MalformedPacket("reserved CONNECT flag is set")
    if not flags & _WILL and flags & 0x38:
        raise MalformedPacket("will QoS or will retain without will")
    if flags & 0x18 == 0x18:
        raise MalformedPacket("will QoS 3")
    if version < 5 and flags & _PASSWORD and not flags & _USERNAME:
        raise MalformedPacket("password without user name")


def _check_authentication(properties: Properties | None) -> None:
    """Authentication Data needs an Authentication Method [MQTT5 3.1.2.11.10]."""
    if properties is None or properties.authentication_data is None:
        return
    if properties.authentication_method is None:
        raise ProtocolError(0x82, "authentication data without authentication method")
