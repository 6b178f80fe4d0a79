"""`/auth_clientid`, `/auth_username` and `/acl`, as EMQX has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from trioemqx.plugin import PAGING, ApiError, Call, Endpoint, Page, Param, Params, delete, get, paged, post, put, schema

from .acl import ACCESS, ACTIONS, Row
from .users import OK, Record

if TYPE_CHECKING:
    from . import AuthMnesia

CODES: Final = {"existed": 113, "noexisted": 105}
FULL: Final = 102
BAD: Final = 108
ACL_ROWS: Final = 50
"""What `/acl` lists show without `_limit`."""
SLICE: Final = 100
"""Entries of a batch between two turns of the other tasks."""


def params(name: str, *more: Param) -> tuple[Param, ...]:
    """The filters of a list of names."""
    return (*PAGING, Param(name, doc="Equal."), Param(f"_like_{name}", doc="Contained in it."), *more)


def newest_first(row: dict[str, Any]) -> int:
    """Sorts the rows of a page."""
    return -int(row["created_at"])


def told(text: str) -> str:
    """A text as Erlang prints it, `<<"a">>`."""
    if text.isascii() and text.isprintable():
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'<<"{escaped}">>'
    return f"<<{','.join(map(str, text.encode('utf-8', 'replace')))}>>"


def done(result: str) -> None:
    """What the plugin says of a change. Raises ApiError."""
    if result != OK:
        raise ApiError(FULL if result.startswith("full") else CODES.get(result, BAD), result)


def items(call: Call) -> list[Params] | None:
    """The parts of a batch; None for a request about one. Raises ApiError 108 for nothing at all."""
    if not isinstance(call.body, list):
        if not call.body and not call.query:
            raise ApiError(BAD, "bad_params")
        return None
    if not call.body or not all(isinstance(item, dict) for item in call.body):
        raise ApiError(BAD, "bad_params")
    return call.items()


class UsersApi:
    """Requests about the entries of one kind, `clientid` or `username`."""

    def __init__(self, plugin: AuthMnesia, kind: str) -> None:
        self._plugin = plugin
        self._kind = kind

    def endpoints(self) -> tuple[Endpoint, ...]:
        """In EMQX's order."""
        kind, path, of = self._kind, f"/auth_{self._kind}", {"group": "auth"}
        one, where = f"{path}/{{{kind}}}", f"{kind} in the cluster"
        entry = schema.record({**schema.texts(kind), **schema.wholes("created_at")})
        none = {"const": {}, "description": "there is none"}
        login, password = Param(kind, required=True), Param("password", required=True)
        return (
            get(path, self.list, name=f"list_{kind}", descr=f"List available {where}", query=params(kind),
                data=schema.rows(entry), paged=True, codes=(BAD,), **of),
            get(one, self.lookup, name=f"lookup_{kind}", descr=f"Lookup {where}", data=schema.either(entry, none),
                **of),
            post(path, self.add, name=f"add_{kind}", descr=f"Add {where}", body=(login, password), batch="either",
                 data=schema.table(schema.TEXT), codes=(102, BAD, 113), **of),
            put(one, self.update, name=f"update_{kind}", descr=f"Update {where}", body=(password,), codes=(105, BAD),
                **of),
            delete(one, self.delete, name=f"delete_{kind}", descr=f"Delete {where}", **of),
        )  # fmt: skip

    async def list(self, call: Call) -> Page:
        """One page; on it the newest first."""
        records, kind = self._plugin.users.records[self._kind], self._kind
        where: list[Callable[[tuple[str, Record]], bool]] = []
        wanted, part = call.get(kind), call.get(f"_like_{kind}")
        if wanted is not None:
            where.append(lambda item: item[0] == wanted)
        if isinstance(part, str):
            where.append(lambda item: part in item[0])
        entries = list(records.items())
        return await paged(
            call, entries, lambda item: {kind: item[0], "created_at": item[1][1]}, where, sort=newest_first
        )

    def lookup(self, call: Call) -> object:
        """An entry; nothing of one that there is not."""
        return self._plugin.lookup_user(self._kind, call.args[self._kind]) or {}

    async def add(self, call: Call) -> object:
        """One, or many: then what became of each by its name."""
        batch = items(call)
        if batch is None:
            done(await self._add(call))
            return None
        results = {}
        for place, item in enumerate(batch, 1):
            result = await self._add(item)
            name = item.get(self._kind)
            results["undefined" if name is None else str(name)] = OK if result == OK else f"{{error,{result}}}"
            if place % SLICE == 0:
                await trio.lowlevel.checkpoint()
        return results

    async def _add(self, given: Params) -> str:
        return await self._plugin.add_user(self._kind, given.get(self._kind), given.get("password"))

    async def update(self, call: Call) -> None:
        """Another password."""
        done(await self._plugin.update_user(self._kind, call.args[self._kind], call.get("password")))

    def delete(self, call: Call) -> None:
        """Remove an entry; none is no error."""
        self._plugin.delete_user(self._kind, call.args[self._kind])


