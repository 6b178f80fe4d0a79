"""Files that resources bring along: certificates and keys, sent as text and kept on disk for as long as they live."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from trioemqx.rules.errors import bad_arguments
from trioemqx.rules.terms import term
from trioemqx.services.rulekit import RuleParam

MAX_FILE: Final = 1024 * 1024


def folder_of(data_dir: Path, resource_id: str) -> Path:
    """The folder of a resource. Its name is a hash: nothing of a foreign text gets into a path."""
    return data_dir / "rules" / hashlib.sha256(resource_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def contents(config: Mapping[str, Any], specs: Iterable[RuleParam]) -> dict[str, str]:
    """The texts to be written, by parameter. Raises RuleError for a file that is none."""
    found: dict[str, str] = {}
    for spec in specs:
        value = config.get(spec.name)
        if spec.type != "file" or value is None or isinstance(value, str):
            continue
        text = value.get("file", "") if isinstance(value, dict) else None
        if not isinstance(text, str) or len(text) > MAX_FILE:
            raise bad_arguments(f"{{invalid_data_type,{{file,{term(spec.name)}}}}}")
        found[spec.name] = text
    return found


def with_paths(config: Mapping[str, Any], texts: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The configuration with paths in place of files; an empty file is no file."""
    paths = {name: str(folder / name) if text else "" for name, text in texts.items()}
    return {**config, **paths}


def write_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files, for the broker's user only. Raises OSError. To be called in a thread."""
    if any(texts.values()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in texts.items():
        if text:
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)


def remove_all(folder: Path) -> None:
    """Remove a resource's folder, if there is one. To be called in a thread."""
    shutil.rmtree(folder, ignore_errors=True)
