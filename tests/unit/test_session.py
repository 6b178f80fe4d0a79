"""Sessions that outlive their connection [MQTT5 4.1, 3.1.2.4, 3.1.2.11.2] [broker.md 5.5, 7.1, 7.2]."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from session_helpers import Counted, Recorder, both_families, every_version, props, shutdown_count, zone

from trioemqx.codec.control import Disconnect
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.testing import Client, TestBroker, Will
from trioemqx.types import Message

FOREVER = 0xFFFFFFFF


async def persistent(broker: TestBroker, version: int, clientid: str = "c", **more: object) -> Client:
    """A client whose session lives on for 1000 s (v5) or two hours (v3)."""
    more.setdefault("clean_start", False)
    if version == 5:
        more.setdefault("expiry", 1000)
    return await broker.client(clientid, version=version, **more)  # type: ignore[arg-type]


def present(client: Client) -> bool:
    assert client.connack is not None
    return client.connack.session_present


# -- session present -------------------------------------------------------------------------------------------------


@every_version
async def test_session_present_tells_whether_there_was_one(broker: TestBroker, version: int) -> None:
    """[MQTT-3.2.2-2] [MQTT-3.2.2-3] (MQTT 3.1 has no such flag, and clients that read it as reserved see 0.)"""
    first = await persistent(broker, version)
    assert not present(first)
    await first.close()
    await trio.sleep(1)
    second = await persistent(broker, version)
    assert present(second) == (version > 3)
    await second.close()
    await trio.sleep(1)
    third = await persistent(broker, version, clean_start=True)  # [MQTT-3.1.2-4]
    assert not present(third)


@every_version
async def test_clean_start_throws_the_old_session_away(broker: TestBroker, version: int) -> None:
    """[MQTT-3.1.2-4] Subscriptions and waiting messages are gone. [7.1] hooks discarded, then created."""
    recorder = Recorder(broker)
    first = await persistent(broker, version, subscribe="t", qos=1)
    await first.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"waiting", 1))
    second = await persistent(broker, version, clean_start=True)
    broker.node.publish(Message("t", b"later", 1))
    assert await second.nothing()
    assert broker.node.stats()["subscriptions.count"] == 0
    assert [event for event, *_ in recorder.of("c") if event.startswith("session.")] == [
        "session.created",
        "session.discarded",
        "session.created",
    ]


@both_families
async def test_a_session_belongs_to_its_user(broker: TestBroker, version: int) -> None:
    """Another user name with the same client identifier gets a session of its own; nobody reads what was not theirs."""
    first = await persistent(broker, version, username="ann", subscribe="t", qos=1)
    await first.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"for ann", 1))
    second = await persistent(broker, version, username="bob")
    assert not present(second)
    assert await second.nothing()


# -- how long it lives -----------------------------------------------------------------------------------------------


async def _lives(broker: TestBroker, seconds: float) -> bool:
    await trio.sleep(seconds)
    return broker.node.find("c") is not None


async def test_expiry_zero_ends_the_session_with_its_connection(broker: TestBroker) -> None:
    """[MQTT5 3.1.2.11.2] 0 or absent: the session ends when the connection is closed."""
    for expiry in (None, 0):
        client = await broker.client("c", clean_start=False, expiry=expiry, subscribe="t")
        await client.close()
        assert not await _lives(broker, 1)
    assert await shutdown_count(broker) == {"tcp_closed": 2}
    assert broker.node.stats()["sessions.count"] == 0


async def test_expiry_n_ends_it_n_seconds_after_the_connection(broker: TestBroker) -> None:
    """[MQTT-3.1.2-23]; [7.2] hook session.terminated with reason expired, [5.8] counted then and not before."""
    recorder = Recorder(broker)
    client = await broker.client("c", expiry=60, subscribe="t")
    await client.close()
    assert await _lives(broker, 55)
    assert await shutdown_count(broker) == {}
    assert not await _lives(broker, 5)
    assert recorder.of("c")[-2:] == [("client.disconnected", "tcp_closed"), ("session.terminated", "expired")]
    assert await shutdown_count(broker) == {"expired": 1}
    assert broker.node.stats()["subscriptions.count"] == 0


async def test_expiry_does_not_run_while_connected(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=5)
    assert await _lives(broker, 60)
    await client.ping()
    await client.close()
    assert await _lives(broker, 3)
    again = await broker.client("c", clean_start=False, expiry=5)
    assert present(again)
    assert await _lives(broker, 60)


async def test_expiry_ffffffff_never_ends(broker: TestBroker) -> None:
    """[MQTT5 3.1.2.11.2] 0xFFFFFFFF: the session does not expire."""
    client = await broker.client("c", expiry=FOREVER)
    await client.close()
    assert await _lives(broker, 5_000)
    assert broker.node.broker.registry.timers.next() is None


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
@zone(session_expiry_interval="30s")
async def test_mqtt3_sessions_live_as_long_as_the_zone_says(broker: TestBroker, version: int) -> None:
    """[3] session_expiry_interval is for v3 clients with clean_session=0 only."""
    kept = await persistent(broker, version)
    await kept.disconnect()
    clean = await broker.client("clean", version=version)
    await clean.disconnect()
    new = await broker.client("five", expiry=None)
    await new.disconnect()
    assert await _lives(broker, 28)
    assert broker.node.find("clean") is None
    assert broker.node.find("five") is None
    assert not await _lives(broker, 4)


async def test_disconnect_may_change_the_expiry(broker: TestBroker) -> None:
    """[MQTT5 3.14.2.2.2] [5.5] The value in DISCONNECT replaces the one in CONNECT: longer, shorter, 0, for ever."""
    for new, survives in ((100, 95), (5, 3), (FOREVER, 2_000)):
        client = await broker.client("c", expiry=50)
        await client.disconnect(properties=props(session_expiry_interval=new))
        assert await _lives(broker, survives)
    client = await broker.client("c", expiry=50)
    await client.disconnect(properties=props(session_expiry_interval=0))
    assert not await _lives(broker, 1)
    client = await broker.client("c", expiry=50)
    await client.disconnect(properties=props(session_expiry_interval=5))
    assert not await _lives(broker, 7)


async def test_disconnect_cannot_revive_an_expiry_of_zero(broker: TestBroker) -> None:
    """[MQTT5 3.14.2.2.2] 0 in CONNECT and more in DISCONNECT is a protocol error: 0x82; the will is published."""
    watcher = await broker.client("watcher", subscribe="will")
    client = await broker.client("c", will=make_publish("will", b"gone"))
    await client.send(Disconnect(0, props(session_expiry_interval=10)))
    assert await client.closed() == 0x82
    assert await watcher.message() == ("will", b"gone")
    assert not await _lives(broker, 3)
    zero = await broker.client("c")
    await zero.send(Disconnect(0, props(session_expiry_interval=0)))
    assert await zero.closed() is None


# -- what it keeps ---------------------------------------------------------------------------------------------------


@every_version
async def test_subscriptions_are_kept_and_messages_wait(broker: TestBroker, version: int) -> None:
    """[MQTT5 4.1] [7.2] While the client is away everything goes into the queue, QoS 0 too (mqueue_store_qos0)."""
    client = await persistent(broker, version)
    await client.subscribe("q1/#", qos=1)
    await client.subscribe("q2/#", qos=2)
    await client.subscribe("q0/#", qos=0)
    await client.disconnect()
    await trio.sleep(1)
    expected = []
    for number in range(12):
        topic = f"q{number % 3}/x"
        broker.node.publish(Message(topic, b"%d" % number, 2))
        expected.append((topic, b"%d" % number))
    again = await persistent(broker, version)
    assert [await again.message() for _ in range(12)] == expected
    broker.node.publish(Message("q1/live", b"x", 1))
    assert await again.message() == ("q1/live", b"x")


@every_version
async def test_retained_messages_are_not_sent_again(broker: TestBroker, version: int) -> None:
    """[7.1] Resuming is not subscribing."""
    broker.node.publish(Message("t", b"kept", 1, True))
    client = await persistent(broker, version, subscribe="t", qos=1)
    assert await client.message() == ("t", b"kept")
    await client.ping()
    await client.close()
    await trio.sleep(1)
    again = await persistent(broker, version)
    assert await again.nothing()


async def test_subscription_options_and_identifiers_are_kept(broker: TestBroker) -> None:
    """[MQTT5 4.1] "including any Subscription Identifiers"."""
    client = await persistent(broker, 5)
    await client.subscribe("t", qos=1, identifier=77)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"waiting", 2))
    again = await persistent(broker, 5)
    broker.node.publish(Message("t", b"live", 2))
    for payload in (b"waiting", b"live"):
        packet = await again.receive_publish()
        assert (packet.payload, packet.qos) == (payload, 1)
        assert packet.properties is not None
        assert packet.properties.subscription_identifier == [77]


@both_families
async def test_topic_aliases_are_not_kept(broker: TestBroker, version: int) -> None:
    """[MQTT-3.3.2-7] Both tables die with the connection."""
    alias = props(topic_alias_maximum=5) if version == 5 else None
    client = await persistent(broker, version, subscribe="some/topic", qos=1, properties=alias)
    for number in range(2):
        broker.node.publish(Message("some/topic", b"%d" % number, 1))
        packet = await client.receive_publish()
        assert packet.topic == ("some/topic" if number == 0 or version == 4 else "")
    if version == 5:
        await client.publish("up", b"", 1, properties=props(topic_alias=3))
    await client.ping()
    await client.close()
    await trio.sleep(1)
    again = await persistent(broker, version, properties=alias)
    broker.node.publish(Message("some/topic", b"x", 1))
    assert (await again.receive_publish()).topic == "some/topic"
    if version == 5:
        await again.send(make_publish("", b"", 1, False, False, 9, props(topic_alias=3)))
        assert await again.closed() == 0x82


# -- resend on resume [MQTT5 4.4] ------------------------------------------------------------------------------------


async def _hold(client: Client, count: int) -> list[Publish]:
    """Messages received and not acknowledged."""
    client.auto_ack = False
    return [await client.receive_publish() for _ in range(count)]


@every_version
async def test_what_was_in_flight_is_sent_again_in_order_before_what_waited(broker: TestBroker, version: int) -> None:
    """[MQTT-4.4.0-1] same packet identifiers and DUP=1 [MQTT-3.3.1-1]; [MQTT-4.6.0-1] in the original order; then
    PUBREL for what was released, then the queue, with new identifiers."""
    client = await persistent(broker, version)
    await client.subscribe("t", qos=2)
    client.auto_ack = False
    for number in range(6):
        broker.node.publish(Message("t", b"%d" % number, 1 + number % 2))
    sent = [await client.receive_publish() for _ in range(6)]
    assert [packet.dup for packet in sent] == [False] * 6
    await client.send(Ack(PUBREC, sent[1].packet_id))
    assert await client.receive() == Ack(PUBREL, sent[1].packet_id)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"queued", 1))
    again = await persistent(broker, version)
    again.auto_ack = False
    seen = [await again.receive() for _ in range(7)]
    publishes = [packet for packet in seen if isinstance(packet, Publish)]
    assert [packet.payload for packet in publishes] == [b"0", b"2", b"3", b"4", b"5", b"queued"]
    assert [packet.packet_id for packet in publishes[:5]] == [
        packet.packet_id for packet in sent if packet is not sent[1]
    ]
    assert [packet.qos for packet in publishes] == [1, 1, 2, 1, 2, 1]
    assert [packet.dup for packet in publishes] == [True] * 5 + [False]
    assert seen[5] == Ack(PUBREL, sent[1].packet_id)
    assert publishes[5].packet_id not in {packet.packet_id for packet in sent}


@every_version
async def test_pubrels_are_repeated_in_the_order_of_the_pubrecs(broker: TestBroker, version: int) -> None:
    """[MQTT-4.6.0-4] The order of PUBREL is the order in which the PUBRECs came."""
    client = await persistent(broker, version)
    await client.subscribe("t", qos=2)
    for number in range(3):
        broker.node.publish(Message("t", b"%d" % number, 2))
    sent = await _hold(client, 3)
    for packet in (sent[2], sent[0], sent[1]):
        await client.send(Ack(PUBREC, packet.packet_id))
        await client.receive()
    await client.close()
    await trio.sleep(1)
    again = await persistent(broker, version)
    again.auto_ack = False
    order = [sent[2].packet_id, sent[0].packet_id, sent[1].packet_id]
    assert [await again.receive() for _ in range(3)] == [Ack(PUBREL, packet_id) for packet_id in order]
    for packet_id in order:
        await again.send(Ack(PUBCOMP, packet_id))
    await again.ping()
    session = broker.node.find("c")
    assert session is not None
    assert session.inflight == {}


async def test_a_smaller_receive_maximum_holds_for_the_resend_too(broker: TestBroker) -> None:
    """[MQTT-3.3.4-9] The new connection's Receive Maximum counts, also for what was in flight before."""
    client = await persistent(broker, 5, subscribe="t", qos=1)
    for number in range(8):
        broker.node.publish(Message("t", b"%d" % number, 1))
    sent = await _hold(client, 8)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"8", 1))
    again = await persistent(broker, 5, properties=props(receive_maximum=2))
    again.auto_ack = False
    got: list[Publish] = []
    for _ in range(4):
        got += [await again.receive_publish() for _ in range(2)]
        assert await again.nothing(2)
        for packet in got[-2:]:
            await again.send(Ack(PUBACK, packet.packet_id))
    got.append(await again.receive_publish())
    assert [packet.payload for packet in got] == [b"%d" % number for number in range(9)]
    assert [packet.packet_id for packet in got[:8]] == [packet.packet_id for packet in sent]
    assert [packet.dup for packet in got] == [True] * 8 + [False]


