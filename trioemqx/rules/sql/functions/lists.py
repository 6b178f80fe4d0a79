"""Functions on lists. Places are counted from 1."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.rules.sql.compare import member
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import ABSENT, count, data, integer, items
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.jsontext import encode, render
from trioemqx.rules.sql.meter import check_size, spend
from trioemqx.rules.sql.values import Text, Value, bytes_of, text_of

LISTS: Final = Family("Lists")


@LISTS.add("nth(n, list)")
def nth(n: Value, given: Value) -> Any:
    """The n-th element."""
    place, members = integer(n), items(given)
    if not 1 <= place <= len(members):
        raise EvalError(f"there is no such element in a list of {len(members)}")
    return members[place - 1]


@LISTS.add("length(list)")
def length(given: Value) -> int:
    """How many elements; of a list only."""
    return len(items(given))


@LISTS.add("sublist([start, ]len, list)")
def sublist(first: Value, second: Value, third: Value = ABSENT) -> Value:
    """The first `len` elements, or those from `start` on; fewer where the list is short."""
    start, length, value = (1, first, second) if third is ABSENT else (integer(first), second, third)
    members = items(value)
    if start < 1:
        raise EvalError("lists begin at 1")
    found = members[start - 1 : start - 1 + count(length)]
    spend(len(found))
    return found


@LISTS.add("first(list)")
def first(given: Value) -> Any:
    """The first element."""
    return nth(1, given)


@LISTS.add("last(list)")
def last(given: Value) -> Any:
    """The last element."""
    members = items(given)
    return nth(len(members), members)


@LISTS.add("contains(x, list)")
def contains(x: Value, given: Value) -> bool:
    """Whether a list has an element of the same kind and value."""
    return member(x, items(given))


@LISTS.add("join_to_string([sep, ]list)")
def join_to_string(first: Value, second: Value = ABSENT) -> Text:
    """The elements as str() shows them, with `sep` (", ") between."""
    separator, members = (b", ", items(first)) if second is ABSENT else (data(first), items(second))
    return _joined([bytes_of(render(value)) for value in members], separator)


@LISTS.add("join_to_sql_values_string(list)")
def join_to_sql_values_string(given: Value) -> Text:
    """The elements as values of an SQL statement: numbers bare, everything else in single quotes, with ", " between."""
    return _joined([sql_literal(value) for value in items(given)], b", ")


def _joined(parts: list[bytes], separator: bytes) -> Text:
    check_size(sum(map(len, parts)) + len(separator) * len(parts))
    return text_of(separator.join(parts))


def sql_literal(value: Value) -> bytes:
    """A value inside the text of an SQL statement; quotes and backslashes get a backslash in front."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bytes_of(render(value))
    shown = bytes_of(encode(value) if isinstance(value, list | dict) else render(value))
    return b"'" + shown.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