class AclApi:
    """Requests about access rows. Those for all have no name."""

    def __init__(self, plugin: AuthMnesia) -> None:
        self._plugin = plugin

    def endpoints(self) -> tuple[Endpoint, ...]:
        """In EMQX's order."""
        kinds, of = (("clientid", "clientid"), ("username", "username"), ("all", "$all")), {"group": "acl"}
        where = "mnesia in the cluster"
        filters = (Param("topic", doc="Equal."), Param("action", enum=("pub", "sub")), Param("access", enum=ACCESS))
        rule = schema.record(
            {**schema.texts("clientid", "username", "all", "topic"), "action": schema.some("pub", "sub"),
             "access": schema.some(*ACCESS)}, optional=("clientid", "username", "all"))  # fmt: skip
        lists = [
            get(f"/acl/{path}", partial(self.list, kind), name=f"list_{kind}", descr=f"List available {where}",
                query=(*PAGING, *filters) if kind == "all" else params(kind, *filters), data=schema.rows(rule),
                paged=True, codes=(BAD,), **of) for kind, path in kinds
        ]  # fmt: skip
        looks = [
            get(f"/acl/{kind}/{{{kind}}}", partial(self.lookup, kind), name=f"lookup_{kind}", descr=f"Lookup {where}",
                data=schema.rows(rule), **of) for kind, _ in kinds[:2]
        ]  # fmt: skip
        ends = [
            delete(f"/acl/{path}/topic/{{topic}}", partial(self.delete, kind), name=f"delete_{kind}",
                   descr=f"Delete {where}", **of)
            for kind, path in (*((kind, f"{kind}/{{{kind}}}") for kind, _ in kinds[:2]), kinds[2])
        ]  # fmt: skip
        return (*lists, *looks, self._adding(where), *ends)

    def _adding(self, where: str) -> Endpoint:
        body = (
            Param("clientid", doc="Whose; at most one of `clientid` and `username`, neither for all."),
            Param("username", doc="Whose."),
            Param("topic", doc="Topic filter; levels may be `%c` and `%u`.", required=True),
            Param("action", enum=tuple(ACTIONS), required=True),
            Param("access", enum=ACCESS, required=True),
        )
        added = schema.record(
            schema.texts("clientid", "username", "all", "topic", "action", "access", "result"),
            optional=("clientid", "username", "all", "topic", "action", "access"),
        )
        data = schema.either(added, schema.rows(added))
        return post("/acl", self.add, name="add", descr=f"Add {where}", group="acl", body=body, batch="either",
                    data=data, codes=(102, BAD))  # fmt: skip

    async def list(self, kind: str, call: Call) -> Page:
        """One page; on it the newest first."""
        where: list[Callable[[Row], bool]] = []
        for place, name in enumerate((kind, "topic", "action", "access"), 1):
            wanted = call.get(name) if name != "all" else None
            if wanted is not None:
                where.append(partial(_is, place, wanted))
        part = call.get(f"_like_{kind}")
        if isinstance(part, str) and kind != "all":
            where.append(lambda row: part in row[1])
        # A list of groups cannot be surprised by changes, and neither can that of a group's rows.
        rows = (row for name in self._plugin.acl.names(kind) for row in list(self._plugin.acl.listing(kind, name)))
        page = await paged(call, rows, _dated, where, limit=ACL_ROWS, exact=True, hasnext=False, sort=newest_first)
        for row in cast("list[dict[str, object]]", page.rows):
            del row["created_at"]
        return page

    def lookup(self, kind: str, call: Call) -> object:
        """The rows of one name, the newest first."""
        return self._plugin.list_acl(kind, call.args[kind])

    async def add(self, call: Call) -> object:
        """One row, or many: then what became of each, the last one first."""
        batch = items(call)
        rows = [_row(item) for item in ([call] if batch is None else batch)]
        results = await self._plugin.add_acl_rows([(*row.values(),) for row in rows])
        answers = [_answer(row, result) for row, result in zip(rows, results, strict=True)]
        if batch is not None:
            return answers[::-1]
        if results[0] != OK:
            shown = ",".join(f"{name} => {told(str(value)[:200])}" for name, value in sorted(answers[0].items()))
            raise ApiError(FULL if results[0].startswith("full") else BAD, f"{{add,#{{{shown}}}}}")
        return answers[0]

    def delete(self, kind: str, call: Call) -> None:
        """Remove the rows of a topic; none is no error."""
        self._plugin.delete_acl(kind, call.args.get(kind, ""), call.args["topic"])


def _is(place: int, wanted: object, row: Row) -> bool:
    return row[place] == wanted


def _row(given: Params) -> dict[str, Any]:
    """The arguments of `add_acl` that a request has. What is wrong with them, that says. Raises ApiError 108."""
    if given.has("clientid") and given.has("username"):
        raise ApiError(BAD, "bad_params")
    kind = next((kind for kind in ("clientid", "username") if given.has(kind)), "all")
    name = "" if kind == "all" else given.get(kind)
    return {"kind": kind, "name": name, **{part: given.get(part) for part in ("topic", "action", "access")}}


def _answer(row: dict[str, Any], result: str) -> dict[str, object]:
    """A row as it was asked for, as far as that is text, with what became of it."""
    who = {"all": "$all"} if row["kind"] == "all" else {row["kind"]: row["name"]}
    asked = {**who, **{name: row[name] for name in ("topic", "action", "access")}}
    texts = {name: value for name, value in asked.items() if isinstance(value, str)}
    return {**texts, "result": OK if result == OK else f"{{error,{result}}}"}


def _dated(row: Row) -> dict[str, object]:
    kind, name, topic, action, access, created = row
    who = "$all" if kind == "all" else name
    return {kind: who, "topic": topic, "action": action, "access": access, "created_at": created}
