"""A small web server for key sets, which can be told to misbehave."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import h11
import trio

Misbehave = Callable[[trio.abc.Stream], Awaitable[None]]


class KeyServer:
    """Answers every request with `status`, `headers` and `body`, or does what `instead` does to the stream."""

    def __init__(self) -> None:
        self.body = b'{"keys": []}'
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.instead: Misbehave | None = None
        self.requests = 0
        self.seen: list[h11.Request] = []
        self._listeners: list[trio.SocketListener] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        port = self._listeners[0].socket.getsockname()[1]
        return f"{self.scheme}://127.0.0.1:{port}/jwks"

    def publish(self, *keys: object) -> None:
        """A set of these keys (dicts of joserfc's `as_dict`)."""
        self.body = json.dumps({"keys": keys}).encode()

    async def open(self, nursery: trio.Nursery, context: ssl.SSLContext | None = None) -> None:
        if context is None:
            plain = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
            self._listeners = await nursery.start(plain)
        else:
            self.scheme = "https"
            serve = partial(trio.serve_ssl_over_tcp, self._serve, 0, context, host="127.0.0.1", https_compatible=True)
            self._listeners = [listener.transport_listener for listener in await nursery.start(serve)]

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            while await self._answer(stream):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.abc.Stream) -> bool:
        protocol = h11.Connection(h11.SERVER)
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                protocol.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                self.seen.append(event)
            elif isinstance(event, h11.ConnectionClosed):
                return False
        self.requests += 1
        if self.instead is not None:
            await self.instead(stream)
            return False
        headers = [("Content-Length", str(len(self.body))), *self.headers]
        data = protocol.send(h11.Response(status_code=self.status, headers=headers)) or b""
        data += protocol.send(h11.Data(self.body)) or b""
        await stream.send_all(data)
        return True


async def hang(stream: trio.abc.Stream) -> None:
    """Accepts and says nothing."""
    await trio.sleep_forever()


async def hang_up(stream: trio.abc.Stream) -> None:
    """Closes at once."""
    await trio.lowlevel.checkpoint()


async def no_http(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"SSH-2.0-OpenSSH\r\n\r\n")


async def dribble(stream: trio.abc.Stream) -> None:
    """Sends so slowly that each byte comes in time, and the whole never."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.02)


async def flood(stream: trio.abc.Stream) -> None:
    """Sends without end."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
