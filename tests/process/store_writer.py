"""A process of its own that writes pairs of rows until it is killed, and prints a pair's number once it is durable.

python store_writer.py FILE SYNC
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from trioemqx.services.store.protocol import Put
from trioemqx.services.store.sqlite import SqliteStore

WRITERS = 20


async def write(store: SqliteStore, number: int) -> None:
    while True:
        row = {"n": number, "x": "x" * (number % 3000)}
        await store.apply([Put("left", f"{number:08d}", row), Put("right", f"{number:08d}", row)]).wait()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += WRITERS


async def main(path: Path, sync: str) -> None:
    store = SqliteStore(path, sync)
    await store.open()
    async with trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write, store, number)


trio.run(main, Path(sys.argv[1]), sys.argv[2])
