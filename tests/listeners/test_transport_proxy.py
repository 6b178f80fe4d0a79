"""PROXY headers of both versions: read strictly, believed only when well-formed."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.errors import MalformedPacket
from trioemqx.listeners.proxy import MAX_BINARY, SIGNATURE, ProxyLayer, looks_like_proxy, read_header, refuse_proxy
from trioemqx.listeners.transport import Peer

PINGREQ = b"\xc0\x00"


def peer() -> Peer:
    return Peer("203.0.113.9", 5)


def binary(body: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + struct.pack("!H", len(value)) + value


V4 = IPv4Address("192.0.2.7").packed + IPv4Address("198.51.100.1").packed + struct.pack("!HH", 4711, 1883)
V6 = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + struct.pack("!HH", 4711, 1883)


def ssl_record(name: bytes, client: int = 0x07, verify: int = 0) -> bytes:
    return tlv(0x20, bytes((client,)) + struct.pack("!I", verify) + tlv(0x21, b"TLSv1.3") + tlv(0x22, name))


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n", "192.0.2.7", 4711),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0", 0),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n", "2001:db8::7", 4711),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 1883\r\n", "192.0.2.7", 4711),
    (b"PROXY UNKNOWN\r\n", "203.0.113.9", 5),
    (b"PROXY UNKNOWN ffff::1 what ever 99999999\r\n", "203.0.113.9", 5),
    (binary(V4), "192.0.2.7", 4711),
    (binary(V6, family=0x21), "2001:db8::7", 4711),
    (binary(V4 + tlv(0x04, b"noop") + tlv(0x01, b"h2")), "192.0.2.7", 4711),
    (binary(b"", command=0x20, family=0x00), "203.0.113.9", 5),
    (binary(V4, command=0x20), "203.0.113.9", 5),
    (binary(b"\xff" * 7, command=0x20), "203.0.113.9", 5),
    (binary(b"", family=0x00), "203.0.113.9", 5),
    (binary(b"\0" * 216, family=0x31), "203.0.113.9", 5),
    (binary(V4 + tlv(0x04, bytes(MAX_BINARY - 16 - 12 - 3))), "192.0.2.7", 4711),
]

BAD = [
    b"\x10\x0c\x00\x04MQTT",
    b"GET /mqtt HTTP/1.1\r\n",
    b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY UNKNOWN \x1b[31m\r\n",
    b"PROXY UNKNOWN \xc3\xa9\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN\r\r\n",
    b"PROXY UNKNOWN " + b"x" * 93,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    binary(V4, command=0x11),
    binary(V4, command=0x22),
    binary(V4, family=0x12),
    binary(V6, family=0x22),
    binary(b"\0" * 216, family=0x32),
    binary(V4, family=0x41),
    binary(V4[:-1]),
    binary(V4, family=0x21),
    binary(V4 + b"\x04"),
    binary(V4 + b"\x04\x00"),
    binary(V4 + b"\x04\x00\x05noop"),
    binary(V4 + b"\x04\xff\xff"),
    binary(V4 + tlv(0x20, b"\x07\0\0\0")),
    binary(V4 + tlv(0x20, b"\x07\0\0\0\0\x22\x00\x09pump")),
    binary(V4 + ssl_record(b"pump\n-1")),
    binary(V4 + ssl_record(b"pump\x00")),
    binary(V4 + ssl_record(b"\xff\xfe")),
    binary(V4 + ssl_record(b"\x1b[2J", verify=1)),
    SIGNATURE + b"\x21\x11" + struct.pack("!H", MAX_BINARY - 15),
    SIGNATURE + b"\x21\x11\xff\xff",
    SIGNATURE[:-1] + b"X",
]


@pytest.mark.parametrize(("header", "host", "port"), GOOD)
def test_good_headers_correct_the_peer(header: bytes, host: str, port: int) -> None:
    found = peer()
    assert read_header(header + PINGREQ, found) == len(header)
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(("header", "host", "port"), GOOD)
@pytest.mark.parametrize("cut", [1, 5, 16])
def test_headers_arrive_in_pieces(header: bytes, host: str, port: int, cut: int) -> None:
    found = peer()
    layer = ProxyLayer(found)
    data = header + PINGREQ
    out = b""
    for at in range(0, len(data), cut):
        assert not layer.established or at >= len(header)
        out += layer.feed(data[at : at + cut])
    assert out == PINGREQ
    assert layer.established
    assert layer.transparent
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize("header", BAD)
def test_bad_headers_are_refused_and_change_nothing(header: bytes) -> None:
    found = peer()
    layer = ProxyLayer(found)
    assert layer.feed(header) == b""
    assert isinstance(layer.ended, MalformedPacket)
    assert layer.ended.name == "proxy_protocol_error"
    assert found == peer()
    assert layer.feed(PINGREQ) == b""


@pytest.mark.parametrize("header", BAD)
def test_bad_headers_are_refused_byte_by_byte(header: bytes) -> None:
    layer = ProxyLayer(peer())
    for at in range(len(header)):
        assert layer.feed(header[at : at + 1]) == b""
    assert isinstance(layer.ended, MalformedPacket)


def test_common_name_of_a_verified_certificate() -> None:
    found = peer()
    read_header(binary(V4 + ssl_record("Pümpe-1".encode())), found)
    assert found.cn == "Pümpe-1"


@pytest.mark.parametrize(("client", "verify"), [(0x07, 1), (0x01, 0), (0x00, 0)])
def test_common_name_is_ignored_when_the_balancer_did_not_verify_it(client: int, verify: int) -> None:
    found = peer()
    read_header(binary(V4 + ssl_record(b"admin", client, verify)), found)
    assert found.host == "192.0.2.7"
    assert found.cn is None


def test_local_ignores_even_a_common_name() -> None:
    found = peer()
    read_header(binary(V4 + ssl_record(b"admin"), command=0x20), found)
    assert found == peer()


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"]), rest=st.binary()
)
def test_any_bytes_are_read_waited_for_or_refused(start: bytes, rest: bytes) -> None:
    data = start + rest
    found = peer()
    try:
        used = read_header(data, found)
    except MalformedPacket:
        assert found == peer()
        return
    assert used <= min(len(data), MAX_BINARY)
    if used == 0:
        assert len(data) < MAX_BINARY


@pytest.mark.parametrize(
    "data", [b"P", b"PROXY", b"PROXY TCP4", b"\r", b"\r\n\r\n\x00", SIGNATURE, SIGNATURE + b"\x21"]
)
def test_headers_are_recognised_where_none_is_expected(data: bytes) -> None:
    assert looks_like_proxy(data)
    error = refuse_proxy(data)
    if len(data) >= 6:
        assert error is not None
        assert error.name == "proxy_protocol_config_disabled"
    else:
        assert error is None


@pytest.mark.parametrize("data", [b"", b"\x10\x0c", b"\x16\x03\x01", b"GET /", b"POST /x", b"PROXX", b"\r\nGET"])
def test_other_protocols_are_not_taken_for_a_header(data: bytes) -> None:
    assert not looks_like_proxy(data)
