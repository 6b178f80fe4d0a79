"""The thread of `SqliteStore`: takes batches and questions in the order they came, commits, and reports to Trio."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import trio

from trioemqx.services.store.database import Database
from trioemqx.services.store.opening import locked
from trioemqx.services.store.protocol import Change, Durable, StoreError, StoreUnusable

log = logging.getLogger("trioemqx.store")

T = TypeVar("T")

GROUP: Final = 5000
"""Changes at which a group is closed although more have come."""
LARGE_LOG: Final = 256 * 1024 * 1024
"""Bytes of a write-ahead log that nobody empties any more."""
REST: Final = 30.0
"""Seconds without a change after which the file is tidied."""


class Batch:
    """Changes on their way to the disk; `size` is about their characters."""

    __slots__ = ("changes", "durable", "size")

    def __init__(self, changes: Sequence[Change], size: int) -> None:
        self.changes = changes
        self.durable = Durable()
        self.size = size


class Question(Generic[T]):
    """Something the thread is asked to do. `known` is set, in Trio's thread, when `result` is there."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self.known = trio.Event()
        self.error: StoreError | None = None
        self._ask = ask
        self._answers: list[T] = []

    def answer(self) -> None:
        """Do it; called by the thread."""
        try:
            self._answers.append(self._ask())
        except StoreError as error:
            self.error = error
        except Exception as error:
            self.error = StoreError(f"the store cannot be read: {error}")

    def result(self) -> T:
        """The answer. Raises StoreError."""
        if self.error is not None:
            raise self.error
        return self._answers[0]


Settled = Callable[[Sequence[Batch], StoreError | None, int, int], None]
"""Called in Trio's thread with batches, why they failed (None: they are durable), and the number and size of the
changes that are still to be written."""


class Writer:
    """Made in Trio's thread; `run` is the other one. `inbox` takes batches and questions, and None to end it, which
    sets `ended`. `retry` is the pause in seconds after a failed commit; `log_size` is called in Trio's thread with the
    bytes of the write-ahead log when they cross LARGE_LOG, `crashed` with a bug that has ended the thread and the
    batches it had in hand."""

    def __init__(
        self,
        path: Path,
        database: Database,
        settled: Settled,
        retry: float,
        log_size: Callable[[int], None],
        crashed: Callable[[Exception, list[Batch]], None],
    ) -> None:
        self.database = database
        self.inbox: queue.SimpleQueue[Batch | Question[Any] | None] = queue.SimpleQueue()
        self.ended = trio.Event()
        self._path = path
        self._settled = settled
        self._retry = retry
        self._log_size = log_size
        self._crashed = crashed
        self._large_log = False
        self._token = trio.lowlevel.current_trio_token()
        self._batches: list[Batch] = []
        self._taken = 0
        self._retry_at: float | None = None
        self._untidy = False
        self._stopping = False

    def run(self, opening: Question[str]) -> None:
        """Hold the file until told to end. The answer to `opening` comes first; after an error that is all."""
        try:
            with locked(self._path) as self.database.lock:
                opening.answer()
                if opening.error is None:
                    self._tell(opening.known.set)
                    self._work()
        except StoreUnusable as error:
            opening.error = error
        except Exception as error:  # a failed commit is none: this is a bug, or memory that has run out
            log.critical("%s: the thread that writes it crashed", self._path, exc_info=error)
            self._tell(self._crashed, error, self._batches)
        finally:
            if opening.error is not None:
                opening.error = StoreUnusable(f"store.file: {self._path} {opening.error}")
                self._tell(opening.known.set)
            self._tell(self.ended.set)

    def _work(self) -> None:
        try:
            self._serve()
        finally:
            self._close()

    def _serve(self) -> None:
        while not self._stopping:
            self._take()
            if self.database.owed or self._batches:
                now = time.monotonic()
                if self._retry_at is None or now >= self._retry_at or self._stopping:
                    self._flush()

    def _close(self) -> None:
        if self.database.owed:
            log.error("%s: %d changes could not be written and are lost", self._path, self.database.owed)
        try:
            self.database.close()
        except Exception as error:
            log.warning("%s: its write-ahead log stays beside it: %s", self._path, error)

    def _take(self) -> None:
        """Wait for something to do, then take everything that is there; return early when it is time for something
        else."""
        try:
            item = self.inbox.get(timeout=self._patience())
            while not self._stopping:
                self._handle(item)
                if self._taken >= GROUP:
                    return
                item = self.inbox.get_nowait()
        except queue.Empty:
            if self._untidy and not self._batches and self._retry_at is None:
                self._untidy = False
                self._rest()

    def _patience(self) -> float | None:
        if self._retry_at is not None:
            return max(0.0, self._retry_at - time.monotonic())
        return REST if self._untidy else None

    def _handle(self, item: Batch | Question[Any] | None) -> None:
        if item is None:
            self._stopping = True
        elif isinstance(item, Batch):
            self._batches.append(item)
            self._taken += len(item.changes)
            self.database.remember(item.changes)
        else:
            item.answer()
            self._tell(item.known.set)

    def _flush(self) -> None:
        """One commit, and what it means for those who wait."""
        error: StoreError | None = None
        try:
            self.database.flush()
        except Exception as found:
            error = StoreError(f"cannot be written: {found}")
            error.__cause__ = found
        self._untidy = True
        self._retry_at = None if error is None else time.monotonic() + self._retry
        batches, self._batches, self._taken = self._batches, [], 0
        self._tell(self._settled, batches, error, self.database.owed, self.database.owed_size)
        self._look_at_log()

    def _rest(self) -> None:
        try:
            self.database.rest()
        except Exception as error:
            log.warning("%s: tidying failed: %s", self._path, error)
        self._look_at_log()

    def _look_at_log(self) -> None:
        size = self.database.wal_size()
        if (size > LARGE_LOG) != self._large_log:
            self._large_log = not self._large_log
            self._tell(self._log_size, size)

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Have something called in Trio's thread, in order. Trio may have ended without closing the store."""
        try:
            self._token.run_sync_soon(call, *arguments)
        except trio.RunFinishedError:
            self._stopping = True
