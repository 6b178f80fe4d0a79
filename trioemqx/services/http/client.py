"""Kept-alive connections to one server, over which requests are sent; everything is bounded."""

from __future__ import annotations

import os
import select
import ssl
from collections.abc import Iterable
from typing import Final

import attrs
import h11
import trio

from trioemqx.services.http.egress import in_force
from trioemqx.services.http.target import HttpTls, HttpUrl

CHUNK: Final = 65536
IDLE_SECONDS: Final = 50.0
"""A connection that was idle for longer is not used again: what is between us and the server may have forgotten it."""

Headers = Iterable[tuple[str, str]]


class HttpError(Exception):
    """There is no answer: one line that says why. `again` is True when the connection failed, so that the same request
    may be tried at once; False after a timeout or for an answer that is no HTTP or too large. `sent` is True when the
    server may have had the request before it failed."""

    def __init__(self, text: str, again: bool = False, sent: bool = False) -> None:
        super().__init__(text)
        self.again = again
        self.sent = sent


@attrs.frozen
class HttpAnswer:
    """What a server said. `headers` are in lower case."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class _Gone(Exception):
    """The connection ended before the first byte of an answer."""


class _Connection:
    """One kept-alive connection."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self.stream = stream
        self.idle_since = 0.0
        self._protocol = h11.Connection(h11.CLIENT)
        self._poll = select.poll()
        self._poll.register(socket.fileno(), select.POLLIN)

    def usable(self, now: float) -> bool:
        """False when the server has closed it, or sent what nobody asked for."""
        return now - self.idle_since < IDLE_SECONDS and not self._poll.poll(0)

    @property
    def ended(self) -> bool:
        """True when the server has closed the connection."""
        return self._protocol.trailing_data[1]

    async def ask(self, head: h11.Request, body: bytes, max_answer: int) -> tuple[HttpAnswer, bool]:
        """One request and its answer, and whether the connection can be used again."""
        protocol = self._protocol
        data = protocol.send(head) or b""
        if body:
            data += protocol.send(h11.Data(body)) or b""
        data += protocol.send(h11.EndOfMessage()) or b""
        try:
            await self.stream.send_all(data)
            answer = await self._answer(max_answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _Gone(str(error.__cause__ or "connection lost")) from None
        if protocol.our_state is h11.DONE and protocol.their_state is h11.DONE:
            protocol.start_next_cycle()
            return answer, not protocol.trailing_data[0]
        return answer, False

    async def _answer(self, max_answer: int) -> HttpAnswer:
        protocol = self._protocol
        status, size = 0, 0
        headers: tuple[tuple[str, str], ...] = ()
        parts: list[bytes] = []
        silent = True
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some(CHUNK)
                if silent and not data:
                    raise _Gone("the server closed the connection")
                silent = False
                protocol.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > max_answer:
                    raise HttpError(f"the answer is larger than {max_answer} bytes")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return HttpAnswer(status, b"".join(parts), headers)


class HttpClient:
    """Requests to one server, over at most `pool_size` connections; more of them wait for a free one.

    `timeout` (seconds) bounds a request with everything that belongs to it, `connect_timeout` the making of a
    connection, `max_answer` (bytes) the body of an answer. `headers` go with every request. Raises ValueError for a
    URL or header that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        headers: Headers = (),
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        max_answer: int = 65536,
    ) -> None:
        self.url = HttpUrl.parse(url)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_answer = max_answer
        self._context = tls if tls is not None else HttpTls().context() if self.url.tls else None
        self._server_name = {"": self.url.host, "disable": None}.get(server_name, server_name)
        self._limit = trio.Semaphore(pool_size)
        self._idle: list[_Connection] = []
        self._closed = False
        self._headers = [("Host", self.url.authority)]
        given = {name.lower() for name, _ in headers}
        if self.url.authorization and "authorization" not in given:
            self._headers.append(("Authorization", self.url.authorization))
        if "user-agent" not in given:
            self._headers.append(("User-Agent", "trioemqx"))
        self._headers += headers
        self._head("GET", "/", (), b"")

    async def request(self, method: str, target: str = "", headers: Headers = (), body: bytes = b"") -> HttpAnswer:
        """Send a request for `target` (path and query; the URL's own when empty) and return the answer, whatever its
        status. Raises HttpError."""
        head = self._head(method, target or self.url.target, headers, body)
        with trio.move_on_after(self._timeout):
            async with self._limit:
                return await self._ask(head, body)
        raise HttpError(f"no answer within {self._timeout:g} s")

    async def open(self) -> None:
        """Make a connection now, for the first request. Raises HttpError when that is not possible."""
        connection, _ = await self._take()
        await self._put_back(connection, True)

    async def aclose(self) -> None:
        """Close the connections: idle ones now, the others when their answer is here."""
        self._closed = True
        while self._idle:
            await trio.aclose_forcefully(self._idle.pop().stream)

    def _head(self, method: str, target: str, headers: Headers, body: bytes) -> h11.Request:
        lines = [*self._headers, *headers]
        if body or method not in ("GET", "HEAD", "DELETE"):
            lines.append(("Content-Length", str(len(body))))
        try:
            return h11.Request(method=method, target=target, headers=lines)
        except (h11.LocalProtocolError, UnicodeEncodeError):
            raise ValueError("a header or the target of the request has characters that HTTP does not allow") from None

    async def _ask(self, head: h11.Request, body: bytes) -> HttpAnswer:
        while True:
            connection, fresh = await self._take()
            keep = False
            try:
                answer, keep = await connection.ask(head, body, self._max_answer)
                return answer
            except _Gone as error:
                # A server may close an idle connection at any time, also just as we write to it.
                if fresh:
                    raise HttpError(str(error), again=True, sent=True) from None
            except h11.RemoteProtocolError as error:
                cut = connection.ended
                reason = "the answer is cut short" if cut else f"the answer is not HTTP: {error}"
                raise HttpError(reason, cut, sent=True) from None
            finally:
                await self._put_back(connection, keep)

    async def _put_back(self, connection: _Connection, keep: bool) -> None:
        if keep and not self._closed:
            connection.idle_since = trio.current_time()
            self._idle.append(connection)
        else:
            await trio.aclose_forcefully(connection.stream)

    async def _take(self) -> tuple[_Connection, bool]:
        """A connection, and whether it is a new one. The one used last is used first, so that few stay open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(trio.current_time()):
                return connection, False
            await trio.aclose_forcefully(connection.stream)
        with trio.move_on_after(self._connect_timeout):
            return await self._connect(), True
        raise HttpError(f"no connection within {self._connect_timeout:g} s", again=True)

    async def _connect(self) -> _Connection:
        stream = await self._open()
        if self._context is None:
            return _Connection(stream, stream.socket)
        name = self._server_name
        secured = trio.SSLStream(stream, self._context, server_hostname=name, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise HttpError(f"TLS: {error.__cause__ or error}", again=True) from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Connection(secured, stream.socket)

    async def _open(self) -> trio.SocketStream:
        """A connection to the first address that takes one."""
        reason = "the name has no address"
        for address in await self._addresses():
            try:
                return await trio.open_tcp_stream(address, self.url.port)
            except OSError as error:
                reason = _reason(error)
        raise HttpError(reason, again=True)

    async def _addresses(self) -> list[str]:
        try:
            found = await trio.socket.getaddrinfo(self.url.host, self.url.port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise HttpError(f"the name of the server cannot be resolved: {error.strerror or error}", True) from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        refusal = in_force().refusal_of(addresses)
        if refusal:
            raise HttpError(f"the server's address {refusal}")
        return addresses


def _reason(error: OSError) -> str:
    """Why a connection could not be made, in the system's words, which Trio puts below its own."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    number = cause.errno if isinstance(cause, OSError) else None
    return (os.strerror(number) if number else str(error)).lower()
