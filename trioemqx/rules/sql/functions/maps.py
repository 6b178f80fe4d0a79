"""Functions on maps. `map_get` and `map_put` take keys with dots as paths, `mget` and `mput` as they are."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import members, text
from trioemqx.rules.sql.functions.convert import map_
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.meter import MAX_DEPTH, check_items
from trioemqx.rules.sql.paths import get_key, put
from trioemqx.rules.sql.values import UNDEFINED, Value

MAPS: Final = Family("Maps")


@MAPS.add("map_new()")
def map_new() -> Value:
    """An empty map."""
    return {}


@MAPS.add("map_get(key, map[, default])")
def map_get(key: Value, given: Value, default: Value = UNDEFINED) -> Value:
    """The value at a path with dots; a JSON text is read first. `default` (null) when there is none."""
    found = given
    for name in _path(key):
        found = get_key(found, name)
        if found is UNDEFINED:
            return default
    return found


@MAPS.add("map_put(key, value, map)")
def map_put(key: Value, value: Value, given: Value) -> Value:
    """A map with a value at a path with dots. What is no map on the way, or at the start, is replaced by one."""
    return put(given if isinstance(given, dict) else {}, _path(key), value)


@MAPS.add("mget(key, map[, default])")
def mget(key: Value, given: Value, default: Value = UNDEFINED) -> Any:
    """The value of a key; dots are part of it. `default` (null) when there is none."""
    return members(given).get(text(key), default)


@MAPS.add("mput(key, value, map)")
def mput(key: Value, value: Value, given: Value) -> Value:
    """A map with a value under a key; dots are part of it."""
    return {**members(given), text(key): value}


@MAPS.add("map_keys(map)")
def map_keys(given: Value) -> list[Value]:
    """The keys of a map, or of a JSON text that is one, in order."""
    return [key for key, _ in _entries(given)]


@MAPS.add("map_values(map)")
def map_values(given: Value) -> list[Value]:
    """The values of a map, or of a JSON text that is one, in the order of their keys."""
    return [value for _, value in _entries(given)]


@MAPS.add("map_to_entries(given)")
def map_to_entries(given: Value) -> list[Value]:
    """A list of `{"key": …, "value": …}`, in the order of the keys."""
    return [{"key": key, "value": value} for key, value in _entries(given)]


def _path(key: Value) -> tuple[str, ...]:
    names = tuple(text(key).split(".", MAX_DEPTH))
    if len(names) > MAX_DEPTH:
        raise EvalError(f"a path of more than {MAX_DEPTH} keys")
    return names


def _entries(given: Value) -> list[tuple[str, Any]]:
    found: Any = map_(given)
    check_items(len(found))
    return sorted(found.items(), key=lambda entry: entry[0])
