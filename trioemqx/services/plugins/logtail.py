"""The last lines that each plugin has written to the log, for whoever looks at it in a browser."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Final

from trioemqx.services.plugins.discovery import one_line

LINES: Final = 200
"""Kept per plugin."""
MAX_TEXT: Final = 2000
MAX_NAMES: Final = 1000
OWN: Final = "trioemqx.plugin"
"""What plugins write, under `trioemqx.plugin.<name>`."""
ABOUT: Final = "trioemqx.plugins"
"""What the broker writes about plugins; a line is about those that it names."""

Line = dict[str, object]


class LogTail(logging.Handler):
    """Sees what the log's level lets through. `known()` are the names that there are."""

    def __init__(self, known: Callable[[], Container[str]]) -> None:
        super().__init__()
        self._known = known
        self._lines: dict[str, deque[Line]] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Listen for the length of the block."""
        loggers = [logging.getLogger(name) for name in (OWN, ABOUT)]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called in whatever thread writes."""
        try:
            names = self._names(record)
            if names:
                text = record.getMessage()
                error = record.exc_info[1] if record.exc_info else None
                if error is not None:
                    text = f"{text}: {one_line(error)}"
                line: Line = {"time": int(record.created * 1000), "level": record.levelname.lower(), "message": ""}
                line["message"] = text[:MAX_TEXT]
                for name in names:
                    self._of(name).append(line)
        except Exception:
            self.handleError(record)

    def _names(self, record: logging.LogRecord) -> list[str]:
        if record.name.startswith(f"{OWN}."):
            return [record.name.removeprefix(f"{OWN}.")]
        given = record.args if isinstance(record.args, tuple) else ()
        known = self._known()
        return [arg for arg in dict.fromkeys(arg for arg in given if isinstance(arg, str)) if arg in known]

    def _of(self, name: str) -> deque[Line]:
        lines = self._lines.get(name)
        if lines is None:
            while len(self._lines) >= MAX_NAMES:
                del self._lines[next(iter(self._lines))]
            lines = self._lines[name] = deque(maxlen=LINES)
        return lines

    def lines(self, name: str) -> list[Line]:
        """The lines of a plugin, the oldest first: `time` in Unix milliseconds, `level`, `message`."""
        return list(self._lines.get(name, ()))
