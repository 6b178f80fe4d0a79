"""Rates, quotas and caps, per client and per zone (broker behaviour 2.4 and 3)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import config, messages, props

from trioemqx.codec.encode import encode
from trioemqx.testing import Client, TestBroker, make_publish, running
from trioemqx.types import Message


def _frames(count: int, payload: bytes = b"x") -> bytes:
    return b"".join(encode(make_publish("t", payload, 0, False, False, 0, None), 5) for _ in range(count))


async def _count(client: Client) -> int:
    """How many messages have come so far."""
    await client.ping()
    count = len(client.inbox)
    client.inbox.clear()
    return count


# -- rate limits: reading pauses, nothing is dropped -------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone",
    [{"rate_limit": {"conn_messages_in": "10,1s"}}, {"publish_limit": "10,1s"}],
    ids=["conn_messages_in", "publish_limit"],
)
async def test_messages_in(zone: dict[str, object], autojump_clock: object) -> None:
    async with running({"zone": {"default": zone}}) as broker:
        watcher = await broker.client("w", subscribe="t")
        client = await broker.client("c")
        await client.send_raw(_frames(50))
        await trio.sleep(0.05)
        assert 10 <= await _count(watcher) <= 12
        await trio.sleep(2)
        assert 18 <= await _count(watcher) <= 22
        await trio.sleep(10)
        assert 18 <= await _count(watcher) <= 22  # and all of the rest: none was dropped
        await client.ping()
        assert broker.node.metrics["messages.received"] == 50


@config(zone={"rate_limit": {"conn_bytes_in": "10KB,1s"}})
async def test_bytes_in(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c")
    await client.send_raw(_frames(60, b"x" * 1000))
    await trio.sleep(0.05)
    first = await _count(watcher)
    assert first <= 20
    await trio.sleep(20)
    assert first + await _count(watcher) == 60


@config(zone={"rate_limit": {"conn_messages_in": "1,10s"}})
async def test_a_paused_client_stays_connected(broker: TestBroker) -> None:
    """Its keep-alive does not run out while it is us who do not read."""
    client = await broker.client("c", keepalive=2)
    await client.send_raw(_frames(4))
    for _ in range(31):
        await trio.sleep(1)
        if trio.current_time() < 30:
            assert broker.node.find("c") is not None
    await client.send_raw(b"\xc0\x00")
    assert broker.node.metrics["messages.received"] == 4
    await trio.sleep(10)
    assert broker.node.find("c") is None  # and it runs again afterwards


@config(zone={"rate_limit": {"conn_messages_in": "1,10s"}})
async def test_a_paused_client_still_receives_and_can_be_kicked(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="u")
    await client.send_raw(_frames(3))
    await trio.sleep(0.1)
    await (await broker.client("p")).publish("u", b"x", qos=1)
    assert await client.message() == ("u", b"x")
    assert broker.node.kick("c")
    assert await client.closed() == 0x98


@config(zone={"rate_limit": {"conn_messages_in": "1,10s"}})
async def test_the_limit_is_each_clients_own(broker: TestBroker) -> None:
    one = await broker.client("one")
    other = await broker.client("other")
    await one.send_raw(_frames(3))
    assert await other.publish("t", b"x", qos=1) == 0x10


@config(zone={"rate_limit": {"conn_messages_in": "1,1s"}})
async def test_only_publishes_count(broker: TestBroker) -> None:
    client = await broker.client("c")
    start = trio.current_time()
    for _ in range(50):
        await client.ping()
    await client.subscribe("a")
    assert trio.current_time() - start < 0.5


# -- quotas: PUBLISH is refused ----------------------------------------------------------------------------------------


@config(zone={"quota": {"conn_messages_routing": "3,10s"}})
async def test_a_publish_costs_one_plus_its_receivers(broker: TestBroker) -> None:
    await broker.client("w", subscribe="t")
    client = await broker.client("c")
    assert await client.publish("t", b"1", qos=1) == 0  # 2 of 3
    assert await client.publish("t", b"2", qos=1) == 0  # exhausts it, and goes through itself
    assert await client.publish("t", b"3", qos=1) == 0x97
    assert await client.publish("t", b"4", qos=2) == 0x97
    await trio.sleep(11)
    assert await client.publish("t", b"5", qos=1) == 0


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
@pytest.mark.parametrize("version", [4, 5])
async def test_beyond_the_quota(broker: TestBroker, version: int) -> None:
    """QoS 1 and 2 are answered 0x97 (v3: without a code), QoS 0 is dropped and counted."""
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c", version=version)
    assert await client.publish("t", b"1", qos=1) == 0
    code = 0x97 if version == 5 else 0
    assert await client.publish("t", b"2", qos=1) == code
    assert await client.publish("t", b"3", qos=2) == code
    await client.publish("t", b"4", qos=0)
    await client.ping()
    assert [packet.payload for packet in await messages(watcher, 1)] == [b"1"]
    assert broker.node.metrics["packets.publish.dropped"] == 1
    assert broker.node.metrics["packets.publish.error"] == 2
    assert broker.node.metrics["packets.publish.auth_error"] == 0


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
async def test_the_conn_quota_is_each_clients_own(broker: TestBroker) -> None:
    one = await broker.client("one")
    for _ in range(3):
        code = await one.publish("t", b"", qos=1)
    assert code == 0x97
    other = await broker.client("other")
    assert await other.publish("t", b"", qos=1) == 0x10
    again = await broker.client("one")
    assert await again.publish("t", b"", qos=1) == 0x10


@config(zone={"quota": {"overall_messages_routing": "4,60s"}})
async def test_the_overall_quota_is_shared_by_the_zone(broker: TestBroker) -> None:
    clients = [await broker.client(f"c{number}") for number in range(8)]
    for client in clients:
        assert await client.publish("t", b"", qos=1) == 0x10  # the one that exhausts it goes through for each
    assert [await client.publish("t", b"", qos=1) for client in clients[4:]] == [0x97] * 4


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
async def test_a_bad_packet_is_an_error_beyond_the_quota_too(broker: TestBroker) -> None:
    client = await broker.client("c")
    for _ in range(3):
        await client.publish("t", b"", qos=1)
    await client.send(make_publish("t", b"", 1, False, False, 9, props(response_topic="#")))
    assert await client.closed() == 0x82


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
async def test_a_refused_qos2_is_not_remembered(broker: TestBroker) -> None:
    client = await broker.client("c")
    for _ in range(3):
        await client.publish("t", b"", qos=1)
    assert await client.publish("t", b"", qos=2) == 0x97
    assert broker.node.find("c").awaiting_rel == {}


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
async def test_other_packets_go_on(broker: TestBroker) -> None:
    client = await broker.client("c")
    for _ in range(3):
        await client.publish("t", b"", qos=1)
    await client.ping()
    assert await client.subscribe("t") == [0]
    assert broker.node.publish(Message("t", b"from the broker")) == 1
    assert await client.message() == ("t", b"from the broker")


# -- zones are apart ---------------------------------------------------------------------------------------------------

ZONES = pytest.mark.parametrize(
    "broker_config",
    [
        {
            "zone": {
                "strict": {
                    "enable_acl": False,
                    "max_qos_allowed": 0,
                    "max_topic_levels": 1,
                    "max_subscriptions": 1,
                    "wildcard_subscription": False,
                    "shared_subscription": False,
                    "retain_available": False,
                    "max_topic_alias": 0,
                    "max_packet_size": 1000,
                    "max_inflight": 1,
                },
                "free": {"exclusive_subscription": True, "enable_acl": False},
            }
        }
    ],
    ids=[""],
)


@ZONES
async def test_each_zone_has_its_own_caps(broker: TestBroker) -> None:
    strict = await broker.client("s", zone="strict")
    free = await broker.client("f", zone="free")
    names = ["#", "$share/g/t", "$exclusive/t", "a/b", "t", "u"]
    assert await strict.subscribe(*names) == [0xA2, 0x9E, 0x8F, 0x8F, 0, 0x97]
    assert await free.subscribe(*names) == [0, 0, 0, 0, 0, 0]
    announced = strict.connack.properties
    assert (announced.maximum_qos, announced.retain_available, announced.wildcard_subscription_available) == (0, 0, 0)
    assert (announced.shared_subscription_available, announced.maximum_packet_size) == (0, 1000)
    assert not announced.topic_alias_maximum
    announced = free.connack.properties
    assert (announced.maximum_qos, announced.retain_available, announced.wildcard_subscription_available) == (
        None,
        1,
        1,
    )


@ZONES
async def test_they_meet_in_one_broker(broker: TestBroker) -> None:
    strict = await broker.client("s", zone="strict", subscribe="t")
    free = await broker.client("f", zone="free", subscribe="t")
    await free.publish("t", b"x", qos=2)
    for client in (strict, free):
        assert await client.message() == ("t", b"x")


@ZONES
async def test_the_window_of_each_zone(broker: TestBroker) -> None:
    for zone, expected in (("strict", 1), ("free", 3)):
        client = await broker.client(zone, zone=zone, subscribe="t", qos=1)
        client.auto_ack = False
        publisher = await broker.client("p", zone="free")
        for number in range(3):
            await publisher.publish("t", b"%d" % number, qos=1)
        assert await _count(client) == expected
        await client.unsubscribe("t")
