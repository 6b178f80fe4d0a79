"""The store on disk: groups, order, failures and what becomes of the changes in them, bounds, the file itself."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat

import pytest
import trio
from store_helpers import Disk, on_disk, stored

from trioemqx.services.store import sqlite as module
from trioemqx.services.store import writer
from trioemqx.services.store.database import Database
from trioemqx.services.store.protocol import HIGH_MARK, Delete, Durable, Put, RowError, StoreError, all_items
from trioemqx.services.store.sqlite import SqliteStore

FSYNC_ERROR = (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")


class Told:
    """What the store says about itself."""

    def __init__(self) -> None:
        self.failures: list[StoreError] = []
        self.recovered = trio.Event()

    def watch(self, store: SqliteStore) -> None:
        store.watch(self.failures.append, self.recovered.set)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "store.db"


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
async def told():
    return Told()


@pytest.fixture
async def store(path, disk, told):
    made = SqliteStore(path, retry=0.01, connect=disk.connect)
    await made.open()
    told.watch(made)
    with trio.fail_after(20):
        yield made
        disk.recover()
        await made.close()


# -- groups and order --------------------------------------------------------------------------------------------------


async def at(gate) -> None:
    """Until the thread is held in a commit."""
    assert await trio.to_thread.run_sync(gate.wait, 20)


async def test_what_comes_during_a_commit_shares_the_next_one(store, disk):
    with disk.commits_held() as gate:
        first = store.put("t", "first", {})
        await at(gate)
        before = disk.count("COMMIT")
        waiting = [store.put("t", f"k{n}", {}) for n in range(100)]
        assert store.pending() == 101
    await first.wait()
    await waiting[-1].wait()
    assert disk.count("COMMIT") == before + 1
    assert store.pending() == 0


async def test_a_group_ends_at_a_number_of_changes(store, disk, monkeypatch):
    monkeypatch.setattr(writer, "GROUP", 10)
    with disk.commits_held() as gate:
        store.put("t", "first", {})
        await at(gate)
        before = disk.count("COMMIT")
        waiting = [store.put("t", f"k{n}", {}) for n in range(25)]
    await waiting[-1].wait()
    assert disk.count("COMMIT") == before + 3


async def test_batches_are_settled_one_after_the_other_in_their_order(store, monkeypatch):
    settled: list[Durable] = []
    settle = Durable.settle
    monkeypatch.setattr(Durable, "settle", lambda self, error=None: (settled.append(self), settle(self, error)))
    batches = [store.put("t", f"k{n}", {}) for n in range(200)]
    await batches[-1].wait()
    assert settled == batches


async def test_what_is_durable_is_in_the_file(store, path):
    await store.apply([Put("t", "a", {"n": 1}), Put("t", "b", {}), Delete("t", "b")]).wait()
    assert on_disk(path) == {"a": '{"n":1}'}


async def test_many_rows_of_one_batch(store, path):
    await store.apply([Put("t", f"{n:04d}", {"n": n}) for n in range(1234)]).wait()
    await store.apply([Delete("t", f"{n:04d}") for n in range(0, 1234, 2)]).wait()
    assert sorted(on_disk(path)) == [f"{n:04d}" for n in range(1, 1234, 2)]


async def test_reading_sees_changes_over_what_is_in_the_file(store, disk):
    await store.apply([Put("t", f"k{n}", {"n": n}) for n in range(6)]).wait()
    disk.fail("BEGIN")
    store.apply(
        [Delete("t", "k0"), Delete("t", "k2"), Put("t", "k3", {"n": 33}), Put("t", "k25", {}), Put("u", "x", {})]
    )
    assert await store.items("t", limit=3) == [("k1", {"n": 1}), ("k25", {}), ("k3", {"n": 33})]
    assert await store.items("t", after="k3", limit=9) == [("k4", {"n": 4}), ("k5", {"n": 5})]
    assert await store.get("t", "k2") is None


@pytest.mark.parametrize(("sync", "word"), [("full", "FULL"), ("normal", "NORMAL")])
async def test_levels(path, disk, sync, word):
    store = SqliteStore(path, sync, connect=disk.connect)
    await store.open()
    await store.close()
    assert disk.count(f"PRAGMA synchronous = {word}") == 1


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_full_disk_fails_the_batches_and_their_changes_are_written_later(store, disk, told, path):
    await store.put("t", "old", {"n": 1}).wait()
    disk.fail("COMMIT")
    failed = store.apply([Put("t", "new", {}), Delete("t", "old")])
    with pytest.raises(StoreError, match="cannot be written: database or disk is full"):
        await failed.wait()
    with pytest.raises(StoreError):
        await store.put("t", "another", {}).wait()
    assert [str(error) for error in told.failures] == ["cannot be written: database or disk is full"]
    assert store.failing is told.failures[0] or str(store.failing) == str(told.failures[0])
    assert store.pending() == 3
    assert on_disk(path) == {"old": '{"n":1}'}
    assert dict([pair async for pair in all_items(store, "t")]) == {"new": {}, "another": {}}

    disk.recover()
    await told.recovered.wait()
    assert (store.pending(), store.failing) == (0, None)
    assert on_disk(path) == {"new": "{}", "another": "{}"}
    assert failed.error is not None, "what has failed stays failed"


async def test_the_last_change_of_a_key_is_the_one_that_is_written_later(store, disk, told, path):
    disk.fail("INSERT")
    for row in ({"n": 1}, {"n": 2}):
        store.put("t", "k", row)
    store.put("t", "gone", {})
    store.delete("t", "gone")
    with pytest.raises(StoreError):
        await store.put("t", "k", {"n": 3}).wait()
    disk.recover()
    await told.recovered.wait()
    assert on_disk(path) == {"k": '{"n":3}'}


async def test_while_it_fails_batches_wait_for_the_next_attempt(path, disk):
    """They are not told anything at once, and the disk is not asked for each of them."""
    store = SqliteStore(path, retry=0.2, connect=disk.connect)
    await store.open()
    disk.fail("COMMIT")
    with pytest.raises(StoreError):
        await store.put("t", "k", {}).wait()
    before = disk.count("BEGIN")
    batches = [store.put("t", f"k{n}", {}) for n in range(10)]
    assert await store.get("t", "k9") == {}
    assert not any(batch.done for batch in batches)
    disk.recover()
    await batches[-1].wait()
    assert disk.count("BEGIN") == before + 1
    await store.close()
    assert len(on_disk(path)) == 11


async def test_a_file_that_may_not_grow(store, disk, told, path):
    """SQLite's own "full", in the middle of a transaction."""
    disk.before["BEGIN IMMEDIATE"] = "PRAGMA max_page_count = 20"
    await store.put("t", "small", {}).wait()
    with pytest.raises(StoreError, match="full"):
        await store.apply([Put("t", f"big{n}", {"x": "x" * 5000}) for n in range(300)]).wait()
    assert list(on_disk(path)) == ["small"]
    disk.before.clear()
    disk.before["BEGIN IMMEDIATE"] = "PRAGMA max_page_count = 1000000"
    await told.recovered.wait()
    assert len(on_disk(path)) == 301
    assert disk.connections == 1, "the connection was good all the time"


