"""`clients`, `routes` and `subscriptions` of `trioemqx ctl`."""

from __future__ import annotations

import re

import pytest
import trio
from ctl_helpers import ctl, data

from trioemqx.core.session import Session
from trioemqx.testing import TestBroker
from trioemqx.types import ClientInfo, Message, SubOpts

NODE = "emqx@127.0.0.1"

# -- clients -----------------------------------------------------------------------------------------------------------


async def test_a_client_that_is_here(broker: TestBroker) -> None:
    client = await broker.client("c1", username="u1", keepalive=60, subscribe="t", qos=1)
    client.auto_ack = False
    broker.node.publish(Message("t", b"1", 1))
    await client.message()
    code, lines = await ctl(broker, "clients list")
    assert code == 0
    session = broker.node.find("c1")
    assert session is not None
    assert lines == [
        "Client(c1, username=u1, peername=127.0.0.1:0, clean_start=true, keepalive=60, session_expiry_interval=0, "
        "subscriptions=1, inflight=1, awaiting_rel=0, delivered_msgs=1, enqueued_msgs=0, dropped_msgs=0, "
        f"connected=true, created_at={session.created_at}, connected_at={session.info.connected_at})"
    ]
    assert await ctl(broker, "clients show c1") == (0, lines)


async def test_a_session_whose_client_is_away(broker: TestBroker) -> None:
    client = await broker.client("away", subscribe="t", qos=1, expiry=100)
    await client.disconnect()
    for payload in (b"1", b"2"):
        broker.node.publish(Message("t", payload, 1))
    (line,) = (await ctl(broker, "clients list"))[1]
    assert "username=undefined," in line
    assert "session_expiry_interval=100," in line
    assert "enqueued_msgs=2," in line
    assert re.search(r" connected=false, created_at=\d{13}, connected_at=\d{13}, disconnected_at=\d{13}\)$", line)


async def test_messages_that_a_full_queue_dropped(broker: TestBroker) -> None:
    client = await broker.client("away", subscribe="t", qos=1, expiry=100)
    await client.disconnect()
    session = broker.node.find("away")
    assert session is not None
    limit = session.zone.max_mqueue_len
    for _ in range(limit + 7):
        broker.node.publish(Message("t", b"", 1))
    (line,) = (await ctl(broker, "clients list"))[1]
    assert f"enqueued_msgs={limit}, dropped_msgs=7," in line


async def test_clients_as_the_http_api_has_them(broker: TestBroker) -> None:
    await broker.client("c1", username="u1")
    (row,) = await data(broker, "clients list")
    assert (row["node"], row["clientid"], row["username"], row["connected"]) == (NODE, "c1", "u1", True)
    assert await data(broker, "clients show c1") == row


async def test_a_name_cannot_begin_another_line(broker: TestBroker) -> None:
    await broker.client("c\nClient(x", username="u\n", subscribe="t\n")
    (line,) = (await ctl(broker, "clients list"))[1]
    assert line.startswith("Client(c\\nClient(x, username=u\\n, ")
    assert (await ctl(broker, "subscriptions list"))[1] == ["c\\nClient(x -> t\\n"]
    assert (await ctl(broker, "routes list"))[1] == [f"t\\n -> {NODE}"]


async def test_nobody(broker: TestBroker) -> None:
    assert await ctl(broker, "clients list") == (0, [])
    assert await data(broker, "clients list") == []
    assert await ctl(broker, "clients show c1") == (1, ["Not Found."])
    assert await data(broker, "clients show c1", 1) == {"message": "Not Found."}


async def test_kick(broker: TestBroker) -> None:
    client = await broker.client("c1", expiry=100)
    assert await ctl(broker, "clients kick c1") == (0, ["ok"])
    assert await client.closed() == 0x98
    assert broker.node.find("c1") is None
    assert await ctl(broker, "clients kick c1") == (0, ["ok"]), "also for an unknown id, as scripts expect"


