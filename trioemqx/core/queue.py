"""Messages that wait for one client: bounded in number and bytes, with EMQX's priorities, drop policy and rotation.

Each priority has a lane. A full lane loses its oldest QoS 0 message first, since nobody was promised that one, and its
oldest message when it holds no QoS 0.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trioemqx.core.delivery import Delivery
from trioemqx.core.expiry import expired

HIGHEST: Final = 1_000_000
"""Priority of unlisted topics when `mqueue_default_priority` is `highest`: EMQX's infinity."""
LOWEST: Final = 0
BURST: Final = 10
"""A priority gives way after this many times its number of further messages."""
DROPPED: Final = -1
"""`Delivery.state` of a message that was dropped from the middle of a lane and not yet swept out of it."""


class Lane:
    """One priority. Dropping the oldest QoS 0 message leaves it in `items`, marked as dropped, because a deque is not
    cut in the middle; `low` lists the live QoS 0 ones in order, so that nobody searches."""

    __slots__ = ("dead", "items", "low")

    def __init__(self) -> None:
        self.items: deque[Delivery] = deque()
        self.low: deque[Delivery] | None = None
        self.dead = 0

    def count(self) -> int:
        """Live deliveries."""
        return len(self.items) - self.dead

    def put(self, delivery: Delivery) -> None:
        """Append at the end."""
        self.items.append(delivery)
        if delivery.qos == 0:
            if self.low is None:
                self.low = deque()
            self.low.append(delivery)

    def head(self) -> Delivery:
        """The oldest live delivery; the lane must hold one."""
        items = self.items
        while items[0].state == DROPPED:
            items.popleft()
            self.dead -= 1
        return items[0]

    def pop(self) -> Delivery:
        """Take out the oldest live delivery; the lane must hold one."""
        delivery = self.head()
        self.items.popleft()
        if delivery.qos == 0 and self.low is not None:
            self.low.popleft()
        return delivery

    def drop_low(self) -> Delivery | None:
        """Take out the oldest QoS 0 delivery, or None when there is none."""
        if not self.low:
            return None
        delivery = self.low.popleft()
        delivery.state = DROPPED
        self.dead += 1
        if self.dead * 4 > len(self.items):
            self.items = deque([item for item in self.items if item.state != DROPPED])
            self.dead = 0
        return delivery


class Rotation:
    """Whose turn it is among priorities: the highest, until its burst is over and lower ones come one after the other.

    `ceiling` is what the next priority must stay below; when no lane does, it is the turn of the highest again.
    """

    __slots__ = ("ceiling", "credit", "turn")

    def __init__(self) -> None:
        self.turn = -1
        self.credit = 0
        self.ceiling = HIGHEST + 1

    def choose(self, lanes: dict[int, Lane]) -> int:
        """The priority to take from; there must be a lane."""
        best = -1
        top = -1
        for priority in lanes:
            top = max(top, priority)
            if best < priority < self.ceiling:
                best = priority
        return top if best < 0 else best

    def spend(self, priority: int) -> None:
        """Count one message taken from a priority: one that opens its burst, then BURST times its number."""
        if self.turn == priority:
            self.credit -= 1
        else:
            if priority >= self.ceiling:
                self.ceiling = HIGHEST + 1
            self.turn = priority
            self.credit = BURST * priority
        if self.credit <= 0:
            self.ceiling = priority
            self.turn = -1


