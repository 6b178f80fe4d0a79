"""Alarms by HTTP: active ones, history, and what an operator can do about them."""

from __future__ import annotations

import json

import pytest
import trio

from trioemqx.testing import TestBroker


@pytest.fixture
async def alarms(broker: TestBroker) -> None:
    """One that has ended after two seconds, and one that is active for three."""
    broker.node.alarms.activate("high_cpu_usage", {"usage": 91, "high_watermark": 80, "low_watermark": 60})
    await trio.sleep(2)
    broker.node.alarms.deactivate("high_cpu_usage")
    broker.node.alarms.activate("resource/web_hook/r:1/down", {"id": "r:1", "type": "web_hook"})
    await trio.sleep(3)


def names(rows: list[dict[str, object]]) -> list[object]:
    return [row["name"] for row in rows]


CPU, HOOK = "high_cpu_usage", "resource/web_hook/r:1/down"


async def test_all(broker: TestBroker, alarms: None) -> None:
    """GET /alarms and GET /nodes/{node}/alarms"""
    (entry,) = (await broker.api("GET", "/alarms")).data
    assert entry["node"] == broker.node.node
    active, ended = entry["alarms"]
    assert active == {
        "name": HOOK,
        "message": "Resource web_hook(r:1) is down",
        "details": {"id": "r:1", "type": "web_hook"},
        "activate_at": active["activate_at"],
        "deactivate_at": "infinity",
        "duration": active["duration"],
        "activated": True,
    }
    assert active["duration"] == pytest.approx(3_000_000, abs=1000)
    assert (ended["name"], ended["message"], ended["activated"]) == (CPU, "91% cpu usage", False)
    assert ended["duration"] == ended["deactivate_at"] - ended["activate_at"] == pytest.approx(2_000_000, abs=1000)
    assert names((await broker.api("GET", f"/nodes/{broker.node.node}/alarms")).data) == [HOOK, CPU]


async def test_active_ones(broker: TestBroker, alarms: None) -> None:
    """GET /alarms/activated and GET /nodes/{node}/alarms/activated"""
    (entry,) = (await broker.api("GET", "/alarms/activated")).data
    assert names(entry["alarms"]) == [HOOK]
    assert names((await broker.api("GET", f"/nodes/{broker.node.node}/alarms/activated")).data) == [HOOK]


async def test_history(broker: TestBroker, alarms: None) -> None:
    """GET /alarms/deactivated and GET /nodes/{node}/alarms/deactivated"""
    (entry,) = (await broker.api("GET", "/alarms/deactivated")).data
    assert names(entry["alarms"]) == [CPU]
    assert names((await broker.api("GET", f"/nodes/{broker.node.node}/alarms/deactivated")).data) == [CPU]


async def test_deactivate(broker: TestBroker, alarms: None) -> None:
    """POST /alarms/deactivated"""
    operator = await broker.client("op", subscribe="$SYS/brokers/+/alarms/deactivate")
    body = {"node": broker.node.node, "name": HOOK}
    assert (await broker.api("POST", "/alarms/deactivated", body)).json() == {"code": 0}
    assert json.loads((await operator.message())[1])["name"] == HOOK
    assert broker.alarms() == {}
    (entry,) = (await broker.api("GET", "/alarms/deactivated")).data
    assert names(entry["alarms"]) == [CPU, HOOK]
    again = await broker.api("POST", "/alarms/deactivated", body)
    assert (again.code, again.message) == (102, "not_found")


@pytest.mark.parametrize("path", ["/alarms/deactivated", "/nodes/{node}/alarms/deactivated"])
async def test_forget_the_history(broker: TestBroker, alarms: None, path: str) -> None:
    """DELETE /alarms/deactivated and DELETE /nodes/{node}/alarms/deactivated"""
    path = path.format(node=broker.node.node)
    assert (await broker.api("DELETE", path)).json() == {"code": 0}
    assert (await broker.api("DELETE", path)).json() == {"code": 0}
    assert broker.node.alarms.history() == []
    assert list(broker.alarms()) == [HOOK]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, (107, "missing_param")),
        ({}, (107, "missing_param")),
        ({"name": "x"}, (107, "missing_param")),
        ({"node": "NODE"}, (107, "missing_param")),
        ([{"node": "NODE", "name": HOOK}], (107, "missing_param")),
        ({"node": "other@127.0.0.1", "name": HOOK}, (101, "nodedown")),
        ({"node": ["x"], "name": HOOK}, (108, "bad_params")),
        ({"node": "NODE", "name": 5}, (108, "bad_params")),
        ({"node": None, "name": None}, (108, "bad_params")),
        ({"node": "NODE", "name": "\x00" * 1000}, (102, "not_found")),
        (7, (108, "bad_params")),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_bad_input(broker: TestBroker, alarms: None, body: object, expected: object) -> None:
    raw = json.dumps(body).replace("NODE", broker.node.node).encode() if body is not None else None
    answer = await broker.api("POST", "/alarms/deactivated", raw=raw)
    assert (answer.status, answer.code, answer.message) == (200, *expected)
    assert list(broker.alarms()) == [HOOK]


async def test_nobody_knows_the_node(broker: TestBroker) -> None:
    for method, path in (("GET", "alarms"), ("GET", "alarms/activated"), ("DELETE", "alarms/deactivated")):
        assert (await broker.api(method, f"/nodes/x@y/{path}")).status == 404
