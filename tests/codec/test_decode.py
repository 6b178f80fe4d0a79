"""What the packet table cannot say: strict mode, limits, the topic cache, versions, directions."""

from __future__ import annotations

import pytest
from packet_table import accepted, framed, props, wire

from trioemqx.codec import decode_publish as hot
from trioemqx.codec.control import Auth, Connack, Connect, Disconnect, Packet, Pingresp, Suback, Subscribe, Unsuback
from trioemqx.codec.decode import MAX_FILTERS, decode
from trioemqx.codec.decode_connect import connect_version
from trioemqx.codec.decode_publish import decode_ack, decode_publish
from trioemqx.codec.direction import check_from_client
from trioemqx.codec.packets import PUBREC, Ack, Publish, make_publish
from trioemqx.errors import MalformedPacket, ProtocolError


@pytest.mark.parametrize("bad", ["01", "0a", "1f", "7f", "c280", "c29f", "efb790", "efbfbe", "efbfbf", "f09fbfbe"])
def test_strict_refuses_what_the_standard_advises_against(bad: str) -> None:
    topic = bytes.fromhex(bad)
    frame = framed(0x30, len(topic).to_bytes(2, "big") + topic)
    for _ in range(2):
        assert decode(frame, 4) == make_publish(topic.decode())
        with pytest.raises(MalformedPacket) as caught:
            decode(frame, 4, strict=True)
        assert caught.value.name == "utf8_string_invalid"


def test_strict_accepts_every_other_character() -> None:
    topic = "é/温度/\u00a0/\u200b/\ue000/🌡"
    raw = topic.encode()
    assert decode(framed(0x30, len(raw).to_bytes(2, "big") + raw), 4, strict=True) == make_publish(topic)


@pytest.mark.parametrize(
    ("notation", "name"),
    [
        ("c1 00", "bad_frame_header"),
        ("0f 00", "bad_frame_header"),
        ("60 02 0001", "bad_frame_header"),
        ("c0 80 80 80 80 00", "malformed_variable_byte_integer"),
        ("30 .. 0001 ff", "utf8_string_invalid"),
        ("30 03 0009 61", "malformed_packet"),
        ("10 .. s'MQTT' 09 02", "unsupported_protocol_version"),
        ("30 .. s'a/#'", "topic_name_invalid"),
        ("82 02 0001", "protocol_error"),
    ],
)
def test_close_reasons_are_those_of_emqx(notation: str, name: str) -> None:
    with pytest.raises((MalformedPacket, ProtocolError)) as caught:
        decode(wire(notation), 4)
    assert caught.value.name == name


@pytest.mark.parametrize(("version", "head"), [(4, b"\x00\x01"), (5, b"\x00\x01\x00")])
def test_a_subscribe_has_at_most_a_thousand_filters(version: int, head: bytes) -> None:
    one = b"\x00\x01a"
    packet = decode(framed(0x82, head + (one + b"\x01") * MAX_FILTERS), version)
    assert isinstance(packet, Subscribe)
    assert len(packet.filters) == MAX_FILTERS
    with pytest.raises(ProtocolError) as caught:
        decode(framed(0x82, head + (one + b"\x01") * (MAX_FILTERS + 1)), version)
    assert caught.value.code == 0x97
    with pytest.raises(ProtocolError) as caught:
        decode(framed(0xA2, head + one * (MAX_FILTERS + 1)), version)
    assert caught.value.code == 0x97


@pytest.mark.parametrize(
    "notation",
    [
        "10 .. s'MQTT' 05 02 003c {26 s'a' s'b' 26 s'a' s'b'} s'c'",
        "10 .. s'MQTT' 05 06 003c {} s'c' {26 s'a' s'b' 26 s'a' s'b'} s'w' s'm'",
        "30 .. s't' {26 s'a' s'b' 26 s'a' s'b'}",
        "40 .. 0001 00 {26 s'a' s'b' 26 s'a' s'b'}",
        "82 .. 0001 {26 s'a' s'b' 26 s'a' s'b'} s'a' 00",
        "e0 .. 00 {26 s'a' s'b' 26 s'a' s'b'}",
    ],
)
def test_limits_on_properties_reach_every_packet(notation: str) -> None:
    frame = wire(notation)
    assert decode(frame, 5, max_users=2, max_size=14)
    for limits in ({"max_users": 1}, {"max_size": 13}):
        with pytest.raises(ProtocolError) as caught:
            decode(frame, 5, **limits)
        assert caught.value.code == 0x97


