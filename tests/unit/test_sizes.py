"""Modules and functions are short enough to be read in one go; one that is not says why."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "trioemqx"
MODULE = 400
FUNCTION = 50
"""Lines beyond which a docstring has to have the word: `Long, because ...`. That of a function does not count."""


def too_long(text: str) -> Iterator[str]:
    """What is too long in a module and does not say why."""
    tree = ast.parse(text)
    lines = len(text.splitlines())
    if lines > MODULE and not says_so(tree):
        yield f"{lines} lines"
    owners = {each: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            speaker = owners.get(node, node) if node.name == "__init__" else node  # the words of a constructor
            lines = node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
            if lines > FUNCTION and not says_so(speaker):
                yield f"{node.name} has {lines} lines"


def says_so(node: ast.Module | ast.stmt) -> bool:
    """Whether a docstring speaks of length."""
    assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return re.search(r"\blong\b", ast.get_docstring(node) or "", re.IGNORECASE) is not None


def test_what_is_long_says_why() -> None:
    modules = sorted(ROOT.rglob("*.py"))
    assert len(modules) > 80
    assert [f"{path}: {found}" for path in modules for found in too_long(path.read_text("utf-8"))] == []


def test_what_is_too_long() -> None:
    body = "    pass\n" * FUNCTION
    assert list(too_long(f"def f():\n{body}")) == ["f has 51 lines"]
    assert list(too_long(f'def f():\n    """Long, because."""\n{body}')) == []
    assert list(too_long(f"class C:\n  def __init__(self):\n{body}")) == ["__init__ has 51 lines"]
    assert list(too_long(f'class C:\n  """Its constructor is long."""\n  def __init__(self):\n{body}')) == []
    assert list(too_long("pass\n" * MODULE)) == []
    assert list(too_long('"""Says nothing."""\n' + "pass\n" * MODULE)) == ["401 lines"]
