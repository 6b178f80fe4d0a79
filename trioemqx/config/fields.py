"""How a value is written: durations, byte sizes, flags, percentages, choices.

A `Kind` turns what TOML or the environment holds into what the program uses, and back into what a person would write.
Units: durations are float seconds, sizes int bytes, percentages float points (80% is 80.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import attrs

T = TypeVar("T")

MAX_SECONDS: Final = 0xFFFFFFFF
"""Longest duration: what an MQTT 5 four-byte interval can say, about 136 years."""

MAX_BYTES: Final = 2**63 - 1

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def _same(value: object) -> object:
    return value


def _as_read(text: str) -> object:
    return text


@attrs.frozen
class Kind(Generic[T]):
    """One way of writing values.

    `parse` takes the raw value (TOML types) and raises ValueError with "expected ..., got ...". `show` gives the value
    back as a person would write it; the result fits into JSON and TOML. `read` prepares text from an environment
    variable for `parse`. `unit` is the unit of a bare number. `optional`: a word such as `none` stands for None.
    """

    name: str
    parse: Callable[[Any], T]
    show: Callable[[Any], object] = _same
    unit: str = ""
    read: Callable[[str], object] = _as_read
    optional: bool = False


def refuse(expected: str, value: object) -> ValueError:
    """The error every kind raises; the value is cut so that a hostile file cannot flood the log."""
    return ValueError(f"expected {expected}, got {value!r:.80}")


def _read_int(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _read_float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def integer(low: int = 0, high: int = MAX_BYTES, unit: str = "") -> Kind[int]:
    """A whole number from `low` to `high`."""
    top = "" if high == MAX_BYTES else f"..{high}"
    expected = f"a whole number {low}{top}" if top else f"a whole number, {low} or more"

    def parse(value: object) -> int:
        # bool is an int to Python but never to somebody who writes a configuration.
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise refuse(expected, value)

    return Kind(f"integer {low}{top}" if top else "integer", parse, unit=unit, read=_read_int)


def number(low: float, high: float) -> Kind[float]:
    """A number from `low` to `high`; infinities and NaN, which TOML can write, are refused."""

    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise refuse(f"a number {low:g}..{high:g}", value)

    return Kind(f"number {low:g}..{high:g}", parse, read=_read_float)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("on", "true"):
        return True
    if word in ("off", "false"):
        return False
    raise refuse("true, false, on or off", value)


flag: Final = Kind("flag", _flag)


def _text(value: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    raise refuse("text", value)


text: Final = Kind("text", _text)


def _path(value: object) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise refuse("a file or folder name", value)


path: Final = Kind("path", _path)


def choice(*words: str) -> Kind[str]:
    """One of `words`. `true` and `false` among them may be written as TOML booleans."""
    expected = "one of " + ", ".join(words)

    def parse(value: object) -> str:
        word = str(value).lower() if isinstance(value, bool) else value
        if isinstance(word, str) and word.strip().lower() in words:
            return word.strip().lower()
        raise refuse(expected, value)

    return Kind(" | ".join(words), parse)


def _items(value: object) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return [item.strip() for item in value]
    raise refuse("a list of words, or one text with commas", value)


def words(*allowed: str) -> Kind[tuple[str, ...]]:
    """Several words, as a list or as one text with commas; with `allowed`, only those (lower-cased)."""

    def parse(value: object) -> tuple[str, ...]:
        items = _items(value)
        if not allowed:
            return tuple(items)
        lowered = [item.lower() for item in items]
        for item in lowered:
            if item not in allowed:
                raise refuse("a list of " + ", ".join(allowed), item)
        return tuple(dict.fromkeys(lowered))

    name = f"list of {' | '.join(allowed)}" if allowed else "list"
    return Kind(name, parse, list)


def _split_unit(part: str, start: int) -> tuple[str, str, int]:
    """One number and the letters behind it, from `start`; gives (number, letters, where it ended)."""
    at = start
    while at < len(part) and (part[at] in ".0123456789"):
        at += 1
    digits = part[start:at]
    begin = at
    while at < len(part) and part[at].isascii() and part[at].isalpha():
        at += 1
    return digits, part[begin:at], at


def parse_duration(value: object) -> float:
    """Seconds from `15`, `"15"`, `"250ms"` or `"1h30m"`; ValueError otherwise."""
    expected = 'a duration such as "15s", "1h30m", "250ms" or a number of seconds'
    total = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        total = float(value)
    elif isinstance(value, str):
        total = _duration_text(value.strip().lower())
    if not 0 <= total <= MAX_SECONDS:
        raise refuse(expected, value)
    return total


def _duration_text(written: str) -> float:
    """Seconds, or -1 when the text is no duration."""
    total, at = 0.0, 0
    while at < len(written):
        digits, unit, end = _split_unit(written, at)
        # A bare number stands for seconds only when it is the whole text: "1h30" would be a guess.
        factor = 1.0 if not unit and at == 0 and end == len(written) else _SECONDS.get(unit)
        try:
            amount = float(digits)
        except ValueError:
            return -1.0
        if factor is None:
            return -1.0
        total += amount * factor
        at = end
    return total if written else -1.0


def show_duration(seconds: float) -> str:
    """The shortest usual spelling: `15s`, `1h30m`, `250ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


duration: Final = Kind("duration", parse_duration, show_duration, unit="seconds")


def parse_bytesize(value: object) -> int:
    """Bytes from `1024`, `"1024"`, `"64KB"` or `"1.5MB"` (powers of 1024); ValueError otherwise."""
    amount = -1.0
    if isinstance(value, int) and not isinstance(value, bool):
        amount = value
    elif isinstance(value, str):
        written = value.strip().upper()
        digits, unit, end = _split_unit(written, 0)
        if digits and end == len(written) and unit in _BYTES:
            try:
                amount = float(digits) * _BYTES[unit] if "." in digits else int(digits) * _BYTES[unit]
            except ValueError:
                amount = -1.0
    if math.isfinite(amount) and 0 <= amount <= MAX_BYTES:
        return int(amount)
    raise refuse('a size such as "1MB", "64KB" or a number of bytes', value)


def show_bytesize(size: int) -> str | int:
    """`64KB`, `1MB`, or a bare number when no unit divides it."""
    for unit in ("GB", "MB", "KB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return size


bytesize: Final = Kind("size", parse_bytesize, show_bytesize, unit="bytes")


def size_between(low: int, high: int) -> Kind[int]:
    """A byte size from `low` to `high`."""

    def parse(value: object) -> int:
        size = parse_bytesize(value)
        if not low <= size <= high:
            raise refuse(f"a size from {show_bytesize(low)} to {show_bytesize(high)}", value)
        return size

    return Kind("size", parse, show_bytesize, unit="bytes")


def _percent(value: object) -> float:
    points = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        points = float(value)
    elif isinstance(value, str):
        try:
            points = float(value.strip().removesuffix("%"))
        except ValueError:
            points = -1.0
    if 0 <= points <= 100:
        return points
    raise refuse('a percentage 0..100 such as "80%"', value)


percent: Final = Kind("percentage", _percent, lambda points: f"{points:g}%", unit="%")


def or_word(kind: Kind[T], word: str) -> Kind[T | None]:
    """`kind`, or a word such as `none` or `infinity` that stands for None."""

    def parse(value: object) -> T | None:
        if isinstance(value, str) and value.strip().lower() == word:
            return None
        return kind.parse(value)

    def show(value: T | None) -> object:
        return word if value is None else kind.show(value)

    return Kind(f"{kind.name} | {word}", parse, show, kind.unit, kind.read, optional=True)


anything: Final = Kind("any", _same)
"""For settings that are accepted and not used."""