def test_equal_topics_are_one_object() -> None:
    frames = [wire("30 .. s'sensors/one' 'a'"), wire("30 .. s'sensors/one' 'b'")]
    first, second = (decode_publish(frame, 4) for frame in frames)
    assert first.topic is second.topic


def test_the_topic_cache_is_bounded_in_number_and_length() -> None:
    for number in range(hot.TOPIC_CACHE_SIZE + 10):
        decode_publish(framed(0x30, b"\0\x08" + b"%08d" % number), 4)
    assert 0 < hot.cached_topics() <= hot.TOPIC_CACHE_SIZE
    before = hot.cached_topics()
    long = b"x" * (hot.TOPIC_CACHE_LONGEST + 1)
    assert decode_publish(framed(0x30, len(long).to_bytes(2, "big") + long), 4).topic == long.decode()
    assert hot.cached_topics() == before


def test_the_longest_topic() -> None:
    long = b"x" * 65535
    assert decode_publish(framed(0x30, b"\xff\xff" + long), 4).topic == long.decode()


def test_a_payload_is_cut_out_once() -> None:
    publish = decode_publish(wire("30 .. s't' 'payload'"), 4)
    assert publish.payload == b"payload"
    assert publish.payload is publish.payload


def test_an_empty_property_block_makes_a_plain_publish() -> None:
    assert decode_publish(wire("30 .. s't' {} 'x'"), 5).plain
    assert not decode_publish(wire("30 .. s't' {01 01} 'x'"), 5).plain


def test_large_remaining_lengths() -> None:
    for size in (124, 125, 16379, 16380, 16381, 70_000):
        publish = decode_publish(framed(0x30, b"\0\x01t" + b"x" * size), 4)
        assert len(publish.payload) == size


def test_the_direct_entry_points_check_the_frame_too() -> None:
    for frame in (
        b"\x30\x82\x00" + b"x" * 129,
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x03\0\x01",
        b"\x30\x80\x80\x80\x80\x80",
        b"\x30\x04\0\x01t",
    ):
        with pytest.raises(MalformedPacket):
            decode_publish(frame, 4)
    for frame in (b"", b"\x40", b"\x40\x02\0", b"\x40\x03\0\x01", b"\x40\x02\0\x01\0", b"\x40\x80\x80\x80"):
        with pytest.raises(MalformedPacket):
            decode_ack(frame, 5)
    assert decode_ack(b"\x50\x02\x01\x02", 5) == Ack(PUBREC, 258)


def test_the_version_of_a_connect_is_known_even_when_the_rest_is_not() -> None:
    for _, version, frame, packet in accepted():
        assert connect_version(frame) == (version if isinstance(packet, Connect) else 0)
    assert connect_version(wire("10 .. s'MQTT' 05 ff")) == 5
    assert connect_version(wire("10 .. s'MQTT' 04")) == 4
    assert connect_version(wire("10 .. s'MQIsdp' 83 01")) == 3
    assert connect_version(wire("10 .. s'MQTT' 06 02")) == 0
    assert connect_version(wire("10 .. s'MQ'")) == 0
    assert connect_version(b"") == 0
    assert connect_version(b"\x10") == 0


def test_a_password_is_not_in_the_repr() -> None:
    packet = Connect(username="u", password=b"geheim")
    assert "geheim" not in repr(packet)


@pytest.mark.parametrize(
    "packet",
    [
        Connack(),
        Suback(1, [0]),
        Unsuback(1, [0]),
        Pingresp(),
        make_publish("t", properties=props(subscription_identifier=[1])),
        Disconnect(0x8B),
        Disconnect(0x8E),
        Disconnect(0, props(server_reference="elsewhere")),
        Auth(0x00, props(authentication_method="m")),
    ],
)
def test_a_client_may_not_send_what_is_the_servers(packet: Packet) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_from_client(packet)
    assert caught.value.code == 0x82


def test_a_client_may_send_the_rest() -> None:
    allowed = 0
    for _, _, _, packet in accepted():
        if isinstance(packet, (Connect, Subscribe, Ack)) or (isinstance(packet, Publish) and packet.plain):
            check_from_client(packet)
            allowed += 1
    for code in (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99):
        check_from_client(Disconnect(code))
    check_from_client(Auth(0x18))
    check_from_client(Auth(0x19))
    assert allowed > 20
