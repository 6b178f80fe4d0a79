"""One log line: its level, its fields made harmless, its text or JSON shape.

Whatever came from a network can stand in a log record: client ids, topics, reasons. A field is cut at 256 bytes and its
control characters are written as escapes, so that nobody can forge a line or move a terminal's cursor.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from trioemqx.types import ClientInfo

FIELD_MAX: Final = 256
MESSAGE_MAX: Final = 16 * 1024
"""Longest message and longest traceback, whatever `chars_limit` says: the queue is bounded in lines only."""

NOTICE: Final = 25
ALERT: Final = 60
EMERGENCY: Final = 70
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": ALERT,
    "emergency": EMERGENCY,
    "all": 1,
}
"""EMQX's level names. `notice`, `alert` and `emergency` are logged as `log.log(NOTICE, ...)`."""
_NAMES: Final = sorted(((number, name) for name, number in LEVELS.items() if name != "all"), reverse=True)


def level_number(name: str) -> int:
    """The number of a level name. Raises ValueError, naming the valid ones, for any other text."""
    try:
        return LEVELS[name]
    except KeyError:
        raise ValueError(f"not a log level: {name!r:.50}; one of {', '.join(LEVELS)}") from None


def level_name(number: int) -> str:
    """EMQX's name for a level number; numbers in between get the name below them."""
    for least, name in _NAMES:
        if number >= least:
            return name
    return "debug"


_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in [
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0x200E, 0x200F, 0x2028, 0x2029),  # marks and separators
        *range(0x202A, 0x202F),  # directional overrides: they make a line look like another one
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),  # lone surrogates cannot be encoded
    ]
}


def escape(text: str) -> str:
    """`text` with every control character, separator and directional override written as `\\x0a` or `\\u2028`."""
    return text if text.isascii() and text.isprintable() else text.translate(_CONTROLS)


def field(value: object, limit: int = FIELD_MAX) -> str:
    """One value as it may stand in a line: escaped, at most `limit` bytes of UTF-8, `...` at the end when cut."""
    text = value if isinstance(value, str) else str(value)
    return _cut(escape(text[: limit + 1]), limit)


def _cut(text: str, limit: int) -> str:
    if len(text) * 4 <= limit:
        return text
    data = text.encode()
    if len(data) <= limit:
        return text
    return data[: limit - 3].decode(errors="ignore") + "..."


class _Field:
    """An argument of a log call, made harmless when it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return field(self._value)

    def __repr__(self) -> str:
        value = self._value
        short = value[: FIELD_MAX + 1] if isinstance(value, str | bytes | bytearray) else value
        return _cut(escape(repr(short)), FIELD_MAX)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def _harmless(value: object) -> object:
    return value if isinstance(value, int | float | None) else _Field(value)


def render(record: logging.LogRecord) -> str:
    """The record's message with its arguments made harmless. A call whose arguments do not fit its text still gives a
    line, because a mistake in a log call must not cost more than the line."""
    args: Any = record.args
    if not args:
        return str(record.msg)[:MESSAGE_MAX]
    safe: Any = (
        {name: _harmless(value) for name, value in args.items()}
        if isinstance(args, Mapping)
        else tuple(_harmless(value) for value in args)
    )
    try:
        text: str = str(record.msg) % safe
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        text = f"{record.msg} {safe!r} [{type(error).__name__} in a log call]"
    return text[:MESSAGE_MAX]


def rfc3339(created: float) -> str:
    """Local time with microseconds and offset: `2026-02-03T04:05:06.123456+01:00`."""
    return datetime.fromtimestamp(created).astimezone().isoformat(timespec="microseconds")


def date_formatter(pattern: str) -> Callable[[float], str]:
    """`rfc3339`, or a strftime pattern in which `%N`, `%3N`, `%6N` are fractions of a second (9, 3, 6 digits)."""
    if pattern == "rfc3339":
        return rfc3339
    pieces = re.split(r"(%%|%[1-9]?N)", pattern)

    def formatted(created: float) -> str:
        moment = datetime.fromtimestamp(created).astimezone()
        nanos = f"{round(math.modf(created)[0] * 1_000_000):06d}"[:6] + "000"
        fractions = (
            nanos[: int(piece[1:-1] or 9)] if piece[-1:] == "N" and piece[:1] == "%" else piece for piece in pieces
        )
        return moment.strftime("".join(fractions))

    return formatted


class LineFormatter(logging.Formatter):
    """What both shapes have in common. Expects records that `render` has been applied to.

    `chars_limit` cuts messages (-1: no limit). `single_line` folds messages and tracebacks into one line; otherwise
    further lines are indented, so that they cannot be mistaken for entries.
    """

    def __init__(self, date_format: str = "rfc3339", chars_limit: int = -1, single_line: bool = True) -> None:
        super().__init__()
        self._date = date_formatter(date_format)
        self._limit = chars_limit
        self._single = single_line

    def message(self, record: logging.LogRecord) -> str:
        """The message alone, escaped, folded and cut."""
        text = self._lines(str(record.msg))
        if 0 <= self._limit < len(text):
            text = text[: self._limit] + "..."
        return text

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback as one line, or as indented ones; "" when there is none."""
        return self._lines(record.exc_text) if record.exc_text else ""

    def _lines(self, text: str) -> str:
        if "\n" not in text:
            return escape(text)
        lines = [escape(line) for line in text.split("\n")]
        if self._single:
            return ", ".join(stripped for line in lines if (stripped := line.strip()))
        return "\n    ".join(lines)


class TextFormatter(LineFormatter):
    """`<time> [level] clientid@peername message`."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        clientid, peername = _who(record)
        who = "@".join(part for part in (clientid, peername) if part)
        parts = [self._date(record.created), f"[{level_name(record.levelno)}]", who, self.message(record)]
        line = " ".join(part for part in parts if part)
        trace = self.traceback(record)
        if not trace:
            return line
        return f"{line}, {trace}" if self._single else f"{line}\n    {trace}"


class JsonFormatter(LineFormatter):
    """One object per line, always with the same keys; what does not apply is null."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        clientid, peername = _who(record)
        entry = {
            "time": self._date(record.created),
            "level": level_name(record.levelno),
            "clientid": clientid or None,
            "peername": peername or None,
            "msg": self.message(record),
            "logger": record.name,
            "line": record.lineno,
            "error": self.traceback(record) or None,
        }
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def of_client(client: ClientInfo | None) -> dict[str, object]:
    """For `log.warning(..., extra=of_client(...))`: whose line it is. None: it is not known."""
    return {} if client is None else {"clientid": client.clientid, "peername": client.peername}


def client_of(record: logging.LogRecord) -> dict[str, str]:
    """Whose line it is: `clientid` and `peername`, "" where the record has none."""
    return {name: str(getattr(record, name, None) or "") for name in ("clientid", "peername")}


def _who(record: logging.LogRecord) -> tuple[str, str]:
    who = client_of(record)
    return field(who["clientid"]), field(who["peername"])
