"""Writes an export, a page of rows at a time, in EMQX 4.4's form. Retained messages and sessions are not in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from trioemqx.services import formats
from trioemqx.services.backup.folder import Draft
from trioemqx.services.backup.importing import AUTH_PLUGIN, ROSTER, Turns
from trioemqx.services.backup.reading import OURS
from trioemqx.services.backup.rows import write_app, write_ban, write_user

if TYPE_CHECKING:
    from trioemqx.services.backup import BackupHost

VERSION: Final = "4.4"
"""The form: what EMQX 4.4 imports."""
SECTIONS: Final = ("rules", "resources", "blacklist", "apps", "users", "auth_mnesia", "acl_mnesia", *ROSTER)
OF_RULES: Final = ("rules", "resources")
_ENOUGH: Final = 128 * 1024
"""Bytes that are written in one go."""

Rows = AsyncGenerator[Mapping[str, Any], None]


async def write_export(host: BackupHost, draft: Draft) -> None:
    """Write everything. Raises BackupError."""
    head = {"version": VERSION, "date": formats.local_time(host.wall())}
    roster = _roster(host)
    held = bytearray(msgspec.json.encode(head)[:-1])
    for section in SECTIONS:
        held += b',"%s":[' % section.encode("ascii")
        first = True
        async with aclosing(_rows(host, section, roster)) as rows:
            async for row in rows:
                held += b"" if first else b","
                held += msgspec.json.encode(row)
                first = False
                if len(held) >= _ENOUGH:
                    await trio.to_thread.run_sync(draft.write, bytes(held))
                    held.clear()
        held += b"]"
    held += b',"%s":%s}' % (OURS.encode("ascii"), msgspec.json.encode(_ours(host)))
    await trio.to_thread.run_sync(draft.write, bytes(held))


def _ours(host: BackupHost) -> dict[str, object]:
    """What EMQX has no member for."""
    live = host.plugins.live.values()
    return {
        "version": host.version,
        "node": host.node,
        "plugins": sorted(generation.name for generation in live if generation.found.kind == "plugin"),
        "modules": sorted(generation.name for generation in live if generation.found.kind == "module"),
        "saved": host.overrides.exported(),
    }


def _roster(host: BackupHost) -> object:
    """Roles, groups and members of one moment: they refer to each other. None while the plugin is not loaded."""
    live = host.plugins.live.get(AUTH_PLUGIN)
    instance: Any = live.instance if live is not None else None
    return None if instance is None else instance.export_roster()


async def _rows(host: BackupHost, section: str, roster: object) -> Rows:
    if section in OF_RULES:
        async with aclosing(host.rules.transfer.rows(section)) as rows:
            async for row in rows:
                yield row
    elif section == "blacklist":
        async for ban in Turns(host.banned.entries()):
            yield write_ban(ban)
    elif section == "apps":
        async for app in Turns(host.applications.entries()):
            yield write_app(app)
    elif section == "users":
        async for user in Turns(host.dashboard_users.entries()):
            yield write_user(user)
    else:
        async with aclosing(_auth_rows(host, section, roster)) as rows:
            async for row in rows:
                yield row


async def _auth_rows(host: BackupHost, section: str, roster: object) -> Rows:
    """Users, access rows or the like of clients; none while the plugin is not loaded."""
    live = host.plugins.live.get(AUTH_PLUGIN)
    if live is None:
        return
    instance: Any = live.instance
    async with aclosing(instance.export_rows(section, roster)) as rows:
        async for row in rows:
            yield row
