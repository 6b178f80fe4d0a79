"""Quality of service [MQTT5 4.3, 4.4, 4.6, 4.9] [broker.md 6.1, 7.3]: both directions, identifiers, windows, retry."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Counted, Recorder, both_families, every_version, props, zone

from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.testing import Client, TestBroker
from trioemqx.types import Message, SubOpts

IN_USE = 0x91
NOT_FOUND = 0x92


async def receiver(broker: TestBroker, version: int, qos: int = 2, **more: object) -> Client:
    """A client that is subscribed to `t` and acknowledges nothing by itself."""
    client = await broker.client("c", version=version, subscribe="t", qos=qos, **more)  # type: ignore[arg-type]
    client.auto_ack = False
    return client


def send(broker: TestBroker, *payloads: bytes, qos: int = 1) -> None:
    for payload in payloads:
        broker.node.publish(Message("t", payload, qos))


def inflight(broker: TestBroker) -> list[int]:
    session = broker.node.find("c")
    assert session is not None
    return list(session.inflight)


# -- from the client -------------------------------------------------------------------------------------------------


@every_version
async def test_qos1_in(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.2-4] PUBACK with the packet's identifier, once per PUBLISH; a repetition is routed again."""
    watcher = await broker.client("watcher", subscribe="t", qos=1)
    client = await broker.client("c", version=version)
    for dup in (False, True):
        await client.send(make_publish("t", b"x", 1, False, dup, 77))
        assert await client.receive() == Ack(PUBACK, 77)
        packet = await watcher.receive_publish()
        assert (packet.payload, packet.dup) == (b"x", False)  # [MQTT-3.3.1-3] DUP is not propagated


@every_version
async def test_qos2_in(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.3-8..12] PUBREC, PUBREL, PUBCOMP; [6.1] routed at PUBLISH time."""
    watcher = await broker.client("watcher", subscribe="t", qos=2)
    client = await broker.client("c", version=version)
    await client.send(make_publish("t", b"x", 2, False, False, 5))
    assert await client.receive() == Ack(PUBREC, 5)
    assert await watcher.message() == ("t", b"x")
    await client.send(Ack(PUBREL, 5))
    assert await client.receive() == Ack(PUBCOMP, 5)
    await client.send(make_publish("t", b"y", 2, False, False, 5))  # the identifier is free again
    assert await client.receive() == Ack(PUBREC, 5)
    assert await watcher.message() == ("t", b"y")


@every_version
async def test_a_repeated_qos2_publish_is_not_routed_again(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.3-10] with DUP it is acknowledged as before; without it the identifier is in use: 0x91 in MQTT 5."""
    recorder = Recorder(broker)
    watcher = await broker.client("watcher", subscribe="t")
    counted = Counted(broker)
    client = await broker.client("c", version=version)
    await client.send(make_publish("t", b"x", 2, False, False, 5))
    assert await client.receive() == Ack(PUBREC, 5)
    await client.send(make_publish("t", b"x", 2, False, True, 5))
    assert await client.receive() == Ack(PUBREC, 5)
    await client.send(make_publish("t", b"other", 2, False, False, 5))
    assert await client.receive() == Ack(PUBREC, 5, IN_USE if version == 5 else 0)
    await client.send(Ack(PUBREL, 5))
    assert await client.receive() == Ack(PUBCOMP, 5)
    assert await watcher.message() == ("t", b"x")
    assert await watcher.nothing()
    assert counted["packets.publish.inuse"] == 2
    assert [reason for _, _, reason in recorder.dropped] == ["packet_identifier_inuse"] * 2


@every_version
async def test_pubrel_of_an_unknown_identifier(broker: TestBroker, version: int) -> None:
    """[6.1] PUBCOMP 0x92 (MQTT 3 has no code); a repeated PUBREL is answered too [MQTT-4.3.3-11]."""
    client = await broker.client("c", version=version)
    for _ in range(2):
        await client.send(Ack(PUBREL, 9))
        assert await client.receive() == Ack(PUBCOMP, 9, NOT_FOUND if version == 5 else 0)
    assert broker.node.metrics["packets.pubrel.missed"] == 2


@both_families
async def test_nobody_listens(broker: TestBroker, version: int) -> None:
    """[6.1] 0x10 in PUBACK and PUBREC when no route received it; the QoS 2 exchange is an ordinary one."""
    client = await broker.client("c", version=version)
    expected = 0x10 if version == 5 else 0
    assert await client.publish("t", b"", 1) == expected
    assert await client.publish("t", b"", 2) == expected


