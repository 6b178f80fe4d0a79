"""Functions that read the columns of the event, as aliases may have changed them."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.rules.sql.compare import topic_match
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import ABSENT, integer, items, text
from trioemqx.rules.sql.functions.maps import map_get
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.values import UNDEFINED, Value

EVENTS: Final = Family("The event")


@EVENTS.add("msgid()", ("id",))
def msgid(column: Value) -> Value:
    """The column `id`."""
    return column


@EVENTS.add("qos()", ("qos",))
def qos(column: Value) -> Value:
    """The column `qos`."""
    return column


@EVENTS.add("clientid()", ("clientid",))
def clientid(column: Value) -> Value:
    """The column `clientid`."""
    return column


@EVENTS.add("username()", ("username",))
def username(column: Value) -> Value:
    """The column `username`."""
    return column


@EVENTS.add("peerhost()", ("peerhost",))
def peerhost(column: Value) -> Value:
    """The column `peerhost`."""
    return column


@EVENTS.add("clientip()", ("peerhost",))
def clientip(column: Value) -> Value:
    """The column `peerhost`."""
    return column


@EVENTS.add("topic([n])", ("topic",))
def topic(column: Value, n: Value = ABSENT) -> Value:
    """The column `topic`, or its n-th level, counted from 1."""
    if n is ABSENT or column is UNDEFINED:
        return column
    levels, place = text(column).split("/"), integer(n)
    if not 1 <= place <= len(levels):
        raise EvalError(f"there is no such level in a topic of {len(levels)}")
    return levels[place - 1]


@EVENTS.add("flags()", ("flags",))
def flags(column: Value) -> Value:
    """The column `flags`, an empty map where there is none."""
    return {} if column is UNDEFINED else column


@EVENTS.add("flag(name)", ("flags",))
def flag(column: Value, name: Value) -> Any:
    """One of the flags: `retain`, `dup`."""
    return column.get(text(name), UNDEFINED) if isinstance(column, dict) else UNDEFINED


@EVENTS.add("payload([path])", ("payload",))
def payload(column: Value, path: Value = ABSENT) -> Value:
    """The column `payload`, or what stands at a path with dots in it when it has been decoded already."""
    if path is ABSENT:
        return column
    return map_get(path, column) if isinstance(column, dict) else UNDEFINED


@EVENTS.add("contains_topic(list, topic[, qos])")
def contains_topic(given: Value, name: Value, level: Value = ABSENT) -> bool:
    """Whether a list of `{"topic": …, "qos": …}` has a topic, and with that QoS."""
    return any(entry["topic"] == name and (level is ABSENT or entry.get("qos") == level) for entry in _topics(given))


@EVENTS.add("contains_topic_match(list, topic[, qos])")
def contains_topic_match(given: Value, name: Value, level: Value = ABSENT) -> bool:
    """Whether one of the filters in a list of `{"topic": …, "qos": …}` matches a topic, and has that QoS."""
    text(name)
    return any(
        topic_match(name, entry["topic"]) and (level is ABSENT or entry.get("qos") == level) for entry in _topics(given)
    )


def _topics(given: Value) -> list[dict[str, Any]]:
    if given is UNDEFINED:
        return []
    return [entry for entry in items(given) if isinstance(entry, dict) and isinstance(entry.get("topic"), str)]


@EVENTS.add("null()")
def null() -> Value:
    """The missing value."""
    return UNDEFINED
