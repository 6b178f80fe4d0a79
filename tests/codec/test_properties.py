"""The property table, written down a second time from the standard [MQTT5 table 2-4]."""

from __future__ import annotations

import pytest
from packet_table import props, varint

from trioemqx.codec import packets as p
from trioemqx.codec.properties import WILL, decode_properties, encode_properties
from trioemqx.errors import MalformedPacket, PacketError, ProtocolError
from trioemqx.types import Properties

ACKS = {p.PUBACK, p.PUBREC, p.PUBREL, p.PUBCOMP, p.SUBACK, p.UNSUBACK}
REQUESTS = {p.CONNECT, WILL, p.CONNACK, p.PUBLISH, p.SUBSCRIBE, p.UNSUBSCRIBE, p.DISCONNECT, p.AUTH}
PLACES = sorted(ACKS | REQUESTS)

# identifier: name, an example value, its bytes, where it may stand
STANDARD: dict[int, tuple[str, object, str, set[int]]] = {
    0x01: ("payload_format_indicator", 1, "01", {p.PUBLISH, WILL}),
    0x02: ("message_expiry_interval", 258, "00000102", {p.PUBLISH, WILL}),
    0x03: ("content_type", "a", "000161", {p.PUBLISH, WILL}),
    0x08: ("response_topic", "a/b", "0003612f62", {p.PUBLISH, WILL}),
    0x09: ("correlation_data", b"\xff\x00", "0002ff00", {p.PUBLISH, WILL}),
    0x0B: ("subscription_identifier", [300], "ac02", {p.PUBLISH, p.SUBSCRIBE}),
    0x11: ("session_expiry_interval", 0xFFFFFFFF, "ffffffff", {p.CONNECT, p.CONNACK, p.DISCONNECT}),
    0x12: ("assigned_client_identifier", "x", "000178", {p.CONNACK}),
    0x13: ("server_keep_alive", 10, "000a", {p.CONNACK}),
    0x15: ("authentication_method", "m", "00016d", {p.CONNECT, p.CONNACK, p.AUTH}),
    0x16: ("authentication_data", b"", "0000", {p.CONNECT, p.CONNACK, p.AUTH}),
    0x17: ("request_problem_information", 0, "00", {p.CONNECT}),
    0x18: ("will_delay_interval", 5, "00000005", {WILL}),
    0x19: ("request_response_information", 1, "01", {p.CONNECT}),
    0x1A: ("response_information", "r", "000172", {p.CONNACK}),
    0x1C: ("server_reference", "s", "000173", {p.CONNACK, p.DISCONNECT}),
    0x1F: ("reason_string", "why", "0003776879", {p.CONNACK, p.DISCONNECT, p.AUTH} | ACKS),
    0x21: ("receive_maximum", 65535, "ffff", {p.CONNECT, p.CONNACK}),
    0x22: ("topic_alias_maximum", 0, "0000", {p.CONNECT, p.CONNACK}),
    0x23: ("topic_alias", 1, "0001", {p.PUBLISH}),
    0x24: ("maximum_qos", 1, "01", {p.CONNACK}),
    0x25: ("retain_available", 0, "00", {p.CONNACK}),
    0x26: ("user_property", [("k", "v")], "00016b000176", set(PLACES)),
    0x27: ("maximum_packet_size", 1, "00000001", {p.CONNECT, p.CONNACK}),
    0x28: ("wildcard_subscription_available", 1, "01", {p.CONNACK}),
    0x29: ("subscription_identifier_available", 1, "01", {p.CONNACK}),
    0x2A: ("shared_subscription_available", 1, "01", {p.CONNACK}),
}
REPEATABLE = {(0x26, place) for place in PLACES} | {(0x0B, p.PUBLISH)}


def block(*parts: bytes) -> bytes:
    inside = b"".join(parts)
    return varint(len(inside)) + inside


def one(identifier: int) -> bytes:
    return bytes([identifier]) + bytes.fromhex(STANDARD[identifier][2])


def test_the_table_is_complete() -> None:
    empty = Properties()
    fields = {name for name in dir(empty) if getattr(empty, name) is None}
    assert {row[0] for row in STANDARD.values()} == fields


@pytest.mark.parametrize("place", PLACES)
def test_each_property_is_read_where_it_may_stand_and_malformed_elsewhere(place: int) -> None:
    for identifier in range(256):
        if identifier in STANDARD and place in STANDARD[identifier][3]:
            name, value, _, _ = STANDARD[identifier]
            data = b"before" + block(one(identifier)) + b"after"
            found, at = decode_properties(data, 6, place)
            assert found == props(**{name: value})
            assert data[at:] == b"after"
        else:
            tail = bytes.fromhex(STANDARD[identifier][2]) if identifier in STANDARD else b"\0\0"
            with pytest.raises(MalformedPacket) as caught:
                decode_properties(block(bytes([identifier]) + tail), 0, place)
            assert caught.value.code == 0x81


