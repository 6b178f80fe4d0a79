"""What plugins and modules there are, and which of them are meant to be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trioemqx.config.model import Config
from trioemqx.services.plugins import discovery, state
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.switches import DESCRIPTIONS
from trioemqx.services.plugins.uploads import FOLDER, Uploaded, Uploads

PACKAGE: Final = Path(__file__).resolve().parents[2]
UNREADABLE: Final = "access of an unreadable state file"
"""Stands for the plugins that a state file named which nobody can read."""


class Catalogue:
    """`found` is what could be loaded, `states` what is meant to be, by kind and name."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.found: dict[str, Found] = {}
        self.states: dict[str, dict[str, bool]] = {"plugin": {}, "module": {}}
        self.unreadable: list[str] = []
        """What is wrong with the state files."""
        self.uploads = Uploads(Path(config.node.data_dir) / FOLDER)
        self.uploaded: dict[str, Uploaded] = {}
        """What of `found` was uploaded."""

    def discover(self) -> dict[str, Found]:
        """Look again for what could be loaded."""
        config = self.config
        folders = [Path(config.plugins.expand_plugins_dir), *map(Path, config.plugins.dirs)]
        plugins = discovery.find_plugins(_with_ours(folders, "plugins"))
        modules = discovery.find_modules(_with_ours([Path("modules")], "modules"))
        uploaded = {}
        for record, one in self.uploads.plugins():  # what the operator has put there comes first
            if one.name not in plugins and one.name not in modules:
                plugins[one.name] = one
                uploaded[one.name] = record
        self.uploaded = uploaded
        self.found = {**plugins, **modules}
        return self.found

    def wanted(self) -> list[str]:
        """What is to be loaded at start: `plugins.load`, else the state file, else what is on by default."""
        chosen: list[str] = []
        for kind in ("module", "plugin"):
            settings = self.config.modules if kind == "module" else self.config.plugins
            saved = self._saved(settings.loaded_file)
            defaults = {f.name: True for f in self.found.values() if f.kind == kind and f.default_enabled}
            self.states[kind] = dict(saved) if saved is not None else defaults
            if settings.load is not None:
                chosen += settings.load
            else:
                chosen += [name for name, on in self.states[kind].items() if on]
        # Parts of the broker are there without being loaded; EMQX's files and variables name them.
        return [name for name in dict.fromkeys(chosen) if name not in DESCRIPTIONS or name in self.found]

    def is_wanted(self, name: str) -> bool:
        """Whether a plugin of this name would be loaded at the next start."""
        load = self.config.plugins.load
        return name in load if load is not None else self.states["plugin"].get(name, False)

    def _saved(self, file: str | None) -> dict[str, bool] | None:
        """What a state file says."""
        try:
            return state.read(Path(file)) if file else None
        except PluginError as error:
            self.unreadable.append(str(error))
            return None

    def remember(self, name: str, on: bool) -> tuple[Path, dict[str, bool]] | None:
        """Note that something is meant to be loaded, or not; returns the state file and what has to be written there,
        None where nothing is remembered."""
        kind = self.found[name].kind if name in self.found else "module" if name in self.states["module"] else "plugin"
        settings = self.config.modules if kind == "module" else self.config.plugins
        states = self.states[kind]
        if on:
            states.pop(name, None)
        states[name] = on
        return (Path(settings.loaded_file), dict(states)) if settings.loaded_file and settings.load is None else None


def _with_ours(folders: list[Path], name: str) -> list[Path]:
    """The folders, and the one that came with trioemqx: in the wheel, or beside the package in a checkout."""
    found: dict[Path, None] = {}
    for folder in [*folders, PACKAGE / name, PACKAGE.parent / name]:
        if folder.is_dir() and (folder.parent != PACKAGE.parent or (PACKAGE.parent / "pyproject.toml").is_file()):
            found.setdefault(folder.resolve())
    return list(found)
