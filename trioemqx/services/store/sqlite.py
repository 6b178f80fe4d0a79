"""The store on disk: one SQLite file, one thread that owns the only connection, commits in groups.

`apply` hands changes to the thread and returns. The thread takes whatever has come while the last commit was running,
writes it in one transaction, and has Trio's thread settle the batches in their order. So a lone change costs one flush
of the disk, and a thousand at once cost one as well.

When a commit fails, the batches in it fail, `on_failure` is called, and the changes stay in memory; the thread tries
again each second, and with each try what has come since either becomes durable or fails too. `on_recovered` is called
when everything has been written. What was not written before the process ends is lost: nobody was told otherwise.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import trio

from trioemqx.services.store.database import Database, size_of
from trioemqx.services.store.opening import Connect, connect
from trioemqx.services.store.protocol import (
    HIGH_MARK,
    Change,
    Delete,
    Durable,
    Op,
    Put,
    Row,
    StoreError,
    check_names,
    encode_row,
)
from trioemqx.services.store.queues import Totals, Waiting
from trioemqx.services.store.writer import LARGE_LOG, Batch, Question, Writer

log = logging.getLogger("trioemqx.store")

T = TypeVar("T")

MAX_WAITING: Final = 100_000
"""Changes that may wait for the disk; a batch that finds as many is refused."""
MAX_WAITING_SIZE: Final = 64 * 1024 * 1024
"""Characters that may wait; likewise. One batch may go beyond both."""


class SqliteStore:
    """`Store` in the file `path`. Of two stores on one file, also in two processes, the second cannot be opened.

    `sync` is `full` (what is durable survives a power cut) or `normal` (the end of the process). `on_corrupt` says what
    `open` does with a damaged file: `refuse` (StoreUnusable), or `rename`: it is moved aside, `moved_to` names it, and
    the store starts empty. `retry` is the pause in seconds after a failed commit; `connect` is for tests.

    `refused` counts batches that found the store full, `failed` commits that failed, and `failing` is why the last one
    did, until everything has been written.
    """

    outlives_process = True

    def __init__(
        self,
        path: Path,
        sync: str = "full",
        on_corrupt: str = "rename",
        *,
        retry: float = 1.0,
        connect: Connect = connect,
    ) -> None:
        self.path = path
        self.moved_to = ""
        self.refused = 0
        self.failed = 0
        self.failing: StoreError | None = None
        self._synchronous = "NORMAL" if sync == "normal" else "FULL"
        self._on_corrupt = on_corrupt
        self._retry = retry
        self._connect = connect
        self._on_failure: Callable[[StoreError], object] | None = None
        self._on_recovered: Callable[[], object] | None = None
        self._on_log: tuple[Callable[[int], object], Callable[[], object]] | None = None
        self._on_crash: Callable[[Exception], object] | None = None
        self._writer: Writer | None = None
        self._waiting = self._waiting_size = 0
        self._owed = self._owed_size = 0

    def watch(self, on_failure: Callable[[StoreError], object], on_recovered: Callable[[], object]) -> None:
        """Be told when commits begin to fail (at once, if they do already), and when everything has been written. Both
        are called in Trio's thread."""
        self._on_failure, self._on_recovered = on_failure, on_recovered
        if self.failing is not None:
            on_failure(self.failing)

    def watch_thread(self, on_crash: Callable[[Exception], object]) -> None:
        """Be told, in Trio's thread, when the thread that writes has crashed: from then on nothing is durable, and the
        store answers everything with StoreError."""
        self._on_crash = on_crash

    def watch_log(self, on_large: Callable[[int], object], on_small: Callable[[], object]) -> None:
        """Be told when the write-ahead log grows beyond LARGE_LOG (its bytes), as it does while another program reads
        the file all the time; and when it is smaller again."""
        self._on_log = on_large, on_small

    async def open(self) -> None:
        """Start the thread and open the file, which is made if there is none. Raises StoreUnusable."""
        self._waiting = self._waiting_size = self._owed = self._owed_size = 0
        self.failing = None
        database = Database(self.path, self._synchronous, self._connect)
        opening = Question(lambda: database.open(self._on_corrupt))
        writer = Writer(self.path, database, self._settled, self._retry, self._log_size, self._crashed)
        threading.Thread(target=writer.run, args=(opening,), name="store", daemon=True).start()
        try:
            await opening.known.wait()
        except BaseException:
            writer.inbox.put(None)
            raise
        self.moved_to = opening.result()
        self._writer = writer

    async def close(self) -> None:
        """Write and settle everything applied so far, then give the file free."""
        writer, self._writer = self._writer, None
        if writer is None:
            await trio.lowlevel.checkpoint()
        else:
            writer.inbox.put(None)
            await writer.ended.wait()

    def apply(self, ops: Sequence[Op]) -> Durable:
        """Do all of `ops`. Raises RowError, and StoreError when the store is closed."""
        self._opened()
        return self.apply_changes([_change(op) for op in ops])

    def apply_changes(self, changes: Sequence[Change]) -> Durable:
        """`apply` of what is encoded already. Raises StoreError when the store is closed."""
        writer = self._opened()
        batch = Batch(changes, sum(size_of(key, text) for _, key, text in changes))
        if self.pending() >= MAX_WAITING or self._waiting_size + self._owed_size >= MAX_WAITING_SIZE:
            self.refused += 1
            batch.durable.settle(StoreError(f"too much waits for the disk already ({self.pending()} changes)"))
        else:
            self._waiting += len(changes)
            self._waiting_size += batch.size
            writer.inbox.put(batch)
        return batch.durable

    def put(self, table: str, key: str, row: Row) -> Durable:
        """`apply` of a single Put."""
        return self.apply((Put(table, key, row),))

    def delete(self, table: str, key: str) -> Durable:
        """`apply` of a single Delete."""
        return self.apply((Delete(table, key),))

    async def get(self, table: str, key: str) -> Row | None:
        """The row under `key`. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.get(table, key))

    async def items(self, table: str, after: str = "", limit: int = 1000) -> list[tuple[str, Row]]:
        """At most `limit` rows in order of their keys. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.items(table, after, limit))

    async def counts(self) -> dict[str, int]:
        """How many rows there are by table. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.counts())

    async def totals(self) -> Totals:
        """What is in all queues. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.totals())

    async def waiting(self, session: str, lane: int, after: str, limit: int, size: int) -> list[Waiting]:
        """Rows of a lane that have not been sent. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.waiting(session, lane, after, limit, size))

    async def of_session(self, session: str, limit: int, size: int) -> list[Waiting]:
        """The first rows of a session. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.of_session(session, limit, size))

    async def flights(self, session: str, lane: int, after: str, limit: int) -> list[Waiting]:
        """Rows of a lane that have been sent. Raises StoreError when the file cannot be read."""
        return await self._ask(lambda database: database.flights(session, lane, after, limit))

    def pending(self) -> int:
        """Operations applied but not yet durable, those of failed batches included."""
        return self._waiting + self._owed

    def crowded(self) -> bool:
        """Whether more than HIGH_MARK operations wait, or a quarter of the characters for which there is room."""
        return self.pending() > HIGH_MARK or self._waiting_size + self._owed_size > MAX_WAITING_SIZE // 4

    async def _ask(self, ask: Callable[[Database], T]) -> T:
        writer = self._opened()
        question = Question(lambda: ask(writer.database))
        writer.inbox.put(question)
        await question.known.wait()
        return question.result()

    def _opened(self) -> Writer:
        if self._writer is None:
            raise StoreError("the store is closed")
        return self._writer

    def _settled(self, batches: Sequence[Batch], error: StoreError | None, owed: int, owed_size: int) -> None:
        """The fate of the batches of one commit; `owed` changes of `owed_size` are still to be written after it."""
        for batch in batches:
            self._waiting -= len(batch.changes)
            self._waiting_size -= batch.size
        self._owed, self._owed_size = owed, owed_size
        before, self.failing = self.failing, error
        for batch in batches:
            batch.durable.settle(error)
        if error is not None:
            self.failed += 1
            if before is None:
                self._failure(error)
        elif before is not None:
            self._recovered()

    def _crashed(self, error: Exception, batches: list[Batch]) -> None:
        """The thread has ended by itself: whoever waits for it is told, and nobody waits for it again."""
        writer, self._writer = self._writer, None
        failure = self.failing = StoreError(f"the thread of the store crashed: {error!r}")
        waiting = list(batches)
        while writer is not None and not writer.inbox.empty():
            item = writer.inbox.get_nowait()
            if isinstance(item, Batch):
                waiting.append(item)
            elif item is not None:
                item.error = failure
                item.known.set()
        for batch in waiting:
            batch.durable.settle(failure)
        if self._on_crash is not None:
            self._on_crash(error)

    def _log_size(self, size: int) -> None:
        """The write-ahead log has become large, or small again."""
        on_large, on_small = self._on_log or (None, None)
        if size > LARGE_LOG:
            log.warning("%s-wal has %d bytes: does another program read the file all the time?", self.path, size)
            _tell("about the write-ahead log", on_large, size)
        else:
            _tell("about the write-ahead log", on_small)

    def _failure(self, error: StoreError) -> None:
        log.error("%s: %s; it is tried again every %g s", self.path, error, self._retry)
        _tell("that the store fails", self._on_failure, error)

    def _recovered(self) -> None:
        log.warning("%s: everything has been written", self.path)
        _tell("that the store has recovered", self._on_recovered)


def _tell(what: str, call: Callable[..., object] | None, *arguments: object) -> None:
    """Call somebody who watches the store, whose bug must not become one of the store."""
    if call is not None:
        try:
            call(*arguments)
        except Exception:
            log.exception("telling %s crashed", what)


def _change(op: Op) -> Change:
    check_names(op.table, op.key)
    return op.table, op.key, encode_row(op.row) if isinstance(op, Put) else None
