"""The database of a broker that was killed, or that is in no good state: what is still there, what an operator sees."""

from __future__ import annotations

import random
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from broker_process import OPEN, PATIENCE, TCP, environment

from trioemqx.services.store.protocol import all_items
from trioemqx.services.store.sqlite import SqliteStore
from trioemqx.testing import Refused

BANNING = """
flapping_detect_policy = "3, 1m, 1h"
zone.default.enable_ban = true
zone.default.enable_flapping_detect = true
"""


async def rows(path: Path, table: str) -> dict[str, object]:
    store = SqliteStore(path, on_corrupt="refuse")
    await store.open()
    found = {key: row async for key, row in all_items(store, table)}
    await store.close()
    return found


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_kill_9_loses_nothing_that_was_durable(tmp_path, sync):
    path = tmp_path / "store.db"
    for _ in range(2):  # the second one begins with what the first one left
        command = [sys.executable, str(Path(__file__).with_name("store_writer.py")), str(path), sync]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(random.randint(1, 2000))]
        process.kill()
        durable = {int(line) for line in [*lines, *process.stdout] if line.endswith("\n")}
        process.stdout.close()
        assert process.wait(PATIENCE) == -signal.SIGKILL
        left, right = trio.run(rows, path, "left"), trio.run(rows, path, "right")
        assert durable
        assert durable <= {int(key) for key in left}
        assert left == right, "a batch is there as a whole or not at all"


async def written(path: Path, retained: str, banned: str) -> None:
    """Until the file holds just these: PUBACK does not wait for the commit."""
    query = "SELECT key FROM rows WHERE tbl IN ('retained', 'banned') ORDER BY tbl DESC"
    with trio.fail_after(PATIENCE):
        while True:
            connection = sqlite3.connect(path)
            found = [key for (key,) in connection.execute(query)]
            connection.close()
            if found == [retained, banned]:
                return
            await trio.sleep(0.01)


async def test_a_killed_broker_comes_back_with_retained_messages_and_bans(start, dialer):
    broker = start(OPEN + BANNING + TCP)
    dialer.port = broker.port()
    keeper = await dialer.client("keeper")
    await keeper.publish("kept", b"payload", qos=1, retain=True)
    await keeper.publish("gone", b"payload", qos=1, retain=True)
    await keeper.publish("gone", b"", qos=1, retain=True)
    for _ in range(6):
        with suppress(Refused):
            await (await dialer.client("restless")).disconnect()
    await written(broker.folder / "data" / "trioemqx.db", "kept", "clientid/restless")
    broker.signal(signal.SIGKILL)
    assert broker.wait_end() == -signal.SIGKILL

    again = start(OPEN + BANNING + TCP)
    dialer.port = again.port()
    with pytest.raises(Refused) as caught:
        await dialer.client("restless")
    assert caught.value.connack.code == 0x8A
    client = await dialer.client("c", subscribe="#")
    assert await client.message() == ("kept", b"payload")
    assert await client.nothing()
    assert again.stop() == 0
    assert not (again.folder / "data" / "trioemqx.db-wal").exists()


DAMAGED = b"no database" * 1000


def damage(folder: Path) -> Path:
    """A broken database where a broker that is started in `folder` expects its own."""
    file = folder / "data" / "trioemqx.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(DAMAGED)
    return file


def test_a_damaged_database_is_moved_aside_and_the_broker_starts(start, tmp_path):
    file = damage(tmp_path / "broker")
    broker = start(OPEN + TCP)
    (aside,) = file.parent.glob("trioemqx.db.corrupt-*")
    assert aside.read_bytes() == DAMAGED
    assert broker.stop() == 0
    text = broker.log()
    assert re.search(rf"\[warning\] .*trioemqx\.db is damaged .* was moved to .*{aside.name}", text)
    assert "alarm activated: store_damaged" in text
    again = start(OPEN + TCP)
    assert again.stop() == 0
    assert list(file.parent.glob("trioemqx.db.corrupt-*")) == [aside]


def test_or_it_is_one_line_and_78(launch, tmp_path):
    file = damage(tmp_path / "broker")
    broker = launch(OPEN + 'store.on_corrupt = "refuse"\n' + TCP)
    assert broker.wait_end() == 78
    (line,) = broker.lines
    assert line.startswith("trioemqx: store.file: data/trioemqx.db is damaged (file is not a database); put a backup")
    assert file.read_bytes() == DAMAGED


def test_two_brokers_do_not_share_a_database(start, launch, tmp_path):
    config = OPEN + f'store.file = "{tmp_path}/shared.db"\n' + TCP
    first = start(config, folder="first")
    second = launch(config, folder="second")
    assert second.wait_end() == 78
    assert second.lines == [
        f"trioemqx: store.file: {tmp_path}/shared.db is used by another broker (process {first.pid}); "
        f"stop it, or name another file"
    ]
    assert first.stop() == 0
    assert start(config, folder="second").stop() == 0
