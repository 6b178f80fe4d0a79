"""The scenarios of the Eclipse Paho interoperability suite for MQTT 3.1.1, against a real port."""

from __future__ import annotations

import pytest
import trio

from trioemqx.codec.packets import PUBACK, PUBREC, Ack
from trioemqx.testing import Closed, Refused, Will, make_publish

VERSIONS = pytest.mark.parametrize("version", [pytest.param(3, id="v31"), pytest.param(4, id="v311")])


@VERSIONS
async def test_basic(dialer, topic, name, version):
    """Connect, subscribe, publish at each QoS, disconnect; then a second CONNECT on one connection is an error."""
    client = await dialer.client(name, version=version)
    assert await client.subscribe(topic, qos=2) == [2]
    for qos in (0, 1, 2):
        await client.publish(topic, b"message %d" % qos, qos=qos)
    received = [await client.receive_publish() for _ in range(3)]
    assert [(packet.payload, packet.qos) for packet in received] == [(b"message %d" % qos, qos) for qos in (0, 1, 2)]
    await client.disconnect()

    twice = await dialer.client(name, version=version)
    with pytest.raises(Closed):
        await twice.connect(name)


@VERSIONS
async def test_retained_messages(dialer, topic, name, version):
    publisher = await dialer.client(f"{name}1", version=version)
    for qos in (0, 1, 2):
        await publisher.publish(f"{topic}/{qos}", b"qos %d" % qos, qos=qos, retain=True)
    await publisher.ping()

    late = await dialer.client(f"{name}2", version=version, subscribe=f"{topic}/+", qos=2)
    received = [await late.receive_publish() for _ in range(3)]
    assert sorted((packet.topic, packet.payload, packet.qos, packet.retain) for packet in received) == [
        (f"{topic}/{qos}", b"qos %d" % qos, qos, True) for qos in (0, 1, 2)
    ]

    for qos in (0, 1, 2):
        await publisher.publish(f"{topic}/{qos}", b"", qos=qos, retain=True)
    await publisher.ping()
    cleared = await dialer.client(f"{name}3", version=version, subscribe=f"{topic}/+", qos=2)
    await cleared.ping()
    assert cleared.inbox == []


@VERSIONS
async def test_offline_message_queueing(dialer, topic, name, version):
    sleeper = await dialer.client(name, version=version, clean_start=False, subscribe=f"{topic}/#", qos=2)
    await sleeper.disconnect()
    publisher = await dialer.client(f"{name}p", version=version)
    for qos in (0, 1, 2):
        await publisher.publish(f"{topic}/{qos}", b"qos %d" % qos, qos=qos)
    await publisher.ping()

    awake = await dialer.client(name, version=version, clean_start=False)
    assert awake.connack.session_present is (version == 4)
    received = [await awake.receive_publish() for _ in range(3)]
    assert {packet.payload for packet in received} == {b"qos 0", b"qos 1", b"qos 2"}
    await awake.disconnect()

    fresh = await dialer.client(name, version=version, clean_start=True)
    assert fresh.connack.session_present is False
    await publisher.publish(f"{topic}/1", b"too late", qos=1)
    await fresh.ping()
    assert fresh.inbox == []


@VERSIONS
@pytest.mark.parametrize("retain", [False, True], ids=["plain", "retained"])
async def test_will_message(dialer, topic, name, version, retain):
    watcher = await dialer.client(f"{name}w", version=version, subscribe=topic, qos=2)
    dying = await dialer.client(name, version=version, will=Will(topic, b"will message", 1, retain, None))
    await dying.close()

    packet = await watcher.receive_publish()
    assert (packet.payload, packet.qos, packet.retain) == (b"will message", 1, False)
    late = await dialer.client(f"{name}l", version=version, subscribe=topic, qos=2)
    await late.ping()
    assert [(packet.payload, packet.retain) for packet in late.inbox] == ([(b"will message", True)] if retain else [])
    await late.publish(topic, b"", retain=True)


async def test_a_will_is_dropped_by_disconnect(dialer, topic, name):
    watcher = await dialer.client(f"{name}w", version=4, subscribe=topic)
    leaving = await dialer.client(name, version=4, will=Will(topic, b"will message", 0, False, None))
    await leaving.disconnect()
    again = await dialer.client(name, version=4)
    await again.publish(topic, b"the end")

    assert await watcher.message() == (topic, b"the end")


@VERSIONS
async def test_overlapping_subscriptions(dialer, topic, name, version):
    """One message per subscription, each with its QoS; the standard also allows just one, with the highest."""
    client = await dialer.client(name, version=version)
    await client.subscribe(f"{topic}/#", qos=2)
    await client.subscribe(f"{topic}/+", qos=1)
    await client.publish(f"{topic}/a", b"overlapping", qos=2)
    await client.ping()

    assert sorted(packet.qos for packet in client.inbox) in ([1, 2], [2])


