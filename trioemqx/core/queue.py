"""Messages that wait for one client: bounded in number and bytes, with EMQX's priorities, drop policy and rotation.

Each priority has a lane. A full lane loses its oldest QoS 0 message first, since nobody was promised that one, and its
oldest message when it holds no QoS 0.

A message that has a row in the store may be known by it alone: of a long lane only the beginning is in memory, its
`tail` is on disk. Numbers and bounds are those of the whole; what a full queue loses from the tail is *owed*: counted
at once, and taken from the disk when its rows are read (`core.paging`). Long, because lanes, bounds and the tail are
one set of sums.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trioemqx.core.delivery import Delivery
from trioemqx.core.expiry import expired
from trioemqx.core.zone import Zone
from trioemqx.types import Message

HIGHEST: Final = 1_000_000
"""Priority of unlisted topics when `mqueue_default_priority` is `highest`: EMQX's infinity."""
LOWEST: Final = 0
BURST: Final = 10
"""A priority gives way after this many times its number of further messages."""
DROPPED: Final = -1
"""`Delivery.state` of a message that was dropped from the middle of a lane and not yet swept out of it."""
HERE: Final = 1024
"""A queue of a client that is here keeps at least so many in memory: it may want them in a moment."""


def lane_of(topic: str, zone: Zone) -> int:
    """The priority of a topic."""
    table = zone.mqueue_priorities
    if table is None:
        return LOWEST
    return table.get(topic, HIGHEST if zone.mqueue_default_priority_highest else LOWEST)