class MQueue:
    """The queue of one session.

    `max_len` bounds each priority, `max_bytes` the whole queue (0 = no bound). `priorities` maps exact topics to 0-255,
    None = one lane for all; `default_highest` says where other topics go. `store_qos0` False refuses QoS 0.
    `dropped` counts what a full queue lost. The caller drains `overflow` after each `put` and `drain_expired` after
    each `get`. A delivery is put in once and never again.
    """

    __slots__ = (
        "_count",
        "_expired",
        "_lanes",
        "_overflow",
        "_rotation",
        "bytes",
        "default_highest",
        "dropped",
        "max_bytes",
        "max_len",
        "priorities",
        "store_qos0",
    )

    def __init__(
        self,
        max_len: int,
        max_bytes: int,
        priorities: dict[str, int] | None = None,
        default_highest: bool = False,
        store_qos0: bool = True,
    ) -> None:
        self.max_len = max_len
        self.max_bytes = max_bytes
        self.priorities = priorities
        self.default_highest = default_highest
        self.store_qos0 = store_qos0
        self.bytes = 0
        self.dropped = 0
        self._count = 0
        self._lanes: dict[int, Lane] = {}
        self._rotation = None if priorities is None else Rotation()
        self._overflow: deque[Delivery] | None = None
        self._expired: list[Delivery] | None = None

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:  # mypyc takes an `MQueue | None` without it for true whenever it is not None
        return self._count > 0

    def put(self, delivery: Delivery) -> Delivery | None:
        """Append a delivery. Returns what had to go for it, the first of perhaps several (`overflow` gives the others).
        `delivery` itself is among them when it was refused: because QoS 0 is not stored, because it is bigger than the
        whole queue, or because it is QoS 0 and everything in front of it is worth more."""
        if delivery.qos == 0 and not self.store_qos0:
            return delivery
        size = _size(delivery)
        priority = self._priority(delivery)
        if not self._make_room(delivery.qos, size, priority):
            self._lose(delivery)
            return self.overflow()
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = Lane()
        lane.put(delivery)
        self._count += 1
        self.bytes += size
        return None if self._overflow is None else self.overflow()

    def overflow(self) -> Delivery | None:
        """One more delivery that the last `put` pushed out, or None."""
        if self._overflow is None:
            return None
        lost = self._overflow.popleft()
        if not self._overflow:
            self._overflow = None
        return lost

    def get(self, now: float, only_qos0: bool = False) -> Delivery | None:
        """Take out the next delivery, or None when the queue is empty. Messages that have expired meanwhile are put
        aside for `drain_expired`. `only_qos0` takes the next QoS 0 one past those that need a place in the window."""
        if only_qos0:
            return self._get_low(now)
        while self._count:
            priority = self._choose()
            lane = self._lanes[priority]
            delivery = lane.pop()
            self._left(delivery, priority, lane)
            if not expired(delivery.message, now):
                if self._rotation is not None:
                    self._rotation.spend(priority)
                return delivery
            self._put_aside(delivery)
        return None

    def _get_low(self, now: float) -> Delivery | None:
        """The oldest QoS 0 delivery of the highest priority that has one: a full window must not hold it up
        [MQTT-3.3.4-10]."""
        while True:
            best = -1
            for priority, lane in self._lanes.items():
                if lane.low and priority > best:
                    best = priority
            if best < 0:
                return None
            lane = self._lanes[best]
            delivery = lane.drop_low()
            if delivery is None:
                return None
            self._left(delivery, best, lane)
            if not expired(delivery.message, now):
                return delivery
            self._put_aside(delivery)

    def _put_aside(self, stale: Delivery) -> None:
        if self._expired is None:
            self._expired = []
        self._expired.append(stale)

    def holds_qos0(self) -> bool:
        """True while a QoS 0 delivery waits: later ones must not overtake it."""
        return any(lane.low for lane in self._lanes.values())

    def drain_expired(self) -> list[Delivery]:
        """What `get` skipped since the last call."""
        stale = self._expired
        if stale is None:
            return []
        self._expired = None
        return stale

    def items(self) -> list[Delivery]:
        """All waiting deliveries, highest priority first, without taking them out."""
        found: list[Delivery] = []
        for priority in sorted(self._lanes, reverse=True):
            found.extend([item for item in self._lanes[priority].items if item.state != DROPPED])
        return found

    # Below: bookkeeping

    def _priority(self, delivery: Delivery) -> int:
        table = self.priorities
        if table is None:
            return LOWEST
        return table.get(delivery.message.topic, HIGHEST if self.default_highest else LOWEST)

    def _choose(self) -> int:
        return LOWEST if self._rotation is None else self._rotation.choose(self._lanes)

    def _make_room(self, qos: int, size: int, priority: int) -> bool:
        """Drop by rule until a delivery fits. False when it may not push out what is left."""
        if 0 < self.max_bytes < size:
            return False
        while self._crowded(size, priority):
            # Bytes are shared by all lanes: one that has nothing to give takes from the lowest, if that is below it.
            victim = priority if priority in self._lanes else min(self._lanes)
            if victim > priority or not self._drop_from(victim, qos == 0):
                return False
        return True

    def _crowded(self, size: int, priority: int) -> bool:
        lane = self._lanes.get(priority)
        if lane is not None and 0 < self.max_len <= lane.count():
            return True
        return 0 < self.max_bytes < self.bytes + size

    def _drop_from(self, priority: int, only_qos0: bool) -> bool:
        """Lose the oldest QoS 0 delivery of a lane, or the oldest when there is none (not with `only_qos0`)."""
        lane = self._lanes[priority]
        victim = lane.drop_low()
        if victim is None:
            if only_qos0:
                return False
            victim = lane.pop()
        self._left(victim, priority, lane)
        self._lose(victim)
        return True

    def _lose(self, delivery: Delivery) -> None:
        self.dropped += 1
        if self._overflow is None:
            self._overflow = deque()
        self._overflow.append(delivery)

    def _left(self, delivery: Delivery, priority: int, lane: Lane) -> None:
        """Update the sums after a delivery has left its lane. An empty lane goes, and its memory with it."""
        self._count -= 1
        self.bytes -= _size(delivery)
        if lane.count() == 0:
            del self._lanes[priority]
        if self._count == 0:
            self._lanes.clear()


def _size(delivery: Delivery) -> int:
    """Bytes a waiting message costs. The frame it came in counts as it is: cutting the payload out would double it."""
    message = delivery.message
    return len(message.raw) if message.raw else len(message.topic) + len(message.payload)
