"""A tiny web server for tests of plugins that ask one; `trioemqx.testing` has it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import h11
import trio

PATIENCE = 10.0
"""Seconds a test waits for a request before it fails."""


@attrs.frozen
class WebRequest:
    """What a client asked. Names of headers are in lower case; `connection` counts the connections."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]] | bytes
"""(status, body), (status, body, headers), or the bytes to write as they are before the connection is closed."""


class WebServer:
    """Listens on a port of 127.0.0.1. `reply` (an async function of a WebRequest) is what it answers, 200 at first;
    `requests` is what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.reply: Callable[[WebRequest], Awaitable[Reply]] = _ok
        self.requests: list[WebRequest] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._scope: trio.CancelScope | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`"""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def says(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer everything like that."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}

        async def reply(request: WebRequest) -> Reply:
            return status, body, fields

        self.reply = reply

    async def asked(self, count: int) -> list[WebRequest]:
        """Wait until there were so many requests; all of them."""
        with trio.fail_after(PATIENCE):
            while len(self.requests) < count:  # noqa: ASYNC110 - real time and real sockets
                await trio.sleep(0.005)
        return self.requests

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`, on the port that it had before."""
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
                self.port = listeners[0].socket.getsockname()[1]
                task_status.started()
                await trio.serve_listeners(self._guarded, listeners, handler_nursery=nursery)

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._scope is not None:
            self._scope.cancel()

    async def _guarded(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            secured = trio.SSLStream(stream, self._tls, server_side=True) if self._tls else stream
            await self._serve(secured, self.connections)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream, number: int) -> None:
        protocol = h11.Connection(h11.SERVER)
        while (request := await _read(stream, protocol, number)) is not None:
            self.requests.append(request)
            answer = await self.reply(request)
            if isinstance(answer, bytes):
                await stream.send_all(answer)
                return
            status, body = answer[:2]
            fields = answer[2] if len(answer) == 3 else {}
            head = h11.Response(status_code=status, headers=[*fields.items(), ("content-length", str(len(body)))])
            data = [protocol.send(event) or b"" for event in (head, h11.Data(body), h11.EndOfMessage())]
            await stream.send_all(b"".join(data))
            if protocol.our_state is not h11.DONE:
                return
            protocol.start_next_cycle()


async def _ok(request: WebRequest) -> Reply:
    return 200, b""


async def _read(stream: trio.abc.Stream, protocol: h11.Connection, number: int) -> WebRequest | None:
    """The next request, None at the end of the connection."""
    head: h11.Request | None = None
    body = b""
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            fields = {name.decode(): value.decode() for name, value in head.headers}
            return WebRequest(head.method.decode(), head.target.decode(), fields, body, number)
        else:
            return None


@asynccontextmanager
async def web_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[WebServer]:
    """A web server for the length of a block."""
    server = WebServer(tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        server.stop()
        nursery.cancel_scope.cancel()
