"""What waits for a client, and what a full queue loses [broker.md 7.2-7.4, 7.6] [reliability.md 5]."""

from __future__ import annotations

import attrs
import pytest
import trio
from session_helpers import Counted, Recorder, both_families, every_version, props, zone

from trioemqx.codec.packets import PUBACK, Ack, Publish
from trioemqx.testing import Client, TestBroker
from trioemqx.types import Message


async def absent(broker: TestBroker, version: int = 5, *, qos: int = 2, subscribe: str = "#") -> None:
    """A session of client `c` whose client is away."""
    client = await broker.client(
        "c", version=version, clean_start=False, expiry=1000 if version == 5 else None, subscribe=subscribe, qos=qos
    )
    await client.close()
    await trio.sleep(1)


async def back(broker: TestBroker, version: int = 5, **properties: object) -> Client:
    """The client is here again."""
    expiry = 1000 if version == 5 else None
    return await broker.client(
        "c", version=version, clean_start=False, expiry=expiry, properties=props(**properties) if properties else None
    )


def send(broker: TestBroker, topic: str, *payloads: bytes, qos: int = 1, expiry: int | None = None) -> None:
    for payload in payloads:
        properties = None if expiry is None else props(message_expiry_interval=expiry)
        broker.node.publish(Message(topic, payload, qos, properties=properties))


async def drain(client: Client) -> list[bytes]:
    """Payloads of everything that comes within a moment."""
    found: list[bytes] = []
    with trio.move_on_after(2):
        while True:
            found.append((await client.message())[1])
    return found


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


# -- the bound -------------------------------------------------------------------------------------------------------


@every_version
@zone(max_mqueue_len=5)
async def test_a_full_queue_drops_its_oldest(broker: TestBroker, version: int) -> None:
    """[7.4] Hook delivery.dropped with reason queue_full, counters delivery.dropped.queue_full and mqueue_dropped."""
    recorder = Recorder(broker)
    await absent(broker, version)
    counted = Counted(broker)
    send(broker, "t", *numbered(8))
    session = broker.node.find("c")
    assert session is not None
    assert session.mqueue is not None
    assert (len(session.mqueue), session.mqueue.dropped) == (5, 3)
    assert recorder.dropped == [("c", payload, "queue_full") for payload in numbered(3)]
    assert counted("delivery.dropped", "delivery.dropped.queue_full", "messages.dropped") == [3, 3, 0]
    assert session.sent.dropped_queue_full == 3
    assert await drain(await back(broker, version)) == numbered(5, 3)


@both_families
@zone(max_mqueue_len=4)
async def test_qos0_goes_before_anything_that_was_promised(broker: TestBroker, version: int) -> None:
    """[reliability 5] "drop oldest QoS 0 first, then oldest"."""
    recorder = Recorder(broker)
    await absent(broker, version)
    send(broker, "t", b"one", qos=1)
    send(broker, "t", b"zero a", b"zero b", qos=0)
    send(broker, "t", b"two", qos=2)
    send(broker, "t", b"three", b"four", b"five")
    assert [payload for _, payload, _ in recorder.dropped] == [b"zero a", b"zero b", b"one"]
    assert await drain(await back(broker, version)) == [b"two", b"three", b"four", b"five"]


@both_families
@zone(max_mqueue_len=0)
async def test_zero_is_no_bound(broker: TestBroker, version: int) -> None:
    """[3] 0 = unlimited."""
    await absent(broker, version)
    send(broker, "t", *numbered(3000))
    assert await drain(await back(broker, version)) == numbered(3000)


@both_families
@zone(max_mqueue_len=0, max_mqueue_bytes="10KB")
async def test_the_queue_is_bounded_in_bytes_too(broker: TestBroker, version: int) -> None:
    """[reliability 5] 1000 messages and 16 MiB."""
    await absent(broker, version)
    send(broker, "t", *[b"%04d" % number + b"x" * 1996 for number in range(20)])
    got = await drain(await back(broker, version))
    assert [int(payload[:4]) for payload in got] == list(range(20 - len(got), 20))
    assert 4 <= len(got) <= 5


