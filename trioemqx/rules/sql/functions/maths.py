"""Arithmetic and mathematics. A result outside the domain of a function is an error, never infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from trioemqx.rules.sql import operators
from trioemqx.rules.sql.compare import equal
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import integer, number
from trioemqx.rules.sql.functions.table import Family, declare
from trioemqx.rules.sql.meter import check_number
from trioemqx.rules.sql.values import Value

MATHS: Final = Family("Numbers")


@MATHS.add("abs(n)")
def abs_(n: Value) -> int:
    """The absolute value of an integer."""
    return abs(integer(n))


@MATHS.add("ceil(x)")
def ceil(x: Value) -> int:
    """The next integer upwards."""
    return math.ceil(number(x))


@MATHS.add("floor(x)")
def floor(x: Value) -> int:
    """The next integer downwards."""
    return math.floor(number(x))


@MATHS.add("round(x)")
def round_(x: Value) -> int:
    """The nearest integer, halves away from zero."""
    exact = number(x)
    whole = math.trunc(exact)
    if abs(exact - whole) < 0.5:
        return whole
    return whole + (1 if exact > 0 else -1)


@MATHS.add("power(x, y)")
def power(x: Value, y: Value) -> float:
    """`x` to the power of `y`, a float."""
    return _result(math.pow, number(x), number(y))


@MATHS.add("fmod(x, y)")
def fmod(x: Value, y: Value) -> float:
    """The remainder of a division of floats, with the sign of `x`."""
    return _result(math.fmod, number(x), number(y))


@MATHS.add("div(a, b)")
def div(a: Value, b: Value) -> int:
    """The quotient of two integers, cut towards zero; also an operator."""
    return operators.quotient(a, b)


@MATHS.add("mod(a, b)")
def mod(a: Value, b: Value) -> int:
    """The remainder of two integers, with the sign of `a`; also an operator."""
    return operators.remainder(a, b)


@MATHS.add("eq(a, b)")
def eq(a: Value, b: Value) -> bool:
    """Whether two values are equal, without the conversions that `=` makes."""
    return equal(a, b)


def _result(function: Callable[..., float], *numbers: int | float) -> float:
    try:
        found = function(*map(float, numbers))
    except (ValueError, OverflowError):
        raise EvalError("there is no such number") from None
    check_number(found)
    return found


def _of_one(function: Callable[[float], float]) -> Callable[[Value], float]:
    def call(x: Value) -> float:
        return _result(function, number(x))

    return call


_WORDS: Final = {
    "sqrt": (math.sqrt, "The square root."),
    "exp": (math.exp, "e to the power of x."),
    "log": (math.log, "The natural logarithm."),
    "log10": (math.log10, "The logarithm to the base 10."),
    "log2": (math.log2, "The logarithm to the base 2."),
    "sin": (math.sin, "The sine of an angle in radians."),
    "cos": (math.cos, "The cosine of an angle in radians."),
    "tan": (math.tan, "The tangent of an angle in radians."),
    "asin": (math.asin, "The arc sine in radians."),
    "acos": (math.acos, "The arc cosine in radians."),
    "atan": (math.atan, "The arc tangent in radians."),
    "sinh": (math.sinh, "The hyperbolic sine."),
    "cosh": (math.cosh, "The hyperbolic cosine."),
    "tanh": (math.tanh, "The hyperbolic tangent."),
    "asinh": (math.asinh, "The inverse hyperbolic sine."),
    "acosh": (math.acosh, "The inverse hyperbolic cosine."),
    "atanh": (math.atanh, "The inverse hyperbolic tangent."),
}
for _name, (_function, _doc) in _WORDS.items():
    MATHS.functions.append(declare(f"{_name}(x)", _of_one(_function), doc=_doc))
