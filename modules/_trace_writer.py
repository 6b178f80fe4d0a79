"""From the hooks, which must not wait, to the files of traces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import trio

from trioemqx.plugin import Context

from . import _trace_files as files
from ._trace_model import Trace

BATCH: Final = 1000
"""Lines written in one go."""
ALARM: Final = "trace_not_written"


class TraceWriter:
    """Adds lines to the logs of traces, in batches and in a thread. `limit` is how large a log may become.

    `alive` says whether a trace still exists, `on_full` is told of one whose log is full. What is not written is
    counted as `plugin.<name>.left_out`, what does not fit into the queue as `plugin.<name>.events.dropped`.
    """

    def __init__(
        self,
        context: Context,
        folder: Path,
        queue_size: int,
        limit: int,
        alive: Callable[[Trace], bool],
        on_full: Callable[[Trace], None],
    ) -> None:
        self.lock = trio.Lock()
        """Held by whoever adds to files or removes them."""
        self._alarms = context.alarms
        self._log: logging.Logger = context.log
        self._folder = folder
        self._limit = limit
        self._alive = alive
        self._on_full = on_full
        self._queue = context.queue(queue_size)
        self._left_out = context.metrics.counter(f"plugin.{context.name}.left_out")
        self._batch: list[tuple[list[Trace], str]] = []
        self._lost = 0

    def put(self, traces: list[Trace], line: str) -> None:
        """Take a line for the logs of some traces."""
        self._queue.put((traces, line))

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            self._batch.append(await self._queue.get())
            while len(self._queue) and len(self._batch) < BATCH:
                self._batch.append(await self._queue.get())
            for error in await self._flush():
                self._report(error)

    async def finish(self) -> None:
        """Write what is left; nobody is to be told any more, since another generation may be in place."""
        self._on_full = lambda trace: None
        while len(self._queue):
            self._batch.append(await self._queue.get())
        for error in await self._flush():
            if error:
                self._log.error("the last lines of traces are lost: %s: %s", self._folder, error)

    async def remove(self, names: Iterable[str]) -> None:
        """Delete files; the caller holds the lock."""
        try:
            await trio.to_thread.run_sync(files.remove, self._folder, list(names))
        except OSError as error:
            self._log.error("a log of a trace cannot be deleted: %s", error)

    async def _flush(self) -> list[str]:
        """Write the batch; returns the first error, or "" when all is well, if there was something to write. When this
        is cancelled before it has begun the batch is still there."""
        async with self.lock:
            by_trace = self._by_trace()
            lines = {trace.file: texts for trace, texts in by_trace.items()}
            written = await trio.to_thread.run_sync(files.append, self._folder, lines, self._limit) if lines else {}
            self._batch = []
        self._count(by_trace, written)
        return [next((found.error for found in written.values() if found.error), "")] if written else []

    def _by_trace(self) -> dict[Trace, list[str]]:
        """The lines of the batch for traces that exist still and whose logs have room."""
        lines: dict[Trace, list[str]] = {}
        for traces, line in self._batch:
            for trace in traces:
                if trace.full:
                    self._left_out.inc()
                elif self._alive(trace):
                    lines.setdefault(trace, []).append(line)
        lost, self._lost = self._queue.dropped - self._lost, self._queue.dropped
        if lost:
            for texts in lines.values():
                texts.insert(0, f"... {lost} events of traces are missing here; there were more than could be written")
        return lines

    def _count(self, by_trace: Iterable[Trace], written: Mapping[str, files.Written]) -> None:
        for trace in by_trace:
            result = written[trace.file]
            if result.left_out:
                self._left_out.inc(result.left_out)
            if result.full and not trace.full:
                trace.full = True
                self._log.warning("trace %s is stopped: its log has reached max_file_size", trace.name)
                self._on_full(trace)

    def _report(self, error: str) -> None:
        if not error:
            self._alarms.clear(ALARM)
        elif self._alarms.raise_(ALARM, {"folder": str(self._folder), "error": error}):
            self._log.error("logs of traces cannot be written to %s: %s", self._folder, error)
