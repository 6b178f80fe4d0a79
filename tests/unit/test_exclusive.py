"""`$exclusive/<topic>`: at most one subscriber (broker behaviour 6.3, 6.5)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import config, messages

from trioemqx.testing import TestBroker

EXCLUSIVE = config(zone={"exclusive_subscription": True})


@pytest.mark.parametrize(("version", "code"), [(5, 0x8F), (4, 0x80)])
async def test_off_unless_the_zone_allows_it(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("$exclusive/t") == [code]
    assert broker.node.stats()["subscriptions.count"] == 0


@EXCLUSIVE
@pytest.mark.parametrize(("version", "code"), [(5, 0x97), (4, 0x80)])
async def test_one_holder(broker: TestBroker, version: int, code: int) -> None:
    first = await broker.client("a", version=version)
    second = await broker.client("b", version=version)
    assert await first.subscribe("$exclusive/t", qos=1) == [1]
    assert await second.subscribe("$exclusive/t", qos=1) == [code]
    assert await first.subscribe("$exclusive/t", qos=1) == [code]  # not even the holder itself
    await (await broker.client("p")).publish("t", b"x", qos=1)
    assert await first.message() == ("t", b"x")
    assert await second.nothing()


@EXCLUSIVE
async def test_it_is_a_subscription_to_the_topic_itself(broker: TestBroker) -> None:
    holder = await broker.client("a")
    await holder.subscribe("$exclusive/t")
    ordinary = await broker.client("b", subscribe="t")  # only `$exclusive/t` is exclusive
    publisher = await broker.client("p")
    await publisher.publish("t", b"x", qos=1)
    await messages(holder, 1)
    await messages(ordinary, 1)
    assert await publisher.publish("$exclusive/t", b"x", qos=1) == 0x10


@EXCLUSIVE
async def test_released_by_unsubscribe(broker: TestBroker) -> None:
    first = await broker.client("a")
    second = await broker.client("b")
    await first.subscribe("$exclusive/t")
    assert await second.unsubscribe("$exclusive/t") == [0x11]
    assert await second.subscribe("$exclusive/t") == [0x97]
    assert await first.unsubscribe("$exclusive/t") == [0]
    assert await second.subscribe("$exclusive/t") == [0]


@EXCLUSIVE
async def test_released_when_the_session_ends(broker: TestBroker) -> None:
    first = await broker.client("a")
    await first.subscribe("$exclusive/t")
    second = await broker.client("b")
    await first.disconnect()
    await second.ping()
    assert await second.subscribe("$exclusive/t") == [0]


@EXCLUSIVE
async def test_kept_by_a_session_that_waits_and_released_when_it_expires(broker: TestBroker) -> None:
    first = await broker.client("a", expiry=10)
    await first.subscribe("$exclusive/t")
    await first.disconnect()
    second = await broker.client("b")
    assert await second.subscribe("$exclusive/t") == [0x97]
    await trio.sleep(12)
    assert await second.subscribe("$exclusive/t") == [0]


@EXCLUSIVE
async def test_kept_through_a_takeover_and_released_by_a_kick(broker: TestBroker) -> None:
    await (await broker.client("a", expiry=10)).subscribe("$exclusive/t")
    await broker.client("a", clean_start=False, expiry=10)
    second = await broker.client("b")
    assert await second.subscribe("$exclusive/t") == [0x97]
    broker.node.kick("a")
    assert await second.subscribe("$exclusive/t") == [0]


@EXCLUSIVE
async def test_another_subscription_of_the_holder_releases_nothing(broker: TestBroker) -> None:
    first = await broker.client("a")
    await first.subscribe("$exclusive/t", "$share/g/t")
    await first.unsubscribe("$share/g/t")
    second = await broker.client("b")
    assert await second.subscribe("$exclusive/t") == [0x97]


@config(zone={"exclusive_subscription": True, "max_subscriptions": 1})
async def test_a_refused_subscription_holds_nothing(broker: TestBroker) -> None:
    first = await broker.client("a", subscribe="x")
    assert await first.subscribe("$exclusive/t") == [0x97]
    second = await broker.client("b")
    assert await second.subscribe("$exclusive/t") == [0]


@config(zone={"exclusive_subscription": True, "mountpoint": "%c/"})
async def test_inside_a_mountpoint_they_do_not_meet(broker: TestBroker) -> None:
    for name in ("a", "b"):
        client = await broker.client(name)
        assert await client.subscribe("$exclusive/t") == [0]
