"""Opening a database file: damaged, foreign, newer, older, in use."""

from __future__ import annotations

import logging
import re
import sqlite3

import pytest
from store_helpers import Disk, on_disk, stored

from trioemqx.services.store import opening, schema
from trioemqx.services.store.opening import move_aside
from trioemqx.services.store.protocol import StoreUnusable, all_items
from trioemqx.services.store.schema import MIGRATIONS, migrate
from trioemqx.services.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


async def opened(path, on_corrupt="rename", **options):
    """What is in the file, and the name that a damaged one was given."""
    store = SqliteStore(path, on_corrupt=on_corrupt, **options)
    await store.open()
    try:
        return [key async for key, _ in all_items(store, "t")], store.moved_to
    finally:
        await store.close()


# -- damage ------------------------------------------------------------------------------------------------------------


def garbage(path):
    path.write_bytes(b"this is no database " * 1000)


def torn_page(path):
    """The tree of the rows, somewhere in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 3 * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)


def cut_short(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 4096 * 4096 + 100])


def change(path, statement, *values):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def no_json(path):
    change(path, "UPDATE rows SET row = '{' WHERE key = 'k7'")


def no_object(path):
    change(path, "UPDATE rows SET row = '[1]' WHERE key = 'k7'")


def no_unicode(path):
    change(path, "UPDATE rows SET row = CAST(? AS TEXT) WHERE key = 'k7'", b'{"x":"\xff"}')


def no_unicode_key(path):
    change(path, "UPDATE rows SET key = CAST(? AS TEXT) WHERE key = 'k7'", b"\xff")


def emptied(path):
    path.write_bytes(b"")


DAMAGES = [garbage, emptied, torn_page, cut_short, no_json, no_object, no_unicode, no_unicode_key]


@pytest.fixture(params=DAMAGES)
async def damaged(request, path):
    await stored(path, *(f"k{n}" for n in range(500)))
    request.param(path)
    return path


async def test_a_damaged_file_is_moved_aside_and_the_store_begins_empty(damaged, caplog):
    content = damaged.read_bytes()
    keys, moved_to = await opened(damaged)
    assert keys == []
    assert re.fullmatch(re.escape(str(damaged)) + r"\.corrupt-\d{8}T\d{6}Z", moved_to)
    assert (damaged.parent / moved_to).read_bytes() == content
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{damaged} is damaged (" in record.message
    assert moved_to in record.message
    assert await opened(damaged) == ([], ""), "the new one is sound"


async def test_an_empty_file_that_nobody_made_is_no_new_store(path):
    path.touch()
    keys, moved_to = await opened(path)
    assert keys == []
    assert moved_to


async def test_a_start_that_is_killed_before_the_file_has_a_byte_is_no_damage(path, monkeypatch):
    for _ in range(2):
        with monkeypatch.context() as killed, opening.locked(path):
            killed.setattr(opening, "identify", raising)
            with pytest.raises(KeyboardInterrupt):
                opening.first_open(path, "FULL", "rename", opening.connect)
        assert path.read_bytes() == b""
    assert await opened(path) == ([], "")
    path.write_bytes(b"")
    assert (await opened(path))[1], "from then on it is"


def raising(*args):
    raise KeyboardInterrupt


async def test_or_the_start_is_refused(damaged):
    content = damaged.read_bytes()
    with pytest.raises(StoreUnusable) as caught:
        await opened(damaged, "refuse")
    text = str(caught.value)
    assert text.startswith(f"store.file: {damaged} is damaged (")
    assert 'set store.on_corrupt = "rename"' in text
    assert "\n" not in text
    assert damaged.read_bytes() == content
    assert not list(damaged.parent.glob("*.corrupt-*"))


async def test_what_belongs_to_the_file_goes_with_it(path):
    await stored(path, "k")
    garbage(path)
    for part in ("-wal", "-shm"):
        (path.parent / f"{path.name}{part}").write_bytes(b"old")
    aside = move_aside(path, now=0.0)
    assert aside.name == "store.db.corrupt-19700101T000000Z"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "store.db.corrupt-19700101T000000Z",
        "store.db.corrupt-19700101T000000Z-shm",
        "store.db.corrupt-19700101T000000Z-wal",
        "store.db.lock",
    ]


def test_two_in_one_second_get_two_names(path):
    names = []
    for _ in range(3):
        garbage(path)
        names.append(move_aside(path, now=0.0).name.rpartition("-")[2])
    assert names == ["19700101T000000Z", "19700101T000000Z.1", "19700101T000000Z.2"]


async def test_a_log_cut_short_loses_what_was_not_committed_only(path, tmp_path):
    """What a power cut leaves: the end of the write-ahead log is missing, and that is no damage."""
    store = SqliteStore(path)
    await store.open()
    for n in range(20):
        await store.put("t", f"k{n:02d}", {"x": "x" * 3000}).wait()
    copy = tmp_path / "copy" / "store.db"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    log = (path.parent / "store.db-wal").read_bytes()
    (copy.parent / "store.db-wal").write_bytes(log[: len(log) * 2 // 3])
    await store.close()
    keys, moved_to = await opened(copy)
    assert moved_to == ""
    assert 0 < len(keys) < 20
    assert keys == [f"k{n:02d}" for n in range(len(keys))], "a prefix"


# -- no damage, but in the way -----------------------------------------------------------------------------------------


async def refused(path, **options):
    """The line that says why; the file is as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreUnusable) as caught:
        await opened(path, **options)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not list(path.parent.glob("*.corrupt-*"))
    text = str(caught.value)
    assert text.startswith(f"store.file: {path} ")
    return text.removeprefix(f"store.file: {path} ")