@every_version
@zone(max_mqueue_len=3, max_inflight=2)
async def test_the_bound_holds_for_a_connected_client_that_does_not_acknowledge(
    broker: TestBroker, version: int
) -> None:
    """[7.3] Window full ⇒ message queue; the queue's rule decides."""
    recorder = Recorder(broker)
    client = await broker.client("c", version=version, subscribe="t", qos=1)
    client.auto_ack = False
    send(broker, "t", *numbered(7))
    assert [payload for _, payload, _ in recorder.dropped] == numbered(2, 2)
    packets = [await client.receive_publish() for _ in range(2)]
    client.auto_ack = True
    for packet in packets:
        await client.send(Ack(PUBACK, packet.packet_id))
    assert await drain(client) == numbered(3, 4)


# -- QoS 0 -----------------------------------------------------------------------------------------------------------


@every_version
@zone(mqueue_store_qos0=False)
async def test_qos0_may_be_refused(broker: TestBroker, version: int) -> None:
    """[7.4] mqueue_store_qos0 = false: reason qos0_msg; QoS 1 and 2 wait."""
    recorder = Recorder(broker)
    await absent(broker, version)
    counted = Counted(broker)
    send(broker, "t", b"zero", qos=0)
    send(broker, "t", b"one", qos=1)
    assert recorder.dropped == [("c", b"zero", "qos0_msg")]
    assert counted["delivery.dropped.qos0_msg"] == 1
    client = await back(broker, version)
    assert await drain(client) == [b"one"]
    send(broker, "t", b"live", qos=0)
    assert await drain(client) == [b"live"]


@every_version
async def test_qos0_is_stored_by_default(broker: TestBroker, version: int) -> None:
    """[3] mqueue_store_qos0 = true."""
    await absent(broker, version)
    send(broker, "t", b"0", qos=0)
    send(broker, "t", b"1", qos=1)
    send(broker, "t", b"2", qos=0)
    assert await drain(await back(broker, version)) == [b"0", b"1", b"2"]


@both_families
@zone(mqueue_store_qos0=False)
async def test_a_lower_subscription_makes_a_message_qos0_for_the_queue(broker: TestBroker, version: int) -> None:
    """The QoS of the delivery counts, not that of the publish."""
    await absent(broker, version, qos=0)
    send(broker, "t", b"x", qos=2)
    assert await drain(await back(broker, version)) == []


@both_families
async def test_live_qos0_does_not_overtake_qos0_that_waits(broker: TestBroker, version: int) -> None:
    """[MQTT-4.6.0-5] A backlog larger than the outbox goes out in pieces; what is published meanwhile comes later."""
    await absent(broker, version)
    send(broker, "t", *[b"%03d" % number + b"x" * 60_000 for number in range(60)], qos=0)
    client = await back(broker, version)
    session = broker.node.find("c")
    assert session is not None
    assert session.mqueue is not None
    send(broker, "t", b"060", qos=0)
    assert [int(payload[:3]) for payload in await drain(client)] == list(range(61))
    assert session.mqueue is None
    send(broker, "t", b"061", qos=0)
    assert await drain(client) == [b"061"]


# -- order and resume ------------------------------------------------------------------------------------------------


@every_version
@zone(max_inflight=3)
async def test_dequeuing_fills_the_window_and_no_more(broker: TestBroker, version: int) -> None:
    """[7.3] After a free, messages are taken from the queue up to the free window; QoS 0 does not consume it."""
    await absent(broker, version)
    for number in range(10):
        send(broker, "t", b"%d" % number, qos=number % 3)
    client = await broker.raw(version)
    client.auto_ack = False
    await client.connect("c", clean_start=False, properties=props(session_expiry_interval=99) if version == 5 else None)
    first: list[Publish] = []
    with trio.move_on_after(1):
        while True:
            first.append(await client.receive_publish())
    assert [packet.payload for packet in first if packet.qos] == [b"1", b"2", b"4"]
    assert [packet.payload for packet in first if not packet.qos] == [b"0", b"3", b"6", b"9"]


@both_families
@zone(max_inflight=2)
async def test_once_the_queue_is_empty_messages_go_out_at_once_again(broker: TestBroker, version: int) -> None:
    """An empty queue holds nothing up, also when no acknowledgement is on its way that would look into it."""
    await absent(broker, version)
    send(broker, "t", b"waited")
    client = await back(broker, version)
    assert await drain(client) == [b"waited"]
    session = broker.node.find("c")
    assert session is not None
    assert session.mqueue is None
    for qos in (1, 2, 0):
        send(broker, "t", b"live", qos=qos)
        assert await drain(client) == [b"live"]


