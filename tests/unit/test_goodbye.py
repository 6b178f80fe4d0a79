"""What holds between the decision to close a connection and its end."""

from __future__ import annotations

import os

from trioemqx.codec.control import Connect, Disconnect
from trioemqx.codec.encode import encode
from trioemqx.testing import TestBroker, Will
from trioemqx.types import Message


async def test_disconnect_and_the_next_connect_in_one_turn(broker: TestBroker) -> None:
    """The session without expiry is over when its client comes back at once [MQTT5 3.1.2.11.2]."""
    first = await broker.client("c1", subscribe="t", will=Will("will", b"", 0, False, None))
    second = await broker.raw()
    ends = [stream.socket.fileno() for stream in broker.streams[-2:]]

    # Written without a checkpoint in between, so that the pump finds both in one poll.
    os.write(ends[0], encode(Disconnect(0, None), 5))
    os.write(ends[1], encode(Connect("MQTT", 5, False, False, 0, "c1", None, None, None, None), 5))
    connack = await second.receive()

    assert connack.session_present is False
    assert await first.closed() is None
    await second.ping()
    session = broker.node.find("c1")
    assert session is not None
    assert session.subscriptions == {}
    assert broker.node.metrics["session.terminated"] == 1
    assert broker.node.stats()["connections.count"] == 1


async def test_disconnect_with_expiry_and_the_next_connect_in_one_turn(broker: TestBroker) -> None:
    await broker.client("c1", subscribe="t", expiry=60)
    second = await broker.raw()
    ends = [stream.socket.fileno() for stream in broker.streams[-2:]]

    os.write(ends[0], encode(Disconnect(0, None), 5))
    os.write(ends[1], encode(Connect("MQTT", 5, False, False, 0, "c1", None, None, None, None), 5))

    assert (await second.receive()).session_present is True
    broker.node.publish(Message("t", b"found"))
    assert await second.message() == ("t", b"found")


async def test_a_message_after_the_disconnect_waits_in_the_session(broker: TestBroker) -> None:
    """[MQTT-3.14.4-1]: it is not written behind our DISCONNECT, and a session that lives on does not lose it."""
    client = await broker.client("c1", subscribe="t", qos=1, expiry=60)
    session = broker.node.find("c1")
    assert session is not None
    assert session.channel is not None

    session.channel.close(0x98, "kicked by hand")
    broker.node.publish(Message("t", b"late", 1))

    assert await client.closed() == 0x98
    assert client.inbox == []
    again = await broker.client("c1", clean_start=False, expiry=60)
    assert await again.message() == ("t", b"late")
