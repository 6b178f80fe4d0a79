"""Clauses of the standard that the broker once broke; each test failed before its fix."""

from __future__ import annotations

import pytest
import trio

from trioemqx.codec.control import Connect, Disconnect
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import make_publish
from trioemqx.testing import Closed, TestBroker
from trioemqx.types import Properties

BYE = make_publish("last/words", b"bye")


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_will_of_a_protocol_error_does_not_wait_for_the_peer_to_close(broker: TestBroker, version: int) -> None:
    """[MQTT-3.1.2-8] The broker has ended the connection; that the client keeps its side open changes nothing."""
    watcher = await broker.client("watcher", subscribe="last/words")
    client = await broker.client("wrong", version=version, will=BYE)
    began = trio.current_time()
    await client.send_raw(b"\xc1\x00")
    assert await watcher.message() == ("last/words", b"bye")
    assert trio.current_time() - began < 0.1


async def test_will_kept_by_disconnect_is_sent_at_once(broker: TestBroker) -> None:
    """[MQTT5 3.14.2.1] 0x04: disconnect with will message."""
    watcher = await broker.client("watcher", subscribe="last/words")
    client = await broker.client("leaver", will=BYE)
    began = trio.current_time()
    await client.send(Disconnect(0x04))
    assert await watcher.message() == ("last/words", b"bye")
    assert trio.current_time() - began < 0.1


async def test_session_of_a_closing_connection_is_resumed_as_a_waiting_one(broker: TestBroker) -> None:
    client = await broker.client("me", expiry=60, subscribe="a", qos=1)
    await client.send_raw(b"\xc1\x00")
    await trio.sleep(0.01)
    assert broker.node.broker.registry.connected == 0
    again = await broker.client("me", clean_start=False, expiry=60)
    assert again.connack is not None
    assert again.connack.session_present
    assert broker.node.metrics["session.takeovered"] == 0


@pytest.mark.parametrize("limit", [1, 4, 12, 16, 20, 24, 40])
async def test_connack_is_never_larger_than_the_client_takes(broker: TestBroker, limit: int) -> None:
    """[MQTT-3.1.2-24]"""
    properties = Properties()
    properties.maximum_packet_size = limit
    client = await broker.raw()
    await client.send(Connect("MQTT", 5, clean_start=True, clientid="small", properties=properties))
    try:
        answer = await client.receive()
    except Closed:
        assert limit < 20
        return
    assert len(encode(answer, 5)) <= limit
    await client.ping()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x30\xff", b"\x11", b"\x82"])
async def test_first_byte_that_is_no_connect_ends_the_connection_at_once(broker: TestBroker, first: bytes) -> None:
    """[MQTT-3.1.0-1] The rest of such a packet may never come."""
    client = await broker.raw()
    began = trio.current_time()
    await client.send_raw(first)
    assert await client.closed() is None
    assert trio.current_time() - began < 0.1


async def test_packet_type_0_is_malformed(broker: TestBroker) -> None:
    """[MQTT5 2.1.2] Reserved, forbidden."""
    client = await broker.client("c")
    await client.send_raw(b"\x00\x00")
    assert await client.closed() == 0x81


# -- what a client can make the broker remember ----------------------------------------------------------------------


def alias(number: int) -> Properties:
    properties = Properties()
    properties.topic_alias = number
    return properties


async def test_long_topics_under_aliases_are_bounded_together(broker: TestBroker) -> None:
    """65535 aliases of 4 KB would be 268 MB for one connection."""
    client = await broker.client("c")
    for number in range(1, 250):
        await client.send(make_publish(f"{number}/{'t' * 4000}", b"", properties=alias(number)))
    await client.ping()
    for number in range(250, 280):
        await client.send(make_publish(f"{number}/{'t' * 4000}", b"", properties=alias(number)))
    assert await client.closed() == 0x97


async def test_an_alias_may_be_set_again_as_often_as_one_likes(broker: TestBroker) -> None:
    """[MQTT5 3.3.2.3.4] The room is for what is remembered, not for what was sent."""
    client = await broker.client("c")
    for number in range(600):
        await client.send(make_publish(f"{number}/{'t' * 4000}", b"", properties=alias(1)))
    await client.ping()


async def test_aliases_towards_a_client_stop_when_their_topics_are_long(broker: TestBroker) -> None:
    """Then topics are sent in full [MQTT5 3.3.2.3.4: a server need not use aliases]."""
    properties = Properties()
    properties.topic_alias_maximum = 65535
    watcher = await broker.client("watcher", subscribe="#", properties=properties)
    publisher = await broker.client("publisher")
    for number in range(300):
        await publisher.publish(f"{number}/{'t' * 4000}", qos=1)
        found = await watcher.receive_publish()
        assert found.topic.startswith(f"{number}/")
    assert found.properties is None
    await publisher.publish("short", qos=1)
    assert (await watcher.receive_publish()).properties is not None


async def test_made_up_long_topics_do_not_stay(broker: TestBroker) -> None:
    """Routes and access decisions are remembered per topic; topics of 4 KB must not fill memory with them."""
    client = await broker.client("c")
    for number in range(6000):
        await client.send(make_publish(f"{number}/{'t' * 4000}", b""))
        if number % 100 == 0:
            await client.ping()
    await client.ping()
    assert broker.node.broker.router.cached * 4000 <= 17 * 1024 * 1024
    channel = next(iter(broker.node.broker.registry.channels))
    assert len(channel.grants) <= 1


async def test_suback_is_never_larger_than_the_client_takes(broker: TestBroker) -> None:
    """[MQTT-3.1.2-24] Eleven codes do not fit into 15 bytes."""
    properties = Properties()
    properties.maximum_packet_size = 15
    client = await broker.client("c", properties=properties)
    assert await client.subscribe(*[f"t/{number}" for number in range(10)]) == [0] * 10
    with pytest.raises(Closed) as caught:
        await client.subscribe(*[f"t/{number}" for number in range(11)])
    assert caught.value.code == 0x95
