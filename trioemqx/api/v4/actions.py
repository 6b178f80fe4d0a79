"""What rules can do, and what they can be connected to."""

from __future__ import annotations

from typing import Final

from trioemqx.rules.views import action_row, resource_row, type_row
from trioemqx.services.web import Call, get
from trioemqx.services.web.answers import not_found_page
from trioemqx.services.web.schema import ANY, TEXT, record, rows, table, texts

APP: Final = "emqx_rule_engine"
WORDS: Final = record(texts("en", "zh"))
RESOURCE: Final = record({**texts("id", "type", "description"), "config": table(ANY)})
ACTION: Final = record(
    {
        **texts("name", "category", "app", "for"),
        "types": rows(TEXT),
        "params": table(table(ANY)),
        "title": WORDS,
        "description": WORDS,
    }
)
RESOURCE_TYPE: Final = record(
    {**texts("name", "provider"), "params": table(table(ANY)), "title": WORDS, "description": WORDS}
)


def list_actions(call: Call) -> object:
    """Every action, by its English title."""
    kinds = call.host.rules.action_types.values()
    return [action_row(kind) for kind in sorted(kinds, key=lambda kind: (kind.title.en, kind.name))]


def show_action(call: Call) -> object:
    """One action, by name."""
    kind = call.host.rules.action_types.get(call.args["action"])
    if kind is None:
        raise not_found_page()
    return action_row(kind)


def list_types(call: Call) -> object:
    """Every resource type, by its English title."""
    kinds = call.host.rules.resource_types.values()
    return [type_row(kind) for kind in sorted(kinds, key=lambda kind: (kind.title.en, kind.name))]


def show_type(call: Call) -> object:
    """One resource type, by name."""
    kind = call.host.rules.resource_types.get(call.args["type"])
    if kind is None:
        raise not_found_page()
    return type_row(kind)


def list_of_type(call: Call) -> object:
    """The resources of a type."""
    name = call.args["type"]
    if name not in call.host.rules.resource_types:
        raise not_found_page()
    return [resource_row(entry) for entry in call.host.rules.resources.entries() if entry.record.type == name]


ENDPOINTS = (
    get("/actions", list_actions, name="list_actions", descr="A list of all actions", group="rule_engine", app=APP,
        listed="/actions/", data=rows(ACTION)),
    get("/actions/{action}", show_action, name="show_action", descr="Show an action", group="rule_engine", app=APP,
        listed="/actions/:name", data=ACTION),
    get("/resource_types", list_types, name="list_resource_types", descr="List all resource types",
        group="rule_engine", app=APP, listed="/resource_types/", data=rows(RESOURCE_TYPE)),
    get("/resource_types/{type}", show_type, name="show_resource_type", descr="Show a resource type",
        group="rule_engine", app=APP, listed="/resource_types/:name", data=RESOURCE_TYPE),
    get("/resource_types/{type}/resources", list_of_type, name="list_resources_by_type",
        descr="List all resources of a resource type", group="rule_engine", app=APP, data=rows(RESOURCE), roles=()),
)  # fmt: skip
