"""`/acl_roles`, `/acl_groups` and `/acl_member`, which EMQX does not have: roles, groups, and the members of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from trioemqx.plugin import PAGING, ApiError, Call, Endpoint, Page, Param, Params, delete, get, paged, post, put, schema

from .acl import ACCESS, ACTIONS
from .api import BAD, items
from .backup import TakingTurns
from .members import GROUPS, PLACES, ROLES, Member, checked_member
from .roles import MAX_NAME, Group, Role, RosterError, write_group, write_role
from .roster import Roster
from .users import KINDS, OK

ROWS: Final = 100
"""What lists show without `_limit`."""
MOST: Final = 1000
"""Rows of a page at most: a group may have a hundred thousand members."""
WORD: Final = {GROUPS: "group", ROLES: "role"}
FULL: Final = 102
NONE: Final = {"const": {}, "description": "there is none"}
RULE: Final = schema.record({"topic": schema.TEXT, "action": schema.some(*ACTIONS), "access": schema.some(*ACCESS)})
_NAMED: Final = (
    Param("name", doc="Equal."),
    Param("_like_name", doc="Contained in it."),
    Param("member", doc="Who has it: a client identifier or a user name."),
)
_NAME: Final = Param("name", doc=f"1 to {MAX_NAME} printable characters.", required=True)
_DESCRIPTION: Final = Param("description")
_RULES: Final = Param("rules", "array", "Objects with `topic`, `action` and `access`; the first that fits decides.")
_PRIORITY: Final = Param("priority", "integer", "Groups with a higher one are asked first.", default=0)
_ROLES: Final = Param("roles", "array", "Names of roles, the first one asked first.")
_WHO: Final = (
    Param("clientid", doc="A client; exactly one of `clientid` and `username`."),
    Param("username", doc="A user."),
)


class RosterApi:
    """The requests. What is wrong is said in words: these endpoints have no tradition."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Roles, then groups."""
        kept = {**schema.texts("name", "description"), **schema.wholes("created_at")}
        role = schema.record({**kept, "rules": schema.rows(RULE), **schema.wholes("groups", "members")})
        listed = schema.record({**kept, **schema.wholes("rules", "groups", "members")})
        group = schema.record({**kept, "roles": schema.rows(schema.TEXT), **schema.wholes("priority", "members")})
        parts: dict[str, tuple[Any, ...]] = {
            ROLES: (listed, role, (_DESCRIPTION, _RULES), self._role_row, self._role, self._add_role, self._put_role),
            GROUPS: (
                group, group, (_DESCRIPTION, _PRIORITY, _ROLES), self._group_row, self._group, self._add_group,
                self._put_group,
            ),
        }  # fmt: skip
        member = schema.record({"groups": schema.rows(schema.TEXT), "roles": schema.rows(schema.TEXT)})
        asked = get(
            "/acl_member", self.member, name="lookup_acl_member", descr="Groups and roles of a client, in their order",
            query=(Param("clientid"), Param("username")), data=member, codes=(BAD,), group="acl", ours=True,
        )  # fmt: skip
        return (*(endpoint for what, given in parts.items() for endpoint in self._about(what, *given)), asked)

    def member(self, call: Call) -> object:
        """What is asked about a client with these two names, the first one first."""
        names = [call.get(kind) for kind in KINDS]
        if names == [None, None] or not all(name is None or isinstance(name, str) for name in names):
            raise ApiError(BAD, "bad_params")
        held = self._roster.held_by(*names)
        return {"groups": self._roster.groups_of(held), "roles": self._roster.roles_of(held)}

    def _about(
        self,
        what: str,
        row: schema.Schema,
        whole: schema.Schema,
        body: tuple[Param, ...],
        build: Callable[[Any], dict[str, object]],
        show: Callable[[str], dict[str, object]],
        add: Callable[[Params], None],
        change: Callable[[str, Params], None],
    ) -> tuple[Endpoint, ...]:
        """The eight endpoints of one of both."""
        word, path, of = WORD[what], f"/acl_{what}", {"group": "acl", "ours": True}
        one, theirs = f"{path}/{{{word}}}", f"{path}/{{{word}}}/members"
        member = schema.record(schema.texts(*KINDS), optional=KINDS)
        told = schema.rows(schema.record(schema.texts(*KINDS, "result"), optional=KINDS))
        searched = (
            Param("_like_name", doc="Contained in either."),
            *(param for kind in KINDS for param in (Param(kind), Param(f"_like_{kind}"))),
        )
        return (
            get(path, partial(self.list, what, build), name=f"list_acl_{what}", descr=f"Access {what}",
                query=(*PAGING, *_NAMED), data=schema.rows(row), paged=True, codes=(BAD,), **of),
            get(one, lambda call: show(call.args[word]), name=f"lookup_acl_{word}", descr=f"One access {word}",
                data=schema.either(whole, NONE), **of),
            post(path, partial(self.add, add), name=f"add_acl_{word}", descr=f"Add access {what}", body=(_NAME, *body),
                 batch="either", data=schema.table(schema.TEXT), codes=(BAD, FULL, 113), **of),
            put(one, partial(self.change, word, change), name=f"update_acl_{word}", descr=f"Change an access {word}",
                body=body, codes=(BAD, FULL, 105), **of),
            delete(one, partial(self.delete, what), name=f"delete_acl_{word}", descr=f"Delete an access {word}",
                   codes=(BAD,), **of),
            get(theirs, partial(self.members, what), name=f"list_acl_{word}_members",
                descr=f"Members of an access {word}", query=(*PAGING, *searched), data=schema.rows(member), paged=True,
                codes=(BAD, 105), **of),
            post(theirs, partial(self.add_members, what), name=f"add_acl_{word}_members",
                 descr=f"Add members to an access {word}", body=_WHO, batch="either", data=told, codes=(BAD, FULL, 105),
                 **of),
            delete(theirs, partial(self.remove_members, what), name=f"delete_acl_{word}_members",
                   descr=f"Remove members from an access {word}", query=_WHO, body=_WHO, batch="either", data=told,
                   codes=(BAD, 105), **of),
        )  # fmt: skip

    # -- roles and groups --------------------------------------------------------------------------------------------

    async def list(self, what: str, build: Callable[[Any], dict[str, object]], call: Call) -> Page:
        """One page, by name."""
        where: list[Callable[[tuple[str, object]], bool]] = []
        wanted, part, member = call.get("name"), call.get("_like_name"), call.get("member")
        if wanted is not None:
            where.append(lambda item: item[0] == wanted)
        if isinstance(part, str):
            where.append(lambda item: part in item[0])
        if isinstance(member, str):
            theirs = {name for held in self._roster.held_by(member, member) for name in held[PLACES[what]]}
            where.append(lambda item: item[0] in theirs)
        table: dict[str, Any] = {**(self._roster.groups if what == GROUPS else self._roster.roles)}
        if what == ROLES:
            build = partial(build, self._roster.users_of_roles())
        return await paged(_bounded(call), sorted(table.items(), key=lambda item: item[0]), build, where, limit=ROWS)

    async def add(self, add: Callable[[Params], None], call: Call) -> object:
        """One, or many: then what became of each by its name."""
        batch = items(call)
        if batch is None:
            _asked(partial(add, call))
            return None
        results = {}
        async for item in TakingTurns(batch):
            name = item.get("name")
            results["undefined" if name is None else str(name)] = _result(partial(add, item))
        return results

    def change(self, word: str, change: Callable[[str, Params], None], call: Call) -> None:
        """Replace the parts that are sent."""
        if isinstance(call.body, list) or not (call.body or call.query):
            raise ApiError(BAD, "bad_params")
        _asked(partial(change, call.args[word], call))

    async def delete(self, what: str, call: Call) -> None:
        """Remove it; none is no error, but a role that somebody has stays."""
        name = call.args[WORD[what]]
        if what == ROLES:
            _asked(partial(self._roster.delete_role, name))
            return
        try:
            await self._roster.delete_group(name)
        except RosterError as error:
            raise _refusal(error) from None

    def _role_row(self, used: dict[str, int], item: tuple[str, Role]) -> dict[str, object]:
        """A role in a list: its rules are counted, for they may be many."""
        name, role = item
        found = self._shown_role(name, role, used[name])
        return {**found, "rules": len(role[1])}

    def _role(self, name: str) -> dict[str, object]:
        role = self._roster.roles.get(name)
        return {} if role is None else self._shown_role(name, role, self._roster.users_of_roles()[name])

    def _shown_role(self, name: str, role: Role, groups: int) -> dict[str, object]:
        return {**write_role(name, role), "groups": groups, "members": len(self._roster.members.among(ROLES, name))}

    def _group_row(self, item: tuple[str, Group]) -> dict[str, object]:
        name, group = item
        return {**write_group(name, group), "members": len(self._roster.members.among(GROUPS, name))}

    def _group(self, name: str) -> dict[str, object]:
        group = self._roster.groups.get(name)
        return {} if group is None else self._group_row((name, group))

    def _add_role(self, given: Params) -> None:
        self._roster.add_role(given.get("name"), given.get("description", ""), given.get("rules", []))

    def _put_role(self, name: str, given: Params) -> None:
        self._roster.update_role(name, given.get("description"), given.get("rules"))

    def _add_group(self, given: Params) -> None:
        description, roles = given.get("description", ""), given.get("roles", [])
        self._roster.add_group(given.get("name"), description, _whole(given.get("priority", 0)), roles)

    def _put_group(self, name: str, given: Params) -> None:
        priority = _whole(given.get("priority"))
        self._roster.update_group(name, given.get("description"), priority, given.get("roles"))

    # -- members -----------------------------------------------------------------------------------------------------

    async def members(self, what: str, call: Call) -> Page:
        """One page, in the order in which they came."""
        owner = self._owner(what, call)
        where: list[Callable[[Member], bool]] = []
        either = call.get("_like_name")
        if isinstance(either, str):
            where.append(lambda member: either in member[1])
        for kind in KINDS:
            wanted, part = call.get(kind), call.get(f"_like_{kind}")
            if wanted is not None:
                where.append(partial(_is, kind, wanted))
            if isinstance(part, str):
                where.append(partial(_has, kind, part))
        among = list(self._roster.members.among(what, owner))
        return await paged(_bounded(call), among, lambda member: {member[0]: member[1]}, where, limit=ROWS)

    async def add_members(self, what: str, call: Call) -> object:
        """One, or many: then what became of each, in their order."""
        return await self._each(what, self._roster.add_members, call)

    async def remove_members(self, what: str, call: Call) -> object:
        """The same; who is no member is no error."""
        return await self._each(what, self._roster.remove_members, call)

    async def _each(self, what: str, act: Callable[..., Any], call: Call) -> object:
        owner, batch = self._owner(what, call), items(call)
        results: list[dict[str, object]] = []
        members: list[Member] = []
        waiting: list[dict[str, object]] = []
        async for item in TakingTurns([call] if batch is None else batch):
            answer: dict[str, object] = {kind: value for kind in KINDS if isinstance(value := item.get(kind), str)}
            results.append(answer)
            try:
                members.append(_member(item))
                waiting.append(answer)
            except RosterError as error:
                answer["result"] = f"{{error,{error}}}"
                if batch is None:
                    raise _refusal(error) from None
        try:
            refused = await act(what, owner, members)
        except RosterError as error:
            raise _refusal(error) from None
        for answer, wrong in zip(waiting, refused, strict=True):
            answer["result"] = f"{{error,{wrong}}}" if wrong else OK
        if batch is not None:
            return results
        if refused[0]:
            raise ApiError(FULL, refused[0])
        return None

    def _owner(self, what: str, call: Call) -> str:
        name = call.args[WORD[what]]
        _asked(partial(self._roster.owner, what, name))
        return name


def _member(given: Params) -> Member:
    """Raises RosterError unless it is exactly one."""
    kinds = [kind for kind in KINDS if given.has(kind)]
    return checked_member(kinds[0] if len(kinds) == 1 else None, given.get(kinds[0]) if kinds else None)


def _bounded(call: Call) -> Call:
    """The same, with a page of at most so many rows. Raises ApiError 108."""
    _, limit = call.paging(ROWS)
    if limit > MOST:
        call.query = [("_limit", str(MOST)), *call.query]
    return call


def _is(kind: str, wanted: object, member: Member) -> bool:
    return member == (kind, wanted)


def _has(kind: str, part: str, member: Member) -> bool:
    return member[0] == kind and part in member[1]


def _whole(value: object) -> object:
    """A number also where it came as text, in a query."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii() and len(value) < 10:
        return int(value)
    return value


def _refusal(error: RosterError) -> ApiError:
    return ApiError(error.code, str(error))


def _asked(act: Callable[[], object]) -> None:
    """Do it. Raises ApiError for what is refused."""
    try:
        act()
    except RosterError as error:
        raise _refusal(error) from None


def _result(act: Callable[[], object]) -> str:
    try:
        act()
    except RosterError as error:
        return f"{{error,{error}}}"
    return OK
