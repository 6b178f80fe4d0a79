"""The scenarios of the Eclipse Paho interoperability suite for MQTT 5, against a real port."""

from __future__ import annotations

import pytest
import trio

from trioemqx.codec.control import Disconnect, Suback, Subscribe
from trioemqx.codec.packets import PUBACK, Ack
from trioemqx.testing import Closed, Refused, Will, make_publish
from trioemqx.types import Properties, SubOpts


def properties(**values: object) -> Properties:
    found = Properties()
    for key, value in values.items():
        setattr(found, key, value)
    return found


async def test_basic(dialer, topic, name):
    client = await dialer.client(name)
    assert await client.subscribe(topic, qos=2) == [2]
    for qos in (0, 1, 2):
        assert await client.publish(topic, b"message %d" % qos, qos=qos) == 0
    received = [await client.receive_publish() for _ in range(3)]
    assert [(packet.payload, packet.qos) for packet in received] == [(b"message %d" % qos, qos) for qos in (0, 1, 2)]
    await client.disconnect()

    twice = await dialer.client(name)
    with pytest.raises(Closed) as end:
        await twice.connect(name)
    assert end.value.code == 0x82


async def test_retained_message(dialer, topic, name):
    """Retained messages keep their properties, and clearing one is a message like any other to who is there."""
    publisher = await dialer.client(f"{name}p")
    for qos in (0, 1, 2):
        marked = properties(user_property=[("qos", str(qos))])
        await publisher.publish(f"{topic}/{qos}", b"qos %d" % qos, qos=qos, retain=True, properties=marked)
    await publisher.ping()

    late = await dialer.client(name, subscribe=f"{topic}/+", qos=2)
    received = sorted([await late.receive_publish() for _ in range(3)], key=lambda packet: packet.topic)
    assert [(packet.payload, packet.qos, packet.retain) for packet in received] == [
        (b"qos %d" % qos, qos, True) for qos in (0, 1, 2)
    ]
    assert [packet.properties.user_property for packet in received] == [[("qos", str(qos))] for qos in (0, 1, 2)]

    for qos in (0, 1, 2):
        await publisher.publish(f"{topic}/{qos}", b"", qos=2, retain=True)
    cleared = await dialer.client(f"{name}c", subscribe=f"{topic}/+", qos=2)
    await cleared.ping()
    assert cleared.inbox == []


async def test_offline_message_queueing(dialer, topic, name):
    sleeper = await dialer.client(name, subscribe=f"{topic}/#", qos=2, expiry=60)
    await sleeper.disconnect()
    publisher = await dialer.client(f"{name}p")
    for qos in (0, 1, 2):
        await publisher.publish(f"{topic}/{qos}", b"qos %d" % qos, qos=qos)
    await publisher.ping()

    awake = await dialer.client(name, clean_start=False, expiry=0)
    assert awake.connack.session_present
    received = {(await awake.message())[1] for _ in range(3)}
    assert received == {b"qos 0", b"qos 1", b"qos 2"}


async def test_will_message(dialer, topic, name):
    watcher = await dialer.client(f"{name}w", subscribe=topic, qos=2)
    extra = properties(user_property=[("a", "2"), ("c", "3")], content_type="text/plain")
    dying = await dialer.client(name, will=Will(topic, b"will message", 1, False, extra))
    await dying.close()

    packet = await watcher.receive_publish()
    assert (packet.payload, packet.qos) == (b"will message", 1)
    assert packet.properties.user_property == [("a", "2"), ("c", "3")]
    assert packet.properties.content_type == "text/plain"


async def test_disconnect_with_will(dialer, topic, name):
    """Reason code 0x04 asks for the will although the client says goodbye; 0x00 drops it."""
    watcher = await dialer.client(f"{name}w", subscribe=topic)
    for code in (0x00, 0x04):
        leaving = await dialer.client(name, will=Will(topic, b"%d" % code, 0, False, None))
        await leaving.disconnect(code)

    assert await watcher.message() == (topic, b"4")


