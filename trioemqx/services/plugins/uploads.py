"""The folder `<node.data_dir>/uploaded_plugins`: plugins that came as a zip through the dashboard.

For each there is `<name>.json`, which says what it is and in which folder beside it: `<name>.<random>/<name>`. Such a
folder never changes. A new version is a new folder; it counts from the moment in which the record is replaced, and the
old one stays for as long as its code is live. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from trioemqx.config.model import PluginsConfig
from trioemqx.services.plugins import archive, discovery
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import UploadRefused

log = logging.getLogger("trioemqx.plugins")

FOLDER: Final = "uploaded_plugins"
RECORD: Final = ".json"
PART: Final = ".part-"
MAX_PLUGINS: Final = 100
MAX_RECORD: Final = 4096
MAX_PROJECT: Final = 64 * 1024
"""Bytes of a pyproject.toml, which is read whenever plugins are listed."""
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
PLACE: Final = re.compile(rf"({NAME.pattern})\.[0-9a-f]{{16}}", re.ASCII)
TAKEN: Final = frozenset(attrs.fields_dict(PluginsConfig))
"""`[plugins]` has settings of its own of these names, so that a plugin could have none."""


@attrs.frozen
class Uploaded:
    """An uploaded plugin. `sha256` is of its archive, `at` Unix seconds, `by` the user of the dashboard, `place` the
    folder that its own one is in."""

    name: str
    sha256: str
    at: int
    by: str
    place: str


@attrs.frozen
class Staged:
    """An archive that was unpacked and is not yet kept. `files` are sizes by path, `folder` is the plugin's own."""

    found: Found
    sha256: str
    files: dict[str, int]
    folder: Path


class Uploads:
    """`path` is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- what there is -----------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Uploaded]:
        """Every uploaded plugin by name."""
        found = {}
        for name in self._entries():
            record = _read(self.path / name) if name.endswith(RECORD) else None
            if record is not None:
                found[record.name] = record
        return found

    def plugins(self) -> Iterator[tuple[Uploaded, Found]]:
        """The same, with what could be loaded. None of them is loaded because it says so itself."""
        for record in self.records().values():
            found = discovery.project(self.folder_of(record))
            if found.name != record.name:
                found = attrs.evolve(found, name=record.name, problem=found.problem or "its files have changed")
            yield record, attrs.evolve(found, default_enabled=False)

    def folder_of(self, record: Uploaded) -> Path:
        """The plugin's own folder."""
        return self.path / record.place / record.name

    # -- changes -----------------------------------------------------------------------------------------------------

    def stage(self, raw: bytes) -> Staged:
        """Unpack an archive beside the others. Raises UploadRefused; nothing is left then."""
        part = self.path / f"{PART}{secrets.token_hex(8)}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            top, files = archive.unpack(raw, part)
            found = _checked(part / top)
            folder = part / found.name
            if top != found.name:  # without an entry point it is called after its folder
                os.rename(part / top, folder)
                found = _checked(folder)
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            if isinstance(error, OSError):
                raise UploadRefused(f"the archive cannot be unpacked: {error.strerror}") from error
            raise
        return Staged(found, hashlib.sha256(raw).hexdigest(), files, folder)

    def discard(self, staged: Staged) -> None:
        """Remove what was unpacked, unless it was kept."""
        shutil.rmtree(staged.folder.parent, ignore_errors=True)

    def keep(self, staged: Staged, by: str, at: float) -> Uploaded:
        """Make it the one of its name, in place of one that was uploaded before. Raises UploadRefused."""
        name = staged.found.name
        records = self.records()
        if name not in records and len(records) >= MAX_PLUGINS:
            raise UploadRefused(f"there are {MAX_PLUGINS} uploaded plugins already: remove some")
        record = Uploaded(name, staged.sha256, int(at), by, f"{name}.{secrets.token_hex(8)}")
        try:
            for folder, _, _ in os.walk(staged.folder):
                _sync(Path(folder))
            os.rename(staged.folder.parent, self.path / record.place)
            _sync(self.path)
            self._write(record)
        except OSError as error:
            shutil.rmtree(self.path / record.place, ignore_errors=True)
            raise UploadRefused(f"the plugin cannot be kept: {error.strerror}") from error
        return record

    def remove(self, name: str) -> None:
        """Forget an uploaded plugin. Raises UploadRefused."""
        try:
            os.unlink(self.path / f"{name}{RECORD}")
            _sync(self.path)
        except OSError as error:
            raise UploadRefused(f"the plugin cannot be removed: {error.strerror}") from error

    def tidy(self, used: Collection[Path]) -> None:
        """Remove folders that are neither in force nor `used`, and what an upload that was cut short has left."""
        kept = {record.place for record in self.records().values()}
        for name in self._entries():
            entry = self.path / name
            if name in kept or any(entry in folder.parents for folder in used):
                continue
            if name.startswith(PART) and not entry.is_dir():
                entry.unlink(missing_ok=True)
            elif name.startswith(PART) or PLACE.fullmatch(name):
                shutil.rmtree(entry, ignore_errors=True)

    def _entries(self) -> list[str]:
        """The names in the folder: none where there is no such folder, or not for us to read."""
        try:
            return sorted(os.listdir(self.path))
        except OSError:
            return []

    def _write(self, record: Uploaded) -> None:
        """Replace a record in one step."""
        file = self.path / f"{record.name}{RECORD}"
        new = self.path / f"{PART}{secrets.token_hex(8)}"
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as opened:
                opened.write(json.dumps(attrs.asdict(record)).encode() + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(new, file)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            raise
        _sync(self.path)


def _read(file: Path) -> Uploaded | None:
    """A record; None for one that is not ours."""
    try:
        with file.open("rb") as opened:
            said = json.loads(opened.read(MAX_RECORD))
        record = Uploaded(str(said["name"]), str(said["sha256"]), int(said["at"]), str(said["by"]), str(said["place"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.error("%s cannot be read: %s", file, error)
        return None
    place = PLACE.fullmatch(record.place)
    if place is None or not (place[1] == record.name == file.name.removesuffix(RECORD)):
        log.error("%s is no record of an uploaded plugin", file)
        return None
    return record


def _checked(folder: Path) -> Found:
    """What a folder holds. Raises UploadRefused unless it can be loaded, as far as its description says."""
    project = folder / "pyproject.toml"
    if project.is_file() and project.stat().st_size > MAX_PROJECT:
        raise UploadRefused(f"pyproject.toml has more than {MAX_PROJECT} bytes")
    found = discovery.project(folder)
    if found.problem:
        raise UploadRefused(found.problem.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name))
    if not NAME.fullmatch(found.name):
        raise UploadRefused(f"{found.name[:100]!a}: a plugin's name has letters, digits and _, 64 at most")
    if not found.main.resolve().is_relative_to(folder.resolve()):
        raise UploadRefused(f"{found.name}: its entry point leads out of the folder")
    if found.name in TAKEN:
        raise UploadRefused(f"{found.name}: a setting of [plugins] has this name")
    discovery.pick({found.name: found}, found.name)
    return found


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