@both_families
async def test_messages_of_a_backlog_keep_their_order_and_later_ones_wait(broker: TestBroker, version: int) -> None:
    """[MQTT-4.6.0-5] QoS 1 published after the resume comes after what waited, though the window has room."""
    await absent(broker, version)
    send(broker, "t", *[b"%03d" % number + b"x" * 60_000 for number in range(60)])
    client = await back(broker, version)
    send(broker, "t", b"060")
    assert [int(payload[:3]) for payload in await drain(client)] == list(range(61))


@both_families
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_queue_goes_on_when_the_kernel_took_the_whole_outbox(
    broker: TestBroker, version: int, qos: int
) -> None:
    """An outbox that is full, and then empty at once, has never been "blocked": the queue must go on all the same."""
    await absent(broker, version)
    listener = broker.node._inside["default"]
    listener.config = attrs.evolve(listener.config, outbox_high_watermark=1000, outbox_low_watermark=500)
    send(broker, "t", *[b"%03d" % number + b"x" * 400 for number in range(100)], qos=qos)
    client = await back(broker, version)
    client.auto_ack = False
    assert [int(payload[:3]) for payload in await drain(client)] == list(range(100))


# -- priorities ------------------------------------------------------------------------------------------------------


@both_families
@zone(mqueue_priorities="high=10,low=1", max_mqueue_len=3)
async def test_priorities(broker: TestBroker, version: int) -> None:
    """[7.4] Highest first; the bound is per priority; unlisted topics have 0 with `lowest`."""
    await absent(broker, version)
    send(broker, "other", b"o1", b"o2")
    send(broker, "low", b"l1", b"l2", b"l3", b"l4")
    send(broker, "high", b"h1", b"h2")
    assert await drain(await back(broker, version)) == [b"h1", b"h2", b"l2", b"l3", b"l4", b"o1", b"o2"]


@both_families
@zone(mqueue_priorities="high=10", mqueue_default_priority="highest")
async def test_topics_without_priority_may_be_the_highest(broker: TestBroker, version: int) -> None:
    """[7.4] `highest` = infinity."""
    await absent(broker, version)
    send(broker, "high", b"h1")
    send(broker, "other", b"o1", b"o2")
    assert await drain(await back(broker, version)) == [b"o1", b"o2", b"h1"]


@both_families
@zone(mqueue_priorities="high=1", max_mqueue_len=0)
async def test_lower_priorities_get_their_turn(broker: TestBroker, version: int) -> None:
    """[7.4] After a burst of 10 × priority further messages the queue rotates."""
    await absent(broker, version)
    send(broker, "other", *[b"o"] * 3)
    send(broker, "high", *[b"h"] * 30)
    got = await drain(await back(broker, version))
    assert got.index(b"o") == 11
    assert (got.count(b"o"), got.count(b"h")) == (3, 30)


@both_families
@zone(mqueue_default_priority="highest")
async def test_without_a_table_the_default_priority_means_nothing(broker: TestBroker, version: int) -> None:
    """[7.4] One queue, in order."""
    await absent(broker, version)
    for number in range(20):
        send(broker, f"t{number % 3}", b"%d" % number)
    assert await drain(await back(broker, version)) == numbered(20)


@zone(mqueue_priorities="high=10", max_inflight=1)
async def test_priorities_count_for_a_connected_client_too(broker: TestBroker) -> None:
    """Whatever waits for the window."""
    client = await broker.client("c", subscribe="#", qos=1)
    client.auto_ack = False
    send(broker, "other", b"flying", b"other")
    send(broker, "high", b"high")
    packet = await client.receive_publish()
    client.auto_ack = True
    await client.send(Ack(PUBACK, packet.packet_id))
    assert (packet.payload, await drain(client)) == (b"flying", [b"high", b"other"])


# -- message expiry [7.6] --------------------------------------------------------------------------------------------


