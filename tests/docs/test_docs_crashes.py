"""docs/architecture.md, who catches what: every row has a test, and the tests and guards it names exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TABLE = PAGE.partition("### Who catches what")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if re.match(r"\| (?!what crashes)\w", line)]


@cache
def functions_of(file: str) -> frozenset[str]:
    """The tests in a file, those in classes too."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def defined() -> frozenset[str]:
    """Every class and function of the package, methods as `Class.method`."""
    found: set[str] = set()
    for path in (ROOT / "trioemqx").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                methods = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
                found.update(f"{node.name}.{each.name}" for each in methods)
    return frozenset(found)


def test_the_table_is_there() -> None:
    assert len(ROWS) >= 20
    assert all(len(row) == 5 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_names_tests_that_exist(row: list[str]) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[4])
    assert named
    for file, name in named:
        assert name in functions_of(file), f"{file}::{name}"
    assert re.sub(r"`[^`]+`", "", row[4]).strip() == "", "nothing but tests"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_catches_it_exists(row: list[str]) -> None:
    for name in re.findall(r"`([^`]+)`", row[1]):
        simple = name if name[0].isupper() else name.rpartition(".")[2]
        assert simple in defined(), name
