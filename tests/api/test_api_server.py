"""The server under the API: limits, hostile connections, restart, and an end that nobody can hold up."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trioemqx.api import connection
from trioemqx.api import server as serving
from trioemqx.errors import ListenerError
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.services.web import Call, get
from trioemqx.testing import TestBroker, running

AUTH = b"Authorization: Basic YWRtaW46cHVibGlj\r\n"
GET = b"GET /api/v4/brokers HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@asynccontextmanager
async def api(**http: Any) -> AsyncIterator[TestBroker]:
    """A broker with its API on a free port."""
    management = {"listener": {"http": {"bind": "127.0.0.1:0", **http}}}
    async with running({"management": management}, listen=True) as broker:
        yield broker


def server(broker: TestBroker) -> serving.HttpServer:
    """The one server."""
    assert broker.node.api is not None
    return broker.node.api.servers[0]


async def dial(broker: TestBroker) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", server(broker).port)
    broker.streams.append(stream)
    return stream


async def ask(stream: trio.abc.Stream, request: bytes = GET) -> bytes:
    """The answer to a request, whole; what there was of it when the connection was closed before."""
    answer = b""
    with trio.fail_after(5):
        try:
            await stream.send_all(request)
            while part := await stream.receive_some(65536):
                answer += part
                head, blank, body = answer.partition(b"\r\n\r\n")
                if blank and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0"):
                    break
        except trio.BrokenResourceError:
            return answer
    return answer


async def deaf(broker: TestBroker) -> trio.SocketStream:
    """A connection that takes next to nothing of what it is sent."""
    sock = trio.socket.socket()
    sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", server(broker).port))
    stream = trio.SocketStream(sock)
    broker.streams.append(stream)
    return stream


def large(call: Call) -> object:
    """More than a socket takes at once."""
    return "x" * 16_000_000


LARGE = b"GET /api/v4/large HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n"


async def test_one_connection_serves_many_requests() -> None:
    async with api() as broker:
        stream = await dial(broker)
        for _ in range(3):
            assert (await ask(stream)).startswith(b"HTTP/1.1 200")


async def test_bytes_after_a_websocket_request_end_that_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    """h11 raises LocalProtocolError there, which ends an unguarded hypercorn."""
    async with api() as broker:
        kept = await dial(broker)
        assert (await ask(kept)).startswith(b"HTTP/1.1 200")
        for garbage in (b"x", b"GET / HTTP/1.1\r\n\r\n", b"\x81\x80\0\0\0\0", UPGRADE) * 5:
            stream = await dial(broker)
            await ask(stream, UPGRADE + garbage)
            await trio.aclose_forcefully(stream)
        assert (await ask(kept)).startswith(b"HTTP/1.1 200")
        assert (await ask(await dial(broker))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA" * 2000,
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/v4/mqtt/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /api/v4/mqtt/publish HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /status HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /api/v4 HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
        b"POST /api/v4/mqtt/publish HTTP/1.1\r\nHost: x\r\n" + AUTH + b"Content-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_requests_that_are_none(request_: bytes) -> None:
    async with api() as broker:
        answer = await ask(await dial(broker), request_)
        assert answer == b"" or answer.split(b" ")[1][:1] == b"4", answer
        assert (await ask(await dial(broker))).startswith(b"HTTP/1.1 200")
        assert server(broker).crashed == 0


PUBLISH = b'{"topic":"a","payload":"b","clientid":"c"}'
POST = b"POST /api/v4/mqtt/publish HTTP/1.1\r\nHost: x\r\n" + AUTH
LENGTH = b"Content-Length: %d\r\n\r\n" % len(PUBLISH)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n"


async def answered(broker: TestBroker, *parts: bytes) -> bytes:
    """What comes back for a request that is sent in parts, without the hour; the connection ends with it."""
    stream = await dial(broker)
    answer = b""
    with trio.fail_after(5):
        for part in parts:
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked(0.01)
        while got := await stream.receive_some(65536):
            answer += got
    return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"date: "))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(GET.replace(b"Host: x\r\n", b"Host: x\r\n" + CLOSE), b"200", id="GET"),
        pytest.param(POST + CLOSE + LENGTH + PUBLISH, b"200", id="length"),
        pytest.param(POST + CLOSE + CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(PUBLISH), PUBLISH), b"200", id="chunked"),
        pytest.param(POST + CLOSE + CHUNKED + b"xx\r\n", b"400", id="no chunk"),
        pytest.param(POST + CLOSE + LENGTH.replace(b"\r\n\r\n", b"0\r\n\r\n") + b" " * 1000, b"400", id="no JSON"),
        pytest.param(b"HEAD /status HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", b"400", id="HEAD"),
        pytest.param(b"GET /status HTTP/1.0\r\n\r\n", b"200", id="HTTP/1.0"),
        pytest.param(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", b"404", id="elsewhere"),
    ],
)
async def test_a_request_in_pieces_is_answered_as_if_it_had_come_whole(request_: bytes, status: bytes) -> None:
    async with api() as broker:
        whole = await answered(broker, request_)
        assert whole.split(b" ")[1] == status
        head = request_.index(b"\r\n\r\n") + 4
        for at in {10, head - 1, head, len(request_) - 1} - {len(request_)}:
            assert await answered(broker, request_[:at], request_[at:]) == whole


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async with api() as broker:
        other = GET.replace(b"brokers", b"nodes")
        last = GET.replace(b"Host: x\r\n", b"Host: x\r\n" + CLOSE)
        answer = await answered(broker, GET + other + POST + LENGTH + PUBLISH + last + GET)
        bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200")[1:]]
        assert len(bodies) == 4, "what follows Connection: close is not answered"
        assert bodies[0] == bodies[3] != bodies[1]
        assert b"otp_release" in bodies[1]
        assert bodies[2] == b'{"code":0}'


async def test_a_body_that_waits_to_be_asked_for() -> None:
    async with api() as broker:
        stream = await dial(broker)
        await stream.send_all(POST + b"Expect: 100-continue\r\n" + LENGTH)
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        assert (await ask(stream, PUBLISH)).endswith(b'{"code":0}')


NOPE = b"POST /api/v4/nope HTTP/1.1\r\nHost: x\r\n"
STATUS = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "line"),
    [
        pytest.param(NOPE + AUTH, b"404 Not Found", id="no such path"),
        pytest.param(NOPE, b"401 Unauthorized", id="no credentials"),
        pytest.param(NOPE.replace(b"nope", b"banned?a=%zz") + AUTH, b"400 Bad Request", id="malformed query"),
        pytest.param(b"POST /elsewhere HTTP/1.1\r\nHost: x\r\n", b"404 Not Found", id="outside the API"),
    ],
)
async def test_a_request_refused_before_its_short_body_leaves_the_connection_open(head: bytes, line: bytes) -> None:
    async with api() as broker:
        stream = await dial(broker)
        await stream.send_all(head + b"Content-Length: 7\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.02)
        for part in (b"{", b"     "):
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked(0.01)
        answer = await ask(stream, b"}")
        assert answer.startswith(b"HTTP/1.1 " + line + b"\r\n")
        assert b"connection: close" not in answer.lower()
        assert (await ask(stream, STATUS)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 70000", CHUNKED[:-4], b"Expect: 100-continue\r\nContent-Length: 7"]
)
async def test_an_answer_that_leaves_before_the_body_says_that_it_is_the_last(framing: bytes) -> None:
    async with api() as broker:
        answer = await answered(broker, NOPE + AUTH + framing + b"\r\n\r\n")
        assert b"HTTP/1.1 404 Not Found\r\n" in answer
        assert b"connection: close\r\n" in answer.lower()


async def test_a_short_body_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BODY_TIME", 0.1)
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.05)
    async with api() as broker:
        for part in (b"", PUBLISH[:5]):
            answer = await answered(broker, POST + LENGTH + part)
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert b"connection: close" in answer.lower()


async def test_a_short_body_has_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.05)
    async with api() as broker:
        stream = await dial(broker)
        await stream.send_all(POST + LENGTH + PUBLISH[:5])
        await trio.sleep(0.2)
        assert (await ask(stream, PUBLISH[5:])).endswith(b'{"code":0}')


@pytest.mark.parametrize("cut", [0, 10_000])
async def test_a_request_line_that_is_too_long_is_not_routed(cut: int) -> None:
    async with api() as broker:
        line = b"GET /status?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await answered(broker, line[:cut], line[cut:])
        assert answer.startswith(b"HTTP/1.1 414 ")
        assert b"connection: close" in answer.lower()


async def test_every_answer_has_a_reason_phrase() -> None:
    async with api() as broker:
        assert (await ask(await dial(broker))).startswith(b"HTTP/1.1 200 OK\r\n")
        piece = await answered(broker, POST + CLOSE + CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(PUBLISH), PUBLISH))
        assert piece.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (await answered(broker, b"GET\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_the_absolute_form_of_a_request() -> None:
    async with api() as broker:
        whole = b"GET http://x/api/v4/brokers HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n"
        assert (await ask(await dial(broker), whole)).startswith(b"HTTP/1.1 200")


async def test_an_offer_of_http2_is_not_taken_up() -> None:
    async with api() as broker:
        offer = GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        assert (await ask(await dial(broker), offer)).startswith(b"HTTP/1.1 200")


async def test_clients_beyond_the_limit_are_closed() -> None:
    async with api(max_clients=2) as broker:
        one, two = await dial(broker), await dial(broker)
        for stream in (one, two):
            assert (await ask(stream)).startswith(b"HTTP/1.1 200")
        assert await ask(await dial(broker)) == b""
        assert server(broker).refused == 1
        await one.aclose()
        await trio.sleep(0.05)
        assert (await ask(await dial(broker))).startswith(b"HTTP/1.1 200")


async def test_a_client_that_sends_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.1)
    async with api() as broker:
        for beginning in (b"", b"GET /api/v4"):
            stream = await dial(broker)
            with trio.fail_after(3):
                if beginning:
                    await stream.send_all(beginning)
                assert await stream.receive_some() == b""


async def test_a_client_that_does_not_read_cannot_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "GRACE", 0.2)
    async with api() as broker:
        node = broker.node
        node.web_routes.add(get("/large", large))
        for _ in range(3):
            stream = await deaf(broker)
            await stream.send_all(LARGE)
        await trio.sleep(0.3)
        assert len(server(broker).streams) == 3
        node.stop()
        with trio.fail_after(8):
            while node.api is not None and any(one.streams for one in node.api.servers):
                await trio.sleep(0.02)


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with api(send_timeout="200ms") as broker:
        broker.node.web_routes.add(get("/large", large))
        stream = await deaf(broker)
        await stream.send_all(LARGE)
        with trio.fail_after(10):
            while not server(broker).streams:
                await trio.sleep(0.02)
            while server(broker).streams:
                await trio.sleep(0.02)
        assert server(broker).crashed == 0


async def test_a_server_that_crashes_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api() as broker:
        client = await broker.client("c", subscribe="t")
        crash = trio.Event()
        accept = serving.HttpServer._accept

        async def crashing(self: serving.HttpServer, *args: Any) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept, self, *args)
                await crash.wait()
                monkeypatch.undo()
                raise RuntimeError("a bug in the server")

        monkeypatch.setattr(serving.HttpServer, "_accept", crashing)
        assert broker.node.api is not None
        broker.node.services.restart("api")
        await trio.sleep(0.1)
        crash.set()
        with trio.fail_after(10):
            served = False
            while not served:
                with suppress(OSError):
                    served = (await ask(await dial(broker))).startswith(b"HTTP/1.1 200")
                await trio.sleep(0.05)
        await client.publish("t", b"alive")
        assert await client.message() == ("t", b"alive")


async def test_a_port_that_is_taken_stops_the_start() -> None:
    async with api() as broker:
        taken = {"management": {"listener": {"http": {"bind": f"127.0.0.1:{server(broker).port}"}}}}
        with pytest.RaisesGroup(ListenerError, flatten_subgroups=True, allow_unwrapped=True):
            async with running(taken, listen=True):
                pytest.fail("it started")


async def test_https(tmp_path: Path) -> None:
    key, cert, authority = ensure_self_signed(tmp_path, ["localhost"])
    https = {"bind": "127.0.0.1:0", "certfile": str(cert), "keyfile": str(key)}
    async with running({"management": {"listener": {"https": https}}}, listen=True) as broker:
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2", "http/1.1"])
        stream = trio.SSLStream(await dial(broker), context, server_hostname="localhost", https_compatible=True)
        assert (await ask(stream)).startswith(b"HTTP/1.1 200")
        assert stream.selected_alpn_protocol() == "http/1.1"
        plain = await dial(broker)
        assert not (await ask(plain)).startswith(b"HTTP/1.1 200")
        assert server(broker).crashed == 0


async def test_https_without_a_certificate_stops_the_start() -> None:
    with pytest.RaisesGroup(ListenerError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with running({"management": {"listener": {"https": {"bind": "127.0.0.1:0"}}}}, listen=True):
            pytest.fail("it started")
    assert "certfile" in repr(caught.value)