@every_version
@zone(max_awaiting_rel=3)
async def test_more_unreleased_messages_than_max_awaiting_rel(broker: TestBroker, version: int) -> None:
    """[MQTT-3.3.4-8] [6.1] DISCONNECT 0x93, message.dropped with receive_maximum_exceeded; what was taken is kept."""
    recorder = Recorder(broker)
    watcher = await broker.client("watcher", subscribe="t")
    client = await broker.client("c", version=version, clean_start=False, expiry=100 if version == 5 else None)
    if version == 5:
        assert client.connack is not None
        assert client.connack.properties is not None
        assert client.connack.properties.receive_maximum == 3
    for packet_id in range(1, 5):
        await client.send(make_publish("t", b"%d" % packet_id, 2, False, False, packet_id))
    for packet_id in range(1, 4):
        assert await client.receive() == Ack(PUBREC, packet_id)
    assert await client.closed() == (0x93 if version == 5 else None)
    assert [(await watcher.message())[1] for _ in range(3)] == [b"1", b"2", b"3"]
    assert await watcher.nothing()
    assert recorder.dropped == [("", b"4", "receive_maximum_exceeded")]
    again = await broker.client("c", version=version, clean_start=False, expiry=100 if version == 5 else None)
    await again.send(Ack(PUBREL, 2))
    assert await again.receive() == Ack(PUBCOMP, 2)
    await again.send(make_publish("t", b"5", 2, False, False, 2))
    assert await again.receive() == Ack(PUBREC, 2)


@both_families
@zone(max_awaiting_rel=1)
async def test_qos1_does_not_count_against_awaiting_rel(broker: TestBroker, version: int) -> None:
    """A QoS 1 message is done with its PUBACK, so it holds nothing."""
    client = await broker.client("c", version=version)
    await client.send(make_publish("t", b"", 2, False, False, 1))
    await client.receive()
    for _ in range(5):
        await client.publish("t", b"", 1)


@every_version
@zone(await_rel_timeout="10s")
async def test_an_identifier_without_pubrel_is_forgotten_in_time(broker: TestBroker, version: int) -> None:
    """[6.1] await_rel_timeout; each counts in messages.dropped and messages.dropped.await_pubrel_timeout."""
    client = await broker.client("c", version=version)
    counted = Counted(broker)
    for packet_id in (1, 2):
        await client.send(make_publish("t", b"", 2, False, False, packet_id))
        await client.receive()
    before = counted["messages.dropped"]  # nobody listens
    await trio.sleep(8)
    assert counted["messages.dropped.await_pubrel_timeout"] == 0
    await trio.sleep(4)
    assert counted["messages.dropped.await_pubrel_timeout"] == 2
    assert counted["messages.dropped"] - before == 2
    await client.send(Ack(PUBREL, 1))
    assert await client.receive() == Ack(PUBCOMP, 1, NOT_FOUND if version == 5 else 0)


@every_version
async def test_acknowledgements_come_in_the_order_of_the_publishes(broker: TestBroker, version: int) -> None:
    """[MQTT-4.6.0-2] [MQTT-4.6.0-3] PUBACKs and PUBRECs in the order of the PUBLISHes, [MQTT-4.6.0-4] PUBCOMPs too."""
    client = await broker.client("c", version=version)
    for packet_id in range(1, 21):
        await client.send(make_publish("t", b"", 1 + packet_id % 2, False, False, packet_id))
    seen = [await client.receive() for _ in range(20)]
    assert [packet.packet_id for packet in seen if isinstance(packet, Ack)] == list(range(1, 21))
    for packet_id in range(19, 0, -2):
        await client.send(Ack(PUBREL, packet_id))
    seen = [await client.receive() for _ in range(10)]
    assert seen == [Ack(PUBCOMP, packet_id) for packet_id in range(19, 0, -2)]


# -- to the client ---------------------------------------------------------------------------------------------------


