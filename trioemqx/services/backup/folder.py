"""The folder `<node.data_dir>/backup`, mode 0700, with files of mode 0600; and the exports of older versions that lie
directly in `node.data_dir`, to be read and removed. Nothing else there can be asked for.

Names come from clients. They are names and no paths, and files are opened relative to the folder's own descriptor,
without following links, so that no name leads out of it. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import attrs

from trioemqx.services.backup.errors import BAD_FILE, FULL, NOT_FOUND, BackupError, refused

T = TypeVar("T")
SUFFIX: Final = ".json"
PART: Final = ".part"
MAX_NAME: Final = 255
"""Bytes."""
MAX_FILES: Final = 1000
MAX_BYTES: Final = 4 * 1024**3
"""Of all files together."""
EXPORT: Final = "emqx-export-"
"""How the names of exports begin."""
_REFUSED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Categories of letters that no name has: controls, halves of letters, ends of lines."""


@attrs.frozen
class File:
    """A file of the folder. `created_at` is Unix seconds."""

    name: str
    size: int
    created_at: float


def good_name(name: object) -> bool:
    """Whether it may be asked for: one segment of a path that ends with `.json` and does not begin with a dot."""
    if not isinstance(name, str) or not name.endswith(SUFFIX) or name.startswith("."):
        return False
    if "/" in name or "\\" in name or not _REFUSED.isdisjoint(map(unicodedata.category, name)):
        return False
    return len(name.encode("utf-8")) <= MAX_NAME


def _is_export(name: str) -> bool:
    """Whether a file directly in `node.data_dir` is one of ours to show."""
    return name.startswith(EXPORT)


def automatic_name(seconds: float, number: int = 1) -> str:
    """`emqx-export-2020-5-15-18-6-29.json`, local time without padding; of several in a second, `-2` and so on."""
    now = time.localtime(seconds)
    more = f"-{number}" if number > 1 else ""
    return f"{EXPORT}{now[0]}-{now[1]}-{now[2]}-{now[3]}-{now[4]}-{now[5]}{more}{SUFFIX}"


class Folder:
    """`path` is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cleaned = False

    def listing(self) -> list[File]:
        """Every file, the oldest first. Raises BackupError."""
        with self._opened() as folder, self._older() as above:
            found = {file.name: file for file in self._files(above) if _is_export(file.name)}
            found.update((file.name, file) for file in self._files(folder))
        return sorted(found.values(), key=lambda file: (file.created_at, file.name))

    def open(self, name: str) -> int:
        """A descriptor for reading a file. Raises BackupError `not_found` or `bad_file`."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = self._at(name, lambda folder: os.open(name, flags, dir_fd=folder))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BackupError(BAD_FILE, "not a regular file")
        return descriptor

    def delete(self, name: str) -> None:
        """Remove a file. Raises BackupError `not_found`."""
        self._at(name, lambda folder: os.unlink(name, dir_fd=folder))

    def draft(self) -> Draft:
        """A file that is not listed until it is kept. Raises BackupError, `full` when there is no room."""
        with self._opened() as folder:
            files = list(self._files(folder))
            if len(files) >= MAX_FILES or sum(file.size for file in files) >= MAX_BYTES:
                raise BackupError(
                    FULL, f"{len(files)} files are in {self.path}: delete some (at most {MAX_FILES}, {MAX_BYTES} bytes)"
                )
            name = f".{secrets.token_hex(8)}{PART}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return Draft(self, name, os.open(name, flags, 0o600, dir_fd=folder))

    def keep(self, draft: Draft, name: str | None, seconds: float) -> File:
        """Give a draft its name, replacing a file that has it; None: an automatic one that no file has. `seconds` is
        the time now. Raises BackupError."""
        with self._opened() as folder:
            os.fsync(draft.descriptor)
            if name is not None:
                os.replace(draft.name, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                name = self._link(folder, draft.name, seconds)
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            os.fsync(folder)
            return File(name, found.st_size, found.st_mtime)

    def discard(self, draft: Draft) -> None:
        """Close a draft, and remove it unless it was kept."""
        os.close(draft.descriptor)
        with suppress(BackupError), self._opened() as folder:
            os.unlink(draft.name, dir_fd=folder)

    def _at(self, name: str, act: Callable[[int], T]) -> T:
        """Do something with a file, where it is. Raises BackupError `not_found`."""
        if not good_name(name):
            raise BackupError(NOT_FOUND)
        with self._opened() as folder, self._older() as above:
            try:
                return act(folder)
            except FileNotFoundError:
                if not _is_export(name):
                    raise
            return act(above)

    def _link(self, folder: int, draft: str, seconds: float) -> str:
        for number in range(1, MAX_FILES + 2):
            name = automatic_name(seconds, number)
            with suppress(FileExistsError):
                os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(draft, dir_fd=folder)
                return name
        raise BackupError(FULL, f"there are too many files of this second in {self.path}")

    def _files(self, folder: int) -> Iterator[File]:
        with os.scandir(folder) as found:
            for entry in found:
                if good_name(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        about = entry.stat(follow_symlinks=False)
                        yield File(entry.name, about.st_size, about.st_mtime)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder's descriptor. What the operating system refuses becomes a BackupError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._clean(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refused(error) from error

    @contextmanager
    def _older(self) -> Iterator[int]:
        """The descriptor of the folder above, which is there when this one is."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _clean(self, folder: int) -> None:
        """Once: the folder is nobody else's to read, and drafts of an earlier run go."""
        if not self._cleaned:
            self._cleaned = True
            os.fchmod(folder, 0o700)
            for name in os.listdir(folder):
                if name.startswith(".") and name.endswith(PART):
                    os.unlink(name, dir_fd=folder)


@attrs.frozen(eq=False)
class Draft:
    """A file that is being written."""

    folder: Folder
    name: str
    descriptor: int

    def write(self, data: bytes) -> None:
        """Append. Raises BackupError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.descriptor, view) :]
        except OSError as error:
            raise refused(error) from error
