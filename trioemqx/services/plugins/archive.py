"""The zip of a plugin, taken apart: only files and folders, below one folder, of bounded number and size.

Nothing of it is believed before it is checked, and everything is checked before anything is written. It blocks: call it
in a thread.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from trioemqx.services.plugins.discovery import one_line
from trioemqx.services.plugins.errors import UploadRefused

MAX_FILES: Final = 1000
MAX_UNPACKED: Final = 64 * 1024**2
"""Bytes of all files together."""
MAX_RATIO: Final = 100
"""How much larger than the archive its files may be, above `ALWAYS` bytes."""
ALWAYS: Final = 1024**2
MAX_PATH: Final = 400
MAX_NAME: Final = 200
"""Bytes of a path, and of each name in it."""
MAX_DEPTH: Final = 20
CHUNK: Final = 64 * 1024
LEFT_OUT: Final = "__MACOSX"
"""What macOS adds to every archive."""

NO_ARCHIVE: Final = "the body is no zip archive: send the file itself, not a form with it"
_FILE: Final = b"PK\x03\x04"
_END: Final = b"PK\x05\x06"
_END_SIZE: Final = 22
_LOCATOR_64: Final = b"PK\x06\x07"
_LOCATOR_SIZE: Final = 20
_MAX_COMMENT: Final = 65535
_ENTRY_SIZE: Final = 46
"""Bytes of an entry in the directory of an archive, without its name and what else it has."""
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Others may take much memory for few bytes."""
_ENCRYPTED: Final = 0x1
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, IndexError)
"""What the standard library raises for archives that are none."""

Entries = dict[str, zipfile.ZipInfo]


def unpack(raw: bytes, into: Path) -> tuple[str, dict[str, int]]:
    """Write what an archive holds below a new folder `into`. Returns the name of the one folder at its top, and the
    sizes of the files by their path in it. Raises UploadRefused, and OSError for what the disk refuses; what was
    written until then stays."""
    _check_directory(raw)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _check_sizes(entries, len(raw))
            folders, files = _sorted_out(entries)
            top = _top(folders, files)
            for folder in ("", *folders):
                os.mkdir(into / folder, 0o755)
            for path, entry in files.items():
                _write(archive, entry, into / path)
    except _BROKEN as error:
        raise UploadRefused(f"the archive is broken: {one_line(error)}") from error
    return top, {path.partition("/")[2]: entry.file_size for path, entry in sorted(files.items())}


def _check_directory(raw: bytes) -> None:
    """Raise UploadRefused unless the body is an archive from its first to its last byte, so that its hash is that of
    the author's file, with a directory at the end that is small enough to be read: a list of many entries takes much
    time and memory before anybody can count them."""
    at = raw.rfind(_END, max(0, len(raw) - _END_SIZE - _MAX_COMMENT), max(0, len(raw) - _END_SIZE + len(_END)))
    if at < 0 or not raw.startswith((_FILE, _END)):
        raise UploadRefused(NO_ARCHIVE)
    if raw[max(0, at - _LOCATOR_SIZE) : at].startswith(_LOCATOR_64):
        raise UploadRefused("zip64 archives are not accepted")
    _count, count, size, begin, comment = struct.unpack_from("<HHLLH", raw, at + 8)
    if count > MAX_FILES or size > MAX_FILES * (_ENTRY_SIZE + MAX_PATH + 100):
        raise UploadRefused(f"more than {MAX_FILES} files and folders")
    if begin + size != at or at + _END_SIZE + comment != len(raw):
        raise UploadRefused(NO_ARCHIVE)


def _check_sizes(entries: list[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > MAX_FILES:  # what the archive says of their number need not be true
        raise UploadRefused(f"more than {MAX_FILES} files and folders")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED:
        raise UploadRefused(f"more than {MAX_UNPACKED} bytes when unpacked")
    if total > max(ALWAYS, size * MAX_RATIO):
        raise UploadRefused(f"unpacked it is more than {MAX_RATIO} times as large as the archive")


def _sorted_out(entries: Iterable[zipfile.ZipInfo]) -> tuple[list[str], Entries]:
    """(folders, each after the one it is in; files by path). Raises UploadRefused for a name that leads elsewhere, one
    that some file systems do not tell from another, and what is neither file nor folder."""
    spelt: dict[str, str] = {}
    folders: dict[str, None] = {}
    files: Entries = {}
    for entry in entries:
        parts = _parts(entry)
        if parts[0] == LEFT_OUT:
            continue
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            before = spelt.setdefault(unicodedata.normalize("NFKC", path).casefold(), path)
            is_file = depth == len(parts) and not entry.filename.endswith("/")
            if before != path or path in files or (is_file and path in folders):
                raise UploadRefused(f"{path}: there are two of this name, or nearly of this name")
            if is_file:
                files[path] = entry
            else:
                folders[path] = None
    return list(folders), files


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    """The names in an entry's path. Raises UploadRefused when it may not stand in an archive."""
    path = entry.filename.removesuffix("/")
    parts = path.split("/")
    shown = ascii(path[:MAX_NAME])
    for name in (entry.orig_filename, entry.filename):
        if not name.isprintable() or "\\" in name:
            raise UploadRefused(f"{shown}: a name has no backslashes and only characters that can be printed")
    if any(part in ("", ".", "..") for part in parts):
        raise UploadRefused(f"{shown}: leads out of the folder")
    if len(parts) > MAX_DEPTH or len(path.encode()) > MAX_PATH or any(len(part.encode()) > MAX_NAME for part in parts):
        raise UploadRefused(f"{shown}: too long or too deep")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if entry.filename.endswith("/") else stat.S_IFREG):
        raise UploadRefused(f"{shown}: is neither a file nor a folder")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise UploadRefused(f"{shown}: is encrypted, or packed by a method other than deflate")
    return parts


def _top(folders: Iterable[str], files: Iterable[str]) -> str:
    """The one folder that everything is in."""
    tops = {path.partition("/")[0] for path in (*folders, *files)}
    if len(tops) != 1 or not tops.isdisjoint(files):
        raise UploadRefused("the archive has to hold one folder, with the plugin in it, and nothing beside it")
    return tops.pop()


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Unpack a file, on the disk when this returns. It may be executable, and has no other rights of its own."""
    mode = 0o755 if entry.external_attr >> 16 & 0o111 else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    written = 0
    with open(os.open(path, flags, mode), "wb") as target, archive.open(entry) as source:
        while part := source.read(CHUNK):
            written += len(part)
            target.write(part)
        target.flush()
        os.fsync(target.fileno())
    if written != entry.file_size:
        raise UploadRefused(f"{entry.filename[:MAX_NAME]!a}: is not as large as the archive says")