async def test_an_acknowledgement_that_overtakes_the_resend_is_taken(broker: TestBroker) -> None:
    """The client had the message and remembers its identifier: the slot is free and nothing is sent twice."""
    client = await persistent(broker, 5, subscribe="t", qos=2)
    for number in range(4):
        broker.node.publish(Message("t", b"%d" % number, 1 + number % 2))
    sent = await _hold(client, 4)
    await client.close()
    await trio.sleep(1)
    again = await persistent(broker, 5, properties=props(receive_maximum=1))
    again.auto_ack = False
    assert (await again.receive_publish()).payload == b"0"
    await again.send(Ack(PUBREC, sent[1].packet_id))
    await again.send(Ack(PUBACK, sent[2].packet_id))
    assert await again.receive() == Ack(PUBREL, sent[1].packet_id)
    await again.send(Ack(PUBCOMP, sent[1].packet_id))
    await again.send(Ack(PUBACK, sent[0].packet_id))
    last = await again.receive_publish()
    assert (last.payload, last.dup, last.packet_id) == (b"3", True, sent[3].packet_id)
    assert await again.nothing()


@both_families
async def test_expired_messages_are_not_sent_again(broker: TestBroker, version: int) -> None:
    """[7.3] [7.6] Checked at the resend: dropped with reason `expired`, and the slot is free."""
    recorder = Recorder(broker)
    client = await persistent(broker, version, subscribe="t", qos=1)
    broker.node.publish(Message("t", b"short", 1, properties=props(message_expiry_interval=5)))
    broker.node.publish(Message("t", b"long", 1, properties=props(message_expiry_interval=500)))
    await _hold(client, 2)
    await client.close()
    await trio.sleep(10)
    again = await persistent(broker, version)
    packet = await again.receive_publish()
    assert (packet.payload, packet.dup) == (b"long", True)
    if version == 5:
        assert packet.properties is not None
        assert packet.properties.message_expiry_interval == 490
    assert recorder.dropped == [("c", b"short", "expired")]
    session = broker.node.find("c")
    assert session is not None
    await again.ping()
    assert session.inflight == {}


