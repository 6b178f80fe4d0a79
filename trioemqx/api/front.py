"""The dashboard's listener beside the API: the files, logging in and out, and the live figures.

`POST session`, `GET session` and `DELETE session` make, show and end a login. Its cookie opens `/api/v4` as well; then
each change has to carry the login's token, which pages of other sites cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from trioemqx.api.app import JSON, Answer, ApiApp, headers_of
from trioemqx.api.host import ApiHost
from trioemqx.api.requests import load_json
from trioemqx.dashboard.feed import Feed
from trioemqx.dashboard.files import SECURITY, StaticFile, StaticFiles
from trioemqx.dashboard.origin import is_secure, same_origin
from trioemqx.dashboard.sampler import Sampler
from trioemqx.dashboard.sessions import Session, Sessions, cookie_name, cookie_of, same_csrf
from trioemqx.services.web import ApiError
from trioemqx.services.web.answers import EMPTY_CREDENTIALS, NOT_JSON, WRONG_CREDENTIALS, bad_params, not_found_page

SESSION: Final = (b"session",)
FEED: Final = (b"feed",)
MAX_BODY: Final = 16 * 1024
WRONG: Final = "Username/Password error"
NO_TOKEN: Final = "a change needs the header X-CSRF-Token with the token that GET session shows"


@attrs.define(eq=False)
class Front:
    """The dashboard on one address; several share files, sessions and feed."""

    app: ApiApp
    files: StaticFiles
    sessions: Sessions
    feed: Feed

    def has(self, parts: tuple[bytes, ...]) -> bool:
        """Whether a path, in parts as it was sent, is the dashboard's."""
        return parts == SESSION or self.files.find(parts) is not None

    def is_asked(self, scope: Any, parts: tuple[bytes, ...]) -> bool:
        """Whether a request comes from the dashboard's own pages: they show a login when it is refused, and the browser
        is not told to ask for a password."""
        return self.has(parts) or cookie_of(headers_of(scope["headers"]), _port(scope)) is not None

    async def answer(self, scope: Any, parts: tuple[bytes, ...], receive: Any) -> Answer:
        """What a path that `has` holds for is answered with. Raises ApiError."""
        headers = headers_of(scope["headers"])
        if parts == SESSION:
            return await self._session(scope, headers, receive)
        file = self.files.find(parts)
        if file is None or scope["method"] not in ("GET", "HEAD"):
            raise not_found_page()
        return await _file(file, headers)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def session(self, scope: Any, headers: Mapping[bytes, bytes], peer: str) -> Session | None:
        """The session that a request's cookie is of; None without a cookie. Raises ApiError 401 when it has ended, 403
        for a change without its token."""
        token = cookie_of(headers, _port(scope))
        if token is None:
            return None
        session = self.sessions.find(token)
        if session is None:
            raise ApiError(EMPTY_CREDENTIALS, "UNAUTHORIZED", 401, {"reason": "log in: the session has ended"})
        self.app.doorkeeper.check(session.username, peer)
        if (
            scope["type"] == "http"
            and scope["method"] != "GET"
            and not same_csrf(session, headers.get(b"x-csrf-token"))
        ):
            raise ApiError(102, "wrong CSRF token", 403, {"reason": NO_TOKEN})
        return session

    async def _session(self, scope: Any, headers: Mapping[bytes, bytes], receive: Any) -> Answer:
        method, peer = scope["method"], self.app.peer(scope, headers)
        self.app.check_site(method, headers)
        if method == "POST":
            return await self._log_in(scope, headers, peer, receive)
        if method not in ("GET", "DELETE"):
            raise not_found_page()
        session = self.session(scope, headers, peer)
        if session is None:
            raise ApiError(EMPTY_CREDENTIALS, "UNAUTHORIZED", 401)
        if method == "GET":
            return self._shown(session)
        self.sessions.close(cookie_of(headers, _port(scope)) or "")
        return Answer(200, b'{"code":0}', JSON, (self._cookie(scope, headers, "", "; Max-Age=0"),))

    async def _log_in(self, scope: Any, headers: Mapping[bytes, bytes], peer: str, receive: Any) -> Answer:
        length = headers.get(b"content-length", b"")
        declared = int(length) if length.isdigit() and len(length) < 16 else None
        given = load_json(await self.app.bodies.read(receive, declared, MAX_BODY))
        if not isinstance(given, dict):
            raise ApiError(NOT_JSON, "Bad Request", 400)
        username, password = given.get("username"), given.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            raise bad_params("username and password must be texts")
        reason = await self.app.doorkeeper.prove(username, password, peer)
        if reason is not None:
            raise ApiError(WRONG_CREDENTIALS, WRONG, 401, {"reason": reason} if reason else None)
        self.sessions.close(cookie_of(headers, _port(scope)) or "")
        try:
            token, session = self.sessions.open(username)
        except KeyError:
            raise ApiError(WRONG_CREDENTIALS, WRONG, 401) from None
        shown = self._shown(session)
        return attrs.evolve(shown, headers=(self._cookie(scope, headers, token),))

    def _shown(self, session: Session) -> Answer:
        users = self.app.host.dashboard_users
        user = users.find(session.username)
        data = {
            "username": session.username,
            "tags": user.tags if user is not None else "",
            "csrf": session.csrf,
            "change_password": users.shipped(session.username),
        }
        return Answer(200, msgspec.json.encode({"code": 0, "data": data}))

    def _cookie(self, scope: Any, headers: Mapping[bytes, bytes], value: str, more: str = "") -> tuple[bytes, bytes]:
        """No `Path`: the browser takes the folder that `session` is in, which behind a proxy may be any."""
        secure = "; Secure" if is_secure(headers, scope["scheme"], self.app.behind_proxy) else ""
        text = f"{cookie_name(_port(scope))}={value}; HttpOnly; SameSite=Strict{secure}{more}"
        return b"set-cookie", text.encode("ascii")

    # -- figures -----------------------------------------------------------------------------------------------------

    async def websocket(self, scope: Any, receive: Any, send: Any) -> bool:
        """Serve the live figures; False for a WebSocket to another path. Who may not see them gets 403."""
        if scope["type"] != "websocket":
            return False
        if tuple(part for part in scope["raw_path"].split(b"/") if part) != FEED:
            return False
        headers = headers_of(scope["headers"])
        session = self._viewer(scope, headers)
        if session is None:
            await receive()
            await send({"type": "websocket.close"})
            return True
        await self.feed.serve(receive, send, lambda: self.sessions.holds(session))
        return True

    def _viewer(self, scope: Any, headers: Mapping[bytes, bytes]) -> Session | None:
        if not same_origin(headers, self.app.behind_proxy):
            return None
        try:
            return self.session(scope, headers, self.app.peer(scope, headers))
        except ApiError:
            return None


