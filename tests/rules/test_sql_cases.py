"""Statements with events and what they give, one by one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sql_helpers import FUNCTIONS, alike, marked, rule, selects

from trioemqx.rules.sql import Columns, EvalError, SqlError

HERE = Path(__file__).parent
CASES = json.loads((HERE / "rule_sql_cases.json").read_text("utf-8"))
EDGES = json.loads((HERE / "sql_edge_cases.json").read_text("utf-8"))
"""What the description of the language says at its edges: every function with odd arguments, and what is no SQL."""


def outcome(sql: str, columns: dict[str, Any]) -> dict[str, Any]:
    """What a statement gives for an event, in the words of the case file."""
    try:
        found = rule(sql)
    except SqlError:
        return {"error": "parse"}
    if not selects(found, columns):
        return {"no_match": True}
    try:
        output = found.run(Columns(columns))
    except EvalError:
        return {"error": "runtime"}
    if output is None:
        return {"no_match": True}
    if found.is_foreach:
        return {"results": [without_metadata(result) for result in output]}
    return {"result": without_metadata(output)}


def without_metadata(output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name != "metadata"}


def test_there_are_many_cases() -> None:
    assert len(CASES) > 400
    assert len({case["id"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    found = outcome(case["sql"], marked(case["event"]))
    assert alike(found, marked(case["expect"])), (case["about"], found)


def test_edges() -> None:
    """All of them in one go, since there are many; each that is wrong is told."""
    assert len(EDGES) > 900
    found = [(edge, outcome(edge["sql"], marked(edge["event"]))) for edge in EDGES]
    wrong = [(edge["sql"], edge["event"], got) for edge, got in found if not alike(got, marked(edge["expect"]))]
    assert wrong == []


def test_every_function_is_at_an_edge() -> None:
    text = " ".join(edge["sql"] for edge in EDGES)
    missing = [function.name for function in FUNCTIONS if not re.search(rf"\b{function.name}\(", text)]
    assert missing == []


def test_floats_and_integers_are_told_apart() -> None:
    assert not alike({"r": 2}, {"r": 2.0})
    assert not alike({"r": True}, {"r": 1})
    assert alike({"r": [0.1 + 0.2]}, {"r": [0.3]})