async def test_will_delay(dialer, topic, name):
    """The will waits for its delay, but no longer than the session lives; a client that is back in time cancels it."""
    watcher = await dialer.client(f"{name}w", subscribe=f"{topic}/+", qos=1)
    wills = {"delay": (1, 60), "session": (60, 1), "back": (1, 60)}
    begin = trio.current_time()
    for which, (delay, expiry) in wills.items():
        late = properties(will_delay_interval=delay)
        dying = await dialer.client(
            f"{name}-{which}", expiry=expiry, will=Will(f"{topic}/{which}", b"gone", 1, False, late)
        )
        await dying.close()
    back = await dialer.client(f"{name}-back", clean_start=False, expiry=60)
    assert back.connack.session_present

    published = {(await watcher.message())[0] for _ in range(2)}
    assert published == {f"{topic}/delay", f"{topic}/session"}
    assert 0.9 <= trio.current_time() - begin <= 4
    await watcher.ping()
    assert watcher.inbox == []


async def test_dollar_topics(dialer, topic, name):
    client = await dialer.client(name)
    await client.subscribe(f"+/{topic}", qos=2)
    await client.publish(f"$dollar/{topic}", b"hidden", qos=1)
    await client.publish(f"plain/{topic}", b"seen", qos=1)

    assert (await client.message())[1] == b"seen"
    assert await client.publish("$SYS/forged", b"x", qos=1) == 0x87


async def test_unsubscribe(dialer, topic, name):
    client = await dialer.client(name)
    await client.subscribe(f"{topic}/a", f"{topic}/b", qos=2)
    assert await client.unsubscribe(f"{topic}/a", f"{topic}/never") == [0x00, 0x11]
    await client.publish(f"{topic}/a", b"a", qos=1)
    await client.publish(f"{topic}/b", b"b", qos=1)

    assert await client.message() == (f"{topic}/b", b"b")


async def test_session_expiry(dialer, topic, name):
    """No expiry: the session ends with its connection. DISCONNECT can change it; the end comes when it is over."""
    first = await dialer.client(name, subscribe=topic)
    await first.disconnect()
    second = await dialer.client(name, clean_start=False, expiry=60, subscribe=topic)
    assert not second.connack.session_present
    await second.close()
    third = await dialer.client(name, clean_start=False, expiry=60)
    assert third.connack.session_present
    await third.disconnect(properties=properties(session_expiry_interval=1))
    with trio.fail_after(5):  # another client sees it go, without touching it
        while await _has_receivers(dialer, topic, name):
            await trio.sleep(0.2)
    fourth = await dialer.client(name, clean_start=False)
    assert not fourth.connack.session_present
    await fourth.send(Disconnect(0, properties(session_expiry_interval=5)))
    assert await fourth.closed() == 0x82  # a session without expiry cannot be given one by DISCONNECT


async def _has_receivers(dialer, topic: str, name: str) -> bool:
    """True while somebody is subscribed to `topic`: PUBACK says 0x10 when nobody is."""
    probe = await dialer.client(f"{name}-probe")
    code = await probe.publish(topic, b"anybody?", qos=1)
    await probe.disconnect()
    return code != 0x10


async def test_shared_subscriptions(dialer, topic, name):
    """Each message goes to one member of the group, and to every ordinary subscriber."""
    members = [await dialer.client(f"{name}{index}", subscribe=f"$share/group/{topic}", qos=2) for index in range(3)]
    ordinary = await dialer.client(f"{name}o", subscribe=topic, qos=2)
    publisher = await dialer.client(f"{name}p")
    for index in range(30):
        await publisher.publish(topic, b"%d" % index, qos=2)
    for member in [*members, ordinary]:
        await member.ping()

    shared = [int(packet.payload) for member in members for packet in member.inbox]
    assert sorted(shared) == list(range(30))
    assert [int(packet.payload) for packet in ordinary.inbox] == list(range(30))


