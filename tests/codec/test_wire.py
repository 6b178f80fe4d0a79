"""The data types of [MQTT5 1.5], and that no reader looks past the end it was given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.codec.wire import (
    VARINT_MAX,
    body_start,
    decode_text,
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
from trioemqx.errors import MalformedPacket

# [MQTT5 table 1-1]: the border values of each length
BORDERS = [
    (0, "00"),
    (127, "7f"),
    (128, "8001"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2_097_151, "ffff7f"),
    (2_097_152, "80808001"),
    (268_435_455, "ffffff7f"),
]


@pytest.mark.parametrize(("value", "raw"), BORDERS)
def test_variable_byte_integers(value: int, raw: str) -> None:
    data = bytes.fromhex(raw)
    assert write_varint(value) == data
    assert read_varint(b"." + data + b".", 1, 1 + len(data)) == (value, 1 + len(data))


@pytest.mark.parametrize(
    "raw", ["8000", "808000", "80808000", "ff00", "ffffff00", "8080808001", "ffffffff7f", "ffffffffff"]
)
def test_variable_byte_integers_that_are_too_long(raw: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        read_varint(bytes.fromhex(raw), 0, len(raw) // 2)
    assert caught.value.name == "malformed_variable_byte_integer"


@pytest.mark.parametrize("raw", ["", "80", "8080", "ffffff"])
def test_variable_byte_integers_that_are_not_complete(raw: str) -> None:
    with pytest.raises(MalformedPacket):
        read_varint(bytes.fromhex(raw) + b"\x01", 0, len(raw) // 2)


@given(st.integers(0, VARINT_MAX))
def test_any_variable_byte_integer(value: int) -> None:
    raw = write_varint(value)
    assert read_varint(raw, 0, len(raw)) == (value, len(raw))


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_no_other_integer_can_be_written(value: int) -> None:
    with pytest.raises(ValueError, match="variable byte integer"):
        write_varint(value)


def test_no_reader_looks_past_its_end() -> None:
    data = b"\x00\x02ab" + b"\xff" * 8
    for end in range(4):
        with pytest.raises(MalformedPacket):
            read_binary(data, 0, end)
        with pytest.raises(MalformedPacket):
            read_utf8(data, 0, end)
        with pytest.raises(MalformedPacket):
            read_u32(data, 0, end)
    for end in range(2):
        with pytest.raises(MalformedPacket):
            read_u16(data, 0, end)
    with pytest.raises(MalformedPacket):
        read_byte(data, 0, 0)
    assert read_binary(data, 0, 4) == (b"ab", 4)
    assert read_utf8(data, 0, 4) == ("ab", 4)


def test_integers() -> None:
    assert read_u16(write_u16(0xFF01), 0, 2) == 0xFF01
    assert read_u32(write_u32(0xFF010203), 0, 4) == 0xFF010203


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=100))
def test_any_string(text: str) -> None:
    raw = write_utf8(text)
    assert read_utf8(raw, 0, len(raw)) == (text, len(raw))


@given(st.binary(max_size=12))
def test_text_is_what_python_calls_utf_8_without_nul(raw: bytes) -> None:
    try:
        expected: str | None = raw.decode("utf-8")
    except UnicodeDecodeError:
        expected = None
    if expected is None or "\0" in expected:
        with pytest.raises(MalformedPacket):
            decode_text(raw)
    else:
        assert decode_text(raw) == expected


def test_fields_of_65535_bytes_are_the_longest() -> None:
    assert len(write_binary(b"x" * 65535)) == 65537
    assert len(write_utf8("é" * 32767)) == 65536
    with pytest.raises(ValueError, match="65536 bytes"):
        write_binary(b"x" * 65536)
    with pytest.raises(ValueError, match="65536 bytes"):
        write_utf8("é" * 32768)


@pytest.mark.parametrize(
    ("frame", "version", "expected"),
    [("c000", 5, 2), ("c0800000", 4, None), ("c08000", 4, 3), ("c08000", 5, None), ("c0", 4, None), ("c001", 4, None)],
)
def test_where_the_body_starts(frame: str, version: int, expected: int | None) -> None:
    raw = bytes.fromhex(frame)
    if expected is None:
        with pytest.raises(MalformedPacket):
            body_start(raw, version)
    else:
        assert body_start(raw, version) == expected
