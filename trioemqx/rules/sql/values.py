"""The kinds of values that rules work with.

integer, float, boolean, list and map are Python's int, float, bool, list and dict (keys are str); JSON null is None.
A text is a byte string: str where it is UTF-8, bytes where it is not, and never bytes that would be UTF-8. What is
missing is UNDEFINED. Values are never changed once they are made: an event's columns are shared by all its rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.meter import MAX_DEPTH, check_number

Value: TypeAlias = object
"""One of the kinds above."""
Text: TypeAlias = str | bytes


class Undefined:
    """The missing value, called null in rules. There is one, UNDEFINED; it prints as `undefined`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "undefined"

    def __reduce__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = Undefined()

_KINDS: Final[dict[type, str]] = {
    int: "an integer",
    float: "a float",
    bool: "a boolean",
    str: "a text",
    bytes: "a text",
    list: "a list",
    dict: "a map",
    type(None): "JSON null",
    Undefined: "null",
}


def kind(value: Value) -> str:
    """What a value is, for error texts: `an integer`."""
    return _KINDS.get(type(value), "something else")


def text_of(data: bytes) -> Text:
    """A text from its bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def bytes_of(text: Text) -> bytes:
    """The bytes of a text."""
    return text.encode() if isinstance(text, str) else text


def name_of(value: Value) -> str | None:
    """`true`, `false` or `null` for booleans and JSON null, which compare with texts by their names; else None."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    return "false" if value is False else None


def number_of(text: Text) -> int | float | None:
    """The number that a text is: digits, or digits with a dot inside and perhaps an exponent after; a sign in front.
    None when it is no number. Raises EvalError for one that is too big."""
    if len(text) > 5000 or not text.isascii():
        return None
    plain = text if isinstance(text, str) else text.decode()
    digits = plain[1:] if plain[:1] in ("+", "-") else plain
    if digits.isdigit():
        return check_number(int(plain)) if len(digits) <= 4300 else None
    before, dot, rest = digits.partition(".")
    after, mark, exponent = rest.replace("E", "e", 1).partition("e")
    if not (dot and before.isdigit() and after.isdigit()):
        return None
    if mark and not (exponent[1:] if exponent[:1] in ("+", "-") else exponent).isdigit():
        return None
    return check_number(float(plain))


def value_from(thing: object, depth: int = 0) -> Value:
    """A value from what Python code gave: also tuples and mappings; None is JSON null. Raises EvalError for anything
    that is no value."""
    if depth > MAX_DEPTH:
        raise EvalError("a value that is nested too deep")
    if isinstance(thing, bytes | bytearray):
        return text_of(bytes(thing))
    if isinstance(thing, bool | str) or thing is None or thing is UNDEFINED:
        return str(thing) if isinstance(thing, str) else thing
    if isinstance(thing, int | float):
        return check_number(int(thing) if isinstance(thing, int) else float(thing))
    if isinstance(thing, list | tuple):
        return [value_from(member, depth + 1) for member in thing]
    if isinstance(thing, Mapping):
        return {str(name): value_from(member, depth + 1) for name, member in thing.items()}
    raise EvalError(f"a rule cannot work with {type(thing).__name__}")
