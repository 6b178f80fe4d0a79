"""Retained messages on disk: what the broker holds in memory is written as it changes, and read at the next start.

A change is handed to the store at once. While the store is far behind, only its topic is noted, and what that topic has
then is written when the store has caught up: so many changes of few topics cost few writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.services.store.messages import from_row, to_row
from trioemqx.services.store.protocol import (
    HIGH_MARK,
    Delete,
    Durable,
    Op,
    Put,
    RowError,
    Store,
    StoreError,
    all_items,
    key_for,
)

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.types import Message

log = logging.getLogger("trioemqx.retained")

TABLE: Final = "retained"
PAGE: Final = 500
"""Rows read, and topics written, between two turns of the other tasks."""


class RetainedStore:
    """Keeps `broker.retained` in `store`. `wall` gives Unix seconds. Topics of the broker itself, `$SYS/...`, are not
    kept: they come anew.

    `refused` counts messages that the store cannot hold and rows that cannot be read.
    """

    def __init__(self, broker: Broker, store: Store, wall: Callable[[], float]) -> None:
        self.refused = 0
        self._broker = broker
        self._retained = broker.retained
        self._store = store
        self._wall = wall
        self._behind: dict[str, None] = {}
        """Topics whose change has not been handed to the store, in the order of the change."""
        self._last: Durable | None = None

    async def load(self) -> None:
        """Read what an earlier run stored, without what has expired meanwhile; from then on write what changes.

        Age is what the wall clock says, but never less than nothing: a clock that went back makes no message older
        than it was. Limits are for what is published; what has been accepted stays.
        """
        if not self._store.outlives_process:
            return
        expired: list[Op] = []
        self._broker.tell_time()
        async for key, row in all_items(self._store, TABLE, PAGE):
            try:
                message, at = from_row(row)
            except ValueError as error:
                self.refused += 1
                log.error("a stored retained message cannot be read and is left out: %.200s: %s", key, error)
                continue
            message.received = self._broker.now - max(0.0, self._wall() - at / 1000)
            if self._retained.is_over(message, self._broker.now):
                expired.append(Delete(TABLE, key))
            else:
                self._retained.restore(message)
        if expired:
            self._store.apply(expired)
        self._broker.metrics.messages_retained = len(self._retained)
        self._retained.changed = self._changed

    async def run(self, interval: float = 1.0) -> None:
        """Write what is behind, for ever."""
        while True:
            await trio.sleep(interval / 20 if self._behind else interval)
            if self._store.pending() < HIGH_MARK:
                self._catch_up()

    async def close(self) -> None:
        """Hand everything that is behind to the store, as fast as it takes it."""
        self._retained.changed = None
        left = len(self._behind) + 1
        while len(self._behind) < left:
            left = len(self._behind)
            if self._last is not None:
                with suppress(StoreError):  # then nothing is taken any more, or what is taken is written later
                    await self._last.wait()
            self._catch_up()
        if left:
            log.error("%d retained messages could not be stored as they are now", left)
        await trio.lowlevel.checkpoint()

    def hurry(self) -> None:
        """Hand over everything that is behind, whatever the store thinks of it: somebody waits to acknowledge it."""
        if self._behind:
            self._catch_up(len(self._behind))

    def _changed(self, topic: str, message: Message | None) -> None:
        """Called by the core, in the middle of a publish: must not raise."""
        if topic in self._behind or topic.startswith("$SYS/"):
            return
        if self._store.pending() >= HIGH_MARK:
            self._behind[topic] = None
        else:
            self._write(topic, message)

    def _catch_up(self, most: int = 0) -> None:
        self._broker.tell_time()
        for topic in list(self._behind)[: most or PAGE]:
            del self._behind[topic]
            self._write(topic, self._retained.get(topic, self._broker.now))

    def _write(self, topic: str, message: Message | None) -> None:
        key = key_for(topic)
        try:
            try:
                durable = self._store.apply((self._op(key, message),))
            except RowError as error:  # then what was there before must not come back at the next start
                self.refused += 1
                log.warning("the retained message of %.200r cannot be stored: %s", topic, error)
                durable = self._store.delete(TABLE, key)
            if durable.error is None:
                self._last = durable
            else:
                self._behind[topic] = None
        except Exception:
            self.refused += 1
            log.exception("could not store the retained message of %.200r", topic)

    def _op(self, key: str, message: Message | None) -> Op:
        if message is None:
            return Delete(TABLE, key)
        age = max(0.0, self._broker.now - message.received)
        return Put(TABLE, key, to_row(message, int((self._wall() - age) * 1000)))
