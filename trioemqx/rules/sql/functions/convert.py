"""Conversions between kinds, and tests for them."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import count, data, text
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.jsontext import decode, render
from trioemqx.rules.sql.meter import check_number, check_size
from trioemqx.rules.sql.values import UNDEFINED, Text, Value, kind, number_of, text_of

CONVERT: Final = Family("Conversion")
KINDS: Final = Family("Kinds of values")
_EXACT: Final = Context(prec=1500)
"""Takes every float with all of its digits."""


@CONVERT.add("str(x)")
def str_(x: Value) -> Text:
    """As text: numbers without exponent, true, false, null and undefined by name, lists and maps as JSON."""
    return render(x)


@CONVERT.add("str_utf8(x)")
def str_utf8(x: Value) -> Text:
    """Like str."""
    return render(x)


@CONVERT.add("bool(x)")
def bool_(x: Value) -> bool:
    """true for true, 'true' and 1, false for false, 'false' and 0."""
    if isinstance(x, bool):
        return x
    if x in ("true", 1):
        return True
    if x in ("false", 0):
        return False
    raise EvalError(f"cannot make a boolean of {kind(x)} that is not 'true', 'false', 1 or 0")


@CONVERT.add("int(x)")
def int_(x: Value) -> int:
    """An integer: floats, and texts with a dot, are rounded downwards; true is 1."""
    if isinstance(x, int):
        return int(x)
    return math.floor(_number("an integer", x))


@CONVERT.add("float(x)")
def float_(x: Value) -> float:
    """A float, of a number or a text that is one."""
    found = float(_number("a float", x))
    check_number(found)
    return found


def _number(wanted: str, x: Value) -> int | float:
    if isinstance(x, int | float) and not isinstance(x, bool):
        return x
    found = number_of(x) if isinstance(x, str | bytes) else None
    if found is None:
        raise EvalError(f"cannot make {wanted} of {kind(x)} that is no number")
    return found


@CONVERT.add("float2str(f, digits)")
def float2str(f: Value, digits: Value) -> str:
    """A float with at most so many digits after the dot; halves are rounded away from zero."""
    if not isinstance(f, float):
        raise EvalError(f"needs a float, not {kind(f)}")
    places = count(digits)
    if places > 253:
        raise EvalError("at most 253 digits")
    rounded = format(Decimal(f).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT), "f")
    if not places:
        return rounded
    shortened = rounded.rstrip("0")
    return shortened + "0" if shortened.endswith(".") else shortened


@CONVERT.add("map(x)")
def map_(x: Value) -> Value:
    """A map, of a JSON text that is one."""
    found = decode(x) if isinstance(x, str | bytes) else x
    if not isinstance(found, dict):
        raise EvalError(f"cannot make a map of {kind(found)}")
    return found


@CONVERT.add("bin2hexstr(b)")
def bin2hexstr(b: Value) -> str:
    """The bytes of a text in upper-case hexadecimal digits."""
    whole = data(b)
    check_size(2 * len(whole))
    return whole.hex().upper()


@CONVERT.add("hexstr2bin(t)")
def hexstr2bin(t: Value) -> Text:
    """The bytes that hexadecimal digits stand for; a missing first digit is 0."""
    digits = text(t)
    if not digits.isascii() or (digits and not digits.isalnum()):
        raise EvalError("needs hexadecimal digits")
    try:
        return text_of(bytes.fromhex("0" * (len(digits) % 2) + digits))
    except ValueError:
        raise EvalError("needs hexadecimal digits") from None


@KINDS.add("is_null(x)")
def is_null(x: Value) -> bool:
    """Whether a value is missing; JSON null is not."""
    return x is UNDEFINED


@KINDS.add("is_not_null(x)")
def is_not_null(x: Value) -> bool:
    """Whether a value is there; JSON null is."""
    return x is not UNDEFINED


@KINDS.add("is_null_var(x)")
def is_null_var(x: Value) -> bool:
    """Whether a value is missing or JSON null."""
    return x is UNDEFINED or x is None


@KINDS.add("is_not_null_var(x)")
def is_not_null_var(x: Value) -> bool:
    """Whether a value is there and not JSON null."""
    return not is_null_var(x)


@KINDS.add("is_str(x)")
def is_str(x: Value) -> bool:
    """Whether it is a text, of characters or of bytes."""
    return isinstance(x, str | bytes)


@KINDS.add("is_bool(x)")
def is_bool(x: Value) -> bool:
    """Whether it is true or false."""
    return isinstance(x, bool)


@KINDS.add("is_int(x)")
def is_int(x: Value) -> bool:
    """Whether it is an integer; 2.0 is none."""
    return x.__class__ is int


@KINDS.add("is_float(x)")
def is_float(x: Value) -> bool:
    """Whether it is a float; 2 is none."""
    return isinstance(x, float)


@KINDS.add("is_num(x)")
def is_num(x: Value) -> bool:
    """Whether it is an integer or a float."""
    return x.__class__ is int or isinstance(x, float)


@KINDS.add("is_map(x)")
def is_map(x: Value) -> bool:
    """Whether it is a map."""
    return isinstance(x, dict)


@KINDS.add("is_array(x)")
def is_array(x: Value) -> bool:
    """Whether it is a list."""
    return isinstance(x, list)
