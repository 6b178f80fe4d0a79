"""`/status`, `/brokers`, `/nodes` and the index."""

from __future__ import annotations

from trioemqx.testing import TestBroker


async def test_brokers(broker: TestBroker) -> None:
    """GET /brokers GET /brokers/{node}"""
    answer = await broker.api("GET", "/brokers")
    (found,) = answer.data
    assert found["node"] == broker.node.node
    assert found["node_status"] == "Running"
    assert set(map(type, found.values())) == {str}
    assert (await broker.api("GET", f"/brokers/{broker.node.node}")).data["version"] == found["version"]


async def test_a_node_that_nobody_knows_is_a_wrong_path(broker: TestBroker) -> None:
    for path in ("/brokers/x@127.0.0.1", "/nodes/x@127.0.0.1", "/nodes/emqx%40127.0.0.1"):
        answer = await broker.api("GET", path)
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})


async def test_nodes(broker: TestBroker) -> None:
    """GET /nodes GET /nodes/{node}"""
    (node,) = (await broker.api("GET", "/nodes/")).data
    assert isinstance(node["memory_total"], str)
    one = (await broker.api("GET", f"/nodes/{broker.node.node}")).data
    assert 0 < one["memory_used"] <= one["memory_total"]
    assert node["connections"] == node["live_connections"] == 0
    await broker.client("c")
    assert (await broker.api("GET", f"/nodes/{broker.node.node}")).data["connections"] == 1


async def test_status(broker: TestBroker) -> None:
    """GET /status"""
    answer = await broker.api("GET", "//status", auth=None)
    assert answer.status == 200
    assert answer.body == f"Node {broker.node.node} is started\nemqx is running".encode()
    assert answer.headers["content-type"] == "text/plain"
    assert (await broker.api("GET", "//status?format=json", auth=None)).json()["broker"] == "running"
    assert (await broker.api("GET", "//ready", auth=None)).status == 200
    assert (await broker.api("POST", "//status", auth=None)).status == 400
