"""Zip archives of plugins, good ones and others."""

from __future__ import annotations

import io
import stat
import zipfile

PYPROJECT = """
[project]
name = "{name}"
version = "{version}"
description = "{name} for tests"

[tool.trioemqx]
api = ">=1,<2"
"""
CODE = """
from __future__ import annotations

from trioemqx.plugin import Plugin


class Mine(Plugin):
    version = "{version}"


plugin = Mine
"""


def pack(*entries: tuple[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with these, in this order; a name may stand in it twice."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.writestr(entry, content)
    return target.getvalue()


def special(name: str, mode: int, content: bytes = b"x") -> bytes:
    """An archive with a plugin and one more entry of a kind or with rights that Unix gives."""
    target = io.BytesIO(plugin_zip())
    with zipfile.ZipFile(target, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system = 3
        entry.external_attr = (mode if stat.S_IFMT(mode) else mode | stat.S_IFREG) << 16
        archive.writestr(entry, content)
    return target.getvalue()


def plugin_zip(
    name: str = "allow_list",
    version: str = "1.0",
    *more: tuple[str, bytes | str],
    folder: str = "",
    code: str = CODE,
    project: str = PYPROJECT,
) -> bytes:
    """A plugin, and what else there is to be in its archive."""
    top = folder or name
    return pack(
        (f"{top}/", ""),
        (f"{top}/pyproject.toml", project.format(name=name, version=version)),
        (f"{top}/{name}.py", code.format(version=version)),
        *more,
    )
