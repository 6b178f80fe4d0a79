"""Repeated errors become one line and a number.

A source is the place of the log call. The same source may write one line per 100 ms for the same client, and ten for
all clients together, since a flood may come under ever new client ids. What was held back is counted and told in one
line when the time is over. Only warnings and worse are throttled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from trioemqx.services.log_format import FIELD_MAX, client_of

if TYPE_CHECKING:
    from collections.abc import Hashable

INTERVAL: Final = 0.1
PER_CLIENT: Final = 1
PER_SOURCE: Final = 10
MAX_KEYS: Final = 4096


class _Window:
    """One source, or one source and client, since `start`: lines let through, lines held back, the first of these."""

    __slots__ = ("example", "held", "passed", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.passed = 0
        self.held = 0
        self.example: logging.LogRecord | None = None


class Throttle:
    """Decides line by line. Not thread-safe: its owner holds a lock around every call.

    Records are looked at after their message has been rendered. `now` is monotonic seconds.
    """

    def __init__(self, interval: float = INTERVAL, max_keys: int = MAX_KEYS) -> None:
        self._interval = interval
        self._max_keys = max_keys
        self._windows: dict[Hashable, _Window] = {}
        """By start of the window, oldest first."""

    def admit(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """What to write now: counter lines of windows that are over, and the record unless it is held back."""
        if record.levelno < logging.WARNING:
            return [record]
        lines = self.expire(now)
        source = (record.pathname, record.lineno)
        client = (*source, _client(record))
        # A client gets a window of its own only once its source lets it through: ever new names make no new windows.
        known = client in self._windows
        if (known or self._take(source, PER_SOURCE, record, now)) and self._take(client, PER_CLIENT, record, now):
            lines.append(record)
        while len(self._windows) > self._max_keys:
            lines += self._close(next(iter(self._windows)))
        return lines

    def expire(self, now: float) -> list[logging.LogRecord]:
        """Close the windows that are over; returns their counter lines."""
        lines: list[logging.LogRecord] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if now - window.start < self._interval:
                break
            lines += self._close(key)
        return lines

    def flush(self) -> list[logging.LogRecord]:
        """Close every window."""
        return [line for key in list(self._windows) for line in self._close(key)]

    def busy(self) -> bool:
        """True while a window is open, that is, while `expire` will have something to do."""
        return bool(self._windows)

    def _take(self, key: Hashable, limit: int, record: logging.LogRecord, now: float) -> bool:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
        if window.passed < limit:
            window.passed += 1
            return True
        window.held += 1
        if window.example is None:
            window.example = _slim(record)
        return False

    def _close(self, key: Hashable) -> list[logging.LogRecord]:
        window = self._windows.pop(key)
        line = window.example
        if line is None:
            return []
        line.msg = f"suppressed {window.held} more like: {line.msg}"
        return [line]


def _slim(record: logging.LogRecord) -> logging.LogRecord:
    """The record without its traceback, which would keep the frames of a connection alive, and with a short message."""
    text = str(record.msg)[:FIELD_MAX]
    slim = logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, text, None, None)
    slim.created = record.created
    slim.__dict__.update(client_of(record))
    return slim


def _client(record: logging.LogRecord) -> str:
    """Whose line it is: the client id, else the peer's host (its port changes with every connection). A line that
    belongs to no connection is known by its text, so that two alarms at once are both told."""
    who = client_of(record)
    if who["clientid"]:
        return f"c{who['clientid'][:FIELD_MAX]}"
    if who["peername"]:
        return f"p{who['peername'].rpartition(':')[0][:FIELD_MAX]}"
    return f"m{str(record.msg)[:FIELD_MAX]}"
