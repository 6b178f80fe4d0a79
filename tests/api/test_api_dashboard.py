"""What the dashboard looks at besides EMQX's API: queues, hooks, share groups, waiting and captured messages."""

from __future__ import annotations

from base64 import b64decode

import pytest
import trio

from trioemqx.hookspecs import hookimpl
from trioemqx.testing import ApiAnswer, TestBroker, running
from trioemqx.types import Message


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"modules": {"load": ["emqx_mod_delayed"]}, "zone": {"default": {"max_inflight": 2}}}


async def test_what_waits_for_a_client(broker: TestBroker) -> None:
    """GET /clients/{clientid}/mqueue"""
    away = await broker.client("away", subscribe="t", qos=1, expiry=100)
    await away.disconnect()
    for number in range(5):
        broker.node.publish(Message("t", b"%d" % number + bytes(5000 * (number == 4)), 1, publisher="sender"))
    page = (await broker.api("GET", "/clients/away/mqueue?_page=2&_limit=2")).json()
    assert page["meta"] == {"page": 2, "limit": 2, "count": 5, "hasnext": True}
    assert [b64decode(row["payload"]) for row in page["data"]] == [b"2", b"3"]
    row = page["data"][0]
    assert (row["topic"], row["qos"], row["from_clientid"], row["size"]) == ("t", 1, "sender", 1)
    assert row["truncated"] is False
    assert abs(row["queued_at"] / 1000 - broker.node.wall()) < 5
    last = (await broker.api("GET", "/clients/away/mqueue?_page=3&_limit=2")).data
    assert (len(b64decode(last[0]["payload"])), last[0]["size"], last[0]["truncated"]) == (4096, 5001, True)
    assert len((await broker.api("GET", "/clients/away/mqueue")).data) == 5  # looking takes nothing out


async def test_what_a_client_has_not_acknowledged(broker: TestBroker) -> None:
    """GET /clients/{clientid}/inflight"""
    slow = await broker.client("slow", subscribe="t", qos=2)
    slow.auto_ack = False
    for qos in (1, 2, 1):
        broker.node.publish(Message("t", b"x", qos))
    rows = (await broker.api("GET", "/clients/slow/inflight")).data
    assert [(row["packet_id"], row["qos"], row["state"]) for row in rows] == [
        (1, 1, "wait_puback"),
        (2, 2, "wait_pubrec"),
    ]
    assert [row["qos"] for row in (await broker.api("GET", "/clients/slow/mqueue")).data] == [1]


@pytest.mark.parametrize("what", ["mqueue", "inflight"])
async def test_queues_of_nobody(broker: TestBroker, what: str) -> None:
    assert (await broker.api("GET", f"/clients/nobody/{what}")).code == 112
    await broker.client("c")
    assert (await broker.api("GET", f"/clients/c/{what}")).data == []
    assert (await broker.api("GET", f"/clients/c/{what}?_page=x")).code == 108


class Listener:
    @hookimpl(priority=7)
    def message_publish(self, message: Message) -> None:
        if message.topic == "crash":
            raise RuntimeError


async def test_who_listens_where(broker: TestBroker) -> None:
    """GET /hooks"""
    broker.node.hooks.register(Listener(), "mine")
    broker.node.publish(Message("crash", b""))
    points = {row["point"]: row["implementations"] for row in (await broker.api("GET", "/hooks")).data}
    chain = points["message_publish"]
    assert [entry["priority"] for entry in chain] == sorted((entry["priority"] for entry in chain), reverse=True)
    mine = next(entry for entry in chain if entry["plugin"] == "mine")
    assert mine == {
        "plugin": "mine",
        "function": "Listener.message_publish",
        "priority": 7,
        "errors": 1,
        "calls": None,
        "microseconds": None,
    }


async def test_what_hooks_cost(broker: TestBroker) -> None:
    broker.node.hooks.register(Listener(), "mine")
    answers: list[ApiAnswer] = []

    async def measure() -> None:
        answers.append(await broker.api("GET", "/hooks?_measure=2"))

    await broker.api("GET", "/brokers")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(measure)
        await trio.sleep(1)
        for _ in range(3):
            broker.node.publish(Message("t", b""))
    assert sorted(answer.status for answer in answers) == [200] * 4 + [503]
    points = {row["point"]: row["implementations"] for row in next(a for a in answers if a.status == 200).data}
    mine = next(entry for entry in points["message_publish"] if entry["plugin"] == "mine")
    assert mine["calls"] == 3
    assert mine["microseconds"] > 0
    assert broker.node.hooks.measuring == 0
    assert (await broker.api("GET", "/hooks?_measure=11")).code == 108


async def test_share_groups(broker: TestBroker) -> None:
    """GET /shared_subscriptions"""
    await broker.client("a", subscribe="$share/g/t/#", qos=1)
    await broker.client("b", subscribe="$share/g/t/#")
    await broker.client("c", subscribe="t/#")
    answer = (await broker.api("GET", "/shared_subscriptions")).json()
    (group,) = answer["data"]
    members = sorted(group.pop("members"), key=lambda member: member["clientid"])
    assert group == {"group": "g", "filter": "t/#", "strategy": "round_robin", "count": 2}
    node = broker.node.node
    assert members == [{"clientid": "a", "node": node, "qos": 1}, {"clientid": "b", "node": node, "qos": 0}]
    assert answer["meta"]["count"] == 1


