"""Retained messages as clients see them (broker behaviour 9, 12.1; retainer rules of the plugin document)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import BOTH, config, messages, plug, props

from trioemqx.codec.control import Suback, Subscribe, Unsubscribe
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import Client, TestBroker, make_publish
from trioemqx.types import Message, SubOpts


async def _keep(broker: TestBroker, *topics: str, qos: int = 0) -> Client:
    publisher = await broker.client("keeper")
    for topic in topics:
        await publisher.publish(topic, b"kept " + topic.encode(), qos=qos, retain=True)
    await publisher.ping()
    return publisher


def _stored(broker: TestBroker) -> int:
    return broker.node.stats()["retained.count"]


# -- store -------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
async def test_a_new_subscriber_gets_what_was_kept(
    broker: TestBroker, version: int, published: int, subscribed: int
) -> None:
    await _keep(broker, "t", qos=published)
    client = await broker.client("c", version=version, subscribe="t", qos=subscribed)
    (packet,) = await messages(client, 1)
    assert (packet.topic, packet.payload) == ("t", b"kept t")
    assert packet.retain
    assert packet.qos == min(published, subscribed)


async def test_the_last_one_is_kept(broker: TestBroker) -> None:
    publisher = await _keep(broker, "t")
    await publisher.publish("t", b"newer", retain=True)
    await publisher.publish("t", b"not kept")
    client = await broker.client("c", subscribe="t")
    assert [packet.payload for packet in await messages(client, 1)] == [b"newer"]
    assert _stored(broker) == 1


async def test_live_messages_follow_retain_as_published_and_kept_ones_do_not(broker: TestBroker) -> None:
    publisher = await _keep(broker, "t")
    client = await broker.client("c")
    await client.subscribe("t", opts=SubOpts(rap=False))
    await publisher.publish("t", b"live", retain=True)
    assert [(packet.payload, packet.retain) for packet in await messages(client, 2)] == [
        (b"kept t", True),
        (b"live", False),
    ]


@BOTH
async def test_an_empty_payload_deletes_and_is_delivered(broker: TestBroker, version: int) -> None:
    publisher = await _keep(broker, "t")
    watcher = await broker.client("w", version=version)
    await watcher.subscribe("t", opts=SubOpts(rh=2) if version == 5 else SubOpts())
    if version == 4:
        await watcher.receive_publish()
    await publisher.publish("t", b"", qos=1, retain=True)
    assert await watcher.message() == ("t", b"")
    assert _stored(broker) == 0
    late = await broker.client("l", subscribe="t")
    assert await late.nothing()


@config(retainer={"stop_publish_clear_msg": True})
async def test_stop_publish_clear_msg(broker: TestBroker) -> None:
    publisher = await _keep(broker, "t")
    watcher = await broker.client("w")
    await watcher.subscribe("t", opts=SubOpts(rh=2))
    assert await publisher.publish("t", b"", qos=1, retain=True) == 0x10
    assert _stored(broker) == 0
    assert await watcher.nothing()
    await publisher.publish("t", b"", qos=1)  # an ordinary empty message
    await messages(watcher, 1)


@config(retainer={"max_payload_size": 10})
async def test_a_payload_that_is_too_large_is_delivered_but_not_kept(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    publisher = await broker.client("p")
    await publisher.publish("t", b"x" * 10, qos=1, retain=True)
    assert _stored(broker) == 1
    await publisher.publish("t", b"y" * 11, qos=1, retain=True)
    assert [packet.payload for packet in await messages(watcher, 2)] == [b"x" * 10, b"y" * 11]
    late = await broker.client("l", subscribe="t")
    assert [packet.payload for packet in await messages(late, 1)] == [b"x" * 10]


@config(retainer={"max_retained_messages": 2})
async def test_a_full_store_refuses_new_topics_only(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="#")
    publisher = await _keep(broker, "a", "b", "c")
    await messages(watcher, 3)
    assert _stored(broker) == 2
    await publisher.publish("a", b"again", qos=1, retain=True)
    late = await broker.client("l", subscribe="#")
    assert {packet.payload for packet in await messages(late, 2)} == {b"again", b"kept b"}
    await publisher.publish("b", b"", qos=1, retain=True)
    await publisher.publish("c", b"now", qos=1, retain=True)
    assert _stored(broker) == 2


async def test_counters(broker: TestBroker) -> None:
    publisher = await _keep(broker, "a", "b", "a")
    assert broker.node.metrics["messages.retained"] == _stored(broker) == 2
    await publisher.publish("a", b"", qos=1, retain=True)
    assert broker.node.metrics["messages.retained"] == _stored(broker) == 1
    assert broker.node.stats()["retained.max"] == 2


async def test_properties_are_kept(broker: TestBroker) -> None:
    publisher = await broker.client("p")
    sent = props(
        content_type="c",
        response_topic="r",
        correlation_data=b"d",
        payload_format_indicator=1,
        user_property=[("a", "b")],
    )
    await publisher.publish("t", b"x", qos=1, retain=True, properties=sent)
    client = await broker.client("c")
    await client.subscribe("t", identifier=4)
    (packet,) = await messages(client, 1)
    sent.subscription_identifier = [4]
    assert packet.properties == sent
    older = await broker.client("o", version=4, subscribe="t")
    assert await older.message() == ("t", b"x")


# -- which filters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("a/b", {"a/b"}),
        ("a/+", {"a/b", "a/c"}),
        ("a/#", {"a", "a/b", "a/c", "a/b/c"}),
        ("+/b", {"a/b", "x/b"}),
        ("+/+/+", {"a/b/c"}),
        ("#", {"a", "a/b", "a/c", "a/b/c", "x/b"}),
        ("+", {"a"}),
        ("$x/#", {"$x/y"}),
        ("$x/+", {"$x/y"}),
        ("+/y", set()),
        ("a/b/c/#", {"a/b/c"}),
        ("none/#", set()),
    ],
)
async def test_lookup(broker: TestBroker, filter: str, expected: set[str]) -> None:
    await _keep(broker, "a", "a/b", "a/c", "a/b/c", "x/b", "$x/y")
    client = await broker.client("c", subscribe=filter)
    assert {packet.topic for packet in await messages(client, len(expected))} == expected


async def test_they_come_in_the_order_of_their_time(broker: TestBroker) -> None:
    for topic in ("b/2", "a/1", "b/1", "a/2"):
        broker.node.publish(Message(topic, b"x", 0, True))
        await trio.sleep(1)
    client = await broker.client("c", subscribe="#")
    assert [packet.topic for packet in await messages(client, 4)] == ["b/2", "a/1", "b/1", "a/2"]


async def test_overlapping_filters_each_bring_them(broker: TestBroker) -> None:
    await _keep(broker, "t")
    client = await broker.client("c")
    await client.send(Subscribe(1, [("t", SubOpts(0)), ("#", SubOpts(0)), ("+", SubOpts(0))], None))
    await messages(client, 3)


# -- retain handling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rh", "first", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
async def test_retain_handling(broker: TestBroker, rh: int, first: int, again: int) -> None:
    await _keep(broker, "t")
    client = await broker.client("c")
    await client.subscribe("t", opts=SubOpts(1, rh=rh))
    await messages(client, first)
    await client.subscribe("t", opts=SubOpts(1, rh=rh))
    await messages(client, again)
    await client.unsubscribe("t")
    await client.subscribe("t", opts=SubOpts(1, rh=rh))
    await messages(client, first)


async def test_v3_always_gets_them(broker: TestBroker) -> None:
    await _keep(broker, "t")
    client = await broker.client("c", version=4)
    for _ in range(2):
        await client.subscribe("t")
        await messages(client, 1)


async def test_not_again_after_a_resume(broker: TestBroker) -> None:
    await _keep(broker, "t")
    client = await broker.client("c", subscribe="t", expiry=100)
    await messages(client, 1)
    await client.disconnect()
    client = await broker.client("c", clean_start=False, expiry=100)
    assert await client.nothing()
    await client.subscribe("t", opts=SubOpts(rh=1))  # the subscription is not new
    assert await client.nothing()


async def test_a_refused_filter_brings_nothing(broker: TestBroker) -> None:
    await _keep(broker, "t")
    client = await broker.client("c")
    assert await client.subscribe("$exclusive/t") == [0x8F]
    assert await client.nothing()


async def test_own_retained_messages_under_no_local(broker: TestBroker) -> None:
    publisher = await _keep(broker, "t")
    await publisher.subscribe("t", opts=SubOpts(nl=True))
    assert await publisher.nothing()


# -- expiry ------------------------------------------------------------------------------------------------------------


async def test_the_remaining_interval_is_sent(broker: TestBroker) -> None:
    publisher = await broker.client("p")
    await publisher.publish("t", b"x", retain=True, properties=props(message_expiry_interval=10))
    await publisher.ping()
    await trio.sleep(4.5)
    client = await broker.client("c", subscribe="t")
    (packet,) = await messages(client, 1)
    assert packet.properties.message_expiry_interval == 6
    await trio.sleep(5)
    client = await broker.client("d", subscribe="t")
    assert await client.nothing()


@config(retainer={"expiry_interval": "10s"})
async def test_the_configured_expiry_and_its_exception(broker: TestBroker) -> None:
    publisher = await _keep(broker, "usual")
    await publisher.publish("long", b"x", qos=1, retain=True, properties=props(message_expiry_interval=100))
    await publisher.publish("short", b"x", qos=1, retain=True, properties=props(message_expiry_interval=2))
    await trio.sleep(5)
    assert broker.node.metrics["messages.retained"] == _stored(broker) == 2
    client = await broker.client("c", subscribe="#")
    assert {packet.topic for packet in await messages(client, 2)} == {"usual", "long"}
    await trio.sleep(7)
    client = await broker.client("d", subscribe="#")
    assert {packet.topic for packet in await messages(client, 1)} == {"long"}
    assert broker.node.metrics["messages.retained"] == 1


# -- banned sources ----------------------------------------------------------------------------------------------------


async def test_a_banned_source_is_silent_while_the_ban_lasts(broker: TestBroker) -> None:
    await _keep(broker, "t")
    broker.node.publish(Message("u", b"x", 0, True, "somebody"))
    broker.node.banned.create("clientid", "keeper", until=int(broker.node.wall()) + 60)
    client = await broker.client("c", subscribe="#")
    assert [packet.topic for packet in await messages(client, 1)] == ["u"]
    await trio.sleep(61)
    client = await broker.client("d", subscribe="#")
    assert {packet.topic for packet in await messages(client, 2)} == {"t", "u"}


async def test_bans_of_names_and_addresses_do_not_matter_here(broker: TestBroker) -> None:
    publisher = await broker.client("p", username="u")
    await publisher.publish("t", b"x", qos=1, retain=True)
    broker.node.banned.create("username", "u")
    broker.node.banned.create("peerhost", "127.0.0.1")
    client = await broker.client("c", subscribe="t")  # the zone has no ban check
    await messages(client, 1)


# -- many of them, and slow readers ------------------------------------------------------------------------------------

MANY = 3000


def _fill(broker: TestBroker, count: int = MANY, qos: int = 1) -> None:
    for number in range(count):
        broker.node.publish(Message(f"many/{number % 30}/{number}", b"%d" % number, qos, True))


@BOTH
@pytest.mark.parametrize("qos", [0, 1])
async def test_more_than_a_thousand(broker: TestBroker, version: int, qos: int) -> None:
    _fill(broker, qos=qos)
    client = await broker.client("c", version=version, subscribe="many/#", qos=qos)
    found = await messages(client, MANY)
    assert {int(packet.payload) for packet in found} == set(range(MANY))
    assert all(packet.retain for packet in found)
    assert broker.node.metrics["delivery.dropped"] == 0


@config(zone={"max_inflight": 10, "max_mqueue_len": 50})
async def test_a_client_that_does_not_acknowledge_loses_nothing(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    client.auto_ack = False
    await client.subscribe("many/#", qos=1)
    await client.ping()
    assert len(client.inbox) == 10
    got = []
    while len(got) < MANY:
        packet = client.inbox.pop(0) if client.inbox else await client.receive_publish()
        got.append(int(packet.payload))
        await client.send(Ack(PUBACK, packet.packet_id))
    assert sorted(got) == list(range(MANY))
    assert broker.node.metrics["delivery.dropped.queue_full"] == 0


async def test_a_client_that_does_not_read_holds_nobody_up(broker: TestBroker) -> None:
    payload = b"x" * 20_000
    for number in range(1000):
        broker.node.publish(Message(f"big/{number}", payload, 0, True))
    slow = await broker.client("slow")
    await slow.send(Subscribe(1, [("big/#", SubOpts(0))], None))
    quick = await broker.client("quick", subscribe="t")
    publisher = await broker.client("p")
    await trio.sleep(1)
    await publisher.publish("t", b"x", qos=1)
    assert await quick.message() == ("t", b"x")
    session = broker.node.find("slow")
    assert session.out.size < 4 * 1024 * 1024, "the walk waits for the reader"
    found = await messages(slow, 1000)
    assert len({packet.topic for packet in found}) == 1000


async def test_unsubscribing_ends_the_walk(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    client.auto_ack = False
    await client.subscribe("many/#", qos=1)
    await client.send(Unsubscribe(2, ["many/#"], None))
    await client.ping()
    assert broker.node.find("c").channel.walks == {}


async def test_unsubscribing_a_share_does_not(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    await client.subscribe("many/#", "$share/g/many/#", qos=0)
    await client.unsubscribe("$share/g/many/#")
    await messages(client, MANY)


async def _numbers(client: Client) -> list[int]:
    """The payloads of all messages that come until none has come for a second."""
    found = []
    with trio.CancelScope() as quiet:
        while True:
            quiet.deadline = trio.current_time() + 1
            found.append(int((await client.receive_publish()).payload))
    return found


async def test_subscribing_again_starts_again(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    twice = [Subscribe(number, [("many/#", SubOpts(0))], None) for number in (1, 2)]
    await client.send_raw(b"".join(encode(packet, 5) for packet in twice))
    numbers = await _numbers(client)
    assert set(numbers) == set(range(MANY))
    assert len(numbers) <= MANY + 400  # the first walk was given up, not run beside the second


@config(zone={"max_inflight": 10, "max_mqueue_len": 50})
async def test_messages_may_go_during_a_walk(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    client.auto_ack = False
    await client.subscribe("many/#", qos=1)
    await client.ping()
    before = {packet.packet_id: int(packet.payload) for packet in client.inbox}
    for number in range(0, MANY, 2):
        broker.node.broker.retained.delete(f"many/{number % 30}/{number}")
    client.auto_ack = True
    for packet in client.inbox:
        await client.send(Ack(PUBACK, packet.packet_id))
    numbers = await _numbers(client)
    assert len(numbers) == len(set(numbers))
    assert set(range(1, MANY, 2)) <= set(numbers)
    assert len([number for number in numbers if number % 2 == 0]) < MANY // 2
    assert set(before.values()) <= set(numbers)


async def test_a_subscription_on_behalf_of_an_idle_client_gets_them_all(broker: TestBroker) -> None:
    _fill(broker, qos=0)
    client = await broker.client("c")
    assert broker.node.subscribe("c", "many/#") == 0
    await messages(client, MANY)


async def test_a_reader_that_leaves_during_its_walk(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    await client.send(Subscribe(1, [("many/#", SubOpts(1))], None))
    await client.close()
    other = await broker.client("o")
    await other.ping()
    assert broker.node.broker.metrics.connection_crashed == 0
    assert broker.node.find("c") is None


@pytest.mark.parametrize("act", ["kick", "unsubscribe"])
async def test_a_hook_ends_the_subscription_during_its_walk(broker: TestBroker, act: str) -> None:
    _fill(broker, 100, qos=0)

    def message_delivered(message: Message) -> None:
        if act == "kick":
            broker.node.kick("c")
        else:
            broker.node.unsubscribe("c", "many/#")

    plug(broker, message_delivered=message_delivered)
    client = await broker.client("c")
    await client.send(Subscribe(1, [("many/#", SubOpts(0))], None))
    if act == "kick":
        assert await client.closed() == 0x98
        assert client.inbox == []
    else:
        await client.wait_for(Suback)
        await messages(client, 1)
    assert broker.node.broker.metrics.connection_crashed == 0


async def test_a_walk_and_live_messages_side_by_side(broker: TestBroker) -> None:
    _fill(broker)
    client = await broker.client("c")
    await client.send(Subscribe(1, [("many/#", SubOpts(0))], None))
    publisher = await broker.client("p")
    await publisher.send(make_publish("many/live", b"-1", 0, False, False, 0, None))
    found = await messages(client, MANY + 1)
    assert sum(not packet.retain for packet in found) == 1