@every_version
async def test_a_message_may_expire_while_it_waits(broker: TestBroker, version: int) -> None:
    """[MQTT-3.3.2-5] Dropped at dequeue with reason expired; [MQTT-3.3.2-6] the rest is sent with what is left."""
    recorder = Recorder(broker)
    await absent(broker, version)
    counted = Counted(broker)
    send(broker, "t", b"short", expiry=5)
    send(broker, "t", b"long", expiry=60)
    send(broker, "t", b"zero", qos=0, expiry=60)
    send(broker, "t", b"ever")
    await trio.sleep(20)
    client = await back(broker, version)
    packets = [await client.receive_publish() for _ in range(3)]
    assert [packet.payload for packet in packets] == [b"long", b"zero", b"ever"]
    if version == 5:
        assert [packet.properties and packet.properties.message_expiry_interval for packet in packets] == [40, 40, None]
    assert recorder.dropped == [("c", b"short", "expired")]
    assert counted("delivery.dropped.expired", "delivery.dropped") == [1, 1]


@zone(max_inflight=1)
async def test_expired_messages_do_not_stop_the_queue(broker: TestBroker) -> None:
    """Skipping goes on to the next one that is still good."""
    client = await broker.client("c", subscribe="t", qos=1)
    client.auto_ack = False
    send(broker, "t", b"flying")
    send(broker, "t", *numbered(50), expiry=3)
    send(broker, "t", b"good")
    packet = await client.receive_publish()
    await trio.sleep(10)
    await client.send(Ack(PUBACK, packet.packet_id))
    assert (await client.receive_publish()).payload == b"good"
    assert broker.node.metrics["delivery.dropped.expired"] == 50


@both_families
async def test_an_immediate_delivery_carries_the_whole_interval(broker: TestBroker, version: int) -> None:
    """[7.6] Not below 1, and not checked for an immediate delivery."""
    client = await broker.client("c", version=version, subscribe="t", qos=1)
    send(broker, "t", b"x", expiry=1)
    packet = await client.receive_publish()
    assert packet.payload == b"x"
    if version == 5:
        assert packet.properties is not None
        assert packet.properties.message_expiry_interval == 1


# -- packet size -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "arrives"), [(50, True), (51, False)])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_above_the_clients_maximum_is_dropped(
    broker: TestBroker, size: int, arrives: bool, qos: int
) -> None:
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25] exactly the maximum is allowed; the slot is free, the others come."""
    recorder = Recorder(broker)
    client = await broker.client("c", subscribe="t", qos=2, properties=props(maximum_packet_size=50, receive_maximum=1))
    head = 6 if qos == 0 else 8  # fixed header, topic, packet identifier, property length
    for _ in range(3):
        send(broker, "t", b"x" * (size - head), qos=qos)
    send(broker, "t", b"small", qos=qos)
    got = await drain(client)
    assert got == [b"x" * (size - head)] * (3 if arrives else 0) + [b"small"]
    assert broker.node.metrics["delivery.dropped.too_large"] == (0 if arrives else 3)
    assert [reason for _, _, reason in recorder.dropped] == ([] if arrives else ["too_large"] * 3)


async def test_a_waiting_message_is_measured_for_the_connection_it_is_sent_on(broker: TestBroker) -> None:
    await absent(broker)
    send(broker, "t", b"x" * 500, b"small")
    assert await drain(await back(broker, maximum_packet_size=100)) == [b"small"]


# -- slow readers ----------------------------------------------------------------------------------------------------


@both_families
@zone(max_mqueue_len=20)
async def test_a_client_that_does_not_read_costs_its_queue_and_outbox_only(broker: TestBroker, version: int) -> None:
    """[reliability 5] Out-buffer to its high mark, then the bounded queue; the publisher is answered at once."""
    await broker.client("c", version=version, subscribe="t", qos=0)
    publisher = await broker.client("p")
    watcher = await broker.client("w", subscribe="t")
    counted = Counted(broker)
    for number in range(200):
        assert await publisher.publish("t", b"%04d" % number + b"x" * 50_000, 1) == 0
        assert int((await watcher.message())[1][:4]) == number
    session = broker.node.find("c")
    assert session is not None
    assert session.out is not None
    assert session.out.size <= session.out.high + 60_000
    assert session.mqueue is not None
    assert len(session.mqueue) == 20
    assert counted["delivery.dropped.queue_full"] > 100
