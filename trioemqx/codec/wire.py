"""The data types of [MQTT5 1.5]: readers that never look past `end`, and writers.

A reader takes the bytes, where to start and where the enclosing field ends, and returns the value, with the position
after it when its size varies. Everything a reader dislikes is a `MalformedPacket`.
"""

from __future__ import annotations

from typing import Final

from trioemqx.errors import MalformedPacket

VARINT_MAX: Final = 268_435_455
"""The largest variable byte integer, and so the largest remaining length [MQTT5 1.5.5]."""
FIELD_MAX: Final = 65_535
"""The largest string or binary field, in bytes [MQTT5 1.5.4, 1.5.6]."""


def read_byte(data: bytes, at: int, end: int) -> int:
    """One byte [MQTT5 1.5.1]."""
    if at >= end:
        raise MalformedPacket("packet ends inside a field")
    return data[at]


def read_u16(data: bytes, at: int, end: int) -> int:
    """A two-byte integer, high byte first [MQTT5 1.5.2]."""
    if at + 2 > end:
        raise MalformedPacket("packet ends inside a field")
    return data[at] << 8 | data[at + 1]


def read_u32(data: bytes, at: int, end: int) -> int:
    """A four-byte integer, high byte first [MQTT5 1.5.3]."""
    if at + 4 > end:
        raise MalformedPacket("packet ends inside a field")
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable byte integer of at most four bytes, in its shortest form [MQTT-1.5.5-1]."""
    value = 0
    shift = 0
    while True:
        byte = read_byte(data, at, end)
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift == 28:
            raise MalformedPacket("variable byte integer of five bytes", "malformed_variable_byte_integer")
    if shift and byte == 0:
        raise MalformedPacket("variable byte integer is longer than it needs to be", "malformed_variable_byte_integer")
    return value, at


def read_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Binary data with a two-byte length [MQTT5 1.5.6]."""
    stop = at + 2 + read_u16(data, at, end)
    if stop > end:
        raise MalformedPacket("length of a field reaches past its packet")
    return data[at + 2 : stop], stop


def read_utf8(data: bytes, at: int, end: int, strict: bool = False) -> tuple[str, int]:
    """A UTF-8 string with a two-byte length [MQTT5 1.5.4]; see `decode_text`."""
    raw, at = read_binary(data, at, end)
    return decode_text(raw, strict), at


def decode_text(raw: bytes, strict: bool = False) -> str:
    """Well-formed UTF-8 without U+0000 [MQTT-1.5.4-1, MQTT-1.5.4-2]; a leading U+FEFF stays [MQTT-1.5.4-3].

    `strict` also refuses what the standard only advises against: control characters and non-characters.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPacket("string is not well-formed UTF-8", "utf8_string_invalid") from None
    if "\0" in text:
        raise MalformedPacket("string contains U+0000", "utf8_string_invalid")
    if strict and not text.isprintable() and has_discouraged(text):
        raise MalformedPacket("string contains a control character or a non-character", "utf8_string_invalid")
    return text


def has_discouraged(text: str) -> bool:
    """True when `text` holds a control character or a Unicode non-character [MQTT5 1.5.4]."""
    for character in text:
        point = ord(character)
        if point < 0x20 or 0x7F <= point <= 0x9F or 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE:
            return True
    return False


def body_start(frame: bytes, version: int) -> int:
    """Where the variable header of a whole frame begins.

    A remaining length that is not the rest of the frame is malformed, and in MQTT 5 so is one that is not in its
    shortest form [MQTT-1.5.5-1]; MQTT 3 does not ask for the shortest form.
    """
    size = len(frame)
    remaining = 0
    at = 1
    while True:
        byte = read_byte(frame, at, size)
        remaining |= (byte & 0x7F) << (7 * (at - 1))
        at += 1
        if byte < 0x80:
            break
        if at == 5:
            raise MalformedPacket("remaining length of five bytes", "malformed_variable_byte_integer")
    if at + remaining != size:
        raise MalformedPacket("remaining length does not fit the packet")
    if byte == 0 and at > 2 and version >= 5:
        raise MalformedPacket("remaining length is longer than it needs to be", "malformed_variable_byte_integer")
    return at


def write_u16(value: int) -> bytes:
    """Two bytes, high byte first; OverflowError outside 0..65535."""
    return value.to_bytes(2, "big")


def write_u32(value: int) -> bytes:
    """Four bytes, high byte first; OverflowError when it does not fit."""
    return value.to_bytes(4, "big")


def write_varint(value: int) -> bytes:
    """The shortest form of `value`; ValueError outside 0..VARINT_MAX."""
    if not 0 <= value <= VARINT_MAX:
        raise ValueError(f"{value} does not fit a variable byte integer")
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_binary(data: bytes) -> bytes:
    """Binary data behind its two-byte length; ValueError for more than FIELD_MAX bytes."""
    if len(data) > FIELD_MAX:
        raise ValueError(f"field of {len(data)} bytes, at most {FIELD_MAX}")
    return len(data).to_bytes(2, "big") + data


def write_utf8(text: str) -> bytes:
    """ValueError for U+0000, surrogates, and more than 65 535 bytes of UTF-8."""
    if "\0" in text:
        raise ValueError("string contains U+0000")
    return write_binary(text.encode("utf-8"))
