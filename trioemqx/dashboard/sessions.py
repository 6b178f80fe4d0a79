"""Who is logged in to the dashboard: in memory only, so that a restart ends all of it.

A session is known by a random cookie, of which only the hash is kept: what is in memory does not open the door. It ends
when it was not used for a while, when it is old, when its user logs out, is removed or gets another password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from trioemqx.config.management import DashboardConfig
    from trioemqx.services.dashboard_users import DashboardUsers

BYTES: Final = 32
"""Of randomness in a cookie, and in a token against requests of other sites."""
MAX_COOKIES: Final = 100
_MAX_TOKEN: Final = 64


@attrs.define(eq=False)
class Session:
    """One login. `password` is the hash that it was made with; times are monotonic seconds."""

    username: str
    password: str = attrs.field(repr=False)
    csrf: str = attrs.field(repr=False)
    since: float
    used: float
    ended: bool = False


class Sessions:
    """All of them. `now()` is a monotonic clock, `settings()` the `[dashboard]` of the moment."""

    def __init__(
        self, users: DashboardUsers, now: Callable[[], float], settings: Callable[[], DashboardConfig]
    ) -> None:
        self._users = users
        self._now = now
        self._settings = settings
        self._by_hash: OrderedDict[bytes, Session] = OrderedDict()
        self.dropped = 0
        """Sessions that ended because there were too many."""

    def __len__(self) -> int:
        return len(self._by_hash)

    def open(self, username: str) -> tuple[str, Session]:
        """A new session of a user who has proven themselves, and its cookie. KeyError when the user has gone. With as
        many as there may be, the one that was not used for longest ends."""
        user = self._users.find(username)
        if user is None:
            raise KeyError(username)
        self._forget_dead()
        while len(self._by_hash) >= self._settings().max_sessions:
            _, oldest = self._by_hash.popitem(last=False)
            oldest.ended = True
            self.dropped += 1
        now = self._now()
        token = secrets.token_urlsafe(BYTES)
        session = Session(username, user.password, secrets.token_urlsafe(BYTES), now, now)
        self._by_hash[_hashed(token)] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """The session of a cookie, which counts as used now; None when there is none or it has ended."""
        hashed = _hashed(token)
        session = self._by_hash.get(hashed)
        if session is None:
            return None
        if not self.alive(session):
            del self._by_hash[hashed]
            return None
        self._by_hash.move_to_end(hashed)
        session.used = self._now()
        return session

    def alive(self, session: Session) -> bool:
        """Whether a session still holds. Does not count as use."""
        if session.ended:
            return False
        now, settings = self._now(), self._settings()
        if 0 < settings.session_idle_timeout <= now - session.used:
            return False
        if 0 < settings.session_max_age <= now - session.since:
            return False
        user = self._users.find(session.username)
        return user is not None and user.password == session.password

    def holds(self, session: Session) -> bool:
        """`alive`, for somebody who goes on using it."""
        if not self.alive(session):
            return False
        session.used = self._now()
        return True

    def close(self, token: str) -> None:
        """Log out."""
        session = self._by_hash.pop(_hashed(token), None)
        if session is not None:
            session.ended = True

    def _forget_dead(self) -> None:
        for hashed, session in list(self._by_hash.items()):
            if not self.alive(session):
                del self._by_hash[hashed]


def same_csrf(session: Session, given: bytes | None) -> bool:
    """Whether a request carries the session's token."""
    return given is not None and hmac.compare_digest(given, session.csrf.encode("ascii"))


def cookie_name(port: int) -> str:
    """By port: browsers give a host's cookies to each of its ports."""
    return f"trioemqx_{port}"


def cookie_of(headers: Mapping[bytes, bytes], port: int) -> str | None:
    """The session's cookie of a request, None when it has none. Of several the first counts, as in browsers the one
    whose path is longest."""
    wanted = cookie_name(port).encode("ascii")
    for pair in headers.get(b"cookie", b"").split(b";")[:MAX_COOKIES]:
        name, _, value = pair.strip().partition(b"=")
        if name == wanted and len(value) <= _MAX_TOKEN and value.isascii():
            return value.decode("ascii")
    return None


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
