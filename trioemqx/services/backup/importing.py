"""Brings the rows of an export into force: everything is looked at before anything is changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import trio

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.saved import is_fixed
from trioemqx.config.show import is_secret
from trioemqx.errors import ListenerError
from trioemqx.services.applications import MAX_APPS, Application
from trioemqx.services.backup.content import Content
from trioemqx.services.backup.errors import BAD_PARAMS, FAILED, BackupError
from trioemqx.services.backup.rows import read_app, read_ban, read_user
from trioemqx.services.banned import Ban, BanRefused
from trioemqx.services.dashboard_users import ADMIN, MAX_USERS, DashboardUser
from trioemqx.services.overrides import NotSaved
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.secrets import hash_secret, is_hash, verify_secret
from trioemqx.services.store.protocol import HIGH_MARK, Store, StoreError

if TYPE_CHECKING:
    from trioemqx.services.backup import BackupHost

log = logging.getLogger("trioemqx.backup")

T = TypeVar("T")
PAGE: Final = 100
"""Rows that are handled in one go; then it is other tasks' turn."""
AUTH_PLUGIN: Final = "emqx_auth_mnesia"
ROSTER: Final = ("acl_roles", "acl_groups", "acl_members")
"""The plugin's roles and groups, which EMQX does not have and skips."""
AUTH: Final = ("auth_mnesia", "acl_mnesia", "auth_clientid", "auth_username", *ROSTER)
REPORTED: Final = ("rules", "resources", "auth_mnesia", "acl_mnesia", *ROSTER)
WELL_KNOWN: Final = "public"
"""The secret and the password that every broker is shipped with."""
HASHING: Final = 2
MAX_PLUGINS: Final = 200
CANNOT: Final = (ConfigErrors, ListenerError, PluginError)
"""Why settings are refused."""


@attrs.frozen
class Ready:
    """Everything in an export, as it will be entered."""

    rules: Sequence[Mapping[str, Any]]
    resources: Sequence[Mapping[str, Any]]
    bans: Sequence[Ban]
    apps: Sequence[Application]
    users: Sequence[DashboardUser]


