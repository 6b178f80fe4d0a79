"""Who changed what: a record of every request of the HTTP API and every `ctl` command that changes something.

A record names the deed and never its content: no body, no query, no argument that may be a secret. Records are lines of
the logger `trioemqx.audit`, and the last ones are kept in the store. What is kept is bounded by number and age.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import attrs

from trioemqx.services.commands import Command
from trioemqx.services.store.protocol import Delete, Op, Put, Row, Store, StoreError, all_items

log = logging.getLogger("trioemqx.audit")

TABLE: Final = "audit"
CTL: Final = "ctl"
OK: Final = "ok"
FAILED: Final = "failed"
HIDDEN: Final = "***"
MOST_TEXT: Final = 256
"""Characters of one member."""
_MICRO: Final = 1_000_000

MESSAGES: Final = frozenset({"/mqtt/publish", "/mqtt/publish_batch"})
"""Requests that change nothing and may come by the thousand a second: they are lines of the log only."""
CHANGING: Final = frozenset(
    "add clean create del delete disable enable export import insert kick load passwd reload restart start stop unload "
    "update".split()
)
"""Commands that end in one of these words change something, also where they print rows."""
NO_SECRETS: Final = frozenset(
    "access action appid clientid file filter group handlerid hook id identifier level module n name node place plugin "
    "port priority proto qos reason resourceid resourcetype role ruleid seconds tags topic type username value".split()
)
"""Placeholders in the usage of a command whose arguments may be shown. A list of what is secret would be one short."""


@attrs.frozen
class Deed:
    """One record. `at` is microseconds of wall time. `door` is `management`, `dashboard` or `ctl`; `who` the
    application, the user of the dashboard or the user of the operating system; `peer` an address, or empty. `method` is
    HTTP's, or `ctl`; `path` has no query, or is the command. `result` is `ok`, `failed`, or the code of the refusal."""

    at: int
    door: str
    who: str
    peer: str
    method: str
    path: str
    result: str

    def row(self) -> dict[str, object]:
        """As the HTTP API has it."""
        return attrs.asdict(self)


@attrs.frozen
class AuditSettings:
    """`security.audit`: how many records are kept, and for how many seconds; 0 rows keeps none."""

    max_rows: int = 10_000
    max_age: float = 90 * 86400.0


class AuditLog:
    """The records. `wall` gives Unix seconds. `lost` counts those that the store did not take."""

    def __init__(
        self, store: Store, settings: AuditSettings | None = None, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings or AuditSettings()
        self.lost = 0
        self._store = store
        self._wall = wall
        self._kept: deque[tuple[str, Deed]] = deque()
        """(key in the store, record), oldest first."""
        self._last = 0

    async def load(self) -> None:
        """Read what earlier runs stored."""
        found = [(key, _from_row(row)) async for key, row in all_items(self._store, TABLE)]
        self._kept.extend(found)
        if found:
            self._last = int(found[-1][0])
        self._apply(self._surplus())

    def record(self, door: str, who: str, peer: str, method: str, path: str, result: str, *, keep: bool = True) -> None:
        """Enter one deed. `keep` False: as a line of the log only. Never raises."""
        if log.isEnabledFor(logging.INFO):
            log.info("%s %s %s %s: %s", who, peer or door, method, path[:MOST_TEXT], result)
        if not keep or self.settings.max_rows <= 0:
            return
        at = int(self._wall() * _MICRO)
        # Keys go up also when the clock is put back, so that the order of the keys is that of the deeds.
        self._last = max(at, self._last + 1)
        deed = Deed(at, door, *(_clean(text) for text in (who, peer, method, path, result)))
        key = f"{self._last:020d}"
        self._kept.append((key, deed))
        self._apply([Put(TABLE, key, deed.row()), *self._surplus()])

    def record_command(self, who: str, command: Command, arguments: Sequence[str], failed: bool) -> None:
        """Enter a command of `ctl`, if it is one that changes something."""
        if changes(command, arguments):
            self.record(CTL, who, "", CTL, told(command, arguments), FAILED if failed else OK)

    def deeds(self) -> list[Deed]:
        """What is kept, newest first."""
        self._apply(self._surplus())
        return [deed for _, deed in reversed(self._kept)]

    def _surplus(self) -> list[Op]:
        """Forget what is too old or too much; returns what to write."""
        oldest = int((self._wall() - self.settings.max_age) * _MICRO)
        ops: list[Op] = []
        while self._kept and (len(self._kept) > self.settings.max_rows or self._kept[0][1].at < oldest):
            ops.append(Delete(TABLE, self._kept.popleft()[0]))
        return ops

    def _apply(self, ops: Sequence[Op]) -> None:
        if not ops:
            return
        try:
            self._store.apply(ops)
        except StoreError:  # closed: the node is ending, and the deed must not fail for that
            self.lost += 1


def changes(command: Command, arguments: Sequence[str]) -> bool:
    """Whether a command may change something. Those that give rows for programs only show them, but for a few."""
    if command.words[-1] in CHANGING or command.words == ("log", "primary-level"):
        return bool(arguments) or command.words[-1] in CHANGING
    return command.data is None


def told(command: Command, arguments: Sequence[str]) -> str:
    """A command as it was typed, with `***` for each argument that is not known to be harmless."""
    places = [place.strip("[]") for place in command.usage.split()[len(command.words) :]]
    values = {option: name for option, name in pairwise(places) if option.startswith("-")}
    plain = iter([place for place in places if not place.startswith("-") and place not in values.values()])
    words = list(command.words)
    name = ""
    for argument in arguments:
        if not name and argument in values:
            words.append(argument)
            name = values[argument]
            continue
        words.append(_shown(argument, name or next(plain, "")))
        name = ""
    return " ".join(words)


def _shown(argument: str, place: str) -> str:
    alternatives = place.split("|")
    if argument in alternatives:
        return argument
    harmless = all(one.startswith("<") and one.strip("<>").lower() in NO_SECRETS for one in alternatives)
    return _clean(argument) if harmless else HIDDEN


def _clean(text: str) -> str:
    """One line, not too long, and nothing that a store cannot hold."""
    return text[:MOST_TEXT] if text.isprintable() else text[:MOST_TEXT].encode("unicode_escape").decode("ascii")


def _from_row(row: Row) -> Deed:
    at = row.get("at")
    door, who, peer, method, path, result = (
        str(row.get(name, "")) for name in ("door", "who", "peer", "method", "path", "result")
    )
    return Deed(at if isinstance(at, int) else 0, door, who, peer, method, path, result)
