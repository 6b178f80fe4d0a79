"""CONNECTs that never come to an end: at the deadline they are gone, and until then they cost almost nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import pytest
import trio
from fault_doors import KINDS, Doors, gone, layers, rss, until
from layer_peers import TlsClient, client_context

from trioemqx.codec.control import Connect
from trioemqx.codec.encode import encode
from trioemqx.testing import Closed, Refused

IDLE = 3.0
HANDSHAKE = 1.0
SLACK = 2.5
"""The sweeper looks once a second, and a socket that is closed by us waits up to a second for its peer."""
EACH = 10

HTTP = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"a" * 1000
CONNECT = encode(Connect("MQTT", 5, False, True, 0, "c" * 100, None, None, None, None), 5)
PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n"


@pytest.fixture
def settings():
    return {
        "zone": {"default": {"idle_timeout": f"{IDLE:g}s"}},
        "listener": {"proxy_protocol_timeout": f"{HANDSHAKE:g}s"},
    }


async def drip(stream: trio.SocketStream, data: bytes) -> None:
    """A byte at a time, until the broker has had enough."""
    try:
        for at in range(len(data)):
            await stream.send_all(data[at : at + 1])
            await trio.sleep(0.05)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def established(doors: Doors, kind: str, upto: int) -> tuple[trio.SocketStream, Callable[[bytes], bytes]]:
    """A connection whose lowest `upto` layers are up, and how bytes get through them."""
    raw = await doors.socket(kind)
    stack = layers(kind)[:upto]
    for at, layer in enumerate(stack):
        data = layer.start()
        while True:
            for below in reversed(stack[:at]):
                data = below.send(data)
            if data:
                await raw.send_all(data)
            if layer.open:
                break
            answer = await raw.receive_some(65536)
            data = b""
            for below in stack[:at]:
                before = len(below.received)
                below.feed(answer)
                answer = below.received[before:]
            data = layer.feed(answer)

    def wrap(data: bytes) -> bytes:
        for layer in reversed(stack):
            data = layer.send(data)
        return data

    return raw, wrap


async def dripping(doors: Doors, nursery: trio.Nursery, kind: str, upto: int, data: bytes) -> trio.SocketStream:
    """Never says the end of `data`, but always a little more of it."""
    raw, wrap = await established(doors, kind, upto)
    nursery.start_soon(drip, raw, wrap(data)[:-1])
    return raw


async def silent(doors: Doors, nursery: trio.Nursery, kind: str, upto: int, data: bytes) -> trio.SocketStream:
    """Says this, and nothing more."""
    raw, wrap = await established(doors, kind, upto)
    if data:
        await raw.send_all(wrap(data))
    return raw


HELLO = TlsClient(client_context()).start()

UNFINISHED = {
    "nothing at all": ("tcp", silent, 0, b"", "idle_timeout"),
    "half a CONNECT": ("tcp", silent, 0, CONNECT[:50], "idle_timeout"),
    "CONNECT byte by byte": ("tcp", dripping, 0, CONNECT, "idle_timeout"),
    "nothing instead of a TLS handshake": (
        "ssl",
        silent,
        0,
        b"",
        "idle_timeout",
    ),  # TLS may take 15 s, all of it only 3 s
    "ClientHello byte by byte": ("ssl", dripping, 0, HELLO, "idle_timeout"),  # TLS may take 15 s, all of it only 3 s
    "nothing after the TLS handshake": ("ssl", silent, 1, b"", "idle_timeout"),
    "CONNECT byte by byte through TLS": ("ssl", dripping, 1, CONNECT, "idle_timeout"),
    "an HTTP request byte by byte": ("ws", dripping, 0, HTTP, "idle_timeout"),
    "nothing after the upgrade": ("ws", silent, 1, b"", "idle_timeout"),
    "CONNECT byte by byte in a WebSocket": ("ws", dripping, 1, CONNECT, "idle_timeout"),
    "an HTTP request byte by byte through TLS": ("wss", dripping, 1, HTTP, "idle_timeout"),
    "nothing instead of a PROXY header": ("proxy", silent, 0, b"", "proxy_protocol_timeout"),
    "a PROXY header byte by byte": ("proxy", dripping, 0, PROXY, "proxy_protocol_timeout"),
    "nothing after a PROXY header": ("proxy", silent, 0, PROXY, "idle_timeout"),
}


async def test_they_are_gone_at_the_deadline(doors, nursery):
    """All kinds at once; somebody who connected in time is not disturbed."""
    honest = [await doors.client(f"c{kind}", kind) for kind in KINDS]
    before = rss()
    ends: dict[str, list[float]] = {}

    async def one(what: str) -> None:
        kind, how, upto, data, _ = UNFINISHED[what]
        began = trio.current_time()
        raw = await how(doors, nursery, kind, upto, data)
        await gone(raw)
        ends.setdefault(what, []).append(trio.current_time() - began)

    with trio.fail_after(IDLE + SLACK + 1.0):
        async with trio.open_nursery() as attack:
            for what in UNFINISHED:
                for _ in range(EACH):
                    attack.start_soon(one, what)
            await trio.sleep(HANDSHAKE / 2)
            assert doors.links() == len(honest) + EACH * len(UNFINISHED)
            assert rss() - before <= 16 * 1024 * 1024
    for what, seconds in ends.items():
        limit = HANDSHAKE if "header" in what and "after" not in what else IDLE
        assert len(seconds) == EACH
        assert limit - 0.1 <= min(seconds) <= max(seconds) <= limit + SLACK, what
    await doors.quiet(len(honest))
    reasons: dict[str, Counter[str]] = {}
    for kind, _, _, _, reason in UNFINISHED.values():
        reasons.setdefault(kind, Counter())[reason] += EACH
    assert {kind: doors.listener(kind).shutdown_count for kind in reasons} == reasons
    for client in honest:
        await client.ping()


class TestHandshakeTimeout:
    @pytest.fixture
    def settings(self):
        return {}

    async def test_tls_has_a_deadline_of_its_own(self, doors):
        listener = doors.listener("ssl")
        listener.update(attrs.evolve(listener.config, handshake_timeout=HANDSHAKE), listener.zone)
        raw = await doors.socket("ssl")
        assert HANDSHAKE - 0.1 <= await gone(raw) <= HANDSHAKE + SLACK
        await doors.quiet()
        assert listener.shutdown_count == {"ssl_upgrade_timeout": 1}


class TestBuffers:
    """Nobody can make us keep more than a first packet before we know who it is."""

    @pytest.fixture
    def settings(self):
        return {"limits": {"max_connect_packet_size": "2KB"}}

    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("tcp", b"\x10\xff\xff\xff\x7f" + bytes(100)),
            ("tcp", b"\x10\x81\x10" + bytes(100)),  # 2049 bytes and the fixed header
            ("ws", b"GET /mqtt HTTP/1.1\r\n" + b"X-Header: y\r\n" * 20_000),
            ("ws", b"GET /" + b"a" * 200_000),
            ("proxy", b"PROXY TCP4 " + b"1" * 200),
            ("proxy", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + bytes(1000)),
            ("ssl", b"\x16\x03\x01\xff\xff" + bytes(70_000)),
            ("tcp", b"\x30\x05\x00\x01t12"),
            ("tcp", b"\xc0\x00"),
        ],
    )
    async def test_too_much_too_soon_is_the_end(self, doors, kind, data):
        raw = await doors.socket(kind)

        async def send() -> None:
            try:
                await raw.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await gone(raw) < 5.0
            await raw.aclose()
        await doors.quiet()

    async def test_the_first_packet_has_a_limit_and_the_next_one_its_own(self, doors):
        client = await doors.raw()
        with pytest.raises((Closed, Refused)):
            await client.connect("c" * 2000, username="u" * 100)
        client = await doors.client("c", subscribe="t")
        await client.publish("t", bytes(10_000), qos=1)
        assert await client.message() == ("t", bytes(10_000))

    async def test_what_waits_for_its_rest_is_bounded(self, doors):
        raws = [await doors.socket() for _ in range(50)]
        for raw in raws:
            await raw.send_all(b"\x10\xf0\x0f" + bytes(1900))
        links = doors.node.pump.turn.links
        await until(lambda: all(link.channel.recv_oct > 1900 for link in links.values()))
        assert sum(link.channel.framer.pending() for link in links.values()) <= 50 * 2048
