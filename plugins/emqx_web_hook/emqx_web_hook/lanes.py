"""Events on their way: one lane for each worker, and a bound for all of them together.

All events of a client are in one lane, and a lane has one worker, so that they arrive in the order in which they
happened, while a client whose events are slow to be taken holds up only those that share its lane.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False)
class Event:
    """One event. `born` is on Trio's clock; `number` gives the order."""

    action: str
    clientid: str
    body: bytes
    born: float
    number: int = 0


class Lanes:
    """`size` and `max_bytes` bound what waits; when that is full the oldest event of all goes (`drop_oldest`) or the
    new one does (`drop_new`), and `on_drop` is called."""

    def __init__(self, count: int, size: int, max_bytes: int, full: str, on_drop: Callable[[], None]) -> None:
        self.bytes = 0
        self._size = size
        self._max_bytes = max_bytes
        self._drop_oldest = full == "drop_oldest"
        self._on_drop = on_drop
        self._next = 0
        self._all: OrderedDict[int, Event] = OrderedDict()
        self._lanes: list[deque[Event]] = [deque() for _ in range(count)]
        self._taken: dict[int, Event] = {}
        """What each worker has in hand, by lane."""
        self._waiting = [trio.lowlevel.ParkingLot() for _ in range(count)]
        self._until_empty = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many wait, and are not in hand."""
        return len(self._all)

    def put(self, event: Event) -> None:
        """Add an event, without waiting."""
        if len(event.body) > self._max_bytes:  # it alone would drive all others out
            self._on_drop()
            return
        self._next += 1
        event.number = self._next
        self._all[event.number] = event
        lane = self._lane(event)
        self._lanes[lane].append(event)
        self.bytes += len(event.body)
        while len(self._all) > self._size or self.bytes > self._max_bytes:
            self._drop()
        self._waiting[lane].unpark()

    def _lane(self, event: Event) -> int:
        return hash(event.clientid) % len(self._lanes)

    def _drop(self) -> None:
        """The oldest of all is the first of its lane, the newest the last."""
        _, event = self._all.popitem(last=not self._drop_oldest)
        lane = self._lanes[self._lane(event)]
        if self._drop_oldest:
            lane.popleft()
        else:
            lane.pop()
        self.bytes -= len(event.body)
        self._on_drop()

    async def take(self, lane: int) -> Event:
        """The next event of a lane, to be in hand until `done`; waits for one."""
        while not self._lanes[lane]:
            await self._waiting[lane].park()
        event = self._taken[lane] = self._lanes[lane].popleft()
        del self._all[event.number]
        self.bytes -= len(event.body)
        return event

    def done(self, lane: int) -> None:
        """The event in hand is settled."""
        self._taken.pop(lane, None)
        if not self._all and not self._taken:
            self._until_empty.unpark_all()

    def give_back(self) -> None:
        """Workers have been cancelled: what they had in hand is first in its lane again."""
        everything = self.everything()
        for lane, event in self._taken.items():
            self._lanes[lane].appendleft(event)
            self.bytes += len(event.body)
        self._taken.clear()
        self._all = OrderedDict((event.number, event) for event in everything)  # the oldest of all is dropped first

    def everything(self) -> list[Event]:
        """All that waits and all that is in hand, in order."""
        return sorted([*self._all.values(), *self._taken.values()], key=lambda event: event.number)

    async def empty(self) -> None:
        """Wait until nothing waits and nothing is in hand."""
        while self._all or self._taken:
            await self._until_empty.park()
