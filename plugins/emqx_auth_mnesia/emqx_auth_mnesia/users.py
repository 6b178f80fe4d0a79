"""The users: all in memory, each change also written to the broker's store."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from trioemqx.plugin import PluginError, Table

from .hashing import scheme_of

KINDS: Final = ("clientid", "username")
OK: Final = "ok"
MAX_TEXT: Final = 65535
"""Bytes of a name or password: what fits into CONNECT."""

Record = tuple[bytes, int]
"""(what is kept of the password, Unix milliseconds of its creation)."""
Records = dict[str, dict[str, Record]]
"""By kind and name."""


class Users:
    """Entries by kind (`clientid`, `username`) and name. At most `limit`, of both kinds together."""

    def __init__(self, table: Table, limit: int) -> None:
        self.limit = limit
        self.records: Records = {kind: {} for kind in KINDS}
        self._table = table

    async def load(self) -> None:
        """Read what the store has. Raises PluginError for a row that is not ours: it may be somebody's only lock."""
        async with aclosing(self._table.rows()) as rows:
            async for key, row in rows:
                try:
                    kind, name, record = read_user(dict(row))
                except ValueError as error:
                    raise PluginError(f"the store has a broken user {key:.100}: {error}") from None
                self.records[kind][name] = record

    def __len__(self) -> int:
        return sum(map(len, self.records.values()))

    def find(self, kind: str, name: str | None) -> Record | None:
        """The entry of a name."""
        return None if name is None else self.records[kind].get(name)

    def room(self, more: int = 1) -> str:
        """`ok` when so many can be added, else what to do about it."""
        return OK if len(self) + more <= self.limit else f"full, auth.mnesia.max_users is {self.limit}"

    def put(self, kind: str, name: str, record: Record) -> None:
        """Write an entry, replacing what was there."""
        self.records[kind][name] = record
        self.save(kind, name)

    def save(self, kind: str, name: str) -> None:
        """Write an entry to the store, if it is still there."""
        record = self.find(kind, name)
        if record is not None:
            self._table.put(_key(kind, name), write_user(kind, name, record))

    def delete(self, kind: str, name: str) -> bool:
        """Remove an entry; False when there was none."""
        if self.records[kind].pop(name, None) is None:
            return False
        self._table.delete(_key(kind, name))
        return True

    def rows(self) -> Iterator[dict[str, object]]:
        """Every entry as EMQX exports it."""
        for kind in KINDS:
            for name, record in self.records[kind].items():
                yield write_user(kind, name, record)


def is_text(value: object, longest: int = MAX_TEXT) -> bool:
    """True for a text that may be a name: not empty, valid Unicode, not too long."""
    if not isinstance(value, str) or not value:
        return False
    try:
        return len(value.encode()) <= longest
    except UnicodeEncodeError:
        return False


def read_user(row: dict[str, object], now: int | None = None) -> tuple[str, str, Record]:
    """(kind, name, record) of a row. `now` is the time of creation where the row has none. ValueError names what is
    wrong."""
    kind, name, kept, created = row.get("type"), row.get("login"), row.get("password"), row.get("created_at", now)
    if kind not in KINDS:
        raise ValueError("type")
    if not is_text(name):
        raise ValueError("login")
    try:
        password = b64decode(str(kept), validate=True)
    except ValueError:
        password = b""
    if not scheme_of(password):
        raise ValueError("password")
    return str(kind), str(name), (password, read_time(created))


def read_time(value: object) -> int:
    """Milliseconds. ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("created_at")
    return value


def write_user(kind: str, name: str, record: Record) -> dict[str, object]:
    """A row of an entry, as it is stored and exported."""
    kept, created = record
    return {"login": name, "type": kind, "password": b64encode(kept).decode(), "created_at": created}


def _key(kind: str, name: str) -> str:
    return json.dumps([kind, name], ensure_ascii=False)
