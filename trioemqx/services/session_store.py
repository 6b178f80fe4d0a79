"""Sessions on disk: hands the store what the core's journal has collected, and lets go what waited for it.

Once per turn of the pump everything that has changed becomes one batch of the store. When that is durable the frames
behind it may leave; when it is not, the connections they belong to end without them. A batch that the store has no room
for is kept here and handed over with the next one.

`SessionLoader` reads it back at the next start, except for what waits in queues: `QueuePager` does, when it is wanted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.channel import Channel
from trioemqx.core.journal import MESSAGES, PENDING, QUEUE, WINDOW, Journal
from trioemqx.core.stored import Stored
from trioemqx.errors import ReasonCode
from trioemqx.services.clock_jumps import ClockJumps
from trioemqx.services.queue_pager import QueuePager
from trioemqx.services.session_loader import SessionLoader
from trioemqx.services.session_rows import encode
from trioemqx.services.store.protocol import MAX_ROW, Change, Durable, Store, StoreError
from trioemqx.services.store.queues import number_key

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.services.retained_store import RetainedStore

log = logging.getLogger("trioemqx.sessions")

UNSPECIFIED_ERROR: Final = ReasonCode.UNSPECIFIED_ERROR.value


class SessionStore:
    """Keeps `broker.journal` in `store`. `wall` gives Unix seconds. Nothing is kept in a store that ends with the
    process.

    `refused` counts rows that could not be made or read.
    """

    def __init__(
        self,
        broker: Broker,
        store: Store,
        retained: RetainedStore,
        wall: Callable[[], float],
        window: int = WINDOW,
        most_pending: int = PENDING,
    ) -> None:
        self.refused = 0
        self._broker = broker
        self._store = store
        self._retained = retained
        self._wall = wall
        self._window = window
        self._most_pending = most_pending
        self._jumps = ClockJumps(wall)
        self._pager = QueuePager(broker, store, self)
        self._left: dict[tuple[str, str], str | None] = {}
        """What the store had no room for."""
        self._named: Counter[str] = Counter()
        """How many rows of `queue` among them name a message."""
        self._last: Durable | None = None

    async def load(self) -> None:
        """Bring back the sessions of earlier runs; from then on write what changes."""
        if not self._store.outlives_process:
            return
        loader = SessionLoader(self._broker, self._store, self._wall, self._window)
        journal = await loader.load()
        self.refused += loader.refused
        journal.most_pending = self._most_pending
        self._broker.journal = journal
        self._pager.begin(journal)

    def wall_ms(self, number: int = 0) -> int:
        """Unix milliseconds, as they would be if nobody had set the clock since a message was stored."""
        journal = self._broker.journal
        wall_ms = self._jumps.note(self._broker.now, 0 if journal is None else journal.number)
        return self._jumps.seen_from(number, wall_ms) if number else wall_ms

    def settled(self) -> bool:
        """Whether the store knows of all that has been handed over."""
        return not self._left

    async def page(self) -> None:
        """Read queues for clients that are here."""
        await self._pager.run()

    async def run(self, interval: float = 1.0) -> None:
        """While batches fail, ask the store again and again whether it has recovered."""
        while True:
            await trio.sleep(interval)
            journal = self._broker.journal
            if journal is not None and (journal.failing or journal.crowded):
                self._hand_over(journal, True)

    async def close(self) -> None:
        """Hand over what is left, and wait for its fate."""
        journal = self._broker.journal
        if journal is not None:
            self._hand_over(journal, True)
            if self._last is not None:
                try:
                    await self._last.wait()
                except StoreError as error:
                    log.error("the last changes of sessions are not safe: %s", error)
            self._broker.journal = None
        await trio.lowlevel.checkpoint()

    # -- writing -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make a batch of what has changed. Called by the pump once a turn; must not raise."""
        journal = self._broker.journal
        if journal is not None and (journal.rows or journal.gated):
            self._hand_over(journal, False)

    def _hand_over(self, journal: Journal, anyway: bool) -> None:
        ticket, gated, rows = journal.ticket, journal.gated, journal.rows
        journal.ticket += 1
        journal.gated = []
        journal.rows = {}
        if journal.retained:
            journal.retained = False
            self._retained.hurry()
        changes, whole = self._encoded(rows)
        if self._left:
            changes = self._with_left(changes)
        if not (changes or gated or anyway):
            return
        try:
            durable = self._store.apply_changes(changes)
        except StoreError as error:
            durable = Durable()
            durable.settle(error)
        if durable.done and durable.error is not None:
            self._left = {(table, key): text for table, key, text in changes}
            self._named = Counter(_message_of(text) for table, _, text in changes if table == QUEUE and text)
        else:
            self._left = {}
            self._last = durable
        journal.crowded = self._store.crowded() or bool(self._left)
        durable.then(lambda: self._settled(journal, ticket, gated, durable.error is None, whole))

    def _with_left(self, changes: list[Change]) -> list[Change]:
        """What the store had no room for, and `changes`. A message that has come and gone meanwhile needs no row, so
        this grows no further than what the sessions hold."""
        left, named = self._left, self._named
        for table, key, text in changes:
            before = left.get((table, key))
            if table == QUEUE:
                if before is not None:
                    named[_message_of(before)] -= 1
                if text is not None:
                    named[_message_of(text)] += 1
                elif before is not None and (MESSAGES, _message_of(before)) in left:  # the store has never seen it
                    del left[(QUEUE, key)]
                    if not named[_message_of(before)]:
                        del left[(MESSAGES, _message_of(before))]
                    continue
            left[(table, key)] = text
        return [(table, key, text) for (table, key), text in left.items()]

    def _encoded(self, rows: dict[tuple[str, str], object]) -> tuple[list[Change], bool]:
        """The rows as text, and whether all of them could be made."""
        now = self._broker.now
        wall_ms = self.wall_ms()
        changes: list[Change] = []
        whole = True
        for (table, key), value in rows.items():
            text: str | None = None
            if value is not None:
                try:
                    text = encode(value, now, wall_ms)
                    if len(text) > MAX_ROW:
                        raise ValueError(f"a row of {len(text)} characters")
                except Exception:
                    whole = False
                    text = None
                    self.refused += 1
                    log.exception("a row of %s cannot be made", table)
                if isinstance(value, Stored):
                    value.forget()
            changes.append((table, key, text))
        return changes, whole

    def _settled(self, journal: Journal, ticket: int, gated: list[Channel], durable: bool, whole: bool) -> None:
        """The fate of a batch. `whole` is False when it lacked something: then nobody is told that it is safe."""
        if not durable and not journal.failing:
            log.error("sessions cannot be written; clients that wait for that are disconnected")
        journal.failing = not durable
        if durable:
            journal.crowded = self._store.crowded()
            if whole:
                journal.ended(ticket)
        broker = self._broker
        broker.tell_time()
        for channel in gated:
            try:
                if durable and whole:
                    channel.written(ticket)
                else:
                    channel.unwritten()
            except Exception:
                broker.metrics.connection_crashed += 1
                log.exception("going on after a commit crashed", extra={"clientid": channel.info.clientid})
                channel.close(UNSPECIFIED_ERROR, "internal_error")
        if gated:
            broker.wake()


def _message_of(text: str) -> str:
    """The key of the message that a row of `queue` names; `entry_text` puts its number first."""
    return number_key(int(text[text.index(":") + 1 : text.index(",")]))
