"""The slowest of (client, topic)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish
from trioemqx.services.plugins import PluginError
from trioemqx.testing import Client, TestBroker, running
from trioemqx.types import Message
from trioemqx.wiring import prepare

NAME = "emqx_mod_slow_subs"


def settings(**slow_subs: object) -> dict[str, object]:
    return {
        "modules": {"load": [NAME]},
        "module": {"slow_subs": slow_subs},
        "plugins": {"load": ["emqx_retainer"]},
        "zone": {"default": {"max_inflight": 1, "retry_interval": "0s"}},
    }


def configured(**slow_subs: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [settings(**slow_subs)], ids=[""])


@pytest.fixture
def broker_config() -> dict[str, object]:
    return settings()


def module(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


def table(broker: TestBroker) -> list[tuple[str, str, float]]:
    """(client, topic, seconds to a tenth), the slowest first."""
    return [(row["clientid"], row["topic"], round(row["timespan"] / 1000, 1)) for row in module(broker).entries()]


async def slow_client(broker: TestBroker, clientid: str = "slow", qos: int = 1) -> Client:
    """A client that acknowledges when it is told to."""
    client = await broker.client(clientid, subscribe="#", qos=qos)
    client.auto_ack = False
    return client


async def finish(client: Client, packet: Publish) -> None:
    """Acknowledge a message to the end."""
    if packet.qos == 1:
        await client.send(Ack(PUBACK, packet.packet_id))
    else:
        await client.send(Ack(PUBREC, packet.packet_id))
        await client.ack(PUBREL, packet.packet_id)
        await client.send(Ack(PUBCOMP, packet.packet_id))
    await client.ping()


async def deliver(broker: TestBroker, client: Client, topic: str, seconds: float, qos: int = 1) -> None:
    """A message whose acknowledgement takes so long."""
    broker.node.publish(Message(topic, b"x", qos))
    packet = await client.receive_publish()
    await trio.sleep(seconds)
    await finish(client, packet)


# -- what is measured --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_delivery_above_the_threshold_is_an_entry(broker: TestBroker, qos: int) -> None:
    client = await slow_client(broker, qos=qos)
    await deliver(broker, client, "quick", 0.4, qos)
    assert table(broker) == []
    await deliver(broker, client, "t", 1.2, qos)
    (row,) = module(broker).entries()
    assert row == {
        "clientid": "slow",
        "node": broker.node.node,
        "topic": "t",
        "timespan": pytest.approx(1200, abs=50),
        "last_update_time": pytest.approx(broker.node.wall() * 1000, abs=50),
    }
    assert isinstance(row["timespan"], int)
    assert isinstance(row["last_update_time"], int)


@pytest.mark.parametrize(("kind", "expected"), [("whole", [2.0, 3.0]), ("internal", [2.0]), ("response", [1.0, 2.0])])
async def test_the_three_times(kind: str, expected: list[float], autojump_clock: object) -> None:
    async with running(settings(stats_type=kind)) as broker:
        client = await slow_client(broker)
        broker.node.publish(Message("first", b"x", 1))
        broker.node.publish(Message("second", b"x", 1))  # waits in the queue until the first is acknowledged
        first = await client.receive_publish()
        await trio.sleep(2)
        await finish(client, first)
        second = await client.receive_publish()
        await trio.sleep(1)
        await finish(client, second)
        assert sorted(seconds for _, _, seconds in table(broker)) == expected
        if kind == "internal":
            assert table(broker)[0][1] == "second"


async def test_qos_0_counts_the_time_in_the_queue(broker: TestBroker) -> None:
    client = await broker.client("slow", subscribe="t", expiry=100)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"x", 0))
    await trio.sleep(3)
    await broker.client("slow", clean_start=False, expiry=100)
    assert table(broker) == [("slow", "t", 3.0)]


async def test_messages_older_than_the_session_are_ignored(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await trio.sleep(10)
    message = Message("t", b"x", 1, received=broker.node.now() - 20, timestamp=int((broker.node.wall() - 20) * 1000))
    broker.node.publish(message)
    await finish(client, await client.receive_publish())
    assert table(broker) == []
    message = Message("t", b"x", 1, received=broker.node.now() - 5, timestamp=int((broker.node.wall() - 5) * 1000))
    broker.node.publish(message)
    await finish(client, await client.receive_publish())
    assert table(broker) == [("slow", "t", 5.0)]


@pytest.mark.parametrize(("kind", "slow"), [("whole", 0), ("internal", 0), ("response", 1)])
async def test_a_retained_message_is_old_and_not_slow(kind: str, slow: int, autojump_clock: object) -> None:
    async with running(settings(stats_type=kind)) as broker:
        client = await broker.client("c")
        client.auto_ack = False
        broker.node.publish(Message("t", b"x", 1, retain=True))
        await trio.sleep(50)
        await client.subscribe("t", qos=1)
        packet = await client.receive_publish()
        await trio.sleep(1)
        await finish(client, packet)
        assert len(table(broker)) == slow


# -- the table ---------------------------------------------------------------------------------------------------------


async def test_an_entry_has_the_latest_time_above_the_threshold(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "t", 3)
    await deliver(broker, client, "t", 1)
    assert table(broker) == [("slow", "t", 1.0)]
    await deliver(broker, client, "t", 0.1)
    assert table(broker) == [("slow", "t", 1.0)]


@configured(top_k_num=3)
async def test_only_the_slowest_are_kept(broker: TestBroker) -> None:
    client = await slow_client(broker)
    for topic, seconds in [("a", 2), ("b", 1), ("c", 3)]:
        await deliver(broker, client, topic, seconds)
    assert [row[1:] for row in table(broker)] == [("c", 3.0), ("a", 2.0), ("b", 1.0)]
    await deliver(broker, client, "quicker", 0.9)
    assert [row[1] for row in table(broker)] == ["c", "a", "b"]
    await deliver(broker, client, "d", 2.5)
    assert [row[1:] for row in table(broker)] == [("c", 3.0), ("d", 2.5), ("a", 2.0)]
    await deliver(broker, client, "c", 0.7)
    await deliver(broker, client, "e", 0.8)
    assert [row[1:] for row in table(broker)] == [("d", 2.5), ("a", 2.0), ("e", 0.8)]


async def test_clients_are_told_apart(broker: TestBroker) -> None:
    one, two = await slow_client(broker, "one"), await slow_client(broker, "two")
    broker.node.publish(Message("t", b"x", 1))
    for client in (one, two):
        await trio.sleep(1)
        await finish(client, await client.receive_publish())
    assert table(broker) == [("two", "t", 2.0), ("one", "t", 1.0)]


@configured(expire_interval="30s")
async def test_entries_vanish_when_they_are_old(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 1)
    await trio.sleep(20)
    await deliver(broker, client, "b", 1)
    await trio.sleep(8)
    assert {row[1] for row in table(broker)} == {"a", "b"}
    await trio.sleep(13)
    assert [row[1] for row in table(broker)] == ["b"]
    await trio.sleep(25)
    assert table(broker) == []


@configured(top_k_num=1, expire_interval="10s")
async def test_there_is_room_again_after_that(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 4)
    await trio.sleep(25)
    await deliver(broker, client, "b", 1)
    assert table(broker) == [("slow", "b", 1.0)]
    module(broker).clear()
    assert table(broker) == []
    await deliver(broker, client, "c", 0.6)
    assert table(broker) == [("slow", "c", 0.6)]


# -- settings, reload, unload ------------------------------------------------------------------------------------------


@configured(
    threshold="2s",
    top_k_num="1000",
    stats_type="response",
    expire_interval="5m",
    notice_interval="1m",
    notice_qos=1,
    notice_batch_size=10,
)
async def test_emqx_settings_are_taken(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 1.9)
    await deliver(broker, client, "b", 2.1)
    assert [row[1] for row in table(broker)] == ["b"]


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("top_k_num", 0, "expected a number from 1 to 1000"),
        ("top_k_num", 1001, "expected a number from 1 to 1000"),
        ("stats_type", "total", "expected whole, internal or response, got 'total'"),
        ("expire_interval", "0s", "expected more than 0 seconds"),
        ("threshold", "-1s", "expected a duration"),
        ("treshold", "1s", r"unknown key \(did you mean threshold\?\)"),
    ],
)
async def test_bad_settings_are_refused(key: str, value: object, complaint: str) -> None:
    async with running({"module": {"slow_subs": {key: value}}}) as broker:
        with pytest.raises(PluginError, match=rf"{NAME}\.{key}: {complaint}"):
            await broker.node.plugins.load(NAME)


async def test_the_table_outlives_a_reload(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 2)
    before = module(broker).entries()
    old = module(broker)
    await broker.reload_plugin(NAME)
    assert module(broker) is not old
    assert module(broker).entries() == before
    await deliver(broker, client, "b", 1)
    assert [row[1] for row in table(broker)] == ["a", "b"]
    await trio.sleep(320)
    assert table(broker) == [], "its age does too"


@pytest.mark.parametrize(
    ("changed", "left"),
    [({"top_k_num": 1}, ["a"]), ({"threshold": "1500ms"}, ["a"]), ({"stats_type": "response"}, []), ({}, ["a", "b"])],
)
async def test_new_settings_keep_what_fits(broker: TestBroker, changed: dict[str, object], left: list[str]) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 2)
    await deliver(broker, client, "b", 1)
    config = prepare({**settings(**changed), "node": {"data_dir": broker.node.config.node.data_dir}})
    assert await broker.node.plugins.configure(config) == []
    assert [row[1] for row in table(broker)] == left


async def test_an_unload_leaves_nothing_behind(broker: TestBroker) -> None:
    client = await slow_client(broker)
    await deliver(broker, client, "a", 2)
    await broker.node.plugins.unload(NAME)
    assert not broker.node.hooks.compiled.delivery_completed
    await deliver(broker, client, "a", 2)
    await broker.node.plugins.load(NAME)
    assert table(broker) == []
