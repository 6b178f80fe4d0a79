"""`/retained_messages`, which the plugin emqx_retainer serves. EMQX 4 has nothing like it."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from urllib.parse import quote

import pytest
import trio

from trioemqx.testing import TestBroker
from trioemqx.types import Message

NAME = "emqx_retainer"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}}


async def retain(broker: TestBroker, *topics: str, payload: bytes = b"x", qos: int = 1) -> None:
    client = await broker.client("publisher")
    for topic in topics:
        await client.publish(topic, payload, qos=qos, retain=True)


async def topics(broker: TestBroker, query: str = "") -> list[str]:
    """Those listed, without the broker's own."""
    rows = (await broker.api("GET", f"/retained_messages?{query}")).data
    return sorted(row["topic"] for row in rows if not row["topic"].startswith("$SYS/"))


async def test_list(broker: TestBroker) -> None:
    """GET /retained_messages"""
    await retain(broker, "a/b", payload=b"12345", qos=2)
    answer = await broker.api("GET", "/retained_messages?topic=a/b")
    (row,) = answer.data
    published = datetime.fromisoformat(row.pop("publish_at"))
    assert published.timestamp() == pytest.approx(broker.node.wall(), abs=2)
    assert row == {"topic": "a/b", "qos": 2, "from_clientid": "publisher", "payload_size": 5}
    assert answer.json()["meta"] == {"page": 1, "limit": 10000, "count": -1, "hasnext": False}
    whole = await broker.api("GET", "/retained_messages")
    assert whole.json()["meta"]["count"] == len(whole.data) == broker.metrics["messages.retained"]


async def test_list_by_filter(broker: TestBroker) -> None:
    """GET /retained_messages"""
    await retain(broker, "a/b", "a/c", "b", "$own/a", "ü")
    assert await topics(broker) == ["$own/a", "a/b", "a/c", "b", "ü"], "without a filter all of them"
    assert await topics(broker, "topic=a/%2B") == ["a/b", "a/c"]
    assert await topics(broker, "topic=%23") == ["a/b", "a/c", "b", "ü"]
    assert await topics(broker, "topic=$own/%23") == ["$own/a"]
    assert await topics(broker, "topic=c") == []


async def test_list_in_pages(broker: TestBroker) -> None:
    """GET /retained_messages"""
    await retain(broker, *(f"t/{number}" for number in range(250)))
    seen, page, more = [], 1, True
    while more:
        answer = await broker.api("GET", f"/retained_messages?topic=t/%23&_page={page}&_limit=100")
        seen += [row["topic"] for row in answer.data]
        more = answer.json()["meta"]["hasnext"]
        page += 1
    assert seen == [f"t/{number}" for number in range(250)]
    assert (await broker.api("GET", "/retained_messages?topic=t/%23&_page=-5&_limit=1")).data[0]["topic"] == "t/0"
    nothing = await broker.api("GET", "/retained_messages?topic=t/%23&_limit=0")
    assert (nothing.data, nothing.json()["meta"]["hasnext"]) == ([], True)


@pytest.mark.parametrize("query", ["_limit=-1", "_limit=x", "_page=1.5", "_page="])
async def test_pages_that_are_none(broker: TestBroker, query: str) -> None:
    """GET /retained_messages"""
    assert (await broker.api("GET", f"/retained_messages?{query}")).code == 108


BAD = ["", "a/%23/b", "a%2B", "a%00"]


@pytest.mark.parametrize("filter", BAD)
async def test_what_is_no_filter(broker: TestBroker, filter: str) -> None:
    """GET /retained_messages, DELETE /retained_messages"""
    await retain(broker, "a")
    for method in ("GET", "DELETE"):
        answer = await broker.api(method, f"/retained_messages?topic={filter}")
        assert answer.json() == {"code": 115, "message": "bad_topic"}
        assert (await broker.api(method, "/retained_messages", {"topic": ["a"]})).code == 115
    assert await topics(broker) == ["a"]


async def test_one_with_its_payload(broker: TestBroker) -> None:
    """GET /retained_messages/{topic}"""
    payload = b"\x00\xff{{7*7}}<script>"
    await retain(broker, "a/b?", payload=payload)
    found = (await broker.api("GET", f"/retained_messages/{quote('a/b?', '')}")).data
    assert (found["payload"], found["encoding"]) == (b64encode(payload).decode(), "base64")
    assert (found["topic"], found["qos"], found["payload_size"]) == ("a/b?", 1, len(payload))
    for unknown in ("a", "%00", "a%2F%23", "x" * 5000):
        answer = await broker.api("GET", f"/retained_messages/{unknown}")
        assert (answer.status, answer.json()) == (200, {"code": 102, "message": "not_found"})


