"""Checks of what functions are called with. All raise EvalError for the wrong kind."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.meter import spend
from trioemqx.rules.sql.values import Value, bytes_of, kind

ABSENT: Final = object()
"""The default of an argument that may be left out."""


def text(value: Value) -> str:
    """A text of characters."""
    if isinstance(value, str):
        if len(value) > 256:
            spend(len(value) >> 3)
        return value
    if isinstance(value, bytes):
        raise EvalError("a text that is not UTF-8 has no characters")
    raise EvalError(f"needs a text, not {kind(value)}")


def data(value: Value) -> bytes:
    """The bytes of any text."""
    if not isinstance(value, str | bytes):
        raise EvalError(f"needs a text, not {kind(value)}")
    if len(value) > 256:
        spend(len(value) >> 3)
    return bytes_of(value)


def integer(value: Value) -> int:
    """An integer; true and false are none."""
    if value.__class__ is not int:
        raise EvalError(f"needs an integer, not {kind(value)}")
    return value


def count(value: Value) -> int:
    """An integer from 0 on."""
    number = integer(value)
    if number < 0:
        raise EvalError(f"needs a number from 0 on, not {number if number > -(10**9) else 'a very small one'}")
    return number


def number(value: Value) -> int | float:
    """An integer or a float."""
    if value.__class__ is not int and value.__class__ is not float:
        raise EvalError(f"needs a number, not {kind(value)}")
    return value


def items(value: Value) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise EvalError(f"needs a list, not {kind(value)}")
    if len(value) > 256:
        spend(len(value) >> 2)
    return value


def members(value: Value) -> dict[str, Any]:
    """A map."""
    if not isinstance(value, dict):
        raise EvalError(f"needs a map, not {kind(value)}")
    if len(value) > 256:
        spend(len(value) >> 2)
    return value


def word(value: Value, *allowed: str) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        found = repr(value[:50]) if isinstance(value, str) else kind(value)
        raise EvalError(f"needs one of {', '.join(allowed)}, not {found}")
    return value