class Lane:
    """One priority. Dropping the oldest QoS 0 message leaves it in `items`, marked as dropped, because a deque is not
    cut in the middle; `low` lists the live QoS 0 ones in order, so that nobody searches.

    `tail` is the number of messages behind them that are on disk only, of `tail_bytes`, in rows after the key `after`;
    the first rows there may be `owed` ones, which do not count any more. `asked`: somebody reads them now; `newer`
    counts those that have joined the tail since.
    """

    __slots__ = ("after", "asked", "dead", "items", "low", "newer", "owed", "owed_bytes", "tail", "tail_bytes")

    def __init__(self) -> None:
        self.items: deque[Delivery] = deque()
        self.low: deque[Delivery] | None = None
        self.dead = 0
        self.tail = 0
        self.tail_bytes = 0
        self.owed = 0
        self.owed_bytes = 0
        self.after = ""
        self.asked = False
        self.newer = 0

    def here(self) -> int:
        """Live deliveries in memory."""
        return len(self.items) - self.dead

    def count(self) -> int:
        """Live deliveries, with those on disk."""
        return len(self.items) - self.dead + self.tail

    def page_out(self, delivery: Delivery, size: int) -> None:
        """Append at the end what has a row, without keeping it."""
        if self.tail == 0 and self.owed == 0:
            self.after = before(delivery.key)
        self.tail += 1
        self.tail_bytes += size
        self.newer += 1

    def owe(self) -> None:
        """Lose the oldest of the tail, of whose size only the average is known yet."""
        size = self.tail_bytes // self.tail
        self.tail -= 1
        self.tail_bytes -= size
        self.owed += 1
        self.owed_bytes += size

    def settle(self, size: int) -> int:
        """The oldest that is owed has been found, and its size; returns by how much it is more than was thought."""
        thought = self.owed_bytes // self.owed
        self.owed -= 1
        self.owed_bytes -= thought
        self.tail_bytes -= size - thought
        return size - thought

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
        if self.items[0] is delivery:  # as in every queue of nothing but QoS 0: it leaves no gap
            self.items.popleft()
            return delivery
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

    `window` bounds what each priority keeps in memory of messages that have a row (0 = no bound). `owing`: a lane has
    lost something that is on disk.
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
        "owing",
        "priorities",
        "store_qos0",
        "window",
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
        self.window = 0
        self.owing = False
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
        if delivery.key and (lane.tail or lane.owed or 0 < self.window <= lane.here()):
            lane.page_out(delivery, size)
        else:
            lane.put(delivery)
        self._count += 1
        self.bytes += size
        return None if self._overflow is None else self.overflow()

    def swap(self, message: Message, retain: bool, identifier: int, group: str, filter: str) -> Message | None:
        """Put in a QoS 0 message where that means to lose the oldest: a queue at its length, of one lane, of nothing
        but QoS 0, as that of everybody who does not read is. Returns the lost message, or None when it is no such case
        and `put` has to look. A fast publisher with a thousand such receivers does nothing else."""
        if self.priorities is not None or not self.store_qos0:
            return None
        lane = self._lanes.get(LOWEST)
        if lane is None or lane.low is None or lane.tail or lane.owed:
            return None
        count = len(lane.items)
        if count < self.max_len or self.max_len <= 0 or len(lane.low) != count:
            return None
        delivery = lane.items[0]
        lost = delivery.message
        size = _size(delivery)
        delivery.message = message
        grown = self.bytes + _size(delivery) - size
        if 0 < self.max_bytes < grown:
            delivery.message = lost
            return None
        delivery.retain = retain
        delivery.identifier = identifier
        delivery.group = group
        delivery.filter = filter
        lane.items.rotate(-1)  # the oldest becomes the newest: no object is made
        lane.low.rotate(-1)
        self.bytes = grown
        self.dropped += 1
        return lost

    def overflow(self) -> Delivery | None:
        """One more delivery that the last `put` pushed out, or None."""
        if self._overflow is None:
            return None
        lost = self._overflow.popleft()
        if not self._overflow:
            self._overflow = None
        return lost

    def get(self, now: float, only_qos0: bool = False) -> Delivery | None:
        """Take out the next delivery, or None when the queue is empty or the next one has to be read from the disk.
        Messages that have expired meanwhile are put aside for `drain_expired`. `only_qos0` takes the next QoS 0 one
        past those that need a place in the window."""
        if only_qos0:
            return self._get_low(now)
        while self._count:
            priority = self._choose()
            lane = self._lanes[priority]
            if lane.here() == 0:
                return None
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

    def lanes(self) -> dict[int, Lane]:
        """By priority; for `core.paging`."""
        return self._lanes

    def on_disk(self) -> bool:
        """Whether there is more than `items` gives."""
        return any(lane.tail or lane.owed for lane in self._lanes.values())

    def begin_tail(self, priority: int, count: int, size: int, after: str) -> None:
        """What an earlier run left on disk in one lane."""
        lane = self._lanes[priority] = Lane()
        lane.tail, lane.tail_bytes, lane.after = count, size, after
        self._count += count
        self.bytes += size

    def lost(self, count: int, size: int) -> None:
        """So much of a lane's tail is not there after all."""
        self._count -= count
        self.bytes -= size

    def settle(self) -> None:
        """Lanes have changed: let go of empty ones, see whether something is owed still."""
        for priority in list(self._lanes):
            self._sweep(priority, self._lanes[priority])
        self.owing = any(lane.owed for lane in self._lanes.values())

    def close_window(self) -> None:
        """The client is gone: what is more than `window` and has a row stays on disk only."""
        if self.window == 0:
            return
        for lane in self._lanes.values():
            if lane.here() <= self.window:
                continue
            kept: deque[Delivery] = deque()
            number = size = 0
            first = ""
            for delivery in lane.items:
                if delivery.state == DROPPED:
                    continue
                number += 1
                if number > self.window and delivery.key:
                    first = first or delivery.key
                    lane.tail += 1
                    size += _size(delivery)
                else:
                    kept.append(delivery)
            if first:
                lane.after = before(first)
                lane.tail_bytes += size
            lane.items = kept
            lane.dead = 0

    def items(self) -> list[Delivery]:
        """All waiting deliveries that are in memory, highest priority first, without taking them out."""
        found: list[Delivery] = []
        for priority in sorted(self._lanes, reverse=True):
            found.extend([item for item in self._lanes[priority].items if item.state != DROPPED])
        return found

    # Below: bookkeeping

    def _priority(self, delivery: Delivery) -> int:
        if delivery.key:  # the row's lane counts, also when the zone has changed meanwhile
            return int(delivery.key[17:22], 16)
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
            if lane.here() == 0:
                self._owe(lane)
                return True
            victim = lane.pop()
        self._left(victim, priority, lane)
        self._lose(victim)
        return True

    def _owe(self, lane: Lane) -> None:
        size = lane.tail_bytes
        lane.owe()
        self._count -= 1
        self.bytes -= size - lane.tail_bytes
        self.dropped += 1
        self.owing = True

    def _lose(self, delivery: Delivery) -> None:
        self.dropped += 1
        if self._overflow is None:
            self._overflow = deque()
        self._overflow.append(delivery)

    def _left(self, delivery: Delivery, priority: int, lane: Lane) -> None:
        """Update the sums after a delivery has left its lane. An empty lane goes, and its memory with it."""
        self._count -= 1
        self.bytes -= _size(delivery)
        self._sweep(priority, lane)

    def _sweep(self, priority: int, lane: Lane) -> None:
        if lane.count() == 0 and lane.owed == 0:
            del self._lanes[priority]


def before(key: str) -> str:
    """The greatest key below that of a row of a queue: keys end with a number of 16 hexadecimal digits."""
    return f"{key[:-16]}{int(key[-16:], 16) - 1:016x}"


def _size(delivery: Delivery) -> int:
    """Bytes a waiting message costs. The frame it came in counts as it is: cutting the payload out would double it.
    What has a row must cost the same when it comes back."""
    message = delivery.message
    if message.raw and not delivery.key:
        return len(message.raw)
    return size_of(message)


def size_of(message: Message) -> int:
    """Bytes of a message by itself."""
    return len(message.topic) + len(message.payload)
