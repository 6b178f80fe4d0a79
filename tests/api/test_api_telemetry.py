"""`/telemetry`, which the plugin emqx_telemetry serves. Nothing is ever sent."""

from __future__ import annotations

import pytest

from trioemqx.testing import TestBroker

NAME = "emqx_telemetry"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}}


async def enabled(broker: TestBroker) -> bool:
    return bool((await broker.api("GET", "/telemetry/status")).data["enabled"])


async def test_status(broker: TestBroker) -> None:
    """GET /telemetry/status"""
    assert (await broker.api("GET", "/telemetry/status")).data == {"enabled": False}


async def test_enable_and_disable(broker: TestBroker) -> None:
    """PUT /telemetry/status"""
    for wanted in (True, False, True):
        assert (await broker.api("PUT", "/telemetry/status", {"enabled": wanted})).json() == {"code": 0}
        assert await enabled(broker) is wanted
        await broker.reload_plugin(NAME)
        assert await enabled(broker) is wanted
    assert await broker.ctl("telemetry get status") == ["Telemetry is enabled"]


@pytest.mark.parametrize("body", [None, {}, [], [{"enabled": True}]])
async def test_enable_nothing(broker: TestBroker, body: object) -> None:
    """PUT /telemetry/status"""
    answer = await broker.api("PUT", "/telemetry/status", body)
    assert answer.json() == {"code": 107, "message": "missing_required_params"}


@pytest.mark.parametrize("value", [None, "true", 1, 0, [True], {"enabled": True}])
async def test_enable_what_is_neither_true_nor_false(broker: TestBroker, value: object) -> None:
    """PUT /telemetry/status"""
    answer = await broker.api("PUT", "/telemetry/status", {"enabled": value})
    assert answer.json() == {"code": 108, "message": "bad_params"}
    assert await enabled(broker) is False


async def test_data(broker: TestBroker) -> None:
    """GET /telemetry/data"""
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x", qos=1)
    found = (await broker.api("GET", "/telemetry/data")).data
    assert found["active_plugins"] == ["emqx_dashboard", "emqx_management", "emqx_rule_engine", NAME]
    assert found["license"] == {"edition": "community"}
    assert found["messages_received"] == 1
    assert found["emqx_version"] == broker.node.version
    assert set(found) == {
        *("emqx_version", "license", "os_name", "os_version", "otp_version", "up_time", "uuid", "nodes_uuid"),
        *("active_plugins", "active_modules", "num_clients", "messages_received", "messages_sent"),
    }


async def test_without_the_plugin(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for method, path in (("GET", "status"), ("PUT", "status"), ("GET", "data")):
        answer = await broker.api(method, f"/telemetry/{path}", {"enabled": True})
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
