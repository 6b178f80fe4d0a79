"""Every packet class, in every version that has it, written and read again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from packet_table import props

from trioemqx.codec import codes
from trioemqx.codec import packets as p
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
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import Ack, make_publish
from trioemqx.codec.properties import TABLE, U16, U32, WILL
from trioemqx.types import Properties, SubOpts

Draw = Any

text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
topic = st.text(st.characters(exclude_characters="\0+#", exclude_categories=("Cs",)), min_size=1, max_size=20)
binary = st.binary(max_size=20)
packet_id = st.integers(1, 65535)
flag = st.booleans()
versions = st.sampled_from([3, 4, 5])


@st.composite
def properties(draw: Draw, place: int) -> Properties | None:
    """Any set of properties that a packet may carry; None instead of an empty one."""
    allowed = [spec for spec in TABLE if spec.packets >> place & 1]
    chosen = draw(st.lists(st.sampled_from(allowed), unique_by=lambda spec: spec.name, max_size=6))
    found = Properties()
    for spec in chosen:
        if spec.name == "user_property":
            value = draw(st.lists(st.tuples(text, text), min_size=1, max_size=3))
        elif spec.name == "subscription_identifier":
            most = 1 if place == p.SUBSCRIBE else 3
            value = draw(st.lists(st.integers(1, 268_435_455), min_size=1, max_size=most))
        elif spec.name == "response_topic":
            value = draw(topic)
        elif spec.name in ("correlation_data", "authentication_data"):
            value = draw(binary)
        elif spec.high:
            assert spec.kind <= U32
            assert spec.kind != U16 or spec.high <= 65535
            value = draw(st.integers(spec.low, spec.high))
        else:
            value = draw(text)
        setattr(found, spec.name, value)
    if found.authentication_data is not None and found.authentication_method is None:
        found.authentication_method = "m"
    return found if chosen else None


def maybe(version: int, place: int) -> st.SearchStrategy[Properties | None]:
    return properties(place) if version == 5 else st.none()


@st.composite
def connects(draw: Draw, version: int) -> Connect:
    will = None
    if draw(flag):
        will = Will(draw(text), draw(binary), draw(st.integers(0, 2)), draw(flag), draw(maybe(version, WILL)))
    username = draw(st.none() | text)
    password = draw(st.none() | binary) if version == 5 or username is not None else None
    return Connect(
        "MQIsdp" if version == 3 else "MQTT",
        version,
        draw(flag),
        draw(flag),
        draw(st.integers(0, 65535)),
        draw(text),
        username,
        password,
        will,
        draw(maybe(version, p.CONNECT)),
    )


@st.composite
def connacks(draw: Draw, version: int) -> Connack:
    code = draw(st.sampled_from(sorted(codes.CONNACK_CODES if version == 5 else codes.CONNACK_CODES_V3)))
    present = draw(flag) and code == 0 and version > 3
    return Connack(present, code, draw(maybe(version, p.CONNACK)))


@st.composite
def publishes(draw: Draw, version: int) -> p.Publish:
    qos = draw(st.integers(0, 2))
    found = draw(maybe(version, p.PUBLISH))
    name = draw(topic)
    if found is not None and found.topic_alias is not None and draw(flag):
        name = ""
    return make_publish(
        name,
        draw(st.binary(max_size=300)),
        qos,
        draw(flag),
        draw(flag) if qos else False,
        draw(packet_id) if qos else 0,
        found,
    )


@st.composite
def acks(draw: Draw, version: int) -> Ack:
    kind = draw(st.sampled_from([p.PUBACK, p.PUBREC, p.PUBREL, p.PUBCOMP]))
    if version < 5:
        return Ack(kind, draw(packet_id))
    code = draw(st.sampled_from(sorted(codes.PUBACK_CODES if kind <= p.PUBREC else codes.PUBREL_CODES)))
    return Ack(kind, draw(packet_id), code, draw(properties(kind)))


@st.composite
def subscribes(draw: Draw, version: int) -> Subscribe:
    found = draw(maybe(version, p.SUBSCRIBE))
    identifier = found.subscription_identifier[0] if found is not None and found.subscription_identifier else 0
    filters = []
    for _ in range(draw(st.integers(1, 4))):
        name = draw(text)
        if version < 5:
            filters.append((name, SubOpts(draw(st.integers(0, 2)))))
        else:
            qos, handling = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            filters.append((name, SubOpts(qos, draw(flag), draw(flag), handling, identifier)))
    return Subscribe(draw(packet_id), filters, found)


@st.composite
def subacks(draw: Draw, version: int) -> Suback:
    allowed = sorted(codes.SUBACK_CODES if version == 5 else codes.SUBACK_CODES_V3)
    chosen = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=5))
    return Suback(draw(packet_id), chosen, draw(maybe(version, p.SUBACK)))


@st.composite
def unsubscribes(draw: Draw, version: int) -> Unsubscribe:
    filters = draw(st.lists(text, min_size=1, max_size=5))
    return Unsubscribe(draw(packet_id), filters, draw(maybe(version, p.UNSUBSCRIBE)))


@st.composite
def unsubacks(draw: Draw, version: int) -> Unsuback:
    if version < 5:
        return Unsuback(draw(packet_id))
    chosen = draw(st.lists(st.sampled_from(sorted(codes.UNSUBACK_CODES)), min_size=1, max_size=5))
    return Unsuback(draw(packet_id), chosen, draw(properties(p.UNSUBACK)))


@st.composite
def disconnects(draw: Draw, version: int) -> Disconnect:
    if version < 5:
        return Disconnect()
    return Disconnect(draw(st.sampled_from(sorted(codes.DISCONNECT_CODES))), draw(properties(p.DISCONNECT)))


@st.composite
def auths(draw: Draw, version: int) -> Auth:
    assert version == 5
    return Auth(draw(st.sampled_from(sorted(codes.AUTH_CODES))), draw(properties(p.AUTH)))


@st.composite
def any_packet(draw: Draw, version: int) -> Packet:
    kinds = [connects, connacks, publishes, acks, subscribes, subacks, unsubscribes, unsubacks, disconnects]
    if version == 5:
        kinds.append(auths)
    simple = st.sampled_from([Pingreq(), Pingresp()])
    return draw(st.one_of(simple, *(kind(version) for kind in kinds)))


@settings(max_examples=200, deadline=None)
@given(st.data(), versions)
def test_what_is_written_is_read_again(data: st.DataObject, version: int) -> None:
    packet = data.draw(any_packet(version))
    frame = encode(packet, version)
    assert decode(frame, version) == packet
    assert encode(decode(frame, version), version) == frame


@settings(max_examples=60, deadline=None)
@given(st.data(), versions, st.integers(1, 50))
def test_a_stream_of_packets_through_framer_and_decoder(data: st.DataObject, version: int, size: int) -> None:
    packets = data.draw(st.lists(any_packet(version), min_size=1, max_size=5))
    stream = b"".join(encode(packet, version) for packet in packets)
    framer = Framer(1 << 20)
    got = []
    for at in range(0, len(stream), size):
        framer.feed(stream[at : at + size])
        while (frame := framer.next_frame()) is not None:
            got.append(decode(frame, version))
    assert got == packets


@settings(max_examples=100, deadline=None)
@given(st.data(), versions)
def test_a_publish_keeps_its_frame_to_be_forwarded(data: st.DataObject, version: int) -> None:
    packet = data.draw(publishes(version))
    frame = encode(packet, version)
    read = decode(frame, version)
    assert isinstance(read, p.Publish)
    assert read.frame is frame
    assert frame[read.payload_at :] == packet.payload
    assert read.plain == (packet.properties is None)


def test_equal_means_the_same_packet() -> None:
    assert make_publish("a", b"x") == make_publish("a", b"x")
    assert make_publish("a", b"x") != make_publish("a", b"y")
    assert make_publish("a", properties=props(topic_alias=1)) != make_publish("a")
    assert Ack(p.PUBACK, 1) != Ack(p.PUBREC, 1)
