"""Where lines of the log end: the console, and files of three kinds, written by a thread. Knows no Trio."""

from __future__ import annotations

import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

CONSOLE: Final = "default"
"""EMQX's name of this handler."""


class Sink(logging.Handler):
    """Mixed into handlers: a line that cannot be written is counted, not shouted about on standard error. `ident` and
    `destination` are what an operator calls it; while it is `stopped` it writes nothing."""

    failed = 0
    ident = CONSOLE
    destination = "console"
    stopped = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Write this line, unless the operator has stopped that."""
        return not self.stopped and super().handle(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that was not written."""
        self.failed += 1

    def close(self) -> None:
        """End it. What a disk does not take any more is lost, and keeps nobody from ending."""
        try:
            super().close()
        except OSError:
            self.failed += 1


class Console(Sink, logging.StreamHandler[TextIO]):
    """Standard output, or what a test gives instead."""


class _File(Sink):
    """Mixed into handlers of files: for the broker's user and its group alone, for it says who does what."""

    baseFilename: str
    encoding: str | None
    errors: str | None

    def _open(self) -> TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return TextIOWrapper(open(handle, "ab"), encoding=self.encoding, errors=self.errors)


class RotatingFile(_File, logging.handlers.RotatingFileHandler):
    """`<file>` and the older `<file>.1` ... `.N`."""


class WatchedFile(_File, logging.handlers.WatchedFileHandler):
    """One file without a limit; opened again when logrotate moved it away."""


class BoundedFile(WatchedFile):
    """One file that begins again, empty, when it is full, as in EMQX."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._size = size

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        stream = self.stream
        if stream is not None and stream.tell() >= self._size:
            stream.truncate(0)
            stream.seek(0)
        super().emit(record)
