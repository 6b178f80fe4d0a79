"""From the bytes of an export to its rows, without holding up the broker: what is small is read at once, what is large
by a process of its own (see `reading`)."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import msgspec
import trio

from trioemqx.services.backup import reading
from trioemqx.services.backup.errors import BAD_FILE, FAILED, UNSUPPORTED, BackupError, refused

T = TypeVar("T")
SMALL: Final = 64 * 1024
"""Bytes that are read in less than a few milliseconds."""
MAX_FILE: Final = 256 * 1024**2
VERSIONS: Final = ("4.0", "4.1", "4.2", "4.3", "4.4", "dev")
AUTH: Final = ("auth_clientid", "auth_username", "auth_mnesia")
AUTH_VERSIONS: Final = ("4.1", "4.3", "4.4", "4.5", "dev")
_PATCHES: Final = {"4.0": 13, "4.2": 11}
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH")
"""All that an interpreter may need to start; secrets may be in the rest."""
_CHUNK: Final = 128 * 1024
_TOO_MUCH: Final = "the file takes too much memory or time to read"


@attrs.frozen
class Content:
    """An export. `header` are its plain members, `lists` its rows by section, `ours` the member `trioemqx`."""

    header: Mapping[str, Any]
    lists: Mapping[str, list[dict[str, Any]]]
    ours: Mapping[str, Any]

    @property
    def version(self) -> str:
        """`4.4`; empty when there is none."""
        version = self.header.get("version")
        return version if isinstance(version, str) else ""

    def check_version(self) -> None:
        """Raise BackupError `unsupported_version` for an export that cannot be read. Users and access rows of EMQX had
        a form of their own in early releases."""
        version = self.version
        fine = version in VERSIONS
        if any(self.lists.get(section) for section in AUTH):
            minor, _, patch = version.rpartition(".")
            fine = version in AUTH_VERSIONS or (
                minor in _PATCHES and patch.isascii() and patch.isdigit() and int(patch[:6]) >= _PATCHES[minor]
            )
        if not fine:
            known = f"none of {', '.join(VERSIONS[:-1])}"
            why = f"{known}, or too old for its users and access rules" if version in VERSIONS else known
            raise BackupError(UNSUPPORTED, f"version {version!r:.40} is {why}")


class Reader:
    """Reads exports, two at a time."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(2)

    async def content(self, raw: bytes, over: Mapping[str, Any]) -> Content:
        """An export; `over` replaces its members. Raises BackupError."""
        if len(raw) <= SMALL:
            await trio.lowlevel.checkpoint()
            try:
                return _collected(list(reading.rows(raw, dict(over))))
            except reading.Broken as error:
                raise BackupError(error.kind, error.text) from None
        return await self._in_thread(_content_apart, raw, json.dumps(over), abandon=True)

    async def content_of(self, descriptor: int, over: Mapping[str, Any]) -> Content:
        """The same of an open file."""
        size = os.fstat(descriptor).st_size
        if size > MAX_FILE:
            raise BackupError(BAD_FILE, f"more than {MAX_FILE} bytes")
        if size <= SMALL:
            return await self.content(await self._in_thread(_whole, descriptor), over)
        return await self._in_thread(_content_of, os.dup(descriptor), json.dumps(over), abandon=True)

    async def upload(self, raw: bytes, over: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What a request to upload says, and the file; see `reading.upload`. Raises BackupError."""
        if len(raw) <= SMALL:
            await trio.lowlevel.checkpoint()
            try:
                report, text = reading.upload(raw, dict(over))
            except reading.Broken as error:
                raise BackupError(error.kind, error.text) from None
            return report, text.encode("utf-8", "replace")
        return await self._in_thread(_upload_apart, raw, json.dumps(over), abandon=True)

    async def text_of(self, descriptor: int) -> bytes:
        """A file's text as a JSON string. Raises BackupError `bad_file`."""
        if os.fstat(descriptor).st_size > MAX_FILE:
            raise BackupError(BAD_FILE, f"more than {MAX_FILE} bytes")
        return await self._in_thread(_as_string, descriptor)

    async def _in_thread(self, call: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """Work on files. With `abandon`, whoever asked may go away: the other process has its limit of time."""
        try:
            return await trio.to_thread.run_sync(call, *args, limiter=self._threads, abandon_on_cancel=abandon)
        except OSError as error:
            raise refused(error) from error


def _collected(pairs: list[tuple[str, Any]]) -> Content:
    header: Mapping[str, Any] = {}
    ours: Mapping[str, Any] = {}
    lists: dict[str, list[dict[str, Any]]] = {}
    for section, row in pairs:
        if section == reading.HEADER:
            header = row
        elif section == reading.OURS:
            ours = row
        else:
            lists.setdefault(section, []).append(row)
    return Content(header, lists, ours)


def _content_apart(raw: bytes, over: str) -> Content:
    with tempfile.TemporaryFile() as source:
        source.write(raw)
        source.seek(0)
        return _content_of_apart(source.fileno(), over)


def _content_of(descriptor: int, over: str) -> Content:
    """The same of a file; the descriptor is closed."""
    try:
        return _content_of_apart(descriptor, over)
    finally:
        os.close(descriptor)


def _content_of_apart(descriptor: int, over: str) -> Content:
    """Rows come back as lines, so that none of the steps here is long."""
    with tempfile.TemporaryFile() as out:
        _run("rows", descriptor, over, out.fileno())
        out.seek(0)
        return _collected([tuple(msgspec.json.decode(line)) for line in out])


def _upload_apart(raw: bytes, over: str) -> tuple[dict[str, Any], bytes]:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out:
        source.write(raw)
        source.seek(0)
        report = _run("upload", source.fileno(), over, out.fileno())
        out.seek(0)
        return msgspec.json.decode(report), out.read()


def _run(mode: str, source: int, over: str, out: int) -> bytes:
    """Run `reading` on a file; returns what it says on stderr. Raises BackupError."""
    command = [sys.executable, "-I", "-S", str(Path(reading.__file__)), mode, over]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(
            command,
            stdin=source,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=2 * reading.SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise BackupError(FAILED, _TOO_MUCH) from None
    if done.returncode == reading.BROKEN:
        found = msgspec.json.decode(done.stderr)
        raise BackupError(found["kind"], found["text"])
    if done.returncode != 0:
        raise BackupError(FAILED, _TOO_MUCH)
    return done.stderr


def _whole(descriptor: int) -> bytes:
    return b"".join(_chunks(descriptor))


def _chunks(descriptor: int) -> list[bytes]:
    found = []
    while chunk := os.read(descriptor, _CHUNK):
        found.append(chunk)
    return found


def _as_string(descriptor: int) -> bytes:
    """Piece by piece: a single step over a large text would hold Python's lock."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    parts = [b'"']
    try:
        parts += [msgspec.json.encode(decode(chunk))[1:-1] for chunk in _chunks(descriptor)]
        decode(b"", True)
    except UnicodeDecodeError:
        raise BackupError(BAD_FILE, "not UTF-8") from None
    parts.append(b'"')
    return b"".join(parts)
