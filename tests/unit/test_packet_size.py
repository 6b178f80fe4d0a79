"""Maximum Packet Size, both ways, to the byte (broker behaviour 5.1, 6.7)."""

from __future__ import annotations

import pytest
from pubsub_helpers import BOTH, config, messages, plug, props

from trioemqx.codec.encode import encode
from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import TestBroker, make_publish
from trioemqx.types import Message, Properties, SubOpts

LIMIT = 200


def _payload_for(size: int, topic: str, qos: int, properties: Properties | None = None, version: int = 5) -> bytes:
    """A payload that makes the whole PUBLISH exactly `size` bytes."""
    empty = len(encode(make_publish(topic, b"", qos, False, False, 1 if qos else 0, properties), version))
    for length in range(size - empty + 1):
        if (
            len(encode(make_publish(topic, b"x" * length, qos, False, False, 1 if qos else 0, properties), version))
            == size
        ):
            return b"x" * length
    raise AssertionError(f"no payload gives {size} bytes")


# -- out ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("properties", [None, props(content_type="text")], ids=["plain", "properties"])
async def test_the_exact_size_is_sent_and_one_more_byte_is_not(
    broker: TestBroker, qos: int, properties: Properties | None
) -> None:
    told: list[str] = []
    plug(broker, delivery_dropped=lambda client, message, reason: told.append(f"{client.clientid} {reason}"))
    watcher = await broker.client("w", properties=props(maximum_packet_size=LIMIT), subscribe="t", qos=2)
    fits = _payload_for(LIMIT, "t", qos, properties)
    broker.node.publish(Message("t", fits, qos, properties=properties))
    assert [packet.payload for packet in await messages(watcher, 1)] == [fits]
    broker.node.publish(Message("t", fits + b"x", qos, properties=properties))
    assert await watcher.nothing()
    assert told == ["w too_large"]
    assert broker.node.metrics["delivery.dropped.too_large"] == broker.node.metrics["delivery.dropped"] == 1
    assert broker.node.find("w").sent.dropped_too_large == 1


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_the_receiver_adds_counts(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", properties=props(maximum_packet_size=LIMIT))
    await watcher.subscribe("t", opts=SubOpts(qos), identifier=200)
    fits = _payload_for(LIMIT, "t", qos, props(subscription_identifier=[200]))
    broker.node.publish(Message("t", fits, qos))
    broker.node.publish(Message("t", fits + b"x", qos))
    assert [packet.payload for packet in await messages(watcher, 1)] == [fits]


@config(zone={"max_inflight": 1})
@pytest.mark.parametrize("qos", [1, 2])
async def test_the_slot_is_free_after_the_drop(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", properties=props(maximum_packet_size=LIMIT), subscribe="t", qos=2)
    for _ in range(3):
        broker.node.publish(Message("t", b"x" * LIMIT, qos))
    broker.node.publish(Message("t", b"small", qos))
    assert await watcher.message() == ("t", b"small")
    assert len(broker.node.find("w").inflight) <= 1


@config(zone={"max_inflight": 1})
async def test_also_when_it_comes_from_the_queue(broker: TestBroker) -> None:
    watcher = await broker.client("w", properties=props(maximum_packet_size=LIMIT), subscribe="t", qos=1)
    watcher.auto_ack = False
    for payload in (b"first", b"x" * LIMIT, b"y" * LIMIT, b"last"):
        broker.node.publish(Message("t", payload, 1))
    packet = await watcher.receive_publish()
    await watcher.send(Ack(PUBACK, packet.packet_id))
    assert [packet.payload for packet in await messages(watcher, 1)] == [b"last"]
    assert broker.node.metrics["delivery.dropped.too_large"] == 2


async def test_a_smaller_limit_after_a_reconnect(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t", qos=1, expiry=100)
    watcher.auto_ack = False
    broker.node.publish(Message("t", b"x" * LIMIT, 1))
    await watcher.receive_publish()
    await watcher.close()
    broker.node.publish(Message("t", b"y" * LIMIT, 1))
    broker.node.publish(Message("t", b"small", 1))
    watcher = await broker.client(
        "w", clean_start=False, properties=props(maximum_packet_size=LIMIT, session_expiry_interval=100)
    )
    assert [packet.payload for packet in await messages(watcher, 1)] == [b"small"]
    assert len(broker.node.find("w").inflight) == 0
    assert broker.node.metrics["delivery.dropped.too_large"] == 2


async def test_one_too_small_client_costs_the_others_nothing(broker: TestBroker) -> None:
    await broker.client("small", properties=props(maximum_packet_size=LIMIT), subscribe="t")
    large = await broker.client("large", subscribe="t")
    client = await broker.client("p")
    assert await client.publish("t", b"x" * 1000, qos=1) == 0
    await messages(large, 1)


# -- in ----------------------------------------------------------------------------------------------------------------


@config(zone={"max_packet_size": LIMIT})
@pytest.mark.parametrize("qos", [0, 1])
@BOTH
async def test_the_exact_size_is_taken(broker: TestBroker, version: int, qos: int) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p", version=version)
    if version == 5:
        assert client.connack.properties.maximum_packet_size == LIMIT
    fits = _payload_for(LIMIT, "t", qos, version=version)
    await client.publish("t", fits, qos=qos)
    assert [packet.payload for packet in await messages(watcher, 1)] == [fits]
    await client.send(make_publish("t", fits + b"x", qos, False, False, 1 if qos else 0, None))
    assert await client.closed() == (0x95 if version == 5 else None)
    assert await watcher.nothing()


@config(zone={"max_packet_size": LIMIT})
async def test_it_is_seen_in_the_fixed_header(broker: TestBroker) -> None:
    """The body need not come, and would not be read."""
    client = await broker.client("p")
    await client.send_raw(b"\x30\xff\xff\xff\x7f")
    assert await client.closed() == 0x95


async def test_a_fifth_length_byte(broker: TestBroker) -> None:
    client = await broker.client("p")
    await client.send_raw(b"\x30\xff\xff\xff\xff")
    assert await client.closed() == 0x81
