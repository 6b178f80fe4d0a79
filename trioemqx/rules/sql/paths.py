"""Reading and writing inside values along a path: keys, indexes, slices."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.jsontext import decode, decode_or_undefined
from trioemqx.rules.sql.meter import check_items, spend
from trioemqx.rules.sql.values import UNDEFINED, Value, kind


class End:
    """A place outside a list where a target puts an element: in front of it, behind it, or nowhere."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


HEAD: Final = End("head")
TAIL: Final = End("tail")
NOWHERE: Final = End("nowhere")
Place: TypeAlias = str | int | End
"""A step of a target: the key of a map, or where in a list."""


def get_key(value: Any, key: str) -> Value:
    """A member of a map; a text is read as JSON first. UNDEFINED when there is none."""
    if value.__class__ is dict:
        return value.get(key, UNDEFINED)
    if value.__class__ is str or value.__class__ is bytes:
        inner = decode_or_undefined(value)
        if isinstance(inner, dict):
            return inner.get(key, UNDEFINED)
    return UNDEFINED


def get_index(value: Any, index: Value) -> Value:
    """An element of a list, counted from 1, or from the end with a negative index; a text is read as JSON first.
    UNDEFINED when there is none, or when the index is no integer."""
    if value.__class__ is str or value.__class__ is bytes:
        value = decode_or_undefined(value)
    if value.__class__ is not list or not isinstance(index, int) or index.__class__ is bool or index == 0:
        return UNDEFINED
    place = index - 1 if index > 0 else index + len(value)
    return value[place] if 0 <= place < len(value) else UNDEFINED


def get_slice(value: Any, begin: int, end: int) -> list[Value]:
    """Elements `begin` to `end` of a list, both included, negative ones counted from its end. `end` may lie behind it.
    Raises EvalError for anything but a list, for a bound 0 and for a reversed range."""
    if value.__class__ is not list:
        raise EvalError(f"a range selects from a list, not from {kind(value)}")
    first, last = (bound if bound > 0 else bound + len(value) + 1 for bound in (begin, end))
    if begin == 0 or end == 0 or first < 1 or last < first - 1:
        raise EvalError(f"[{begin}..{end}] is no range in a list of {len(value)} elements")
    found: list[Value] = value[first - 1 : last]
    spend(len(found))
    return found


def make_range(begin: int, end: int) -> list[Value]:
    """The integers from `begin` to `end`, both included. Raises EvalError for a reversed or a long range."""
    if end < begin - 1:
        raise EvalError(f"[{begin}..{end}] is a reversed range")
    check_items(end - begin + 1)
    return list(range(begin, end + 1))


def place_of(index: Value) -> Place:
    """Where a target with a computed index puts its element: nothing is changed unless it is an integer."""
    if not isinstance(index, int) or index.__class__ is bool:
        return NOWHERE
    return HEAD if index == 0 else index


def put(value: Any, places: tuple[Place, ...], new: Value) -> Value:
    """`value` with `new` at a path; missing maps are made, what is no map on the way is replaced by one."""
    if not places:
        return new
    place, rest = places[0], places[1:]
    if isinstance(place, str):
        changed = dict(value) if value.__class__ is dict else {}
        if len(changed) > 256:
            spend(len(changed) >> 2)
        changed[place] = put(get_key(value, place), rest, new) if rest else new
        return changed
    return _put_in_list(value, place, rest, new)


def _put_in_list(value: Any, place: int | End, rest: tuple[Place, ...], new: Value) -> Value:
    if rest:
        new = put(get_index(value, place) if isinstance(place, int) else UNDEFINED, rest, new)
    if value.__class__ is not list:
        return [new]
    if len(value) > 256:
        spend(len(value) >> 2)
    if isinstance(place, int):
        at = place - 1 if place > 0 else place + len(value)
        return [*value[:at], new, *value[at + 1 :]] if 0 <= at < len(value) else value
    if place is NOWHERE:
        return value
    check_items(len(value) + 1)
    return [new, *value] if place is HEAD else [*value, new]


def decode_payload(payload: Value) -> Value:
    """What a path below `payload` starts from. Raises EvalError when it is a text that is not JSON."""
    return decode(payload) if isinstance(payload, str | bytes) else payload
