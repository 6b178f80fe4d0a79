"""Functions on dates and times. The clock and the server's zone come from the environment."""

from __future__ import annotations

from typing import Final

from trioemqx.rules.sql.functions import calendar
from trioemqx.rules.sql.functions.arguments import ABSENT, integer, text
from trioemqx.rules.sql.functions.environment import Environment
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.meter import check_size
from trioemqx.rules.sql.values import Value

MAX_FORMAT: Final = 1024
"""Characters of a format."""


def dates(environment: Environment) -> Family:
    """The family of functions that know a clock and a zone."""
    family = Family("Dates and times")
    for each in (_now, _rfc3339, _formats):
        each(family, environment)
    return family


def _template(value: Value) -> str:
    found = text(value)
    check_size(len(found) * 1024 // MAX_FORMAT)
    return found


def _now(family: Family, environment: Environment) -> None:
    @family.add("now_timestamp([unit])")
    def now_timestamp(unit: Value = "second") -> int:
        """The time now, as an integer in a unit: `second` (default), `millisecond`, `microsecond`, `nanosecond`."""
        return environment.now_ns() // calendar.unit(unit)

    @family.add("now_rfc3339([unit])")
    def now_rfc3339(unit: Value = "second") -> str:
        """The time now in the server's zone, as in RFC 3339, with the digits of a unit."""
        return unix_ts_to_rfc3339(environment.now_ns() // calendar.unit(unit), unit)

    @family.add("unix_ts_to_rfc3339(ts[, unit])")
    def unix_ts_to_rfc3339(ts: Value, unit: Value = "second") -> str:
        """A time in the server's zone, as in RFC 3339, with the digits of a unit."""
        moment = integer(ts) * calendar.unit(unit)
        digits = calendar.FRACTIONS[text(unit)]
        return calendar.rfc3339(moment, environment.zone_at(moment), digits)


def _rfc3339(family: Family, environment: Environment) -> None:
    @family.add("rfc3339_to_unix_ts(text[, unit])")
    def rfc3339_to_unix_ts(given: Value, unit: Value = "second") -> int:
        """The time of a text as in RFC 3339, cut to a unit. The text has to have an offset."""
        return calendar.read_rfc3339(text(given)) // calendar.unit(unit)

    @family.add("timezone_to_second(offset)")
    def timezone_to_second(offset: Value) -> int:
        """An offset (`Z`, `local`, `+08:00`) in seconds."""
        return calendar.offset(offset, environment.zone_now)

    @family.add("mongo_date([ts[, unit]])")
    def mongo_date(ts: Value = ABSENT, unit: Value = "millisecond") -> str:
        """A time, now by default, as an ISO 8601 instant with milliseconds."""
        size = calendar.unit(unit)
        moment = environment.now_ns() if ts is ABSENT else integer(ts) * size
        return calendar.rfc3339(moment, 0, 3).replace("+00:00", "Z")


def _formats(family: Family, environment: Environment) -> None:
    @family.add("format_date(unit, offset, format[, ts])")
    def format_date(unit: Value, offset: Value, form: Value, ts: Value = ABSENT) -> str:
        """A time, now by default, in a format: `%Y %m %d %H %M %S`, fractions `%3N %6N %N`, offsets `%z %:z %::z`."""
        size, template = calendar.unit(unit), _template(form)
        moment = (environment.now_ns() // size if ts is ABSENT else integer(ts)) * size
        return calendar.show(template, moment, calendar.offset(offset, lambda: environment.zone_at(moment)))

    @family.add("date_to_unix_ts(unit[, offset], format, text)")
    def date_to_unix_ts(unit: Value, second: Value, third: Value, fourth: Value = ABSENT) -> int:
        """The time that a text in a format means, in a unit. Without an offset in the text or as argument it is UTC."""
        size = calendar.unit(unit)
        offset, form, given = ("Z", second, third) if fourth is ABSENT else (second, third, fourth)
        east = calendar.offset(offset, environment.zone_now)
        return calendar.read(_template(form), text(given), east) // size
