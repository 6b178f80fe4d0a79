"""The disk queue of a bridge whose process was killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import trio
from broker_process import PATIENCE, environment

from trioemqx.services.bridge.counters import BridgeCounters
from trioemqx.services.bridge.diskqueue import DiskQueue


async def held(folder: Path) -> tuple[list[int], int]:
    """The messages that a queue holds, in order, and how many were damaged."""
    counters = BridgeCounters()
    queue = DiskQueue(folder, 20_000, 10**9, False, counters.drop, lambda: None)
    await queue.open()
    queue.admit()
    found = []
    while await queue.fill():
        while queue.head() is not None:
            found.append(int(queue.take().payload.split()[0]))
    return found, counters.dropped["damaged"]


def test_kill_9_loses_no_message_that_was_on_disk(tmp_path):
    written: list[int] = []
    settled: set[int] = set()
    first = 0
    for _ in range(3):  # the later ones begin with what was left
        command = [sys.executable, str(Path(__file__).with_name("bridge_queue_writer.py")), str(tmp_path), str(first)]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(random.randint(1, 3000))]
        process.kill()
        lines += [line for line in process.stdout if line.endswith("\n")]
        process.stdout.close()
        assert process.wait(PATIENCE) == -signal.SIGKILL
        written += [int(line[2:]) for line in lines if line.startswith("+")]
        settled |= {int(line[2:]) for line in lines if line.startswith("-")}
        found, damaged = trio.run(held, tmp_path)
        assert damaged == 0
        assert found == sorted(found), "in order"
        assert set(written) - settled <= set(found), "at least once"
        assert len(settled & set(found)) <= 60, "what was settled before the last note does not come again"
        first = max([*found, *written]) + 1
