"""JSON in rules: reading with bounds, writing every kind of value, and values as text."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.meter import MAX_DEPTH, check_size, meter, spend
from trioemqx.rules.sql.values import UNDEFINED, Text, Value

UNDEFINED_TEXT: Final = "undefined"
_DECODE: Final = msgspec.json.Decoder().decode
_CONTAINERS: Final = (list, dict)
_FAILURES: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""UnicodeDecodeError is a ValueError; RecursionError comes from thousands of brackets."""


def _missing(value: object) -> str:
    """What the encoder does not know is UNDEFINED."""
    if value is UNDEFINED:
        return UNDEFINED_TEXT
    raise EvalError(f"{type(value).__name__} has no JSON form")


_ENCODE: Final = msgspec.json.Encoder(enc_hook=_missing).encode


def decode_bytes(data: Text) -> Value:
    """The value of a JSON text. Of a repeated key the last one counts; integers keep all digits. Raises EvalError for
    anything else, for what follows the value, and for what is nested deeper than MAX_DEPTH."""
    try:
        value: Value = _DECODE(data)
    except _FAILURES as error:
        raise EvalError(f"not JSON: {error}") from None
    if value.__class__ in _CONTAINERS and _openers(data) > MAX_DEPTH:
        _check_depth(value)
    return value


def decode(text: Text) -> Value:
    """`decode_bytes` of a text inside a rule, which counts as work."""
    if len(text) > 256:
        spend(len(text) >> 3)
    return decode_bytes(text)


def decode_or_undefined(text: Text) -> Value:
    """The value of a JSON text, UNDEFINED when it is not one."""
    try:
        return decode(text)
    except EvalError:
        if meter.left < 0:
            raise
        return UNDEFINED


def _openers(data: Text) -> int:
    if isinstance(data, str):
        return data.count("[") + data.count("{")
    return data.count(b"[") + data.count(b"{")


def _check_depth(value: Value) -> None:
    level: list[Value] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Value] = []
        for member in level:
            members = member.values() if isinstance(member, dict) else member
            inner.extend([child for child in members if child.__class__ in _CONTAINERS])  # type: ignore[attr-defined]
        if not inner:
            return
        level = inner
    raise EvalError(f"JSON nested deeper than {MAX_DEPTH} levels")


def weigh(value: Value) -> tuple[int, bool]:
    """About how many bytes a value has, and whether it holds a text that is not UTF-8. A part that occurs twice counts
    twice. Raises EvalError for more elements than `meter.items` and more levels than MAX_DEPTH."""
    size = count = 0
    odd = False
    level: list[Value] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Value] = []
        for member in level:
            if isinstance(member, str):
                size += len(member)
            elif isinstance(member, bytes):
                size += len(member)
                odd = True
            elif isinstance(member, dict):
                size += sum(map(len, member))
                count = _counted(count, len(member))
                inner.extend(member.values())
            elif isinstance(member, list):
                count = _counted(count, len(member))
                inner.extend(member)
            else:
                size += 4
        if not inner:
            spend(count)
            return size + 4 * count, odd
        level = inner
    raise EvalError(f"a value nested deeper than {MAX_DEPTH} levels")


def _counted(count: int, more: int) -> int:
    if count + more > meter.items:
        raise EvalError(f"a value of more than {meter.items} elements")
    return count + more


def encode(value: Value) -> str:
    """Compact JSON: a missing value is the text "undefined", bytes that are no UTF-8 become U+FFFD. Raises EvalError
    for a value that is too big."""
    size, odd = weigh(value)
    check_size(size)
    text = _ENCODE(_repaired(value) if odd else value).decode()
    if len(text) > size:
        check_size(len(text))
    return text


def _repaired(value: Value) -> Value:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_repaired(member) for member in value]
    if isinstance(value, dict):
        return {name: _repaired(member) for name, member in value.items()}
    return value


def render(value: Value) -> Text:
    """A value as text, as `str()` and templates do it: texts as they are, lists and maps as JSON."""
    if isinstance(value, str | bytes):
        return value
    if value is UNDEFINED:
        return UNDEFINED_TEXT
    return float_text(value) if isinstance(value, float) else encode(value)


def float_text(number: float) -> str:
    """The shortest digits that read back, always with a dot and never with an exponent."""
    text = repr(number)
    if "e" not in text:
        return text
    plain = format(Decimal(text), "f")
    return plain if "." in plain else plain + ".0"
