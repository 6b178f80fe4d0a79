"""Resources: the connections that actions use."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

from trioemqx.api.v4.actions import APP, RESOURCE
from trioemqx.rules.errors import NOT_FOUND, RuleError, no_resource
from trioemqx.rules.views import resource_row, resource_with_status
from trioemqx.services.store.protocol import StoreError
from trioemqx.services.web import ApiError, Call, Param, delete, get, post, put
from trioemqx.services.web.answers import UNKNOWN_ERROR
from trioemqx.services.web.schema import FLAG, NODE, record, rows

T = TypeVar("T")
STATUS: Final = record({"node": NODE, "is_alive": FLAG})
WITH_STATUS: Final = record({**RESOURCE["properties"], "status": rows(STATUS)})


async def done(change: Awaitable[T]) -> T:
    """Wait for a change. Raises ApiError with what the rule engine says."""
    try:
        return await change
    except RuleError as error:
        extra = {"reason": error.reason} if error.reason not in error.message else None
        raise ApiError(error.code, error.message, extra=extra) from error
    except StoreError as error:
        raise ApiError(UNKNOWN_ERROR, f"in force, but not on disk: {error}") from error


def testing(call: Call) -> bool:
    """True when nothing is to be kept."""
    return call.get("test") in (True, "true")


def list_all(call: Call) -> object:
    """Every resource, and whether it is up."""
    return [resource_with_status(entry, call.host.node) for entry in call.host.rules.resources.entries()]


async def create(call: Call) -> object:
    """Make one. When it cannot be connected now it is tried again until somebody deletes it."""
    resources = call.host.rules.resources
    kind, config = call.get("type"), call.get("config", {})
    if testing(call):
        await done(resources.test(kind, config))
        return None
    made = await done(resources.create(kind, config, call.get("description", ""), call.get("id")))
    return resource_row(resources.find(made.id) or made)


def show(call: Call) -> object:
    """One, by id."""
    entry = call.host.rules.resources.find(call.args["id"])
    if entry is None:
        raise ApiError(NOT_FOUND, "Not Found")
    return resource_with_status(entry, call.host.node)


async def update(call: Call) -> None:
    """Change one that no enabled rule uses. A new configuration has to work before it takes the old one's place."""
    asked = call.get("config"), call.get("description")
    await done(call.host.rules.resources.update(call.args["id"], *asked))


def status(call: Call) -> object:
    """Whether it was up when it was last looked at."""
    entry = call.host.rules.resources.find(call.args["id"])
    if entry is None or entry.link is None:
        error = no_resource(call.args["id"])
        raise ApiError(error.code, error.message)
    return {"is_alive": entry.alive}


async def start(call: Call) -> None:
    """Connect again now."""
    await done(call.host.rules.resources.renew(call.args["id"]))


async def remove(call: Call) -> None:
    """Delete one that no enabled rule uses; one that does not exist is no error."""
    await done(call.host.rules.resources.delete(call.args["id"]))


ENDPOINTS = (
    get("/resources", list_all, name="list_resources", descr="A list of all resources", group="rule_engine", app=APP,
        listed="/resources/", data=rows(WITH_STATUS), roles=()),
    post("/resources", create, name="create_resource", descr="Create a resource", group="rule_engine", app=APP,
         listed="/resources/", codes=(400, 500), data=RESOURCE,
         body=(Param("type", doc="A resource type.", required=True),
               Param("config", "object", "Its settings; see `GET /resource_types`.", default={}),
               Param("description", doc="What it is for.", default=""),
               Param("id", doc="Without it one is made."),
               Param("test", "boolean", "Connect, and keep nothing.", default=False))),
    get("/resources/{id}", show, name="show_resource", descr="Show a resource", group="rule_engine", app=APP,
        codes=(404,), data=WITH_STATUS, roles=()),
    put("/resources/{id}", update, name="update_resource", descr="Update a resource", group="rule_engine", app=APP,
        codes=(400, 500),
        body=(Param("config", "object", "All its settings; without it, or empty, they stay as they are."),
              Param("description", doc="What it is for."))),
    get("/resource_status/{id}", status, name="get_resource_status", descr="Get status of a resource",
        group="rule_engine", app=APP, codes=(400,), data=record({"is_alive": FLAG})),
    post("/resources/{id}", start, name="start_resource", descr="Start a resource", group="rule_engine", app=APP,
         codes=(400,)),
    delete("/resources/{id}", remove, name="delete_resource", descr="Delete a resource", group="rule_engine", app=APP,
           codes=(400,)),
)  # fmt: skip