async def test_keepalive(dialer, topic, name):
    """A client that falls silent is gone after one and a half times its interval, and its will is published."""
    watcher = await dialer.client(f"{name}w", version=4, subscribe=topic)
    silent = await dialer.client(name, version=4, keepalive=1, will=Will(topic, b"keepalive expiry", 0, False, None))
    begin = trio.current_time()

    assert await silent.closed() is None
    assert 1.4 <= trio.current_time() - begin <= 4
    assert await watcher.message() == (topic, b"keepalive expiry")


@VERSIONS
async def test_redelivery_on_reconnect(dialer, topic, name, version):
    """What was not acknowledged comes again with DUP and its old packet identifier, in order."""
    client = await dialer.client(name, version=version, clean_start=False, subscribe=topic, qos=2)
    client.auto_ack = False
    publisher = await dialer.client(f"{name}p", version=version)
    await publisher.publish(topic, b"first", qos=1)
    await publisher.publish(topic, b"second", qos=2)
    before = [await client.receive_publish() for _ in range(2)]
    assert [packet.dup for packet in before] == [False, False]
    await client.close()

    again = await dialer.client(name, version=version, clean_start=False)
    after = [await again.receive_publish() for _ in range(2)]
    assert [(packet.payload, packet.qos, packet.dup) for packet in after] == [
        (b"first", 1, True),
        (b"second", 2, True),
    ]
    assert [packet.packet_id for packet in after] == [packet.packet_id for packet in before]
    await again.ping()
    assert again.inbox == []


async def test_a_release_that_was_lost_comes_again(dialer, topic, name):
    """QoS 2: after PUBREC it is PUBREL that is repeated, never the message."""
    client = await dialer.client(name, version=4, clean_start=False, subscribe=topic, qos=2)
    client.auto_ack = False
    publisher = await dialer.client(f"{name}p", version=4)
    await publisher.publish(topic, b"exactly once", qos=2)
    packet = await client.receive_publish()
    await client.send(Ack(PUBREC, packet.packet_id))
    release = await client.wait_for(Ack)
    await client.close()

    again = await dialer.client(name, version=4, clean_start=False)
    repeated = await again.wait_for(Ack)
    assert (repeated.kind, repeated.packet_id) == (release.kind, release.packet_id)
    await again.ping()
    assert again.inbox == []


@VERSIONS
async def test_dollar_topics(dialer, topic, name, version):
    """Wildcards at the first level do not match topics that start with $, and clients cannot write to $SYS."""
    client = await dialer.client(name, version=version)
    await client.subscribe("#", "+/+", qos=2)
    await client.ping()
    client.inbox.clear()
    publisher = await dialer.client(f"{name}p", version=version)
    await publisher.publish(f"$dollar/{topic}", b"hidden", qos=1)
    await publisher.publish(f"plain/{topic}", b"seen", qos=1)

    seen = set()
    while b"seen" not in seen:
        seen.add((await client.message())[1])
    assert b"hidden" not in seen
    named = await dialer.client(f"{name}n", version=version, subscribe=f"$dollar/{topic}")
    await publisher.publish(f"$dollar/{topic}", b"found", qos=1)
    assert await named.message() == (f"$dollar/{topic}", b"found")


@VERSIONS
async def test_unsubscribe(dialer, topic, name, version):
    client = await dialer.client(name, version=version)
    await client.subscribe(f"{topic}/a", f"{topic}/b", f"{topic}/c", qos=2)
    await client.unsubscribe(f"{topic}/a")
    publisher = await dialer.client(f"{name}p", version=version)
    for letter in "abc":
        await publisher.publish(f"{topic}/{letter}", letter.encode(), qos=1)

    assert [await client.message() for _ in range(2)] == [(f"{topic}/b", b"b"), (f"{topic}/c", b"c")]
    await client.ping()
    assert client.inbox == []


async def test_zero_length_clientid(dialer):
    """With a clean session the server chooses an identifier, without one it refuses; MQTT 3.1 has no empty ones."""
    assert (await dialer.client("", version=4, clean_start=True)).connack.code == 0
    for version, clean in ((4, False), (3, True), (3, False)):
        with pytest.raises(Refused) as refusal:
            await dialer.client("", version=version, clean_start=clean)
        assert refusal.value.connack.code == 2


async def test_subscribe_failure(broker, dialer, name):
    """A filter that is not allowed gets 0x80 in its place of the SUBACK, the others stand."""
    client = await dialer.client(name, version=4, port=broker.port("tcp", "narrow"))

    assert await client.subscribe("fine", "not/+/fine", "a/b/c/d/e", qos=2) == [2, 0x80, 0x80]


async def test_takeover_closes_the_older_connection(dialer, name):
    first = await dialer.client(name, version=4)
    await dialer.client(name, version=4)

    assert await first.closed() is None


async def test_acknowledgements_arrive_in_order_of_the_messages(dialer, topic, name):
    """[MQTT-4.6.0-2]: also when many are under way at once."""
    client = await dialer.client(name, version=4)
    for packet_id in range(1, 101):
        await client.send(make_publish(topic, b"x", 1, False, False, packet_id))
    acks = [await client.wait_for(Ack) for _ in range(100)]

    assert [(ack.kind, ack.packet_id) for ack in acks] == [(PUBACK, packet_id) for packet_id in range(1, 101)]
