"""The seam to access control: what the core asks, and the questions it cannot answer without waiting.

`services.access` implements `Access`. Each `..._now` method answers at once when it can (no backend is loaded) and
returns None when somebody has to be asked; the channel then leaves a `Question` for its connection's task.
"""

from __future__ import annotations

from typing import Final, Protocol

from trioemqx.core.zone import Zone
from trioemqx.types import PUBLISH, SUBSCRIBE, ClientInfo, Verdict

AUTHENTICATE: Final = "authenticate"
ENHANCED: Final = "enhanced_authenticate"
CHECK_ACL: Final = "check_acl"


class Access(Protocol):
    """Access control as the channel sees it. `now` is monotonic seconds."""

    def admit(self, client: ClientInfo, zone: Zone, now: float) -> int:
        """Bans and flapping, before authentication: 0 or the reason code that refuses the CONNECT."""
        ...

    def authenticate_now(self, client: ClientInfo, zone: Zone, password: bytes | None) -> Verdict | None:
        """The verdict if no backend has to be asked, else None."""
        ...

    def check_acl_now(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool | None:
        """Whether `action` (publish or subscribe) on `topic` is allowed, or None if a backend has to be asked."""
        ...

    def source_banned(self, clientid: str) -> bool:
        """True while retained messages of this publisher must not be delivered."""
        ...

    async def check_acl(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool:
        """The answer of the backends; not called from the core."""
        ...


class AuthStep:
    """One step of enhanced authentication: `result` is `ok`, `continue` or `fail`; `data` goes to the client; `cache`
    is handed to the next step."""

    __slots__ = ("cache", "code", "data", "result")

    def __init__(self, result: str, data: bytes | None = None, cache: object = None, code: int = 0x87) -> None:
        self.result = result
        self.data = data
        self.cache = cache
        self.code = code


class Question:
    """What a connection's task has to find out before its channel reads the next packet.

    `kind` is one of the constants above. AUTHENTICATE is answered with a `Verdict`, ENHANCED with an `AuthStep`,
    CHECK_ACL with one bool per topic.
    """

    __slots__ = ("action", "cache", "client", "data", "kind", "method", "password", "topics", "zone")

    def __init__(self, kind: str, client: ClientInfo, zone: Zone) -> None:
        self.kind = kind
        self.client = client
        self.zone = zone
        self.password: bytes | None = None
        self.method = ""
        self.data: bytes | None = None
        self.cache: object = None
        self.action = ""
        self.topics: list[str] = []


class Grant:
    """A cached access decision for one topic, good until `until` (monotonic seconds)."""

    __slots__ = ("allowed", "until")

    def __init__(self, allowed: bool, until: float) -> None:
        self.allowed = allowed
        self.until = until


class AclCache:
    """Decisions of one connection: at most `size` of them, each for `ttl` seconds; when full the oldest goes.

    Keys are `p` or `s` (publish, subscribe) followed by the topic.
    """

    __slots__ = ("grants", "size", "ttl")

    def __init__(self, size: int, ttl: float) -> None:
        self.size = size
        self.ttl = ttl
        self.grants: dict[str, Grant] = {}

    def get(self, action: str, topic: str, now: float) -> Grant | None:
        """The decision if it is still good."""
        key = action[0] + topic
        grant = self.grants.get(key)
        if grant is not None and now >= grant.until:
            del self.grants[key]
            return None
        return grant

    def put(self, action: str, topic: str, allowed: bool, now: float, spare: bool = False) -> str:
        """Remember a decision; returns the key that had to go for it, "" for none. With `spare` the cache takes one in
        for another and does not grow beyond the first."""
        key = action[0] + topic
        if self.size <= 0:
            return key
        grants = self.grants
        gone = ""
        if (len(grants) >= self.size or (spare and grants)) and key not in grants:
            gone = next(iter(grants))
            del grants[gone]
        grants[key] = Grant(allowed, now + self.ttl)
        return gone

    def entries(self, now: float) -> list[tuple[str, str, bool, float]]:
        """(action, topic, allowed, age in seconds) of every decision, oldest first; those that are over go."""
        grants = self.grants
        for key in [key for key, grant in grants.items() if now >= grant.until]:
            del grants[key]
        return [
            (PUBLISH if key[0] == "p" else SUBSCRIBE, key[1:], grant.allowed, now - (grant.until - self.ttl))
            for key, grant in grants.items()
        ]

    def clear(self) -> None:
        """Forget everything (ACL reload, API)."""
        self.grants.clear()
