"""A SQLite connection that fails, or waits, on command."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trioemqx.services.store.opening import STATEMENTS
from trioemqx.services.store.sqlite import SqliteStore


class Disk:
    """What connections made by `connect` have done, and what shall happen to statements that begin with some words."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.connections = 0
        self.before: dict[str, str] = {}
        """Statements to execute before those that begin with the key."""
        self._failing: dict[str, sqlite3.Error] = {}
        self._gate = threading.Event()
        self._gate.set()
        self._at_gate = threading.Event()

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections += 1
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
                disk.statements.append(sql)
                for words, extra in disk.before.items():
                    if sql.startswith(words):
                        super().execute(extra)
                if sql == "COMMIT" and not disk._gate.is_set():
                    disk._at_gate.set()
                    assert disk._gate.wait(20)
                for words, error in disk._failing.items():
                    if sql.startswith(words):
                        raise error
                return super().execute(sql, *values)

        return sqlite3.connect(path, isolation_level=None, cached_statements=STATEMENTS, factory=Connection)

    def count(self, words: str) -> int:
        """How many statements began with these words."""
        return sum(sql.startswith(words) for sql in self.statements)

    def fail(self, words: str, code: int = sqlite3.SQLITE_FULL, text: str = "database or disk is full") -> None:
        """From now on, statements that begin with `words` fail."""
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        self._failing[words] = error

    def recover(self) -> None:
        """Nothing fails any more."""
        self._failing.clear()

    @contextmanager
    def commits_held(self) -> Iterator[threading.Event]:
        """The first commit in the block waits for its end; the event says that it does."""
        self._at_gate.clear()
        self._gate.clear()
        try:
            yield self._at_gate
        finally:
            self._gate.set()


def on_disk(path: Path, table: str = "t") -> dict[str, str]:
    """What another program reads in the file."""
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT key, row FROM rows WHERE tbl = ?", (table,)))
    connection.close()
    return found


async def stored(path: Path, *keys: str) -> None:
    """A file with these keys."""
    store = SqliteStore(path)
    await store.open()
    for key in keys:
        store.put("t", key, {"key": key})
    await store.close()
