"""What waits in one lane, on disk. A message is in files from a moment after `put` until it is settled.

`put` only adds to a buffer; `run` writes the buffer in batches, in a thread, as fast as the disk takes them. What has
been written survives the end of the process, however it ends, and with `fsync` a power cut. Settled messages are noted
twice a second, so those of the last half second may come again after a crash.

While the disk fails, messages go from the buffer to the other side directly; the buffer is bounded.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final

import trio

from trioemqx.services.bridge import segments as files
from trioemqx.services.bridge.buffer import Buffer
from trioemqx.services.bridge.counters import DAMAGED, INVALID, QUEUE_FULL
from trioemqx.services.bridge.flight import Flight
from trioemqx.services.bridge.item import Item
from trioemqx.services.bridge.lanequeue import Drop
from trioemqx.services.bridge.records import load, store
from trioemqx.services.bridge.segments import Segment

log = logging.getLogger("trioemqx.bridge")

BUFFER_BYTES: Final = 16 * 1024 * 1024
"""What may wait for the disk; beyond that the oldest of it is dropped."""
BATCH_BYTES: Final = 512 * 1024
"""Of one write."""
LOAD_BYTES: Final = 128 * 1024
"""Of one read."""
ACK_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
"""After the disk has failed."""
MIN_SEGMENTS: Final = 4
"""So that a queue that is full loses a quarter of itself at most."""


class DiskQueue:
    """A `LaneQueue` in a folder that is this queue's alone. `put` may come at any time; `open` and `admit` come
    before `fill`, `run` and `close`, and again after that. `ready` is called when messages may have come; `drop` counts
    lost ones."""

    def __init__(
        self, folder: Path, seg_bytes: int, max_bytes: int, fsync: bool, drop: Drop, ready: Callable[[], object]
    ) -> None:
        self.failing = ""
        """Why the disk does not take what is written, until it does again."""
        self._folder = folder
        self._seg_bytes = max(1, min(seg_bytes, max_bytes // MIN_SEGMENTS))
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._drop = drop
        self._ready = ready
        self._segments: deque[Segment] = deque()
        self._gone: list[Path] = []
        self._buffer = Buffer(min(max_bytes, BUFFER_BYTES), drop)
        self._writing = 0
        self._loaded: deque[Item] = deque()
        self._loaded_bytes = 0
        self._flight = Flight()
        self._next_seq = self._load_seq = 1
        self._load_at = 0
        self._skip_to = self._acked = 0
        self._threads = trio.CapacityLimiter(2)
        """One writes, one reads: a disk that hangs takes threads from nobody else."""
        self._dirty = trio.lowlevel.ParkingLot()
        self._settled = trio.lowlevel.ParkingLot()

    # -- what lanes see ----------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """See LaneQueue; so are the others."""
        first = self._segments[0].first if self._segments else self._next_seq
        unread = self._next_seq - max(self._load_seq, first, self._skip_to + 1)
        return len(self._loaded) + max(0, unread) + self._buffer.total + self._writing

    @property
    def in_flight(self) -> int:
        """Taken and not done."""
        return len(self._flight)

    @property
    def flight_bytes(self) -> int:
        """Their size."""
        return self._flight.size

    def put(self, item: Item) -> None:
        """Add to the buffer; before `admit` to what comes after that."""
        self._buffer.put(item)
        self._dirty.unpark()

    def adopt(self, item: Item) -> None:
        """Add a message that is older than those that were `put` before `admit`."""
        self._buffer.adopt(item)
        self._dirty.unpark()

    def admit(self) -> None:
        """What is older is here: what was `put` meanwhile comes after it."""
        self._buffer.admit()
        self._dirty.unpark()

    def head(self) -> Item | None:
        """The next one of those that are loaded, or of the buffer where the disk fails."""
        if self._loaded:
            return self._loaded[0]
        if self.failing and not self._writing and self._load_seq >= self._next_seq:
            return self._buffer.head()
        return None

    def take(self) -> Item:
        """Take it."""
        if self._loaded:
            item = self._loaded.popleft()
            self._loaded_bytes -= item.size
        else:
            item = self._buffer.take()
        self._flight.add(item)
        return item

    def done(self, item: Item) -> None:
        """It is settled."""
        if self._flight.settle(item):
            self._settled.unpark()

    def rewind(self, only: Container[Item] | None = None) -> None:
        """All of it, or some of it, waits again."""
        again = self._flight.back(only)
        self._loaded.extendleft(reversed(again))
        self._loaded_bytes += sum(item.size for item in again)

    def export(self) -> list[Item]:
        """Nothing: whoever opens the folder next has it all."""
        return []

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Look at what is there. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = await trio.to_thread.run_sync(files.recover, self._folder, limiter=self._threads)
        if found.cut:
            log.warning("%s: %d bytes at the end of the queue are damaged and were cut off", self._folder, found.cut)
        self._loaded.clear()  # after `close` all of it is on disk
        self._loaded_bytes = 0
        self._segments = deque(found.segments)
        self._next_seq = found.next_seq
        self._skip_to = self._acked = found.acked
        self._load_seq = found.segments[0].first if found.segments else found.next_seq
        self._load_at = 0

    async def run(self) -> None:
        """Write what comes, note what is settled, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all)
            nursery.start_soon(self._note_all)

    async def close(self) -> None:
        """Write what is left. What the disk does not take is lost, and logged."""
        self.rewind()
        kept = [item for item in self._loaded if not item.seq]  # taken from the buffer while the disk failed
        if kept:
            self._loaded = deque(item for item in self._loaded if item.seq)
            self._loaded_bytes -= sum(item.size for item in kept)
            self._buffer.put_back(kept)
        if not await self.flush():
            log.error("%s: %d messages could not be written", self._folder, len(self._buffer))
        await self.note()

    async def flush(self) -> bool:
        """Write the whole buffer; False when the disk does not take it."""
        while len(self._buffer):
            if not await self._write():
                return False
        return True

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _write_all(self) -> None:
        while True:
            if not len(self._buffer):
                await self._dirty.park()
            elif not await self._write():
                self._ready()
                await trio.sleep(RETRY_SECONDS)

    async def _write(self) -> bool:
        """Write one batch; False when the disk does not take it."""
        batch = self._buffer.batch(BATCH_BYTES)
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.size >= self._seg_bytes or segment.end != self._next_seq:
            segment = Segment(files.segment_path(self._folder, self._next_seq), self._next_seq, 0, 0)
        self._writing = len(batch)
        try:
            with trio.CancelScope(shield=True):  # whether it has been written has to be known
                call = (segment.path, segment.size, batch, self._fsync)
                segment.size, written = await trio.to_thread.run_sync(store, *call, limiter=self._threads)
        except OSError as error:
            self._failed(error, batch)
            return False
        finally:
            self._writing = 0
        if len(written) < len(batch):
            self._drop(INVALID, len(batch) - len(written))
        if written:
            self._written(segment, written)
        return True

    def _written(self, segment: Segment, batch: list[Item]) -> None:
        """A batch is on the disk; where everything before it has been loaded it need not be read from there."""
        if self.failing:
            log.warning("%s takes messages again", self._folder)
            self.failing = ""
        if not segment.count:
            self._segments.append(segment)
        fresh = self._load_seq == self._next_seq and self._loaded_bytes < LOAD_BYTES
        segment.count += len(batch)
        for item in batch:
            item.seq = self._next_seq
            self._next_seq += 1
        if fresh:
            self._loaded.extend(batch)
            self._loaded_bytes += sum(item.size for item in batch)
            self._load_seq = self._next_seq
            self._load_at = segment.size
        self._trim()
        self._ready()

    def _failed(self, error: OSError, batch: list[Item]) -> None:
        self._buffer.put_back(batch)
        reason = error.strerror or str(error)
        if not self.failing:
            log.error("%s does not take messages, which wait in memory: %s", self._folder, reason)
        self.failing = reason

    def _trim(self) -> None:
        """Drop the oldest segments while there are too many bytes."""
        total = sum(segment.size for segment in self._segments)
        while total > self._max_bytes and len(self._segments) > 1:
            segment = self._segments.popleft()
            total -= segment.size
            self._gone.append(segment.path)
            self._forget(segment)
        self._settled.unpark()

    def _forget(self, segment: Segment) -> None:
        """Nobody will load its records any more; those in flight go on."""
        lost = max(0, segment.end - max(segment.first, self._load_seq, self._skip_to + 1))
        if self._load_seq < segment.end:
            self._load_seq, self._load_at = segment.end, 0
        while self._loaded and self._loaded[0].seq < segment.end:
            self._loaded_bytes -= self._loaded.popleft().size
            lost += 1
        if lost:
            self._drop(QUEUE_FULL, lost)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def fill(self) -> bool:
        """Load more. Where a segment is damaged the rest of it is lost. A disk that cannot be read is tried again."""
        await trio.lowlevel.checkpoint()
        while self.head() is None and self._load_seq < self._next_seq:
            segment = next(s for s in self._segments if s.end > self._load_seq)
            if segment.first >= self._load_seq:
                self._load_seq, self._load_at = segment.first, 0
            seq, end = self._load_seq, segment.end
            try:
                call = (segment.path, self._load_at, segment.size, LOAD_BYTES)
                found = await trio.to_thread.run_sync(load, *call, limiter=self._threads)
            except OSError as error:
                log.error("%s cannot be read: %s", segment.path, error.strerror or error)
                await trio.sleep(RETRY_SECONDS)
                continue
            if seq == self._load_seq:  # else it has been dropped meanwhile
                self._take_in(segment, end, *found)
        return self.head() is not None

    def _take_in(self, segment: Segment, end: int, items: list[Item | None], at: int, damaged: bool) -> None:
        """What was read of a segment, which had records up to `end` then."""
        for item in items:
            seq, self._load_seq = self._load_seq, self._load_seq + 1
            if item is None:
                self._drop(DAMAGED, 1)
            elif seq > self._skip_to:
                item.seq = seq
                self._loaded.append(item)
                self._loaded_bytes += item.size
        self._load_at = at
        if (damaged or not items) and self._load_seq < end:
            log.error("%s is damaged; %d messages are lost", segment.path, end - self._load_seq)
            self._drop(DAMAGED, end - self._load_seq)
            self._load_seq = end

    # -- what is settled ---------------------------------------------------------------------------------------------

    async def _note_all(self) -> None:
        while True:
            await self._settled.park()
            await trio.sleep(ACK_SECONDS)
            await self.note()

    async def note(self) -> None:
        """Write down up to where everything is settled, and delete the files before that."""
        acked = self._settled_to()
        while len(self._segments) > 1 and self._segments[0].end <= acked + 1:
            self._gone.append(self._segments.popleft().path)
        gone = self._gone
        if acked == self._acked and not gone:
            return
        self._gone = []
        try:
            if acked != self._acked:
                call = (self._folder, acked, self._fsync)
                await trio.to_thread.run_sync(files.write_acked, *call, limiter=self._threads)
                self._acked = acked
            await trio.to_thread.run_sync(files.unlink, gone, limiter=self._threads)
        except OSError as error:
            self._gone = [*gone, *self._gone]
            log.error("%s: %s", self._folder, error.strerror or error)

    def _settled_to(self) -> int:
        for items in (self._flight, self._loaded):
            first = next((item.seq for item in items if item.seq), 0)
            if first:
                return max(self._acked, first - 1)
        return max(self._acked, self._load_seq - 1)
