"""Alarms: what needs attention now, and what did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from trioemqx.api.host import ApiHost
from trioemqx.services.alarms import INFINITY, Alarm, Alarms
from trioemqx.services.ctl.alarms import alarm_row
from trioemqx.services.web import ApiError, Call, Endpoint, Param, delete, get, post
from trioemqx.services.web.answers import RPC_ERROR, UNKNOWN_ERROR, bad_params
from trioemqx.services.web.schema import FLAG, NODE, WHOLE, either, record, rows, some, texts, wholes

ALARM: Final = record(
    {
        **texts("name", "message"),
        "details": {"type": "object"},
        **wholes("activate_at", "duration"),
        "deactivate_at": either(WHOLE, some(INFINITY)),
        "activated": FLAG,
    }
)
Chosen = Callable[[Alarms], Iterable[Alarm]]


def both(alarms: Alarms) -> list[Alarm]:
    """Active ones first."""
    return [*alarms.active(), *alarms.history()]


def found(host: ApiHost, which: Chosen) -> list[dict[str, object]]:
    """Rows; times are microseconds."""
    now = int(host.wall() * 1_000_000)
    return [alarm_row(alarm, now) for alarm in which(host.alarms)]


def deactivate(call: Call) -> None:
    """End an active alarm by hand; it comes again when its reason does."""
    node, name = (call.need(member, "missing_param") for member in ("node", "name"))
    if not isinstance(node, str) or not isinstance(name, str):
        raise bad_params()
    if not call.host.nodes().get(node):
        raise ApiError(RPC_ERROR, "nodedown")
    if not call.host.alarms.deactivate(name):
        raise ApiError(UNKNOWN_ERROR, "not_found")


def clear(call: Call) -> None:
    """Forget the history."""
    call.host.alarms.clear_history()


def _lists(below: str, infix: str, which: Chosen, what: str) -> tuple[Endpoint, Endpoint]:
    """The two lists of some alarms: of all nodes, and of one."""
    return (
        get(f"/alarms{below}", lambda call: [{"node": call.host.node, "alarms": found(call.host, which)}],
            name=f"list_all{infix}_alarms", descr=f"List all {what} in the cluster", group="alarms",
            data=rows(record({"node": NODE, "alarms": rows(ALARM)}))),
        get(f"/nodes/{{node}}/alarms{below}", lambda call: found(call.host, which),
            name=f"list_node{infix}_alarms", descr=f"List all {what} on a node", group="alarms",
            listed=f"nodes/:node/alarms{below}", data=rows(ALARM)),
    )  # fmt: skip


ENDPOINTS = (
    *_lists("", "", both, "alarms"),
    *_lists("/activated", "_activated", Alarms.active, "activated alarm"),
    *_lists("/deactivated", "_deactivated", Alarms.history, "deactivated alarm"),
    post("/alarms/deactivated", deactivate, name="deactivate_alarm", descr="Delete the special alarm on a node",
         group="alarms", codes=(101, 102, 107, 108),
         body=(Param("node", doc="The node that raised it.", required=True),
               Param("name", doc="The alarm's name.", required=True))),
    delete("/alarms/deactivated", clear, name="delete_all_deactivated_alarms",
           descr="Delete all deactivated alarm in the cluster", group="alarms"),
    delete("/nodes/{node}/alarms/deactivated", clear, name="delete_node_deactivated_alarms",
           descr="Delete all deactivated alarm on a node", group="alarms", listed="nodes/:node/alarms/deactivated"),
)  # fmt: skip
