"""Clients, subscriptions and routes as the HTTP API and the command line show them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest
import trio

from trioemqx.core.callback import Callback
from trioemqx.core.session import Session
from trioemqx.core.zone import Zone
from trioemqx.services import paging
from trioemqx.services.clients import (
    client_page,
    client_row,
    clients_by_username,
    each_client,
    each_route,
    each_subscription,
    route_page,
    route_rows,
    subscription_page,
    subscription_rows,
)
from trioemqx.services.filters import FilterError
from trioemqx.testing import TestBroker
from trioemqx.types import ClientInfo, Message, SubOpts

NODE = "emqx@127.0.0.1"
TEXTS = """node clientid username mountpoint zone proto_name ip_address connected_at created_at""".split()
FLAGS = ["is_bridge", "clean_start", "connected"]
NUMBERS = """proto_ver port keepalive expiry_interval subscriptions_cnt max_subscriptions inflight max_inflight
mqueue_len max_mqueue mqueue_dropped awaiting_rel max_awaiting_rel recv_oct recv_cnt recv_pkt recv_msg recv_msg.qos0
recv_msg.qos1 recv_msg.qos2 recv_msg.dropped send_oct send_cnt send_pkt send_msg send_msg.qos0 send_msg.qos1
send_msg.qos2 send_msg.dropped send_msg.dropped.expired send_msg.dropped.queue_full send_msg.dropped.too_large
mailbox_len heap_size reductions""".split()


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"zone": {"default": {"max_mqueue_len": 3, "max_inflight": 32, "max_awaiting_rel": 100}}}


@pytest.fixture
def berlin() -> Iterator[None]:
    """A server two hours ahead of UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Etc/GMT-2"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def row(broker: TestBroker, clientid: str) -> dict[str, object]:
    session = broker.node.find(clientid)
    assert session is not None
    return client_row(session, NODE)


def add(broker: TestBroker, clientid: str, username: str | None = None) -> Session:
    """A session that no connection has made."""
    session = Session(broker.node.broker, ClientInfo(clientid, username, "10.0.0.1", 1, zone="external"), Zone("x"))
    broker.node.broker.registry.sessions[clientid] = session
    return session


async def leave(broker: TestBroker, clientid: str) -> None:
    client = await broker.client(clientid, expiry=1000)
    await client.disconnect()
    await trio.sleep(0.1)


# -- a client ----------------------------------------------------------------------------------------------------------


async def test_every_field_has_its_type(broker: TestBroker) -> None:
    await broker.client("here")
    await leave(broker, "away")
    add(broker, "never")
    for clientid in ("here", "away", "never"):
        found = row(broker, clientid)
        absent = [] if clientid == "here" else ["disconnected_at"]
        assert sorted(found) == sorted([*TEXTS, *FLAGS, *NUMBERS, *absent])
        assert [name for name in [*TEXTS, *absent] if not isinstance(found[name], str)] == []
        assert [name for name in FLAGS if not isinstance(found[name], bool)] == []
        assert [name for name in NUMBERS if type(found[name]) is not int] == []


async def test_what_connect_said(broker: TestBroker) -> None:
    await broker.client("c", version=3, keepalive=60, username="ann", clean_start=False)
    found = row(broker, "c")
    expected = {
        "node": NODE,
        "clientid": "c",
        "username": "ann",
        "mountpoint": "undefined",
        "zone": "default",
        "proto_name": "MQIsdp",
        "proto_ver": 3,
        "ip_address": "127.0.0.1",
        "keepalive": 60,
        "expiry_interval": 7200,
        "clean_start": False,
        "connected": True,
        "max_subscriptions": 0,
        "max_inflight": 32,
        "max_mqueue": 3,
        "max_awaiting_rel": 100,
    }
    assert {name: found[name] for name in expected} == expected


async def test_what_is_not_set_is_undefined(broker: TestBroker) -> None:
    session = add(broker, "c")
    session.info.peerhost = "::ffff:10.1.2.3"
    assert [row(broker, "c")[name] for name in ("username", "mountpoint", "ip_address")] == [
        "undefined",
        "undefined",
        "10.1.2.3",
    ]
    session.info.mountpoint = "site/"
    session.info.peerhost = "2001:db8::1"
    assert [row(broker, "c")[name] for name in ("mountpoint", "ip_address")] == ["site/", "2001:db8::1"]


async def test_times_are_local(broker: TestBroker, berlin: None) -> None:
    session = add(broker, "c")
    session.created_at = 1_589_557_140_999
    session.info.connected_at = 1_589_557_141_000
    session.disconnected_at = 1_589_557_200_000
    found = row(broker, "c")
    assert [found[name] for name in ("created_at", "connected_at", "disconnected_at")] == [
        "2020-05-15 17:39:00",
        "2020-05-15 17:39:01",
        "2020-05-15 17:40:00",
    ]


