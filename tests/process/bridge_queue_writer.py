"""A process of its own that fills a bridge's disk queue until it is killed, and prints what it did once it was done.

python bridge_queue_writer.py FOLDER FIRST

`+ 7` message 7 is on disk, `- 7` it was settled.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from trioemqx.services.bridge.counters import BridgeCounters
from trioemqx.services.bridge.diskqueue import DiskQueue
from trioemqx.services.bridge.item import Item

BATCH = 30


def tell(sign: str, numbers: list[int]) -> None:
    sys.stdout.write("".join(f"{sign} {number}\n" for number in numbers))
    sys.stdout.flush()


async def main(folder: Path, number: int) -> None:
    queue = DiskQueue(folder, 20_000, 10**9, False, BridgeCounters().drop, lambda: None)
    await queue.open()
    queue.admit()
    while True:
        numbers = list(range(number, number + BATCH))
        for each in numbers:
            queue.put(Item("t", f"{each} ".encode() + bytes(each % 500), 1, False, None, 0))
        await queue.flush()
        tell("+", numbers)
        number += BATCH
        await queue.fill()
        settled = []
        while queue.head() is not None and len(settled) < BATCH // 2:
            item = queue.take()
            settled.append(int(item.payload.split()[0]))
            queue.done(item)
        tell("-", settled)
        await queue.note()


trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
