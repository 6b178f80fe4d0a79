"""Functions on the bits of integers and texts."""

from __future__ import annotations

import struct
from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import ABSENT, count, data, integer, word
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.meter import MAX_INTEGER_BITS, check_number
from trioemqx.rules.sql.values import UNDEFINED, Value, text_of

BITS: Final = Family("Bits")
_FLOATS: Final = {16: "e", 32: "f", 64: "d"}


@BITS.add("bitnot(i)")
def bitnot(i: Value) -> int:
    """All bits turned, in two's complement."""
    return ~integer(i)


@BITS.add("bitand(a, b)")
def bitand(a: Value, b: Value) -> int:
    """Bitwise and."""
    return integer(a) & integer(b)


@BITS.add("bitor(a, b)")
def bitor(a: Value, b: Value) -> int:
    """Bitwise or."""
    return integer(a) | integer(b)


@BITS.add("bitxor(a, b)")
def bitxor(a: Value, b: Value) -> int:
    """Bitwise exclusive or."""
    return integer(a) ^ integer(b)


@BITS.add("bitsl(a, n)")
def bitsl(a: Value, n: Value) -> int:
    """Shifted left by n bits; right, if n is negative."""
    return _shifted(integer(a), integer(n))


@BITS.add("bitsr(a, n)")
def bitsr(a: Value, n: Value) -> int:
    """Shifted right by n bits, keeping the sign; left, if n is negative."""
    return _shifted(integer(a), -integer(n))


def _shifted(value: int, left: int) -> int:
    if left <= 0:
        return value >> min(-left, MAX_INTEGER_BITS + 1)
    if value and left > MAX_INTEGER_BITS:
        raise EvalError(f"an integer of more than {MAX_INTEGER_BITS} bits")
    shifted = value << left if value else 0
    check_number(shifted)
    return shifted


@BITS.add("bitsize(b)")
def bitsize(b: Value) -> int:
    """The length of a text in bits."""
    return 8 * len(data(b))


def subbits(b: Value, start: Value, length: Value, form: Value, sign: Value, endian: Value) -> Value:
    """`len` bits of a text from bit `start` on (1 is the first), fewer at its end, null behind it; as an `integer`, a
    `float` of 16, 32 or 64 bits, or the `bits` themselves as a text of whole bytes."""
    whole, first, wanted = data(b), integer(start) - 1, count(length)
    shape = word(form, "integer", "float", "bits")
    signed, little = word(sign, "unsigned", "signed") == "signed", word(endian, "big", "little") == "little"
    left = 8 * len(whole) - first
    if first < 0 or left <= 0:
        return UNDEFINED
    size = min(wanted, left)
    if shape == "integer":
        if size > MAX_INTEGER_BITS:
            raise EvalError(f"an integer of more than {MAX_INTEGER_BITS} bits")
        return _integer(_bits(whole, first, size), size, signed, little)
    if shape == "float":
        return _float(_bits(whole, first, size), size, little)
    if size % 8:
        raise EvalError(f"{size} bits are no whole bytes")
    return text_of(_bits(whole, first, size).to_bytes(size // 8, "big"))


@BITS.add("subbits(b[, start], len[, type, sign, endian])")
def subbits_any(b: Value, second: Value, third: Value = ABSENT, *rest: Value) -> Value:
    """`len` bits of a text from bit `start` on (1 is the first), fewer at its end, null behind it: as an `integer`
    (default), a `float` of 16, 32 or 64 bits, or `bits`, whole bytes as a text. `sign` is `signed` or `unsigned`
    (default), `endian` is `big` (default) or `little`."""
    if rest:
        if len(rest) != 3:
            raise EvalError("takes 2, 3 or 6 arguments")
        return subbits(b, second, third, *rest)
    start, length = (1, second) if third is ABSENT else (second, third)
    return subbits(b, start, length, "integer", "unsigned", "big")


def _bits(whole: bytes, first: int, size: int) -> int:
    """Some bits as a number; only the bytes that hold them are looked at."""
    end = first + size
    part = int.from_bytes(whole[first // 8 : (end + 7) // 8], "big")
    return (part >> -end % 8) & ((1 << size) - 1)


def _integer(value: int, size: int, signed: bool, little: bool) -> int:
    if little:
        tail = size % 8  # the bits after the last whole byte are the highest ones
        low, high = value >> tail, value & ((1 << tail) - 1)
        value = int.from_bytes(low.to_bytes(size // 8, "big"), "little") | high << (size - tail)
    return value - (1 << size) if signed and size and value >> (size - 1) else value


def _float(value: int, size: int, little: bool) -> float:
    letter = _FLOATS.get(size)
    if letter is None:
        raise EvalError(f"a float has 16, 32 or 64 bits, not {size}")
    found: float = struct.unpack(f"{'<' if little else '>'}{letter}", value.to_bytes(size // 8, "big"))[0]
    check_number(found)
    return found
