"""Shared subscriptions: one member of each group gets a message (broker behaviour 8)."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from pubsub_helpers import BOTH, config, messages

from trioemqx.codec.packets import PUBACK, PUBREC, Ack
from trioemqx.testing import Client, TestBroker, running
from trioemqx.types import Message, SubOpts


async def _members(broker: TestBroker, count: int, name: str = "$share/g/t", qos: int = 1) -> list[Client]:
    return [await broker.client(f"m{number}", subscribe=name, qos=qos) for number in range(count)]


async def _received(clients: list[Client]) -> list[list[bytes]]:
    """What each client has got so far; a PINGRESP comes after all of it."""
    for client in clients:
        await client.ping()
    found = [[packet.payload for packet in client.inbox] for client in clients]
    for client in clients:
        client.inbox.clear()
    return found


# -- groups ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("prefix", ["$share/g/", "$queue/"])
async def test_one_member_gets_each_message(broker: TestBroker, version: int, qos: int, prefix: str) -> None:
    members = [await broker.client(f"m{n}", version=version, subscribe=f"{prefix}t/+", qos=2) for n in range(3)]
    publisher = await broker.client("p", version=version)
    for number in range(30):
        assert await publisher.publish("t/x", b"%d" % number, qos=qos) == 0
    await trio.sleep(0.1)
    got = await _received(members)
    assert sorted(payload for part in got for payload in part) == sorted(b"%d" % number for number in range(30))
    assert all(part == sorted(part, key=int) for part in got)  # each member in order


async def test_each_group_and_each_plain_subscriber_gets_a_copy(broker: TestBroker) -> None:
    names = ["$share/g/t", "$share/h/t", "$queue/t", "$share/g/#", "t"]
    clients = [await broker.client(f"m{n}", subscribe=name) for n, name in enumerate(names)]
    await (await broker.client("p")).publish("t", b"x", qos=1)
    for client in clients:
        assert await client.message() == ("t", b"x")
        assert await client.nothing()


async def test_members_may_have_different_options(broker: TestBroker) -> None:
    low = await broker.client("low", subscribe="$share/g/t", qos=0)
    high = await broker.client("high")
    await high.subscribe("$share/g/t", opts=SubOpts(2, rap=True), identifier=9)
    publisher = await broker.client("p")
    for _ in range(20):
        await publisher.publish("t", b"x", qos=2, retain=True)
    await low.ping()
    await high.ping()
    assert {(packet.qos, packet.retain, packet.properties) for packet in low.inbox} == {(0, False, None)}
    assert {(packet.qos, packet.retain) for packet in high.inbox} == {(2, True)}
    assert all(packet.properties.subscription_identifier == [9] for packet in high.inbox)


async def test_nobody_is_left(broker: TestBroker) -> None:
    member = await broker.client("m", subscribe="$share/g/t")
    publisher = await broker.client("p")
    assert await publisher.publish("t", b"x", qos=1) == 0
    await member.unsubscribe("$share/g/t")
    assert await publisher.publish("t", b"x", qos=1) == 0x10


@BOTH
async def test_a_member_may_get_its_own_message(broker: TestBroker, version: int) -> None:
    client = await broker.client("m", version=version, subscribe="$share/g/t")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x")


async def test_retained_messages_are_never_sent(broker: TestBroker) -> None:
    publisher = await broker.client("p")
    await publisher.publish("t", b"kept", qos=1, retain=True)
    client = await broker.client("m")
    for name in ("$share/g/t", "$queue/t", "$share/g/#"):
        await client.subscribe(name, opts=SubOpts(1, rh=0))
    assert await client.nothing()


# -- strategies --------------------------------------------------------------------------------------------------------


def strategy(name: str) -> pytest.MarkDecorator:
    return config(broker={"shared_subscription_strategy": name})


@strategy("round_robin")
async def test_round_robin_is_per_publisher(broker: TestBroker) -> None:
    members = await _members(broker, 3)
    one = await broker.client("p1")
    two = await broker.client("p2")
    for number in range(9):
        await one.publish("t", b"1-%d" % number, qos=1)
        await two.publish("t", b"2-%d" % number, qos=1)
    await trio.sleep(0.1)
    for got in await _received(members):
        assert Counter(payload[:1] for payload in got) == {b"1": 3, b"2": 3}
        numbers = [int(payload[2:]) for payload in got if payload.startswith(b"1")]
        assert numbers == [numbers[0], numbers[0] + 3, numbers[0] + 6]


@strategy("round_robin")
async def test_round_robin_is_per_group_and_filter(broker: TestBroker) -> None:
    members = await _members(broker, 2)
    for member in members:
        await member.subscribe("$share/h/t", qos=1)
    publisher = await broker.client("p")
    for number in range(4):
        await publisher.publish("t", b"%d" % number, qos=1)
    await trio.sleep(0.1)
    assert [len(got) for got in await _received(members)] == [4, 4]


@strategy("random")
async def test_random_reaches_everybody(broker: TestBroker) -> None:
    members = await _members(broker, 3)
    publisher = await broker.client("p")
    for _ in range(90):
        await publisher.publish("t", b"x", qos=1)
    await trio.sleep(0.1)
    counts = [len(got) for got in await _received(members)]
    assert sum(counts) == 90
    assert min(counts) > 5


@strategy("sticky")
async def test_sticky_keeps_its_member_while_it_is_there(broker: TestBroker) -> None:
    members = await _members(broker, 4)
    publisher = await broker.client("p")
    for _ in range(10):
        await publisher.publish("t", b"x", qos=1)
    await trio.sleep(0.1)
    counts = [len(got) for got in await _received(members)]
    assert sorted(counts) == [0, 0, 0, 10]
    chosen = counts.index(10)
    await members.pop(chosen).disconnect()
    await publisher.ping()
    for _ in range(10):
        await publisher.publish("t", b"y", qos=1)
    await trio.sleep(0.1)
    assert sorted(len(got) for got in await _received(members)) == [0, 0, 10]


@strategy("sticky")
async def test_sticky_is_per_publisher(broker: TestBroker) -> None:
    members = await _members(broker, 5)
    for number in range(40):
        await (await broker.client(f"p{number}")).publish("t", b"x", qos=1)
    await trio.sleep(0.1)
    assert sum(1 for got in await _received(members) if got) > 1


@strategy("local")
async def test_local_chooses_among_the_members_of_this_node(broker: TestBroker) -> None:
    members = await _members(broker, 2)
    publisher = await broker.client("p")
    for _ in range(40):
        await publisher.publish("t", b"x", qos=1)
    await trio.sleep(0.1)
    assert all(len(got) > 2 for got in await _received(members))


@pytest.mark.parametrize("name", ["hash", "hash_clientid"])
async def test_hash_of_the_publisher(name: str, autojump_clock: object) -> None:
    async with running({"broker": {"shared_subscription_strategy": name}}) as broker:
        members = await _members(broker, 4)
        for member in members:
            await member.subscribe("$share/g/u", qos=1)
        hit: dict[str, set[int]] = {}
        for number in range(16):
            publisher = await broker.client(f"p{number}")
            for topic in ("t", "u"):
                await publisher.publish(topic, b"%d" % number, qos=1)
        await trio.sleep(0.1)
        for index, got in enumerate(await _received(members)):
            for payload in got:
                hit.setdefault(payload.decode(), set()).add(index)
        assert all(len(indices) == 1 for indices in hit.values()), "the same publisher, the same member"
        assert len(set.union(*hit.values())) > 1, "different publishers, different members"


@strategy("hash_topic")
async def test_hash_of_the_topic(broker: TestBroker) -> None:
    members = await _members(broker, 4, "$share/g/t/#")
    for number in range(3):
        publisher = await broker.client(f"p{number}")
        for topic in range(16):
            await publisher.publish(f"t/{topic}", b"%d" % topic, qos=1)
    await trio.sleep(0.1)
    hit: dict[bytes, set[int]] = {}
    for index, got in enumerate(await _received(members)):
        for payload in got:
            hit.setdefault(payload, set()).add(index)
    assert len(hit) == 16
    assert all(len(indices) == 1 for indices in hit.values())
    assert len(set.union(*hit.values())) > 1


@config(
    broker={
        "shared_subscription_strategy": "random",
        "group": {"sticky": {"shared_subscription_strategy": "sticky"}},
    }
)
async def test_a_group_has_its_own_strategy(broker: TestBroker) -> None:
    members = await _members(broker, 3, "$share/sticky/t")
    others = [await broker.client(f"o{n}", subscribe="$share/other/t") for n in range(3)]
    publisher = await broker.client("p")
    for _ in range(60):
        await publisher.publish("t", b"x", qos=1)
    await trio.sleep(0.1)
    assert sorted(len(got) for got in await _received(members)) == [0, 0, 60]
    assert min(len(got) for got in await _received(others)) > 0


async def test_the_facade_goes_round_too(broker: TestBroker) -> None:
    members = await _members(broker, 2)
    for _ in range(10):
        assert broker.node.publish(Message("t", b"x", 1)) == 1
    await trio.sleep(0.1)
    assert [len(got) for got in await _received(members)] == [5, 5]


# -- members that are away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broker_config",
    [{"broker": {"shared_subscription_strategy": name}} for name in ("random", "round_robin", "sticky", "hash_topic")],
    ids=["random", "round_robin", "sticky", "hash_topic"],
)
async def test_connected_members_are_preferred(broker: TestBroker) -> None:
    away = await broker.client("away", subscribe="$share/g/t", qos=1, expiry=100)
    here = await broker.client("here", subscribe="$share/g/t", qos=1)
    await away.disconnect()
    publisher = await broker.client("p")
    for _ in range(10):
        await publisher.publish("t", b"x", qos=1)
    await messages(here, 10)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_with_nobody_else_an_absent_member_gets_it(broker: TestBroker, qos: int) -> None:
    away = await broker.client("away", subscribe="$share/g/t", qos=2, expiry=100)
    await away.disconnect()
    publisher = await broker.client("p")
    assert await publisher.publish("t", b"x", qos=qos) == 0
    back = await broker.client("away", clean_start=False, expiry=100)
    assert [packet.payload for packet in await messages(back, 1)] == [b"x"]


# -- shared_dispatch_ack -----------------------------------------------------------------------------------------------


DISPATCH_ACK = config(
    broker={"shared_dispatch_ack_enabled": True, "shared_subscription_strategy": "sticky"}, zone={"max_inflight": 1}
)
FIRE_AND_FORGET = config(
    broker={"shared_dispatch_ack_enabled": False, "shared_subscription_strategy": "sticky"}, zone={"max_inflight": 1}
)


async def _slow_members(broker: TestBroker) -> list[Client]:
    members = await _members(broker, 2)
    for member in members:
        member.auto_ack = False
    return members


@DISPATCH_ACK
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_full_member_passes_the_message_on(broker: TestBroker, qos: int) -> None:
    members = await _slow_members(broker)
    publisher = await broker.client("p")
    for number in range(2):
        await publisher.publish("t", b"%d" % number, qos=qos)
    await trio.sleep(0.1)
    assert sorted(await _received(members)) == [[b"0"], [b"1"]]


@FIRE_AND_FORGET
async def test_without_it_a_full_member_queues(broker: TestBroker) -> None:
    members = await _slow_members(broker)
    publisher = await broker.client("p")
    for number in range(2):
        await publisher.publish("t", b"%d" % number, qos=1)
    await trio.sleep(0.1)
    assert sorted(await _received(members)) == [[], [b"0"]]


@DISPATCH_ACK
async def test_when_all_refuse_one_must_take_it(broker: TestBroker) -> None:
    members = await _slow_members(broker)
    publisher = await broker.client("p")
    for number in range(3):
        assert await publisher.publish("t", b"%d" % number, qos=1) == 0
    await trio.sleep(0.1)
    for member in members:
        await member.ping()
        await member.send(Ack(PUBACK, member.inbox[0].packet_id))
    await trio.sleep(0.1)
    assert sorted(len(got) for got in await _received(members)) == [1, 2]


@DISPATCH_ACK
async def test_qos0_is_never_acknowledged(broker: TestBroker) -> None:
    members = await _slow_members(broker)
    publisher = await broker.client("p")
    for _ in range(4):
        await publisher.publish("t", b"x", qos=0)
    await trio.sleep(0.1)
    assert sorted(len(got) for got in await _received(members)) == [0, 4]


@DISPATCH_ACK
async def test_an_absent_member_refuses(broker: TestBroker) -> None:
    away = await broker.client("away", subscribe="$share/g/t", qos=1, expiry=100)
    await away.disconnect()
    (here,) = await _members(broker, 1)
    here.auto_ack = False
    publisher = await broker.client("p")
    await publisher.publish("t", b"1", qos=1)
    assert await here.message() == ("t", b"1")
    await publisher.publish("t", b"2", qos=1)  # both refuse; the one that is here is picked
    back = await broker.client("away", clean_start=False, expiry=100)
    assert await back.nothing()


# -- a session ends ----------------------------------------------------------------------------------------------------


async def _stuck(broker: TestBroker, expiry: int | None = None) -> Client:
    """The only member, with one QoS 1 and one QoS 2 message in flight and two in its queue."""
    client = await broker.client("stuck", subscribe="$share/g/t", qos=2, expiry=expiry)
    client.auto_ack = False
    publisher = await broker.client("p")
    for number, qos in enumerate((1, 2, 1, 2)):
        await publisher.publish("t", b"%d" % number, qos=qos)
    assert [packet.payload for packet in await messages(client, 2)] == [b"0", b"1"]
    return client


@config(zone={"max_inflight": 2})
@pytest.mark.parametrize("how", ["disconnect", "close", "discard", "expire"])
async def test_unfinished_messages_go_to_other_members(broker: TestBroker, how: str) -> None:
    client = await _stuck(broker, 10 if how == "expire" else None)
    other = await broker.client("other", subscribe="$share/g/t", qos=2)
    if how == "discard":
        await broker.client("stuck")
    elif how == "disconnect":
        await client.disconnect()
    else:
        await client.close()
    if how == "expire":
        assert await other.nothing(5)
        await trio.sleep(7)
    await trio.sleep(0.1)
    # QoS 1 in flight and everything queued; QoS 2 in flight is not given to anybody else
    assert [packet.payload for packet in await messages(other, 3)] == [b"0", b"2", b"3"]


@config(zone={"max_inflight": 2})
async def test_not_those_the_client_has_acknowledged(broker: TestBroker) -> None:
    client = await _stuck(broker)
    other = await broker.client("other", subscribe="$share/g/t", qos=2)
    await client.send(Ack(PUBACK, 1))
    await client.send(Ack(PUBREC, 2))
    await client.ping()
    assert [packet.payload for packet in client.inbox] == [b"2"]
    await client.close()
    assert [packet.payload for packet in await messages(other, 2)] == [b"2", b"3"]


@config(zone={"max_inflight": 2})
async def test_not_after_a_kick(broker: TestBroker) -> None:
    await _stuck(broker)
    other = await broker.client("other", subscribe="$share/g/t", qos=2)
    broker.node.kick("stuck")
    assert await other.nothing()


@config(zone={"max_inflight": 2})
async def test_not_at_a_takeover(broker: TestBroker) -> None:
    await _stuck(broker, 100)
    other = await broker.client("other", subscribe="$share/g/t", qos=2)
    again = await broker.client("stuck", clean_start=False, expiry=100)
    assert [packet.payload for packet in await messages(again, 4)] == [b"0", b"1", b"2", b"3"]
    assert await other.nothing()


@config(zone={"max_inflight": 2})
async def test_with_no_other_member_they_are_gone(broker: TestBroker) -> None:
    client = await _stuck(broker)
    await client.close()
    late = await broker.client("late", subscribe="$share/g/t", qos=2)
    assert await late.nothing()


async def test_a_takeover_keeps_the_membership(broker: TestBroker) -> None:
    await broker.client("m", subscribe="$share/g/t", qos=1, expiry=100)
    again = await broker.client("m", clean_start=False, expiry=100)
    await (await broker.client("p")).publish("t", b"x", qos=1)
    assert await again.message() == ("t", b"x")
    assert broker.node.stats()["subscriptions.shared.count"] == 1
