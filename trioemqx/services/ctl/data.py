"""`data`: export what the broker was told to a file, import one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from trioemqx.services.backup import BackupError, File
from trioemqx.services.backup.errors import UNSUPPORTED
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, shown

ENV = "--env"


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Data(node)
    family = Family(commands, "data")
    family.add("export", of.export, help="Export settings made at run time", data=of.exported)
    family.add("import", of.load, "<File> [--env '<json>']", "Import an export; --env overrides members of it")


class Data:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def export(self) -> str:
        """Write a file to the backup folder."""
        file = await self._export()
        return f"The emqx data has been successfully exported to {self._node.backup.folder.path / file.name}."

    async def exported(self) -> dict[str, object]:
        """The same, as the HTTP API answers."""
        file = await self._export()
        return {"filename": file.name, "size": file.size, "node": self._node.node}

    async def load(self, file: str, option: str = ENV, over: str = "{}") -> str:
        """Import a file: a name is one of the backup folder, a path is one of this machine."""
        members = _overrides(option, over)
        backup = self._node.backup
        try:
            if os.sep in file:
                notes = await backup.import_path(Path(file), members)
            else:
                notes = await backup.import_file(file, members)
        except BackupError as error:
            if error.reason == UNSUPPORTED:
                raise CommandError("The emqx data import failed: Unsupported version.") from error
            raise CommandError(
                f"The emqx data import failed: {shown(str(error))} while reading {shown(file)}."
            ) from error
        return "\n".join([*map(shown, notes), "The emqx data has been imported successfully."])

    async def _export(self) -> File:
        try:
            return await self._node.backup.export()
        except BackupError as error:
            raise CommandError(f"The emqx data export failed due to {error}.") from error


def _overrides(option: str, text: str) -> dict[str, Any]:
    if option != ENV:
        raise CommandError(f"Error: {shown(option)!r:.40} is no option: --env '<json>' is")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise CommandError(f"The emqx data import failed: --env is no JSON object: {error}") from error
