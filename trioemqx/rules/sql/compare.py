"""Comparing: the operators of SQL with their conversions, equality with and without kinds, the order of all values."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.core.topics import matches
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.jsontext import weigh
from trioemqx.rules.sql.values import UNDEFINED, Value, bytes_of, kind, name_of, number_of

_NUMBERS: Final[frozenset[object]] = frozenset({int, float})
_TEXTS: Final[frozenset[object]] = frozenset({str, bytes})
_NAMED: Final[frozenset[object]] = frozenset({bool, type(None)})
_CONTAINERS: Final[frozenset[object]] = frozenset({list, dict})
_SIMPLE: Final[frozenset[object]] = frozenset({int, float, str, bytes, bool, type(None), type(UNDEFINED)})
"""Kinds that Python compares as rules do, as long as both sides are of the same one."""
_ORDERED: Final[frozenset[object]] = frozenset({int, float, str, bytes})
_RANKS: Final[dict[type, int]] = {int: 0, float: 0, dict: 2, list: 3, str: 4, bytes: 4}
"""Booleans, JSON null and a null inside a list are ordered by name and stand between numbers and maps."""
_NAME_RANK: Final = 1


def eq(left: Value, right: Value) -> bool:
    """`=`."""
    if left.__class__ is right.__class__ and left.__class__ in _SIMPLE:
        return left == right
    if left is UNDEFINED or right is UNDEFINED:
        return False
    return equal(*_converted(left, right))


def ne(left: Value, right: Value) -> bool:
    """`!=` and `<>`."""
    return not eq(left, right)


def lt(left: Value, right: Value) -> bool:
    """`<`; false when a side is null."""
    if left is UNDEFINED or right is UNDEFINED:
        return False
    return order(*_converted(left, right)) < 0


def gt(left: Value, right: Value) -> bool:
    """`>`; false when a side is null."""
    return lt(right, left)


def le(left: Value, right: Value) -> bool:
    """`<=`; when a side is null, true only if both are."""
    if left is UNDEFINED or right is UNDEFINED:
        return left is right
    return order(*_converted(left, right)) <= 0


def ge(left: Value, right: Value) -> bool:
    """`>=`; when a side is null, true only if both are."""
    return le(right, left)


def topic_match(topic: Value, filter: Value) -> bool:
    """`=~`: whether a topic name matches a filter. Raises EvalError unless both are texts, or one is null."""
    if topic is UNDEFINED or filter is UNDEFINED:
        return topic is filter
    if not isinstance(topic, str | bytes) or not isinstance(filter, str | bytes):
        raise EvalError(f"=~ compares a topic with a filter, not {kind(topic)} with {kind(filter)}")
    name, wanted = (bytes_of(text).decode("utf-8", "surrogateescape") for text in (topic, filter))
    if "#" in wanted[:-1]:
        return name == wanted  # `#` is a wildcard only at the end
    return matches(wanted, name)


def unknown_comparison(left: Value, right: Value) -> bool:
    """`~=`, which can be written and never evaluated."""
    raise EvalError("there is no comparison ~=, write =~")


def _converted(left: Value, right: Value) -> tuple[Value, Value]:
    """Both sides after the conversions between numbers and texts, and between booleans and texts."""
    if left.__class__ in _TEXTS:
        return _for(right, left), right
    if right.__class__ in _TEXTS:
        return left, _for(left, right)
    return left, right


def _for(other: Value, text: Any) -> Value:
    """A text as it is compared with the other side. A boolean is replaced by its name in `order` and `equal`."""
    if other.__class__ in _NUMBERS:
        number = number_of(text)
        if number is None:
            raise EvalError(f"{text[:100]!r} is no number, but is compared with one")
        return number
    return _Name(text) if other.__class__ in _NAMED else text


class _Name:
    """A text that stands for a name because the other side is a boolean or JSON null."""

    __slots__ = ("text",)

    def __init__(self, text: Any) -> None:
        self.text = text


def equal(left: Value, right: Value) -> bool:
    """Equality by value without conversions: 1 equals 1.0, also inside lists and maps."""
    if left.__class__ in _CONTAINERS and left.__class__ is right.__class__:
        weigh(left)
    return _equal(left, right)


def _equal(left: Any, right: Any) -> bool:
    if left.__class__ is right.__class__:
        if left.__class__ is list:
            return len(left) == len(right) and all(map(_equal, left, right))
        if left.__class__ is dict:
            return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
        return bool(left == right)
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return bool(left == right)
    if left.__class__ is _Name:
        return bool(left.text == name_of(right))
    if right.__class__ is _Name:
        return bool(right.text == name_of(left))
    return False


def same(left: Value, right: Value) -> bool:
    """Equality of kind and value: 1 is not 1.0. `IN`, the switch form of CASE and `contains` use it."""
    if left.__class__ is not right.__class__:
        return False
    if left.__class__ in _CONTAINERS:
        weigh(left)
    return _same(left, right)


def _same(left: Any, right: Any) -> bool:
    if left.__class__ is not right.__class__:
        return False
    if left.__class__ is list:
        return len(left) == len(right) and all(map(_same, left, right))
    if left.__class__ is dict:
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    return bool(left == right)


def member(value: Value, among: tuple[Value, ...] | list[Value]) -> bool:
    """`IN`: whether one of the values is the same."""
    kind_of_value = value.__class__
    if kind_of_value in _CONTAINERS:
        return any(same(value, other) for other in among)
    return any(other.__class__ is kind_of_value and other == value for other in among)


def order(left: Any, right: Any) -> int:
    """Negative, zero or positive, as left comes before, with or after right among all values."""
    if left.__class__ is right.__class__ and left.__class__ in _ORDERED:
        return -1 if left < right else int(left > right)
    if left.__class__ in _CONTAINERS and right.__class__ in _CONTAINERS:
        weigh(left)
        weigh(right)
    return _order(left, right)


def _order(left: Any, right: Any) -> int:
    if left.__class__ is _Name or right.__class__ is _Name:
        return _by(_name_text(left), _name_text(right))
    rank, other = _RANKS.get(left.__class__, _NAME_RANK), _RANKS.get(right.__class__, _NAME_RANK)
    if rank != other:
        return rank - other
    if rank == _NAME_RANK:
        return _by(_name_text(left), _name_text(right))
    if left.__class__ is list:
        return _order_of_lists(left, right)
    if left.__class__ is dict:
        return _order_of_maps(left, right)
    return _by(left, right) if left.__class__ is right.__class__ or rank == 0 else _by(bytes_of(left), bytes_of(right))


def _name_text(value: Any) -> bytes:
    return bytes_of(value.text) if value.__class__ is _Name else bytes_of(name_of(value) or repr(value))


def _by(left: Any, right: Any) -> int:
    return -1 if left < right else int(left > right)


def _order_of_lists(left: list[Any], right: list[Any]) -> int:
    for mine, other in zip(left, right, strict=False):
        found = _order(mine, other)
        if found:
            return found
    return len(left) - len(right)


def _order_of_maps(left: dict[str, Any], right: dict[str, Any]) -> int:
    if len(left) != len(right):
        return len(left) - len(right)
    mine, other = sorted(left), sorted(right)
    if mine != other:
        return _by(mine, other)
    return _order_of_lists([left[key] for key in mine], [right[key] for key in mine])
