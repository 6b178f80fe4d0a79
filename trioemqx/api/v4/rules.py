"""Rules: SQL over messages and events, and what is done with what it selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trioemqx.api.v4.actions import APP, WORDS
from trioemqx.api.v4.resources import done, testing
from trioemqx.config.show import masked
from trioemqx.core.topics import matches
from trioemqx.rules.entries import RuleEntry
from trioemqx.rules.errors import NOT_FOUND
from trioemqx.rules.events import EVENTS
from trioemqx.rules.views import rule_row
from trioemqx.services.roles import ADMINISTRATOR
from trioemqx.services.web import PAGING, ApiError, Call, Param, delete, get, paged, post, put
from trioemqx.services.web.schema import (
    ANY,
    FLAG,
    NODE,
    NUMBER,
    TEXT,
    either,
    record,
    rows,
    some,
    table,
    texts,
    wholes,
)

METRICS: Final = record(
    {
        "node": NODE,
        **wholes("matched", "passed", "failed", "exception", "no_result"),
        **dict.fromkeys(("speed", "speed_max", "speed_last5m"), NUMBER),
    }
)
ACTION: Final = record(
    {
        **texts("id", "name"),
        "params": table(ANY),
        "metrics": rows(
            record({"node": NODE, **wholes("taken", "success", "failed", "dropped")}, optional=("dropped",))
        ),
        "fallbacks": rows(table(ANY)),
    }
)
RULE: Final = record(
    {
        **texts("id", "rawsql", "description"),
        "for": rows(TEXT),
        "enabled": FLAG,
        "on_action_failed": some("continue", "stop"),
        **wholes("created_at"),
        "metrics": rows(METRICS),
        "actions": rows(ACTION),
    }
)
EVENT: Final = record(
    {
        **texts("event", "sql_example"),
        "title": WORDS,
        "description": WORDS,
        "test_columns": table(ANY),
        "columns": rows(TEXT),
    }
)
MEMBERS: Final = ("id", "rawsql", "actions", "description", "enabled", "on_action_failed")

Condition = Callable[[RuleEntry], bool]


def _row(call: Call, entry: RuleEntry) -> dict[str, object]:
    """A rule; without the secrets in its actions for applications that only read."""
    row = rule_row(entry, call.host.node)
    if call.listener == "management" and call.host.applications.role(call.user) != ADMINISTRATOR:
        row["actions"] = masked(row["actions"])
    return row


async def list_rules(call: Call) -> object:
    """The rules, the newest first; a page of them when one is asked for. `enable_paging=false` gives all of them, the
    oldest first."""
    entries = call.host.rules.entries()
    paging = call.get("enable_paging")
    if paging in (False, "false"):
        return [_row(call, entry) for entry in entries]
    where = conditions(call)
    page = await paged(call, entries[::-1], lambda entry: _row(call, entry), where,
                       limit=None if _pages(call) else len(entries) + 1)  # fmt: skip
    return page if _pages(call) else page.rows


def _pages(call: Call) -> bool:
    return call.get("enable_paging") in (True, "true") or call.has("_page") or call.has("_limit")


def conditions(call: Call) -> list[Condition]:
    """What a rule has to be like to be listed."""
    found: list[Condition] = []
    for name, make in FILTERS.items():
        value = call.get(name)
        if isinstance(value, str | bool) and value != "":
            found.append(make(value))
    return found


def _enabled(value: Any) -> Condition:
    wanted = {"true": True, "false": False}.get(value, value)
    return lambda entry: entry.active is wanted


FILTERS: Final[dict[str, Callable[[Any], Condition]]] = {
    "enabled": _enabled,
    "for": lambda value: lambda entry: value in entry.topics,
    "_like_id": lambda value: lambda entry: str(value) in entry.record.id,
    "_like_for": lambda value: lambda entry: any(str(value) in topic for topic in entry.topics),
    "_match_for": lambda value: lambda entry: any(matches(str(value), topic) for topic in entry.topics),
    "_like_description": lambda value: lambda entry: str(value) in entry.record.description,
}


async def create(call: Call) -> object:
    """Make one, which works from now on; or with `test` try its SQL, and keep nothing."""
    engine = call.host.rules
    if testing(call):
        return await done(engine.test(call.get("rawsql"), call.get("ctx")))
    entry = await done(engine.create({name: value for name, value in call.flat().items() if name in MEMBERS}))
    return _row(call, entry)


def show(call: Call) -> object:
    """One, by id."""
    entry = call.host.rules.find(call.args["id"])
    if entry is None:
        raise ApiError(NOT_FOUND, "Not Found")
    return _row(call, entry)


async def update(call: Call) -> object:
    """Change what is given, and nothing else. A change that cannot be made leaves the rule as it is."""
    asked = {name: value for name, value in call.flat().items() if name in MEMBERS and name != "id"}
    entry = await done(call.host.rules.update(call.args["id"], asked))
    return _row(call, entry)


async def remove(call: Call) -> None:
    """Delete one; one that does not exist is no error."""
    await done(call.host.rules.delete(call.args["id"]))


def reset(call: Call) -> None:
    """Begin to count from 0; a rule that does not exist is no error."""
    call.host.rules.reset_metrics(call.args["id"])


def list_events(call: Call) -> object:
    """What rules can select from besides topics, and the columns of each."""
    return [event.row() for event in EVENTS]


_BODY: Final = (
    Param("rawsql", doc="The SQL.", required=True),
    Param("actions", "array", "What is done with each result: `name`, `params` and `fallbacks`.", required=True),
    Param("description", doc="What it is for.", default=""),
    Param("enabled", "boolean", "Whether it works.", default=True),
    Param("on_action_failed", doc="What comes after an action that failed.", enum=("continue", "stop"),
          default="continue"),
)  # fmt: skip
_CHANGES: Final = tuple(Param(p.name, p.type, p.doc, enum=p.enum) for p in _BODY)

ENDPOINTS = (
    post("/rules", create, name="create_rule", descr="Create a rule", group="rule_engine", app=APP, listed="/rules/",
         codes=(400, 404), data=either(RULE, table(ANY), rows(table(ANY))),
         body=(*_BODY, Param("id", doc="Without it one is made."),
               Param("test", "boolean", "Try the SQL, and keep nothing; the answer is what it selects.", default=False),
               Param("ctx", "object", "Columns for the test; the others have examples."))),
    put("/rules/{id}", update, name="update_rule", descr="Update a rule", group="rule_engine", app=APP,
        codes=(400,), data=RULE, body=_CHANGES),
    get("/rules", list_rules, name="list_rules", descr="A list of all rules", group="rule_engine", app=APP,
        listed="/rules/", data=rows(RULE), codes=(108,),
        query=(*PAGING,
               Param("enable_paging", "boolean", "true: a page; false: all rules, the oldest first, without filters."),
               Param("enabled", "boolean", "Only rules that work, or do not."),
               Param("for", doc="Only rules that select from exactly this."),
               Param("_like_id", doc="A part of the id."),
               Param("_like_for", doc="A part of what they select from."),
               Param("_match_for", doc="A topic filter that has to match what they select from."),
               Param("_like_description", doc="A part of the description."))),
    get("/rules/{id}", show, name="show_rule", descr="Show a rule", group="rule_engine", app=APP, codes=(404,),
        data=RULE),
    delete("/rules/{id}", remove, name="delete_rule", descr="Delete a rule", group="rule_engine", app=APP,
           codes=(400,)),
    put("/rules/{id}/reset_metrics", reset, name="reset_metrics", descr="reset a rule metrics", group="rule_engine",
        app=APP),
    get("/rule_events", list_events, name="list_events", descr="List all events with detailed info",
        group="rule_engine", app=APP, listed="/rule_events/", data=rows(EVENT)),
)  # fmt: skip
