"""What a power cut, or a disk that scribbles, leaves of the write-ahead log: the broker starts, and finds a prefix of
what it had written, at least up to what was durable."""

from __future__ import annotations

import random
import sqlite3
import struct

import pytest

from trioemqx.services.store import opening
from trioemqx.services.store.protocol import Change
from trioemqx.services.store.queues import MESSAGES, QUEUE, join, number_key
from trioemqx.services.store.sqlite import SqliteStore

STEPS = 60
HEADER = 32
FRAME_HEADER = 24


def step(number: int, chance: random.Random) -> list[Change]:
    """A message for two sessions and a row that says how far we are; sometimes an older one is done with."""
    changes: list[Change] = [("steps", f"{number:04d}", f'{{"n":{number}}}')]
    message = number * 10
    changes.append((MESSAGES, number_key(message), f'{{"payload":"{"x" * chance.randrange(3000)}"}}'))
    for session in (1, 2):
        row = f'{{"message":{message},"size":1,"id":0,"qos":1}}'
        changes.append((QUEUE, join(session, 0, message + session), row))
    if number > 5:
        done = chance.randrange(1, number) * 10
        changes += [(QUEUE, join(session, 0, done + session), None) for session in (1, 2) if chance.random() < 0.7]
    return changes


@pytest.fixture
async def run(tmp_path, monkeypatch):
    """(file, log, length of the log when each step was durable); nothing of it was moved to the file meanwhile."""
    monkeypatch.setattr(opening, "WAL_PAGES", 0)
    path = tmp_path / "run" / "store.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    file = path.read_bytes()
    await store.open()
    log = path.with_name("store.db-wal")
    lengths = []
    chance = random.Random(1)
    for number in range(STEPS):
        await store.apply_changes(step(number, chance)).wait()
        lengths.append(log.stat().st_size)
    content = log.read_bytes()
    assert path.read_bytes() == file
    await store.close()
    return file, content, lengths


@pytest.fixture
def start(tmp_path):
    """Start on a file and a log; gives the number of steps that are there."""
    path = tmp_path / "found" / "store.db"

    def look(file: bytes, log: bytes) -> int:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file)
        path.with_name("store.db-wal").write_bytes(log)
        path.with_name("store.db-shm").unlink(missing_ok=True)
        connection, aside = opening.first_open(path, "FULL", "refuse", opening.connect)
        assert aside == ""
        steps = [key for (key,) in connection.execute("SELECT key FROM rows WHERE tbl = 'steps' ORDER BY key")]
        assert steps == [f"{number:04d}" for number in range(len(steps))], "a prefix"
        check(connection, len(steps))
        connection.close()
        return len(steps)

    return look


def check(connection: sqlite3.Connection, steps: int) -> None:
    """No message without somebody who waits for it, nobody without his message; each is counted right."""
    counted = dict(connection.execute("SELECT message, count(*) FROM queue GROUP BY message"))
    assert dict(connection.execute("SELECT number, refs FROM messages")) == counted
    assert all(message < steps * 10 for message in counted)


def frames(log: bytes) -> list[int]:
    """Where each frame of a log ends, its header included."""
    size = FRAME_HEADER + struct.unpack_from(">I", log, 8)[0]
    return list(range(HEADER, len(log) + 1, size))


def durable(lengths: list[int], length: int) -> int:
    """How many steps had been acknowledged when the log had this length."""
    return sum(one <= length for one in lengths)


async def test_every_prefix_of_the_log_is_a_prefix_of_what_was_done(run, start):
    """A power cut: at any moment so much of the log, and no less than what was synced, is on the disk."""
    file, log, lengths = run
    ends = frames(log)
    assert len(ends) > STEPS
    for length in ends[:: max(1, len(ends) // 60)] + lengths:
        assert start(file, log[:length]) == durable(lengths, length)


async def test_a_torn_write_loses_the_transaction_it_belongs_to(run, start):
    file, log, lengths = run
    chance = random.Random(2)
    for _ in range(20):
        length = chance.randrange(HEADER, len(log))
        assert start(file, log[:length]) == durable(lengths, length)


async def test_what_is_scribbled_over_is_lost_with_what_came_after_it_and_no_more(run, start):
    file, log, lengths = run
    chance = random.Random(3)
    for _ in range(20):
        at = chance.randrange(len(log) // 2, len(log) - 64)
        scribbled = log[:at] + chance.randbytes(64) + log[at + 64 :]
        assert start(file, scribbled) == durable(lengths, at)


async def test_garbage_behind_the_end_costs_nothing(run, start):
    file, log, _ = run
    chance = random.Random(4)
    for size in (1, 24, 4096, 4120, 100_000):
        assert start(file, log + chance.randbytes(size)) == STEPS
    assert start(file, log + log[HEADER : HEADER + 3 * 4120]) == STEPS, "old frames of the same log"


async def test_part_of_the_log_may_have_reached_the_file(run, start, tmp_path):
    """A power cut during a checkpoint: some pages of the file are new, and the log is complete."""
    file, log, _ = run
    path = tmp_path / "whole" / "store.db"
    path.parent.mkdir()
    path.write_bytes(file)
    path.with_name("store.db-wal").write_bytes(log)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    new = path.read_bytes()
    chance = random.Random(5)
    page = struct.unpack_from(">I", log, 8)[0]
    for _ in range(10):
        mixed = bytearray(file.ljust(len(new), b"\0"))
        for at in range(0, len(new), page):
            if chance.random() < 0.5:
                mixed[at : at + page] = new[at : at + page]
        assert start(bytes(mixed), log) == STEPS


async def test_doing_a_transaction_again_changes_nothing(tmp_path):
    """After a commit of which nobody knows whether it happened, everything in it is written once more."""
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    chance = random.Random(6)
    for number in range(30):
        changes = step(number, chance)
        await store.apply_changes(changes).wait()
        await store.apply_changes(changes).wait()
    await store.close()
    connection = sqlite3.connect(tmp_path / "store.db")
    check(connection, 30)
    connection.close()
