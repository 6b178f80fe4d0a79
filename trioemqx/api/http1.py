"""HTTP/1.1 for short requests: one that has come whole is answered in the connection's own task.

hypercorn starts a task with a channel for every request, so that an answer can begin while the body is still coming.
The API's requests mostly come in one piece, and then that is much of what they cost. One with a short body is kept
until the body is there: answered before, the connection would have to end with it, since what follows could be the body
or a request. All others, and WebSocket, go hypercorn's way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.utils import build_and_validate_headers, suppress_body

log = logging.getLogger("trioemqx.api")

NOT_WHOLE: Final = frozenset({b"upgrade", b"expect"})
"""Headers of requests that need an answer before they are complete."""
SHORT: Final = 64 * 1024
"""Bytes of a declared body that are waited for before anything of the request is looked at."""
REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
WHOLE: Final = "trioemqx.whole"
"""Among a scope's extensions: the first `receive` gives the whole body, and does not wait."""


class Ready(RawData):
    """Bytes that wait for nothing that could follow."""


class BodyAwaited(Updated):
    """A request's head has come, and its body is waited for."""


class OneAfterTheOther(h11.Connection):
    """h11's connection. What follows the last request of a connection is not looked at [RFC 9112 9.6]: h11 calls it an
    error, and whether that came before the answer was a matter of luck. A request line that is longer than a head may
    be is refused also when it came at once, which h11 lets pass."""

    def next_event(self) -> Any:
        """The next event of the client's side. Raises h11.RemoteProtocolError."""
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Request) and len(event.target) > self._max_incomplete_event_size:
            raise h11.RemoteProtocolError("request line too long", error_status_hint=414)
        return event