class Import:
    """One import. `notes` are lines about what was not taken as it stood."""

    def __init__(self, host: BackupHost, content: Content) -> None:
        self._host = host
        self._content = content
        self.notes: list[str] = []

    async def run(self) -> None:
        """Do it. Raises BackupError; nothing has been changed then, but for plugins that were loaded."""
        if not self._content.version:
            raise BackupError(BAD_PARAMS, "there is no version: this is no export")
        self._content.check_version()
        ready = await self._ready()
        self._check_room(ready)
        saved = await self._saved()
        await self._load_plugins()
        await self._take_auth()
        with trio.CancelScope(shield=True):
            await self._take(ready)
            await self._take_saved(saved)
            await self._settled()
        self._note_unknown()
        self._report(ready)

    async def _ready(self) -> Ready:
        """Read every section, and hash what has to be hashed."""
        now = int(self._host.wall())
        rules = await self._read("rules", partial(self._host.rules.transfer.checked, "rules"))
        resources = await self._read("resources", partial(self._host.rules.transfer.checked, "resources"))
        bans = await self._read("blacklist", lambda row: read_ban(row, now))
        apps = await self._hashed(await self._read("apps", self._app))
        users = [await _marked(user) for user in await self._read("users", read_user)]
        return Ready(rules, resources, bans, self._own_apps(apps), self._own_users(users))

    async def _read(self, section: str, read: Callable[[dict[str, Any]], T]) -> list[T]:
        """The rows of a section. Raises BackupError that names the row and what is wrong."""
        found = []
        async for place, row in Turns(enumerate(self._content.lists.get(section, ()))):
            try:
                found.append(read(row))
            except ValueError as error:
                raise BackupError(FAILED, f"{section}[{place}]: missing or not valid: {error}") from None
        return found

    def _app(self, row: Mapping[str, Any]) -> Application:
        """An application; one that a file without roles has keeps that which it has here. Raises ValueError."""
        name = row.get("id")
        there = self._host.applications.find(name) if isinstance(name, str) else None
        return read_app(row) if there is None else read_app(row, there.role)

    async def _hashed(self, apps: list[Application]) -> list[Application]:
        """Applications with hashes in place of secrets. Hashing is slow on purpose."""
        made: dict[int, Application] = {}
        limiter = trio.CapacityLimiter(HASHING)

        async def take(place: int, app: Application) -> None:
            made[place] = await trio.to_thread.run_sync(_hashed, app, limiter=limiter, abandon_on_cancel=True)

        for start in range(0, len(apps), PAGE):
            async with trio.open_nursery() as nursery:
                for place, app in enumerate(apps[start : start + PAGE], start):
                    if app.app_id == "admin" or not is_hash(app.secret):
                        nursery.start_soon(take, place, app)
        return [made.get(place, app) for place, app in enumerate(apps)]

    def _own_apps(self, apps: list[Application]) -> list[Application]:
        """Without one whose secret everybody knows, where there is one with a secret of its own."""
        fine = []
        for app in apps:
            there = self._host.applications.find(app.app_id)
            if app.shipped and there is not None and not there.shipped:
                self.notes.append(f"application {app.app_id} keeps its secret: that of the file is known to everybody")
            else:
                fine.append(app)
        return fine

    def _own_users(self, users: list[DashboardUser]) -> list[DashboardUser]:
        """The same for dashboard users."""
        fine = []
        for user in users:
            there = self._host.dashboard_users.find(user.username)
            if user.shipped and there is not None and not there.shipped:
                self.notes.append(f"user {user.username} keeps the password: that of the file is known to everybody")
            else:
                fine.append(user)
        return fine

    def _check_room(self, ready: Ready) -> None:
        """Raise BackupError unless there is room for all of it."""
        host = self._host
        apps = {app.app_id for app in (*ready.apps, *host.applications.entries())}
        users = {user.username for user in (*ready.users, *host.dashboard_users.entries())}
        for section, names, most in (("apps", apps, MAX_APPS), ("users", users, MAX_USERS)):
            if len(names) > most:
                raise BackupError(FAILED, f"{section}: at most {most}")
        if len(ready.bans) > host.banned.room():
            raise BackupError(FAILED, f"blacklist: there is room for {host.banned.room()} bans more")

    async def _saved(self) -> dict[str, object]:
        """Settings that were changed in the dashboard; secrets are in no export. Raises BackupError when they do not
        fit here: nothing is taken of a file with a mistake."""
        given = self._content.ours.get("saved")
        saved = {str(key): value for key, value in given.items()} if isinstance(given, dict) else {}
        for key in [key for key in saved if is_fixed(key) or is_secret(key)]:
            self.notes.append(f"setting {key[:200]} is not taken from a file")
            del saved[key]
        if saved:
            overrides = self._host.overrides
            try:
                await overrides.checked({**overrides.saved(), **saved})
            except CANNOT as error:
                raise BackupError(FAILED, f"saved settings: {_reason(error)}") from error
        return saved

    async def _take_saved(self, saved: Mapping[str, object]) -> None:
        if not saved:
            return
        try:
            outcome = await self._host.overrides.change(saved)
        except (*CANNOT, NotSaved) as error:
            raise BackupError(FAILED, f"saved settings: {_reason(error)}; everything else is in force") from error
        self.notes += outcome.problems

    async def _load_plugins(self) -> None:
        """What was loaded where the export was made, and is here but not loaded. Nothing is unloaded."""
        for kind in ("plugin", "module"):
            names = self._content.ours.get(f"{kind}s")
            given = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
            wanted = [name for name in given[:MAX_PLUGINS] if name not in self._host.plugins.live]
            here = {found.name for found in await self._host.plugins.look(kind)} if wanted else set()
            for name in [name for name in wanted if name in here]:
                try:
                    await self._host.plugins.load(name)
                except PluginError as error:
                    self.notes.append(f"{kind} {name} was not loaded: {error}")

    async def _take_auth(self) -> None:
        """Users and access rows of clients are the plugin's; without it they are skipped, as in EMQX."""
        data: dict[str, Any] = {name: self._content.lists[name] for name in AUTH if self._content.lists.get(name)}
        if not data:
            return
        live = self._host.plugins.live.get(AUTH_PLUGIN)
        if live is None:
            self.notes.append(f"{', '.join(data)} skipped: load {AUTH_PLUGIN} and import again")
            return
        kind = self._content.header.get("auth.mnesia.as")
        instance: Any = live.instance
        try:
            await instance.import_data({**data, "auth.mnesia.as": kind} if isinstance(kind, str) else data)
        except PluginError as error:
            raise BackupError(FAILED, str(error)) from error

    async def _take(self, ready: Ready) -> None:
        host, version = self._host, self._content.version
        self.notes += await host.rules.transfer.take(ready.resources, ready.rules, version)
        async for ban in Turns(ready.bans, host.store):
            try:
                host.banned.create(ban.kind, ban.who, by=ban.by, reason=ban.reason, at=ban.at, until=ban.until)
            except BanRefused as error:  # clients cause bans as well, and may have been quicker
                self.notes.append(f"{ban.kind} {ban.who[:100]!r} is not banned: {error}")
        async for app in Turns(ready.apps, host.store):
            await host.applications.take(app)
        async for user in Turns(ready.users, host.store):
            await host.dashboard_users.take(user)

    async def _settled(self) -> None:
        """Wait until the store has it: batches are settled in order. Raises BackupError."""
        try:
            await self._host.store.apply([]).wait()
        except StoreError as error:
            raise BackupError(FAILED, f"in force, but not on disk: {error}") from error

    def _note_unknown(self) -> None:
        unknown = self._content.header.get("unknown")
        if unknown:
            self.notes.append(f"members that nobody here knows: {', '.join(unknown)}")

    def _report(self, ready: Ready) -> None:
        for note in self.notes[:50]:
            log.warning("import: %s", note)
        log.info(
            "imported: %d bans, %d applications, %d users, %s",
            len(ready.bans),
            len(ready.apps),
            len(ready.users),
            ", ".join(f"{len(self._content.lists.get(name, ()))} of {name}" for name in REPORTED),
        )


