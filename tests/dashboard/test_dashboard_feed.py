"""Live figures over a WebSocket: who may see them, and what becomes of viewers that do not keep up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio_websocket

from trioemqx.dashboard.feed import WAITING
from trioemqx.testing import TestBroker, running


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"dashboard": {"max_viewers": 2, "session_max_age": "60s", "session_idle_timeout": "10s"}}


async def cookie(broker: TestBroker) -> str:
    """That of a new session."""
    body = {"username": "admin", "password": "public"}
    answer = await broker.api("POST", "//session", body, listener="dashboard", auth=None)
    return answer.headers["set-cookie"].partition(";")[0]


class Socket:
    """A browser's WebSocket as the application sees it. `takes` is cleared to read nothing."""

    def __init__(self, broker: TestBroker, **headers: str) -> None:
        assert broker.node.api is not None
        self.app = broker.node.api.apps["dashboard"]
        self.takes = True
        self.sent: list[Any] = []
        self._to, self._from = trio.open_memory_channel[Any](10)
        named = {"host": "here:18083", "origin": "http://here:18083", **headers}
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/feed",
            "raw_path": b"/feed",
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items() if value],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8081),
        }

    async def run(self) -> None:
        await self._to.send({"type": "websocket.connect"})
        await self.app(self.scope, self._from.receive, self._send)

    async def _send(self, event: Any) -> None:
        await trio.lowlevel.checkpoint()
        if not self.takes:
            await trio.sleep_forever()
        self.sent.append(event)

    async def leave(self) -> None:
        await self._to.send({"type": "websocket.disconnect", "code": 1001})

    def messages(self) -> list[Any]:
        return [json.loads(event["text"]) for event in self.sent if event["type"] == "websocket.send"]

    def closed(self) -> int | None:
        return next((event.get("code", 1000) for event in self.sent if event["type"] == "websocket.close"), None)


@asynccontextmanager
async def sampling(broker: TestBroker) -> AsyncIterator[trio.Nursery]:
    """The block has a nursery in which the sampler runs."""
    assert broker.node.api is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.node.api.dashboard.sampler.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def test_history_then_a_sample_a_second(broker: TestBroker) -> None:
    await broker.node.open_api(always=True)
    async with sampling(broker) as nursery:
        await trio.sleep(30.5)
        socket = Socket(broker, cookie=await cookie(broker))
        nursery.start_soon(socket.run)
        await trio.sleep(3)
        history, *samples = socket.messages()
        assert (history["type"], len(history["t"]), len(history["recent"]["t"])) == ("history", 3, 30)
        assert [sample["type"] for sample in samples] == ["sample"] * 3
        assert [sample["t"] - samples[0]["t"] for sample in samples] == pytest.approx([0, 1, 2], abs=0.01)
        assert set(samples[0]["values"]) == set(history["columns"])
        await socket.leave()
        await trio.sleep(2)
        assert len(socket.messages()) == 4
        assert broker.node.api is not None
        assert broker.node.api.dashboard.feed.viewers == set()


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": ""},
        {"cookie": "trioemqx_8081=wrong"},
        {"origin": ""},
        {"origin": "http://evil"},
        {"origin": "http://here:8080"},
        {"origin": "null"},
        {"host": ""},
        {"x_forwarded_host": "evil", "origin": "http://evil"},
    ],
)
async def test_who_may_not_look(broker: TestBroker, headers: dict[str, str]) -> None:
    socket = Socket(broker, **{"cookie": await cookie(broker), **headers})
    await socket.run()
    assert [event["type"] for event in socket.sent] == ["websocket.close"]  # before it was accepted: 403


async def test_there_are_only_so_many_viewers(broker: TestBroker) -> None:
    sockets = [Socket(broker, cookie=await cookie(broker)) for _ in range(3)]
    async with sampling(broker) as nursery:
        for socket in sockets:
            nursery.start_soon(socket.run)
        await trio.sleep(1.5)
        assert [socket.closed() for socket in sockets].count(1013) == 1
        left = [socket for socket in sockets if socket.closed() is None]
        assert all(len(socket.messages()) == 2 for socket in left)


async def test_a_viewer_that_does_not_keep_up_is_dropped(broker: TestBroker) -> None:
    slow, quick = [Socket(broker, cookie=await cookie(broker)) for _ in range(2)]
    async with sampling(broker) as nursery:
        nursery.start_soon(slow.run)
        nursery.start_soon(quick.run)
        await trio.sleep(0.5)
        slow.takes = False
        await trio.sleep(WAITING + 3)
        assert broker.node.api is not None
        feed = broker.node.api.dashboard.feed
        assert (len(feed.viewers), feed.dropped) == (1, 1)
        assert len(quick.messages()) == WAITING + 4


async def test_a_sample_is_encoded_once(broker: TestBroker) -> None:
    sockets = [Socket(broker, cookie=await cookie(broker)) for _ in range(2)]
    async with sampling(broker) as nursery:
        for socket in sockets:
            nursery.start_soon(socket.run)
        await trio.sleep(1.5)
        first, second = (socket.sent[-1]["text"] for socket in sockets)
        assert first is second


async def test_the_figures_end_with_the_session(broker: TestBroker) -> None:
    known = await cookie(broker)
    socket = Socket(broker, cookie=known)
    async with sampling(broker) as nursery:
        nursery.start_soon(socket.run)
        await trio.sleep(2.5)
        assert socket.closed() is None
        assert broker.node.api is not None
        broker.node.api.dashboard.sessions.close(known.partition("=")[2])
        await trio.sleep(1)
        assert socket.closed() == 1008


async def test_a_viewer_keeps_its_session_up_to_its_greatest_age(broker: TestBroker) -> None:
    socket = Socket(broker, cookie=await cookie(broker))
    async with sampling(broker) as nursery:
        nursery.start_soon(socket.run)
        await trio.sleep(58)
        assert socket.closed() is None
        await trio.sleep(4)
        assert socket.closed() == 1008


async def test_over_a_real_connection() -> None:
    """Through hypercorn; nothing is packed for one viewer that is encoded for all."""
    dashboard = {"listener": {"http": {"bind": "127.0.0.1:0"}}}
    async with running({"dashboard": dashboard}, listen=True) as broker:
        assert broker.node.api is not None
        (server,) = broker.node.api.servers
        host = f"127.0.0.1:{server.port}"
        token = (await cookie(broker)).partition("=")[2]
        headers = [
            (b"Cookie", f"trioemqx_{server.port}={token}".encode()),
            (b"Origin", f"http://{host}".encode()),
            (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
        ]
        with trio.fail_after(30):
            async with trio_websocket.open_websocket_url(f"ws://{host}/feed", extra_headers=headers) as socket:
                assert json.loads(await socket.get_message())["type"] == "history"
                assert json.loads(await socket.get_message())["type"] == "sample"
                assert b"sec-websocket-extensions" not in [name.lower() for name, _ in socket.handshake_headers]
            request = (
                f"GET /feed HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(request.encode())
                assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 403 ")
