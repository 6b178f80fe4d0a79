"""PUBLISH from a client and the way to its subscribers (broker behaviour 6.1, 6.2, 6.5)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import ALL_VERSIONS, BOTH, config, last_words, messages, plug, props

from trioemqx.codec.control import Disconnect
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack
from trioemqx.errors import ProtocolError
from trioemqx.hooks import Drop
from trioemqx.testing import Client, TestBroker, make_publish
from trioemqx.types import Message, SubOpts


async def _publish_raw(client: Client, topic: str, **extra: object) -> None:
    settings = {"payload": b"", "qos": 0, "retain": False, "dup": False, "packet_id": 0, "properties": None, **extra}
    if settings["qos"] and not settings["packet_id"]:
        settings["packet_id"] = 1000
    await client.send(make_publish(topic, *settings.values()))


# -- answers ---------------------------------------------------------------------------------------------------------


@ALL_VERSIONS
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
async def test_delivered_qos_is_the_lower_one(
    broker: TestBroker, version: int, published: int, subscribed: int
) -> None:
    watcher = await broker.client("w", version=version, subscribe="t", qos=subscribed)
    publisher = await broker.client("p", version=version)
    assert await publisher.publish("t", b"x", qos=published) == 0
    (packet,) = await messages(watcher, 1)
    assert (packet.topic, packet.payload, packet.qos) == ("t", b"x", min(published, subscribed))
    assert not packet.retain
    assert not packet.dup


@config(zone={"upgrade_qos": True})
@BOTH
@pytest.mark.parametrize(("published", "subscribed"), [(0, 2), (2, 0), (1, 1), (0, 0)])
async def test_with_upgrade_qos_it_is_the_higher_one(
    broker: TestBroker, version: int, published: int, subscribed: int
) -> None:
    watcher = await broker.client("w", version=version, subscribe="t", qos=subscribed)
    await (await broker.client("p", version=version)).publish("t", b"x", qos=published)
    (packet,) = await messages(watcher, 1)
    assert packet.qos == max(published, subscribed)


async def test_qos0_has_no_answer(broker: TestBroker) -> None:
    client = await broker.client("p")
    await _publish_raw(client, "t")
    await client.ping()  # the next packet is the PINGRESP


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_v5_publisher_is_told_when_nobody_listens(broker: TestBroker, qos: int) -> None:
    client = await broker.client("p")
    assert await client.publish("t", b"x", qos=qos) == 0x10
    await broker.client("w", subscribe="t")
    assert await client.publish("t", b"x", qos=qos) == 0x00


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_v3_publisher_is_not(broker: TestBroker, qos: int) -> None:
    client = await broker.client("p", version=4)
    assert await client.publish("t", b"x", qos=qos) == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_publish_stopped_by_a_hook_is_quiet(broker: TestBroker, qos: int) -> None:
    told: list[str] = []

    def message_publish(message: Message) -> None:
        raise Drop

    plug(broker, message_publish=message_publish, message_dropped=lambda message, reason: told.append(reason))
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p")
    assert await client.publish("t", b"x", qos=qos, retain=True) == (0x10 if qos else 0)
    assert await watcher.nothing()
    assert told == []
    assert broker.node.stats()["retained.count"] == 0
    assert broker.node.metrics["messages.dropped"] == 0


# -- QoS 2 in ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_qos2_message_is_routed_when_it_is_published(broker: TestBroker, version: int) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p", version=version)
    await _publish_raw(client, "t", payload=b"now", qos=2, packet_id=7)
    assert (await client.ack(PUBREC, 7)).code == 0
    assert await watcher.message() == ("t", b"now")  # no PUBREL has been sent
    await client.send(Ack(PUBREL, 7))
    assert (await client.ack(PUBCOMP, 7)).code == 0
    assert await watcher.nothing()


@pytest.mark.parametrize(("version", "dup", "code"), [(5, False, 0x91), (5, True, 0), (4, False, 0), (4, True, 0)])
async def test_a_repeated_id_is_not_routed_again(broker: TestBroker, version: int, dup: bool, code: int) -> None:
    told: list[tuple[str, str, str]] = []
    plug(
        broker,
        message_dropped=lambda message, node, reason: told.append((message.topic, node, reason)),
    )
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p", version=version)
    await _publish_raw(client, "t", payload=b"1", qos=2, packet_id=7)
    await client.ack(PUBREC, 7)
    await _publish_raw(client, "t", payload=b"2", qos=2, packet_id=7, dup=dup)
    assert (await client.ack(PUBREC, 7)).code == code
    assert [packet.payload for packet in await messages(watcher, 1)] == [b"1"]
    assert told == [("t", broker.node.node, "packet_identifier_inuse")]
    assert broker.node.metrics["packets.publish.inuse"] == 1


async def test_the_hook_hears_the_real_topic_of_a_repetition_by_alias(broker: TestBroker) -> None:
    told: list[Message] = []
    plug(broker, message_dropped=lambda message, reason: told.append(message) if "inuse" in reason else None)
    client = await broker.client("p")
    await _publish_raw(client, "t", qos=2, packet_id=7, properties=props(topic_alias=1))
    await client.ack(PUBREC, 7)
    await _publish_raw(client, "", payload=b"again", qos=2, packet_id=7, properties=props(topic_alias=1))
    await client.ack(PUBREC, 7)
    assert [(message.topic, message.payload, message.publisher) for message in told] == [("t", b"again", "p")]


async def test_the_id_is_free_after_pubrel(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p")
    for number in range(2):
        await _publish_raw(client, "t", payload=b"%d" % number, qos=2, packet_id=7)
        assert (await client.ack(PUBREC, 7)).code == 0
        await client.send(Ack(PUBREL, 7))
        await client.ack(PUBCOMP, 7)
    assert [packet.payload for packet in await messages(watcher, 2)] == [b"0", b"1"]


@pytest.mark.parametrize(("version", "code"), [(5, 0x92), (4, 0)])
async def test_pubrel_of_an_unknown_id(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("p", version=version)
    await client.send(Ack(PUBREL, 9))
    assert (await client.ack(PUBCOMP, 9)).code == code
    assert broker.node.metrics["packets.pubrel.missed"] == 1


@config(zone={"max_awaiting_rel": 2})
@pytest.mark.parametrize(("version", "code"), [(5, 0x93), (4, None)])
async def test_more_than_max_awaiting_rel_ends_the_connection(
    broker: TestBroker, version: int, code: int | None
) -> None:
    told: list[str] = []
    plug(broker, message_dropped=lambda message, reason: told.append(reason))
    await broker.client("w", subscribe="t")
    client = await broker.client("p", version=version)
    for packet_id in (1, 2):
        await _publish_raw(client, "t", qos=2, packet_id=packet_id)
        await client.ack(PUBREC, packet_id)
    await _publish_raw(client, "t", qos=2, packet_id=3)
    assert await client.closed() == code
    assert told == ["receive_maximum_exceeded"]
    assert broker.node.metrics["packets.publish.dropped"] == 1


@config(zone={"max_awaiting_rel": 0})
async def test_max_awaiting_rel_0_is_unlimited(broker: TestBroker) -> None:
    await broker.client("w", subscribe="t")
    client = await broker.client("p")
    for packet_id in range(1, 300):
        await _publish_raw(client, "t", qos=2, packet_id=packet_id)
    for packet_id in range(1, 300):
        assert (await client.ack(PUBREC, packet_id)).code == 0


@config(zone={"await_rel_timeout": "10s"})
async def test_ids_without_pubrel_are_forgotten_after_await_rel_timeout(broker: TestBroker) -> None:
    client = await broker.client("p", keepalive=0)
    for packet_id in (1, 2):
        await _publish_raw(client, "t", qos=2, packet_id=packet_id)
        await client.ack(PUBREC, packet_id)
    dropped = broker.node.metrics["messages.dropped"]
    await trio.sleep(9)
    assert broker.node.metrics["messages.dropped.await_pubrel_timeout"] == 0
    await trio.sleep(3)
    assert broker.node.metrics["messages.dropped.await_pubrel_timeout"] == 2
    assert broker.node.metrics["messages.dropped"] == dropped + 2
    await client.send(Ack(PUBREL, 1))
    assert (await client.ack(PUBCOMP, 1)).code == 0x92


async def test_awaiting_rel_survives_a_reconnect(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p", expiry=60)
    await _publish_raw(client, "t", qos=2, packet_id=7)
    await client.ack(PUBREC, 7)
    await client.close()
    client = await broker.client("p", clean_start=False, expiry=60)
    await _publish_raw(client, "t", qos=2, packet_id=7, dup=True)
    assert (await client.ack(PUBREC, 7)).code == 0
    await client.send(Ack(PUBREL, 7))
    assert (await client.ack(PUBCOMP, 7)).code == 0
    await messages(watcher, 1)


# -- what ends the connection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "extra", "code"),
    [
        ("", {}, 0x82),
        ("a/+/b", {}, 0x90),
        ("a/#", {}, 0x90),
        ("a", {"properties": props(response_topic="x/+")}, 0x82),
        ("a", {"properties": props(response_topic="x/#")}, 0x82),
        ("a", {"properties": props(response_topic="")}, 0x82),
        ("a", {"properties": props(subscription_identifier=[1])}, 0x82),
        ("a", {"properties": props(topic_alias=0)}, 0x94),
    ],
)
async def test_packet_checks_of_v5(broker: TestBroker, topic: str, extra: dict[str, object], code: int) -> None:
    client = await broker.client("p")
    await _publish_raw(client, topic, **extra)
    assert await client.closed() == code


@pytest.mark.parametrize("topic", ["", "a/+/b", "#"])
async def test_packet_checks_of_v3_close(broker: TestBroker, topic: str) -> None:
    client = await broker.client("p", version=4)
    await _publish_raw(client, topic)
    assert await client.closed() is None


@config(zone={"max_topic_levels": 3})
@pytest.mark.parametrize(("version", "code"), [(5, 0x90), (4, None)])
async def test_topic_levels(broker: TestBroker, version: int, code: int | None) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p", version=version)
    await client.publish("a/b/c", b"x", qos=1)
    await messages(watcher, 1)
    await _publish_raw(client, "a/b/c/d", qos=1)
    assert await client.closed() == code
    assert await watcher.nothing()


@config(zone={"max_qos_allowed": 1})
@pytest.mark.parametrize(("version", "code"), [(5, 0x9B), (4, None)])
async def test_max_qos_allowed(broker: TestBroker, version: int, code: int | None) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p", version=version)
    await client.publish("t", b"x", qos=1)
    await messages(watcher, 1)
    await _publish_raw(client, "t", qos=2)
    assert await client.closed() == code
    assert await watcher.nothing()


@config(zone={"retain_available": False})
@pytest.mark.parametrize(("version", "code"), [(5, 0x9A), (4, None)])
async def test_retain_available(broker: TestBroker, version: int, code: int | None) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p", version=version)
    await _publish_raw(client, "t", retain=True)
    assert await client.closed() == code
    assert await watcher.nothing()
    assert broker.node.stats()["retained.count"] == 0


# -- topic names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_clients_cannot_speak_for_the_broker(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="$SYS/brokers")
    client = await broker.client("p")
    assert await client.publish("$SYS/brokers", b"fake", qos=qos, retain=True) == (0x87 if qos else 0)
    await client.ping()
    assert await watcher.nothing()


@pytest.mark.parametrize(
    "topic", ["$share/g/t", "$queue/t", "$exclusive/t", "$share", "$custom/a", "/", "//", " ", "a//b"]
)
async def test_names_that_can_be_published_literally(broker: TestBroker, topic: str) -> None:
    seen: list[str] = []
    plug(broker, message_publish=lambda message: seen.append(message.topic))
    client = await broker.client("p")
    assert await client.publish(topic, b"x", qos=1) == 0x10
    assert seen == [topic]


@pytest.mark.parametrize(
    ("filter", "topic", "expected"),
    [
        ("#", "a/b", True),
        ("#", "$custom/a", False),
        ("+/a", "$custom/a", False),
        ("+/+", "$custom/a", False),
        ("$custom/#", "$custom/a", True),
        ("$custom/+", "$custom/a", True),
        ("a/#", "a", True),
        ("a/#", "a/", True),
        ("a/#", "ab", False),
        ("+", "a", True),
        ("+", "/a", False),
        ("/+", "/a", True),
        ("+/+", "/a", True),
        ("a/+", "a/", True),
        ("a/+/c", "a//c", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/$custom", "a/$custom", True),
        ("a", "A", False),
        ("a/", "a", False),
    ],
)
@BOTH
async def test_topic_rules(broker: TestBroker, version: int, filter: str, topic: str, expected: bool) -> None:
    watcher = await broker.client("w", version=version, subscribe=filter)
    await (await broker.client("p", version=version)).publish(topic, b"x", qos=1)
    if expected:
        assert await watcher.message() == (topic, b"x")
    assert await watcher.nothing()


LONGEST = "x" * 65535
DEEPEST = "/" * 65535


@config(zone={"max_topic_length": 65535, "max_topic_levels": 0})
@pytest.mark.parametrize("topic", [LONGEST, DEEPEST], ids=["bytes", "levels"])
async def test_the_longest_topic_there_is(broker: TestBroker, topic: str) -> None:
    watcher = await broker.client("w", subscribe=topic)
    deep = await broker.client("d", subscribe="+/" * 32767 + "#")
    client = await broker.client("p")
    assert await client.publish(topic, b"x", qos=1, retain=True) == 0
    assert await watcher.message() == (topic, b"x")
    assert await deep.nothing() == (topic == LONGEST)
    late = await broker.client("l", subscribe="#")
    assert await late.message() == (topic, b"x")


@config(zone={"max_topic_length": 8})
@pytest.mark.parametrize("topic", ["x" * 9, "\u20ac" * 3], ids=["ascii", "bytes_not_characters"])
async def test_max_topic_length_is_bytes(broker: TestBroker, topic: str) -> None:
    client = await broker.client("p")
    assert await client.publish("x" * 8, b"", qos=1) == 0x10
    assert await client.publish("\u20ac" * 2, b"", qos=1) == 0x10
    await _publish_raw(client, topic)
    assert await client.closed() == 0x90


@config(zone={"max_topic_length": 8})
async def test_an_overlong_topic_is_not_kept_as_an_alias_either(broker: TestBroker) -> None:
    client = await broker.client("p")
    await _publish_raw(client, "x" * 9, properties=props(topic_alias=1))
    assert await client.closed() == 0x90


# -- the broker's publish path -----------------------------------------------------------------------------------------


async def test_one_delivery_per_matching_subscription(broker: TestBroker) -> None:
    watcher = await broker.client("w")
    await watcher.subscribe("a/b", opts=SubOpts(0))
    await watcher.subscribe("a/+", opts=SubOpts(1, rap=True), identifier=11)
    await watcher.subscribe("#", opts=SubOpts(2), identifier=22)
    await (await broker.client("p")).publish("a/b", b"x", qos=2, retain=True)
    found = await messages(watcher, 3)
    seen = {
        (packet.qos, packet.retain, tuple(packet.properties.subscription_identifier if packet.properties else ()))
        for packet in found
    }
    assert seen == {(0, False, ()), (1, True, (11,)), (2, False, (22,))}


async def test_dup_is_not_forwarded(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t", qos=2)
    client = await broker.client("p")
    await _publish_raw(client, "t", qos=1, dup=True)
    await _publish_raw(client, "t", qos=2, dup=True, packet_id=8)
    assert [packet.dup for packet in await messages(watcher, 2)] == [False, False]


async def test_nobody_listens(broker: TestBroker) -> None:
    told: list[tuple[str, str, str]] = []
    plug(broker, message_dropped=lambda message, node, reason: told.append((message.topic, node, reason)))
    client = await broker.client("p")
    await client.publish("t", b"x", qos=1)
    assert told == [("t", broker.node.node, "no_subscribers")]
    watcher = await broker.client("w", subscribe="t")
    await client.publish("t", b"x", qos=1)
    await watcher.unsubscribe("t")
    await client.publish("t", b"x", qos=1)
    assert len(told) == 2  # a destination whose subscribers have all gone
    assert broker.node.metrics["messages.dropped.no_subscribers"] == 2


async def test_system_messages_are_not_counted(broker: TestBroker) -> None:
    before = broker.node.metrics
    broker.node.publish(Message("$SYS/brokers/x", b"1"))
    broker.node.publish(Message("other", b"1", sys=True))
    after = broker.node.metrics
    for name in ("messages.publish", "messages.dropped", "messages.dropped.no_subscribers"):
        assert after[name] == before[name], name


async def test_the_message_says_where_it_comes_from(broker: TestBroker) -> None:
    seen: list[Message] = []
    plug(broker, message_publish=lambda message: seen.append(message))
    client = await broker.client("p", username="u")
    await client.publish("t", b"x", qos=1, properties=props(content_type="c", user_property=[("a", "b")]))
    (message,) = seen
    assert (message.publisher, message.username, message.peerhost, message.proto_ver) == ("p", "u", "127.0.0.1", 5)
    assert (message.topic, message.payload, message.qos, message.retain) == ("t", b"x", 1, False)
    assert message.properties == props(content_type="c", user_property=[("a", "b")])
    assert len(message.id) == 32
    assert message.timestamp == pytest.approx(broker.node.wall() * 1000, abs=5000)


async def test_ids_are_ordered_by_time(broker: TestBroker) -> None:
    seen: list[str] = []
    plug(broker, message_publish=lambda message: seen.append(message.id))
    client = await broker.client("p")
    for _ in range(3):
        await client.publish("t", b"", qos=1)
        await trio.sleep(0.01)
    assert seen == sorted(seen)
    assert len(set(seen)) == 3


async def test_an_invalid_topic_of_the_facade(broker: TestBroker) -> None:
    for topic in ("", "a/+", "#", "a\0"):
        with pytest.raises(ProtocolError):
            broker.node.publish(Message(topic, b""))


# -- mountpoint --------------------------------------------------------------------------------------------------------


@config(zone={"mountpoint": "dev/%c/"})
@BOTH
async def test_every_client_lives_in_its_mountpoint(broker: TestBroker, version: int) -> None:
    seen: list[str] = []
    plug(broker, message_publish=lambda message: seen.append(message.topic))
    a = await broker.client("a", version=version, subscribe="#", qos=1)
    b = await broker.client("b", version=version, subscribe="#", qos=1)
    other = await broker.client("c", version=version)
    await b.publish("t", b"mine", qos=1)
    broker.node.publish(Message("dev/a/t", b"yours", 1))
    broker.node.publish(Message("dev/a", b"parent"))  # `dev/a/#` matches it, but it lies outside
    broker.node.publish(Message("t", b"outside"))
    assert await a.message() == ("t", b"yours")
    assert await a.nothing()
    await other.ping()
    assert seen[0] == "dev/b/t"
    if version == 5:
        assert await b.message() == ("t", b"mine")


@config(zone={"mountpoint": "dev/%c/%u/"})
async def test_an_absent_username_leaves_the_placeholder(broker: TestBroker) -> None:
    seen: list[str] = []
    plug(broker, message_publish=lambda message: seen.append(message.topic))
    await (await broker.client("a")).publish("t", b"", qos=1)
    await (await broker.client("a", username="u")).publish("t", b"", qos=1)
    assert seen == ["dev/a/%u/t", "dev/a/u/t"]


@config(zone={"mountpoint": "m/"})
async def test_mounted_qos0_and_retained_are_unmounted(broker: TestBroker) -> None:
    client = await broker.client("a")
    await client.publish("t", b"kept", qos=1, retain=True)
    await client.subscribe("+")
    assert await client.message() == ("t", b"kept")
    await client.publish("t", b"live")
    assert await client.message() == ("t", b"live")


# -- hooks that act during a delivery ----------------------------------------------------------------------------------


async def test_a_hook_moves_a_message(broker: TestBroker) -> None:
    def message_publish(message: Message) -> Message | None:
        if message.topic != "old":
            return None
        moved = message.copy()
        moved.topic = "new"
        return moved

    plug(broker, message_publish=message_publish)
    old = await broker.client("o", subscribe="old")
    new = await broker.client("n", subscribe="new")
    client = await broker.client("p")
    for qos in (0, 1, 2):
        assert await client.publish("old", b"x", qos=qos, retain=True) == 0
        assert await new.message() == ("new", b"x")
    assert await old.nothing()
    late = await broker.client("l")
    await late.subscribe("#")
    assert [packet.topic for packet in await messages(late, 1)] == ["new"]


async def test_a_hook_that_makes_an_impossible_topic_is_a_crash(broker: TestBroker) -> None:
    def message_publish(message: Message) -> Message:
        moved = message.copy()
        moved.topic = "a/#"
        return moved

    plug(broker, message_publish=message_publish)
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p")
    assert await client.publish("t", b"x", qos=1, retain=True) == 0
    assert await watcher.message() == ("t", b"x")
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_publishing_from_a_publish_hook(broker: TestBroker) -> None:
    def message_publish(message: Message) -> None:
        if message.topic == "in":
            broker.node.publish(Message("out", b"from " + message.payload))

    plug(broker, message_publish=message_publish)
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p")
    await client.publish("in", b"1", qos=1)
    assert [packet.topic for packet in await messages(watcher, 2)] == ["out", "in"]
    assert broker.node.broker.router.walking == 0


async def test_publishing_from_a_delivery_hook(broker: TestBroker) -> None:
    """A publish inside a delivery walks the same lists; every subscriber gets both messages once."""

    def message_delivered(client: object, message: Message) -> None:
        if message.topic == "t" and message.payload == b"first":
            message_copy.append(message)
            if len(message_copy) == 1:
                broker.node.publish(Message("t", b"second"))

    message_copy: list[Message] = []
    plug(broker, message_delivered=message_delivered)
    watchers = [await broker.client(f"w{n}", subscribe="t") for n in range(3)]
    client = await broker.client("p")
    await client.publish("t", b"first", qos=1)
    for watcher in watchers:
        assert {packet.payload for packet in await messages(watcher, 2)} == {b"first", b"second"}
    assert broker.node.broker.router.walking == 0


async def test_a_hook_that_publishes_to_itself_for_ever_is_stopped(broker: TestBroker) -> None:
    def message_publish(message: Message) -> None:
        broker.node.publish(Message("loop", b""))

    plug(broker, message_publish=message_publish)
    client = await broker.client("p")
    await client.publish("t", b"x", qos=1)
    await client.ping()
    assert broker.node.broker.metrics.hook_crashed > 0
    assert broker.node.broker.router.walking == 0


async def test_a_hook_unsubscribes_members_during_a_delivery(broker: TestBroker) -> None:
    """The list that is walked does not change under the walker: nobody is skipped or served twice."""
    names = [f"w{number}" for number in range(6)]
    watchers = [await broker.client(name, subscribe="t") for name in names]

    def message_delivered(client: object, message: Message) -> None:
        for name in names[:3]:
            broker.node.unsubscribe(name, "t")

    plug(broker, message_delivered=message_delivered)
    client = await broker.client("p")
    await client.publish("t", b"1", qos=1)
    for watcher in watchers[3:]:
        await messages(watcher, 1)
    broker.node.hooks.unregister("plugin")
    await client.publish("t", b"2", qos=1)
    for watcher in watchers[3:]:
        assert await watcher.message() == ("t", b"2")
    assert broker.node.stats()["subscriptions.count"] == 3
    assert broker.node.broker.router.walking == 0


async def test_a_hook_subscribes_during_a_delivery(broker: TestBroker) -> None:
    watchers = [await broker.client(f"w{number}") for number in range(2)]
    await watchers[0].subscribe("t")
    plug(broker, message_delivered=lambda client, message: broker.node.subscribe("w1", "t") and None)
    client = await broker.client("p")
    await client.publish("t", b"1", qos=1)
    await client.publish("t", b"2", qos=1)
    assert [packet.payload for packet in await messages(watchers[0], 2)] == [b"1", b"2"]
    assert b"2" in [packet.payload for packet in await messages(watchers[1], 1)]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_hook_kicks_the_receiver_during_its_delivery(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="t", qos=qos)
    other = await broker.client("o", subscribe="t")
    plug(broker, message_delivered=lambda client, message: client.clientid == "w" and broker.node.kick("w") and None)
    client = await broker.client("p")
    assert await client.publish("t", b"1", qos=1) == 0
    assert await other.message() == ("t", b"1")
    assert await last_words(watcher) == [Disconnect(0x98)]  # nothing comes instead of it or after it
    assert broker.node.find("w") is None


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_hook_kicks_the_publisher(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="t")
    plug(broker, message_publish=lambda message: broker.node.kick("p") and None)
    client = await broker.client("p")
    await _publish_raw(client, "t", qos=qos)
    assert await last_words(client) == [Disconnect(0x98)]
    assert await watcher.message() == ("t", b"")


async def test_nothing_follows_the_disconnect_of_a_client_that_broke_a_rule(broker: TestBroker) -> None:
    """Another client's message for it is routed before its last bytes are written."""
    watcher = await broker.client("w", subscribe="t")
    plug(broker, message_publish=lambda message: broker.node.find("w").channel.close(0x82, "protocol_error"))
    client = await broker.client("p")
    await client.publish("t", b"late", qos=1)
    assert await last_words(watcher) == [Disconnect(0x82)]


async def test_one_receiver_that_crashes_costs_the_others_nothing(broker: TestBroker) -> None:
    from trioemqx.core.callback import Callback

    def crash(message: Message, subscription: object) -> None:
        raise ZeroDivisionError

    core = broker.node.broker
    core.listen(Callback("bad", crash), "t", SubOpts(0))
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("p")
    assert await client.publish("t", b"x", qos=1) == 0
    assert await watcher.message() == ("t", b"x")
    assert core.metrics.connection_crashed == 1
    assert core.router.walking == 0


async def test_puback_comes_in_the_order_of_the_publishes(broker: TestBroker) -> None:
    client = await broker.client("p")
    for packet_id in range(1, 50):
        await _publish_raw(client, "t", qos=1, packet_id=packet_id)
    answers = [await client.receive() for _ in range(1, 50)]
    assert [(answer.kind, answer.packet_id) for answer in answers] == [(PUBACK, n) for n in range(1, 50)]
