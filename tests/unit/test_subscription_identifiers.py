"""Subscription Identifiers (broker behaviour 5.1, 6.2, 7.3; MQTT5 3.8.2.1.2)."""

from __future__ import annotations

import pytest
from pubsub_helpers import config, messages

from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import TestBroker
from trioemqx.types import Message, SubOpts


def _identifiers(packets: list[object]) -> list[list[int] | None]:
    return [packet.properties.subscription_identifier if packet.properties else None for packet in packets]


async def test_they_are_announced(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert client.connack.properties.subscription_identifier_available == 1


@pytest.mark.parametrize("identifier", [1, 127, 128, 16384, 268435454])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_it_comes_with_each_message(broker: TestBroker, identifier: int, qos: int) -> None:
    client = await broker.client("c")
    await client.subscribe("a/+", qos=2, identifier=identifier)
    await client.publish("a/b", b"x", qos=qos)
    assert _identifiers(await messages(client, 1)) == [[identifier]]


async def test_one_value_per_delivery_never_merged(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("a/b", identifier=1)
    await client.subscribe("a/#", identifier=2)
    await client.subscribe("+/b")
    await client.publish("a/b", b"x")
    found = _identifiers(await messages(client, 3))
    assert sorted(found, key=str) == [None, [1], [2]] or sorted(found, key=str) == [[1], [2], None]


async def test_all_filters_of_a_packet_share_it(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("a", "b", identifier=7)
    await client.publish("a", b"x")
    await client.publish("b", b"x")
    assert _identifiers(await messages(client, 2)) == [[7], [7]]


async def test_shared_subscriptions_have_their_own(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("t", identifier=1)
    await client.subscribe("$share/g/t", identifier=2)
    await client.publish("t", b"x")
    assert sorted(_identifiers(await messages(client, 2))) == [[1], [2]]


async def test_retained_messages_carry_it(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.publish("t", b"kept", qos=1, retain=True)
    await client.subscribe("t", identifier=5)
    assert _identifiers(await messages(client, 1)) == [[5]]


@config(zone={"max_inflight": 1})
async def test_queued_and_repeated_messages_carry_it(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=100)
    client.auto_ack = False
    await client.subscribe("t", opts=SubOpts(1), identifier=5)
    for _ in range(2):
        broker.node.publish(Message("t", b"x", 1))
    assert _identifiers(await messages(client, 1)) == [[5]]
    await client.close()
    client = await broker.client("c", clean_start=False, expiry=100)
    client.auto_ack = False
    first = await client.receive_publish()
    assert (first.dup, first.properties.subscription_identifier) == (True, [5])
    await client.send(Ack(PUBACK, first.packet_id))
    assert _identifiers(await messages(client, 1)) == [[5]]


async def test_each_receiver_sees_only_its_own(broker: TestBroker) -> None:
    clients = [await broker.client(f"c{number}") for number in range(3)]
    for number, client in enumerate(clients):
        await client.subscribe("t", identifier=number)  # 0 = none
    older = await broker.client("o", version=4, subscribe="t")
    broker.node.publish(Message("t", b"x", 0))
    assert [_identifiers(await messages(client, 1)) for client in clients] == [[None], [[1]], [[2]]]
    assert await older.message() == ("t", b"x")


async def test_subscribing_without_one_removes_it(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("t", identifier=5)
    await client.subscribe("t")
    await client.publish("t", b"x")
    assert _identifiers(await messages(client, 1)) == [None]
