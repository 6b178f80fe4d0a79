"""EMQX's export: what it says of users and access rows, of every version from 4.0 on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio

from trioemqx.plugin import PluginError, Table

from .acl import Row, read_rows
from .users import Record, read_user

T = TypeVar("T")
PAGE: Final = 100
"""Entries that are read or written in one go; then it is other tasks' turn."""
Entry = tuple[str, str, Record]


async def read_users(data: Mapping[str, object], now: int) -> list[Entry]:
    """(kind, name, record) of each user in an export. Raises PluginError that names the entry and what is wrong."""

    def newer(row: dict[str, Any]) -> Entry:
        return _until(now, read_user({"type": _kind(data, row), **row}, now))

    def older(kind: str, row: dict[str, Any]) -> Entry:
        return _until(now, read_user({**row, "type": kind, "login": row.get(kind)}, now))

    found = await each_row(data, "auth_mnesia", newer)
    for kind in ("clientid", "username"):  # the two tables of EMQX before 4.1
        found += await each_row(data, f"auth_{kind}", partial(older, kind))
    return found


async def read_acl(data: Mapping[str, object], now: int) -> list[Row]:
    """The access rows in an export. Raises PluginError that names the entry and what is wrong."""
    found: list[Row] = []
    async for rows in TakingTurns(await each_row(data, "acl_mnesia", lambda row: read_rows(_newer(data, row), now))):
        # A time in the future would put a row before all that are added from now on.
        found += [(*row[:-1], min(row[-1], now)) for row in rows]
    return found


async def by_name(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Access rows by (kind, name)."""
    groups: dict[tuple[str, str], list[Row]] = {}
    async for row in TakingTurns(rows):
        groups.setdefault(row[:2], []).append(row)
    return groups


class TakingTurns(Generic[T]):
    """Each of many, for `async for`; after a page of them it is other tasks' turn."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._taken = 0

    def __aiter__(self) -> TakingTurns[T]:
        return self

    async def __anext__(self) -> T:
        self._taken += 1
        if self._taken % PAGE == 0:
            await trio.lowlevel.checkpoint()
        for item in self._items:
            return item
        raise StopAsyncIteration


async def save_each(items: Sequence[T], save: Callable[[T], None], table: Table) -> bool:
    """Save each, a page at a time, waiting for the disk in between; False when it did not take all."""
    safe = True
    for start in range(0, len(items), PAGE):
        for item in items[start : start + PAGE]:
            save(item)
        safe = await table.settled() and safe
    return safe


def _until(now: int, entry: Entry) -> Entry:
    kind, name, (kept, created) = entry
    return kind, name, (kept, min(created, now))


def _newer(data: Mapping[str, object], row: dict[str, Any]) -> dict[str, Any]:
    """A row as EMQX 4.3 writes it. Before that it had `login` (`$all` for everybody) and `allow`."""
    if "login" not in row:
        return row
    login = row["login"]
    kind = "all" if login in ("$all", "all") else _kind(data, row)
    access = "allow" if row.get("allow", False) in (True, "true", "allow") else "deny"
    return {"type": kind, "type_value": login, "access": access, **row}


def _kind(data: Mapping[str, object], row: Mapping[str, Any]) -> object:
    """What the names of an older export are; a whole broker had one kind then."""
    return row.get("type", data.get("auth.mnesia.as"))


async def each_row(data: Mapping[str, object], key: str, read: Callable[[dict[str, Any]], T]) -> list[T]:
    """The rows of a member of an export, read. Raises PluginError for one of which `read` raises it, or ValueError."""
    rows = data.get(key, [])
    if not isinstance(rows, list):
        raise PluginError(f"{key}: expected a list")
    found = []
    for place, row in enumerate(rows):
        if place % PAGE == 0:
            await trio.lowlevel.checkpoint()
        if not isinstance(row, dict):
            raise PluginError(f"{key}[{place}]: expected an object")
        try:
            found.append(read(row))
        except ValueError as error:
            hint = ' (an export of EMQX before 4.3 needs "auth.mnesia.as")' if str(error) == "type" else ""
            raise PluginError(f"{key}[{place}]: missing or not valid: {error}{hint}") from None
        except PluginError as error:
            raise PluginError(f"{key}[{place}]: {error}") from None
    return found
