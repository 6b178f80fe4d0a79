"""Saved overrides: settings that were changed in the dashboard, stronger than the file, weaker than the environment.

They lie in `<node.data_dir>/overrides.json`, an object with dotted keys, and not in the store, because the
configuration is checked before the store is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trioemqx.config.errors import ConfigErrors
from trioemqx.errors import ConfigError

FILE: Final = "overrides.json"
MAX_SIZE: Final = 128 * 1024
MAX_KEYS: Final = 2000
FIXED: Final = frozenset({"node.data_dir"})
"""What cannot be saved, because it says where the saved overrides are."""
ADVICE: Final = "remove what is wrong from the file, or the file"


def read_saved(folder: Path) -> dict[str, object]:
    """The overrides by dotted key. Raises ConfigErrors for a file that cannot be read."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with the folder is told by who writes there
        return {}
    except OSError as problem:
        raise _broken(path, f"cannot be read: {problem.strerror}") from None
    if len(text) > MAX_SIZE:
        raise _broken(path, f"is larger than {MAX_SIZE} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise _broken(path, f"is not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise _broken(path, "is not a JSON object")
    return {str(key): value for key, value in found.items() if key not in FIXED}


def write_saved(folder: Path, values: Mapping[str, object]) -> None:
    """Put the overrides on disk: the old file is there until the new one is whole, and only we can read either. Raises
    OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{FILE}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(as_text(values))
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / FILE)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_text(values: Mapping[str, Any]) -> bytes:
    """What the file holds."""
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode("utf-8")


def _broken(path: Path, text: str) -> ConfigErrors:
    return ConfigErrors([ConfigError(text, source=str(path), hint=ADVICE)])
