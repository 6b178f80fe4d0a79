"""A store that commits on command, and brokers one after the other on what it holds."""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager

import trio

from trioemqx.services.store import queues
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.protocol import Durable, StoreError
from trioemqx.testing import running


class HeldStore(MemoryStore):
    """While `held`, batches wait for `settle` or `fail`. What was not settled is not there after a crash."""

    outlives_process = True

    def __init__(self):
        super().__init__()
        self.held = self.full = False
        self.room = 5000
        self.waiting_batches = []
        self.owed = []

    def apply_changes(self, changes):
        self._demand_open()
        durable = Durable()
        if self.full:
            durable.settle(StoreError("too much waits for the disk already"))
            return durable
        self.waiting_batches.append((list(changes), durable))
        if not self.held:
            self.settle()
        return durable

    def settle(self):
        """Commit everything that waits, and what failed before."""
        self._write(self.owed)
        self.owed = []
        waiting, self.waiting_batches = self.waiting_batches, []
        for changes, durable in waiting:
            self._write(changes)
            durable.settle()

    def fail(self):
        """The disk takes nothing: what waits fails, and is owed."""
        waiting, self.waiting_batches = self.waiting_batches, []
        for changes, durable in waiting:
            self.owed += changes
            durable.settle(StoreError("disk full"))

    async def waiting(self, *where):
        return queues.waiting(self._seen(), *where)

    async def of_session(self, *where):
        return queues.of_session(self._seen(), *where)

    def _seen(self):
        """What reading sees: everything that has been applied."""
        seen = copy.deepcopy(self._tables)
        queues.write(seen, [*self.owed, *(change for changes, _ in self.waiting_batches for change in changes)])
        return seen

    def pending(self):
        return sum(len(changes) for changes, _ in self.waiting_batches) + len(self.owed)

    def crowded(self):
        return self.pending() > self.room

    def crashed(self):
        """What the next process finds when this one ends here and now."""
        found = HeldStore()
        found._tables = copy.deepcopy(self._tables)
        return found

    def table(self, name):
        """Rows of a table, as text by key."""
        return dict(self._tables.get(name, {}))

    def _write(self, changes):
        queues.write(self._tables, changes)


@asynccontextmanager
async def broker_on(store, monkeypatch, config=None):
    """A broker on a store; at the end it stops in good order, which does not matter to a copy taken before."""
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    async with running(config) as broker:
        try:
            yield broker
        finally:
            store.held = False
            store.settle()


async def turns():
    """Let the broker do all it can do now."""
    await trio.testing.wait_all_tasks_blocked()


async def silent(client, seconds=0.5):
    """True when nothing at all comes for so long."""
    with trio.move_on_after(seconds):
        await client.receive()
        return False
    return True