async def test_one_that_has_expired_is_gone(broker: TestBroker) -> None:
    """GET /retained_messages/{topic}"""
    broker.node.broker.retained.expiry = 10.0
    await retain(broker, "t")
    assert (await broker.api("GET", "/retained_messages/t")).code == 0
    await trio.sleep(11)
    assert (await broker.api("GET", "/retained_messages/t")).code == 102
    assert await topics(broker) == []


async def test_delete_one(broker: TestBroker) -> None:
    """DELETE /retained_messages/{topic}"""
    await retain(broker, "a/b", "a")
    before = broker.metrics["messages.retained"]
    assert (await broker.api("DELETE", "/retained_messages/a%2Fb")).data == {"deleted": 1}
    assert broker.metrics["messages.retained"] == before - 1
    late = await broker.client("late", subscribe="a/b")
    assert await late.nothing()
    assert (await broker.api("DELETE", "/retained_messages/a%2Fb")).data == {"deleted": 0}
    assert (await broker.api("DELETE", "/retained_messages/%23")).data == {"deleted": 0}, "a name, and no filter"
    assert await topics(broker) == ["a"]


async def test_delete_by_filter(broker: TestBroker) -> None:
    """DELETE /retained_messages"""
    await retain(broker, "a/b", "a/c", "b", "$own/a")
    assert (await broker.api("DELETE", "/retained_messages?topic=a/%2B")).data == {"deleted": 2}
    assert await topics(broker) == ["$own/a", "b"]
    for body in (None, {}, [], [{"topic": "#"}]):
        answer = await broker.api("DELETE", "/retained_messages", body)
        assert answer.json() == {"code": 107, "message": "missing_required_params"}
    assert await topics(broker) == ["$own/a", "b"]
    assert (await broker.api("DELETE", "/retained_messages", {"topic": "#"})).data == {"deleted": 1}
    assert await topics(broker) == ["$own/a"]


async def test_many_are_deleted_while_others_have_their_turns(broker: TestBroker) -> None:
    """DELETE /retained_messages"""
    core = broker.node.broker
    for number in range(5000):
        core.retained.store(Message(f"m/{number}", b"x"), core.now)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while core.retained.get("m/4999", core.now) is not None:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert (await broker.api("DELETE", "/retained_messages?topic=m/%23")).data == {"deleted": 5000}
    assert turns >= 40


async def test_without_the_plugin(broker: TestBroker) -> None:
    await retain(broker, "a")
    await broker.node.plugins.unload(NAME)
    for method, path in (("GET", ""), ("DELETE", "?topic=%23"), ("GET", "/a"), ("DELETE", "/a")):
        answer = await broker.api(method, f"/retained_messages{path}")
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
    await broker.node.plugins.load(NAME)
    assert await topics(broker) == ["a"]


async def test_old_ones(broker: TestBroker) -> None:
    """GET /retained_messages, DELETE /retained_messages"""
    await retain(broker, "tele/1/LWT", "tele/2/LWT", "tele/2/state")
    await trio.sleep(3600)
    await (await broker.client("another")).publish("tele/3/LWT", b"x", qos=1, retain=True)
    lwt = "topic=tele/%2B/LWT"
    assert await topics(broker, f"{lwt}&older_than=3600") == ["tele/1/LWT", "tele/2/LWT"]
    assert await topics(broker, f"{lwt}&older_than=3601") == []
    assert await topics(broker, "older_than=60") == ["tele/1/LWT", "tele/2/LWT", "tele/2/state"]
    first = await broker.api("GET", f"/retained_messages?{lwt}&older_than=60&_limit=1&count=true")
    assert (len(first.data), first.json()["meta"]["count"], first.json()["meta"]["hasnext"]) == (1, 2, True)
    assert (await broker.api("GET", f"/retained_messages?{lwt}&_limit=0&count=true")).json()["meta"]["count"] == 3
    for method in ("GET", "DELETE"):
        for wrong in ("-1", "long", "1e9"):
            assert (await broker.api(method, f"/retained_messages?{lwt}&older_than={wrong}")).code == 108
    assert (await broker.api("DELETE", f"/retained_messages?{lwt}&older_than=3600")).data == {"deleted": 2}
    assert await topics(broker) == ["tele/2/state", "tele/3/LWT"]