def _reason(error: Exception) -> str:
    """The first thing that is wrong."""
    return str(error.errors[0]) if isinstance(error, ConfigErrors) else str(error)


class Turns(Generic[T]):
    """Each of many, for `async for`. After a page of them it is other tasks' turn, and the store's when much waits for
    the disk: only so much may."""

    def __init__(self, items: Iterable[T], store: Store | None = None) -> None:
        self._items = iter(items)
        self._store = store
        self._taken = 0

    def __aiter__(self) -> Turns[T]:
        return self

    async def __anext__(self) -> T:
        self._taken += 1
        if self._taken % PAGE == 0:
            await trio.lowlevel.checkpoint()
            if self._store is not None and self._store.pending() > HIGH_MARK:
                with suppress(StoreError):  # the import asks at its end whether everything is safe
                    await self._store.apply([]).wait()
        for item in self._items:
            return item
        raise StopAsyncIteration


def _hashed(app: Application) -> Application:
    """In a thread."""
    if is_hash(app.secret):
        return attrs.evolve(app, shipped=verify_secret(WELL_KNOWN, app.secret))
    return attrs.evolve(app, secret=hash_secret(app.secret), shipped=app.secret == WELL_KNOWN)


async def _marked(user: DashboardUser) -> DashboardUser:
    """A user, `shipped` when the password is the one that everybody knows."""
    if user.username != ADMIN:
        return user
    known = await trio.to_thread.run_sync(verify_secret, WELL_KNOWN, user.password, abandon_on_cancel=True)
    return attrs.evolve(user, shipped=known)
