"""`data/loaded_plugins` and `data/loaded_modules`: what is loaded, in EMQX's own format, one `{name, true}.` a line.

A bare name means true. Operators edit these files; what cannot be read is logged with its line and skipped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from trioemqx.services.plugins.errors import PluginError

log = logging.getLogger("trioemqx.plugins")


def read(file: Path) -> dict[str, bool] | None:
    """What the file says, in its order; None when there is no file. Raises PluginError when it cannot be
    read."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PluginError(f"{file} cannot be read: {error}") from error
    found: dict[str, bool] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("%")[0].strip().removesuffix(".").strip()
        if not text:
            continue
        name, _, word = text.strip("{}").partition(",")
        name, word = name.strip(), word.strip() or "true"
        good = name.replace("_", "").replace("-", "").replace(".", "").isalnum()
        if not good or word not in ("true", "false"):
            log.error("%s:%d: expected {name, true}. or {name, false}., got %.80r", file, number, line)
        if good:  # what is no false is meant to be loaded: it may be what keeps strangers out
            found[name] = word != "false"
    return found


def write(file: Path, states: Mapping[str, bool]) -> None:
    """Replace the file in one step. Raises PluginError when the disk refuses: the change holds until the next start."""
    text = "".join(f"{{{name}, {'true' if on else 'false'}}}.\n" for name, on in states.items())
    temporary = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # else a power cut brings the old file back
        finally:
            os.close(folder)
    except OSError as error:
        log.error("%s cannot be written: %s", file, error)
        raise PluginError(f"in force, but not on disk: {file} cannot be written: {error.strerror}") from error
