"""The way of a log line from the event loop to the thread that writes it: a bounded queue, a class on each side."""

from __future__ import annotations

import copy
import logging
import logging.handlers
import queue
from collections.abc import Callable, Sequence
from typing import Any, Final

from trioemqx.services.log_format import MESSAGE_MAX, render
from trioemqx.services.log_throttle import INTERVAL, Throttle

STOP_SECONDS: Final = 5.0
"""How long `close` waits for the writer: a pipe that nobody reads must not keep the process alive."""


class Entry(logging.handlers.QueueHandler):
    """The loop's side of the queue. Never waits and never raises; its handler lock also guards the throttle."""

    def __init__(
        self,
        lines: queue.Queue[logging.LogRecord | None],
        clock: Callable[[], float],
        burst: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(lines)
        self._burst = burst
        self._burst_end = 0.0
        self._burst_left = 0.0
        self.lines = lines
        self.dropped = 0
        self.failed = 0
        self._clock = clock
        self._throttle = Throttle()
        self._plain = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; its caller has nothing to fear from it, whatever its arguments do when they are printed."""
        try:
            rendered = copy.copy(record)
            rendered.msg, rendered.args = render(record), None
            for line in self._throttle.admit(rendered, self._clock()):
                self.enqueue(self.prepare(line))
        except Exception:
            self.handleError(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Turn the traceback into text: the queue must not keep frames alive."""
        if record.exc_info:
            record.exc_text = _middle_out(self._plain.formatException(record.exc_info))
            record.exc_info = None
        record.stack_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a line into the queue or count it as dropped."""
        if self._burst is not None and not self._within(self._burst):
            self.dropped += 1
            return
        try:
            self.lines.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _within(self, burst: tuple[float, float]) -> bool:
        """Whether `log.burst_limit` allows one line more now."""
        now = self._clock()
        if now >= self._burst_end:
            self._burst_left, self._burst_end = burst[0], now + burst[1]
        self._burst_left -= 1.0
        return self._burst_left >= 0.0

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that could not be rendered."""
        self.failed += 1

    def waiting(self) -> bool:
        """True while counter lines may become due."""
        return self._throttle.busy()

    def tick(self) -> None:
        """Queue the counter lines that have become due."""
        with self._guard():
            for line in self._throttle.expire(self._clock()):
                self.enqueue(line)

    def finish(self) -> None:
        """Queue all counter lines."""
        with self._guard():
            for line in self._throttle.flush():
                self.enqueue(line)

    def _guard(self) -> Any:
        return self.lock


class Writer(logging.handlers.QueueListener):
    """The thread's side of the queue."""

    def __init__(self, entry: Entry, sinks: Sequence[logging.Handler]) -> None:
        super().__init__(entry.lines, *sinks, respect_handler_level=True)
        self._entry = entry
        self._told = 0

    def dequeue(self, block: bool) -> Any:
        """The next line, or None to stop; meanwhile counter lines are asked for when they are due."""
        while True:
            try:
                return self._entry.lines.get(block, INTERVAL * 2 if self._entry.waiting() else None)
            except queue.Empty:
                self._entry.tick()

    def handle(self, record: logging.LogRecord) -> None:
        """Write one line, and before it how many are missing."""
        dropped = self._entry.dropped
        if dropped != self._told:
            text = f"{dropped - self._told} log lines dropped: they came faster than they could be written"
            self._told = dropped
            super().handle(logging.LogRecord(record.name, logging.WARNING, __file__, 0, text, None, None))
        super().handle(record)

    def enqueue_sentinel(self) -> None:
        """Ask the thread to end, waiting for room in a full queue."""
        try:
            self._entry.lines.put(None, timeout=STOP_SECONDS)
        except queue.Full:
            self._entry.dropped += 1

    def stop(self) -> None:
        """End the thread, or leave it behind (it is a daemon) when what it writes to is stuck."""
        thread = self._thread
        if thread is not None:
            self.enqueue_sentinel()
            thread.join(STOP_SECONDS)
            self._thread = None


def _middle_out(text: str) -> str:
    """A long traceback keeps its beginning and its end."""
    half = MESSAGE_MAX // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n...\n{text[-half:]}"
