"""`/emqx_prometheus`, which the plugin of that name serves."""

from __future__ import annotations

import pytest
import trio

from trioemqx.testing import TestBroker, running

NAME = "emqx_prometheus"
PATH = "/emqx_prometheus"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}}


async def test_json_for_whoever_asks(broker: TestBroker) -> None:
    """GET /emqx_prometheus"""
    await broker.client("c")
    await trio.sleep(2)  # the gauges are read each second
    for path in (PATH, f"{PATH}?type=json"):
        found = (await broker.api("GET", path, auth=None)).data
        assert set(found) == {"stats", "metrics", "packets", "messages", "delivery", "client", "session"}
        assert found["packets"]["emqx_packets_connect"] == 1
        assert found["stats"]["emqx_connections_count"] == 1
        assert found["metrics"]["emqx_vm_total_memory"] > 0


async def test_text_for_prometheus(broker: TestBroker) -> None:
    """GET /emqx_prometheus"""
    answer = await broker.api("GET", f"{PATH}?type=prometheus", auth=None)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.body.decode().splitlines()
    assert "# TYPE emqx_connections_count gauge" in lines
    assert "# TYPE emqx_packets_connect counter" in lines
    assert "emqx_cluster_nodes_running 1" in lines


@pytest.mark.parametrize("query", ["type=xml", "type=", "type", "type=json%00"])
async def test_another_type(broker: TestBroker, query: str) -> None:
    """GET /emqx_prometheus"""
    answer = await broker.api("GET", f"{PATH}?{query}")
    assert (answer.status, answer.json()) == (200, {"code": 108, "message": "bad_params"})
    assert (await broker.api("GET", PATH, {"type": ["prometheus"]})).code == 108


async def test_it_can_be_closed(autojump_clock: trio.testing.MockClock) -> None:
    """GET /emqx_prometheus"""
    closed = {"management": {"prometheus_needs_login": True}, "plugins": {"load": [NAME]}}
    async with running(closed) as broker:
        assert (await broker.api("GET", PATH, auth=None)).status == 401
        assert (await broker.api("GET", PATH)).status == 200


async def test_without_the_plugin(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    answer = await broker.api("GET", PATH, auth=None)
    assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