async def test_messages_for_later(broker: TestBroker) -> None:
    """GET /delayed, GET /delayed/{id}, DELETE /delayed/{id}"""
    watcher = await broker.client("watcher", subscribe="a/#")
    for seconds in (30, 10, 20):
        broker.node.publish(Message(f"$delayed/{seconds}/a/{seconds}", b"x" * seconds, 1, publisher="me"))
    page = (await broker.api("GET", "/delayed?_limit=2")).json()
    assert page["meta"] == {"page": 1, "limit": 2, "count": 3, "hasnext": True}
    assert [row["topic"] for row in page["data"]] == ["a/10", "a/20"]
    row = page["data"][1]
    assert (row["qos"], row["size"], row["from_clientid"]) == (1, 20, "me")
    assert row["publish_at"] / 1000 - broker.node.wall() == pytest.approx(20, abs=0.1)
    whole = (await broker.api("GET", f"/delayed/{row['id']}")).data
    assert b64decode(whole["payload"]) == b"x" * 20
    assert (await broker.api("DELETE", f"/delayed/{row['id']}")).json() == {"code": 0}
    for method in ("GET", "DELETE"):
        assert (await broker.api(method, f"/delayed/{row['id']}")).message == "not_found"
    assert broker.metrics["messages.delayed"] == 2
    await trio.sleep(31)
    assert [(await watcher.message())[0] for _ in range(2)] == ["a/10", "a/30"]
    await broker.node.plugins.unload("emqx_mod_delayed")
    assert (await broker.api("GET", "/delayed")).status == 404


async def captured(broker: TestBroker, body: object, *messages: Message) -> ApiAnswer:
    """The answer to a capture during which messages are published."""
    answers: list[ApiAnswer] = []
    await broker.api("GET", "/brokers")

    async def ask() -> None:
        answers.append(await broker.api("POST", "/rules/capture", body))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        for message in messages:
            broker.node.publish(message)
    return answers[0]


async def test_messages_are_caught_for_a_rule(broker: TestBroker) -> None:
    """POST /rules/capture"""
    before = trio.current_time()
    sent = Message("t/1", b'{"a": 1}', 1, publisher="me"), Message("u", b"no"), Message("t/2", b"\xff")
    found = (await captured(broker, {"topic": "t/#", "seconds": 3}, *sent)).data
    assert trio.current_time() - before == pytest.approx(3, abs=0.2)
    assert [row["topic"] for row in found] == ["t/1", "t/2"]
    first = found[0]
    assert (first["payload"], first["clientid"], first["qos"], first["event"]) == (
        '{"a": 1}',
        "me",
        1,
        "message.publish",
    )
    body = {"rawsql": 'SELECT payload.a as a FROM "t/#"', "ctx": first, "test": True, "actions": []}
    assert (await broker.api("POST", "/rules", body)).data == {"a": 1}
    assert broker.node.broker.router.routes == 0  # it is not subscribed any more


async def test_a_capture_ends_when_it_has_enough(broker: TestBroker) -> None:
    before = trio.current_time()
    messages = [Message("t", b"%d" % number) for number in range(5)]
    found = (await captured(broker, {"topic": "t", "limit": 2}, *messages)).data
    assert [row["payload"] for row in found] == ["0", "1"]
    large = [Message("t", bytes(600_000)) for _ in range(3)]
    assert len((await captured(broker, {"topic": "t"}, *large)).data) <= 1
    assert trio.current_time() - before < 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topic": "a/#/b"},
        {"topic": 5},
        {"topic": "$share/g/t"},
        {"topic": "t", "seconds": 31},
        {"topic": "t", "limit": 51},
    ],
)
async def test_captures_that_are_none(broker: TestBroker, body: object) -> None:
    assert (await broker.api("POST", "/rules/capture", body)).code in (107, 108, 115)


async def test_only_so_many_capture_at_once(broker: TestBroker) -> None:
    answers: list[int] = []
    await broker.api("GET", "/brokers")

    async def ask() -> None:
        answers.append((await broker.api("POST", "/rules/capture", {"topic": "t", "seconds": 1})).status)

    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(ask)
    assert sorted(answers) == [200] * 8 + [503]


async def test_where_a_browser_can_speak_mqtt() -> None:
    """GET /settings/listener"""
    listeners = {"tcp": {"a": {"bind": "127.0.0.1:0"}}, "ws": {"b": {"bind": "127.0.0.1:0", "mqtt_path": "/m"}}}
    async with running({"listener": listeners}, listen=True) as broker:
        found = (await broker.api("GET", "/settings/listener")).data["websocket"]
        assert found == [{"port": broker.node.listeners.listeners["mqtt:ws:b"].port, "path": "/m", "tls": False}]
