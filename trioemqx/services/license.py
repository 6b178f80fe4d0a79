"""The license file. Nothing here needs one: a license that is uploaded is kept for those who look for it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

KEPT: Final = 20
"""Earlier licenses beside the file; of more the oldest are removed."""
LONG: Final = 16
"""Digits that are no time any more."""


def replace_license(path: Path, text: str, at: int) -> None:
    """Write a license; what was there is kept as `<path>.<at>`. `at` is Unix seconds. Raises OSError; the old license
    is in place then. The calls of one process must not overlap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            latest = max((number for number, _ in _earlier(path)), default=0)
            os.link(path, path.with_name(f"{path.name}.{max(at, latest + 1)}"))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    for _, earlier in _earlier(path)[:-KEPT]:
        earlier.unlink(missing_ok=True)
    if path.read_text("utf-8") != text:
        raise OSError("what was written could not be read again")


def _earlier(path: Path) -> list[tuple[int, Path]]:
    """The licenses before this one with their times, oldest first."""
    numbered = []
    for file in path.parent.iterdir():
        stem, _, number = file.name.rpartition(".")
        if stem == path.name and number.isascii() and number.isdigit() and len(number) < LONG:
            numbered.append((int(number), file))
    return sorted(numbered)
