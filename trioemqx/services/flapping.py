"""Clients that connect again and again are banned for a while."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import attrs

from trioemqx.services.banned import CLIENTID, Banned, BanRefused

if TYPE_CHECKING:
    from collections.abc import Callable

BY = "flapping detector"
REASON = "flapping is detected"
_LONG = 64
"""Client ids longer than this are watched by their hash: one may have 65535 bytes."""


@attrs.frozen
class FlappingPolicy:
    """`flapping_detect_policy`: `count` CONNECTs within `window` seconds ban the client id for `ban` seconds."""

    count: int = 30
    window: float = 60.0
    ban: float = 300.0


class Flapping:
    """Counts CONNECTs per client id, before authentication.

    Only zones with both `enable_flapping_detect` and `enable_ban` should ask. At most `max_entries` client ids are
    watched; the one whose window is oldest gives way, so inventing client ids costs memory up to that bound.
    """

    def __init__(
        self,
        banned: Banned,
        policy: FlappingPolicy,
        wall: Callable[[], float] = time.time,
        max_entries: int = 65536,
    ) -> None:
        self.policy = policy
        self.refused = 0
        """Bans that could not be entered because the table of bans was full."""
        self._banned = banned
        self._wall = wall
        self._max_entries = max_entries
        self._seen: dict[str, list[float]] = {}
        """client id or its hash -> [start of its window, CONNECTs in it]; ordered by start, oldest first."""

    def connecting(self, clientid: str, now: float) -> bool:
        """Count one CONNECT at `now` (monotonic seconds). True when it makes the client flapping: it is banned, and its
        session has been ended."""
        key = clientid if len(clientid) <= _LONG else _digest(clientid)
        entry = self._seen.get(key)
        if entry is not None and now - entry[0] <= self.policy.window:
            entry[1] += 1
        else:
            entry = self._restart(key, now)
        if entry[1] < self.policy.count:
            return False
        del self._seen[key]
        return self._ban(clientid)

    def watched(self) -> int:
        """How many client ids are being counted."""
        return len(self._seen)

    def _restart(self, key: str, now: float) -> list[float]:
        self._seen.pop(key, None)
        self._forget(now)
        entry = self._seen[key] = [now, 1]
        return entry

    def _forget(self, now: float) -> None:
        """Drop up to two entries whose window has passed, and the oldest one when the table is full: each CONNECT adds
        at most one, so the table shrinks by itself without a sweep."""
        for _ in range(2):
            oldest = next(iter(self._seen), None)
            if oldest is None:
                return
            if len(self._seen) < self._max_entries and now - self._seen[oldest][0] <= self.policy.window:
                return
            del self._seen[oldest]

    def _ban(self, clientid: str) -> bool:
        until = int(self._wall() + self.policy.ban)
        try:
            self._banned.create(CLIENTID, clientid, by=BY, reason=REASON, until=until)
        except BanRefused:
            self.refused += 1
            return False
        return True


def _digest(clientid: str) -> str:
    return hashlib.sha256(clientid.encode("utf-8", "surrogatepass")).hexdigest() + "#"
