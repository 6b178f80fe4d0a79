"""One connection of the HTTP server: hypercorn's, with sends that end, one task for the time between requests, and
answers that leave in one piece.

hypercorn starts a task for every wait between two requests and sends head, body and end of an answer apart, each behind
cancel scopes. That is most of what a short request costs, so it is done in other ways here.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer

from trioemqx.api.http1 import BodyAwaited, Http1, Ready

KEEP_ALIVE: Final = 10.0
"""Seconds without a request, or for the head of one, after which a connection is closed."""
BODY_TIME: Final = 30.0
"""Seconds that a short body may take after its head."""
STEP: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class TimedStream(trio.abc.HalfCloseableStream):
    """A socket whose sends fail when the peer takes nothing for `timeout` seconds."""

    def __init__(self, stream: trio.SocketStream, timeout: float) -> None:
        self._stream = stream
        self._timeout = timeout
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Raises trio.BrokenResourceError."""
        view = memoryview(data)
        sent = self._at_once(view) if len(view) else 0
        for at in range(sent, len(view), STEP):
            with trio.move_on_after(self._timeout) as scope:
                await self._stream.send_all(view[at : at + STEP])
            if scope.cancelled_caught:
                self.abort()  # who waits to read from it has to notice as well
                raise trio.BrokenResourceError(f"nothing was taken for {self._timeout} s")

    def send_now(self, data: bytes) -> bytes:
        """Send without waiting, and give back what is left to send: everything when sending fails, which it then does
        again in `send_all`."""
        try:
            return data[self._at_once(memoryview(data)) :]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return data

    def _at_once(self, view: memoryview) -> int:
        """How many bytes the kernel takes without waiting: mostly all of them."""
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError("the connection is closed")
        try:
            return os.write(self.socket.fileno(), view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        """End our side."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    def abort(self) -> None:
        """Close at once, with a reset, whatever is being sent."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


class IdleClock:
    """Closes a connection that has been idle for `KEEP_ALIVE` seconds, waited `BODY_TIME` for a body, or is idle
    when the server ends: one task for as long as the connection lives, which looks now and then, where hypercorn starts
    and cancels one for every request."""

    def __init__(self, close: Callable[[], Awaitable[None]], ending: Any) -> None:
        self._close = close
        self._ending = ending
        self._scope = trio.CancelScope()
        self._running = False
        self._until = math.inf
        self._awaits_body = False
        self.ended = False

    async def restart(self, task_group: Any, action: object) -> None:
        """The connection is idle from now on."""
        self._awaits_body = False
        if not self.ended:
            self._until = trio.current_time() + KEEP_ALIVE
            if not self._running:
                self._running = True
                task_group.spawn(self._watch)

    def await_body(self) -> None:
        """The head of a request has come, and its body has some time from now on."""
        if not self._awaits_body:  # however slowly it drips
            self._awaits_body = True
            self._until = trio.current_time() + BODY_TIME

    async def stop(self) -> None:
        """A request has come."""
        self._awaits_body = False
        self._until = math.inf

    def end(self) -> None:
        """The client has gone."""
        self.ended = True
        self._scope.cancel()

    async def _watch(self) -> None:
        with self._scope:
            while (left := self._left()) > 0.0 and not self._ending.is_set():
                with trio.move_on_after(left):
                    await self._ending.wait()
        busy = self._until == math.inf  # then the end of the answer closes the connection
        if not (self.ended or busy):
            with trio.CancelScope(shield=True):
                await self._close()

    def _left(self) -> float:
        """Seconds until it is worth looking again; 0 or less: it has been idle for too long."""
        return min(self._until - trio.current_time(), KEEP_ALIVE)


class Connection(TCPServer):
    """hypercorn's connection, HTTP/1.1 and WebSocket only: an offer to change to HTTP/2 is not taken up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._idle = IdleClock(self._initiate_server_close, self.context.terminated)
        self.idle_task = self._idle  # type: ignore[assignment]
        self._head = b""

    @property
    def protocol(self) -> Any:
        """The protocol that speaks on this connection."""
        return self._http1

    @protocol.setter
    def protocol(self, wrapper: Any) -> None:
        """Speak our HTTP/1.1 where the server would have put its own wrapper."""
        self._http1 = Http1.instead_of(wrapper)

    async def _read_data(self) -> None:
        """Until the client has gone; then nobody waits for another request of its."""
        while True:
            try:
                data = await self.stream.receive_some(STEP)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            await self._http1.handle(RawData(bytes(data)))
            if not data:
                break
        await self._http1.handle(Closed())
        self._idle.end()

    async def _initiate_server_close(self) -> None:
        await self._http1.give_up()
        await self.stream.aclose()

    async def protocol_send(self, event: Event) -> None:
        """What goes out, and what happens to the connection. The head of an answer waits for what follows it, which
        hypercorn sends next."""
        if isinstance(event, RawData):
            if not event.data:
                return
            if not self._head and not isinstance(event, Ready) and event.data.startswith(b"HTTP/1.1 2"):
                self._head = event.data
                return
            if self._head:
                event = RawData(self._head + event.data)
                self._head = b""
            stream: Any = self.stream
            if not self.send_lock.locked() and isinstance(stream, TimedStream):
                event = RawData(stream.send_now(event.data))
                if not event.data:
                    return
        elif isinstance(event, BodyAwaited):
            self._idle.await_body()
            return
        elif self._head:
            head, self._head = self._head, b""
            await super().protocol_send(RawData(head))
        await super().protocol_send(event)
