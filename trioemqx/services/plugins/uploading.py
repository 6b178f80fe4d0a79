"""Plugins that come as a zip: looked at, kept, replaced, removed. Nothing here loads one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import trio

from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import PluginError, UploadRefused
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.plugins.switches import DESCRIPTIONS
from trioemqx.services.plugins.uploads import Staged, Uploads


@attrs.frozen
class Report:
    """What an archive holds. `files` are sizes by path; `in_the_way` says why it cannot be kept, a line each.
    `replaces` is the hash of the uploaded one of its name, `active` whether that is live."""

    found: Found
    sha256: str
    files: dict[str, int]
    in_the_way: tuple[str, ...]
    replaces: str
    active: bool


class Uploading:
    """One upload at a time: each may hold a large archive. Every method raises PluginError."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._busy = False

    @property
    def _folder(self) -> Uploads:
        return self._manager.catalogue.uploads

    async def look(self, raw: bytes, *, replace: bool) -> Report:
        """What an archive holds; nothing of it is kept."""
        return await self._upload(raw, replace, None)

    async def keep(self, raw: bytes, by: str, at: float, *, replace: bool) -> Report:
        """Keep a plugin for somebody to load. With `replace` in place of an uploaded one of its name: if that is live,
        its code and its files stay until it is reloaded. `by` and `at` are who sends it, and when in Unix seconds."""
        return await self._upload(raw, replace, (by, at))

    async def remove(self, name: str) -> str:
        """Remove an uploaded plugin that is not live, nor should be. Returns the hash of its archive."""
        hashes: list[str] = []

        async def remove_it(name: str) -> None:
            manager = self._manager
            record = (await manager.off_loop(self._folder.records)).get(name)
            if record is None:
                raise PluginError(f"{name}: was not uploaded", "not_found")
            await manager.off_loop(manager.catalogue.discover)
            if name in manager.catalogue.uploaded and manager.is_held(name):
                raise UploadRefused(f"{name}: unload it first")
            await manager.off_loop(partial(self._folder.remove, name))
            await self._tidy()
            hashes.append(record.sha256)

        with self._turn():
            await self._manager.change(remove_it, name)
        return hashes[0]

    async def _upload(self, raw: bytes, replace: bool, keep: tuple[str, float] | None) -> Report:
        reports: list[Report] = []

        async def take(_: str) -> None:
            manager, folder = self._manager, self._folder
            staged = None
            try:
                staged = await manager.off_loop(partial(folder.stage, raw))
                await manager.off_loop(manager.catalogue.discover)
                report = self._report(staged, replace)
                if keep is not None:
                    if report.in_the_way:
                        raise UploadRefused("; ".join(report.in_the_way))
                    await manager.off_loop(partial(folder.keep, staged, *keep))
                reports.append(report)
            finally:
                with trio.CancelScope(shield=True):
                    if staged is not None:
                        await manager.off_loop(partial(folder.discard, staged))
                    await self._tidy()

        with self._turn(), trio.CancelScope(shield=True):  # else the next one might begin before this one has ended
            await self._manager.change(take, "upload")
        return reports[0]

    async def _tidy(self) -> None:
        """Remove what nobody needs any more."""
        manager = self._manager
        await manager.off_loop(partial(self._folder.tidy, manager.folders()))
        await manager.off_loop(manager.catalogue.discover)

    def _report(self, staged: Staged, replace: bool) -> Report:
        manager, name = self._manager, staged.found.name
        before = manager.catalogue.uploaded.get(name)
        return Report(
            staged.found,
            staged.sha256,
            staged.files,
            tuple(map(str, self._in_the_way(name, replace))),
            before.sha256 if before is not None else "",
            before is not None and name in manager.live,
        )

    def _in_the_way(self, name: str, replace: bool) -> Iterator[UploadRefused]:
        """Why a plugin of this name cannot be kept."""
        catalogue, folded = self._manager.catalogue, name.casefold()
        if name in catalogue.uploaded:
            if not replace:
                yield UploadRefused(f"{name}: was uploaded already, and is replaced only with replace=true")
            return
        for other in {*DESCRIPTIONS, *catalogue.found, *self._manager.live}:
            if other.casefold() == folded:
                yield UploadRefused(f"{other}: is here already, and was not uploaded")
        if name in (self._manager.config.plugins.load or ()):
            yield UploadRefused(f"{name}: would be loaded at the next start by itself: take it from plugins.load first")
        elif catalogue.is_wanted(name):
            yield UploadRefused(f"{name}: would be loaded at the next start by itself: ctl plugins unload {name}")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._busy:
            raise UploadRefused("another upload is under way: try again")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
