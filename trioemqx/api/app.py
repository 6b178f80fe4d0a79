"""The application that hypercorn serves: EMQX's API, and pages around it.

Requests for the API are answered here and not by Quart's own routing, because `%2F` in a path must stay what it is, and
because a message published by HTTP should not cost more than the broker's part of it. Everything else (pages, files,
WebSockets) is Quart's.
"""

from __future__ import annotations

import inspect
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio
from quart_trio import QuartTrio

from trioemqx.api.auth import Doorkeeper
from trioemqx.api.host import ApiHost
from trioemqx.api.http1 import WHOLE
from trioemqx.api.requests import Bodies, check_scalar, load_json, parse_query, segments
from trioemqx.dashboard.origin import from_other_site, peer_of
from trioemqx.services.audit import MESSAGES
from trioemqx.services.store.protocol import StoreError
from trioemqx.services.web import ApiError, Bare, Call, Download, Endpoint, Page, PlainText, Routes
from trioemqx.services.web.answers import NOT_JSON, SUCCESS, not_found_page
from trioemqx.services.web.endpoints import BadPath, arguments

if TYPE_CHECKING:
    from trioemqx.api.front import Front

log = logging.getLogger("trioemqx.api")

JSON: Final = "application/json"
REQUEST_TIME: Final = 30.0
"""Seconds that a body, a handler and the store may each take."""
PIECE: Final = 64 * 1024
"""Bytes of a file sent at a time."""
API: Final = (b"api", b"v4")
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 16 * 1024
METRICS: Final = ("GET", b"/metrics")
SCRAPED: Final = {"raw_path": b"/api/v4/emqx_prometheus", "query_string": b"type=prometheus"}
"""Where Prometheus looks unless it is told otherwise; there while the plugin emqx_prometheus is."""
_FIXED: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


