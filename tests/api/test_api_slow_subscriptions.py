"""`/slow_subscriptions`, which the module emqx_mod_slow_subs serves."""

from __future__ import annotations

import pytest
import trio

from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import TestBroker
from trioemqx.types import Message

NAME = "emqx_mod_slow_subs"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"modules": {"load": [NAME]}, "module": {"slow_subs": {"threshold": "500ms"}}}


async def slow_delivery(broker: TestBroker, clientid: str, topic: str, seconds: float) -> None:
    """A client that takes so long to acknowledge a message."""
    client = await broker.client(clientid, subscribe=topic, qos=1)
    client.auto_ack = False
    broker.node.publish(Message(topic, b"x", 1))
    packet = await client.receive_publish()
    await trio.sleep(seconds)
    await client.send(Ack(PUBACK, packet.packet_id))
    await client.ping()


async def test_the_slowest_first(broker: TestBroker) -> None:
    """GET /slow_subscriptions"""
    assert (await broker.api("GET", "/slow_subscriptions")).data == []
    await slow_delivery(broker, "slow", "t/1", 1.0)
    await slow_delivery(broker, "slower", "t/2", 2.0)
    await slow_delivery(broker, "quick", "t/3", 0.1)
    found = (await broker.api("GET", "/slow_subscriptions")).data
    assert [(row["clientid"], row["topic"], row["node"]) for row in found] == [
        ("slower", "t/2", broker.node.node),
        ("slow", "t/1", broker.node.node),
    ]
    assert [round(row["timespan"], -2) for row in found] == [2000, 1000]
    assert found[0]["last_update_time"] == pytest.approx(broker.node.wall() * 1000, abs=5000)


async def test_clear(broker: TestBroker) -> None:
    """DELETE /slow_subscriptions"""
    await slow_delivery(broker, "slow", "t", 1.0)
    assert (await broker.api("DELETE", "/slow_subscriptions", raw=b"[1]")).json() == {"code": 0}
    assert (await broker.api("GET", "/slow_subscriptions")).data == []


async def test_without_the_module(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for method in ("GET", "DELETE"):
        answer = await broker.api(method, "/slow_subscriptions")
        assert (answer.status, answer.json()) == (200, {"code": 111, "message": "module_not_loaded"})
