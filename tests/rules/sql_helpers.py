"""Running SQL in tests: a clock that stands still, UTC, and the marks of the case file."""

from __future__ import annotations

import math
import random
from typing import Any

from trioemqx.core.topics import matches
from trioemqx.rules.sql import UNDEFINED, Columns, Environment, Functions, Rule, compile_rule, standard_functions
from trioemqx.rules.sql.values import text_of

NOW_NS = 1_700_000_000_123_456_789
"""2023-11-14T22:13:20.123456789Z"""


def environment() -> Environment:
    """The same for every test: nothing depends on when and where it runs."""
    return Environment(now_ns=lambda: NOW_NS, random=random.Random(4), zone_at=lambda moment: 0)


FUNCTIONS: Functions = standard_functions(environment())


def rule(sql: str) -> Rule:
    """A rule with the usual functions."""
    return compile_rule(sql, FUNCTIONS, {"rule_id": "rule:1"})


def run(sql: str, payload: Any = "{}", **columns: Any) -> Any:
    """What a rule gives for a message."""
    return rule(sql).run(Columns({"payload": payload, **columns}))


def one(expression: str, payload: Any = "{}", **columns: Any) -> Any:
    """The value of an expression."""
    return run(f'SELECT {expression} AS r FROM "t"', payload, **columns)["r"]


def marked(value: Any) -> Any:
    """A value of the case file: `$undefined` and `$hex` are what JSON cannot say."""
    if isinstance(value, dict):
        if value == {"$undefined": True}:
            return UNDEFINED
        if value.keys() == {"$hex"}:
            return text_of(bytes.fromhex(value["$hex"]))
        return {key: marked(member) for key, member in value.items()}
    return [marked(member) for member in value] if isinstance(value, list) else value


def alike(left: Any, right: Any) -> bool:
    """Same kinds and values; floats may differ in the last digits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(alike, left, right))
    return math.isclose(left, right, rel_tol=1e-9) if isinstance(left, float) else left == right


def selects(found: Rule, columns: dict[str, Any]) -> bool:
    """Whether FROM takes an event: topics have to match unless it names an event."""
    if any(topic.startswith("$events/") for topic in found.topics):
        return True
    return any(matches(topic, columns.get("topic", "")) for topic in found.topics)
