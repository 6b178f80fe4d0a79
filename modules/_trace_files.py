"""The files of traces. Everything here waits for the disk: call it in a thread."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

ZIPS: Final = "zip"
"""Folder for what is downloaded."""
FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


@attrs.define
class Written:
    """What became of the lines for one file: how many are not in it, because it is full or because of `error`."""

    left_out: int = 0
    full: bool = False
    error: str = ""


def prepare(folder: Path) -> None:
    """Make the folder, for nobody else to read, and empty it of old downloads. Raises OSError."""
    zips = folder / ZIPS
    zips.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for old in zips.iterdir():
        old.unlink(missing_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "it cannot be written to")


def append(folder: Path, lines: Mapping[str, list[str]], limit: int) -> dict[str, Written]:
    """Add lines to files, by name, as far as none grows above `limit` bytes."""
    return {name: _append(folder / name, texts, limit) for name, texts in lines.items()}


def _append(path: Path, lines: list[str], limit: int) -> Written:
    try:
        descriptor = os.open(path, FLAGS, 0o600)
        with open(descriptor, "ab") as file:
            data, taken = _fitting(lines, limit - file.tell())
            if taken < len(lines):
                data += f"... the limit of {limit} bytes is reached; this trace is stopped\n".encode()
            file.write(data)
    except OSError as error:
        return Written(len(lines), error=error.strerror or str(error))
    return Written(len(lines) - taken, taken < len(lines))


def _fitting(lines: list[str], room: int) -> tuple[bytes, int]:
    """The lines that fit into so many bytes, and their number."""
    taken = []
    for line in lines:
        encoded = line.encode("utf-8", "backslashreplace") + b"\n"
        room -= len(encoded)
        if room < 0:
            break
        taken.append(encoded)
    return b"".join(taken), len(taken)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Delete files of the folder, those that are there. Raises OSError."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def look(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, float]]:
    """(bytes, time of the last change) of the files that are there."""
    found = {}
    for name in names:
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            continue
        found[name] = (status.st_size, status.st_mtime)
    return found


def read(path: Path, position: int, length: int) -> bytes:
    """Bytes of a file from a position on, without a character that would be cut in two at the end, if there is anything
    else; none where there is no file yet."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(length)
    except FileNotFoundError:
        return b""
    return data[: whole(data)] or data


def whole(data: bytes) -> int:
    """The length of UTF-8 text without a character that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(data) - back if size > back else len(data)
    return len(data)


def zip_of(name: str) -> str:
    """The download of a trace, from the folder."""
    return f"{ZIPS}/{name}.zip"


def make_zip(folder: Path, name: str, log: str, inside: str) -> Path:
    """A zip of one log, which is called `inside` in there; an earlier one of that name is replaced, and whoever reads
    it still has it. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=folder / ZIPS, prefix=".new")
    try:
        with open(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            if (folder / log).is_file():
                archive.write(folder / log, inside)
            else:
                archive.writestr(inside, b"")
        return Path(temporary).replace(folder / zip_of(name))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
