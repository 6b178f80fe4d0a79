"""Subscribing and unsubscribing a client whose session waits for it, as the HTTP API and the command line may."""

from __future__ import annotations

import trio
from pubsub_helpers import BOTH, config, messages, plug

from trioemqx.core.session import Session
from trioemqx.testing import Client, TestBroker
from trioemqx.types import ClientInfo, Message, SubOpts


async def absent(broker: TestBroker, clientid: str = "c", version: int = 5) -> Session:
    """A session whose client has gone."""
    if version == 5:
        client = await broker.client(clientid, expiry=1000)
    else:
        client = await broker.client(clientid, version=version, clean_start=False)
    await client.disconnect()
    await trio.sleep(0.1)
    session = broker.node.find(clientid)
    assert session is not None
    assert session.channel is None
    return session


async def back(broker: TestBroker, clientid: str = "c", version: int = 5) -> Client:
    client = await broker.client(clientid, version=version, clean_start=False, expiry=1000 if version == 5 else None)
    assert client.connack is not None
    assert client.connack.session_present
    return client


def keep(broker: TestBroker, count: int, qos: int = 1) -> None:
    """Retained messages `many/0` and so on."""
    for number in range(count):
        broker.node.publish(Message(f"many/{number}", b"kept", qos, True))


@BOTH
async def test_what_is_published_from_then_on_waits_for_the_client(broker: TestBroker, version: int) -> None:
    await absent(broker, version=version)
    assert broker.node.subscribe("c", "t", SubOpts(1)) == 1
    assert broker.node.publish(Message("t", b"1", 1)) == 1
    assert broker.node.unsubscribe("c", "t") == 0
    assert broker.node.publish(Message("t", b"2", 1)) == 0
    client = await back(broker, version=version)
    assert [packet.payload for packet in await messages(client, 1)] == [b"1"]


async def test_the_hooks_are_told_and_access_rules_are_not_asked(broker: TestBroker) -> None:
    heard: list[tuple[object, ...]] = []
    plug(
        broker,
        client_subscribe=lambda client: heard.append(("client.subscribe", client.clientid)),
        client_check_acl_now=lambda client: heard.append(("acl", client.clientid)) or False,
        session_subscribed=lambda client, filter, opts, is_new: heard.append(
            (client.clientid, filter, opts.qos, is_new)
        ),
        session_unsubscribed=lambda client, filter: heard.append((client.clientid, filter)),
    )
    await absent(broker)
    broker.node.subscribe("c", "$share/g/t", SubOpts(2))
    broker.node.subscribe("c", "$share/g/t", SubOpts(1))
    broker.node.unsubscribe("c", "$share/g/t")
    assert heard == [("c", "$share/g/t", 2, True), ("c", "$share/g/t", 1, False), ("c", "$share/g/t")]


@config(zone={"max_subscriptions": 2})
async def test_each_answer_says_what_happened(broker: TestBroker) -> None:
    await absent(broker)
    assert broker.node.subscribe("c", "a", SubOpts(2)) == 2
    assert broker.node.subscribe("c", "$exclusive/b") == 0
    assert broker.node.subscribe("c", "c") == 0x97, "max_subscriptions"
    assert broker.node.subscribe("c", "a") == 0, "one that is there may be changed"
    assert broker.node.subscribe("c", "a/#/b") == 0x8F
    assert broker.node.unsubscribe("c", "$share/") == 0x8F
    assert broker.node.unsubscribe("c", "x") == 0x11
    assert broker.node.subscribe("nobody", "a") == 0x80
    assert broker.node.unsubscribe("nobody", "a") == 0x80


async def test_a_session_that_ends_takes_them_along(broker: TestBroker) -> None:
    await absent(broker)
    broker.node.subscribe("c", "t")
    keep(broker, 300)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    broker.node.kick("c")
    assert broker.node.stats()["subscriptions.count"] == 0
    assert broker.node.subscribe("c", "t") == 0x80


# -- retained messages -------------------------------------------------------------------------------------------------


async def test_retained_messages_wait_in_the_queue(broker: TestBroker) -> None:
    session = await absent(broker)
    keep(broker, 3)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    assert session.mqueue is not None
    assert len(session.mqueue) == 3
    client = await back(broker)
    found = await messages(client, 3)
    assert {packet.topic for packet in found} == {"many/0", "many/1", "many/2"}
    assert all(packet.retain for packet in found)


@config(zone={"max_mqueue_len": 10})
async def test_they_push_nothing_out_of_it(broker: TestBroker) -> None:
    """Half of the queue is left to what is published; the rest of them follow when the client is there."""
    session = await absent(broker)
    keep(broker, 40)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    assert session.mqueue is not None
    assert len(session.mqueue) == 5
    assert session.queue_dropped == 0
    client = await back(broker)
    assert {packet.topic for packet in await messages(client, 40)} == {f"many/{number}" for number in range(40)}


@config(zone={"max_mqueue_len": 0})
async def test_a_queue_without_bound_is_filled_in_one_step_only(broker: TestBroker) -> None:
    session = await absent(broker)
    keep(broker, 1000)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    assert session.mqueue is not None
    assert len(session.mqueue) == 200
    client = await back(broker)
    assert len(await messages(client, 1000)) == 1000


@config(zone={"max_mqueue_len": 10})
async def test_those_that_are_left_go_with_their_subscription(broker: TestBroker) -> None:
    await absent(broker)
    keep(broker, 40)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    broker.node.unsubscribe("c", "many/#")
    assert len(await messages(await back(broker), 5)) == 5


@config(zone={"max_mqueue_len": 10, "mountpoint": "%u/"})
async def test_those_that_are_left_do_not_follow_into_another_mountpoint(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=1000)
    await client.disconnect()
    await trio.sleep(0.1)
    session = broker.node.find("c")
    assert session is not None
    for number in range(40):
        broker.node.publish(Message(f"%u/{number}", b"kept", 1, True))
    broker.node.subscribe("c", "#", SubOpts(1))
    assert session.walks
    broker.node.broker.registry._remount(session, ClientInfo("c"))
    assert not session.walks
    assert not session.subscriptions


async def test_a_hook_may_take_the_subscription_away_again(broker: TestBroker) -> None:
    session = await absent(broker)
    keep(broker, 3)
    plug(broker, session_subscribed=lambda client, filter: broker.node.unsubscribe(client.clientid, filter) and None)
    broker.node.subscribe("c", "many/#", SubOpts(1))
    assert not session.subscriptions
    assert session.mqueue is None
