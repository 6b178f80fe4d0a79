"""Users and access rows in the broker's own store: EMQX's emqx_auth_mnesia, and roles and groups.

`users` and `acl` hold the two tables, `hashing` the forms of passwords, `backup` reads EMQX's exports, `commands` adds
`clientid`, `user` and `acl`, `api` the endpoints. `roster` holds what EMQX does not have: `roles` for many, and the
groups and `members` that have them; `taking`, `roster_commands` and `roster_api` are about these. Here is what joins
them: settings, hooks, hand-over, and the methods for users and rows.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Literal

import attrs
import trio

from trioemqx.plugin import ClientInfo, Credentials, Plugin, PluginError, Secret, Verdict, hookimpl

from . import commands, roster_commands
from .acl import KINDS as ACL_KINDS
from .acl import Acl, Row, write_row
from .api import AclApi, UsersApi
from .backup import Entry, TakingTurns, by_name, read_acl, read_users, save_each
from .hashing import MAX_ROUNDS, MIN_ROUNDS, fits, is_slow, keep
from .roles import Limits
from .roster import Roster
from .roster_api import RosterApi
from .taking import SECTIONS, Snapshot, Taking, export_rows, read_taking, snapshot
from .users import KINDS, OK, Records, Users, is_text, write_user

BAD_USERNAME_OR_PASSWORD = 0x86
FEW = 10
"""Access rows added between two turns of the other tasks: each puts the rows of its name in order."""
_positive = attrs.validators.ge(1)


@attrs.frozen
class Mnesia:
    """`[auth.mnesia]`"""

    password_hash: Literal["plain", "md5", "sha", "sha256", "sha512", "pbkdf2"] = "sha256"
    """How new passwords are stored."""
    pbkdf2_iterations: int = attrs.field(
        default=100_000, validator=[attrs.validators.ge(MIN_ROUNDS), attrs.validators.le(MAX_ROUNDS)]
    )
    """Rounds of pbkdf2; more are safer and slower."""
    max_users: int = attrs.field(default=200_000, validator=_positive)
    """Most users that are kept."""
    max_acl_rows: int = attrs.field(default=100_000, validator=_positive)
    """Most access rows that are kept."""
    max_acl_rows_per_name: int = attrs.field(default=1000, validator=_positive)
    """Most access rows of one client or user."""
    max_acl_roles: int = attrs.field(default=1000, validator=[_positive, attrs.validators.le(10_000)])
    """Most roles that are kept."""
    max_acl_rules_per_role: int = attrs.field(default=100, validator=[_positive, attrs.validators.le(1000)])
    """Most access rules of one role."""
    max_acl_groups: int = attrs.field(default=1000, validator=[_positive, attrs.validators.le(10_000)])
    """Most groups that are kept."""
    max_acl_roles_each: int = attrs.field(default=10, validator=[_positive, attrs.validators.le(100)])
    """Most roles of one group, and most that one client or user holds directly."""
    max_acl_members: int = attrs.field(default=200_000, validator=_positive)
    """Most clients and users that are in groups or hold roles."""
    max_acl_groups_per_member: int = attrs.field(default=10, validator=[_positive, attrs.validators.le(100)])
    """Most groups that one client or user is in."""

    @property
    def limits(self) -> Limits:
        """Those of roles and groups."""
        return Limits(
            roles=self.max_acl_roles,
            rules=self.max_acl_rules_per_role,
            groups=self.max_acl_groups,
            holder=self.max_acl_roles_each,
            members=self.max_acl_members,
            groups_each=self.max_acl_groups_per_member,
        )


@attrs.frozen
class Client:
    """`[auth.client.<n>]`"""

    clientid: str
    password: Secret


@attrs.frozen
class User:
    """`[auth.user.<n>]`"""

    username: str
    password: Secret


@attrs.frozen
class Config:
    """Three tables of EMQX's."""

    mnesia: Mnesia = attrs.field(factory=Mnesia)
    client: dict[str, Client] = attrs.field(factory=dict)
    """Client identifiers with passwords that are entered at the start."""
    user: dict[str, User] = attrs.field(factory=dict)
    """User names with passwords that are entered at the start."""