async def test_counters_of_the_connection_stay_while_the_client_is_away(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=1000, subscribe="t", qos=2)
    await client.publish("t", b"0")
    await client.publish("t", b"1", qos=1)
    await client.publish("t", b"2", qos=2)
    await client.ping()
    here = row(broker, "c")
    assert [here[name] for name in ("recv_msg", "recv_msg.qos0", "recv_msg.qos1", "recv_msg.qos2")] == [3, 1, 1, 1]
    assert [here[name] for name in ("send_msg", "send_msg.qos0", "send_msg.qos1", "send_msg.qos2")] == [3, 1, 1, 1]
    assert here["reductions"] == int(str(here["recv_pkt"])) + int(str(here["send_pkt"]))
    assert int(str(here["recv_oct"])) > 50
    assert int(str(here["send_cnt"])) > 2
    await client.disconnect()
    await trio.sleep(0.1)
    away = row(broker, "c")
    same = [name for name in NUMBERS if name.startswith(("recv_msg", "send_"))]
    assert {name: away[name] for name in same} == {name: here[name] for name in same}
    assert away["recv_pkt"] == int(str(here["recv_pkt"])) + 1, "the DISCONNECT"
    await broker.client("c", clean_start=False)
    assert row(broker, "c")["recv_msg"] == 0, "another connection counts anew"


async def test_what_waits_for_an_absent_client(broker: TestBroker) -> None:
    await leave(broker, "c")
    broker.node.subscribe("c", "t", SubOpts(1))
    for number in range(5):
        broker.node.publish(Message("t", b"%d" % number, 1))
    found = row(broker, "c")
    expected = {
        "connected": False,
        "subscriptions_cnt": 1,
        "mqueue_len": 3,
        "mqueue_dropped": 2,
        "send_msg.dropped": 2,
        "send_msg.dropped.queue_full": 2,
        "heap_size": 6,
        "mailbox_len": 0,
    }
    assert {name: found[name] for name in expected} == expected
    await broker.client("c", clean_start=False, expiry=1000)
    found = row(broker, "c")
    assert [found[name] for name in ("mqueue_len", "mqueue_dropped", "send_msg.dropped")] == [0, 2, 0]


