"""`trioemqx ctl acl role`, `acl group` and `acl member`, which EMQX does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from trioemqx.plugin import CommandError, Context

from .commands import WORDS, quoted
from .members import GROUPS, ROLES
from .roles import RosterError, write_group, write_role
from .roster import Roster
from .users import OK


def register(context: Context, roster: Roster) -> None:
    """Add the commands."""
    mine = RosterCommands(roster)

    def command(words: str, run: Callable[..., object], rest: str, help: str, data: Any = None) -> None:
        context.command(words, run, usage=f"{words}{rest}", help=help, data=data)

    for what, word, name in ((ROLES, "role", "<Role>"), (GROUPS, "group", "<Group>")):
        lines, rows = partial(mine.lines, what), partial(mine.rows, what)
        command(f"acl {word} list", lines, "", f"List acl {what}", rows)
        command(f"acl {word} show", lines, f" {name}", f"Lookup an acl {word}", rows)
        command(f"acl {word} delete", partial(mine.delete, what), f" {name}", f"Delete an acl {word}")
        command(
            f"acl {word} members", partial(mine.members, what), f" {name}", f"List who has the acl {word}",
            partial(mine.member_rows, what),
        )  # fmt: skip
        for typed, (kind, who) in WORDS.items():
            for verb, act in (("add", roster.add_members), ("del", roster.remove_members)):
                does = "Give an acl" if verb == "add" else "Take an acl"
                end = "to" if verb == "add" else "from"
                command(
                    f"acl {word} {typed} {verb}", partial(mine.member, act, what, kind), f" {name} {who}",
                    f"{does} {word} {end} a {kind}",
                )  # fmt: skip
    command(
        "acl member show", mine.member_lines, " <ClientId> [<Username>]",
        "Lookup the acl groups and roles of a client, in the order in which they are asked", mine.member_data,
    )  # fmt: skip
    command("acl role create", mine.create_role, " <Role>", "Add an acl role without rules")
    command(
        "acl role rule add", mine.add_rule, " <Role> <Topic> <Action> <Access> [<Place>]",
        "Add a rule to an acl role, at the end or before another one",
    )  # fmt: skip
    command("acl role rule del", mine.delete_rule, " <Role> <Place>", "Delete a rule of an acl role")
    command("acl group create", mine.create_group, " <Group> [<Priority>]", "Add an acl group")
    command("acl group role add", mine.add_role, " <Group> <Role>", "Give an acl group one more role")
    command("acl group role del", mine.delete_role, " <Group> <Role>", "Take a role from an acl group")


class RosterCommands:
    """What the commands do. What the roster refuses they print as `Error: ...`."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def rows(self, what: str, name: str | None = None) -> list[dict[str, object]]:
        """All, or one, as data."""
        roster = self._roster
        if name is not None:
            _asked(partial(roster.owner, what, name))
        if what == ROLES:
            return [write_role(one, role) for one, role in roster.roles.items() if name in (None, one)]
        return [write_group(one, group) for one, group in roster.groups.items() if name in (None, one)]

    def lines(self, what: str, name: str | None = None) -> Iterator[str]:
        """All, or one: a line for each, and for a role one for each rule."""
        printed: list[str] = []
        for row in self.rows(what, name):
            about = f"description = {quoted(str(row['description']))}"
            if what == GROUPS:
                names: Any = row["roles"]
                about = f"priority = {row['priority']} roles = [{','.join(map(quoted, names))}] {about}"
            printed.append(f"{'Group' if what == GROUPS else 'Role'}({quoted(str(row['name']))} {about})")
            rules: Any = row.get("rules", ())
            printed += [
                f"  {place}: topic = {quoted(rule['topic'])} action = {rule['action']} access = {rule['access']}"
                for place, rule in enumerate(rules, 1)
            ]
        return iter(printed)

    def member_rows(self, what: str, name: str) -> list[dict[str, object]]:
        """The members of a group, or who holds a role directly."""
        _asked(partial(self._roster.owner, what, name))
        return [{kind: who} for kind, who in self._roster.members.among(what, name)]

    def members(self, what: str, name: str) -> Iterator[str]:
        """A line for each."""
        rows = self.member_rows(what, name)
        return iter([f"{kind} = {quoted(str(who))}" for row in rows for kind, who in row.items()])

    def member_data(self, clientid: str, username: str | None = None) -> dict[str, list[str]]:
        """Groups and roles of a client with these names, the first one first."""
        held = self._roster.held_by(clientid, username)
        return {"groups": self._roster.groups_of(held), "roles": self._roster.roles_of(held)}

    def member_lines(self, clientid: str, username: str | None = None) -> Iterator[str]:
        """The same in two lines."""
        found = self.member_data(clientid, username)
        return iter([f"{what} = [{','.join(map(quoted, names))}]" for what, names in found.items()])

    async def delete(self, what: str, name: str) -> str:
        """A role that nobody has, or a group with whoever is in it."""
        try:
            if what == GROUPS:
                await self._roster.delete_group(name)
            else:
                self._roster.delete_role(name)
        except RosterError as error:
            raise CommandError(f"Error: {error}") from None
        return OK

    async def member(self, act: Callable[..., Any], what: str, kind: str, name: str, who: str) -> str:
        """Add or remove one."""
        try:
            (wrong,) = await act(what, name, [(kind, who)])
        except RosterError as error:
            wrong = str(error)
        if wrong:
            raise CommandError(f"Error: {wrong}")
        return OK

    def create_role(self, name: str) -> str:
        """Without rules."""
        return _asked(partial(self._roster.add_role, name))

    def create_group(self, name: str, priority: str = "0") -> str:
        """Without roles and members."""
        return _asked(partial(self._roster.add_group, name, "", _number(priority, "Priority")))

    def add_rule(self, name: str, topic: str, action: str, access: str, place: str = "") -> str:
        """At the end, or before the one at that place."""
        rules = self._rules(name)
        at = len(rules) if place == "" else _place(place, rules)
        rules.insert(at, {"topic": topic, "action": action, "access": access})
        return _asked(partial(self._roster.update_role, name, None, rules))

    def delete_rule(self, name: str, place: str) -> str:
        """The one at that place."""
        rules = self._rules(name)
        del rules[_place(place, rules)]
        return _asked(partial(self._roster.update_role, name, None, rules))

    def add_role(self, group: str, role: str) -> str:
        """Behind those that the group has."""
        return self._change(group, lambda roles: [*roles, role])

    def delete_role(self, group: str, role: str) -> str:
        """None is no error."""
        return self._change(group, lambda roles: [other for other in roles if other != role])

    def _change(self, name: str, change: Callable[[tuple[str, ...]], list[str]]) -> str:
        roster = self._roster
        return _asked(lambda: roster.update_group(name, roles=change(roster.group(name)[2])))

    def _rules(self, name: str) -> list[dict[str, str]]:
        rules: Any = self.rows(ROLES, name)[0]["rules"]
        return list(rules)


def _number(text: str, what: str) -> int:
    try:
        return int(text[:20])
    except ValueError:
        raise CommandError(f"Error: {what} is a whole number") from None


def _place(text: str, rules: list[dict[str, str]]) -> int:
    place = _number(text, "Place")
    if not 0 < place <= len(rules):
        raise CommandError(f"Error: there are {len(rules)} rules")
    return place - 1


def _asked(act: Callable[[], object]) -> str:
    try:
        act()
    except RosterError as error:
        raise CommandError(f"Error: {error}") from None
    return OK
