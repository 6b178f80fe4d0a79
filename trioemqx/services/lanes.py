"""What waits for workers: one lane for each of them, and a bound for all lanes together.

Everything with the same key is in one lane, and a lane has one worker, so that it is handled in the order in which it
came, while what is slow to be handled holds up only what shares its lane.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class Budget:
    """Bytes that many queues may hold together; `used` is what they hold."""

    limit: int
    used: int = 0


@attrs.define(eq=False)
class Waiting(Generic[T]):
    """Something in a lane. `born` is on Trio's clock; `number` gives the order."""

    value: T
    size: int
    born: float
    number: int
    lane: int


class Lanes(Generic[T]):
    """`size` things and `max_bytes` may wait; when there is more the oldest of all goes, and `on_drop` is called with
    it. `budget` bounds several of these together: whoever adds drops its own oldest."""

    def __init__(
        self, count: int, size: int, max_bytes: int, on_drop: Callable[[T], None], budget: Budget | None = None
    ) -> None:
        self.bytes = 0
        self._size = size
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._budget = budget if budget is not None else Budget(max_bytes)
        self._next = 0
        self._all: OrderedDict[int, Waiting[T]] = OrderedDict()
        self._lanes: list[deque[Waiting[T]]] = [deque() for _ in range(count)]
        self._taken: dict[int, list[Waiting[T]]] = {}
        """What each worker has in hand, by lane."""
        self._parked = [trio.lowlevel.ParkingLot() for _ in range(count)]
        self._until_empty = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many wait, and are not in hand."""
        return len(self._all)

    @property
    def idle(self) -> bool:
        """True while nothing waits and nothing is in hand."""
        return not self._all and not self._taken

    def put(self, value: T, size: int, key: str = "") -> int:
        """Add something of about `size` bytes, without waiting; returns its lane. Without a key it may be any."""
        self._next += 1
        lane = (hash(key) if key else self._next) % len(self._lanes)
        if size > min(self._max_bytes, self._budget.limit):  # it alone would drive all others out
            self._on_drop(value)
            return lane
        waiting = Waiting(value, size, trio.current_time(), self._next, lane)
        self._all[waiting.number] = waiting
        self._lanes[lane].append(waiting)
        self._count(size)
        while len(self._all) > self._size or self.bytes > self._max_bytes or self._over_budget():
            self._drop()
        self._parked[lane].unpark()
        return lane

    def _over_budget(self) -> bool:
        return self._budget.used > self._budget.limit and len(self._all) > 0

    def _count(self, size: int) -> None:
        self.bytes += size
        self._budget.used += size

    def _drop(self) -> None:
        """The oldest of all is the first of its lane."""
        _, waiting = self._all.popitem(last=False)
        self._lanes[waiting.lane].popleft()
        self._count(-waiting.size)
        self._on_drop(waiting.value)

    async def take(self, lane: int, most: int = 1) -> list[Waiting[T]]:
        """The next ones of a lane, to be in hand until `done`; waits for the first."""
        queue = self._lanes[lane]
        while not queue:
            await self._parked[lane].park()
        taken = self._taken[lane] = [queue.popleft() for _ in range(min(most, len(queue)))]
        for waiting in taken:
            del self._all[waiting.number]
            self._count(-waiting.size)
        return taken

    def done(self, lane: int) -> None:
        """What was in hand is settled."""
        self._taken.pop(lane, None)
        if self.idle:
            self._until_empty.unpark_all()

    def give_back(self) -> None:
        """Workers have been cancelled: what they had in hand is first in its lane again."""
        if not self._taken:
            return
        everything = self.everything()
        for lane, taken in self._taken.items():
            self._lanes[lane].extendleft(reversed(taken))
            self._count(sum(waiting.size for waiting in taken))
        self._taken.clear()
        self._all = OrderedDict((waiting.number, waiting) for waiting in everything)

    def everything(self) -> list[Waiting[T]]:
        """All that waits and all that is in hand, in order."""
        taken = [waiting for batch in self._taken.values() for waiting in batch]
        return sorted([*self._all.values(), *taken], key=lambda waiting: waiting.number)

    def clear(self) -> list[T]:
        """Take everything out that waits; returns it in order."""
        left = [waiting.value for waiting in self._all.values()]
        self._count(-self.bytes)
        self._all.clear()
        for lane in self._lanes:
            lane.clear()
        if self.idle:
            self._until_empty.unpark_all()
        return left

    async def empty(self) -> None:
        """Wait until nothing waits and nothing is in hand."""
        while not self.idle:
            await self._until_empty.park()
