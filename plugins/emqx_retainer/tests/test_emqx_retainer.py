"""emqx_retainer: the service is there while the plugin is, and has EMQX's commands."""

from __future__ import annotations

import pytest

from trioemqx.testing import Client, TestBroker


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": ["emqx_retainer"]}, "retainer": {"max_retained_messages": 4}}


async def _retain(broker: TestBroker, *topics: str) -> Client:
    client = await broker.client("publisher")
    for topic in topics:
        await client.publish(topic, b"x", qos=1, retain=True)
    return client


async def test_info_and_topics(broker: TestBroker) -> None:
    assert await broker.ctl("retainer info") == ["retained/total: 0"]
    assert await broker.ctl("retainer topics") == []
    await _retain(broker, "a", "b/c", "$own/d")
    assert await broker.ctl("retainer info") == ["retained/total: 3"]
    assert sorted(await broker.ctl("retainer topics")) == ["$own/d", "a", "b/c"]


async def test_clean(broker: TestBroker) -> None:
    await _retain(broker, "a", "b/c", "b/d", "$own/b")
    assert await broker.ctl("retainer clean b/+") == ["Cleaned 2 retained messages"]
    assert sorted(await broker.ctl("retainer topics")) == ["$own/b", "a"]
    assert await broker.ctl("retainer clean #") == ["Cleaned 1 retained messages"]
    assert await broker.ctl("retainer clean") == ["Cleaned 1 retained messages"]
    assert broker.metrics["messages.retained"] == 0


async def test_wrong_arguments(broker: TestBroker) -> None:
    (line,) = await broker.ctl("retainer clean a/#/b")
    assert line.startswith("Error: ")
    assert "retainer clean [<filter>]" in "\n".join(await broker.ctl("retainer clean a b"))


async def test_limits_are_those_of_the_broker(broker: TestBroker) -> None:
    await _retain(broker, "1", "2", "3", "4", "5", "4")
    assert sorted(await broker.ctl("retainer topics")) == ["1", "2", "3", "4"]


async def test_a_reload_keeps_everything(broker: TestBroker) -> None:
    await _retain(broker, "a")
    await broker.reload_plugin("emqx_retainer")
    late = await broker.client("late", subscribe="a")
    assert await late.message() == ("a", b"x")
    await broker.node.plugins.unload("emqx_retainer")
    assert (await broker.ctl("retainer info"))[0] == "Usage: emqx_ctl"