async def test_the_database_of_another_program(path):
    change(path, "CREATE TABLE recipes (name TEXT)")
    assert await refused(path) == "is the database of another program; name another file"


async def test_a_newer_file(path):
    await stored(path, "k")
    change(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    text = await refused(path)
    assert text.startswith(f"was written by a newer trioemqx (schema {len(MIGRATIONS) + 1}, this one knows up to ")


async def test_a_directory(path):
    path.mkdir()
    assert await refused(path) == "cannot be read and written: Is a directory"


async def test_a_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be read and written: " in await refused(tmp_path / "file" / "store.db")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full"),
        (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"),
        (sqlite3.SQLITE_BUSY, "database is locked"),
    ],
)
async def test_a_disk_that_is_full_or_busy_is_no_damage(path, code, text):
    await stored(path, "k")
    disk = Disk()
    disk.fail("PRAGMA journal_mode", code, text)
    assert (await refused(path, connect=disk.connect)).startswith(f"cannot be opened: {text}; check ")


async def test_a_page_that_cannot_be_read_is_damage(path):
    await stored(path, "k")
    disk = Disk()
    disk.fail("PRAGMA integrity_check", sqlite3.SQLITE_IOERR_READ, "disk I/O error")
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(path, "refuse", connect=disk.connect)


async def test_a_second_store_on_the_same_file_is_refused(path):
    first = SqliteStore(path)
    await first.open()
    durable = first.put("t", "k", {})
    assert re.fullmatch(
        r"is used by another broker \(process \d+\); stop it, or name another file", await refused(path)
    )
    await durable.wait()
    await first.close()
    assert await opened(path) == (["k"], "")


# -- versions ----------------------------------------------------------------------------------------------------------

LATER = (*MIGRATIONS, ("ALTER TABLE rows ADD COLUMN at INTEGER NOT NULL DEFAULT 7", "CREATE INDEX by_at ON rows (at)"))


def version(path):
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def use(monkeypatch, migrations):
    monkeypatch.setattr(opening, "identify", lambda connection: schema.identify(connection, migrations))
    monkeypatch.setattr(opening, "migrate", lambda connection: schema.migrate(connection, migrations))


async def test_a_new_file_has_the_newest_version_and_our_name_in_it(path):
    await stored(path)
    assert version(path) == len(MIGRATIONS)
    assert path.read_bytes()[68:72] == b"trmq"


async def test_an_older_file_is_brought_forward_with_what_is_in_it(path, monkeypatch):
    await stored(path, "a", "b")
    assert version(path) == len(MIGRATIONS)
    use(monkeypatch, LATER)
    assert await opened(path) == (["a", "b"], "")
    assert version(path) == len(LATER)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT key, at FROM rows").fetchall() == [("a", 7), ("b", 7)]
    connection.close()
    assert await opened(path) == (["a", "b"], ""), "and only once"


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    await stored(path, "a")
    before = on_disk(path)
    use(monkeypatch, (*LATER, ("ALTER TABLE rows DROP COLUMN no_such_column",)))
    with pytest.raises(StoreUnusable, match="no such column"):
        await opened(path)
    assert version(path) == len(MIGRATIONS)
    assert on_disk(path) == before
    use(monkeypatch, MIGRATIONS)
    assert await opened(path) == (["a"], "")


async def test_an_empty_file_goes_through_every_version(path, monkeypatch):
    use(monkeypatch, LATER)
    await stored(path, "a")
    assert version(path) == len(LATER)


def test_migrate_tells_where_it_began():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    assert migrate(connection) == 0
    assert migrate(connection) == len(MIGRATIONS)
    connection.close()