async def test_unfinished_messages(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t", qos=1)
    client.auto_ack = False
    broker.node.publish(Message("t", b"1", 1))
    await client.receive_publish()
    assert row(broker, "c")["inflight"] == 1


# -- lists of clients --------------------------------------------------------------------------------------------------


async def test_clients_come_in_the_order_of_their_sessions(broker: TestBroker) -> None:
    await leave(broker, "b")
    await broker.client("a")
    await broker.client("c")
    await broker.client("b", clean_start=False, expiry=1000)
    rows, count, more = await client_page(broker.node.broker, NODE, {"_page": "1"}, 1, 2)
    assert [found["clientid"] for found in rows] == ["b", "a"]
    assert (count, more) == (3, True)
    rows, count, more = await client_page(broker.node.broker, NODE, {}, 2, 2)
    assert ([found["clientid"] for found in rows], count, more) == (["c"], 3, False)


async def test_filtered_clients(broker: TestBroker) -> None:
    await broker.client("a1", username="ann")
    await leave(broker, "a2")
    await broker.client("b1", username="ann")
    core = broker.node.broker

    async def find(**params: object) -> list[object]:
        rows, count, _ = await client_page(core, NODE, params, 1, 10)
        assert count == -1
        return [found["clientid"] for found in rows]

    assert await find(_like_clientid="a") == ["a1", "a2"]
    assert await find(clientid="b1") == ["b1"]
    assert await find(clientid="b1", conn_state="disconnected") == []
    assert await find(clientid="nobody") == []
    assert await find(conn_state="disconnected") == ["a2"]
    assert [found["clientid"] for found in await clients_by_username(core, NODE, "ann")] == ["a1", "b1"]
    assert await clients_by_username(core, NODE, "undefined") == []
    with pytest.raises(FilterError, match="timestamp type"):
        await find(_gte_created_at="yesterday")


async def test_a_client_that_goes_while_the_list_is_walked(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "ROWS", 1)
    for number in range(20):
        add(broker, f"c{number}")
    got: list[object] = []

    async def walk() -> None:
        rows, _, _ = await client_page(broker.node.broker, NODE, {}, 1, 100)
        got.extend(found["clientid"] for found in rows)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(walk)
        await trio.lowlevel.checkpoint()
        for number in range(10, 20):
            broker.node.kick(f"c{number}")
            add(broker, f"d{number}")
            await trio.lowlevel.checkpoint()
    assert len(got) == len(set(got))
    assert [f"c{number}" for number in range(10)] == got[:10]
    assert "c19" not in got


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_subscriptions_of_a_client(broker: TestBroker) -> None:
    session = add(broker, "c")
    for name, qos in (("a/b", 1), ("$share/g/a/b", 2), ("$queue//x", 0), ("$exclusive/e", 1)):
        broker.node.subscribe("c", name, SubOpts(qos))
    assert subscription_rows(session, NODE) == [
        {"node": NODE, "clientid": "c", "topic": topic, "qos": qos}
        for topic, qos in (("a/b", 1), ("$share/g/a/b", 2), ("$share/$queue//x", 0), ("e", 1))
    ]


async def test_lists_of_subscriptions(broker: TestBroker) -> None:
    core = broker.node.broker
    for clientid in ("a", "b"):
        add(broker, clientid)
        for name, qos in (("t/1", 1), ("t/2", 0), ("$share/g/t/1", 2)):
            core.subscribe(clientid, name, SubOpts(qos))

    async def find(params: dict[str, object], number: int = 1, limit: int = 10) -> tuple[list[object], int, bool]:
        rows, count, more = await subscription_page(core, NODE, params, number, limit)
        return [f"{found['clientid']} {found['topic']}" for found in rows], count, more

    assert await find({}, limit=4) == (["a t/1", "a t/2", "a $share/g/t/1", "b t/1"], 6, True)
    assert await find({}, number=2, limit=4) == (["b t/2", "b $share/g/t/1"], 6, False)
    assert await find({"clientid": "b"}, limit=1) == (["b t/1"], -1, True)
    assert await find({"clientid": "x"}) == ([], -1, False)
    assert await find({"topic": "t/1"}, limit=3) == (["a t/1", "b t/1", "a $share/g/t/1"], 4, True)
    assert await find({"topic": "t/1", "share": "g"}) == (["a $share/g/t/1", "b $share/g/t/1"], -1, False)
    assert await find({"topic": "nobody/wants/it"}) == ([], 0, False)
    assert await find({"share": "g", "clientid": "a"}) == (["a $share/g/t/1"], -1, False)
    assert await find({"_match_topic": "+/2"}) == (["a t/2", "b t/2"], -1, False)
    assert await find({"qos": "0"}) == (["a t/2", "b t/2"], -1, False)
    with pytest.raises(FilterError):
        await find({"qos": "x"})


async def test_subscriptions_of_plugins_are_not_clients(broker: TestBroker) -> None:
    add(broker, "c")
    broker.node.subscribe("c", "t")
    broker.node.broker.listen(Callback("plugin", lambda message, subscription: None), "t", SubOpts())
    for params in ({}, {"topic": "t"}):
        _, count, _ = await subscription_page(broker.node.broker, NODE, params, 1, 10)
        assert count == 1


# -- routes ------------------------------------------------------------------------------------------------------------


async def test_routes_have_one_row_per_filter_and_one_per_share_group(broker: TestBroker) -> None:
    core = broker.node.broker
    for clientid in ("a", "b"):
        add(broker, clientid)
        for name in ("t", "w/+", "$share/g/t", f"$share/{clientid}/s"):
            core.subscribe(clientid, name, SubOpts())
    rows, count, more = await route_page(core, NODE, 1, 10)
    assert [found["topic"] for found in rows] == ["t", "t", "s", "s", "w/+"]
    assert {found["node"] for found in rows} == {NODE}
    assert (count, more) == (5, False)
    rows, count, more = await route_page(core, NODE, 2, 2)
    assert ([found["topic"] for found in rows], count, more) == (["s", "s"], 5, True)
    assert route_rows(core, NODE, "w/+") == [{"topic": "w/+", "node": NODE}]
    assert route_rows(core, NODE, "w/1") == []
    assert len(route_rows(core, NODE, "t")) == 2


async def test_routes_to_other_nodes(broker: TestBroker) -> None:
    core = broker.node.broker
    add(broker, "c")
    core.subscribe("c", "t", SubOpts())
    entry = core.router.entry("t")
    assert entry is not None
    entry.remote = ["emqx@10.0.0.2"]
    assert [found["node"] for found in route_rows(core, NODE, "t")] == [NODE, "emqx@10.0.0.2"]


async def test_streams_give_all(broker: TestBroker) -> None:
    core = broker.node.broker
    for number in range(250):
        add(broker, f"c{number}")
        core.subscribe(f"c{number}", f"t/{number}", SubOpts())
    async with aclosing(each_client(core)) as clients:
        assert [session.clientid async for session in clients] == [f"c{number}" for number in range(250)]
    async with aclosing(each_subscription(core)) as subscriptions:
        assert [one.filter async for one in subscriptions] == [f"t/{number}" for number in range(250)]
    async with aclosing(each_route(core, NODE)) as routes:
        assert [route async for route in routes] == [{"topic": f"t/{number}", "node": NODE} for number in range(250)]
