"""Queues whose tail is on disk: when more of it is wanted, and what becomes of the rows that were read.

Reading takes its time, and happens outside (`services.queue_pager`); here is what is decided without waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.core.delivery import Delivery
from trioemqx.core.expiry import expired
from trioemqx.core.queue import Lane, MQueue

if TYPE_CHECKING:
    from trioemqx.core.session import Session


def want(session: Session) -> None:
    """Have the queue read on if its client has use for that, or if something is to be dropped from the disk."""
    queue = session.mqueue
    journal = session.journal
    if queue is None or journal is None or session.paging:
        return
    if next_lane(session, queue) >= 0:
        session.paging = True
        journal.wanted.append(session)
        journal.bell()


def next_lane(session: Session, queue: MQueue) -> int:
    """The highest priority that is to be read now, or -1."""
    here = session.out is not None
    best = -1
    for priority, lane in queue.lanes().items():
        wanted = lane.owed > 0 or (here and lane.tail > 0 and lane.here() * 2 <= queue.window)
        if wanted and priority > best:
            best = priority
    return best


def room(queue: MQueue, lane: Lane) -> int:
    """How many rows to read."""
    return lane.owed + max(1, queue.window - lane.here())


def fill(session: Session, queue: MQueue, priority: int, found: list[tuple[str, int, Delivery | None]]) -> None:
    """Take what was read of a lane's tail, from its beginning: (key, size, delivery), None for a message that cannot be
    read. What is owed goes, the rest is in memory now."""
    lane = queue.lanes()[priority]
    journal = session.journal
    if journal is None:
        return
    for key, size, delivery in found:
        lane.after = key
        if lane.owed:
            more = lane.settle(size)
            queue.bytes -= more
            if delivery is not None:
                session.lose(delivery)
            else:
                journal.forget(key)
        elif delivery is None:
            lane.tail -= 1
            lane.tail_bytes -= size
            queue.lost(1, size)
            journal.forget(key)
        elif lane.tail:
            lane.tail -= 1
            lane.tail_bytes -= size
            lane.put(delivery)
    queue.settle()


def stale(delivery: Delivery, now: float) -> bool:
    """Whether it has expired while it waited."""
    return expired(delivery.message, now)


def correct(queue: MQueue, priority: int) -> int:
    """The disk has no more of a lane than what has joined it since it was asked: rows that could not be written. The
    sums follow; returns how many messages that are."""
    lane = queue.lanes()[priority]
    gone = lane.owed + lane.tail - lane.newer
    if gone > 0 and lane.owed:
        owed = min(gone, lane.owed)
        lane.owed_bytes -= lane.owed_bytes * owed // lane.owed
        lane.owed -= owed
        gone -= owed
    if gone > 0:
        size = lane.tail_bytes * gone // lane.tail
        lane.tail -= gone
        lane.tail_bytes -= size
        queue.lost(gone, size)
    queue.settle()
    return max(0, gone)
