"""What waits in one lane, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Container

import trio

from trioemqx.services.bridge.counters import QUEUE_FULL, TOO_LARGE
from trioemqx.services.bridge.flight import Flight
from trioemqx.services.bridge.item import Item
from trioemqx.services.bridge.lanequeue import Drop


class MemoryQueue:
    """At most `max_messages` of together `max_bytes`, those in flight among them. `drop` counts what is dropped."""

    def __init__(self, max_messages: int, max_bytes: int, drop: Drop) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._drop = drop
        self._items: deque[Item] = deque()
        self._flight = Flight()
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """See LaneQueue; so are the others."""
        return len(self._items)

    @property
    def in_flight(self) -> int:
        """Taken and not done."""
        return len(self._flight)

    @property
    def flight_bytes(self) -> int:
        """Their size."""
        return self._flight.size

    def put(self, item: Item) -> None:
        """Add; drop the oldest that wait while there is too much."""
        if item.size > self._max_bytes:
            self._drop(TOO_LARGE, 1)
            return
        self._items.append(item)
        self._bytes += item.size
        while self._items and self._over():
            self._bytes -= self._items.popleft().size
            self._drop(QUEUE_FULL, 1)

    def _over(self) -> bool:
        return len(self._items) + len(self._flight) > self._max_messages or self._bytes > self._max_bytes

    def head(self) -> Item | None:
        """The next one."""
        return self._items[0] if self._items else None

    def take(self) -> Item:
        """Take it."""
        item = self._items.popleft()
        self._flight.add(item)
        return item

    def done(self, item: Item) -> None:
        """It is settled."""
        if self._flight.settle(item):
            self._bytes -= item.size

    def rewind(self, only: Container[Item] | None = None) -> None:
        """All of it, or some of it, waits again."""
        self._items.extendleft(reversed(self._flight.back(only)))

    async def fill(self) -> bool:
        """There is no more than there is."""
        await trio.lowlevel.checkpoint()
        return bool(self._items)

    async def run(self) -> None:
        """Nothing has to be done beside."""
        await trio.sleep_forever()

    async def close(self) -> None:
        """What is left stays for the next start."""
        self.rewind()
        await trio.lowlevel.checkpoint()

    def export(self) -> list[Item]:
        """Those in flight first."""
        return [*self._flight, *self._items]