class Http1(H11Protocol):
    """hypercorn's protocol, with a shorter way for requests that are in the buffer from beginning to end."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._awaited: h11.Request | None = None
        self._body = bytearray()
        self.connection = OneAfterTheOther(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)

    @classmethod
    def instead_of(cls, wrapper: ProtocolWrapper) -> Http1:
        """The protocol for the connection that `wrapper` was made for."""
        return cls(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            wrapper.state,
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )

    async def _check_protocol(self, event: object) -> None:
        """An offer to change to HTTP/2 (`Upgrade: h2c`) is not taken up."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin a request or WebSocket. hypercorn would pack what goes to each WebSocket, for every one of them again,
        and cannot be told not to; so it never hears that a client offers it."""
        kept = [(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"]
        if len(kept) < len(request.headers):
            request = h11.Request(
                method=request.method, target=request.target, headers=kept, http_version=request.http_version
            )
        await super()._create_stream(request)

    async def _handle_events(self) -> None:
        """What has come: whole requests one after the other, and then what hypercorn has to see."""
        while self._awaited is not None or self._between():
            try:
                request = self._awaited or self.connection.next_event()
                if not isinstance(request, h11.Request):
                    return
                self._awaited = None
                body, complete = self._body_so_far(request)
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            if not complete and _is_short(request):
                self._awaited = request
                await self.send(BodyAwaited(idle=True))
                return
            await self.send(Updated(idle=False))
            if complete:
                await self._answer(request, body)
                if not self._between():  # it is closed, and nothing more is read from it
                    return
            else:
                await self._create_stream(request)
                if body and self.stream is not None:
                    await self.stream.handle(Body(stream_id=STREAM_ID, data=body))
        await super()._handle_events()

    async def _refuse(self, status: int) -> None:
        """What cannot be answered otherwise ends the connection."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_error_response(status)
        await self.send(Closed())

    async def give_up(self) -> None:
        """Nothing more is waited for. A request whose body did not come is told so."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            await self._send_error_response(408)
        await self.handle(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """What hypercorn sends for a request. Where it is there before the body, it is the connection's last."""
        early = self.connection.their_state is h11.SEND_BODY
        if early and isinstance(event, Response) and event.status_code >= 200:
            headers = [*event.headers, (b"connection", b"close")]
            event = Response(stream_id=event.stream_id, headers=headers, status_code=event.status_code)
        await super().stream_send(event)

    async def _send_h11_event(self, event: Any) -> None:
        """Send, with the reason phrase that hypercorn leaves out and EMQX's clients may look at."""
        if isinstance(event, h11.Response | h11.InformationalResponse) and not event.reason:
            reason = REASONS.get(event.status_code, b"")
            event = type(event)(status_code=event.status_code, headers=event.headers, reason=reason)
        await super()._send_h11_event(event)

    def _between(self) -> bool:
        """Whether the next thing to come is a request."""
        return self.stream is None and self.connection.their_state is h11.IDLE

    def _body_so_far(self, request: h11.Request) -> tuple[bytes, bool]:
        """What there is of the body, and whether that is all of it. Raises h11.RemoteProtocolError."""
        if any(name in NOT_WHOLE for name, _ in request.headers):
            return b"", False
        while True:
            event = self.connection.next_event()
            if isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage) or not _is_short(request):
                body, self._body = bytes(self._body), bytearray()
                return body, isinstance(event, h11.EndOfMessage)
            else:
                return b"", False

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        """Ask the application here and now. What it raises is answered with 500, as hypercorn does."""
        exchange = Exchange(self, request.method, body)
        app: Any = self.app
        try:
            await app(
                self._scope(request), exchange.receive, exchange.send, trio.to_thread.run_sync, trio.from_thread.run
            )
        except Exception:
            log.exception("an HTTP request crashed the application")
        self.keep_alive_requests += 1
        await self.context.mark_request()
        if not exchange.began:
            await self._send_error_response(500)
        await self._maybe_recycle()  # which closes the connection when the answer has no end

    async def write(self, *events: Any) -> None:
        """Send h11's events in one piece. Raises h11.LocalProtocolError when they are none that can follow."""
        data = b"".join([self.connection.send(event) or b"" for event in events])
        if data:
            await self.send(Ready(data))

    def head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> h11.Response:
        """The head of an answer, with what hypercorn adds to each."""
        lines = [*build_and_validate_headers(headers), *self.config.response_headers("h11")]
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            lines.append((b"connection", b"close"))
        return h11.Response(status_code=status, headers=lines, reason=REASONS.get(status, b""))

    def _scope(self, request: h11.Request) -> Any:
        """ASGI's description of the request."""
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "http_version": request.http_version.decode(),
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": request.method.decode("ascii").upper(),
            "scheme": "https" if self.ssl else "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self.config.root_path,
            "headers": list(request.headers),
            "client": self.client,
            "server": self.server,
            "state": self.connection_state.copy(),
            "extensions": {WHOLE: {}},
        }


def _is_short(request: h11.Request) -> bool:
    """Whether the body of a request is declared and short, and the client does not wait to be asked for it."""
    length = None
    for name, value in request.headers:
        if name in NOT_WHOLE or name == b"transfer-encoding":
            return False
        if name == b"content-length":
            length = int(value)  # h11 has seen that it is a number, of 20 digits at most
    return length is not None and length <= SHORT


class Exchange:
    """ASGI's `receive` and `send` for one request that has come whole. `began`: the head of an answer has left."""

    def __init__(self, protocol: Http1, method: bytes, body: bytes) -> None:
        self.began = False
        self._protocol = protocol
        self._method = method.decode("ascii").upper()
        self._body: bytes | None = body
        self._start: Any = None

    async def receive(self) -> dict[str, Any]:
        """The body, and after it nothing any more: whether the client has gone shows when the answer is sent."""
        if self._body is None:
            await trio.sleep_forever()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """The head is kept until there is something to send with it."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))

    async def _send_body(self, body: bytes, more: bool) -> None:
        status = int(self._start["status"])
        events: list[Any] = []
        if not self.began:
            events.append(self._protocol.head(status, self._start.get("headers", ())))
            self.began = True
        if body and not suppress_body(self._method, status):
            events.append(h11.Data(data=bytes(body)))
        if not more:
            events.append(h11.EndOfMessage())
        await self._protocol.write(*events)
