"""Bridges between brokers in memory, and to servers that go away, refuse and break the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from mqtt_helpers import Server, Session, into, until

from trioemqx.codec.control import Disconnect, Suback, Subscribe
from trioemqx.codec.packets import PUBACK, PUBREC, Ack, Publish, make_publish
from trioemqx.core.callback import Callback
from trioemqx.services.bridge import Bridge, BridgeConfig, BridgeError, QueueSettings
from trioemqx.services.bridge.config import mounted
from trioemqx.services.bridge.runner import DRAIN_SECONDS
from trioemqx.services.mqttclient import Connect
from trioemqx.services.mqttclient.connection import CLOSE_SECONDS
from trioemqx.testing import Closed, TestBroker, running
from trioemqx.types import Message, Properties, SubOpts


class Here:
    """A `Local` made of a broker."""

    def __init__(self, broker: TestBroker) -> None:
        self._broker = broker.node.broker
        self.node = self._broker.node

    def publish(self, message: Message) -> int:
        return self._broker.publish(message)

    def subscribe(self, filter: str, call: Any, qos: int = 2) -> Any:
        receiver = Callback("bridge", lambda message, _: call(message))
        subscription = self._broker.listen(receiver, filter, SubOpts(qos))

        class Held:
            def close(self) -> None:
                broker.unlisten(subscription)

        broker = self._broker
        return Held()


def config(**values: Any) -> BridgeConfig:
    values = {"address": "127.0.0.1:1", "clientid": "b", "forwards": ("a/#",), "retry_interval": 1000} | values
    return BridgeConfig(**values)


@asynccontextmanager
async def bridged(broker: TestBroker, connect: Connect, *, start: bool = True, **values: Any) -> AsyncIterator[Bridge]:
    """A bridge from a broker to whatever `connect` leads to."""
    wall = broker.node.wall
    bridge = Bridge("one", config(**values), Here(broker), connect=connect, wall=wall, random=Random(1))
    if start:
        bridge.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.run)
        yield bridge
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def two_brokers(broker: TestBroker, **values: Any) -> AsyncIterator[tuple[TestBroker, Bridge]]:
    """A bridge to a second broker, connected."""
    async with running() as there, bridged(broker, into(there), **values) as bridge:
        await bridge.ensure_started()
        yield there, bridge


def publish(broker: TestBroker, topic: str, payload: bytes = b"", qos: int = 1, **more: Any) -> None:
    broker.node.broker.publish(Message(topic, payload, qos, **more))


def numbers(packets: list[Publish]) -> list[int]:
    return [int(packet.payload) for packet in packets]


# -- out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_matches_goes_out_with_its_qos_under_the_mountpoint(
    broker: TestBroker, version: int, qos: int
) -> None:
    async with two_brokers(broker, version=version, forward_mountpoint="from/${node}/") as (there, bridge):
        watcher = await there.client("w", subscribe="#", qos=2)
        publish(broker, "b/1", b"not this")
        for number in range(100):
            publish(broker, "a/1", b"%d" % number, qos)
        for number in range(100):
            packet = await watcher.receive_publish()
            assert packet.topic == f"from/{broker.node.broker.node}/a/1"
            assert (packet.payload, packet.qos) == (b"%d" % number, qos)
        await until(lambda: bridge.counters.acked == 100)
        counters = bridge.counters
        assert (counters.matched, counters.sent, sum(counters.dropped.values())) == (100, 100, 0)


async def test_retain_and_properties_go_along(broker: TestBroker) -> None:
    properties = Properties()
    properties.content_type, properties.user_property = "text", [("k", "v")]
    properties.response_topic, properties.subscription_identifier = "answer", [7]
    async with two_brokers(broker, version=5) as (there, _):
        publisher = await broker.client("p")
        kept = properties.copy()
        kept.subscription_identifier = None
        watcher = await there.client("w", subscribe="a/#", qos=1)
        await publisher.publish("a/1", b"x", 1, retain=True, properties=kept)
        packet = await watcher.receive_publish()
        assert packet.properties == kept
        late = await there.client("late", subscribe="a/#", qos=1)
        assert (await late.receive_publish()).retain


async def test_a_message_that_several_filters_match_goes_once(broker: TestBroker) -> None:
    async with two_brokers(broker, forwards=("a/#", "a/+", "a/1", "c")) as (there, bridge):
        watcher = await there.client("w", subscribe="#")
        for topic in ("a/1", "a/1/2", "c"):
            publish(broker, topic, topic.encode())
        assert [await watcher.message() for _ in range(3)] == [(t, t.encode()) for t in ("a/1", "a/1/2", "c")]
        assert await watcher.nothing()
        assert bridge.counters.matched == 3


async def test_each_topic_keeps_its_order_over_several_connections(broker: TestBroker) -> None:
    async with two_brokers(broker, pool_size=4) as (there, bridge):
        watcher = await there.client("w", subscribe="#", qos=1)
        await until(lambda: bridge.connected == 4)
        assert sorted(found.clientid for found in there_clients(there)) == ["b_0", "b_1", "b_2", "b_3", "w"]
        for number in range(200):
            publish(broker, f"a/{number % 7}", b"%d" % number)
        found: dict[str, list[int]] = {}
        for _ in range(200):
            topic, payload = await watcher.message()
            found.setdefault(topic, []).append(int(payload))
        assert found == {f"a/{topic}": list(range(topic, 200, 7)) for topic in range(7)}


def there_clients(broker: TestBroker) -> list[Any]:
    return [session.info for session in broker.node.broker.clients()]


async def test_a_pool_with_unique_names_fits_beside_another_one(broker: TestBroker) -> None:
    values = {"pool_size": 2, "append": True}
    async with (
        running() as there,
        bridged(broker, into(there), **values) as one,
        bridged(broker, into(there), **values) as two,
    ):
        await until(lambda: one.connected == two.connected == 2)
        assert len({info.clientid for info in there_clients(there)}) == 4


async def test_send_queues_for_the_other_side(broker: TestBroker) -> None:
    async with two_brokers(broker, forward_mountpoint="m") as (there, bridge):
        watcher = await there.client("w", subscribe="m/x", qos=2)
        bridge.send("x", b"1", 2)
        assert await watcher.message() == ("m/x", b"1")


@pytest.mark.parametrize(
    ("mountpoint", "topic", "whole"),
    [("", "t", "t"), ("a", "t", "a/t"), ("a/", "t", "a/t"), ("a/", "/t", "a/t"), ("a", "/t", "a/t")],
)
def test_mountpoints(mountpoint: str, topic: str, whole: str) -> None:
    assert mounted(mountpoint, topic) == whole


# -- in ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_what_is_subscribed_there_is_published_here(broker: TestBroker, version: int) -> None:
    values = {"version": version, "subscriptions": (("x/#", 1), ("y", 2)), "receive_mountpoint": "from/${node}/"}
    async with two_brokers(broker, **values) as (there, bridge):
        node = broker.node.broker.node
        watcher = await broker.client("w", subscribe="#", qos=2)
        await until(lambda: len(there.node.broker.router.route("x/1").entries) == 1)
        publisher = await there.client("p")
        for topic, qos in (("x/1", 2), ("y", 2), ("z", 1), ("x", 0)):
            await publisher.publish(topic, topic.encode(), qos)
        found = [await watcher.receive_publish() for _ in range(3)]
        assert [(p.topic, p.qos) for p in found] == [
            (f"from/{node}/x/1", 1),
            (f"from/{node}/y", 2),
            (f"from/{node}/x", 0),
        ]
        assert bridge.counters.received == 3


async def test_what_comes_in_is_from_the_bridge_and_keeps_retain(broker: TestBroker) -> None:
    seen: list[Message] = []
    Here(broker).subscribe("x", seen.append)
    async with two_brokers(broker, version=5, subscriptions=(("x", 1),)) as (there, _):
        await until(lambda: there.node.broker.router.route("x").entries)
        await (await there.client("p")).publish("x", b"1", 1, retain=True)
        await until(lambda: seen)
        assert (seen[0].publisher, seen[0].retain) == ("bridge", True)


async def test_mqtt_5_asks_not_to_get_back_what_it_sends(broker: TestBroker) -> None:
    server = Server(5)
    async with bridged(broker, server.connect, version=5, subscriptions=(("a/#", 1), ("$share/g/b", 0))):
        session = await server.accepted()
        for no_local in (True, False):
            packet = await session.next(Subscribe)
            (opts,) = (opts for _, opts in packet.filters)
            assert (opts.nl, opts.rap) == (no_local, True)
            await session.send(suback(packet))


def suback(packet: Subscribe, code: int | None = None) -> Any:
    return Suback(packet.packet_id, [opts.qos if code is None else code for _, opts in packet.filters])


@pytest.mark.parametrize("version", [3, 4])
async def test_bridge_mode_sets_the_bit(broker: TestBroker, version: int) -> None:
    server = Server(version)
    async with bridged(broker, server.connect, version=version, bridge_mode=True):
        packet = (await server.accepted()).connect_packet
        assert (packet.is_bridge, packet.proto_ver) == (True, version)


async def test_a_loop_ends_after_one_round(broker: TestBroker) -> None:
    """Without No Local (MQTT 3) the other side sends back what it got; that is not sent again."""
    async with two_brokers(broker, version=4, subscriptions=(("a/#", 1),)) as (there, bridge):
        await until(lambda: there.node.broker.router.route("a/1").entries)
        watcher = await broker.client("w", subscribe="a/1")
        publish(broker, "a/1", b"x")
        assert [await watcher.message() for _ in range(2)] == [("a/1", b"x")] * 2
        assert await watcher.nothing(60)
        assert (bridge.counters.sent, bridge.counters.received) == (1, 1)


async def test_several_connections_subscribe_once(broker: TestBroker) -> None:
    async with two_brokers(broker, pool_size=3, subscriptions=(("x", 1),)) as (there, bridge):
        await until(lambda: bridge.connected == 3 and there.node.broker.router.route("x").entries)
        watcher = await broker.client("w", subscribe="x")
        publish(there, "x", b"1")
        assert await watcher.message() == ("x", b"1")
        assert await watcher.nothing()


async def test_what_cannot_be_published_here_is_counted(broker: TestBroker) -> None:
    server = Server(5)
    async with bridged(broker, server.connect, receive_mountpoint="m" * 65_000) as bridge:
        session = await server.accepted()
        await session.send(make_publish("t" * 600, b"", 1, packet_id=1))
        assert await session.next(Ack) == Ack(PUBACK, 1)
        assert bridge.counters.received_invalid == 1


async def test_a_subscription_that_is_refused_is_logged_and_the_rest_goes_on(
    broker: TestBroker, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(5)
    async with bridged(broker, server.connect, version=5, subscriptions=(("no", 1), ("yes", 1))):
        session = await server.accepted()
        await session.send(suback(await session.next(Subscribe), 0x87))
        await session.send(suback(await session.next(Subscribe)))
        publish(broker, "a/1", b"x")
        assert (await session.next(Publish)).payload == b"x"
    assert "the server refuses the subscription 'no': not_authorized" in caplog.text


# -- connections that are lost, refused, never made ----------------------------------------------------------------


async def test_messages_wait_for_a_server_that_is_away(broker: TestBroker) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect) as bridge:
        for number in range(10):
            publish(broker, "a/1", b"%d" % number)
        await trio.sleep(100)
        status = bridge.status()
        assert (status.connected, status.queued, status.error) == (0, 10, "nobody listens")
        server.reachable = True
        session = await server.accepted()
        assert numbers(await session.publishes(10)) == list(range(10))


async def test_tries_become_rarer_up_to_reconnect_interval(broker: TestBroker) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect, reconnect_interval=30):
        await trio.sleep(60)
        assert 5 <= server.tries <= 8
        before = server.tries
        await trio.sleep(600)
        assert 20 <= server.tries - before <= 27


async def test_the_log_says_once_that_a_server_is_away(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect):
        await trio.sleep(1000)
    assert caplog.text.count("nobody listens") == 1


async def test_unacknowledged_messages_are_sent_again_in_order_on_the_next_connection(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, max_inflight=5) as bridge:
        first = await server.accepted()
        for number in range(8):
            publish(broker, "a/1", b"%d" % number)
        sent = await first.publishes(5)
        await first.ack(PUBACK, sent[0].packet_id)
        await first.ack(PUBACK, sent[2].packet_id)
        await first.publishes(2)
        await first.close()
        second = await server.accepted()
        again = await second.publishes(5)
        assert numbers(again) == [1, 3, 4, 5, 6]
        assert not any(packet.dup for packet in again), "a new session knows no duplicates"
        for packet in again:
            await second.ack(PUBACK, packet.packet_id)
        assert numbers(await second.publishes(1)) == [7]
        assert (bridge.counters.connects, bridge.counters.reconnects) == (1, 1)


async def test_with_a_kept_session_qos_2_arrives_once(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, clean_start=False) as bridge:
        first = await server.accepted()
        for number in range(3):
            publish(broker, "a/1", b"%d" % number, 2)
        one, two, three = await first.publishes(3)
        await first.ack(PUBREC, one.packet_id)
        await first.close()
        second = await server.session()
        await second.accept(session_present=True)
        assert (await second.next(Ack)).packet_id == one.packet_id
        again = await second.publishes(2)
        assert [(p.packet_id, p.dup) for p in again] == [(two.packet_id, True), (three.packet_id, True)]
        assert bridge.status().queued == 0


async def test_qos_0_that_was_not_sent_yet_is_not_forgotten_by_a_kept_session(broker: TestBroker) -> None:
    streams: list[trio.abc.Stream] = []

    async def narrow() -> trio.abc.Stream:
        ours, theirs = trio.testing.lockstep_stream_pair()
        streams.append(ours)
        return theirs

    async with bridged(broker, narrow, clean_start=False, keepalive=0) as bridge:
        await until(lambda: streams)
        first = Session(streams[0], 4)
        await first.accept()
        for number in range(3):
            publish(broker, "a/1", b"%d" % number, 0)
        await until(lambda: bridge.status().in_flight == 3)
        await first.close()
        await until(lambda: len(streams) == 2)
        second = Session(streams[1], 4)
        await second.accept(session_present=True)
        assert numbers(await second.publishes(3)) == [0, 1, 2]
        await until(lambda: bridge.status().in_flight == 0)


async def test_a_server_that_never_answers_is_left_and_tried_again(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, connect_timeout=5) as bridge:
        await server.session()
        await until(lambda: bridge.last_error)
        assert bridge.last_error == "no answer to CONNECT within 5 s"
        await server.accepted()
        await until(lambda: bridge.connected)


async def test_a_server_that_never_answers_subscribe_is_left(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, subscriptions=(("x", 0),)) as bridge:
        await server.accepted()
        await until(lambda: bridge.last_error)
        assert "no answer to SUBSCRIBE" in bridge.last_error


async def test_a_server_that_refuses_is_asked_again(broker: TestBroker) -> None:
    server = Server(4)
    async with bridged(broker, server.connect) as bridge:
        await server.accepted(code=5)
        await until(lambda: bridge.last_error)
        assert "not authorized" in bridge.last_error
        await server.accepted()
        await until(lambda: bridge.connected)
        assert bridge.last_error == ""


@pytest.mark.parametrize("bytes_", [b"\x30\x0a\0\x01t", b"\xff\xff\xff\xff\xff", b"\x20\x02\0\0"])
async def test_servers_that_break_the_rules_are_tried_again_and_nothing_is_lost(
    broker: TestBroker, bytes_: bytes
) -> None:
    server = Server()
    async with bridged(broker, server.connect) as bridge:
        publish(broker, "a/1", b"1")
        for _ in range(3):
            session = await server.accepted()
            assert numbers(await session.publishes(1)) == [1]
            await session.send_raw(bytes_)
            await session.close()
        session = await server.accepted()
        (packet,) = await session.publishes(1)
        await session.ack(PUBACK, packet.packet_id)
        await until(lambda: bridge.counters.acked == 1)


async def test_a_server_that_pushes_us_out_says_why(broker: TestBroker) -> None:
    server = Server(5)
    async with bridged(broker, server.connect, version=5) as bridge:
        session = await server.accepted()
        await session.send(Disconnect(0x8E))
        await until(lambda: bridge.last_error)
        assert "session_taken_over" in bridge.last_error


async def test_a_bug_of_ours_costs_one_connection(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    async with bridged(broker, server.connect) as bridge:
        session = await server.accepted()
        await until(lambda: bridge.connected)
        lane = bridge._lanes[0]
        real = lane._send_one
        lane._send_one = lambda client: 1 // 0  # type: ignore[method-assign]
        publish(broker, "a/1", b"1")
        await session.closed()
        lane._send_one = real  # type: ignore[method-assign]
        session = await server.accepted()
        assert numbers(await session.publishes(1)) == [1]
    assert "ZeroDivisionError" in caplog.text


# -- messages that do not arrive -----------------------------------------------------------------------------------


async def test_the_oldest_is_dropped_when_too_many_wait(broker: TestBroker) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect, queue=QueueSettings(max_messages=5)) as bridge:
        for number in range(12):
            publish(broker, "a/1", b"%d" % number)
        assert bridge.counters.dropped["queue_full"] == 7
        server.reachable = True
        assert numbers(await (await server.accepted()).publishes(5)) == [7, 8, 9, 10, 11]


async def test_what_a_server_does_not_take_is_counted_and_holds_nobody_up(broker: TestBroker) -> None:
    server = Server(5)
    limits = Properties()
    limits.maximum_packet_size, limits.maximum_qos, limits.retain_available = 100, 1, 0
    async with bridged(broker, server.connect, version=5) as bridge:
        publish(broker, "a/1", bytes(200))
        publish(broker, "a/1", b"2", 2, retain=True)
        session = await server.accepted(properties=limits)
        (packet,) = await session.publishes(1)
        assert (packet.payload, packet.qos, packet.retain) == (b"2", 1, False)
        await session.ack(PUBACK, packet.packet_id, 0x97)
        await until(lambda: bridge.counters.dropped["refused"])
        assert bridge.counters.dropped["too_large"] == 1
        assert bridge.counters.acked == bridge.status().in_flight == bridge.status().queued == 0


async def test_messages_expire_while_they_wait(broker: TestBroker) -> None:
    server = Server(5)
    server.reachable = False
    short, long = Properties(), Properties()
    short.message_expiry_interval, long.message_expiry_interval = 10, 1000
    async with bridged(broker, server.connect, version=5) as bridge:
        publish(broker, "a/1", b"short", properties=short)
        publish(broker, "a/1", b"long", properties=long)
        await trio.sleep(300)
        server.reachable = True
        (packet,) = await (await server.accepted()).publishes(1)
        assert packet.payload == b"long"
        assert packet.properties is not None
        assert 600 < (packet.properties.message_expiry_interval or 0) <= 700
        assert bridge.counters.dropped["expired"] == 1


async def test_a_topic_that_becomes_too_long_is_counted(broker: TestBroker) -> None:
    async with two_brokers(broker, forward_mountpoint="m" * 65_000) as (_, bridge):
        publish(broker, "a/" + "x" * 600)
        await until(lambda: bridge.counters.dropped["invalid"] == 1)


# -- start and stop ------------------------------------------------------------------------------------------------


async def test_a_bridge_that_is_not_started_collects_nothing(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, start=False) as bridge:
        publish(broker, "a/1")
        await trio.sleep(100)
        assert (server.tries, bridge.counters.matched, bridge.started) == (0, 0, False)


async def test_ensure_started_says_why_it_could_not(broker: TestBroker) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect, start=False) as bridge:
        with pytest.raises(BridgeError, match="nobody listens"):
            await bridge.ensure_started()
        server.reachable = True
        await server.accepted()
        await until(lambda: bridge.connected)
        await bridge.ensure_started()
        assert not bridge.start()


async def test_stop_sends_what_is_queued_first(broker: TestBroker) -> None:
    async with two_brokers(broker, max_inflight=1) as (there, bridge):
        watcher = await there.client("w", subscribe="#", qos=1)
        for number in range(50):
            publish(broker, "a/1", b"%d" % number)
        assert await bridge.stop()
        assert not await bridge.stop()
        for number in range(50):
            assert await watcher.message() == ("a/1", b"%d" % number)
        publish(broker, "a/1", b"late")
        assert await watcher.nothing()
        assert there.node.broker.find("b") is None
        await bridge.ensure_started()
        publish(broker, "a/1", b"again")
        assert await watcher.message() == ("a/1", b"again")


async def test_stop_does_not_wait_for_ever(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect) as bridge:
        session = await server.accepted()
        publish(broker, "a/1", b"1")
        await session.publishes(1)
        start = trio.current_time()
        await bridge.stop()
        assert trio.current_time() - start <= DRAIN_SECONDS + CLOSE_SECONDS
        assert bridge.status().queued == 1
        bridge.start()
        assert numbers(await (await server.accepted()).publishes(1)) == [1]


async def test_stop_while_it_tries_to_connect(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect, connect_timeout=100) as bridge:
        await server.session()
        start = trio.current_time()
        await bridge.stop()
        assert trio.current_time() - start < 1


async def test_what_is_cancelled_leaves_nothing_behind(broker: TestBroker) -> None:
    server = Server()
    async with bridged(broker, server.connect) as bridge:
        session = await server.accepted()
        await until(lambda: bridge.connected)
    assert await session.next(Disconnect) == Disconnect()
    with pytest.raises(Closed):
        await session.receive()


async def test_messages_are_handed_over_to_another_object(broker: TestBroker) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect) as bridge:
        for number in range(5):
            publish(broker, "a/1", b"%d" % number)
        handed = bridge.hand_over()
    server.reachable = True
    async with bridged(broker, server.connect, start=False) as bridge:
        bridge.take_over(handed)
        bridge.start()
        publish(broker, "a/1", b"5")
        assert numbers(await (await server.accepted()).publishes(6)) == list(range(6))


# -- changes -------------------------------------------------------------------------------------------------------


async def test_forwards_come_and_go(broker: TestBroker) -> None:
    async with two_brokers(broker, forwards=()) as (there, bridge):
        watcher = await there.client("w", subscribe="#")
        publish(broker, "x", b"0")
        bridge.add_forward("x")
        bridge.add_forward("x")
        publish(broker, "x", b"1")
        assert await watcher.message() == ("x", b"1")
        assert bridge.forwards() == ["x"]
        assert bridge.remove_forward("x")
        assert not bridge.remove_forward("x")
        publish(broker, "x", b"2")
        assert await watcher.nothing()
        with pytest.raises(BridgeError, match="not a topic filter"):
            bridge.add_forward("a/#/b")


async def test_subscriptions_come_and_go(broker: TestBroker) -> None:
    async with two_brokers(broker, version=5) as (there, bridge):
        watcher = await broker.client("w", subscribe="#")
        await bridge.add_subscription("x", 1)
        publish(there, "x", b"1")
        assert await watcher.message() == ("x", b"1")
        assert bridge.subscriptions() == [("x", 1)]
        there.node.broker.kick("b")
        await until(lambda: bridge.counters.reconnects)
        await until(lambda: there.node.broker.router.route("x").entries)
        assert await bridge.remove_subscription("x")
        assert not await bridge.remove_subscription("x")
        publish(there, "x", b"2")
        assert await watcher.nothing()
        for bad in (("a/#/b", 1), ("x", 3)):
            with pytest.raises(BridgeError):
                await bridge.add_subscription(*bad)


async def test_a_refused_subscription_is_not_kept(broker: TestBroker) -> None:
    server = Server(5)
    async with bridged(broker, server.connect, version=5) as bridge, trio.open_nursery() as nursery:
        session = await server.accepted()
        await until(lambda: bridge.connected)

        async def refuse() -> None:
            await session.send(suback(await session.next(Subscribe), 0x87))

        nursery.start_soon(refuse)
        with pytest.raises(BridgeError, match="not_authorized"):
            await bridge.add_subscription("x", 1)
        assert bridge.subscriptions() == []


# -- on disk -------------------------------------------------------------------------------------------------------


def on_disk(folder: Path, **more: Any) -> dict[str, Any]:
    return {"queue": QueueSettings(folder=folder / "queue", **more)}


async def test_what_waits_on_disk_survives_and_is_sent_by_the_next_object(broker: TestBroker, tmp_path: Path) -> None:
    server = Server()
    server.reachable = False
    async with bridged(broker, server.connect, **on_disk(tmp_path)):
        for number in range(500):
            publish(broker, "a/1", b"%d" % number)
        await trio.sleep(1)
    server.reachable = True
    async with bridged(broker, server.connect, **on_disk(tmp_path)) as bridge:
        publish(broker, "a/1", b"500")
        session = await server.accepted()
        found = []
        for _ in range(501):
            packet = await session.next(Publish)
            found.append(packet)
            await session.ack(PUBACK, packet.packet_id)
        assert numbers(found) == list(range(501))
        await until(lambda: bridge.counters.acked == 501)
    async with bridged(broker, server.connect, **on_disk(tmp_path)):
        session = await server.accepted()
        publish(broker, "a/1", b"new")
        assert (await session.next(Publish)).payload == b"new", "what was acknowledged does not come again"


async def test_a_folder_has_one_owner_and_waits_for_it(broker: TestBroker, tmp_path: Path) -> None:
    server, other = Server(), Server()
    async with bridged(broker, other.connect, **on_disk(tmp_path)) as second:
        await other.accepted()
        async with bridged(broker, server.connect, **on_disk(tmp_path)) as bridge:
            await until(lambda: bridge.last_error)
            assert "in use by another bridge" in bridge.last_error
            with pytest.raises(BridgeError, match="in use"):
                await bridge.ensure_started()
            publish(broker, "a/1", b"1")
            await second.stop()
            assert numbers(await (await server.accepted()).publishes(1)) == [1]
            assert bridge.last_error == ""


async def test_a_disk_queue_that_is_full_keeps_the_newest(broker: TestBroker, tmp_path: Path) -> None:
    server = Server()
    server.reachable = False
    values = on_disk(tmp_path, seg_bytes=10_000, max_total_bytes=40_000)
    async with bridged(broker, server.connect, **values) as bridge:
        for start in range(0, 100, 10):
            for number in range(start, start + 10):
                publish(broker, "a/1", b"%d " % number + b" " * 1000)
            await trio.sleep(1)
        dropped = bridge.counters.dropped["queue_full"]
        assert 50 < dropped < 80
        server.reachable = True
        session = await server.accepted()
        assert numbers(await session.publishes(20)) == list(range(dropped, dropped + 20))


async def test_several_lanes_on_disk_keep_the_order_of_each_topic(broker: TestBroker, tmp_path: Path) -> None:
    async with two_brokers(broker, pool_size=3, **on_disk(tmp_path)) as (there, _):
        watcher = await there.client("w", subscribe="#", qos=1)
        for number in range(100):
            publish(broker, f"a/{number % 5}", b"%d" % number)
        found: dict[str, list[int]] = {}
        for _ in range(100):
            topic, payload = await watcher.message()
            found.setdefault(topic, []).append(int(payload))
        assert found == {f"a/{topic}": list(range(topic, 100, 5)) for topic in range(5)}


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("address", "emqx2@127.0.0.1"),
        ("address", "host:99999"),
        ("pool_size", 0),
        ("pool_size", 65),
        ("reconnect_interval", 0),
        ("forward_mountpoint", "a/#"),
        ("receive_mountpoint", "a/+/"),
        ("forwards", ("a/#/b",)),
        ("subscriptions", (("a", 3),)),
        ("subscriptions", (("", 0),)),
        ("version", 6),
        ("keepalive", 100_000),
    ],
)
def test_settings_that_cannot_be(key: str, value: Any) -> None:
    with pytest.raises(BridgeError) as caught:
        attrs.evolve(config(), **{key: value})
    assert caught.value.key == key


@pytest.mark.parametrize("key", ["max_messages", "max_bytes", "seg_bytes", "max_total_bytes"])
def test_queue_settings_that_cannot_be(key: str) -> None:
    with pytest.raises(BridgeError) as caught:
        config(queue=QueueSettings(**{key: 0}))
    assert caught.value.key == f"queue.{key}"


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(config(username="u", password=b"secret"))


def test_counters_have_names() -> None:
    names = set(Bridge("x", config(), _Nobody()).counters.as_dict())
    assert {"matched", "sent", "acked", "received", "reconnects", "dropped.queue_full"} <= names


class _Nobody:
    node = "n@h"

    def publish(self, message: Message) -> int:
        raise NotImplementedError

    def subscribe(self, filter: str, call: Any, qos: int = 2) -> Any:
        raise NotImplementedError
