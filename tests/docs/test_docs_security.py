"""docs/security-catalogue.md: what it names as a proof exists, and every row has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security-catalogue.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [^-]", line) and not line.startswith("| class ")]


def in_file(file: str) -> set[str]:
    """The tests in a file, those in classes too."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 90
    known: dict[str, set[str]] = {}
    for file, name in named:
        if file not in known:
            known[file] = in_file(file)
        assert name in known[file], f"{file}::{name}"
        assert name.startswith("test_")


def test_every_row_has_a_defence_and_a_test() -> None:
    assert len(ROWS) > 45
    for row in ROWS:
        _, what, defence, tests, _ = (
            row.split(" | ") if row.count(" | ") == 4 else ("", *row.strip("| ").split(" | "), "")
        )
        assert what, row
        assert defence, row
        assert "::test_" in tests, row
