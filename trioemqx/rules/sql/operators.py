"""Arithmetic of SQL. Every function raises EvalError for operands of the wrong kind and for results out of bounds."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.meter import check_number, check_size
from trioemqx.rules.sql.values import Text, Value, bytes_of, kind, text_of

_NUMBERS: Final[frozenset[object]] = frozenset({int, float})
_TEXTS: Final[frozenset[object]] = frozenset({str, bytes})


def add(left: Any, right: Any) -> Value:
    """The sum of two numbers, or two texts joined."""
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return check_number(left + right)
    if left.__class__ in _TEXTS and right.__class__ in _TEXTS:
        return join(left, right)
    raise EvalError(f"cannot add {kind(left)} and {kind(right)}; str() and int() convert")


def join(left: Text, right: Text) -> Text:
    """Two texts, one after the other."""
    check_size(len(left) + len(right))
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return text_of(bytes_of(left) + bytes_of(right))


def subtract(left: Any, right: Any) -> Value:
    """`-` of two numbers."""
    _need_numbers("-", left, right)
    return check_number(left - right)


def multiply(left: Any, right: Any) -> Value:
    """`*` of two numbers."""
    _need_numbers("*", left, right)
    return check_number(left * right)


def divide(left: Any, right: Any) -> Value:
    """`/` of two numbers, always a float."""
    _need_numbers("/", left, right)
    if right == 0:
        raise EvalError("division by zero")
    return check_number(left / right)


def quotient(left: Any, right: Any) -> int:
    """`div` of two integers, cut towards zero."""
    _need_integers("div", left, right)
    found: int = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


def remainder(left: Any, right: Any) -> int:
    """`mod` of two integers, with the sign of the left one."""
    _need_integers("mod", left, right)
    found: int = abs(left) % abs(right)
    return -found if left < 0 else found


def negative(operand: Any) -> Value:
    """Unary `-` of a number."""
    if operand.__class__ not in _NUMBERS:
        raise EvalError(f"- needs a number, not {kind(operand)}")
    return -operand


def _need_numbers(sign: str, left: Any, right: Any) -> None:
    if left.__class__ not in _NUMBERS or right.__class__ not in _NUMBERS:
        raise EvalError(f"{sign} needs two numbers, not {kind(left)} and {kind(right)}")


def _need_integers(word: str, left: Any, right: Any) -> None:
    if left.__class__ is not int or right.__class__ is not int:
        raise EvalError(f"{word} needs two integers, not {kind(left)} and {kind(right)}")
    if right == 0:
        raise EvalError("division by zero")