async def test_overlapping_subscriptions_and_identifiers(dialer, topic, name):
    client = await dialer.client(name)
    await client.subscribe(f"{topic}/#", qos=2, identifier=42)
    await client.subscribe(f"{topic}/+", qos=1, identifier=21)
    await client.publish(f"{topic}/a", b"both", qos=2)
    await client.ping()

    identifiers = [number for packet in client.inbox for number in packet.properties.subscription_identifier]
    assert sorted(identifiers) == [21, 42]


async def test_subscribe_identifiers(dialer, topic, name):
    """The identifier comes with each message of its subscription, also when it is replaced or left out later."""
    client = await dialer.client(name)
    await client.subscribe(topic, identifier=456_789)
    await client.publish(topic, b"one")
    assert (await client.receive_publish()).properties.subscription_identifier == [456_789]
    await client.subscribe(topic, identifier=7)
    await client.publish(topic, b"two")
    assert (await client.receive_publish()).properties.subscription_identifier == [7]
    await client.subscribe(topic)
    await client.publish(topic, b"three")
    assert (await client.receive_publish()).properties is None


async def test_redelivery_on_reconnect(dialer, topic, name):
    client = await dialer.client(name, subscribe=topic, qos=2, expiry=60)
    client.auto_ack = False
    publisher = await dialer.client(f"{name}p")
    await publisher.publish(topic, b"first", qos=1)
    await publisher.publish(topic, b"second", qos=2)
    before = [await client.receive_publish() for _ in range(2)]
    await client.close()

    again = await dialer.client(name, clean_start=False, expiry=0)
    after = [await again.receive_publish() for _ in range(2)]
    assert [(packet.payload, packet.dup, packet.packet_id) for packet in after] == [
        (old.payload, True, old.packet_id) for old in before
    ]


async def test_payload_format_and_content_type(dialer, topic, name):
    client = await dialer.client(name, subscribe=topic, qos=2)
    sent = properties(payload_format_indicator=1, content_type="My name", user_property=[("a", "2"), ("c", "3")])
    for qos in (0, 1, 2):
        await client.publish(topic, b"x", qos=qos, properties=sent)
        assert (await client.receive_publish()).properties == sent


async def test_user_properties_keep_their_order(dialer, topic, name):
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")]
    client = await dialer.client(name, subscribe=topic, qos=2)
    await client.publish(topic, b"x", qos=2, properties=properties(user_property=pairs))

    assert (await client.receive_publish()).properties.user_property == pairs


async def test_publication_expiry(dialer, topic, name):
    """What waits for an absent client expires in its queue, and what is left of the interval is told."""
    sleeper = await dialer.client(name, subscribe=topic, qos=2, expiry=60)
    await sleeper.disconnect()
    publisher = await dialer.client(f"{name}p")
    short, long = properties(message_expiry_interval=1), properties(message_expiry_interval=60)
    await publisher.publish(topic, b"short", qos=1, properties=short)
    await publisher.publish(topic, b"long", qos=1, properties=long)
    await publisher.publish(topic, b"for ever", qos=2)
    await trio.sleep(1.2)

    awake = await dialer.client(name, clean_start=False, expiry=0)
    first, second = [await awake.receive_publish() for _ in range(2)]
    assert first.payload == b"long"
    assert 50 <= first.properties.message_expiry_interval <= 59
    assert (second.payload, second.properties) == (b"for ever", None)


async def test_subscribe_options(dialer, topic, name):
    """No Local, Retain As Published, Retain Handling."""
    client, other = await dialer.client(name), await dialer.client(f"{name}o")
    await client.subscribe(topic, opts=SubOpts(2, nl=True))
    await client.publish(topic, b"mine", qos=1)
    await other.publish(topic, b"theirs", qos=1)
    assert await client.message() == (topic, b"theirs")

    await client.subscribe(topic, opts=SubOpts(2, rap=True))
    await other.publish(topic, b"kept", qos=1, retain=True)
    packet = await client.receive_publish()
    assert (packet.payload, packet.retain) == (b"kept", True)
    await client.subscribe(topic, opts=SubOpts(2, rh=2))
    await other.publish(topic, b"kept", qos=1, retain=True)
    assert not (await client.receive_publish()).retain

    watcher = await dialer.client(f"{name}w")
    for handling, seen in ((2, 0), (0, 1), (1, 0), (0, 1)):
        await watcher.subscribe(topic, opts=SubOpts(1, rh=handling))
        await watcher.ping()
        assert len(watcher.inbox) == seen
        watcher.inbox.clear()
    await watcher.unsubscribe(topic)
    await watcher.subscribe(topic, opts=SubOpts(1, rh=1))
    assert (await watcher.message())[1] == b"kept"
    await other.publish(topic, b"", qos=1, retain=True)