async def test_long_lists_let_others_run_and_bear_changes(broker: TestBroker) -> None:
    core = broker.node.broker
    zone = core.zones["default"]
    for number in range(3000):
        session = Session(core, ClientInfo(f"c{number}", zone="default"), zone)
        core.registry.sessions[session.clientid] = session
        core.subscribe(session.clientid, f"t/{number}", SubOpts(0))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1
            if turns == 500:
                core.kick("c2999")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        for line in ("clients list", "subscriptions list", "routes list"):
            turns = 0
            assert 2999 <= len((await ctl(broker, line))[1]) <= 3000
            assert turns > 1000, line
        nursery.cancel_scope.cancel()
    assert broker.node.find("c2999") is None


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_subscriptions_and_routes(broker: TestBroker) -> None:
    client = await broker.client("c1", subscribe="a/+")
    await client.subscribe("$share/g/b", qos=1)
    await broker.client("c2", subscribe="a/+")
    assert await ctl(broker, "subscriptions list") == (0, ["c1 -> a/+", "c1 -> $share/g/b", "c2 -> a/+"])
    assert await ctl(broker, "subscriptions show c1") == (0, ["c1 -> a/+", "c1 -> $share/g/b"])
    assert sorted((await ctl(broker, "routes list"))[1]) == [f"a/+ -> {NODE}", f"b -> {NODE}"]
    assert await ctl(broker, "routes show a/+") == (0, [f"a/+ -> {NODE}"])
    assert await ctl(broker, "routes show a/1") == (0, []), "filters, not topics"
    shared = {"node": NODE, "clientid": "c1", "topic": "$share/g/b", "qos": 1}
    assert (await data(broker, "subscriptions list"))[1] == shared
    assert (await data(broker, "subscriptions show c1"))[1] == shared
    assert await data(broker, "routes show b") == [{"topic": "b", "node": NODE}]


async def test_subscriptions_of_nobody(broker: TestBroker) -> None:
    assert await ctl(broker, "subscriptions show c1") == (1, ["Not Found."])
    await broker.client("c1")
    assert await ctl(broker, "subscriptions show c1") == (0, [])


async def test_subscribe_on_behalf_of_a_client(broker: TestBroker) -> None:
    client = await broker.client("c1")
    assert await ctl(broker, "subscriptions add c1 t/# 1") == (0, ["ok"])
    broker.node.publish(Message("t/1", b"x", 1))
    assert await client.message() == ("t/1", b"x")
    assert await ctl(broker, "subscriptions add c1 $share/g/t 0") == (0, ["ok"])
    assert await ctl(broker, "subscriptions show c1") == (0, ["c1 -> t/#", "c1 -> $share/g/t"])
    assert await ctl(broker, "subscriptions del c1 t/#") == (0, ["ok"])
    assert await ctl(broker, "subscriptions del c1 t/#") == (0, ["ok"]), "it has none, so all is well"
    assert await ctl(broker, "subscriptions show c1") == (0, ["c1 -> $share/g/t"])


async def test_subscribe_a_client_that_is_away(broker: TestBroker) -> None:
    await (await broker.client("away", expiry=100)).disconnect()
    assert await ctl(broker, "subscriptions add away t 1") == (0, ["ok"])
    assert await ctl(broker, "subscriptions show away") == (0, ["away -> t"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("add c2 t 1", "Error: Channel not found!"),
        ("del c2 t", "Error: Channel not found!"),
        ("add c1 t 3", "QoS should be 0, 1, 2"),
        ("add c1 t one", "QoS should be 0, 1, 2"),
        ("add c1 t/#/x 1", "Error: topic_filter_invalid"),
        ("add c1 $share/g 1", "Error: topic_filter_invalid"),
        ("del c1 $share/g", "Error: topic_filter_invalid"),
    ],
)
async def test_what_cannot_be_subscribed(broker: TestBroker, words: str, line: str) -> None:
    await broker.client("c1")
    assert await ctl(broker, f"subscriptions {words}") == (1, [line])
    assert await ctl(broker, "subscriptions show c1") == (0, [])
