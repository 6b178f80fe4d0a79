"""Message Expiry Interval (broker behaviour 7.6)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import config, messages, plug, props

from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import Client, TestBroker


async def _publish(broker: TestBroker, payload: bytes, seconds: int | None, qos: int = 1, retain: bool = False) -> None:
    properties = None if seconds is None else props(message_expiry_interval=seconds)
    client = await broker.client("publisher")
    await client.publish("t", payload, qos=qos, retain=retain, properties=properties)
    await client.ping()


def _left(packets: list[object]) -> list[int | None]:
    return [packet.properties.message_expiry_interval if packet.properties else None for packet in packets]


async def _away(broker: TestBroker, version: int = 5) -> None:
    if version == 5:
        client = await broker.client("w", subscribe="t", qos=2, expiry=1000)
    else:
        client = await broker.client("w", version=4, clean_start=False, subscribe="t", qos=2)
    await client.disconnect()


async def _back(broker: TestBroker, version: int = 5) -> Client:
    return await broker.client("w", version=version, clean_start=False, expiry=1000 if version == 5 else None)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_delivered_at_once_it_is_what_was_sent(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="t", qos=2)
    await _publish(broker, b"x", 10, qos)
    assert _left(await messages(watcher, 1)) == [10]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_whole_seconds_in_the_queue_are_taken_off(broker: TestBroker, qos: int) -> None:
    await _away(broker)
    await _publish(broker, b"x", 10, qos)
    await _publish(broker, b"y", None, qos)
    await trio.sleep(3.7)
    assert _left(await messages(await _back(broker), 2)) == [7, None]


@pytest.mark.parametrize(("waited", "left"), [(9.9, 1), (10.0, 1), (10.1, None)])
async def test_the_last_moment(broker: TestBroker, waited: float, left: int | None) -> None:
    """Expired when more than the interval has passed; never sent as less than 1."""
    told: list[tuple[str, str]] = []
    plug(broker, delivery_dropped=lambda client, message, reason: told.append((client.clientid, reason)))
    await _away(broker)
    await _publish(broker, b"x", 10)
    await trio.sleep(waited)
    watcher = await _back(broker)
    assert _left(await messages(watcher, 0 if left is None else 1)) == ([] if left is None else [left])
    assert told == ([("w", "expired")] if left is None else [])
    assert broker.node.metrics["delivery.dropped.expired"] == (1 if left is None else 0)


@pytest.mark.parametrize("version", [4, 5])
async def test_messages_expire_for_clients_of_every_version(broker: TestBroker, version: int) -> None:
    await _away(broker, version)
    await _publish(broker, b"short", 2)
    await _publish(broker, b"long", 100)
    await trio.sleep(5)
    watcher = await _back(broker, version)
    assert [packet.payload for packet in await messages(watcher, 1)] == [b"long"]


@config(zone={"max_inflight": 1})
async def test_it_expires_behind_a_full_window(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t", qos=1)
    watcher.auto_ack = False
    await _publish(broker, b"1", None)
    await _publish(broker, b"2", 5)
    await _publish(broker, b"3", 100)
    first = await watcher.receive_publish()
    await trio.sleep(10)
    await watcher.send(Ack(PUBACK, first.packet_id))
    found = await messages(watcher, 1)
    assert [packet.payload for packet in found] == [b"3"]
    assert _left(found) == [90]


async def test_it_expires_in_flight_before_it_is_sent_again(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t", qos=1, expiry=1000)
    watcher.auto_ack = False
    await _publish(broker, b"short", 5)
    await _publish(broker, b"long", 100)
    await messages(watcher, 2)
    await watcher.close()
    await trio.sleep(10)
    again = await _back(broker)
    found = await messages(again, 1)
    assert [(packet.payload, packet.dup) for packet in found] == [(b"long", True)]
    assert _left(found) == [89]  # the test has waited a second for nothing more to come
    assert broker.node.metrics["delivery.dropped.expired"] == 1


@config(zone={"retry_interval": "5s"})
async def test_it_expires_before_the_retry_of_v3(broker: TestBroker) -> None:
    watcher = await broker.client("w", version=4, subscribe="t", qos=1)
    watcher.auto_ack = False
    await _publish(broker, b"x", 3)
    await messages(watcher, 1)
    await trio.sleep(10)
    assert await watcher.nothing()
    assert broker.node.metrics["delivery.dropped.expired"] == 1


async def test_the_publisher_of_v3_sets_none(broker: TestBroker) -> None:
    await _away(broker)
    client = await broker.client("p", version=4)
    await client.publish("t", b"x", qos=1)
    await trio.sleep(100)
    assert _left(await messages(await _back(broker), 1)) == [None]


async def test_two_receivers_at_different_times(broker: TestBroker) -> None:
    here = await broker.client("here", subscribe="t", qos=1)
    await _away(broker)
    await _publish(broker, b"x", 60)
    assert _left(await messages(here, 1)) == [60]
    await trio.sleep(20)
    assert _left(await messages(await _back(broker), 1)) == [39]