@every_version
async def test_qos1_out(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.2-1..3] Unused identifier, DUP 0, done with PUBACK; hooks message.acked and delivery.completed."""
    recorder = Recorder(broker)
    client = await receiver(broker, version)
    send(broker, b"x")
    packet = await client.receive_publish()
    assert (packet.qos, packet.dup) == (1, False)
    assert packet.packet_id > 0
    assert (recorder.acked, recorder.completed) == ([], [])
    await client.send(Ack(PUBACK, packet.packet_id))
    await client.ping()
    assert inflight(broker) == []
    assert (recorder.acked, recorder.completed) == ([b"x"], [b"x"])
    assert broker.node.metrics["messages.acked"] == 1


@every_version
async def test_qos2_out(broker: TestBroker, version: int) -> None:
    """[MQTT-4.3.3-1..7] acked with PUBREC, completed with PUBCOMP; the identifier is in use until then."""
    recorder = Recorder(broker)
    client = await receiver(broker, version)
    send(broker, b"x", qos=2)
    packet = await client.receive_publish()
    assert (packet.qos, packet.dup) == (2, False)
    await client.send(Ack(PUBREC, packet.packet_id))
    assert await client.receive() == Ack(PUBREL, packet.packet_id)
    assert inflight(broker) == [packet.packet_id]
    assert (recorder.acked, recorder.completed) == ([b"x"], [])
    await client.send(Ack(PUBCOMP, packet.packet_id))
    await client.ping()
    assert inflight(broker) == []
    assert (recorder.acked, recorder.completed) == ([b"x"], [b"x"])


@every_version
async def test_qos0_out_is_complete_when_it_is_sent(broker: TestBroker, version: int) -> None:
    recorder = Recorder(broker)
    client = await receiver(broker, version)
    send(broker, b"x", qos=0)
    packet = await client.receive_publish()
    assert (packet.qos, packet.packet_id) == (0, 0)
    assert (recorder.acked, recorder.completed) == ([], [b"x"])


@every_version
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
async def test_the_lower_qos_wins(broker: TestBroker, version: int, published: int, subscribed: int) -> None:
    """[MQTT-3.8.4-8] QoS = min(publish, subscription)."""
    client = await receiver(broker, version, subscribed)
    send(broker, b"x", qos=published)
    assert (await client.receive_publish()).qos == min(published, subscribed)


@both_families
@zone(upgrade_qos=True)
@pytest.mark.parametrize(("published", "subscribed"), [(0, 2), (2, 0), (1, 2), (0, 0)])
async def test_upgrade_qos_lets_the_higher_win(
    broker: TestBroker, version: int, published: int, subscribed: int
) -> None:
    """[3] upgrade_qos."""
    client = await receiver(broker, version, subscribed)
    send(broker, b"x", qos=published)
    assert (await client.receive_publish()).qos == max(published, subscribed)


@every_version
async def test_acknowledgements_nobody_waits_for(broker: TestBroker, version: int) -> None:
    """[7.3] Unknown ids: PUBACK and PUBCOMP counted, PUBREC answered with PUBREL 0x92; the connection lives."""
    client = await receiver(broker, version)
    counted = Counted(broker)
    await client.send(Ack(PUBACK, 40))
    await client.send(Ack(PUBCOMP, 41))
    await client.send(Ack(PUBREC, 42))
    assert await client.receive() == Ack(PUBREL, 42, NOT_FOUND if version == 5 else 0)
    assert counted("packets.puback.missed", "packets.pubcomp.missed", "packets.pubrec.missed") == [1, 1, 1]
    await client.ping()


@every_version
async def test_acknowledgements_of_the_wrong_kind(broker: TestBroker, version: int) -> None:
    """[7.3] Wrong state: `…inuse` metrics, and the exchange goes on as if nothing had come."""
    client = await receiver(broker, version)
    counted = Counted(broker)
    send(broker, b"one", qos=1)
    send(broker, b"two", qos=2)
    one, two = [await client.receive_publish() for _ in range(2)]
    await client.send(Ack(PUBREC, one.packet_id))
    assert await client.receive() == Ack(PUBREL, one.packet_id, NOT_FOUND if version == 5 else 0)
    await client.send(Ack(PUBCOMP, one.packet_id))
    await client.send(Ack(PUBACK, two.packet_id))
    await client.send(Ack(PUBCOMP, two.packet_id))
    await client.ping()
    assert inflight(broker) == [one.packet_id, two.packet_id]
    assert counted("packets.puback.inuse", "packets.pubrec.inuse", "packets.pubcomp.inuse") == [1, 1, 2]
    await client.send(Ack(PUBACK, one.packet_id))
    await client.send(Ack(PUBREC, two.packet_id))
    assert await client.receive() == Ack(PUBREL, two.packet_id)
    await client.send(Ack(PUBREC, two.packet_id))  # the PUBREL may have been lost: it is repeated
    assert await client.receive() == Ack(PUBREL, two.packet_id)
    await client.send(Ack(PUBACK, two.packet_id))
    await client.ping()
    assert inflight(broker) == [two.packet_id]
    await client.send(Ack(PUBCOMP, two.packet_id))
    await client.ping()
    assert inflight(broker) == []


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97, 0x99])
async def test_a_refusing_pubrec_ends_the_exchange(broker: TestBroker, code: int) -> None:
    """[MQTT-4.3.3-4] PUBREL only after a PUBREC below 0x80; otherwise the identifier is free at once."""
    client = await receiver(broker, 5, properties=props(receive_maximum=1))
    send(broker, b"refused", b"next", qos=2)
    packet = await client.receive_publish()
    await client.send(Ack(PUBREC, packet.packet_id, code))
    following = await client.receive_publish()
    assert (following.payload, following.dup) == (b"next", False)


async def test_a_refusing_puback_frees_the_slot_too(broker: TestBroker) -> None:
    """[7.3] Reason codes inside client acks are ignored."""
    client = await receiver(broker, 5, properties=props(receive_maximum=1))
    send(broker, b"refused", b"next")
    packet = await client.receive_publish()
    await client.send(Ack(PUBACK, packet.packet_id, 0x97))
    assert (await client.receive_publish()).payload == b"next"


# -- windows [MQTT5 4.9] ---------------------------------------------------------------------------------------------


async def _window(client: Client) -> int:
    """How many messages come without being acknowledged."""
    count = 0
    while not await client.nothing(0.5):
        count += 1
    return count


@zone(max_inflight=10)
@pytest.mark.parametrize(("receive_maximum", "expected"), [(None, 10), (3, 3), (10, 10), (65535, 10)])
async def test_the_window_is_the_smaller_of_receive_maximum_and_max_inflight(
    broker: TestBroker, receive_maximum: int | None, expected: int
) -> None:
    """[MQTT-3.3.4-9] [5.2 step 1]"""
    client = await receiver(broker, 5, properties=props(receive_maximum=receive_maximum))
    send(broker, *[b"x"] * 15)
    assert await _window(client) == expected


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
@zone(max_inflight=4)
async def test_mqtt3_has_max_inflight_only(broker: TestBroker, version: int) -> None:
    client = await receiver(broker, version)
    send(broker, *[b"x"] * 15, qos=2)
    assert await _window(client) == 4


@both_families
async def test_max_inflight_zero_is_65535(broker: TestBroker, version: int) -> None:
    """[3] 0 ⇒ 65535: two thousand unacknowledged messages are no reason to wait."""
    client = await receiver(broker, version)
    send(broker, *[b"x"] * 2000)
    for _ in range(2000):
        await client.receive_publish()
    assert len(inflight(broker)) == 2000


@every_version
@zone(max_inflight=2)
async def test_a_slot_is_free_with_puback_and_with_pubcomp(broker: TestBroker, version: int) -> None:
    """[MQTT-4.9.0-2] PUBREC does not free it: the message counts until PUBCOMP."""
    client = await receiver(broker, version)
    send(broker, b"0", b"1", b"2", b"3", qos=2)
    first = await client.receive_publish()
    await client.receive_publish()
    await client.send(Ack(PUBREC, first.packet_id))
    assert await client.receive() == Ack(PUBREL, first.packet_id)
    assert await client.nothing()
    await client.send(Ack(PUBCOMP, first.packet_id))
    assert (await client.receive_publish()).payload == b"2"
    assert await client.nothing()


@every_version
@zone(max_inflight=1)
async def test_a_full_window_holds_up_nothing_else(broker: TestBroker, version: int) -> None:
    """[MQTT-3.3.4-10] [MQTT-4.9.0-3] QoS 0 messages, acknowledgements and answers go on."""
    client = await receiver(broker, version)
    send(broker, b"one", b"waits")
    await client.receive_publish()
    send(broker, b"zero", qos=0)
    assert await client.message() == ("t", b"zero")
    await client.ping()
    assert await client.subscribe("other", qos=1) == [1]
    assert await client.publish("other/x", b"", 1) in (0, 0x10)
    assert await client.nothing()


@every_version
@zone(max_inflight=1)
async def test_qos0_that_waited_for_an_absent_client_passes_a_full_window(broker: TestBroker, version: int) -> None:
    """[MQTT-3.3.4-10] also behind QoS 1 messages in the queue; in order among themselves [MQTT-4.6.0-5]."""
    expiry = 100 if version == 5 else None
    client = await broker.client("c", version=version, clean_start=False, expiry=expiry)
    await client.subscribe("t", qos=1)
    await client.close()
    await trio.sleep(1)
    for number in range(6):
        send(broker, b"%d" % number, qos=number % 2)
    again = await broker.raw(version)
    again.auto_ack = False
    await again.connect("c", clean_start=False, properties=props(session_expiry_interval=100) if expiry else None)
    seen = [await again.receive_publish() for _ in range(4)]
    assert [packet.payload for packet in seen if packet.qos == 0] == [b"0", b"2", b"4"]
    assert [packet.payload for packet in seen if packet.qos == 1] == [b"1"]
    again.auto_ack = True
    await again.send(Ack(PUBACK, next(packet.packet_id for packet in seen if packet.qos)))
    assert [(await again.message())[1] for _ in range(2)] == [b"3", b"5"]


@every_version
@zone(max_inflight=3)
async def test_messages_keep_their_order_through_window_and_queue(broker: TestBroker, version: int) -> None:
    """[MQTT-4.6.0-5] Per topic and QoS, whatever had to wait."""
    client = await broker.client("c", version=version)
    await client.subscribe("t", qos=2)
    for number in range(100):
        send(broker, b"%d" % number, qos=1)
    for number in range(100, 200):
        send(broker, b"%d" % number, qos=2)
    assert [(await client.message())[1] for _ in range(200)] == [b"%d" % number for number in range(200)]


# -- packet identifiers [MQTT5 2.2.1] --------------------------------------------------------------------------------


@every_version
async def test_identifiers_count_up_and_wrap_without_zero(broker: TestBroker, version: int) -> None:
    """[MQTT-2.2.1-3] 1…65535."""
    client = await receiver(broker, version)
    session = broker.node.find("c")
    assert session is not None
    session.next_id = 65534
    send(broker, *[b"x"] * 4)
    packets = [await client.receive_publish() for _ in range(4)]
    assert [packet.packet_id for packet in packets] == [65534, 65535, 1, 2]


@every_version
async def test_an_identifier_in_use_is_passed_over(broker: TestBroker, version: int) -> None:
    """[MQTT-2.2.1-4] Reused only when its exchange is over [7.3 → add an in-use check]."""
    client = await receiver(broker, version)
    session = broker.node.find("c")
    assert session is not None
    send(broker, *[b"x"] * 3)
    held = [(await client.receive_publish()).packet_id for _ in range(3)]
    await client.send(Ack(PUBACK, held[1]))
    await client.ping()
    session.next_id = held[0]
    send(broker, b"x", b"x")
    assert [(await client.receive_publish()).packet_id for _ in range(2)] == [held[1], held[2] + 1]


async def test_both_directions_have_identifiers_of_their_own(broker: TestBroker) -> None:
    """[MQTT5 2.2.1] Client and server assign independently: the same number may fly both ways."""
    client = await receiver(broker, 5)
    send(broker, b"down", qos=2)
    packet = await client.receive_publish()
    await client.send(make_publish("other", b"up", 2, False, False, packet.packet_id))
    assert await client.ack(PUBREC, packet.packet_id) == Ack(PUBREC, packet.packet_id, 0x10)
    await client.send(Ack(PUBREL, packet.packet_id))
    assert await client.receive() == Ack(PUBCOMP, packet.packet_id)
    await client.send(Ack(PUBREC, packet.packet_id))
    assert await client.receive() == Ack(PUBREL, packet.packet_id)


async def test_one_message_for_two_filters_has_two_identifiers(broker: TestBroker) -> None:
    """[6.2] One delivery per matching subscription, each with its own QoS."""
    client = await broker.client("c", version=5)
    await client.subscribe("t", qos=1)
    await client.subscribe("+", qos=2)
    client.auto_ack = False
    send(broker, b"x", qos=2)
    packets = [await client.receive_publish() for _ in range(2)]
    assert sorted(packet.qos for packet in packets) == [1, 2]
    assert len({packet.packet_id for packet in packets}) == 2


# -- retry [MQTT5 4.4] [broker.md 7.3] -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
@zone(retry_interval="10s")
async def test_mqtt3_gets_again_what_it_has_not_acknowledged(broker: TestBroker, version: int) -> None:
    """Every retry_interval, oldest first: PUBLISH with DUP=1 [MQTT-3.3.1-1], or PUBREL; re-stamped each time."""
    client = await receiver(broker, version)
    send(broker, b"one")
    send(broker, b"two", b"three", qos=2)
    one, two, three = [await client.receive_publish() for _ in range(3)]
    await client.send(Ack(PUBREC, two.packet_id))
    await client.receive()
    assert await client.nothing(9)
    for _ in range(2):
        await trio.sleep(1.5)
        seen = [await client.receive() for _ in range(3)]
        publishes = [packet for packet in seen if isinstance(packet, Publish)]
        assert [(packet.packet_id, packet.dup, packet.payload) for packet in publishes] == [
            (one.packet_id, True, b"one"),
            (three.packet_id, True, b"three"),
        ]
        assert Ack(PUBREL, two.packet_id) in seen
        assert await client.nothing(7.5)
        await trio.sleep(0.5)


@zone(retry_interval="10s")
async def test_mqtt5_gets_nothing_again_on_a_live_connection(broker: TestBroker) -> None:
    """[MQTT-4.4.0-1] Only after a reconnect."""
    client = await receiver(broker, 5)
    send(broker, b"x")
    await client.receive_publish()
    assert await client.nothing(60)


@zone(retry_interval=0)
async def test_retry_interval_zero_switches_it_off(broker: TestBroker) -> None:
    """[3] 0 disables re-delivery."""
    client = await receiver(broker, 4)
    send(broker, b"x")
    await client.receive_publish()
    assert await client.nothing(60)


@zone(retry_interval="10s")
async def test_an_expired_message_is_dropped_instead_of_repeated(broker: TestBroker) -> None:
    """[7.3] Hook delivery.dropped with reason expired; the slot is free."""
    recorder = Recorder(broker)
    client = await receiver(broker, 4)
    broker.node.publish(Message("t", b"x", 1, properties=props(message_expiry_interval=5)))
    await client.receive_publish()
    assert await client.nothing(15)
    assert recorder.dropped == [("c", b"x", "expired")]
    assert inflight(broker) == []


@zone(retry_interval="2s")
async def test_nothing_is_repeated_into_a_connection_that_does_not_read(broker: TestBroker) -> None:
    """What was sent before has not left the server yet: repeating it would only cost memory."""
    client = await receiver(broker, 4)
    send(broker, *[b"x" * 100_000] * 9)
    await trio.sleep(0.1)
    session = broker.node.find("c")
    assert session is not None
    assert session.out is not None
    before = session.out.size
    assert before > 0
    await trio.sleep(10)
    assert session.out.size == before
    assert [len((await client.receive_publish()).payload) for _ in range(9)] == [100_000] * 9


# -- counters --------------------------------------------------------------------------------------------------------


@every_version
async def test_what_is_counted(broker: TestBroker, version: int) -> None:
    """[10] packets and messages by QoS, both ways."""
    client = await broker.client("c", version=version)
    await client.subscribe("t", opts=SubOpts(2))
    publisher = await broker.client("p", version=version)
    counted = Counted(broker)
    for qos in (0, 1, 2):
        await publisher.publish("t", b"x", qos)
        await client.message()
    for _ in range(2):  # PUBREL, then its PUBCOMP
        await client.ping()
    for way in ("received", "sent"):
        assert counted(*[f"messages.qos{qos}.{way}" for qos in range(3)], f"packets.publish.{way}") == [1, 1, 1, 3]
        kinds = ("puback", "pubrec", "pubrel", "pubcomp")
        assert counted(*[f"packets.{kind}.{way}" for kind in kinds]) == [1, 1, 1, 1]
    assert counted("messages.delivered", "messages.acked", "messages.publish") == [3, 2, 3]
    session = broker.node.find("c")
    assert session is not None
    assert (session.sent.qos0, session.sent.qos1, session.sent.qos2) == (1, 1, 1)