async def test_a_message_too_large_for_the_new_connection_does_not_block_the_window(broker: TestBroker) -> None:
    """[MQTT-3.1.2-24] [6.7] → free the slot."""
    client = await persistent(broker, 5, subscribe="t", qos=1)
    broker.node.publish(Message("t", b"x" * 500, 1))
    broker.node.publish(Message("t", b"small", 1))
    await _hold(client, 2)
    await client.close()
    await trio.sleep(1)
    counted = Counted(broker)
    again = await persistent(broker, 5, properties=props(maximum_packet_size=100, receive_maximum=1))
    assert await again.message() == ("t", b"small")
    assert counted["delivery.dropped.too_large"] == 1


@both_families
async def test_a_session_may_change_its_protocol_version(broker: TestBroker, version: int) -> None:
    """State belongs to the client identifier, not to the version it was made with."""
    other = 9 - version
    client = await persistent(broker, version, subscribe="t", qos=1)
    broker.node.publish(Message("t", b"flying", 1))
    await _hold(client, 1)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("t", b"waiting", 1, properties=props(content_type="text")))
    again = await persistent(broker, other)
    assert present(again)
    assert [await again.message() for _ in range(2)] == [("t", b"flying"), ("t", b"waiting")]


@both_families
async def test_a_qos2_message_is_not_taken_twice_across_a_reconnect(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.3-10] awaiting_rel survives [6.1]: the repetition is acknowledged and not routed again."""
    watcher = await broker.client("watcher", subscribe="t")
    client = await persistent(broker, version)
    await client.send(make_publish("t", b"once", 2, False, False, 7))
    assert await client.receive() == Ack(PUBREC, 7)
    await client.close()
    await trio.sleep(1)
    again = await persistent(broker, version)
    await again.send(make_publish("t", b"once", 2, False, True, 7))
    assert await again.receive() == Ack(PUBREC, 7)
    await again.send(Ack(PUBREL, 7))
    assert await again.receive() == Ack(PUBCOMP, 7)
    assert await watcher.message() == ("t", b"once")
    assert await watcher.nothing()


async def test_send_counters_start_again_with_every_connection(broker: TestBroker) -> None:
    """[7.7]"""
    client = await persistent(broker, 5, subscribe="t", qos=1)
    broker.node.publish(Message("t", b"x", 1))
    await client.message()
    await client.close()
    await trio.sleep(1)
    await persistent(broker, 5)
    session = broker.node.find("c")
    assert session is not None
    assert (session.sent.qos1, session.sent.dropped) == (0, 0)


async def test_an_ended_session_hands_its_shared_messages_to_another_member(broker: TestBroker) -> None:
    """[8] Unacknowledged QoS 1 and the shared part of the queue go to another member when the session ends."""
    one = await persistent(
        broker, 5, "one", expiry=20, subscribe="$share/g/t", qos=1, properties=props(receive_maximum=1)
    )
    one.auto_ack = False
    for number in range(3):
        broker.node.publish(Message("t", b"%d" % number, 1))
    await one.receive_publish()
    two = await broker.client("two", subscribe="$share/g/t", qos=1)
    await one.close()
    assert await two.nothing(15)
    await trio.sleep(8)
    assert sorted([(await two.message())[1] for _ in range(3)]) == [b"0", b"1", b"2"]


# -- how a connection ends [5.8] -------------------------------------------------------------------------------------


@both_families
async def test_the_reason_of_an_end_is_told_to_hooks_and_counted(broker: TestBroker, version: int) -> None:
    """client.disconnected, session.terminated and shutdown_count get the same name."""
    recorder = Recorder(broker)
    normal = await broker.client("normal", version=version)
    await normal.disconnect()
    lost = await broker.client("lost", version=version)
    await lost.close()
    wrong = await broker.client("wrong", version=version)
    await wrong.send_raw(b"\x82\x00")
    silent = await broker.client("silent", version=version, keepalive=2)
    kicked = await broker.client("kicked", version=version)
    assert broker.node.kick("kicked")
    await trio.sleep(10)
    assert await kicked.closed() == (0x98 if version == 5 else None)
    assert await silent.closed() == (0x8D if version == 5 else None)
    reasons = {
        "normal": "normal",
        "lost": "tcp_closed",
        "wrong": "malformed_packet",
        "silent": "keepalive_timeout",
        "kicked": "kicked",
    }
    for clientid, reason in reasons.items():
        assert recorder.of(clientid)[-2:] == [("client.disconnected", reason), ("session.terminated", reason)]
    assert await shutdown_count(broker) == dict.fromkeys(reasons.values(), 1)


async def test_disconnect_with_a_reason_code_gives_its_name(broker: TestBroker) -> None:
    """[5.5] The close reason is `normal` or the code's name."""
    recorder = Recorder(broker)
    for code, name in ((0x04, "disconnect_with_will_message"), (0x80, "unspecified_error"), (0x97, "quota_exceeded")):
        client = await broker.client("c")
        await client.disconnect(code)
        await trio.sleep(2)
        assert recorder.of("c")[-1] == ("session.terminated", name)


