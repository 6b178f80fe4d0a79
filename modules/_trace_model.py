"""What a trace is: whom it is about, and when."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from trioemqx.plugin import ProtocolError, parse_filter, validate_filter

TYPES: Final = ("clientid", "topic", "ip_address")
SECONDS: Final = 600
"""Between start and end, when no end is given."""
MAX_NAME: Final = 200
"""The name is part of a file's name."""
MAX_VALUE: Final = 65535
LAST: Final = 253402300799
"""The last second of the year 9999."""
WAITING: Final = "waiting"
RUNNING: Final = "running"
STOPPED: Final = "stopped"
LEVELS: Final = {
    name: rank for rank, name in enumerate("all debug info notice warning error critical alert emergency".split())
}
"""Levels of the log, for traces to a file of the operator's choice: which events they tell."""


class TraceError(Exception):
    """A request that cannot be done. `code` is EMQX's: INCORRECT_PARAMS, ALREADY_EXISTED, DUPLICATE_CONDITION,
    NOT_FOUND; the text is its message."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


UNSTORED: Final = ("name", "full", "level", "path")


@attrs.define(eq=False)
class Trace:
    """`type` is one of TYPES, `value` the clientid, the topic filter or the address; times are Unix seconds. One that
    is not `enable` is stopped, whatever the time. `full` is set when its log has no more room.

    One that has a `path` writes there instead of its own log, only events of its `level`, and is not stored."""

    name: str
    type: str
    value: str
    start_at: int
    end_at: int
    enable: bool = True
    full: bool = False
    level: str = "all"
    path: str = ""

    def tells(self, level: str) -> bool:
        """Whether events of a level are for this trace."""
        return LEVELS[self.level] <= LEVELS[level]

    def status(self, now: float) -> str:
        """`waiting`, `running` or `stopped`."""
        if not self.enable or now >= self.end_at:
            return STOPPED
        return RUNNING if now >= self.start_at else WAITING

    @property
    def file(self) -> str:
        """The name of its log; the day is that of its start, in UTC."""
        return self.path or f"trace_{self.name}_{datetime.fromtimestamp(self.start_at, UTC):%Y-%m-%d}.log"

    def row(self) -> dict[str, str | int | bool]:
        """As it is stored, without its name."""
        return attrs.asdict(self, filter=lambda field, _: field.name not in UNSTORED)


def from_row(name: str, row: Mapping[str, Any]) -> Trace:
    """A trace as it was stored. Raises ValueError for what cannot have been stored by us."""
    trace = Trace(name, **row)
    times = (trace.start_at, trace.end_at)
    if (
        trace.type not in TYPES
        or not all(isinstance(at, int) for at in times)
        or not 0 <= trace.start_at < trace.end_at <= LAST
        or not isinstance(trace.enable, bool)
    ):
        raise ValueError(f"not a trace: {row!r:.200}")
    checked_name(name)
    checked_value(trace.type, trace.value)
    return trace


def from_params(params: Mapping[str, object], now: float) -> Trace:
    """A trace as it was asked for: `name`, `type`, the value under the name of the type, and what may be left out or
    empty: `start_at` (now), `end_at` (ten minutes later), both RFC 3339, and `enable`. Raises TraceError."""
    kind = params.get("type")
    if params.get("name") in (None, ""):
        raise _wrong("name required")
    name = checked_name(params["name"])
    if kind not in TYPES:
        raise _wrong("type=[topic,clientid,ip_address] required")
    value = checked_value(str(kind), params.get(str(kind)))
    start = instant(params.get("start_at"), "start_at", int(now))
    end = instant(params.get("end_at"), "end_at", start + SECONDS)
    if end <= now:
        raise _wrong("end_at time has already passed")
    if start >= end:
        raise _wrong("failed by start_at >= end_at")
    if start < 0 or end > LAST:
        raise _wrong("start_at and end_at must be between the years 1970 and 9999")
    enable = params.get("enable", True)
    if not isinstance(enable, bool):
        raise _wrong("enable must be true or false")
    return Trace(name, str(kind), value, start, end, enable)


def to_file(kind: str, value: str, path: str, level: str, now: float) -> Trace:
    """A trace to a file, from now on. Raises TraceError."""
    if kind not in TYPES:
        raise _wrong("type=[topic,clientid,ip_address] required")
    if level not in LEVELS:
        raise _wrong(f"not a log level: {level!r:.50}; one of {', '.join(LEVELS)}")
    return Trace("", kind, checked_value(kind, value), int(now), LAST, level=level, path=os.path.abspath(path))


def checked_name(name: object) -> str:
    """A name that can be part of a file's name. Raises TraceError."""
    if (
        not isinstance(name, str)
        or not (name.isascii() and name[:1].isalnum() and name.replace("-", "").replace("_", "").isalnum())
        or len(name) > MAX_NAME
    ):
        raise _wrong(f"name must be ^[0-9A-Za-z]+[A-Za-z0-9-_]*$, at most {MAX_NAME} characters")
    return name


def checked_value(kind: str, value: object) -> str:
    """What a trace of a type is about, addresses in their usual spelling. Raises TraceError."""
    if value in (None, ""):
        raise _wrong(f"required {kind} field")
    if not isinstance(value, str) or len(value) > MAX_VALUE:
        raise _wrong(f"{kind} must be a text of at most {MAX_VALUE} characters")
    if kind == "topic":
        _check_filter(value)
    if kind == "ip_address":
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise _wrong(f"ip_address: {value!r:.80} is not an address") from None
    return value


def _check_filter(filter: str) -> None:
    try:
        parsed = parse_filter(filter)
        if parsed.filter != filter:
            raise _wrong(f"topic: give {parsed.filter:.80} without a prefix")
        validate_filter(filter)
    except ProtocolError as error:
        raise _wrong(f"topic: {error}") from None


def instant(text: object, name: str, default: int) -> int:
    """Unix seconds of an RFC 3339 text; the default for None and the empty text. Raises TraceError."""
    if text in (None, ""):
        return default
    wrong = _wrong(f"{name} must be an RFC 3339 time, such as 2021-01-01T10:00:00+08:00")
    if not isinstance(text, str) or len(text) > 40 or text[4:5] != "-" or text[10:11] not in ("T", "t", " "):
        raise wrong
    try:
        found = datetime.fromisoformat(text.upper())
        if found.tzinfo is None:
            raise wrong
        return int(found.timestamp())
    except (ValueError, OverflowError):
        raise wrong from None


def rfc3339(seconds: float, timespec: str = "seconds") -> str:
    """A time as it is shown, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)


def _wrong(text: str) -> TraceError:
    return TraceError("INCORRECT_PARAMS", text)