async def test_after_an_io_error_the_file_is_opened_and_checked_again(store, disk, told, path):
    await store.put("t", "before", {}).wait()
    disk.fail("COMMIT", *FSYNC_ERROR)
    with pytest.raises(StoreError, match="I/O"):
        await store.put("t", "k", {}).wait()
    checks = disk.count("PRAGMA integrity_check")
    disk.recover()
    await told.recovered.wait()
    assert disk.connections == 2
    assert disk.count("PRAGMA integrity_check") == checks + 1
    emptied = disk.statements.index("PRAGMA wal_checkpoint(TRUNCATE)")
    assert "INSERT" in disk.statements[emptied + 2], "nothing is written before the log has been emptied"
    assert sorted(on_disk(path)) == ["before", "k"]


async def test_a_file_found_damaged_later_is_never_written_to_again(store, disk, told, path):
    await store.put("t", "k", {}).wait()
    disk.fail("COMMIT", *FSYNC_ERROR)
    with pytest.raises(StoreError):
        await store.put("t", "k", {"n": 2}).wait()
    disk.fail("PRAGMA integrity_check", sqlite3.SQLITE_CORRUPT, "database disk image is malformed")
    disk._failing.pop("COMMIT")
    with pytest.raises(StoreError, match="malformed"):
        await store.put("t", "k", {"n": 3}).wait()
    assert await store.get("t", "k") == {"n": 3}
    with pytest.raises(StoreError, match="malformed"):
        await store.get("t", "another")
    assert len(told.failures) == 1
    assert on_disk(path) == {"k": "{}"}


