"""Export and import of what a broker was told: bans, applications, dashboard users, users and access rows of clients.

The files have EMQX 4's form. They are in `<node.data_dir>/backup`, and no name of a client's leads out of there. They
hold hashes, which are secrets too: mode 0600.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import trio

from trioemqx.services import memory
from trioemqx.services.applications import Applications
from trioemqx.services.backup.content import Content, Reader
from trioemqx.services.backup.errors import BUSY, BackupError, refused
from trioemqx.services.backup.exporting import write_export
from trioemqx.services.backup.folder import Draft, File, Folder, good_name
from trioemqx.services.backup.importing import Import
from trioemqx.services.banned import Banned
from trioemqx.services.dashboard_users import DashboardUsers
from trioemqx.services.overrides import Overrides
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.store.protocol import Store

__all__ = ["Backup", "BackupError", "BackupHost", "Content", "File", "good_name"]

T = TypeVar("T")
MAX_WAITING: Final = 4
"""Exports, imports and uploads at once; each may hold a large file."""


class RuleTransfer(Protocol):
    """The rules and resources of the rule engine."""

    def rows(self, section: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """The rows of `rules` or `resources`, as an export has them."""

    def checked(self, section: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row, if it has the form that it has to have. Raises ValueError with what is wrong."""

    async def take(
        self, resources: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]], version: str
    ) -> list[str]:
        """Enter rows of an export; returns a line for each that is not there, or does not work, now."""


class RuleKeeper(Protocol):
    """The rule engine."""

    @property
    def transfer(self) -> RuleTransfer:
        """What goes into an export, and comes from one."""


class BackupHost(Protocol):
    """The node."""

    store: Store
    banned: Banned
    applications: Applications
    dashboard_users: DashboardUsers
    plugins: PluginManager
    overrides: Overrides
    data_dir: Path

    @property
    def rules(self) -> RuleKeeper:
        """The rule engine."""

    @property
    def node(self) -> str:
        """`name@host`"""

    @property
    def version(self) -> str:
        """The version of trioemqx."""

    def wall(self) -> float:
        """Unix seconds."""


class Backup:
    """The folder and what is done with it. Every method raises BackupError."""

    def __init__(self, host: BackupHost) -> None:
        self._host = host
        self._reader = Reader()
        self._changing = trio.Lock()
        self._waiting = 0
        self._folder: Folder | None = None

    @property
    def folder(self) -> Folder:
        """Where the files are."""
        if self._folder is None:
            self._folder = Folder(self._host.data_dir / "backup")
        return self._folder

    async def files(self) -> list[File]:
        """Every file, the oldest first."""
        return await _in_thread(self.folder.listing)

    async def delete(self, name: str) -> None:
        """Remove a file."""
        await _in_thread(lambda: self.folder.delete(name))

    async def text(self, name: str) -> bytes:
        """A file's text, as a JSON string."""
        async with self._turn(), self._open(name) as descriptor:
            return await self._reader.text_of(descriptor)

    async def export(self) -> File:
        """Write everything to a new file."""
        async with self._turn(), self._draft() as draft:
            await write_export(self._host, draft)
            return await self._keep(draft, None)

    async def upload(self, raw: bytes, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Keep the file that the body of a request has, unless something is wrong with it. Returns what the request
        said: `file` is True when there was a file, `json` whether it is JSON, `filename` its name."""
        async with self._turn():
            report, text = await self._reader.upload(raw, query)
            name = report.get("filename")
            if report.get("json") and (name is None or good_name(name)):
                await self._store(text, name)
            return report

    async def look(self, raw: bytes, over: Mapping[str, Any]) -> Content:
        """What the body of a request has, be it an export or the name of one; `over` hides its members."""
        async with self._turn():
            return await self._reader.content(raw, over)

    async def import_file(self, name: str, over: Mapping[str, Any] | None = None) -> list[str]:
        """Take a file of the folder. Returns a line for everything that was not taken as it stood. `over` replaces
        members of the file."""
        async with self._turn(), self._open(name) as descriptor:
            return await self._import(await self._reader.content_of(descriptor, over or {}))

    async def import_path(self, path: Path, over: Mapping[str, Any] | None = None) -> list[str]:
        """The same for a file that is anywhere: for commands, never for requests."""
        async with self._turn(), _opened(path) as descriptor:
            return await self._import(await self._reader.content_of(descriptor, over or {}))

    async def import_content(self, raw: bytes, content: Content) -> list[str]:
        """Take what `look` found, and keep it as a file with an automatic name."""
        async with self._turn():
            notes = await self._import(content)
            await self._store(raw, None)
            return notes

    async def _import(self, content: Content) -> list[str]:
        async with self._changing:
            one = Import(self._host, content)
            await one.run()
            return one.notes

    async def _store(self, text: bytes, name: str | None) -> None:
        async with self._draft() as draft:
            await _in_thread(lambda: draft.write(text))
            await self._keep(draft, name)

    async def _keep(self, draft: Draft, name: str | None) -> File:
        now = self._host.wall()
        return await _in_thread(lambda: self.folder.keep(draft, name, now))

    @asynccontextmanager
    async def _draft(self) -> AsyncGenerator[Draft, None]:
        draft = await _in_thread(self.folder.draft)
        try:
            yield draft
        finally:
            with trio.CancelScope(shield=True):
                await _in_thread(lambda: self.folder.discard(draft))

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncGenerator[int, None]:
        descriptor = await _in_thread(lambda: self.folder.open(name))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """A place among those who do something large."""
        if self._waiting >= MAX_WAITING:
            raise BackupError(BUSY, "too many exports, imports and uploads at once: try again later")
        self._waiting += 1
        try:
            with memory.paused():
                yield
        finally:
            self._waiting -= 1


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[int, None]:
    """A regular file, for reading."""

    def open_it() -> int:
        try:
            if not path.is_file():
                raise FileNotFoundError(path)
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise refused(error) from error

    descriptor = await _in_thread(open_it)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _in_thread(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call)
