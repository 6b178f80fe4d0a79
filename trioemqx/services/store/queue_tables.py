"""`queue` and `messages` in the database: tables of their own, since they are what grows.

Their columns are numbers, so that ten million rows can be counted while a broker starts. All functions are called in
the store's own thread.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from trioemqx.services.store.protocol import Row, decode_row
from trioemqx.services.store.queues import (
    LaneTotal,
    Totals,
    Waiting,
    columns,
    cut,
    from_columns,
    join,
    lane_prefix,
    number_key,
    split,
)

CHUNK: Final = 100
"""Rows per statement: each statement gives the interpreter away and has to wait for it, so few are better."""

Changes = Mapping[str, str | None]
Entry = tuple[int, int, int, int, int, int, str]


def write_queues(connection: sqlite3.Connection, queue: Changes, messages: Changes) -> None:
    """Changes of both tables. A message that none of the rows here names is not written: it has come and gone."""
    named: Counter[int] = Counter()
    entries: list[Entry] = []
    gone: list[tuple[int, int, int]] = []
    for key, text in queue.items():
        if text is None:
            gone.append(split(key))
        else:
            row = columns(text)
            entries.append((*split(key), *row))
            named[row[0]] += 1
    new = [
        (number, refs, text)
        for number, text in ((int(key, 16), text) for key, text in messages.items())
        if text is not None and (refs := named[number])
    ]
    _insert(connection, "INSERT INTO messages (number, refs, row) VALUES ", 3, " ON CONFLICT DO NOTHING", new)
    update = (
        " ON CONFLICT DO UPDATE SET message = excluded.message, size = excluded.size, id = excluded.id, "
        "rest = excluded.rest"
    )
    head = "INSERT INTO queue (session, lane, number, message, size, id, rest) VALUES "
    _insert(connection, head, 7, update, entries)
    for part in _chunks(gone):
        # Not `IN (VALUES ...)`: that walks over the whole table.
        where = " OR ".join(["(session = ? AND lane = ? AND number = ?)"] * len(part))
        connection.execute(f"DELETE FROM queue WHERE {where}", [value for key in part for value in key])


def _insert(connection: sqlite3.Connection, head: str, width: int, tail: str, rows: list[Any]) -> None:
    mark = f"({','.join('?' * width)})"
    for part in _chunks(rows):
        connection.execute(head + ",".join([mark] * len(part)) + tail, [value for row in part for value in row])


def read_totals(connection: sqlite3.Connection) -> Totals:
    """`Store.totals`: one walk over the table, which has three sums and no more: each costs a start that finds ten
    million rows half a second. What has been sent is near the front of its lane, and `LIMIT` ends the search for it."""
    sums = "SELECT session, lane, count(*), sum(size), sum(id != 0) FROM queue GROUP BY session, lane"
    last = "SELECT max(number) FROM queue WHERE session = ? AND lane = ?"
    size_of_sent = (
        "SELECT sum(size) FROM (SELECT size FROM queue WHERE session = ? AND lane = ? AND id != 0 "
        "ORDER BY number LIMIT ?)"
    )
    lanes = []
    highest = 0
    for session, lane, count, size, sent in connection.execute(sums).fetchall():
        if sent:
            size -= connection.execute(size_of_sent, (session, lane, sent)).fetchone()[0]
        lanes.append(LaneTotal(f"{session:016x}", lane, count - sent, size, sent))
        highest = max(highest, connection.execute(last, (session, lane)).fetchone()[0])
    return Totals(lanes, highest)


def read_flights(connection: sqlite3.Connection, where: tuple[str, int, str], limit: int) -> list[Waiting]:
    """`Store.flights` for (session, lane, after)."""
    session, lane, after = where
    query = (
        "SELECT session, lane, number, message, size, id, rest FROM queue "
        "WHERE session = ? AND lane = ? AND number > ? AND id != 0 ORDER BY number LIMIT ?"
    )
    found = connection.execute(query, (int(session, 16), lane, _number_of(after), limit))
    rows: list[tuple[str, Row]] = [(join(*entry[:3]), from_columns(*entry[3:])) for entry in found]
    return _with_messages(connection, rows, {})


def read_session(connection: sqlite3.Connection, session: str, limit: int, size: int) -> list[Waiting]:
    """`Store.of_session`"""
    query = (
        "SELECT session, lane, number, message, size, id, rest FROM queue WHERE session = ? "
        "ORDER BY lane, number LIMIT ?"
    )
    found = connection.execute(query, (int(session, 16), limit))
    rows: list[tuple[str, Row]] = [(join(*entry[:3]), from_columns(*entry[3:])) for entry in found]
    return _with_messages(connection, cut(rows, limit, size), {})


def read_waiting(
    connection: sqlite3.Connection,
    queue: Changes,
    messages: Changes,
    where: tuple[str, int, str],
    limit: int,
    size: int,
) -> list[Waiting]:
    """`Store.waiting` for (session, lane, after), with changes that have not been written."""
    session, lane, after = where
    prefix = lane_prefix(session, lane)
    changed = {key: text for key, text in queue.items() if key.startswith(prefix) and key > after}
    query = (
        "SELECT number, message, size, id, rest FROM queue WHERE session = ? AND lane = ? AND number > ? AND id = 0 "
        "ORDER BY number LIMIT ?"
    )
    values = (int(session, 16), lane, _number_of(after), limit + len(changed))
    found: dict[str, Row] = {
        f"{prefix}{number:016x}": from_columns(*entry) for number, *entry in connection.execute(query, values)
    }
    for key, text in changed.items():
        found.pop(key, None)
        row = {} if text is None else decode_row(text)
        if row and not row["id"]:
            found[key] = row
    return _with_messages(connection, cut(sorted(found.items(), key=lambda pair: pair[0]), limit, size), messages)


def _with_messages(connection: sqlite3.Connection, rows: list[tuple[str, Row]], messages: Changes) -> list[Waiting]:
    numbers: list[Any] = sorted({row["message"] for _, row in rows})
    texts: dict[int, str | None] = {}
    for part in _chunks(numbers):
        marks = ",".join("?" * len(part))
        texts.update(connection.execute(f"SELECT number, row FROM messages WHERE number IN ({marks})", part))
    for number in numbers:
        if number_key(number) in messages:
            texts[number] = messages[number_key(number)]
    decoded: dict[Any, Row] = {number: decode_row(text) for number, text in texts.items() if text is not None}
    return [Waiting(key, row, decoded.get(row["message"])) for key, row in rows]


def _number_of(after: str) -> int:
    """The last member of a key, below all others when there is none."""
    return int(after[-16:], 16) if after else -1


def _chunks(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
