"""Who is in which group, and who holds which role directly, found from either side.

A member is a client identifier or a user name. All are in memory, each change is also written to the broker's store: a
row for each member.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any, Final

from trioemqx.plugin import PluginError, Table

from .roles import Limits, RosterError, RosterFull, checked_name
from .users import KINDS, is_text

GROUPS: Final = "groups"
ROLES: Final = "roles"
PLACES: Final = {GROUPS: 0, ROLES: 1}
"""What a member may have, and where in its `Held` that is."""

Member = tuple[str, str]
"""(kind, name)."""
Held = tuple[tuple[str, ...], tuple[str, ...]]
"""(groups, roles), what came last first."""


class Members:
    """`held` by member, and the members by what they have: `of["groups"]["night shift"]`. What is in `held` is in
    `of`, and the other way round."""

    def __init__(self, table: Table, limits: Limits) -> None:
        self.held: dict[Member, Held] = {}
        self.of: dict[str, dict[str, dict[Member, None]]] = {GROUPS: {}, ROLES: {}}
        self._table = table
        self._limits = limits

    async def load(self) -> None:
        """Read what the store has. Raises PluginError for a row that is not ours: it may be what keeps somebody out."""
        async with aclosing(self._table.rows()) as rows:
            async for key, row in rows:
                try:
                    member, held = read_member(dict(row))
                except RosterError as error:
                    raise PluginError(f"the store has a broken member {key:.100}: {error}") from None
                self.put(member, held)

    def among(self, what: str, owner: str) -> dict[Member, None]:
        """The members of a group, or those who hold a role directly, in the order in which they came."""
        return self.of[what].get(owner, {})

    def put(self, member: Member, held: Held) -> None:
        """Take into memory what a member has, in place of what it had; `save` is still to come."""
        for what, place in PLACES.items():
            for owner in self.held.get(member, ((), ()))[place]:
                if owner not in held[place]:
                    self._leave(what, owner, member)
            for owner in held[place]:
                self.of[what].setdefault(owner, {})[member] = None
        if held == ((), ()):
            self.held.pop(member, None)
        else:
            self.held[member] = held

    def add(self, what: str, owner: str, member: Member) -> None:
        """Add a member; once more changes nothing. Raises RosterFull."""
        held = self.held.get(member, ((), ()))
        mine = held[PLACES[what]]
        if owner in mine:
            return
        if member not in self.held and len(self.held) >= self._limits.members:
            raise RosterFull(f"full, auth.mnesia.max_acl_members is {self._limits.members}")
        if what == GROUPS and len(mine) >= self._limits.groups_each:
            raise RosterFull(f"full, auth.mnesia.max_acl_groups_per_member is {self._limits.groups_each}")
        if what == ROLES and len(mine) >= self._limits.holder:
            raise RosterFull(f"full, auth.mnesia.max_acl_roles_each is {self._limits.holder}")
        self._change(what, member, (owner, *mine))

    def remove(self, what: str, owner: str, member: Member) -> bool:
        """Remove a member; False when it was none."""
        mine = self.held.get(member, ((), ()))[PLACES[what]]
        if owner not in mine:
            return False
        self._change(what, member, tuple(other for other in mine if other != owner))
        return True

    def save(self, member: Member) -> None:
        """Write a member to the store as it is now."""
        held = self.held.get(member)
        if held is None:
            self._table.delete(_key(member))
        else:
            self._table.put(_key(member), write_member(member, held))

    async def settled(self) -> bool:
        """Wait for the store; False when it could not write all."""
        return await self._table.settled()

    def _change(self, what: str, member: Member, mine: tuple[str, ...]) -> None:
        groups, roles = self.held.get(member, ((), ()))
        self.put(member, (mine, roles) if what == GROUPS else (groups, mine))
        self.save(member)

    def _leave(self, what: str, owner: str, member: Member) -> None:
        among = self.of[what].get(owner, {})
        among.pop(member, None)
        if not among:
            self.of[what].pop(owner, None)


def checked_member(kind: object, name: object) -> Member:
    """A member. Raises RosterError."""
    if kind not in KINDS or not is_text(name):
        raise RosterError("a member is a clientid or a username, a text that is not empty")
    return str(kind), str(name)


def read_member(row: dict[str, Any]) -> tuple[Member, Held]:
    """(member, what it has) of a stored or exported row. Raises RosterError."""
    found = []
    for what in PLACES:
        names = row.get(what, [])
        if not isinstance(names, list) or len(set(map(str, names))) < len(names):
            raise RosterError(f"{what} are a list of different names")
        found.append(tuple(checked_name(name) for name in names))
    return checked_member(row.get("type"), row.get("login")), (found[0], found[1])


def write_member(member: Member, held: Held) -> dict[str, object]:
    """A row of a member, as it is stored and exported."""
    kind, name = member
    return {"login": name, "type": kind, "groups": list(held[0]), "roles": list(held[1])}


def _key(member: Member) -> str:
    return json.dumps(member, ensure_ascii=False)