async def test_a_kept_session_is_counted_when_it_ends(broker: TestBroker) -> None:
    """[5.8] ... and then with the terminating reason: expired, kicked, takeovered, discarded."""
    for clientid in ("expires", "kicked", "resumed", "thrown"):
        client = await broker.client(clientid, expiry=30 if clientid == "expires" else 1000)
        await client.close()
    await trio.sleep(5)
    assert await shutdown_count(broker) == {}
    await trio.sleep(30)
    broker.node.kick("kicked")
    resumed = await broker.client("resumed", clean_start=False)
    assert present(resumed)
    await broker.client("thrown")
    assert await shutdown_count(broker) == {"expired": 1, "kicked": 1, "takeovered": 1, "discarded": 1}


async def test_nothing_follows_a_disconnect(broker: TestBroker) -> None:
    """[MQTT-3.14.4-1] After its DISCONNECT the server sends nothing, and what comes for the client waits."""
    client = await broker.client("c", expiry=100, subscribe="t", qos=1)
    await client.send_raw(b"\x82\x00")
    await trio.testing.wait_all_tasks_blocked()
    session = broker.node.find("c")
    assert session is not None
    assert len(broker.node.broker.registry.channels) == 1  # the socket waits for the client's end
    broker.node.publish(Message("t", b"late", 1))
    with pytest.raises(Exception, match="MALFORMED"):
        await client.receive_publish()
    again = await broker.client("c", clean_start=False)
    packet = await again.receive_publish()
    assert (packet.payload, packet.dup) == (b"late", False)


async def test_a_will_and_a_session_end_leave_no_timer(broker: TestBroker) -> None:
    """Registries are empty when the last session has gone."""
    for number in range(20):
        will = Will("w", b"x", 0, False, props(will_delay_interval=number))
        client = await broker.client(f"c{number}", expiry=number, subscribe=f"t/{number}/#", will=will)
        await client.close()
    await trio.sleep(30)
    registry = broker.node.broker.registry
    assert (len(registry.sessions), len(registry.channels), len(registry.timers)) == (0, 0, 0)
    assert broker.node.stats()["subscriptions.count"] == 0
    assert broker.node.broker.router.routes == 0
