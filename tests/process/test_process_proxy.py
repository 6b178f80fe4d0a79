"""A listener behind a load balancer: the PROXY header, versions 1 and 2, says who the client really is."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from broker_process import OPEN, BrokerProcess

from trioemqx.codec.control import Connack, Connect
from trioemqx.codec.encode import encode
from trioemqx.testing import Closed

PROXIED = (
    'log.to = "console"\nlog.level = "info"\n'
    + OPEN
    + '[listener.tcp.main]\nbind = "127.0.0.1:0"\nproxy_protocol = true\nproxy_protocol_timeout = "1s"\n'
    + '[listener.tcp.direct]\nbind = "127.0.0.1:0"\n'
)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(address: str, port: int) -> bytes:
    source = ipaddress.ip_address(address).packed
    family = 0x11 if len(source) == 4 else 0x21
    block = source + bytes(len(source)) + struct.pack("!HH", port, 1883)
    return SIGNATURE + bytes((0x21, family)) + struct.pack("!H", len(block)) + block


HEADERS = [
    pytest.param(b"PROXY TCP4 203.0.113.7 127.0.0.1 40001 1883\r\n", "203.0.113.7:40001", id="v1-ipv4"),
    pytest.param(b"PROXY TCP6 2001:db8::7 ::1 40002 1883\r\n", "[2001:db8::7]:40002", id="v1-ipv6"),
    pytest.param(version_2("198.51.100.9", 40003), "198.51.100.9:40003", id="v2-ipv4"),
    pytest.param(version_2("2001:db8::9", 40004), "[2001:db8::9]:40004", id="v2-ipv6"),
    pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1:", id="v1-unknown"),
]
CONNECT = Connect("MQTT", 5, False, True, 0, "proxied", None, None, None, None)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    process = BrokerProcess(tmp_path_factory.mktemp("proxy"), PROXIED).wait_ready()
    yield process
    process.kill()


@pytest.fixture(autouse=True)
def _shown(broker):
    yield
    broker.show()


@pytest.mark.parametrize("pieces", ["whole", "dripping"])
@pytest.mark.parametrize(("header", "peer"), HEADERS)
async def test_the_header_names_the_peer(broker, dialer, header, peer, pieces):
    before = len(broker.lines)
    client = await dialer.raw(port=broker.port())
    if pieces == "whole":
        await client.send_raw(header)
    else:
        for byte in header:
            await client.send_raw(bytes((byte,)))
    await client.send(CONNECT)
    assert (await client.wait_for(Connack)).code == 0
    await client.disconnect()

    line = await broker.line("connection closed: normal", before)
    assert f" proxied@{peer}" in line


async def test_header_and_connect_in_one_segment(broker, dialer):
    client = await dialer.raw(port=broker.port())
    await client.send_raw(version_2("198.51.100.9", 40003) + encode(CONNECT, 5))

    assert (await client.wait_for(Connack)).code == 0


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 999.0.0.1 127.0.0.1 1 1\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    ],
    ids=["v1-address", "v1-too-long", "v2-version"],
)
async def test_a_bad_header_closes_the_connection(broker, dialer, header):
    client = await dialer.raw(port=broker.port())
    await client.send_raw(header)

    assert await client.closed() is None


async def test_a_client_without_header_is_refused(broker, dialer):
    client = await dialer.raw(port=broker.port())
    await client.send(CONNECT)

    assert await client.closed() is None


async def test_a_header_that_does_not_come_is_not_waited_for(broker, dialer):
    """`proxy_protocol_timeout` is one second here, while CONNECT would have fifteen."""
    client = await dialer.raw(port=broker.port())

    assert await client.closed() is None


async def test_a_header_on_an_ordinary_listener_is_refused(broker, dialer):
    client = await dialer.raw(port=broker.port("tcp", "direct"))
    await client.send_raw(version_2("198.51.100.9", 40003))

    with pytest.raises(Closed):
        await client.wait_for(Connack)
