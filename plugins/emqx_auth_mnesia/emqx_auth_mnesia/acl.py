"""The access rows: all in memory, each change also written to the broker's store.

A group is the rows of one clientid, of one username, or those for all; in it the newest row comes first, and the first
that fits decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Final

from trioemqx.plugin import (
    ClientInfo,
    PluginError,
    ProtocolError,
    Table,
    covers,
    is_wildcard,
    overlaps,
    validate_filter,
)

from .users import OK, is_text, read_time

KINDS: Final = ("clientid", "username", "all")
ACTIONS: Final = {"pub": ("pub",), "sub": ("sub",), "pubsub": ("pub", "sub")}
"""What a row may be added for, and the rows that this makes."""
ACCESS: Final = ("allow", "deny")
PLACEHOLDERS: Final = frozenset({"%c", "%u"})
MOVING: Final = PLACEHOLDERS | {"+", "#"}
"""Levels that stand for others."""

Group = dict[tuple[str, str], tuple[str, int]]
"""(access, Unix milliseconds) by (topic, action), the oldest first."""
Groups = dict[str, dict[str, Group]]
"""By kind and name; the name of `all` is ""."""
Row = tuple[str, str, str, str, str, int]
"""(kind, name, topic, action, access, Unix milliseconds)."""


class Acl:
    """Rows by group. At most `limit`, and `each` of one group: a client's question looks at all rows of three."""

    def __init__(self, table: Table, limit: int, each: int) -> None:
        self.limit = limit
        self.each = each
        self.groups: Groups = {kind: {} for kind in KINDS}
        self.count = 0
        self._table = table
        self._ready: dict[tuple[str, str], Ready] = {}

    async def load(self) -> None:
        """Read what the store has. Raises PluginError for a row that is not ours: it may be what keeps somebody out."""
        found = []
        async with aclosing(self._table.rows()) as rows:
            async for key, row in rows:
                try:
                    found += read_rows(dict(row))
                except ValueError as error:
                    raise PluginError(f"the store has a broken access row {key:.100}: {error}") from None
        self.insert(found)

    def adopt(self, groups: Groups) -> None:
        """Take these rows in place of those that are there."""
        self.groups = groups
        self.count = sum(len(group) for names in groups.values() for group in names.values())
        self._ready.clear()

    # -- asking ------------------------------------------------------------------------------------------------------

    def check(self, kind: str, name: str | None, client: ClientInfo, action: str, topic: str) -> bool | None:
        """What the first row of a group says that fits; None when none does. `topic` is a topic name, or a
        subscription's filter without share prefix."""
        if name is None or name not in self.groups[kind]:
            return None
        ready = self._ready.get((kind, name))
        if ready is None:
            rows = reversed(self.groups[kind][name].items())
            ready = self._ready[kind, name] = Ready((*row, access) for row, (access, _) in rows)
        return ready.check(client, action, topic)

    def listing(self, kind: str, name: str) -> Iterator[Row]:
        """The rows of a group, the newest first."""
        for (topic, action), (access, created) in reversed(self.groups[kind].get(name, {}).items()):
            yield kind, name, topic, action, access, created

    def names(self, kind: str) -> list[str]:
        """Who has rows of a kind."""
        return list(self.groups[kind])

    # -- changing ----------------------------------------------------------------------------------------------------

    def missing(self, rows: Iterable[Row]) -> int:
        """How many of these are not there yet."""
        asked = {row[:4] for row in rows}
        return sum((topic, action) not in self.groups[kind].get(name, {}) for kind, name, topic, action in asked)

    def room(self, rows: Iterable[Row]) -> str:
        """`ok` when these can be added, else what to do about it."""
        total = self.count
        sizes: dict[tuple[str, str], int] = {}
        for kind, name, topic, action in {row[:4] for row in rows}:
            group = self.groups[kind].get(name, {})
            size = sizes.setdefault((kind, name), len(group))
            if (topic, action) not in group:
                total += 1
                sizes[kind, name] = size + 1
        if total > self.limit:
            return f"full, auth.mnesia.max_acl_rows is {self.limit}"
        if any(size > self.each for size in sizes.values()):
            return f"full, auth.mnesia.max_acl_rows_per_name is {self.each}"
        return OK

    def add(self, kind: str, name: str, topic: str, action: str, access: str, now: int) -> str:
        """Add a row (`pubsub`: two), or replace it; it is the newest then. Returns `ok` or what is wrong: `login`,
        `topic`, `action`, `access`, `full, ...`."""
        wrong = check(kind, name, topic, action, access)
        if wrong:
            return wrong
        newest = next((row[-1] for row in self.listing(kind, name)), -1)
        created = max(now, newest + 1)  # clocks are set back at times, and the order of rows is their meaning
        rows = [(kind, name, topic, part, access, created) for part in ACTIONS[action]]
        room = self.room(rows)
        if room == OK:
            self.put(rows)
        return room

    def put(self, rows: list[Row]) -> None:
        """Write checked rows, each in the place that its time gives it."""
        self.insert(rows)
        for row in rows:
            self.save(row)

    def save(self, row: Row) -> None:
        """Write a row to the store as it is now, if it is still there."""
        kind, name, topic, action, _, _ = row
        found = self.groups[kind].get(name, {}).get((topic, action))
        if found is not None:
            self._table.put(_key(kind, name, topic, action), write_row((kind, name, topic, action, *found)))

    def insert(self, rows: list[Row]) -> None:
        """Take checked rows into memory; `save` is still to come."""
        changed = set()
        for kind, name, topic, action, access, created in rows:
            group = self.groups[kind].setdefault(name, {})
            self.count += group.pop((topic, action), None) is None
            group[topic, action] = (access, created)
            changed.add((kind, name))
        for kind, name in changed:
            self.groups[kind][name] = dict(sorted(self.groups[kind][name].items(), key=_age))
            self._ready.pop((kind, name), None)

    def delete(self, kind: str, name: str, topic: str) -> bool:
        """Remove the rows of a topic, for both actions; False when there was none."""
        group = self.groups[kind].get(name, {})
        found = [part for part in ACTIONS["pubsub"] if group.pop((topic, part), None) is not None]
        for part in found:
            self._table.delete(_key(kind, name, topic, part))
        self.count -= len(found)
        self._ready.pop((kind, name), None)
        if not group:
            self.groups[kind].pop(name, None)
        return bool(found)


