"""How much work a function does, as a number that no busy machine changes: lines of Python run in some files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from trioemqx.core import trie


def steps(function: Callable[[], object], *files: str) -> int:
    """Lines run in files with these names while `function` runs. Compiled code has none: the test is skipped there, and
    counts when the same tests are run interpreted."""
    if not trie.__file__.endswith(".py"):
        pytest.skip("the core is compiled")
    count = 0

    def of_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return of_line

    def of_call(frame: FrameType, event: str, _: Any) -> Any:
        return of_line if frame.f_code.co_filename.rpartition("/")[2] in files else None

    before = sys.gettrace()
    sys.settrace(of_call)
    try:
        function()
    finally:
        sys.settrace(before)
    assert count, "none of these files was used"
    return count
