"""Bounds of one evaluation, so that no rule and no payload can take the broker's time or memory.

Work is counted in units of about 0.1 microseconds: one for eight bytes that a function reads, one per element that a
function or a loop touches. The counter is shared by all rules of the process, which is right because evaluation is
synchronous and never nested: every run starts it anew.
"""

from __future__ import annotations

from typing import Final

from trioemqx.rules.sql.errors import EvalError

MAX_DEPTH: Final = 128
"""Levels of lists and maps inside each other."""
MAX_INTEGER_BITS: Final = 14_000
"""Keeps every integer below the 4300 digits that Python prints."""
MAX_INTEGER: Final = 1 << MAX_INTEGER_BITS


class Meter:
    """`text` is the most bytes a text may have that a rule makes, `items` the most elements of a list that it makes and
    of what it compares, encodes or keeps. `work` is what one run may do, `left` what it still may."""

    __slots__ = ("items", "left", "text", "work")

    def __init__(self, text: int = 1024 * 1024, items: int = 100_000, work: int = 3_000_000) -> None:
        self.text = text
        self.items = items
        self.work = work
        self.left = work


meter: Final = Meter()


def spend(units: int) -> None:
    """Count work. Raises EvalError when a run has done too much."""
    left = meter.left = meter.left - units
    if left < 0:
        raise EvalError(f"too much work for one event: more than {meter.work} units")


def check_size(size: int) -> int:
    """Count and check the bytes of a text that is about to be made. Raises EvalError."""
    if size > meter.text:
        raise EvalError(f"a text of {size} bytes, at most {meter.text} are allowed")
    if size > 256:
        spend(size >> 3)
    return size


def check_items(count: int) -> int:
    """Count and check the elements of a list that is about to be made; what each takes of memory makes it four units.
    Raises EvalError."""
    if count > meter.items:
        raise EvalError(f"a list of {count} elements, at most {meter.items} are allowed")
    spend(4 * count)
    return count


def check_number(number: int | float) -> int | float:
    """What arithmetic gave. Raises EvalError for an integer that is too long and for a float that has overflowed."""
    if number.__class__ is float:
        if number - number != 0.0:
            raise EvalError("the result is outside the range of floats")
    elif not -MAX_INTEGER < number < MAX_INTEGER:
        raise EvalError(f"an integer of more than {MAX_INTEGER_BITS} bits")
    return number
