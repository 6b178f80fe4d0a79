"""Topic aliases, both ways (broker behaviour 6.6; MQTT5 3.3.2.3.4)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import config, messages, plug, props

from trioemqx.codec.packets import PUBACK
from trioemqx.core.callback import Callback
from trioemqx.testing import Client, Closed, TestBroker, make_publish
from trioemqx.types import Message, Properties, SubOpts


async def _send(client: Client, topic: str, alias: int, payload: bytes = b"", qos: int = 0, packet_id: int = 0) -> None:
    await client.send(make_publish(topic, payload, qos, False, False, packet_id, props(topic_alias=alias)))


def _aliases(packets: list[object]) -> list[tuple[str, int | None]]:
    return [(packet.topic, packet.properties.topic_alias if packet.properties else None) for packet in packets]


# -- from the client ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_an_alias_stands_for_its_topic(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="#", qos=2)
    client = await broker.client("p")
    await _send(client, "long/topic", 1, b"1", qos, 11 if qos else 0)
    await _send(client, "", 1, b"2", qos, 12 if qos else 0)
    await client.ping()
    found = await messages(watcher, 2)
    assert [(packet.topic, packet.payload) for packet in found] == [("long/topic", b"1"), ("long/topic", b"2")]
    assert all(packet.properties is None for packet in found)  # it is between the publisher and us


async def test_an_alias_can_be_set_anew(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p")
    for topic in ("a", "", "b", "", ""):
        await _send(client, topic, 1)
    assert [packet.topic for packet in await messages(watcher, 5)] == ["a", "a", "b", "b", "b"]


async def test_aliases_are_independent(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p")
    for topic, alias in (("a", 1), ("b", 65535), ("", 1), ("", 65535)):
        await _send(client, topic, alias)
    assert [packet.topic for packet in await messages(watcher, 4)] == ["a", "b", "a", "b"]


async def test_another_clients_alias_is_unknown(broker: TestBroker) -> None:
    one = await broker.client("a")
    await _send(one, "t", 1)
    await one.ping()
    other = await broker.client("b")
    await _send(other, "", 1)
    assert await other.closed() == 0x82


async def test_aliases_die_with_the_connection(broker: TestBroker) -> None:
    client = await broker.client("p", expiry=100)
    await _send(client, "t", 1)
    await client.disconnect()
    client = await broker.client("p", clean_start=False, expiry=100)
    await _send(client, "", 1)
    assert await client.closed() == 0x82


@config(zone={"max_topic_alias": 5})
async def test_the_maximum_is_announced_and_enforced(broker: TestBroker) -> None:
    client = await broker.client("p")
    assert client.connack.properties.topic_alias_maximum == 5
    await _send(client, "t", 5)
    await client.ping()
    await _send(client, "t", 6)
    assert await client.closed() == 0x94


@config(zone={"max_topic_alias": 0})
async def test_no_aliases_at_all(broker: TestBroker) -> None:
    client = await broker.client("p")
    assert not client.connack.properties.topic_alias_maximum
    await _send(client, "t", 1)
    assert await client.closed() == 0x94


@pytest.mark.parametrize("topic", ["t", ""])
async def test_alias_0(broker: TestBroker, topic: str) -> None:
    client = await broker.client("p")
    await _send(client, topic, 0)
    assert await client.closed() == 0x94


@config(zone={"mountpoint": "m/%c/"})
async def test_aliases_and_a_mountpoint(broker: TestBroker) -> None:
    seen: list[str] = []
    client = await broker.client("p", properties=props(topic_alias_maximum=5), subscribe="t")
    broker.node.broker.listen(Callback("x", lambda message, _: seen.append(message.topic)), "#", SubOpts())
    await _send(client, "t", 1)
    await _send(client, "", 1)
    assert _aliases(await messages(client, 2)) == [("t", 1), ("", 1)]
    assert seen == ["m/p/t", "m/p/t"]


@config(zone={"enable_acl": True})
async def test_a_refused_publish_still_sets_its_alias(broker: TestBroker) -> None:
    async def client_check_acl(action: str, topic: str) -> bool:
        return topic != "no"

    plug(broker, client_check_acl=client_check_acl)
    client = await broker.client("p")
    for topic in ("no", ""):
        await _send(client, topic, 1, b"", 1, 3)
        assert (await client.ack(PUBACK, 3)).code == 0x87


@config(zone={"quota": {"conn_messages_routing": "1,60s"}})
async def test_a_publish_beyond_the_quota_still_sets_its_alias(broker: TestBroker) -> None:
    client = await broker.client("p")
    while await client.publish("x", b"", qos=1) != 0x97:
        pass
    await _send(client, "t", 1, b"", 1, 3)
    assert (await client.ack(PUBACK, 3)).code == 0x97
    await trio.sleep(200)
    await _send(client, "", 1, b"", 1, 3)
    assert (await client.ack(PUBACK, 3)).code == 0x10


# -- to the client -----------------------------------------------------------------------------------------------------


async def _receiver(broker: TestBroker, maximum: int | None, **extra: object) -> Client:
    properties = Properties() if maximum is None else props(topic_alias_maximum=maximum)
    return await broker.client("w", properties=properties, subscribe="#", qos=2, **extra)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_aliases_are_given_out_in_order_of_first_use(broker: TestBroker, qos: int) -> None:
    watcher = await _receiver(broker, 2)
    for topic in ("a", "b", "a", "c", "b", "c", "a"):
        broker.node.publish(Message(topic, b"x", qos))
    expected = [("a", 1), ("b", 2), ("", 1), ("c", None), ("", 2), ("c", None), ("", 1)]
    assert _aliases(await messages(watcher, 7)) == expected


@pytest.mark.parametrize("maximum", [None, 0])
async def test_none_unless_the_client_wants_them(broker: TestBroker, maximum: int | None) -> None:
    watcher = await _receiver(broker, maximum)
    for _ in range(2):
        broker.node.publish(Message("a", b"x"))
    assert _aliases(await messages(watcher, 2)) == [("a", None)] * 2


async def test_v3_clients_get_none(broker: TestBroker) -> None:
    watcher = await broker.client("w", version=4, subscribe="#")
    client = await broker.client("p")
    await _send(client, "a", 1)
    await _send(client, "", 1)
    assert [packet.topic for packet in await messages(watcher, 2)] == ["a", "a"]


async def test_outgoing_aliases_die_with_the_connection_too(broker: TestBroker) -> None:
    watcher = await _receiver(broker, 5, expiry=100)
    broker.node.publish(Message("a", b"1", 1))
    await messages(watcher, 1)
    await watcher.disconnect()
    broker.node.publish(Message("a", b"2", 1))
    watcher = await broker.client(
        "w", clean_start=False, properties=props(topic_alias_maximum=5, session_expiry_interval=100)
    )
    broker.node.publish(Message("a", b"3", 1))
    assert _aliases(await messages(watcher, 2)) == [("a", 1), ("", 1)]


async def test_a_repeated_message_can_be_understood(broker: TestBroker) -> None:
    watcher = await _receiver(broker, 5, expiry=100)
    watcher.auto_ack = False
    for _ in range(2):
        broker.node.publish(Message("a", b"x", 1))
    assert _aliases(await messages(watcher, 2)) == [("a", 1), ("", 1)]
    watcher = await broker.client(
        "w", clean_start=False, properties=props(topic_alias_maximum=5, session_expiry_interval=100)
    )
    found = await messages(watcher, 2)
    assert _aliases(found) == [("a", 1), ("", 1)]
    assert all(packet.dup for packet in found)


async def test_an_alias_that_was_never_sent_is_not_used(broker: TestBroker) -> None:
    """The packet that would have introduced it was too large for the client."""
    watcher = await broker.client("w", properties=props(topic_alias_maximum=5, maximum_packet_size=60), subscribe="#")
    broker.node.publish(Message("topic", b"x" * 100))
    broker.node.publish(Message("topic", b"x"))
    broker.node.publish(Message("topic", b"x"))
    assert _aliases(await messages(watcher, 2)) == [("topic", 1), ("", 1)]


async def test_other_properties_stay(broker: TestBroker) -> None:
    watcher = await broker.client("w", properties=props(topic_alias_maximum=5))
    other = await broker.client("o", subscribe="#")
    await watcher.subscribe("#", identifier=3)
    for _ in range(2):
        await other.publish("t", b"x", qos=0, properties=props(content_type="c"))
    found = await messages(watcher, 2)
    expected = [props(content_type="c", subscription_identifier=[3], topic_alias=1)] * 2
    assert [packet.properties for packet in found] == expected
    assert [packet.properties for packet in await messages(other, 2)] == [props(content_type="c")] * 2


async def test_an_empty_topic_without_a_known_alias_costs_only_the_sender(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("p")
    await _send(client, "", 9)
    assert await client.closed() == 0x82
    with pytest.raises(Closed):
        await client.ping()
    assert await watcher.nothing()
