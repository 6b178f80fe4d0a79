"""The dashboard below a path of a reverse proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_trio
import trio
from browser_page import PASSWORD, Page

from trioemqx.testing import TestBroker

PREFIX = b"/tools/mqtt/"
LARGEST_HEAD = 65536
LIVE = "() => Number(document.querySelector('.chart-box')?.dataset.points ?? 0) >= 2"
ADDRESSES = """() => [...document.querySelectorAll('[href], [src]')]
  .map(one => one.getAttribute('href') ?? one.getAttribute('src')).filter(one => one.startsWith('/'))"""


@pytest.fixture
def broker_config() -> dict[str, object]:
    listener = {"http": "127.0.0.1:0"}
    return {"dashboard": {"behind_proxy": True, "default_user": {"password": PASSWORD}, "listener": listener}}


class Proxy:
    """What a reverse proxy does with `location /tools/mqtt/ { proxy_pass http://broker/; }`: it takes the path off,
    says what the browser asked for, and then only passes bytes on, also those of a WebSocket. A connection is for one
    request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.strange: list[bytes] = []
        """Requests for something that is not below the path."""

    async def serve(self, browser: trio.SocketStream) -> None:
        """One connection."""
        async with browser:
            head, _, body = await _head(browser)
            if not head:
                return
            line, *headers = head.split(b"\r\n")
            method, path, version = line.split(b" ")
            if not path.startswith(PREFIX):
                self.strange.append(path)
                await browser.send_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            host = next(one for one in headers if one.lower().startswith(b"host:")).split(b":", 1)[1].strip()
            kept = [one for one in headers if not one.lower().startswith((b"host:", b"connection:"))]
            upgrade = any(one.lower().startswith(b"upgrade:") for one in headers)
            kept += [b"host: 127.0.0.1:%d" % self._port, b"connection: " + (b"upgrade" if upgrade else b"close")]
            kept += [b"x-forwarded-for: 192.0.2.1", b"x-forwarded-host: " + host, b"x-forwarded-proto: http"]
            request = b"\r\n".join([b" ".join((method, path[len(PREFIX) - 1 :], version)), *kept])
            async with await trio.open_tcp_stream("127.0.0.1", self._port) as broker, trio.open_nursery() as nursery:
                await broker.send_all(request + b"\r\n\r\n" + body)
                nursery.start_soon(_pass, browser, broker)
                await _pass(broker, browser)
                nursery.cancel_scope.cancel()


async def _head(stream: trio.SocketStream) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LARGEST_HEAD:
        more = await stream.receive_some()
        if not more:
            return b"", b"", b""
        data += more
    return data.partition(b"\r\n\r\n")


async def _pass(one: trio.SocketStream, other: trio.SocketStream) -> None:
    try:
        async for data in one:
            await other.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


@pytest_trio.trio_fixture
async def proxy(broker: TestBroker, nursery: trio.Nursery) -> AsyncIterator[tuple[Proxy, str]]:
    """It, and the address of the dashboard behind it."""
    assert broker.node.api is not None
    found = Proxy(int(str(broker.node.api.servers[0].address).rsplit(":", 1)[1]))
    listeners = await nursery.start(partial(trio.serve_tcp, found.serve, 0, host="127.0.0.1"))
    yield found, f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}{PREFIX.decode()}"


async def test_below_a_path_of_a_reverse_proxy(page: Page, broker: TestBroker, proxy: tuple[Proxy, str]) -> None:
    server, page.url = proxy
    client = await broker.client("pump-1")
    await page.visit("clients")
    await page.label("User name", "admin")
    await page.label("Password", PASSWORD)
    await page.press("Enter")
    await page.wait("h1:text-is('Clients')")
    await page.complaints()  # who is not logged in is told so with a 401
    await page.click('tr:has(a:text-is("pump-1")) [data-kick]')
    await page.wait("dialog[open]")
    await page.press("Enter")  # a change: the token of the session goes with it
    await client.closed()
    await page.gone('a:text-is("pump-1")')
    await page.visit("overview")
    await page.wait(".live .dot.ok")  # the WebSocket
    await page.do("until", code=LIVE)
    for path in ("overview", "rules/new", "api", "mqtt-client"):
        await page.visit(path)
        assert await page.evaluate(ADDRESSES) == [], path
    assert server.strange == []
