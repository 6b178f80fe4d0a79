"""A store that keeps everything in memory: for tests, for embedding, and for brokers that need to remember nothing."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import trio

from trioemqx.services.store import queues
from trioemqx.services.store.protocol import (
    Change,
    Delete,
    Durable,
    Op,
    Put,
    Row,
    StoreError,
    check_names,
    decode_row,
    encode_row,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryStore:
    """`Store` without a disk. What was applied is durable at once and lives as long as this object, across `close`
    and `open`, so that tests can restart a broker on the same store."""

    outlives_process = False

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, str]] = {}
        self._open = False

    async def open(self) -> None:
        """Make the store usable."""
        await trio.lowlevel.checkpoint()
        self._open = True

    async def close(self) -> None:
        """Refuse further use until it is opened again."""
        self._open = False
        await trio.lowlevel.checkpoint()

    def apply(self, ops: Sequence[Op]) -> Durable:
        """Do all of `ops` or none; the answer is already settled."""
        self._demand_open()
        return self.apply_changes([(op.table, op.key, _encoded(op)) for op in ops])

    def apply_changes(self, changes: Sequence[Change]) -> Durable:
        """`apply` of what is encoded already."""
        self._demand_open()
        queues.write(self._tables, changes)
        durable = Durable()
        durable.settle()
        return durable

    def put(self, table: str, key: str, row: Row) -> Durable:
        """`apply` of a single Put."""
        return self.apply((Put(table, key, row),))

    def delete(self, table: str, key: str) -> Durable:
        """`apply` of a single Delete."""
        return self.apply((Delete(table, key),))

    async def get(self, table: str, key: str) -> Row | None:
        """The row under `key`, a fresh copy."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        text = self._tables.get(table, {}).get(key)
        return None if text is None else decode_row(text)

    async def items(self, table: str, after: str = "", limit: int = 1000) -> list[tuple[str, Row]]:
        """At most `limit` rows in order of their keys, after the key `after`."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        rows = self._tables.get(table, {})
        keys = heapq.nsmallest(limit, (key for key in rows if key > after))
        return [(key, decode_row(rows[key])) for key in keys]

    async def counts(self) -> dict[str, int]:
        """How many rows there are by table."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        return {table: len(rows) for table, rows in sorted(self._tables.items()) if rows}

    async def totals(self) -> queues.Totals:
        """What is in all queues."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        return queues.totals(self._tables)

    async def waiting(self, session: str, lane: int, after: str, limit: int, size: int) -> list[queues.Waiting]:
        """The first rows of a lane that have not been sent."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        return queues.waiting(self._tables, session, lane, after, limit, size)

    async def of_session(self, session: str, limit: int, size: int) -> list[queues.Waiting]:
        """The first rows of a session."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        return queues.of_session(self._tables, session, limit, size)

    async def flights(self, session: str, lane: int, after: str, limit: int) -> list[queues.Waiting]:
        """The first rows of a lane that have been sent."""
        self._demand_open()
        await trio.lowlevel.checkpoint()
        return queues.flights(self._tables, session, lane, after, limit)

    def pending(self) -> int:
        """Always 0: nothing waits."""
        return 0

    def crowded(self) -> bool:
        """Never: nothing waits."""
        return False

    def _demand_open(self) -> None:
        if not self._open:
            raise StoreError("the store is closed")


def _encoded(op: Op) -> str | None:
    check_names(op.table, op.key)
    return encode_row(op.row) if isinstance(op, Put) else None
