"""Roles, the groups that have them, and the members of both: what is asked about a client, and what is changed.

A role is a list of access rules. A client has the roles that its clientid and its username hold directly, then those of
the groups that either is in, the group with the highest priority first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final

import trio

from trioemqx.plugin import ClientInfo, PluginError, Table

from .acl import Ready
from .backup import TakingTurns
from .members import GROUPS, ROLES, Held, Member, Members
from .roles import (
    EntryExists,
    Group,
    Limits,
    NoSuchEntry,
    NotWritten,
    Role,
    RosterError,
    RosterFull,
    checked_group,
    checked_name,
    checked_role,
    read_group,
    read_role,
    write_group,
    write_role,
)

NO_LIMITS: Final = Limits(*[2**31] * 6)
"""For what is in the store: a lowered limit removes nothing."""
SHOWN: Final = 3
"""Groups that an error names."""
WAITING: Final = 1000
"""Rows that wait for the disk at a time."""


class Roster:
    """`changed` is called when access may be another one from now on. `now` gives Unix milliseconds.

    What changes something raises RosterError, whose text says why, and has changed nothing then. `leaving` are the
    groups whose members are still being taken out."""

    def __init__(
        self, table: Callable[[str], Table], limits: Limits, changed: Callable[[], None], now: Callable[[], int]
    ) -> None:
        self.limits = limits
        self.roles: dict[str, Role] = {}
        self.groups: dict[str, Group] = {}
        self.members = Members(table("acl_members"), limits)
        self.leaving: set[str] = set()
        self._roles_table, self._groups_table = table("acl_roles"), table("acl_groups")
        self.changed = changed
        self._now = now
        self._ready: dict[str, tuple[Role, Ready]] = {}

    async def load(self) -> None:
        """Read what the store has. Raises PluginError for what is not ours, or has a part that is not there."""
        await self.members.load()
        await _load(self._groups_table, "group", self.groups, read_group)
        await _load(self._roles_table, "role", self.roles, read_role)
        await trio.lowlevel.checkpoint()
        try:
            for group in self.groups.values():
                self.check_roles(group[2])
            for what, there in ((GROUPS, self.groups), (ROLES, self.roles)):
                _check_there(what, self.members.of[what], there)
        except RosterError as error:
            raise PluginError(f"the store has only a part of roles and groups: {error}") from None

    def export_state(self) -> dict[str, object]:
        """For the next generation: plain data, as it is now."""
        members = {"held": self.members.held, "of": self.members.of}
        return {"roles": self.roles, "groups": self.groups, "leaving": self.leaving, **members}

    def import_state(self, state: Any) -> None:
        """Take what the generation before had."""
        self.roles, self.groups, self.leaving = state["roles"], state["groups"], state["leaving"]
        self.members.held, self.members.of = state["held"], state["of"]

    # -- asking ------------------------------------------------------------------------------------------------------

    def check(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """What the first rule of the client's roles says that fits; None when none does, or it has none."""
        found = self.held_by(client.clientid, client.username) if self.members.held else None
        for role in self.roles_of(found) if found else ():
            allowed = self._ready_of(role).check(client, action, topic)
            if allowed is not None:
                return allowed
        return None

    def _ready_of(self, name: str) -> Ready:
        """A role ready to be asked, anew where the role is another one: at a reload the generation before may still
        work off a request."""
        role = self.roles[name]
        made = self._ready.get(name)
        if made is None or made[0] is not role:
            made = self._ready[name] = (role, Ready(role[1]))
        return made[1]

    def held_by(self, clientid: str | None, username: str | None) -> list[Held]:
        """What a client has by its clientid, and by its username."""
        held = self.members.held
        found = (
            held.get((kind, name))
            for kind, name in (("clientid", clientid), ("username", username))
            if name is not None
        )
        return [mine for mine in found if mine is not None]

    def groups_of(self, found: Iterable[Held]) -> list[str]:
        """The groups of a client, given what it has, in the order in which they are asked."""
        groups = {group for mine, _ in found for group in mine if group in self.groups}
        return sorted(groups, key=lambda name: (-self.groups[name][1], name))

    def roles_of(self, found: Sequence[Held]) -> list[str]:
        """Its roles in the order in which they are asked, each one once."""
        roles = [role for _, direct in found for role in direct]
        for group in self.groups_of(found):
            roles += self.groups[group][2]
        return list(dict.fromkeys(roles))

    def users_of_roles(self) -> Counter[str]:
        """How many groups have each role."""
        return Counter(role for group in self.groups.values() for role in group[2])

    # -- roles -------------------------------------------------------------------------------------------------------

    def add_role(self, name: object, description: object = "", rules: object = ()) -> None:
        """Add a role."""
        role = checked_role(description, rules, self._now(), self.limits)
        name = self._new(name, self.roles)
        if len(self.roles) >= self.limits.roles:
            raise RosterFull(f"full, auth.mnesia.max_acl_roles is {self.limits.roles}")
        self.roles[name] = role
        self.save_role(name)

    def update_role(self, name: str, description: object = None, rules: object = None) -> None:
        """Replace its description, its rules, or both."""
        old_description, old_rules, created = self.role(name)
        if rules is None:
            rules = [dict(zip(("topic", "action", "access"), rule, strict=True)) for rule in old_rules]
        role = checked_role(old_description if description is None else description, rules, created, self.limits)
        self.roles[name] = role
        self.save_role(name)
        self.changed()

    def delete_role(self, name: str) -> bool:
        """Remove a role; False when there is none. One that somebody has stays: without its rules something else would
        decide about them."""
        if name not in self.roles:
            return False
        groups = [group for group, (_, _, roles, _) in self.groups.items() if name in roles]
        if groups:
            more = ", ..." if len(groups) > SHOWN else ""
            raise RosterError(f"groups have this role: {', '.join(groups[:SHOWN])}{more}")
        holders = len(self.members.among(ROLES, name))
        if holders:
            raise RosterError(f"clients or users hold this role: {holders}")
        del self.roles[name]
        self.save_role(name)
        return True

    def role(self, name: str) -> Role:
        """Raises NoSuchEntry."""
        if name not in self.roles:
            raise NoSuchEntry("there is no such role")
        return self.roles[name]

    def save_role(self, name: str) -> None:
        """Write a role to the store as it is now."""
        if name in self.roles:
            self._roles_table.put(name, write_role(name, self.roles[name]))
        else:
            self._roles_table.delete(name)
            self._ready.pop(name, None)

    # -- groups ------------------------------------------------------------------------------------------------------

    def add_group(self, name: object, description: object = "", priority: object = 0, roles: object = ()) -> None:
        """Add a group without members."""
        group = checked_group(description, priority, roles, self._now(), self.limits)
        self.check_roles(group[2])
        name = self._new(name, self.groups)
        if len(self.groups) >= self.limits.groups:
            raise RosterFull(f"full, auth.mnesia.max_acl_groups is {self.limits.groups}")
        self.groups[name] = group
        self.save_group(name)

    def update_group(
        self, name: str, description: object = None, priority: object = None, roles: object = None
    ) -> None:
        """Replace what is given."""
        old_description, old_priority, old_roles, created = self.group(name)
        group = checked_group(
            old_description if description is None else description,
            old_priority if priority is None else priority,
            old_roles if roles is None else roles,
            created,
            self.limits,
        )
        self.check_roles(group[2])
        self.groups[name] = group
        self.save_group(name)
        self.changed()

    async def delete_group(self, name: str) -> bool:
        """Remove a group, and its members from it; False when there is none. It decides nothing any more at once; the
        store hears of the members first and of the group last, so that a group of the same name, later, has none of
        them whatever happens meanwhile."""
        if self.groups.pop(name, None) is None:
            return False
        self.leaving.add(name)
        self.changed()
        with trio.CancelScope(shield=True):
            safe = await self._send_away(name)
            self.leaving.discard(name)
            self.save_group(name)
        if not safe:
            raise NotWritten("deleted, but the store could not write it: see the log")
        return True

    async def _send_away(self, name: str) -> bool:
        safe = True
        leaving = list(self.members.among(GROUPS, name))
        for start in range(0, len(leaving), WAITING):
            async for member in TakingTurns(leaving[start : start + WAITING]):
                self.members.remove(GROUPS, name, member)
            safe = await self.members.settled() and safe
        return safe

    def group(self, name: str) -> Group:
        """Raises NoSuchEntry."""
        if name not in self.groups:
            raise NoSuchEntry("there is no such group")
        return self.groups[name]

    def save_group(self, name: str) -> None:
        """Write a group to the store as it is now."""
        if name in self.groups:
            self._groups_table.put(name, write_group(name, self.groups[name]))
        else:
            self._groups_table.delete(name)

    # -- members -----------------------------------------------------------------------------------------------------

    def owner(self, what: str, name: str) -> object:
        """The group or the role. Raises NoSuchEntry."""
        return self.group(name) if what == GROUPS else self.role(name)

    async def add_members(self, what: str, owner: str, members: Iterable[Member]) -> list[str]:
        """Add to a group, or give a role to; what is wrong with each, "" for nothing. Others have their turns."""
        return await self._each(what, owner, members, self.members.add)

    async def remove_members(self, what: str, owner: str, members: Iterable[Member]) -> list[str]:
        """Take out of a group, or take a role from; who is none is no error."""
        return await self._each(what, owner, members, self.members.remove)

    async def _each(
        self, what: str, owner: str, members: Iterable[Member], act: Callable[[str, str, Member], object]
    ) -> list[str]:
        results = []
        try:
            async for member in TakingTurns(list(members)):
                self.owner(what, owner)  # it may be gone since the last turn of the others
                try:
                    act(what, owner, member)
                    results.append("")
                except RosterError as error:
                    results.append(str(error))
                if len(results) % WAITING == 0:
                    await self.members.settled()
            return results
        finally:
            self.changed()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _new(self, name: object, there: Iterable[str]) -> str:
        found = checked_name(name)
        if found in there:
            raise EntryExists("there is one of this name already")
        if there is self.groups and found in self.leaving:
            raise EntryExists("a group of this name is just being deleted: try again")
        return found

    def check_roles(self, names: Iterable[str], more: Iterable[str] = ()) -> None:
        """Raise RosterError unless there are these roles, here or among `more`."""
        for name in names:
            if name not in self.roles and name not in more:
                raise RosterError(f"there is no role {name}")


async def _load(table: Table, kind: str, into: dict[str, Any], read: Callable[..., tuple[str, Any]]) -> None:
    async with aclosing(table.rows()) as rows:
        async for key, row in rows:
            try:
                name, found = read(dict(row), NO_LIMITS)
            except (RosterError, ValueError) as error:
                raise PluginError(f"the store has a broken {kind} {key:.100}: {error}") from None
            into[name] = found


def _check_there(what: str, names: Iterable[str], there: Iterable[str]) -> None:
    for name in names:
        if name not in there:
            raise RosterError(f"members of {what} {name}, which there is not")
