"""Reads queues from the disk: for clients that are here and have nothing left in memory, for full queues that have to
drop what is on disk only, and for what ended sessions have left there.

A page is small, so that neither the store's thread nor the pump waits for long, and sessions take turns.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio

from trioemqx.core import paging
from trioemqx.core.delivery import Delivery
from trioemqx.core.journal import Journal
from trioemqx.core.queue import Lane, MQueue
from trioemqx.core.session import Session
from trioemqx.services.session_rows import delivery_from, message_from
from trioemqx.services.store.protocol import Store, StoreError
from trioemqx.services.store.queues import Waiting

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.services.session_store import SessionStore

log = logging.getLogger("trioemqx.sessions")

PAGE: Final = 100
"""Messages read at a time."""
PAGE_BYTES: Final = 256 * 1024
"""Bytes of their topics and payloads; one message may have more."""
ORPHANS: Final = 500
"""Rows of ended sessions removed at a time."""
FEW_PENDING: Final = 2500
"""Changes that may wait for the disk before the next are removed."""
PAUSE: Final = 0.1
RETRY: Final = 1.0
"""Seconds."""

Found = tuple[str, int, Delivery | None]


class QueuePager:
    """`sessions` hands over what the journal has collected, so that a page is what the core thinks it is.

    `unreadable` counts messages that were in a queue and could not be read.
    """

    def __init__(self, broker: Broker, store: Store, sessions: SessionStore) -> None:
        self.unreadable = 0
        self._broker = broker
        self._store = store
        self._sessions = sessions
        self._journal: Journal | None = None
        self._rung = trio.Event()

    def begin(self, journal: Journal) -> None:
        """Be there for a journal."""
        self._journal = journal
        journal.bell = self._ring

    def _ring(self) -> None:
        self._rung.set()

    async def run(self) -> None:
        """Serve what is wanted, a page for each in turn, until cancelled."""
        wanted: deque[Session] = deque()
        while True:
            journal = self._journal
            if journal is not None:
                wanted.extend(journal.wanted)
                journal.wanted.clear()
                try:
                    if wanted:
                        await self._page(journal, wanted[0])
                        wanted.popleft()
                        continue
                    if journal.orphans:
                        await self._bury(journal)
                        continue
                except StoreError as error:
                    log.error("queues cannot be read from the disk; it is tried again: %s", error)
                    wanted.rotate(-1)
                    await trio.sleep(RETRY)
                    continue
            await self._rung.wait()
            self._rung = trio.Event()

    # -- queues ------------------------------------------------------------------------------------------------------

    async def _page(self, journal: Journal, session: Session) -> None:
        """One page for one session. Raises StoreError."""
        queue = session.mqueue
        priority = -1 if queue is None or session.journal is None else paging.next_lane(session, queue)
        if queue is None or priority < 0:
            session.paging = False
            await trio.lowlevel.checkpoint()
            return
        lane = queue.lanes()[priority]
        self._sessions.commit()
        lane.newer = 0
        complete = self._sessions.settled()
        after, limit = lane.after, min(PAGE, paging.room(queue, lane))
        rows = await self._store.waiting(session.sid, priority, after, limit, PAGE_BYTES)
        session.paging = False
        if session.journal is not journal or session.mqueue is not queue or queue.lanes().get(priority) is not lane:
            return
        self._broker.tell_time()
        if lane.after == after:  # else the client has gone meanwhile, and what was read is where it was
            paging.fill(session, queue, priority, [self._found(row) for row in rows])
            if not rows and not complete:
                session.paging = True
                raise StoreError("there is no room for what is queued")
            if not rows:
                self._correct(queue, priority, lane)
        session.pull()
        paging.want(session)
        self._broker.wake()

    def _found(self, waiting: Waiting) -> Found:
        size: Any = waiting.row["size"]
        try:
            if waiting.message is None:
                raise ValueError("its message is not there")
            number: Any = waiting.row["message"]
            message = message_from(waiting.message, self._broker.now, self._sessions.wall_ms(number))
            return waiting.key, size, delivery_from(waiting.key, waiting.row, message)
        except (ValueError, TypeError, KeyError) as error:
            self.unreadable += 1
            log.error("a message in a queue cannot be read and is left out: %.200s: %s", waiting.key, error)
            return waiting.key, size, None

    def _correct(self, queue: MQueue, priority: int, lane: Lane) -> None:
        """There is less on disk than was to be there: rows that could not be written."""
        gone = paging.correct(queue, priority)
        if gone or lane.owed:
            self.unreadable += gone
            log.error("%d messages of a queue are not on the disk", gone)

    # -- ended sessions ----------------------------------------------------------------------------------------------

    async def _bury(self, journal: Journal) -> None:
        """Remove some of what an ended session has left; what is of a share group goes to another member. Raises
        StoreError."""
        sid, share = journal.orphans[0]
        self._sessions.commit()
        rows = await self._store.of_session(sid, ORPHANS, PAGE_BYTES)
        if not rows:
            journal.orphans.pop(0)
            return
        self._broker.tell_time()
        for waiting in rows:
            found = self._found(waiting)[2] if share and "group" in waiting.row else None
            if found is not None and not paging.stale(found, self._broker.now):
                self._broker.redispatch(found.message, found.group, found.filter)
            journal.forget(waiting.key)
        self._sessions.commit()
        self._broker.wake()
        if self._store.pending() > FEW_PENDING:
            await trio.sleep(PAUSE)