class Ready:
    """Rules, each (topic, action, access), made ready to be asked: (filter, its beginning without wildcards and
    placeholders, allow, whether it has `%c` or `%u`) by action, the first one first."""

    def __init__(self, rules: Iterable[tuple[str, str, str]]) -> None:
        rows = [
            (
                ACTIONS[action],
                (topic, plain_beginning(topic), access == "allow", not PLACEHOLDERS.isdisjoint(topic.split("/"))),
            )
            for topic, action, access in rules
        ]
        self._publish = tuple(row for actions, row in rows if "pub" in actions)
        self._subscribe = tuple(row for actions, row in rows if "sub" in actions)
        self._depth = max((row[0].count("/") for _, row in rows), default=0)

    def check(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """What the first row says that fits.

        An allowed subscription must lie inside the row as a whole. A denied one must not touch it: otherwise a wider
        filter would get round the row.
        """
        near = shortened(topic, self._depth)
        wild = action == "subscribe" and is_wildcard(topic)
        head = plain_beginning(topic) if wild else topic
        for filter, plain, allow, own in self._publish if action == "publish" else self._subscribe:
            # Most rows are about something else, which is seen at once: there may be thousands.
            if not head.startswith(plain) and (allow or not wild or not plain.startswith(head)):
                continue
            fits = overlaps if wild and not allow else covers
            if not own:
                if fits(filter, near):
                    return allow
                continue
            filled = fill(filter, client, allow)
            if filled is not None and fits(filled, shortened(topic, filled.count("/"))):
                return allow
        return None


def plain_beginning(filter: str) -> str:
    """The levels before the first wildcard or placeholder."""
    levels = filter.split("/")
    for place, level in enumerate(levels):
        if level in MOVING:
            return "/".join(levels[:place])
    return filter


def shortened(topic: str, depth: int) -> str:
    """A topic without the levels behind those that decide, next to a filter with `depth` slashes: clients may send
    thousands of them."""
    if topic.count("/") <= depth + 1:
        return topic
    return "/".join(topic.split("/", depth + 2)[: depth + 2])


def fill(filter: str, client: ClientInfo, allow: bool) -> str | None:
    """A filter for one client; None when it is not for this one. Names with wildcards or `/` open nothing
    (CVE-2017-7650), but may well close more."""
    levels = filter.split("/")
    values = {"%c": client.clientid, "%u": client.username}
    for place, level in enumerate(levels):
        if level in values:
            value = values[level]
            if value is None or (allow and (is_wildcard(value) or "/" in value)):
                return None
            levels[place] = value
    return "/".join(levels)


def check(kind: object, name: object, topic: object, action: object, access: object) -> str:
    """The first thing that is wrong with a row, in the order in which EMQX looks; "" for none."""
    if kind not in KINDS or not (name == "" if kind == "all" else is_text(name)):
        return "login"
    try:
        validate_filter(str(topic) if is_text(topic) else "")
    except ProtocolError:
        return "topic"
    if not isinstance(action, str) or action not in ACTIONS:
        return "action"
    return "" if access in ACCESS else "access"


def read_rows(row: dict[str, object], now: int | None = None) -> list[Row]:
    """The rows that one stored or exported row stands for. `now` is the time where it has none. ValueError."""
    kind, topic, action, access = (row.get(key) for key in ("type", "topic", "action", "access"))
    name = "" if kind == "all" else row.get("type_value")
    wrong = check(kind, name, topic, action, access)
    if wrong:
        raise ValueError(wrong)
    created = read_time(row.get("created_at", now))
    return [(str(kind), str(name), str(topic), part, str(access), created) for part in ACTIONS[str(action)]]


def write_row(row: Row) -> dict[str, object]:
    """A row as it is stored and exported."""
    kind, name, topic, action, access, created = row
    who = {"type": kind} if kind == "all" else {"type": kind, "type_value": name}
    return {**who, "topic": topic, "action": action, "access": access, "created_at": created}


def _age(item: tuple[tuple[str, str], tuple[str, int]]) -> tuple[int, tuple[str, str]]:
    """Sorts a group; rows of one moment (of an import, or of one `pubsub`) always in the same way."""
    row, (_, created) = item
    return created, row


def _key(kind: str, name: str, topic: str, action: str) -> str:
    return json.dumps([kind, name, topic, action], ensure_ascii=False)
