"""The store's own thread seen from inside: the file's one connection, and what is still to be written to it.

Changes are remembered by key, the latest one counts, and `flush` writes all of them in one transaction. When that fails
they stay remembered, so that the next attempt writes them together with what has come since. Reading looks at what is
remembered first. After an error that leaves doubt about the file it is closed, and opened and checked again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from trioemqx.services.store.opening import Connect, check_disk, first_open, is_damage, open_database
from trioemqx.services.store.protocol import Change, Row, StoreError, decode_row
from trioemqx.services.store.queue_tables import read_flights, read_session, read_totals, read_waiting, write_queues
from trioemqx.services.store.queues import MESSAGES, QUEUE, Totals, Waiting

T = TypeVar("T")

CHUNK: Final = 100
"""Rows per statement: each statement gives the interpreter away and has to wait for it, so few are better."""
PAGES: Final = 1000
"""Free pages given back to the file system at a time."""


class Database:
    """The database at `path`, used by one thread. `synchronous` is FULL or NORMAL, `connect` makes the connection.

    `owed` is the number of changes to be written, `owed_size` about their characters. `lock` is the descriptor of the
    file's lock while it is held.
    """

    def __init__(self, path: Path, synchronous: str, connect: Connect) -> None:
        self.owed = 0
        self.owed_size = 0
        self.lock = -1
        self._path = path
        self._synchronous = synchronous
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._given_up: list[sqlite3.Connection] = []
        self._changes: dict[str, dict[str, str | None]] = {}

    def open(self, on_corrupt: str) -> str:
        """The first time. Returns the name that a damaged file was given, or "". Raises StoreUnusable."""
        self._connection, aside = first_open(self._path, self._synchronous, on_corrupt, self._connect)
        return aside

    def remember(self, changes: Sequence[Change]) -> None:
        """Take changes for the next transaction."""
        for table, key, text in changes:
            rows = self._changes.setdefault(table, {})
            if key in rows:
                self.owed_size -= size_of(key, rows[key])
                self.owed -= 1
            rows[key] = text
            self.owed += 1
            self.owed_size += size_of(key, text)

    def flush(self) -> None:
        """Write what is owed, in one transaction. Raises sqlite3.Error, Damaged or StoreError, and then still owes
        it."""
        if not self.owed:
            return
        connection = self._connected()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for table, rows in self._changes.items():
                if table not in (QUEUE, MESSAGES):
                    _write(connection, table, rows)
            write_queues(connection, *self._queues())
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        self._changes.clear()
        self.owed = self.owed_size = 0

    def get(self, table: str, key: str) -> Row | None:
        """The row under a key. Raises sqlite3.Error, Damaged or StoreError."""
        changes = self._changes.get(table, {})
        if key in changes:
            text = changes[key]
        else:
            found = self._select("SELECT key, row FROM rows WHERE tbl = ? AND key = ?", (table, key))
            text = found.get(key)
        return None if text is None else decode_row(text)

    def items(self, table: str, after: str, limit: int) -> list[tuple[str, Row]]:
        """Rows in order of their keys. Raises sqlite3.Error, Damaged or StoreError."""
        changes = {key: text for key, text in self._changes.get(table, {}).items() if key > after}
        query = "SELECT key, row FROM rows WHERE tbl = ? AND key > ? ORDER BY key LIMIT ?"
        rows = self._select(query, (table, after, limit + len(changes)))
        rows.update(changes)
        found = ((key, text) for key, text in sorted(rows.items()) if text is not None)
        return [(key, decode_row(text)) for key, text in islice(found, limit)]

    def counts(self) -> dict[str, int]:
        """Rows by table, with what is owed. Raises sqlite3.Error, Damaged or StoreError."""
        connection = self._connected()
        found: dict[str, int] = dict(connection.execute("SELECT tbl, count(*) FROM rows GROUP BY tbl"))
        if any(self._queues()):
            self.flush()
        for table in (QUEUE, MESSAGES):
            found[table] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table, changes in self._changes.items():
            if table in (QUEUE, MESSAGES):
                continue
            there = 0
            for keys in _chunks(list(changes)):
                query = f"SELECT count(*) FROM rows WHERE tbl = ? AND key IN ({','.join('?' * len(keys))})"
                there += connection.execute(query, (table, *keys)).fetchone()[0]
            kept = sum(text is not None for text in changes.values())
            found[table] = found.get(table, 0) - there + kept
        return {table: count for table, count in sorted(found.items()) if count}

    def totals(self) -> Totals:
        """What is in all queues. Raises sqlite3.Error, Damaged or StoreError."""
        self.flush()
        return self._read(read_totals)

    def flights(self, session: str, lane: int, after: str, limit: int) -> list[Waiting]:
        """Rows of a lane that have been sent. Raises sqlite3.Error, Damaged or StoreError."""
        self.flush()
        return self._read(lambda connection: read_flights(connection, (session, lane, after), limit))

    def waiting(self, session: str, lane: int, after: str, limit: int, size: int) -> list[Waiting]:
        """Rows of a lane that have not been sent. Raises sqlite3.Error, Damaged or StoreError."""
        changes = self._queues()
        where = session, lane, after
        return self._read(lambda connection: read_waiting(connection, *changes, where, limit, size))

    def of_session(self, session: str, limit: int, size: int) -> list[Waiting]:
        """The first rows of a session. Raises sqlite3.Error, Damaged or StoreError."""
        self.flush()
        return self._read(lambda connection: read_session(connection, session, limit, size))

    def _queues(self) -> tuple[dict[str, str | None], dict[str, str | None]]:
        return self._changes.get(QUEUE, {}), self._changes.get(MESSAGES, {})

    def wal_size(self) -> int:
        """Bytes of the write-ahead log."""
        try:
            return os.stat(f"{self._path}-wal").st_size
        except OSError:
            return 0

    def rest(self) -> None:
        """When nothing is to be done: give free pages back, and empty the write-ahead log as far as readers allow."""
        if self._connection is not None:
            check_disk(self.lock)
            # `execute` would stop after the first page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({PAGES});")
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Leave a file without a write-ahead log behind, if the disk allows. What is owed is lost."""
        if self._connection is None and not self._given_up:
            return
        check_disk(self.lock)
        self._close_given_up()
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()

    def _select(self, query: str, values: tuple[object, ...]) -> dict[str, str | None]:
        """Row by key."""
        return self._read(lambda connection: dict(connection.execute(query, values)))

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return ask(self._connected())
        except sqlite3.Error as error:
            if doubtful(error):
                self._give_up()
            raise

    # -- trouble -----------------------------------------------------------------------------------------------------

    def _connected(self) -> sqlite3.Connection:
        """The connection; a new one, to a file that has been checked, when the last one was given up.

        What was in the write-ahead log when writing it failed may be readable now and gone after a power cut, so all of
        it is written to the file itself, and flushed, before anything is built on it.
        """
        check_disk(self.lock)
        if self._connection is None:
            self._close_given_up()
            connection = open_database(self._path, self._synchronous, self._connect, again=True)
            try:
                blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if blocked:
                    raise StoreError("another program reads the database; its write-ahead log cannot be emptied")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """End a transaction that failed. Only after a full disk or a lock the connection is still good."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._give_up()
        if not isinstance(error, sqlite3.Error) or doubtful(error):
            self._give_up()

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._given_up.append(connection)
        with suppress(StoreError):  # then that waits for the disk as well
            check_disk(self.lock)
            self._close_given_up()

    def _close_given_up(self) -> None:
        while self._given_up:
            self._given_up.pop().close()


def doubtful(error: sqlite3.Error) -> bool:
    """Whether after this error nobody knows what is on the disk (an fsync that failed cannot be repeated)."""
    return is_damage(error) or getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def size_of(key: str, text: str | None) -> int:
    """About the memory that a change takes."""
    return 200 + len(key) + len(text or "")


def _write(connection: sqlite3.Connection, table: str, rows: dict[str, str | None]) -> None:
    for keys in _chunks([key for key, text in rows.items() if text is None]):
        marks = ",".join("?" * len(keys))
        connection.execute(f"DELETE FROM rows WHERE tbl = ? AND key IN ({marks})", (table, *keys))
    for keys in _chunks([key for key, text in rows.items() if text is not None]):
        marks = ",".join(["(?,?,?)"] * len(keys))
        values = [value for key in keys for value in (table, key, rows[key])]
        connection.execute(
            f"INSERT INTO rows (tbl, key, row) VALUES {marks} ON CONFLICT (tbl, key) DO UPDATE SET row = excluded.row",
            values,
        )


def _chunks(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
