"""What a version cannot say is mapped or left out; what no packet can hold is a ValueError."""

from __future__ import annotations

import pytest
from packet_table import props

from trioemqx.codec.control import Auth, Connack, Connect, Disconnect, Packet, Suback, Subscribe, Unsuback
from trioemqx.codec.encode import encode, encode_ack
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, make_publish
from trioemqx.types import SubOpts


def test_reason_codes_become_return_codes_below_mqtt_5() -> None:
    assert encode(Connack(False, 0x86), 4).hex() == "20020004"
    assert encode(Connack(True, 0x87), 4).hex() == "20020005"
    assert encode(Connack(False, 0x84), 3).hex() == "20020001"
    assert encode(Connack(False, 0x87), 5).hex() == "2003008700"
    assert encode(Suback(1, [2, 0x87, 0x8F]), 4).hex() == "90050001028080"
    assert encode(Unsuback(1, [0, 0x11]), 4).hex() == "b0020001"
    assert encode(Disconnect(0x8E), 4).hex() == "e000"
    assert encode(Ack(PUBACK, 1, 0x87), 4).hex() == "40020001"


def test_session_present_is_reserved_in_mqtt_3_1() -> None:
    assert encode(Connack(True), 3).hex() == "20020000"
    assert encode(Connack(True), 4).hex() == "20020100"


def test_properties_are_left_out_below_mqtt_5() -> None:
    properties = props(reason_string="x")
    for packet in (
        Connack(False, 0, properties),
        Suback(1, [0], properties),
        Ack(PUBREC, 1, 0, properties),
        Disconnect(0, properties),
        make_publish("t", b"x", properties=props(content_type="x")),
    ):
        bare = encode(packet, 4)
        packet.properties = None
        assert encode(packet, 4) == bare


def test_subscription_options_are_left_out_below_mqtt_5() -> None:
    packet = Subscribe(1, [("a", SubOpts(1, True, True, 2))])
    assert encode(packet, 4).hex() == "8206000100016101"
    assert encode(packet, 5).hex() == "820700010000016" + "12d"


@pytest.mark.parametrize(
    ("kind", "code", "version", "expected"),
    [
        (PUBACK, 0, 5, "40020102"),
        (PUBREC, 0x10, 5, "5003010210"),
        (PUBREL, 0, 4, "62020102"),
        (PUBREL, 0x92, 5, "6203010292"),
        (PUBCOMP, 0x92, 4, "70020102"),
    ],
)
def test_acknowledgements_take_their_shortest_form(kind: int, code: int, version: int, expected: str) -> None:
    assert encode_ack(kind, 258, code, version).hex() == expected
    assert encode(Ack(kind, 258, code), version).hex() == expected


@pytest.mark.parametrize(
    ("packet", "version"),
    [
        (make_publish("a\0"), 4),
        (make_publish("\ud800"), 4),
        (make_publish("x" * 65536), 4),
        (Connect(clientid="x" * 65536), 4),
        (Connect(password=b"x" * 65536, username="u"), 4),
        (Auth(0x18), 4),
    ],
)
def test_what_cannot_be_written_is_a_value_error(packet: Packet, version: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(packet, version)