async def test_a_file_emptied_by_somebody_else_is_not_taken_for_a_new_one(store, disk, path):
    await store.put("t", "k", {}).wait()
    disk.fail("COMMIT", *FSYNC_ERROR)
    with pytest.raises(StoreError):
        await store.put("t", "k", {"n": 2}).wait()
    for part in ("", "-wal", "-shm"):
        (path.parent / f"{path.name}{part}").unlink(missing_ok=True)
    disk.recover()
    with pytest.raises(StoreError, match="gone"):
        await store.put("t", "k", {"n": 3}).wait()


async def test_a_read_error_reaches_who_asked_and_nobody_else(store, disk):
    await store.put("t", "k", {}).wait()
    disk.fail("SELECT key", *FSYNC_ERROR)
    with pytest.raises(StoreError, match="cannot be read: disk I/O error"):
        await store.get("t", "k")
    disk.recover()
    await store.put("t", "k2", {}).wait()
    assert await store.get("t", "k") == {}
    assert disk.connections == 2


async def test_who_asks_to_be_told_later_is_told_what_is_wrong_already(path, disk):
    store = SqliteStore(path, connect=disk.connect)
    await store.open()
    disk.fail("COMMIT")
    with pytest.raises(StoreError):
        await store.put("t", "k", {}).wait()
    told = Told()
    told.watch(store)
    assert len(told.failures) == 1
    disk.recover()
    await store.close()
    assert list(on_disk(path)) == ["k"], "close tries once more"


async def test_a_crash_of_who_is_told_harms_nobody(path, disk, caplog):
    store = SqliteStore(path, retry=0.01, connect=disk.connect)
    await store.open()

    def crash(*_: object) -> None:
        raise ValueError("a bug")

    store.watch(crash, crash)
    disk.fail("COMMIT")
    with pytest.raises(StoreError):
        await store.put("t", "k", {}).wait()
    disk.recover()
    await store.put("t", "k", {}).wait()
    await store.close()
    assert [record.message for record in caplog.records if record.exc_info] == [
        "telling that the store fails crashed",
        "telling that the store has recovered crashed",
    ]


