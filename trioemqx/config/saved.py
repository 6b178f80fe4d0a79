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
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
FIXED: Final = frozenset(
    {
        "node.data_dir",
        "store.file",
        "log.dir",
        "log.file",
        *(f"log.{level}.file" for level in LEVELS),
        "license.file",
        "plugins.dirs",
        "plugins.expand_plugins_dir",
        "plugins.etc_dir",
        "plugins.loaded_file",
        "plugins.upload",
        "plugins.upload_max_size",
        "modules.loaded_file",
        "management.bootstrap_apps_file",
        "security.outbound.policy",
        "security.outbound.allow",
        "security.outbound.deny",
    }
)
"""What cannot be saved: where the broker writes, where it takes code and secrets from, and whom it may call. Who may
use the HTTP API would otherwise write files, run code, read secrets and go where `security.outbound` keeps them from.
`node.data_dir` also says where the saved overrides are."""
ABOVE: Final = frozenset(key[:at] for key in FIXED for at, sign in enumerate(key) if sign == ".")
"""The tables that these are in, which would bring them along."""
ADVICE: Final = "remove what is wrong from the file, or the file"


def is_fixed(key: str) -> bool:
    """Whether a key, or one in the table that it names, cannot be saved."""
    return key in FIXED or key in ABOVE


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
    return {str(key): value for key, value in found.items() if not is_fixed(key)}


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