@pytest.mark.parametrize("place", PLACES)
def test_a_repeated_property_is_a_protocol_error_unless_the_standard_allows_it(place: int) -> None:
    for identifier, (name, value, _, places) in STANDARD.items():
        if place not in places:
            continue
        data = block(one(identifier), one(identifier))
        if (identifier, place) in REPEATABLE:
            found, _ = decode_properties(data, 0, place)
            assert isinstance(value, list)
            assert found == props(**{name: value * 2})
        else:
            with pytest.raises(ProtocolError) as caught:
                decode_properties(data, 0, place)
            assert caught.value.code == 0x82, name


def test_a_property_cut_short_is_malformed_even_when_bytes_follow_the_block() -> None:
    cuts = 0
    for identifier, (name, _, _, places) in STANDARD.items():
        whole = one(identifier)
        for size in range(1, len(whole)):
            cuts += 1
            with pytest.raises(MalformedPacket):
                decode_properties(block(whole[:size]) + b"\0" * 10, 0, min(places))
            assert name
    assert cuts > 60


def test_a_longer_property_is_taken_as_the_next_identifier() -> None:
    for identifier, (_, _, _, places) in STANDARD.items():
        with pytest.raises(MalformedPacket):
            decode_properties(block(one(identifier), b"\0"), 0, min(places))


@pytest.mark.parametrize(
    "length", ["", "80", "8080", "ff", "01", "8000", "808000", "80808000", "8080808001", "ffffffff7f"]
)
def test_a_bad_property_length_is_malformed(length: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_properties(bytes.fromhex(length), 0, p.PUBLISH)


def test_an_identifier_in_two_bytes_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        decode_properties(block(bytes.fromhex("8100 01")), 0, p.PUBLISH)


def test_an_empty_block_is_no_properties() -> None:
    assert decode_properties(b"\0rest", 0, p.PUBLISH) == (None, 1)
    assert encode_properties(None) == b"\0"
    assert encode_properties(Properties()) == b"\0"


def test_too_many_user_properties_are_refused() -> None:
    pair = bytes.fromhex("26 0000 0000")
    found, _ = decode_properties(block(pair * 100), 0, p.PUBLISH)
    assert found is not None
    assert found.user_property == [("", "")] * 100
    with pytest.raises(ProtocolError) as caught:
        decode_properties(block(pair * 101), 0, p.PUBLISH)
    assert caught.value.code == 0x97
    assert decode_properties(block(pair * 101), 0, p.PUBLISH, max_users=101)[0] is not None


def test_too_large_a_block_is_refused_before_it_is_read() -> None:
    big = block(b"\x09" + (16 * 1024).to_bytes(2, "big") + b"\xff" * 16 * 1024)
    with pytest.raises(ProtocolError) as caught:
        decode_properties(big, 0, p.PUBLISH)
    assert caught.value.code == 0x97
    assert decode_properties(big, 0, p.PUBLISH, max_size=20_000)[0] is not None


def test_strict_refuses_control_characters_in_properties() -> None:
    data = block(bytes.fromhex("03 0001 0a"))
    assert decode_properties(data, 0, p.PUBLISH)[0] == props(content_type="\n")
    with pytest.raises(MalformedPacket, match="control character"):
        decode_properties(data, 0, p.PUBLISH, strict=True)


@pytest.mark.parametrize(
    "bad",
    [
        props(topic_alias=65536),
        props(topic_alias=-1),
        props(message_expiry_interval=1 << 32),
        props(payload_format_indicator=2),
        props(subscription_identifier=[1 << 28]),
        props(content_type="a\0"),
        props(reason_string="\ud800"),
        props(correlation_data=b"x" * 65536),
        props(user_property=[("a" * 65536, "")]),
    ],
)
def test_what_cannot_be_written_is_a_value_error(bad: Properties) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_properties(bad)


def test_reading_is_linear_in_the_number_of_properties() -> None:
    pairs = block(bytes.fromhex("26 0001 61 0001 62") * 40_000)
    found, _ = decode_properties(pairs, 0, p.PUBLISH, max_users=40_000, max_size=1 << 20)
    assert found is not None
    assert len(found.user_property or []) == 40_000


def test_an_error_says_what_was_wrong() -> None:
    with pytest.raises(PacketError, match="topic_alias is 0"):
        decode_properties(block(bytes.fromhex("23 0000")), 0, p.PUBLISH)