async def test_close_says_what_is_lost(path, disk, caplog):
    store = SqliteStore(path, connect=disk.connect)
    await store.open()
    disk.fail("COMMIT")
    durable = store.put("t", "k", {})
    await store.close()
    assert durable.done
    with pytest.raises(StoreError):
        await durable.wait()
    assert "1 changes could not be written and are lost" in caplog.text


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_a_full_store_refuses_batches_at_once_and_counts_them(store, disk, path, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    with disk.commits_held() as gate:
        store.put("t", "first", {})
        await at(gate)
        taken = store.apply([Put("t", "a", {}), Put("t", "b", {}), Put("t", "c", {})])
        refused = store.put("t", "d", {})
        assert refused.done
        assert store.refused == 1
        with pytest.raises(StoreError, match="waits"):
            await refused.wait()
    await taken.wait()
    assert await store.get("t", "d") is None
    await store.put("t", "e", {}).wait()
    assert sorted(on_disk(path)) == ["a", "b", "c", "e", "first"]


async def test_a_full_store_by_size(store, disk, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING_SIZE", 1000)
    disk.fail("COMMIT")
    with pytest.raises(StoreError, match="disk is full"):
        await store.put("t", "a", {"x": "x" * 5000}).wait()
    with pytest.raises(StoreError, match="waits"):
        await store.put("t", "b", {}).wait()


async def test_many_changes_of_few_keys_owe_little(store, disk):
    disk.fail("COMMIT")
    for _ in range(3):
        last = store.apply([Put("t", f"k{n % 10}", {"n": n}) for n in range(HIGH_MARK)])
    with pytest.raises(StoreError):
        await last.wait()
    assert store.pending() == 10


async def test_a_row_that_sqlite_could_not_hold_is_refused_before(store, monkeypatch):
    monkeypatch.setattr("trioemqx.services.store.protocol.MAX_ROW", 1000)
    with pytest.raises(RowError, match="at most 1000"):
        store.put("t", "k", {"x": "x" * 1000})


# -- the file ----------------------------------------------------------------------------------------------------------


async def test_the_file_is_for_its_owner_alone(store, path):
    await store.put("t", "k", {}).wait()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_closed_store_leaves_one_file_and_its_lock(path):
    await stored(path, "k")
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db.lock"]


async def test_a_copy_can_be_made_meanwhile(store, path, tmp_path):
    await store.put("t", "k", {}).wait()
    source, copy = sqlite3.connect(path), sqlite3.connect(tmp_path / "copy.db")
    source.backup(copy)
    source.close()
    copy.close()
    assert on_disk(tmp_path / "copy.db") == {"k": "{}"}


def free_pages(path) -> int:
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.close()
    return found


async def test_an_idle_store_tidies_its_file(store, disk, path, monkeypatch):
    await store.apply([Put("t", f"{n}", {"x": "x" * 5000}) for n in range(200)]).wait()
    await store.apply([Delete("t", f"{n}") for n in range(200)]).wait()
    assert free_pages(path) > 200
    monkeypatch.setattr(writer, "REST", 0.001)
    await store.put("t", "k", {}).wait()
    while free_pages(path) or not disk.count("PRAGMA wal_checkpoint(PASSIVE)"):
        await trio.sleep(0.001)
    assert path.stat().st_size < 50_000


async def test_a_start_that_is_cancelled_leaves_the_file_free(path, caplog):
    caplog.set_level(logging.WARNING)
    store = SqliteStore(path)
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.open()
    assert scope.cancelled_caught
    with trio.fail_after(20):
        while True:
            try:
                await store.open()
            except StoreError:  # the thread of the first is about to end
                await trio.sleep(0.001)
            else:
                break
    await store.close()
    assert caplog.text == ""


async def test_a_log_that_nobody_can_empty_is_told_and_when_it_is_small_again(store, monkeypatch):
    """What the alarm store_log_large is made of."""
    sizes = iter([writer.LARGE_LOG, writer.LARGE_LOG + 1, writer.LARGE_LOG + 2, writer.LARGE_LOG])
    told = []
    small = trio.Event()
    store.watch_log(told.append, lambda: (told.append("small"), small.set()))
    monkeypatch.setattr(Database, "wal_size", lambda self: next(sizes, 0))
    for n in range(4):
        await store.put("t", "k", {"n": n}).wait()
    with trio.fail_after(5):
        await small.wait()
    assert told == [writer.LARGE_LOG + 1, "small"]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CANTOPEN])
async def test_nothing_is_durable_on_a_disk_that_takes_nothing(store, disk, told, path, code):
    disk.fail("COMMIT", code, "no")
    with pytest.raises(StoreError):
        await store.put("t", "k", {"x": 1}).wait()
    assert on_disk(path) == {}
    disk.recover()
    await told.recovered.wait()
    assert list(on_disk(path)) == ["k"]
    given_up = disk.connections - 1  # the disk may have refused more than once before it recovered
    assert given_up > 0 if code == sqlite3.SQLITE_IOERR_FSYNC else given_up == 0, "a handle that lost a write"


