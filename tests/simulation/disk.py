"""A store whose commits take time, fail and stall on command, and that outlives the crash of a broker.

What the broker sees is `MemoryStore`'s tables; what is on `disk` came there batch by batch, in order, and is all that
the next broker finds after a crash. A failing disk behaves as `SqliteStore` does: what waits fails, is owed, and is
written with a later attempt.
"""

from __future__ import annotations

import copy

import trio

from trioemqx.services.store import queues
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.protocol import Durable, StoreError

RETRY = 1.0


class SimStore(MemoryStore):
    """`mode` is "good", "failing" (each commit fails) or "stalled" (none ends). `speed` is the longest time a good one
    takes, in seconds."""

    outlives_process = True

    def __init__(self, timeline, random, trace, disk=None):
        super().__init__()
        self._tables = copy.deepcopy(disk or {})
        self.disk = copy.deepcopy(disk or {})
        self.mode = "good"
        self.speed = 0.003
        self.dead = False
        self._timeline = timeline
        self._random = random
        self._trace = trace
        self._waiting = []
        self._owed = []
        self._busy = False

    def apply_changes(self, changes):
        """Change what is seen; the disk follows."""
        self._demand_open()
        super().apply_changes(changes)
        durable = Durable()
        if self.dead:
            durable.settle()
            return durable
        self._waiting.append((list(changes), durable))
        self._begin()
        return durable

    def pending(self):
        """Changes that are not on the disk."""
        return sum(len(changes) for changes, _ in self._waiting) + len(self._owed)

    def crowded(self):
        """As the real one, at a size that a simulation reaches."""
        return self.pending() > 300

    async def close(self):
        """Settle what was applied, as far as the disk allows."""
        while self.pending() and not self.dead and self.mode == "good":
            await trio.sleep(0.01)
        self._die()
        await super().close()

    # -- commands ----------------------------------------------------------------------------------------------------

    def set_mode(self, mode, speed=None):
        """From now on."""
        self.mode = mode
        if speed is not None:
            self.speed = speed
        self._trace("store", mode, self.speed)
        self._begin()

    def crash(self):
        """The process is gone; returns what the next one finds."""
        found = copy.deepcopy(self.disk)
        self._die()
        return found

    def _die(self):
        self.dead = True
        waiting, self._waiting = self._waiting, []
        for _, durable in waiting:
            durable.settle()

    # -- committing --------------------------------------------------------------------------------------------------

    def _begin(self):
        """Start a commit of what waits, unless one is running."""
        if not self._busy and self._waiting and not self.dead and self.mode != "stalled":
            self._busy = True
            batch, self._waiting = self._waiting, []
            self._timeline.after(self._random.random() * self.speed, self._commit, batch)

    def _commit(self, batch):
        if self.dead:
            self._settle(batch, None)
        elif self.mode == "stalled":
            self._timeline.after(0.1, self._commit, batch)
        elif self.mode == "failing":
            for changes, _ in batch:
                self._owed += changes
            self._settle(batch, StoreError("the simulated disk is full"))
            self._timeline.after(RETRY, self._retry)
        else:
            self._write(self._owed)
            self._owed = []
            for changes, _ in batch:
                self._write(changes)
            self._trace("commit", sum(len(changes) for changes, _ in batch))
            # between the disk and the news of it, the process may end
            self._timeline.after(0.0005, self._settle, batch, None)

    def _settle(self, batch, error):
        self._busy = False
        for _, durable in batch:
            durable.settle(error)
        self._begin()

    def _retry(self):
        """What is owed is written without being asked, as the real store's thread does."""
        if self._owed and not self.dead and not self._busy:
            self._busy = True
            self._timeline.after(self._random.random() * self.speed, self._commit, [])

    def _write(self, changes):
        queues.write(self.disk, changes)
