"""Times as texts: RFC 3339, formats with directives, offsets. Pure arithmetic on integers, no clock and no time zones.

A moment is a number of nanoseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.values import Value, kind

UNITS: Final = {"second": 10**9, "millisecond": 10**6, "microsecond": 10**3, "nanosecond": 1}
"""Nanoseconds of a unit."""
FRACTIONS: Final = {"second": 0, "millisecond": 3, "microsecond": 6, "nanosecond": 9}
"""Digits after the second."""
SECOND: Final = 10**9
DAY: Final = 86400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DIRECTIVES: Final = ("%3N", "%6N", "%::z", "%:z", "%Y", "%m", "%d", "%H", "%M", "%S", "%N", "%z")
WIDTHS: Final = {"%Y": 4, "%3N": 3, "%6N": 6, "%N": 9, "%z": 5, "%:z": 6, "%::z": 9}
"""Characters of a directive; the others have two."""
_LONGEST: Final = 4


def unit(value: Value) -> int:
    """The nanoseconds of a unit by its name."""
    if not isinstance(value, str) or value not in UNITS:
        raise EvalError(f"needs a unit: {', '.join(UNITS)}")
    return UNITS[value]


def offset(value: Value, local: Callable[[], int]) -> int:
    """Seconds east of UTC: a number of them, `Z`, `local`, `+0800`, `+08:00` or `+08:00:00`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if value == "local":
        return local()
    if not isinstance(value, str):
        raise EvalError(f"needs an offset, not {kind(value)}")
    return 0 if value in ("Z", "z") else _signed_offset(value)


def _signed_offset(text: str) -> int:
    sign, digits = text[:1], text[1:]
    if sign in ("+", "-"):
        shape = "".join("0" if letter in "0123456789" else letter for letter in digits[:9])
        if shape in ("0000", "00:00", "00:00:00") and len(digits) == len(shape):
            parts = [digits[:2], digits[2:]] if shape == "0000" else digits.split(":")
            hour, minute, second = (*map(int, parts), 0)[:3]
            if hour <= 23 and minute <= 59 and second <= 59:
                seconds = hour * 3600 + minute * 60 + second
                return -seconds if sign == "-" else seconds
    raise EvalError(f"{text[:20]!r} is no offset: Z, local, +0800, +08:00, +08:00:00 or seconds")


def fields(moment: int, east: int) -> dict[str, str]:
    """What directives stand for at a moment. Raises EvalError outside the years 1 to 9999."""
    seconds, nanoseconds = divmod(moment, SECOND)
    days, rest = divmod(seconds + east, DAY)
    try:
        day = date.fromordinal(_EPOCH + days)
    except (ValueError, OverflowError):
        raise EvalError("a time outside the years 1 to 9999") from None
    sign, (minutes, odd) = "-" if east < 0 else "+", divmod(abs(east), 60)
    zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return {
        "%Y": f"{day.year:04}",
        "%m": f"{day.month:02}",
        "%d": f"{day.day:02}",
        "%H": f"{rest // 3600:02}",
        "%M": f"{rest // 60 % 60:02}",
        "%S": f"{rest % 60:02}",
        "%3N": f"{nanoseconds // 10**6:03}",
        "%6N": f"{nanoseconds // 10**3:06}",
        "%N": f"{nanoseconds:09}",
        "%z": zone.replace(":", ""),
        "%:z": zone,
        "%::z": f"{zone}:{odd:02}",
    }


def rfc3339(moment: int, east: int, digits: int) -> str:
    """`2023-11-14T22:13:20.250+00:00`, with so many digits after the second."""
    shown = fields(moment, east)
    fraction = f".{shown['%N'][:digits]}" if digits else ""
    day, clock = f"{shown['%Y']}-{shown['%m']}-{shown['%d']}", f"{shown['%H']}:{shown['%M']}:{shown['%S']}"
    return f"{day}T{clock}{fraction}{shown['%:z']}"


def pieces(template: str) -> Iterator[tuple[str, bool]]:
    """A format taken apart: directives (True) and literal texts."""
    at = literal = 0
    while True:
        at = template.find("%", at)
        if at < 0:
            break
        found = next((name for name in _DIRECTIVES if template.startswith(name, at)), None)
        if found is None:
            at += 1
            continue
        if literal < at:
            yield template[literal:at], False
        yield found, True
        at = literal = at + len(found)
    if literal < len(template):
        yield template[literal:], False


def show(template: str, moment: int, east: int) -> str:
    """A moment in a format."""
    shown = fields(moment, east)
    return "".join(shown[part] if directive else part for part, directive in pieces(template))


def read(template: str, text: str, east: int) -> int:
    """The moment that a text in a format means. Every directive takes its width, literals are skipped by their length
    without a look, the rest of the text is ignored; an offset in the text goes before `east`."""
    found = {"%Y": 1970, "%m": 1, "%d": 1, "%H": 0, "%M": 0, "%S": 0}
    nanoseconds = at = 0
    for part, directive in pieces(template):
        width = WIDTHS.get(part, 2) if directive else len(part)
        taken = text[at : at + width]
        at += width
        if not directive:
            continue
        if len(taken) < width:
            raise EvalError(f"the text ends before {part}")
        if part.endswith("z"):
            east = _signed_offset(taken)
        elif part.endswith("N"):
            nanoseconds = max(nanoseconds, _digits(taken) * 10 ** (9 - width))
        else:
            found[part] = _digits(taken)
    return moment_of(list(found.values()), nanoseconds, east)


def moment_of(parts: list[int], nanoseconds: int, east: int) -> int:
    """A moment from year, month, day, hour, minute and second. Raises EvalError when there is no such time."""
    year, month, day, hour, minute, second = parts
    if hour > 23 or minute > 59 or second > 59:
        raise EvalError(f"there is no time {hour:02}:{minute:02}:{second:02}")
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        raise EvalError(f"there is no day {year:04}-{month:02}-{day:02}") from None
    return (days * DAY + hour * 3600 + minute * 60 + second - east) * SECOND + nanoseconds


def read_rfc3339(text: str) -> int:
    """The moment that a text means; it has to have an offset. A blank may stand for the T."""
    marks = (text[4:5], text[7:8], text[10:11], text[13:14], text[16:17])
    if marks[:2] != ("-", "-") or marks[2] not in ("T", "t", " ") or marks[3:] != (":", ":"):
        raise EvalError(f"{text[:40]!r} is no time like 2023-11-14T22:13:20Z")
    spans = ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))
    parts = [_digits(text[begin:end], end - begin) for begin, end in spans]
    at, fraction = 19, ""
    if text[at : at + 1] == ".":
        at += 1
        while at < len(text) and text[at] in "0123456789":
            at += 1
        fraction = text[20:at]
        _digits(fraction[:9])
    zone = text[at:]
    east = 0 if zone in ("Z", "z") else _zone(zone)
    return moment_of(parts, int(fraction[:9].ljust(9, "0")), east)


def _zone(zone: str) -> int:
    if len(zone) != 6 or zone[3] != ":":
        raise EvalError("a time needs an offset: Z, or one like +08:00")
    return _signed_offset(zone)


def _digits(text: str, width: int = 0) -> int:
    if not (text.isascii() and text.isdigit()) or (width and len(text) != width):
        raise EvalError(f"{text[:20]!r} should be digits")
    return int(text)