class Refusing:
    """Stands for `os.pwrite` on a disk that has become read-only; `number` is its answer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked = 0

    def __call__(self, handle: int, data: bytes, offset: int) -> int:
        self.asked += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
async def test_a_dead_disk_is_not_touched(store, disk, told, path, monkeypatch, number):
    """SQLite's memory is mapped from a file: where the file system has gone, writing there ends the process."""
    await store.put("t", "before", {}).wait()
    with monkeypatch.context() as dead:
        dead.setattr(os, "pwrite", Refusing(number))
        done = len(disk.statements)
        with pytest.raises(StoreError, match=f"cannot be written: the disk takes nothing: {os.strerror(number)}"):
            await store.put("t", "k", {}).wait()
        with pytest.raises(StoreError, match="the disk takes nothing"):
            await store.get("t", "before")
        assert len(disk.statements) == done
    await told.recovered.wait()
    assert list(on_disk(path)) == ["before", "k"]
    assert disk.connections == 1, "nothing has happened to it"


async def test_a_connection_that_was_given_up_on_a_dead_disk_is_closed_when_it_is_back(
    store, disk, told, path, monkeypatch
):
    closed: list[Database] = []
    close_given_up = Database._close_given_up
    monkeypatch.setattr(Database, "_close_given_up", lambda self: (closed.append(self), close_given_up(self)))
    with monkeypatch.context() as dead:
        real, pwrite = Refusing(errno.EIO), os.pwrite

        def once_more(handle: int, data: bytes, offset: int) -> int:
            """The disk dies after it has been asked."""
            real.asked += 1
            return pwrite(handle, data, offset) if real.asked == 1 else real(handle, data, offset)

        dead.setattr(os, "pwrite", once_more)
        disk.fail("COMMIT", sqlite3.SQLITE_IOERR_FSYNC, "no")
        with pytest.raises(StoreError, match="no"):
            await store.put("t", "k", {}).wait()
        assert not closed
        disk.recover()
    await told.recovered.wait()
    assert closed
    assert disk.connections == 2
    assert list(on_disk(path)) == ["k"]


async def test_a_full_disk_is_left_to_sqlite(store, disk, monkeypatch):
    """It reads, and writes what needs no room."""
    full = Refusing(errno.ENOSPC)
    monkeypatch.setattr(os, "pwrite", full)
    await store.put("t", "k", {"n": 1}).wait()
    assert await store.get("t", "k") == {"n": 1}
    assert full.asked > 0


async def test_a_dead_disk_does_not_hold_the_end(path, monkeypatch, caplog):
    store = SqliteStore(path)
    await store.open()
    await store.put("t", "before", {}).wait()
    with monkeypatch.context() as dead:
        dead.setattr(os, "pwrite", Refusing(errno.EROFS))
        store.put("t", "lost", {})
        await store.close()
    assert store.pending() == 1
    assert "1 changes could not be written and are lost" in caplog.text
    assert "its write-ahead log stays beside it: the disk takes nothing" in caplog.text
    await store.open()
    assert await store.items("t") == [("before", {})]
    await store.close()


async def test_a_bug_that_ends_the_thread_is_told_to_everybody_who_waits(path, monkeypatch, caplog):
    store = SqliteStore(path)
    await store.open()
    crashes: list[Exception] = []
    store.watch_thread(crashes.append)
    await store.put("t", "before", {}).wait()

    def bug(*changes: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Database, "remember", bug)
    with trio.fail_after(20):
        durables = [store.put("t", "a", {}), store.put("t", "b", {})]
        with pytest.raises(StoreError, match="crashed"):
            await store.get("t", "before")
        for durable in durables:
            with pytest.raises(StoreError, match="crashed"):
                await durable.wait()
    assert [type(error) for error in crashes] == [MemoryError]
    with pytest.raises(StoreError, match="closed"):
        store.put("t", "c", {})
    assert store.pending() == 2, "what was not written stays owed"
    await store.close()
    monkeypatch.undo()
    again = SqliteStore(path)
    await again.open()
    assert await again.items("t") == [("before", {})]
    await again.close()