async def test_assigned_clientid(dialer):
    client = await dialer.client("")
    given = client.connack.properties.assigned_client_identifier
    assert given
    await client.disconnect()

    named = await dialer.client(given)
    assert named.connack.properties.assigned_client_identifier is None


async def test_request_response(dialer, topic, name):
    asking = await dialer.client(name, properties=properties(request_response_information=1))
    answering = await dialer.client(f"{name}a", subscribe=f"{topic}/ask", qos=2)
    assert asking.connack.properties.response_information == "answers/"
    assert answering.connack.properties.response_information is None
    where = f"answers/{topic}"
    await asking.subscribe(where, qos=2)

    question = properties(response_topic=where, correlation_data=b"334")
    await asking.publish(f"{topic}/ask", b"request", qos=1, properties=question)
    heard = (await answering.receive_publish()).properties
    await answering.publish(heard.response_topic, b"response", 1, properties=properties(correlation_data=b"334"))

    answer = await asking.receive_publish()
    assert (answer.topic, answer.payload, answer.properties.correlation_data) == (where, b"response", b"334")


async def test_client_topic_alias(dialer, topic, name):
    """An alias stands for its topic until it is given another one or the connection ends."""
    client = await dialer.client(name, subscribe=f"{topic}/+", expiry=60)
    assert client.connack.properties.topic_alias_maximum == 10
    alias = properties(topic_alias=10)
    for sent in (f"{topic}/a", "", f"{topic}/b", ""):
        await client.publish(sent, b"x", properties=alias)
    received = [(await client.message())[0] for _ in range(4)]
    assert received == [f"{topic}/{letter}" for letter in "aabb"]
    await client.close()

    again = await dialer.client(name, clean_start=False)
    await again.publish("", b"x", properties=alias)
    assert await again.closed() in (0x82, 0x94)


@pytest.mark.parametrize("alias", [0, 11])
async def test_a_topic_alias_out_of_range_is_refused(dialer, topic, name, alias):
    client = await dialer.client(name)
    await client.publish(topic, b"x", properties=properties(topic_alias=alias))

    assert await client.closed() == 0x94


async def test_server_topic_alias(dialer, topic, name):
    """The server may use as many aliases as the client allows; without permission it uses none."""
    client = await dialer.client(name, subscribe=f"{topic}/+", properties=properties(topic_alias_maximum=1))
    plain = await dialer.client(f"{name}p", subscribe=f"{topic}/+")
    for letter in "aabba":
        await plain.publish(f"{topic}/{letter}", b"x")
    received = [await client.receive_publish() for _ in range(5)]

    known: dict[int, str] = {}
    for packet, letter in zip(received, "aabba", strict=True):
        alias = packet.properties.topic_alias if packet.properties is not None else None
        assert alias in (None, 1)
        if alias and packet.topic:
            known[alias] = packet.topic
        assert (packet.topic or known[alias]) == f"{topic}/{letter}"
    assert known, "no alias was used at all"
    assert [(await plain.receive_publish()).properties for _ in range(5)] == [None] * 5


async def test_maximum_packet_size(dialer, topic, name):
    """What is too large for the client is not sent to it; what is too large for the server ends the connection."""
    client = await dialer.client(name, subscribe=topic, qos=1, properties=properties(maximum_packet_size=200))
    other = await dialer.client(f"{name}o", subscribe=topic, qos=1)
    await other.publish(topic, b"x" * 300, qos=1)
    await other.publish(topic, b"small", qos=1)
    assert await client.message() == (topic, b"small")
    assert [len((await other.message())[1]) for _ in range(2)] == [300, 5]

    limit = client.connack.properties.maximum_packet_size
    assert limit == 64 * 1024
    await client.send(make_publish(topic, b"x" * limit, 0, False, False, 0, None))
    assert await client.closed() == 0x95


