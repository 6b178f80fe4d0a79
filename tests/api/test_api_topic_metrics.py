"""`/topic-metrics`, which the module emqx_mod_topic_metrics serves."""

from __future__ import annotations

import pytest

from trioemqx.testing import TestBroker

NAME = "emqx_mod_topic_metrics"
ENDPOINTS = [
    ("GET", "/topic-metrics"),
    ("GET", "/topic-metrics/t"),
    ("POST", "/topic-metrics"),
    ("DELETE", "/topic-metrics"),
    ("DELETE", "/topic-metrics/t"),
]
INVALID = {"code": 115, "message": "invalid_topic_name"}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"modules": {"load": [NAME]}}


async def register(broker: TestBroker, *topics: str) -> None:
    for topic in topics:
        assert (await broker.api("POST", "/topic-metrics", {"topic": topic})).json() == {"code": 0}


async def listed(broker: TestBroker) -> list[str]:
    return [row["topic"] for row in (await broker.api("GET", "/topic-metrics")).data]


async def test_all_topics_with_their_numbers(broker: TestBroker) -> None:
    """GET /topic-metrics"""
    assert (await broker.api("GET", "/topic-metrics")).data == []
    await register(broker, "a/b/c", "t")
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x", qos=1)
    await client.publish("other", b"x", qos=1)
    first, second = (await broker.api("GET", "/topic-metrics")).data
    assert (first["topic"], second["topic"]) == ("a/b/c", "t")
    assert len(first["metrics"]) == 18
    assert set(first["metrics"].values()) == {0}
    counts = {name[9:-6]: value for name, value in second["metrics"].items() if name.endswith("count") and value}
    assert counts == {"in": 1, "qos1.in": 1, "out": 1, "qos0.out": 1}
    rates = [value for name, value in second["metrics"].items() if name.endswith("rate")]
    assert set(map(type, rates)) == {float}


async def test_one_topic(broker: TestBroker) -> None:
    """GET /topic-metrics/{topic}"""
    await register(broker, "a/b/c")
    client = await broker.client("c")
    await client.publish("a/b/c", b"x", qos=2)
    numbers = (await broker.api("GET", "/topic-metrics/a%2Fb%2fc")).data
    assert numbers["messages.qos2.in.count"] == numbers["messages.dropped.count"] == 1
    assert (await broker.api("GET", "/topic-metrics/not%20known")).json() == {"code": 0, "data": {}}


@pytest.mark.parametrize("topic", ["%23", "a%2F%2B", "a%00b", "%2B"])
async def test_what_is_no_topic_name(broker: TestBroker, topic: str) -> None:
    """GET /topic-metrics/{topic}, DELETE /topic-metrics/{topic}"""
    assert (await broker.api("GET", f"/topic-metrics/{topic}")).json() == INVALID
    assert (await broker.api("DELETE", f"/topic-metrics/{topic}")).json() == INVALID


async def test_register(broker: TestBroker) -> None:
    """POST /topic-metrics"""
    await register(broker, "t")
    client = await broker.client("c")
    await client.publish("t", b"x", qos=1)
    await register(broker, "t")
    assert (await broker.api("GET", "/topic-metrics/t")).data["messages.in.count"] == 1, "it goes on counting"
    assert (await broker.api("POST", "/topic-metrics?topic=of/the+query", {"topic": "hidden"})).code == 0
    assert await listed(broker) == ["t", "of/the query"]


async def test_more_topics_than_there_may_be_are_left_out_silently(broker: TestBroker) -> None:
    """POST /topic-metrics"""
    for number in range(513):
        await register(broker, str(number))
    assert len(await listed(broker)) == 512


@pytest.mark.parametrize("body", [None, {}, [], [{"topic": "t"}], {"Topic": "t"}])
async def test_register_nothing(broker: TestBroker, body: object) -> None:
    """POST /topic-metrics"""
    answer = await broker.api("POST", "/topic-metrics", body)
    assert answer.json() == {"code": 107, "message": "missing_required_params"}
    assert await listed(broker) == []


@pytest.mark.parametrize("topic", [None, "", 5, True, ["t"], {"t": 1}, "a/#", "+", "a\0", "x" * 65536])
async def test_register_what_is_no_topic_name(broker: TestBroker, topic: object) -> None:
    """POST /topic-metrics"""
    assert (await broker.api("POST", "/topic-metrics", {"topic": topic})).json() == INVALID
    assert await listed(broker) == []


async def test_unregister(broker: TestBroker) -> None:
    """DELETE /topic-metrics/{topic}"""
    await register(broker, "a/b", "c")
    for _ in range(2):
        assert (await broker.api("DELETE", "/topic-metrics/a%2Fb")).json() == {"code": 0}
        assert await listed(broker) == ["c"]


async def test_unregister_all(broker: TestBroker) -> None:
    """DELETE /topic-metrics"""
    await register(broker, "a/b", "c")
    assert (await broker.api("DELETE", "/topic-metrics")).json() == {"code": 0}
    assert await listed(broker) == []


async def test_without_the_module(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for method, path in ENDPOINTS:
        answer = await broker.api(method, path, {"topic": "t"})
        assert (answer.status, answer.json()) == (200, {"code": 111, "message": "module_not_loaded"})
        assert (await broker.api(method, path, auth=None)).status == 401
    await broker.node.plugins.load(NAME)
    assert await listed(broker) == []