@attrs.frozen
class Answer:
    """What goes out."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    file: Path | None = None
    """Sent in place of `body`."""
    general: tuple[tuple[bytes, bytes], ...] = _FIXED
    """Headers that it shares with most others."""


class ApiApp(QuartTrio):
    """The API on one of its two doors: `listener` is `management` or `dashboard`."""

    def __init__(self, host: ApiHost, listener: str, routes: Routes, doorkeeper: Doorkeeper) -> None:
        super().__init__("trioemqx.api", static_folder=None)
        self.host = host
        self.listener = listener
        self.routes = routes
        self.doorkeeper = doorkeeper
        self.bodies = Bodies()
        self.on_crash: Callable[[str, BaseException], None] = _forget_crash
        self.absent = Routes()
        """What answers for shipped plugins that are not loaded."""
        self.outside: dict[tuple[bytes, ...], Callable[[Mapping[str, Any]], Answer]] = {}
        """GET requests outside `/api/v4` that need no credentials: `/status`, `/ready`."""
        self.front: Front | None = None
        """The dashboard, on its own listener."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http":
            if self.front is None or not await self.front.websocket(scope, receive, send):
                await super().__call__(scope, receive, send)
            return
        asked = (scope["method"], scope["raw_path"])
        if asked == METRICS and self.host.web_routes.find("GET", ("emqx_prometheus",)) is not None:
            scope = {**scope, **SCRAPED}
        path: bytes = scope["raw_path"]
        if not path.startswith(b"/"):  # a server accepts the absolute form as well [RFC9112 3.2.2]
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
            scope["raw_path"] = path
        parts = tuple(part for part in path.split(b"/") if part)
        if parts[:2] == API or parts in self.outside or (self.front is not None and self.front.has(parts)):
            await _write(await self._answer(scope, path, parts, receive), send)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, scope: Any, path: bytes, parts: tuple[bytes, ...], receive: Receive) -> Answer:
        """The answer to a request that is ours, whatever goes wrong with it."""
        try:
            _check_head(scope["headers"])
            outside = self.outside.get(parts)
            if outside is not None:
                if scope["method"] != "GET":
                    return Answer(400, b"Not found.", "text/plain")
                return outside(scope)
            if self.front is not None and self.front.has(parts):
                with trio.fail_after(REQUEST_TIME):
                    return await self.front.answer(scope, parts, receive)
            return await self._serve(scope, path, receive)
        except ApiError as error:
            own = self.front is not None and self.front.is_asked(scope, parts)
            return self._refusal(error, challenge=not own)
        except BadPath:
            return Answer(400, b"")
        except trio.TooSlowError:
            return self._refusal(ApiError(101, "timeout", 503))
        except Exception as error:
            return self._crashed(error, f"{scope['method']} {path[:200].decode('ascii', 'replace')}")

    async def _serve(self, scope: Any, path: bytes, receive: Receive) -> Answer:
        """A request for the API: who sends it comes before what it is about, and that before its body. Raises ApiError
        and BadPath."""
        headers = headers_of(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise ApiError(NOT_JSON, "Bad Request", 400, {"reason": "Transfer-Encoding and Content-Length"})
        peer = self.peer(scope, headers)
        method: str = scope["method"]
        parts = segments(path)[2:]
        self.check_site(method, headers)
        endpoint = self._find(method, parts)
        is_open = endpoint is not None and self._is_open(endpoint)
        user = "" if is_open else await self._admit(scope, headers, peer)
        if endpoint is None:
            raise not_found_page() if parts else ApiError(108, "Bad Request", 400)
        if not is_open:
            self._check_role(endpoint, user, peer, path)
        query = parse_query(scope["query_string"])
        body = await self._body(endpoint, headers, scope, receive)
        call = Call(
            endpoint,
            arguments(endpoint, parts),
            query,
            body,
            host=self.host,
            user=user,
            peer=peer,
            listener=self.listener,
        )
        self._check_node(call)
        return _success(await (self._handled(call) if method == "GET" else self._changed(call, path)))

    async def _handled(self, call: Call) -> object:
        """What the endpoint answers. Raises ApiError, and TooSlowError after REQUEST_TIME."""
        found = call.endpoint.handle(call)
        if inspect.isawaitable(found):
            with trio.fail_after(REQUEST_TIME):
                found = await found
        return found

    async def _changed(self, call: Call, path: bytes) -> object:
        """As `_handled`, for a request that may change something: that is recorded, and kept before it is said to be
        done."""
        endpoint, outcome = call.endpoint, "failed"
        try:
            found = await self._handled(call)
            if not endpoint.volatile:
                await self._kept()
            outcome = "ok"
            return found
        except ApiError as error:
            outcome = str(error.code)
            raise
        finally:
            stranger = endpoint.anonymous and outcome != "ok"  # else they could push everything out of the list
            if not stranger:
                where = f"{path[:200].decode('ascii', 'replace')} {call.note}".rstrip()
                keep = endpoint.path not in MESSAGES
                self.host.audit.record(self.listener, call.user, call.peer, endpoint.method, where, outcome, keep=keep)

    def peer(self, scope: Any, headers: Mapping[bytes, bytes]) -> str:
        """The address that a request comes from."""
        client = scope.get("client")
        return peer_of(headers, client[0] if client else "", self.behind_proxy)

    @property
    def behind_proxy(self) -> bool:
        """Whether this door is behind a proxy whose words are believed."""
        return self.listener == "dashboard" and self.host.config.dashboard.behind_proxy

    def check_site(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise ApiError with HTTP 403 for a change that a browser sends for another site."""
        if method != "GET" and from_other_site(headers, self.behind_proxy):
            raise ApiError(102, "requests of other sites are refused", 403)

    async def _admit(self, scope: Any, headers: Mapping[bytes, bytes], peer: str) -> str:
        """Who sends this. The dashboard's cookie counts when there are no other credentials. Raises ApiError."""
        given = headers.get(b"authorization")
        if given is None and self.front is not None:
            session = self.front.session(scope, headers, peer)
            if session is not None:
                return session.username
        return await self.doorkeeper.admit(given, peer)

    def _check_role(self, endpoint: Endpoint, user: str, peer: str, path: bytes) -> None:
        """Raise ApiError with HTTP 403 for what the role does not include. It is counted and recorded, also where
        nothing would have been changed."""
        try:
            self.doorkeeper.check_role(user, endpoint)
        except ApiError as error:
            self.host.broker.metrics.inc("api.request_forbidden", 1)
            where, keep = path[:200].decode("ascii", "replace"), self.doorkeeper.denials.keep(user)
            self.host.audit.record(self.listener, user, peer, endpoint.method, where, str(error.code), keep=keep)
            raise

    def _find(self, method: str, parts: tuple[str, ...]) -> Endpoint | None:
        tables = (self.routes, self.host.web_routes, self.absent)
        endpoint = next(filter(None, (table.find(method, parts) for table in tables)), None)
        if endpoint is None or self.listener not in endpoint.listeners:
            return None
        part = self.host.plugins.built_in.get(endpoint.app)
        return endpoint if part is None or part.active else None

    def _is_open(self, endpoint: Endpoint) -> bool:
        if endpoint.path == "/emqx_prometheus":
            needs_login = self.host.config.management.prometheus_needs_login
            return self.host.config.security.profile != "hardened" if needs_login is None else not needs_login
        return endpoint.anonymous

    async def _body(self, endpoint: Endpoint, headers: Mapping[bytes, bytes], scope: Any, receive: Receive) -> object:
        declared = headers.get(b"content-length", b"")
        chunked = b"transfer-encoding" in headers
        if not chunked and (not declared or declared == b"0"):
            return None
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise ApiError(NOT_JSON, "Bad Request", 400, {"reason": "a content encoding is not accepted"})
        length = int(declared) if declared.isdigit() and len(declared) < 16 else None
        limit = endpoint.max_body or self.host.config.management.max_body_size * (2 if endpoint.raw else 1)
        if WHOLE in scope["extensions"]:
            body = await self.bodies.read(receive, length, limit)
        else:
            with trio.fail_after(REQUEST_TIME):
                body = await self.bodies.read(receive, length, limit)
        if not body or endpoint.raw:
            return body or None
        value = load_json(body)
        check_scalar(value, bool(endpoint.body or endpoint.query))
        return value

    def _check_node(self, call: Call) -> None:
        """A node that nobody has heard of is a path that leads nowhere; one that is down cannot be asked."""
        node = call.args.get("node")
        if node is None:
            return
        running = self.host.nodes().get(node)
        if running is None:
            raise not_found_page()
        if not running:
            raise ApiError(101, "nodedown")

    async def _kept(self) -> None:
        """What was changed is as safe as the store makes things before the answer says that it is done."""
        store = self.host.store
        if store.pending():
            try:
                with trio.fail_after(REQUEST_TIME):
                    await store.apply(()).wait()
            except StoreError as error:
                raise ApiError(102, "store_failed", extra={"reason": str(error)}) from error

    def _refusal(self, error: ApiError, *, challenge: bool = True) -> Answer:
        body: dict[str, object] = {"code": error.code, "message": error.message, **(error.extra or {})}
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if error.status == 401 and challenge:
            headers = ((b"www-authenticate", b'Basic Realm="minirest-server"'),)
        elif error.status == 429:
            headers = ((b"retry-after", b"60"),)
        return Answer(error.status, msgspec.json.encode(body), JSON, headers)

    def _crashed(self, error: Exception, what: str) -> Answer:
        """A bug. The caller gets a number to look for in the log, and nothing of what is inside."""
        number = secrets.token_hex(4)
        log.error("request %s failed: %s", number, what, exc_info=error)
        self.on_crash(what, error)
        return self._refusal(ApiError(500, "Internal Error", 500, {"id": number}))


def _forget_crash(what: str, error: BaseException) -> None:
    """Default of `on_crash`: the log line is all there is."""


def headers_of(pairs: Any) -> dict[bytes, bytes]:
    """The first of each name; hypercorn has made the names lower case."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _check_head(pairs: Any) -> None:
    """Raise ApiError for more header lines than anybody needs."""
    if len(pairs) > MAX_HEADERS or sum(len(name) + len(value) for name, value in pairs) > MAX_HEAD:
        raise ApiError(102, "too many or too long headers", 431)


def _success(found: object) -> Answer:
    if isinstance(found, Answer):
        return found
    if isinstance(found, Page):
        return Answer(200, msgspec.json.encode({"code": SUCCESS, "data": found.rows, "meta": found.meta()}))
    if isinstance(found, PlainText):
        return Answer(found.status, found.text.encode("utf-8"), found.content_type)
    if isinstance(found, Bare):
        return Answer(200, msgspec.json.encode(found.body))
    if isinstance(found, Download):
        disposition = f"attachment; filename={found.filename}".encode("ascii", "replace")
        named = ((b"content-disposition", disposition),)
        if isinstance(found.content, Path):
            return Answer(200, b"", found.content_type, named, found.content)
        return Answer(200, found.content, found.content_type, named)
    if found is None:
        return Answer(200, b'{"code":0}')
    return Answer(200, msgspec.json.encode({"code": SUCCESS, "data": found}))


async def _write(answer: Answer, send: Send) -> None:
    if answer.file is not None:
        await _write_file(answer, answer.file, send)
        return
    await send(_start(answer, len(answer.body)))
    await send({"type": "http.response.body", "body": answer.body})


async def _write_file(answer: Answer, path: Path, send: Send) -> None:
    """Send a file in pieces, as it was when it was opened; one that has gone meanwhile is a path that leads nowhere."""
    try:
        file = await trio.open_file(path, "rb")
    except OSError:
        await _write(Answer(404, b'{"code":404,"message":"Not found."}'), send)
        return
    async with file:
        left = os.fstat(file.fileno()).st_size
        await send(_start(answer, left))
        while left and (part := await file.read(min(left, PIECE))):
            left -= len(part)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _start(answer: Answer, length: int) -> dict[str, Any]:
    sized = answer.status != 304  # where it would have to be the length of what is not sent
    headers = [
        (b"content-type", answer.content_type.encode("ascii")),
        *([(b"content-length", str(length).encode("ascii"))] if sized else ()),
        *answer.general,
        *answer.headers,
    ]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}
