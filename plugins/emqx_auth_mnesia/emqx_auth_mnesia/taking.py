"""Roles, groups and members in exports: writing them, reading them, and bringing them into force."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from .backup import TakingTurns, each_row
from .members import Held, Member, read_member, write_member
from .roles import (
    EntryExists,
    Group,
    Limits,
    Role,
    RosterError,
    RosterFull,
    read_group,
    read_role,
    write_group,
    write_role,
)
from .roster import WAITING, Roster

SECTIONS: Final = ("acl_roles", "acl_groups", "acl_members")
"""Members of an export; EMQX has none of them."""
Snapshot = dict[str, dict[Any, Any]]
"""What there is, by section and name: plain data."""


@attrs.frozen
class Taking:
    """What an export has of them, by name. What is of the same name is replaced, nothing goes."""

    roles: dict[str, Role]
    groups: dict[str, Group]
    members: dict[Member, Held]

    async def check(self, roster: Roster) -> None:
        """Raise RosterError unless all of these can be taken."""
        limits = roster.limits
        await _check_room(self.roles, roster.roles, limits.roles, "max_acl_roles")
        await _check_room(self.groups, roster.groups, limits.groups, "max_acl_groups")
        await _check_room(self.members, roster.members.held, limits.members, "max_acl_members")
        self._check_parts(roster)
        async for member, held in TakingTurns(list(self.members.items())):
            self._check_held(member, held, roster)

    def _check_held(self, member: Member, held: Held, roster: Roster) -> None:
        who = f"{member[0]} {member[1]:.80}"
        for names, there, new in ((held[0], roster.groups, self.groups), (held[1], roster.roles, self.roles)):
            for name in names:
                if name not in there and name not in new:
                    raise RosterError(f"{who} has {name}, which there is not")
        if len(held[0]) > roster.limits.groups_each or len(held[1]) > roster.limits.holder:
            raise RosterFull(f"{who} has more groups or roles than auth.mnesia allows")

    def _check_parts(self, roster: Roster) -> None:
        for name, group in self.groups.items():
            if name in roster.leaving:
                raise EntryExists("a group of this name is just being deleted: try again")
            roster.check_roles(group[2], self.roles)

    async def take(self, roster: Roster) -> None:
        """Take these into memory. Raises RosterError, with nothing changed, when a role that a group needs has gone
        since `check`."""
        self._check_parts(roster)
        roster.roles.update(self.roles)
        roster.groups.update(self.groups)
        async for member, (groups, roles) in TakingTurns(list(self.members.items())):
            there = tuple(group for group in groups if group in roster.groups)
            roster.members.put(member, (there, tuple(role for role in roles if role in roster.roles)))
        roster.changed()

    async def save(self, roster: Roster) -> bool:
        """Write these to the store; False when it did not take all."""
        safe = await _save(roster, self.roles, roster.save_role)
        safe = await _save(roster, self.groups, roster.save_group) and safe
        return await _save(roster, self.members, roster.members.save) and safe


async def read_taking(data: Mapping[str, object], limits: Limits, now: int) -> Taking:
    """What an export has. Raises PluginError that names the row and what is wrong."""
    roles = await each_row(data, "acl_roles", lambda row: read_role(row, limits, now))
    groups = await each_row(data, "acl_groups", lambda row: read_group(row, limits, now))
    return Taking(dict(roles), dict(groups), dict(await each_row(data, "acl_members", read_member)))


def snapshot(roster: Roster) -> Snapshot:
    """Everything as it is now, for an export that takes its time: a group that is added meanwhile would otherwise be in
    it without its new role."""
    return {"acl_roles": {**roster.roles}, "acl_groups": {**roster.groups}, "acl_members": {**roster.members.held}}


async def export_rows(found: Snapshot, section: str) -> AsyncGenerator[dict[str, object], None]:
    """The rows of a member of an export, with others having their turns."""
    groups = found["acl_groups"]
    async for key, record in TakingTurns(found[section].items()):
        if section == "acl_roles":
            yield write_role(key, record)
        elif section == "acl_groups":
            yield write_group(key, record)
        else:  # some may still be members of a group that is being deleted
            yield write_member(key, (tuple(group for group in record[0] if group in groups), record[1]))


async def _check_room(new: Mapping[Any, object], there: Mapping[Any, object], limit: int, key: str) -> None:
    more = 0
    async for name in TakingTurns(list(new)):
        more += name not in there
    if more and len(there) + more > limit:
        raise RosterFull(f"full, auth.mnesia.{key} is {limit}")


async def _save(roster: Roster, names: Iterable[Any], save: Callable[[Any], None]) -> bool:
    safe = True
    listed = list(names)
    for start in range(0, len(listed), WAITING):
        async for name in TakingTurns(listed[start : start + WAITING]):
            save(name)
        safe = await roster.members.settled() and safe
    return safe
