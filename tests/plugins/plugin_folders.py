"""Plugins written by the tests: folders as an author has them."""

from __future__ import annotations

import textwrap
from pathlib import Path

PYPROJECT = """
[project]
name = "{name}"
version = "1.0"
description = "{name} for tests"

[tool.trioemqx]
api = ">=1,<2"
type = "{type}"
"""
HEAD = """
from __future__ import annotations

import attrs
import trio

from trioemqx.plugin import (
    ClientInfo, CommandError, Credentials, Drop, Message, Plugin, PluginError, Secret, SubOpts, Verdict, hookimpl
)

"""


class Folders:
    """A folder of plugins. `config` are settings that make a broker look there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, code: str, kind: str = "feature") -> Path:
        """Write (again) a plugin whose module has the usual imports and then `code`; returns its main file."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name, type=kind))
        main = folder / f"{name}.py"
        main.write_text(HEAD + textwrap.dedent(code))
        return main

    def config(self, *load: str, **more: object) -> dict[str, object]:
        """Settings: look in this folder, and load these at start."""
        return {"plugins": {"dirs": [str(self.root)], "load": [*load], **more}}