async def test_keepalive(dialer, topic, name):
    watcher = await dialer.client(f"{name}w", subscribe=topic)
    silent = await dialer.client(name, keepalive=1, will=Will(topic, b"keepalive expiry", 0, False, None))
    begin = trio.current_time()

    assert await silent.closed() == 0x8D
    assert 1.4 <= trio.current_time() - begin <= 4
    assert await watcher.message() == (topic, b"keepalive expiry")


async def test_server_keep_alive(broker, dialer, name):
    """The server's interval replaces the client's, also when that was none."""
    client = await dialer.client(name, keepalive=0, port=broker.port("tcp", "kept"))
    assert client.connack.properties.server_keep_alive == 1

    assert await client.closed() == 0x8D


async def test_flow_control_1(dialer, topic, name):
    """The server sends no more QoS 1 and 2 messages than the client's Receive Maximum before it is acknowledged."""
    client = await dialer.client(name, subscribe=topic, qos=2, properties=properties(receive_maximum=2))
    client.auto_ack = False
    publisher = await dialer.client(f"{name}p")
    for index in range(6):
        await publisher.publish(topic, b"%d" % index, qos=1)
    await client.ping()
    assert [packet.payload for packet in client.inbox] == [b"0", b"1"]

    await client.send(Ack(PUBACK, client.inbox[0].packet_id))
    await client.ping()
    assert [packet.payload for packet in client.inbox] == [b"0", b"1", b"2"]
    for index in range(1, 6):
        await client.send(Ack(PUBACK, client.inbox[index].packet_id))
        await client.ping()
    assert [packet.payload for packet in client.inbox] == [b"%d" % index for index in range(6)]


async def test_flow_control_2(dialer, topic, name):
    """A client that has more QoS 2 messages under way than the server's Receive Maximum breaks the protocol."""
    client = await dialer.client(name)
    maximum = client.connack.properties.receive_maximum
    assert maximum == 10
    for packet_id in range(1, maximum + 2):
        await client.send(make_publish(topic, b"x", 2, False, False, packet_id, None))

    assert await client.closed() == 0x93


async def test_subscribe_failure(broker, dialer, name):
    """Each filter of a SUBSCRIBE gets the reason why it cannot be."""
    client = await dialer.client(name, port=broker.port("tcp", "narrow"))
    connack = client.connack.properties
    assert (connack.wildcard_subscription_available, connack.shared_subscription_available) == (0, 0)
    assert (connack.maximum_qos, connack.retain_available) == (1, 0)

    wanted = ["fine", "not/+/fine", "a/b/c/d/e", "$share/g/t"]
    await client.send(Subscribe(1, [(one, SubOpts(2)) for one in wanted], None))
    assert (await client.wait_for(Suback)).codes == [2, 0xA2, 0x8F, 0x9E]


async def test_what_the_server_cannot_do_is_refused_at_connect(broker, dialer, name):
    port = broker.port("tcp", "narrow")
    for will, code in ((Will("t", b"", 2, False, None), 0x9B), (Will("t", b"", 0, True, None), 0x9A)):
        with pytest.raises(Refused) as refusal:
            await dialer.client(name, will=will, port=port)
        assert refusal.value.connack.code == code


async def test_takeover(dialer, topic, name):
    """The second connection gets the session, the first one hears why it lost it, and no message is lost."""
    first = await dialer.client(name, subscribe=topic, qos=1, expiry=60)
    publisher = await dialer.client(f"{name}p")
    second = await dialer.client(name, clean_start=False, expiry=0)
    assert second.connack.session_present
    assert await first.closed() == 0x8E

    await publisher.publish(topic, b"for the second", qos=1)
    assert await second.message() == (topic, b"for the second")
