"""What is in the database file: one table for the rows of all tables, and how older files become this.

`PRAGMA user_version` numbers the schema, `PRAGMA application_id` says whose file it is. To change the schema, append to
MIGRATIONS; what has been released is never edited. All steps that a file lacks are done in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from trioemqx.services.store.protocol import StoreError, StoreUnusable, decode_row

APPLICATION_ID: Final = 0x74726D71
"""`trmq`, as the command `file` shows it."""

Migration = tuple[str, ...]
"""Statements that take a file from one version to the next."""

MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        "CREATE TABLE rows (tbl TEXT NOT NULL, key TEXT NOT NULL, row TEXT NOT NULL, PRIMARY KEY (tbl, key))",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        # `refs` is the number of rows of `queue` that name a message. It is made with them, in one transaction, and
        # follows each row that really goes: doing a transaction once more changes nothing.
        "CREATE TABLE messages (number INTEGER PRIMARY KEY, refs INTEGER NOT NULL, row TEXT NOT NULL)",
        "CREATE TABLE queue (session INTEGER NOT NULL, lane INTEGER NOT NULL, number INTEGER NOT NULL, "
        "message INTEGER NOT NULL, size INTEGER NOT NULL, id INTEGER NOT NULL, rest TEXT NOT NULL, "
        "PRIMARY KEY (session, lane, number)) WITHOUT ROWID",
        "CREATE TRIGGER queue_row_gone AFTER DELETE ON queue BEGIN "
        "DELETE FROM messages WHERE number = OLD.message AND refs <= 1; "
        "UPDATE messages SET refs = refs - 1 WHERE number = OLD.message; END",
        "DELETE FROM rows WHERE tbl IN ('messages', 'struck', 'flights')",  # of a version that was never released
    ),
)


class Damaged(Exception):
    """The file cannot be trusted: it is no database, or its structure or a row in it is broken."""


def number(connection: sqlite3.Connection, pragma: str) -> int:
    """The value of a pragma that is a number."""
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def version_of(connection: sqlite3.Connection) -> int:
    """The schema's version, 0 for an empty file."""
    return number(connection, "user_version")


def identify(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """The schema's version, 0 for an empty file. Raises StoreUnusable for a file that is not ours, or from the future;
    such a file has not been touched."""
    known = len(migrations)
    entries = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if entries and number(connection, "application_id") != APPLICATION_ID:
        raise StoreUnusable("is the database of another program; name another file")
    version = number(connection, "user_version")
    if version > known:
        raise StoreUnusable(
            f"was written by a newer trioemqx (schema {version}, this one knows up to {known}); "
            f"start that version, or name another file"
        )
    return version


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring a file to the newest version, all or nothing; returns the version it had. sqlite3.Error leaves it as it
    was."""
    version = number(connection, "user_version")
    if version == len(migrations):
        return version
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return version


def check_structure(connection: sqlite3.Connection, whole: bool) -> None:
    """Have SQLite look at every page, or only at those of `rows`: what waits for clients may be gigabytes. Raises
    Damaged."""
    what = "1" if whole or version_of(connection) == 0 else "rows"
    found = connection.execute(f"PRAGMA integrity_check({what})").fetchone()[0]
    if found != "ok":
        raise Damaged(" ".join(str(found).split()))


_ROWS: Final = "SELECT CAST(row AS BLOB), CAST(tbl AS BLOB), CAST(key AS BLOB)"


def _sound(connection: sqlite3.Connection) -> str:
    """An expression that is true for rows that need no second look: SQLite reads JSON several times as fast as Python,
    which counts with a million retained messages. It can be built without."""
    expression = "CASE WHEN json_valid(row) THEN json_type(row) = 'object' ELSE 0 END"
    try:
        connection.execute(f"SELECT {expression} FROM rows LIMIT 0")
    except sqlite3.OperationalError:
        return "0"
    return expression


def check_rows(connection: sqlite3.Connection, whole: bool) -> None:
    """Read every row once: one that cannot be read must be found now, not when its owner asks. Messages that wait only
    if it is the `whole`; else a session finds out when it gets there. Raises Damaged."""
    if whole:
        for (row,) in connection.execute("SELECT CAST(row AS BLOB) FROM messages"):
            try:
                decode_row(bytes(row).decode())
            except (StoreError, UnicodeDecodeError) as error:
                raise Damaged(f"a message: {error}") from None
    for *values, sound in connection.execute(f"{_ROWS}, {_sound(connection)} FROM rows"):
        try:
            row, _, _ = (bytes(value).decode() for value in values)
            if not sound:
                decode_row(row)
        except (StoreError, UnicodeDecodeError) as error:
            raise Damaged(f"row {values[2]!r:.100} of {values[1]!r:.40}: {error}") from None
