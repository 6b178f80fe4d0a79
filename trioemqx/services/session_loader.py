"""Sessions read back at the start, before a listener opens: who they are, what they want, how much waits for them.

A client that was connected when the broker ended is treated as one whose connection broke at this start: its expiry
begins now, and its will waits for its delay, at least GRACE. A session never ends in the first GRACE after a start,
whatever the wall clock says (unless its own expiry is shorter), and a clock that went back makes nothing last longer
than its expiry.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from trioemqx.core.delivery import Delivery
from trioemqx.core.journal import AWAITING, QUEUE, SESSIONS, SUBSCRIPTIONS, Journal
from trioemqx.core.queue import MQueue
from trioemqx.core.registry import NEVER
from trioemqx.core.session import Session
from trioemqx.core.topics import parse_filter
from trioemqx.core.zone import Zone
from trioemqx.errors import ProtocolError
from trioemqx.services.session_rows import delivery_from, info_from, message_from, subscription_from, will_from
from trioemqx.services.store.protocol import Change, Store, all_items
from trioemqx.services.store.queues import LaneTotal, Waiting, lane_prefix

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker

log = logging.getLogger("trioemqx.sessions")

GRACE: Final = 30.0
"""Seconds that clients have to come back after a start."""
PAGE: Final = 1000

Row = Mapping[str, Any]


class SessionLoader:
    """Used once, for one `broker` whose registry is empty. `wall` gives Unix seconds. `refused` counts rows that cannot
    be understood; they are left out and removed."""

    def __init__(self, broker: Broker, store: Store, wall: Callable[[], float], window: int) -> None:
        self.refused = 0
        self._broker = broker
        self._store = store
        self._wall_ms = int(wall() * 1000)
        self._journal = Journal()
        self._journal.window = window
        self._sessions: dict[str, Session] = {}
        self._orphans: dict[str, None] = {}
        self._stale: list[Change] = []

    async def load(self) -> Journal:
        """Fill the registry, the router and the queues. Raises StoreError."""
        self._broker.tell_time()
        await self._each(SESSIONS, self._session)
        await self._each(SUBSCRIPTIONS, self._subscription)
        await self._each(AWAITING, self._awaiting)
        await self._flights(await self._queues())
        for session in self._sessions.values():
            _close_queue(session, self._journal.window)
        self._journal.orphans = [(sid, True) for sid in self._orphans]
        if self._stale:
            self._store.apply_changes(self._stale)
        return self._journal

    async def _each(self, table: str, take: Callable[[str, Row], bool]) -> None:
        """Give every row of a table to `take`; what belongs to nothing, or cannot be understood, is removed."""
        async for key, row in all_items(self._store, table, PAGE):
            try:
                if take(key, row):
                    continue
            except (ValueError, TypeError, KeyError, ProtocolError) as error:
                self.refused += 1
                log.error("a stored row of %s cannot be read and is left out: %.200s: %s", table, key, error)
            self._stale.append((table, key, None))

    # -- rows --------------------------------------------------------------------------------------------------------

    def _session(self, key: str, row: Row) -> bool:
        broker = self._broker
        info = info_from(row)
        zone = broker.zones.get(info.zone) or broker.zones.get("default") or Zone()
        session = Session(broker, info, zone)
        session.sid = key
        session.journal = self._journal
        session.created_at = row["created_at"]
        session.waiting = True
        session.next_id = secrets.randbelow(65535) + 1  # a late PUBACK must not meet a new message under its number
        gone_at = row["gone_at"]
        session.disconnected_at = self._wall_ms if gone_at is None else gone_at
        self._number(key)
        self._clocks(session, row)
        self._sessions[key] = session
        broker.registry.sessions[info.clientid] = session
        return True

    def _clocks(self, session: Session, row: Row) -> None:
        """Expiry and will. What is left is by the wall clock, within bounds that no clock can break."""
        now = self._broker.now
        timers = self._broker.registry.timers
        interval = session.expiry_interval
        gone_at = row["gone_at"]
        away = 0.0 if gone_at is None else max(0.0, (self._wall_ms - gone_at) / 1000)
        if interval != NEVER:
            session.expires_at = now + max(interval - away, min(interval, GRACE))
            timers.set(("expire", session.clientid), session.expires_at)
        will = will_from(row)
        if will is None:
            return
        delay = (will.properties.will_delay_interval if will.properties is not None else None) or 0
        wait = max(delay, GRACE) if gone_at is None else min(max(0.0, (row["will_at"] - self._wall_ms) / 1000), delay)
        session.will = will
        session.will_at = now + min(wait, interval)
        timers.set(("will", session.clientid), session.will_at)

    def _subscription(self, key: str, row: Row) -> bool:
        sid, _, number = key.partition(":")
        self._number(number)
        session = self._sessions.get(sid)
        if session is None:
            return False
        subscription = subscription_from(session, key, row)
        parsed = parse_filter(subscription.name)
        name = f"$share/{subscription.group}/{subscription.filter}" if subscription.group else subscription.filter
        session.subscriptions[name] = subscription
        self._broker.router.subscribe(subscription)
        if parsed.exclusive:
            self._broker.exclusive.claim(subscription.filter, session.clientid)
        return True

    def _awaiting(self, key: str, row: Row) -> bool:
        sid, _, packet_id = key.partition(":")
        session = self._sessions.get(sid)
        if session is None:
            return False
        session.awaiting_rel[int(packet_id)] = self._broker.now
        return True

    async def _queues(self) -> list[LaneTotal]:
        """What waits, and how much; it is read when its client is here. Returns the lanes of which something had been
        sent."""
        under_way = []
        totals = await self._store.totals()
        self._journal.number = max(self._journal.number, totals.highest)
        for lane in totals.lanes:
            session = self._sessions.get(lane.session)
            if session is None:
                self._orphans[lane.session] = None
                continue
            if lane.sent:
                under_way.append(lane)
            if lane.count:
                queue = session.mqueue
                if queue is None:  # whatever was accepted stays: the bounds come back in `_close_queue`
                    zone = session.zone
                    queue = MQueue(0, 0, zone.mqueue_priorities, zone.mqueue_default_priority_highest, True)
                    session.mqueue = queue
                queue.begin_tail(lane.lane, lane.count, lane.size, f"{lane_prefix(lane.session, lane.lane)}{0:016x}")
        return under_way

    async def _flights(self, lanes: list[LaneTotal]) -> None:
        """What had been sent and not acknowledged is in flight again, in the order in which it was sent: oldest first,
        and PUBRELs, whose order is their own, last."""
        sent: list[tuple[str, Session, Delivery]] = []
        released: list[tuple[int, Session, Delivery]] = []
        async for found in all_flights(self._store, lanes, PAGE):
            session = self._sessions[found.key[:16]]
            try:
                delivery = self._in_flight(found)
            except (ValueError, TypeError, KeyError) as error:
                self.refused += 1
                log.error("a message in flight cannot be read and is left out: %.200s: %s", found.key, error)
                self._stale.append((QUEUE, found.key, None))
                continue
            if delivery.released:
                self._journal.number = max(self._journal.number, delivery.released)
                released.append((delivery.released, session, delivery))
            else:
                sent.append((found.key[-16:], session, delivery))
        for _, session, delivery in [*sorted(sent, key=itemgetter(0)), *sorted(released, key=itemgetter(0))]:
            session.inflight[delivery.packet_id] = delivery

    def _in_flight(self, found: Waiting) -> Delivery:
        if found.message is None:
            raise ValueError("its message is not there")
        message = message_from(found.message, self._broker.now, self._wall_ms)
        delivery = delivery_from(found.key, found.row, message)
        delivery.first_at = self._broker.now
        return delivery

    def _number(self, text: str) -> None:
        """No number that is in use is given again."""
        self._journal.number = max(self._journal.number, int(text, 16))


async def all_flights(store: Store, lanes: list[LaneTotal], page: int) -> AsyncGenerator[Waiting, None]:
    """Everything in flight in some lanes, a page at a time."""
    for lane in lanes:
        after = ""
        left = lane.sent
        while left > 0 and (rows := await store.flights(lane.session, lane.lane, after, min(left, page))):
            for row in rows:
                yield row
            after = rows[-1].key
            left -= len(rows)


def _close_queue(session: Session, window: int) -> None:
    """Bounds apply to what comes from now on. The queue may be longer than the zone allows now; nothing that was
    accepted is dropped for that."""
    queue = session.mqueue
    if queue is None:
        return
    zone = session.zone
    queue.window = window
    queue.max_len = max(zone.max_mqueue_len, len(queue)) if zone.max_mqueue_len else 0
    queue.max_bytes = max(zone.max_mqueue_bytes, queue.bytes) if zone.max_mqueue_bytes else 0
    queue.store_qos0 = zone.mqueue_store_qos0