def _port(scope: Any) -> int:
    server = scope.get("server")
    return int(server[1] or 0) if server else 0


async def _file(file: StaticFile, headers: Mapping[bytes, bytes]) -> Answer:
    """A file, packed for whom that helps; nothing but a head for whoever has it already."""
    general = (*SECURITY, (b"cache-control", b"no-cache"), (b"etag", file.etag), (b"vary", b"accept-encoding"))
    if file.etag in headers.get(b"if-none-match", b""):
        return Answer(304, b"", file.media, general=general)
    packed = await file.gzipped() if b"gzip" in headers.get(b"accept-encoding", b"") else None
    if packed is None:
        return Answer(200, file.content, file.media, general=general)
    return Answer(200, packed, file.media, ((b"content-encoding", b"gzip"),), general=general)


class Dashboard:
    """What all addresses of the dashboard share."""

    def __init__(self, host: ApiHost, files: StaticFiles | None = None) -> None:
        self.sampler = Sampler(
            host.broker.metrics, host.stats_keeper, host.alarms, host.loop_watch, now=host.now, wall=host.wall
        )
        self.files = StaticFiles() if files is None else files
        self.sessions = Sessions(host.dashboard_users, host.now, lambda: host.config.dashboard)
        self.feed = Feed(self.sampler, lambda: host.config.dashboard.max_viewers)

    def put_on(self, app: ApiApp) -> None:
        """Serve it at one of the dashboard's addresses."""
        app.front = Front(app, self.files, self.sessions, self.feed)
