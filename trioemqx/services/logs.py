"""Logging: the event loop puts records into a bounded queue, a thread writes them.

A full disk or a blocked pipe therefore never stops the broker; what does not fit into the queue is dropped and counted.
Records pass: logger -> `Entry` (arguments made harmless, repeated errors held back) -> queue -> `Writer` (thread), both
in `log_queue`, -> files and console. This module knows no Trio, so that command line tools can use it.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TextIO

import attrs

from trioemqx.errors import ConfigError
from trioemqx.services.log_format import (
    JsonFormatter,
    LineFormatter,
    TextFormatter,
    level_name,
    level_number,
)
from trioemqx.services.log_queue import Entry, Writer
from trioemqx.services.log_sinks import BoundedFile, Console, RotatingFile, Sink, WatchedFile

FILE: Final = "file"
"""EMQX's name of the handler; that of `log.error.file` is `file_for_error`."""


@attrs.frozen
class LogSettings:
    """`log.*`. `to` is `file`, `console` or `both`; `formatter` is `text` or `json`; `level_files` maps a level's name
    to a further file for that level and above. Relative file names are under `dir`. Sizes are bytes, `chars_limit` -1
    means no limit, `queue_size` is lines. `size` is the largest file when `rotation` is off, None = no limit.
    `burst_limit` is (lines, seconds): more than that in so much time are dropped."""

    to: str = "file"
    level: str = "warning"
    dir: Path = Path("log")
    file: str = "emqx.log"
    formatter: str = "text"
    date_format: str = "rfc3339"
    chars_limit: int = -1
    single_line: bool = True
    rotation: bool = True
    rotation_size: int = 10 * 1024 * 1024
    rotation_count: int = 5
    size: int | None = None
    level_files: Mapping[str, str] = attrs.field(factory=dict)
    queue_size: int = 8000
    burst_limit: tuple[float, float] | None = None
    logger: str = "trioemqx"


_in_force: dict[str, LogHandle] = {}
"""By the name of the logger: loggers are global as well."""


def in_force(logger: str = "trioemqx") -> LogHandle | None:
    """What was set up for a logger and is not closed; None in a program that logs in its own way."""
    return _in_force.get(logger)


class LogHandle:
    """Logging that has been set up. `close` ends it and leaves the logger as it was."""

    def __init__(self, logger: logging.Logger, entry: Entry, writer: Writer, sinks: list[Sink]) -> None:
        self._logger = logger
        self._before = (logger.level, logger.propagate)
        self._entry = entry
        self._writer = writer
        self._sinks = sinks
        self._closed = False
        _in_force[logger.name] = self

    @property
    def sinks(self) -> list[Sink]:
        """Where lines are written to, the console first."""
        return [*self._sinks]

    @property
    def dropped(self) -> int:
        """Lines lost because the queue was full."""
        return self._entry.dropped

    @property
    def failed(self) -> int:
        """Lines lost because a file or the console did not take them, or because they could not be rendered."""
        return self._entry.failed + sum(sink.failed for sink in self._sinks)

    @property
    def level(self) -> str:
        """The name of the level in force."""
        return level_name(self._logger.level)

    def set_level(self, name: str) -> None:
        """Change the level at once. Raises ValueError for an unknown name."""
        self._logger.setLevel(level_number(name))

    def close(self) -> None:
        """Write what is queued, for at most STOP_SECONDS, and close the files. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if _in_force.get(self._logger.name) is self:
            del _in_force[self._logger.name]
        self._logger.removeHandler(self._entry)
        self._entry.finish()
        self._writer.stop()
        for sink in self._sinks:
            sink.close()
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)


def setup(
    settings: LogSettings, *, console: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> LogHandle:
    """Begin logging to where `settings` say. `console` stands for standard output, `clock` drives the throttle.

    Raises ConfigError when a level, a target or a file is no good; nothing is left open then.
    """
    level = _level(settings.level, "log.level")
    sinks = _sinks(settings, console)
    entry = Entry(queue.Queue(max(1, settings.queue_size)), clock, settings.burst_limit)
    writer = Writer(entry, sinks)
    logger = logging.getLogger(settings.logger)
    handle = LogHandle(logger, entry, writer, sinks)
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(entry)
    writer.start()
    return handle


def _sinks(settings: LogSettings, console: TextIO | None) -> list[Sink]:
    if settings.to not in ("file", "console", "both"):
        raise ConfigError(f"not a target: {settings.to!r:.50}", "log.to", hint="file, console or both")
    sinks: list[Sink] = []
    try:
        if settings.to != "file":
            sinks.append(Console(console or sys.stdout))
        if settings.to != "console":
            sinks.append(_file(settings, settings.file, "log.file", FILE))
        for level, name in settings.level_files.items():
            number = _level(level, f"log.{level:.20}.file")
            sinks.append(_file(settings, name, f"log.{level}.file", f"file_for_{level}"))
            sinks[-1].setLevel(number)
        formatter = _formatter(settings)
    except ConfigError:
        for sink in sinks:
            sink.close()
        raise
    for sink in sinks:
        sink.setFormatter(formatter)
    return sinks


def _file(settings: LogSettings, name: str, key: str, ident: str) -> Sink:
    path = settings.dir / name
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        sink = _open(settings, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}", key) from error
    sink.ident, sink.destination = ident, str(path)
    return sink


def _open(settings: LogSettings, path: Path) -> Sink:
    if settings.rotation:
        return RotatingFile(
            path,
            maxBytes=settings.rotation_size,
            backupCount=settings.rotation_count,
            encoding="utf-8",
            errors="backslashreplace",
        )
    if settings.size is not None:
        return BoundedFile(path, settings.size)
    return WatchedFile(path, encoding="utf-8", errors="backslashreplace")


def _formatter(settings: LogSettings) -> LineFormatter:
    shapes: dict[str, type[LineFormatter]] = {"text": TextFormatter, "json": JsonFormatter}
    shape = shapes.get(settings.formatter)
    if shape is None:
        raise ConfigError(f"not a format: {settings.formatter!r:.50}", "log.formatter", hint="text or json")
    return shape(settings.date_format, settings.chars_limit, settings.single_line)


def _level(name: str, key: str) -> int:
    try:
        return level_number(name)
    except ValueError as error:
        raise ConfigError(str(error), key) from error
