"""Who may not connect: client ids, user names and addresses, each until some time.

The table lives in memory, three dicts, because every CONNECT asks it; the store holds a copy for the next start.
"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.errors import TrioemqxError
from trioemqx.services.store.protocol import Delete, Durable, Row, Store, all_items, key_for

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTID: Final = "clientid"
USERNAME: Final = "username"
PEERHOST: Final = "peerhost"
KINDS: Final = (CLIENTID, USERNAME, PEERHOST)
TABLE: Final = "banned"
DEFAULT_SECONDS: Final = 300
MAX_WHO: Final = 65535
"""Longer than any string in a packet."""


class BanRefused(TrioemqxError):
    """The ban cannot be entered: unknown kind, not an address, name too long, or the table is full."""


class TableFull(BanRefused):
    """There is no room for one more ban."""


@attrs.frozen
class Ban:
    """One entry. `kind` is `clientid`, `username` or `peerhost` (EMQX: `as`); `at` and `until` are Unix seconds."""

    kind: str
    who: str
    by: str
    reason: str
    at: int
    until: int


class Banned:
    """The table of bans. `kick` ends the session of a client id; `wall` gives Unix seconds.

    A ban is in force while `until` is greater than now. At most `max_entries` are kept, since clients can cause bans.
    """

    def __init__(
        self,
        store: Store,
        kick: Callable[[str], object],
        wall: Callable[[], float] = time.time,
        max_entries: int = 100_000,
    ) -> None:
        self._store = store
        self._kick = kick
        self._wall = wall
        self._max_entries = max_entries
        self.on_ban: Callable[[Ban], None] = _nobody_waits
        """Told of every ban that is in force from now on."""
        self._bans: dict[str, dict[str, Ban]] = {kind: {} for kind in KINDS}

    async def load(self) -> None:
        """Read what an earlier run stored, without the bans that ended meanwhile."""
        async for _, row in all_items(self._store, TABLE):
            ban = _from_row(row)
            self._bans[ban.kind][ban.who] = ban
        self.purge()

    def check(self, clientid: str, username: str | None, peerhost: str, now_wall: float) -> Ban | None:
        """The ban that keeps this client out at `now_wall` (Unix seconds), or None."""
        for kind, who in ((CLIENTID, clientid), (USERNAME, username), (PEERHOST, peerhost)):
            table = self._bans[kind]
            if not table or who is None or (not who and kind != USERNAME):
                continue
            ban = table.get(one_spelling(who) or who if kind == PEERHOST else who)
            if ban is not None and ban.until > now_wall:
                return ban
        return None

    def source_banned(self, clientid: str, now_wall: float) -> bool:
        """True while retained and delayed messages of this client id must not be delivered."""
        ban = self._bans[CLIENTID].get(clientid) if clientid else None  # what no client sent has none
        return ban is not None and ban.until > now_wall

    def create(
        self,
        kind: str,
        who: str,
        *,
        by: str = "user",
        reason: str = "",
        at: int | None = None,
        until: int | None = None,
    ) -> Durable:
        """Enter or replace a ban; one of a client id ends its session at once, and `on_ban` sees to the other kinds.
        Defaults: from now, for 300 s.

        Raises BanRefused, TableFull when there is no room.
        """
        who = _checked(kind, who)
        now = self._wall()
        if who not in self._bans[kind] and len(self) >= self._max_entries and not self.purge():
            raise TableFull(f"the table of bans is full ({self._max_entries})")
        start = int(now) if at is None else at
        end = int(now) + DEFAULT_SECONDS if until is None else until
        ban = Ban(kind, who, by, reason, start, end)
        durable = self._store.put(TABLE, _key(kind, who), _to_row(ban))
        self._bans[kind][who] = ban
        if end > now:
            if kind == CLIENTID:
                self._kick(who)
            self.on_ban(ban)
        return durable

    def delete(self, kind: str, who: str) -> bool:
        """Lift a ban; False when there was none. Raises BanRefused for an unknown kind or a bad address."""
        who = _checked(kind, who)
        if self._bans[kind].pop(who, None) is None:
            return False
        self._store.delete(TABLE, _key(kind, who))
        return True

    def find(self, kind: str, who: str) -> Ban | None:
        """The entry, in force or not yet purged."""
        return self._bans[kind].get(_checked(kind, who))

    def room(self) -> int:
        """How many more bans there can be."""
        return max(0, self._max_entries - len(self))

    def entries(self) -> list[Ban]:
        """All entries, kind by kind, in the order they were made."""
        return [ban for kind in KINDS for ban in self._bans[kind].values()]

    def __len__(self) -> int:
        return sum(map(len, self._bans.values()))

    def purge(self) -> int:
        """Remove the bans that have ended; returns how many."""
        now = self._wall()
        ended = [ban for ban in self.entries() if ban.until <= now]
        for ban in ended:
            del self._bans[ban.kind][ban.who]
        if ended:
            self._store.apply([Delete(TABLE, _key(ban.kind, ban.who)) for ban in ended])
        return len(ended)

    async def run(self, interval: float = 60.0) -> None:
        """Purge each minute, for ever."""
        while True:
            await trio.sleep(interval)
            self.purge()


def _nobody_waits(ban: Ban) -> None:
    """Default of `on_ban`: bans are met at CONNECT."""


def _checked(kind: str, who: str) -> str:
    if kind not in KINDS:
        raise BanRefused(f"value of 'as' must be one of: {list(KINDS)}")
    if len(who) > MAX_WHO:
        raise BanRefused(f"a banned {kind} has at most {MAX_WHO} characters")
    if kind != PEERHOST:
        return who
    address = one_spelling(who)
    if address is None:
        raise BanRefused(f"not an IP address: {who!r:.100}")
    return address


def one_spelling(text: str) -> str | None:
    """One spelling per address, so that `::ffff:10.0.0.1` is `10.0.0.1`; None when it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _key(kind: str, who: str) -> str:
    return f"{kind}/{key_for(who)}"


def _to_row(ban: Ban) -> Row:
    return {"as": ban.kind, "who": ban.who, "by": ban.by, "reason": ban.reason, "at": ban.at, "until": ban.until}


def _from_row(row: Row) -> Ban:
    return Ban(str(row["as"]), str(row["who"]), str(row["by"]), str(row["reason"]), _int(row["at"]), _int(row["until"]))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
