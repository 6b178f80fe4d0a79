"""The folder of a bridge's disk queues: `<lanes>/<lane>/`, and a lock, so that one owner uses it.

The number of lanes is in the path because it decides which lane a topic takes. When it has changed, what the old lanes
hold is put into the new ones before anything is sent, in its order.
"""

from __future__ import annotations

import fcntl
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from trioemqx.services.bridge.config import BridgeError
from trioemqx.services.bridge.diskqueue import DiskQueue
from trioemqx.services.bridge.segments import remove_queue

log = logging.getLogger("trioemqx.bridge")

Make = Callable[[Path], DiskQueue]


def lane_of(topic: str, lanes: int) -> int:
    """The lane that a topic takes."""
    return zlib.crc32(topic.encode("utf-8", "surrogatepass")) % lanes if lanes > 1 else 0


class QueueFolder:
    """`make` makes the queue of a folder; `queues` takes messages at once, and keeps them after `open`."""

    def __init__(self, path: Path, lanes: int, make: Make) -> None:
        self._path = path
        self._make = make
        self._lock = -1
        self.queues = [make(path / str(lanes) / str(lane)) for lane in range(lanes)]

    async def open(self) -> None:
        """Lock the folder and open all queues. Raises BridgeError (locked by somebody else), OSError."""
        self._take_lock()
        try:
            for queue in self.queues:
                await queue.open()
            for folder in await trio.to_thread.run_sync(self._others):
                for lane in await trio.to_thread.run_sync(_folders, folder):
                    await self._move(lane)
                await trio.to_thread.run_sync(_remove, folder)
            for queue in self.queues:
                queue.admit()
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Let others have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise BridgeError(f"{self._path} is in use by another bridge; give each a folder of its own") from None
        self._lock = handle

    def _others(self) -> list[Path]:
        """Folders of lanes of which there was another number."""
        mine = self._path / str(len(self.queues))
        return [folder for folder in _folders(self._path) if folder != mine]

    async def _move(self, folder: Path) -> None:
        """Put what an old lane holds into the present ones. After a crash on the way some of it is there twice."""
        old = self._make(folder)
        await old.open()
        while await old.fill():
            while old.head() is not None:
                item = old.take()
                old.done(item)
                self.queues[lane_of(item.topic, len(self.queues))].adopt(item)
            await _flushed(self.queues)


def _folders(path: Path) -> list[Path]:
    """Those in a folder that have a number for a name."""
    names = [entry.name for entry in os.scandir(path) if entry.is_dir()]
    return [path / name for name in sorted(names) if name.isascii() and name.isdigit()]


def _remove(folder: Path) -> None:
    """Remove old lanes, which are empty now. A folder with a number for a name need not be one of ours: what we have
    not written stays, and so does the folder it is in."""
    try:
        for lane in _folders(folder):
            remove_queue(lane)
        folder.rmdir()
    except OSError as error:
        log.warning("%s stays where it is: %s", folder, error.strerror)


async def _flushed(queues: Sequence[DiskQueue]) -> None:
    """Raises OSError when the disk does not take it."""
    for queue in queues:
        if not await queue.flush():
            raise OSError(f"cannot be written: {queue.failing}")