class AuthMnesia(Plugin[Config]):
    """Answers from memory. A kind is `clientid` or `username`, for access rows also `all` (with the name "").

    Methods for an API return plain data, never anything of a password. Those that change something return `ok` or what
    is wrong: `login`, `password`, `existed`, `noexisted`, `topic`, `action`, `access`, `full, <setting> is <number>`.
    """

    prefix = ("auth.mnesia", "auth.client", "auth.user")

    async def start(self) -> None:
        """Read the store, hash the passwords of entries from the settings. Raises PluginError."""
        settings = self.config.mnesia
        self.users = Users(self.context.table("users"), settings.max_users)
        self.acl = Acl(self.context.table("acl"), settings.max_acl_rows, settings.max_acl_rows_per_name)
        self.roster = Roster(self.context.table, settings.limits, self.context.broker.forget_acl, self._now)
        self._threads = trio.CapacityLimiter(os.cpu_count() or 1)
        self._first: list[tuple[str, str, bytes]] = []
        await self.users.load()
        await self.acl.load()
        await self.roster.load()
        await self._read_first()
        self._add_first()
        self._look_at_limits()
        commands.register(self.context, self)
        roster_commands.register(self.context, self.roster)
        served = (AclApi(self), UsersApi(self, "clientid"), UsersApi(self, "username"), RosterApi(self.roster))
        self.context.http.serve(*(endpoint for api in served for endpoint in api.endpoints()))

    async def _read_first(self) -> None:
        """The entries of the settings that are not in the store."""
        given = [("clientid", f"auth.client.{n}", c.clientid, c.password) for n, c in self.config.client.items()]
        given += [("username", f"auth.user.{n}", u.username, u.password) for n, u in self.config.user.items()]
        for kind, key, name, password in given:
            wrong = self._wrong(kind, name, password)
            if wrong:
                raise PluginError(
                    f"{self.context.name}: {key}: the {'password' if wrong == 'password' else kind} is empty"
                )
            if self.users.find(kind, name) is None:
                self._first.append((kind, name, await self._keep(password)))

    def _add_first(self) -> None:
        """Add them, unless somebody else has meanwhile."""
        for kind, name, kept in self._first:
            if self.users.find(kind, name) is None:
                room = self.users.room()
                if room != OK:
                    raise PluginError(f"{self.context.name}: no room for {kind} {name!r:.80} of the settings: {room}")
                self.users.put(kind, name, (kept, self._now()))

    def _look_at_limits(self) -> None:
        """What was stored under other limits stays, since a row that is missing may let somebody in."""
        for count, limit, key in (
            (len(self.users), self.users.limit, "max_users"),
            (self.acl.count, self.acl.limit, "max_acl_rows"),
            (len(self.roster.roles), self.roster.limits.roles, "max_acl_roles"),
            (len(self.roster.groups), self.roster.limits.groups, "max_acl_groups"),
            (len(self.roster.members.held), self.roster.limits.members, "max_acl_members"),
        ):
            if count > limit:
                self.log.warning("%d entries are more than auth.mnesia.%s = %d; no more are added", count, key, limit)

    def export_state(self) -> object:
        """At a reload: the tables, as they are now."""
        return {"users": self.users.records, "acl": self.acl.groups, "roster": self.roster.export_state()}

    def import_state(self, state: Any) -> None:
        """At a reload: what the generation before had, which is the store and what was changed since it was read."""
        self.users.records = state["users"]
        self.acl.adopt(state["acl"])
        if "roster" in state:  # a generation from before there were roles has none to hand over
            self.roster.import_state(state["roster"])
        self._add_first()

    # -- hooks -------------------------------------------------------------------------------------------------------

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        """Either of two entries may fit, the client identifier's or the user name's. With neither it is no affair of
        ours; with a wrong password it is."""
        found = (self.users.find("clientid", client.clientid), self.users.find("username", client.username))
        records = [record for record in found if record is not None]
        if not records:
            return None
        if credentials.password:
            for kept, _ in records:
                if await self._fits(kept, credentials.password):
                    return Verdict()
        return Verdict(BAD_USERNAME_OR_PASSWORD)

    @hookimpl
    def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """The rows of the client identifier, those of the user name, the roles of both, then the rows for all."""
        check = self.acl.check
        allowed = check("clientid", client.clientid, client, action, topic)
        if allowed is None:
            allowed = check("username", client.username, client, action, topic)
        if allowed is None:
            allowed = self.roster.check(client, action, topic)
        return check("all", "", client, action, topic) if allowed is None else allowed

    async def _fits(self, kept: bytes, password: bytes) -> bool:
        if not is_slow(kept):
            return fits(kept, password)
        return await trio.to_thread.run_sync(fits, kept, password, abandon_on_cancel=True, limiter=self._threads)

    async def _keep(self, password: str) -> bytes:
        settings = self.config.mnesia
        make = partial(keep, password.encode(), settings.password_hash, settings.pbkdf2_iterations)
        if settings.password_hash != "pbkdf2":
            return make()
        return await trio.to_thread.run_sync(make, abandon_on_cancel=True, limiter=self._threads)

    # -- users, for commands and an API ------------------------------------------------------------------------------

    def logins(self, kind: str) -> list[str]:
        """The names of a kind, in the order in which they were added."""
        return list(self.users.records[kind])

    def lookup_user(self, kind: str, login: str) -> dict[str, object] | None:
        """`{"clientid": "c1", "created_at": <milliseconds>}` or the same with `username`; None when there is none."""
        record = self.users.find(kind, login)
        return None if record is None else {kind: login, "created_at": record[1]}

    def list_users(self, kind: str) -> list[dict[str, object]]:
        """Every entry of a kind, as `lookup_user` gives it."""
        return [{kind: login, "created_at": created} for login, (_, created) in self.users.records[kind].items()]

    async def add_user(self, kind: str, login: str, password: str) -> str:
        """Add an entry; `existed` when there is one."""
        wrong = self._wrong(kind, login, password)
        if wrong:
            return wrong
        kept = await self._keep(password)
        if self.users.find(kind, login) is not None:
            return "existed"
        room = self.users.room()
        if room == OK:
            self.users.put(kind, login, (kept, self._now()))
        return room

    async def update_user(self, kind: str, login: str, password: str) -> str:
        """Give an entry another password; `noexisted` when there is none."""
        wrong = self._wrong(kind, login, password)
        if wrong:
            return wrong
        kept = await self._keep(password)
        record = self.users.find(kind, login)
        if record is None:
            return "noexisted"
        self.users.put(kind, login, (kept, record[1]))
        return OK

    def delete_user(self, kind: str, login: str) -> bool:
        """Remove an entry; False when there was none. Who is connected stays so."""
        return self.users.delete(kind, login)

    def _wrong(self, kind: str, login: object, password: object) -> str:
        if kind not in KINDS or not is_text(login):
            return "login"
        return "" if is_text(password) else "password"

    # -- access rows, for commands and an API ------------------------------------------------------------------------

    def acl_rows(self, kind: str, name: str | None = None) -> Iterator[Row]:
        """(kind, name, topic, action, access, milliseconds) of every row of a kind, or of one name; the newest of a
        name first."""
        for found in self.acl.names(kind) if name is None else [name]:
            yield from self.acl.listing(kind, found)

    def list_acl(self, kind: str, name: str | None = None) -> list[dict[str, object]]:
        """The same as `{"clientid": "c1", "topic": "t", "action": "pub", "access": "allow"}`, with `username`, or with
        `"all": "$all"`."""
        return [
            {kind: "$all" if kind == "all" else who, "topic": topic, "action": action, "access": access}
            for _, who, topic, action, access, _ in self.acl_rows(kind, name)
        ]

    def add_acl(self, kind: str, name: str, topic: str, action: str, access: str) -> str:
        """Add a row, or replace it. `action` is `pub`, `sub` or `pubsub` (two rows), `access` `allow` or `deny`."""
        result = self.acl.add(kind, name, topic, action, access, self._now())
        if result == OK:
            self.context.broker.forget_acl()
        return result

    async def add_acl_rows(self, rows: list[tuple[str, str, str, str, str]]) -> list[str]:
        """Add many, each with the arguments of `add_acl`; what became of each. Others have their turns meanwhile."""
        results = []
        try:
            for row in rows:
                results.append(self.acl.add(*row, self._now()))
                if len(results) % FEW == 0:
                    await trio.lowlevel.checkpoint()
            return results
        finally:
            self.context.broker.forget_acl()

    def delete_acl(self, kind: str, name: str, topic: str) -> bool:
        """Remove the rows of a topic, for both actions; False when there was none."""
        found = self.acl.delete(kind, name, topic)
        if found:
            self.context.broker.forget_acl()
        return found

    # -- backup ------------------------------------------------------------------------------------------------------

    def export_data(self) -> dict[str, list[dict[str, object]]]:
        """`auth_mnesia` and `acl_mnesia` of EMQX's `data export`."""
        rows = (row for kind in ACL_KINDS for row in self.acl_rows(kind))
        return {"auth_mnesia": list(self.users.rows()), "acl_mnesia": [write_row(row) for row in rows]}

    def export_roster(self) -> Snapshot:
        """Roles, groups and members as they are now, for `export_rows`."""
        return snapshot(self.roster)

    async def export_rows(self, member: str, roster: Snapshot | None = None) -> AsyncGenerator[dict[str, object], None]:
        """The rows of one of these members, or of one of `roster`, with others having their turns."""
        if member == "auth_mnesia":
            for kind in KINDS:
                async for name, record in TakingTurns(list(self.users.records[kind].items())):
                    yield write_user(kind, name, record)
        elif member == "acl_mnesia":
            for kind in ACL_KINDS:
                async for name in TakingTurns(self.acl.names(kind)):
                    for row in list(self.acl_rows(kind, name)):
                        yield write_row(row)
        elif member in SECTIONS:
            async with aclosing(export_rows(roster or self.export_roster(), member)) as found:
                async for kept in found:
                    yield kept

    async def import_data(self, data: Mapping[str, object]) -> None:
        """Take what an export has: what is of the same name is replaced, nothing goes. Also reads `auth_clientid` and
        `auth_username` of older exports. Raises PluginError; nothing is changed then."""
        now = self._now()
        users, rows = await read_users(data, now), await read_acl(data, now)
        roster = await read_taking(data, self.roster.limits, now)
        groups = await by_name(rows)
        records = await self._check_room(users, groups)
        await self._check_roster(roster)
        with trio.CancelScope(shield=True):
            await roster.take(self.roster)
            async for group in TakingTurns(list(groups.values())):  # the rows of a name in one step, users last
                self.acl.insert(group)
            self.context.broker.forget_acl()
            for kind, found in records.items():
                self.users.records[kind].update(found)
            safe = await save_each(users, lambda user: self.users.save(*user[:2]), self.context.table("users"))
            safe = await save_each(rows, self.acl.save, self.context.table("acl")) and safe
            safe = await roster.save(self.roster) and safe
        if not safe:
            raise PluginError(f"{self.context.name}: imported, but the store could not write it: see the log")

    async def _check_roster(self, roster: Taking) -> None:
        try:
            await roster.check(self.roster)
        except PluginError as error:
            raise PluginError(f"{self.context.name}: {error}") from None

    async def _check_room(self, users: list[Entry], groups: Mapping[tuple[str, str], list[Row]]) -> Records:
        """The users by kind and name. Raises PluginError unless all of these can be added."""
        records: Records = {kind: {} for kind in KINDS}
        new = 0
        async for kind, name, record in TakingTurns(users):
            new += name not in records[kind] and self.users.find(kind, name) is None
            records[kind][name] = record
        rooms = {self.users.room(new) if new else OK}
        more = 0
        async for group in TakingTurns(list(groups.values())):
            more += self.acl.missing(group)
            rooms.add(self.acl.room(group))
        if more and self.acl.count + more > self.acl.limit:
            rooms.add(f"full, auth.mnesia.max_acl_rows is {self.acl.limit}")
        for room in rooms - {OK}:
            raise PluginError(f"{self.context.name}: {room}")
        return records

    def _now(self) -> int:
        return int(self.context.wall() * 1000)


plugin = AuthMnesia
