"""Hooks that kick the client they are told about: it ends once, whatever was going on, and nothing of it stays."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Counted, config, props

from trioemqx.codec.control import Disconnect, Packet, Subscribe
from trioemqx.codec.packets import PUBACK, PUBREC, Ack
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Closed, TestBroker, Will
from trioemqx.types import ClientInfo, Message, SubOpts


class Kicker:
    """Kicks client `c` at one point, each time the point is reached, and counts how often that was."""

    def __init__(self, broker: TestBroker, point: str) -> None:
        self.calls: list[str] = []
        self._node = broker.node
        self._point = point
        broker.node.hooks.register(self, "kicker")

    def _kick(self, point: str, client: ClientInfo) -> None:
        if client.clientid == "c":
            self.calls.append(point)
            if point == self._point:
                self._node.kick("c")

    @hookimpl
    def session_created(self, client: ClientInfo, session: object) -> None:
        self._kick("session_created", client)

    @hookimpl
    def session_resumed(self, client: ClientInfo, session: object) -> None:
        self._kick("session_resumed", client)

    @hookimpl
    def session_takeovered(self, client: ClientInfo, session: object) -> None:
        self._kick("session_takeovered", client)

    @hookimpl
    def session_discarded(self, client: ClientInfo, session: object) -> None:
        self._kick("session_discarded", client)

    @hookimpl
    def session_terminated(self, client: ClientInfo, reason: str, session: object) -> None:
        self._kick("session_terminated", client)

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        self._kick("client_disconnected", client)

    @hookimpl
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts, is_new: bool) -> None:
        self._kick("session_subscribed", client)

    @hookimpl
    def message_acked(self, client: ClientInfo, message: Message) -> None:
        self._kick("message_acked", client)


def nothing_is_left(broker: TestBroker) -> None:
    core = broker.node.broker
    assert "c" not in core.registry.sessions
    assert core.registry.connected == 0
    assert core.router.subscriptions == 0


@pytest.mark.parametrize("expiry", [None, 100])
@pytest.mark.parametrize("point", ["client_disconnected", "session_terminated"])
async def test_at_the_end_of_a_client(broker: TestBroker, point: str, expiry: int | None) -> None:
    """The end was told again for each kick, until the stack was full."""
    kicker = Kicker(broker, point)
    counted = Counted(broker)
    client = await broker.client("c", expiry=expiry, will=Will("gone", b"1"))
    await client.subscribe("a")
    await client.close()
    await trio.sleep(3)
    broker.node.kick("c")
    await trio.sleep(1)
    assert kicker.calls == ["session_created", "session_subscribed", "client_disconnected", "session_terminated"]
    assert counted("session.terminated", "client.disconnected") == [1, 1]
    nothing_is_left(broker)


@pytest.mark.parametrize("point", ["session_resumed", "session_takeovered"])
async def test_while_a_session_is_taken_over(broker: TestBroker, point: str) -> None:
    """The new connection was left with a session that nobody knew any more."""
    kicker = Kicker(broker, point)
    counted = Counted(broker)
    old = await broker.client("c", clean_start=False, expiry=100)
    await old.subscribe("a")
    with pytest.raises(Closed):
        await broker.client("c", clean_start=False, expiry=100)
    assert await old.closed() == 0x98
    await trio.sleep(3)
    assert counted("session.terminated", "client.disconnected") == [1, 1]
    assert kicker.calls[-2:] == ["client_disconnected", "session_terminated"]
    nothing_is_left(broker)
    assert broker.node.kick("c") is False


async def test_at_the_beginning_of_a_session(broker: TestBroker) -> None:
    counted = Counted(broker)
    kicker = Kicker(broker, "session_created")
    with pytest.raises(Closed):
        await broker.client("c", expiry=100)
    await trio.sleep(3)
    assert counted("session.terminated", "client.connected") == [1, 0]
    assert kicker.calls.count("session_terminated") == 1
    nothing_is_left(broker)


async def test_while_a_session_is_thrown_away(broker: TestBroker) -> None:
    counted = Counted(broker)
    Kicker(broker, "session_discarded")
    await broker.client("c", expiry=100)
    new = await broker.client("c", clean_start=True)
    await new.ping()
    assert counted("session.discarded", "session.terminated") == [1, 0]
    assert list(broker.node.broker.registry.sessions) == ["c"]


@config(broker={"client_disconnect_takeovered": True})
async def test_when_a_takeover_is_told_as_a_disconnect(broker: TestBroker) -> None:
    kicker = Kicker(broker, "client_disconnected")
    await broker.client("c", clean_start=False, expiry=100)
    with pytest.raises(Closed):
        await broker.client("c", clean_start=False, expiry=100)
    await trio.sleep(3)
    assert kicker.calls.count("client_disconnected") == 1
    nothing_is_left(broker)


async def _after_disconnect(client: Client) -> list[Packet]:
    """What comes after the DISCONNECT."""
    packets = []
    try:
        while True:
            packets.append(await client.receive())
    except Closed:
        pass
    codes = [packet.code for packet in packets if isinstance(packet, Disconnect)]
    assert codes == [0x98]
    return packets[[isinstance(packet, Disconnect) for packet in packets].index(True) + 1 :]


async def test_no_suback_follows_the_disconnect(broker: TestBroker) -> None:
    """[MQTT-3.14.4-1]"""
    Kicker(broker, "session_subscribed")
    client = await broker.client("c")
    await client.send(Subscribe(1, [("a", SubOpts(1)), ("b", SubOpts(1))]))
    assert await _after_disconnect(client) == []
    nothing_is_left(broker)


async def test_no_pubrel_follows_the_disconnect(broker: TestBroker) -> None:
    Kicker(broker, "message_acked")
    client = await broker.client("c", subscribe="a", qos=2)
    client.auto_ack = False
    broker.node.publish(Message("a", b"1", qos=2))
    publish = await client.receive_publish()
    await client.send(Ack(PUBREC, publish.packet_id))
    assert await _after_disconnect(client) == []
    nothing_is_left(broker)


async def test_a_hook_that_publishes_to_the_receiver_keeps_to_its_window(broker: TestBroker) -> None:
    """[MQTT-3.3.4-9] The message it was called for was sent beyond the window."""

    class Echo:
        @hookimpl
        def message_delivered(self, client: ClientInfo, message: Message) -> None:
            if message.payload == b"1":
                broker.node.publish(Message("a", b"2", qos=1))

    broker.node.hooks.register(Echo(), "echo")
    client = await broker.client("c", subscribe="a", qos=1, properties=props(receive_maximum=1))
    client.auto_ack = False
    broker.node.publish(Message("a", b"1", qos=1))
    first = await client.receive_publish()
    assert first.payload == b"1"
    assert await client.nothing()
    await client.send(Ack(PUBACK, first.packet_id))
    assert (await client.receive_publish()).payload == b"2"
