"""The MQTT client: with our own broker, and with servers that do what servers should not."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from mqtt_helpers import Server, Session, into

from trioemqx.codec.control import Auth, Connack, Connect, Disconnect, Pingreq, Pingresp, Suback, Will
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.services.mqttclient import (
    ClientOptions,
    ClientSession,
    MqttClient,
    MqttError,
    MqttRefused,
    MqttTls,
    ServerAddress,
    Unsendable,
    dialer,
    open_client,
)
from trioemqx.services.mqttclient.connection import SEND_SECONDS
from trioemqx.services.mqttclient.sending import MAX_REQUESTS, OUT_LIMIT, READ_LIMIT
from trioemqx.testing import TestBroker, running
from trioemqx.types import Properties, SubOpts

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
QOS = pytest.mark.parametrize("qos", [0, 1, 2])


@asynccontextmanager
async def pair(
    options: ClientOptions | None = None, *, connack: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[MqttClient, Session]]:
    """A client, and the server's end of its connection."""
    options = options or ClientOptions("c")
    server = Server(options.version)
    sessions: list[Session] = []

    async def connect() -> trio.abc.Stream:
        stream = await server.connect()
        sessions.append(await server.session())
        await sessions[0].send(Connack(**connack or {}))  # it waits for the client to have said CONNECT
        return stream

    async with open_client(options, connect, **more) as client:
        await sessions[0].next(Connect)
        yield client, sessions[0]


@contextmanager
def ending(text: str) -> Iterator[list[MqttError]]:
    """A block that the end of a connection ends; the list gets why."""
    found: list[MqttError] = []
    with pytest.raises(MqttError) as caught:
        yield found
    assert text in str(caught.value)
    found.append(caught.value)


async def ends(
    move: Callable[[Session], Awaitable[object]], options: ClientOptions | None = None, **connack: Any
) -> MqttError:
    """What a client's block ends with when the server does something and then stays silent."""
    with ending("") as found:
        async with pair(options, connack=connack) as (_, session):
            await move(session)
            await trio.sleep(1000)
    return found[0]


def properties(**values: Any) -> Properties:
    found = Properties()
    for name, value in values.items():
        setattr(found, name, value)
    return found


# -- with a broker -------------------------------------------------------------------------------------------------


@VERSIONS
@QOS
async def test_messages_go_out_and_come_in_at_each_qos(broker: TestBroker, version: int, qos: int) -> None:
    async with open_client(ClientOptions("c", version), into(broker)) as client:
        assert await client.subscribe("a/#", qos=2) == [2]
        for number in range(50):
            assert await client.publish("a/b", b"%d" % number, qos) == 0
        for number in range(50):
            packet = await client.receive()
            assert (packet.topic, packet.payload, packet.qos) == ("a/b", b"%d" % number, qos)
        assert client.in_flight == 0


@VERSIONS
async def test_what_connect_says_reaches_the_server(broker: TestBroker, version: int) -> None:
    options = ClientOptions("c", version, "u", b"p", keepalive=33, is_bridge=version < 5, session_expiry=60)
    async with open_client(options, into(broker)):
        session = broker.node.broker.find("c")
        assert session is not None
        info = session.info
        assert (info.clientid, info.username, info.keepalive, info.proto_ver) == ("c", "u", 33, version)
        assert info.is_bridge is (version < 5)
        assert info.receive_maximum == (100 if version == 5 else info.receive_maximum)
        assert info.expiry_interval == (60 if version == 5 else 0)


async def test_a_client_without_a_name_learns_the_one_it_is_given(broker: TestBroker) -> None:
    async with open_client(ClientOptions("", 5), into(broker)) as client:
        assert client.clientid
        assert broker.node.broker.find(client.clientid)


async def test_leaving_the_block_disconnects_and_a_crash_in_it_does_not(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="gone")
    options = ClientOptions("c", will=Will("gone", b"will"))
    async with open_client(options, into(broker)):
        await trio.sleep(1)
    assert await watcher.nothing()
    with pytest.raises(ZeroDivisionError):
        async with open_client(options, into(broker)):
            raise ZeroDivisionError
    assert await watcher.message() == ("gone", b"will")


async def test_keepalive_keeps_a_silent_client(broker: TestBroker) -> None:
    async with open_client(ClientOptions("c", keepalive=10), into(broker)) as client:
        await trio.sleep(600)
        await client.publish("t", b"", 1)


async def test_unsubscribe_ends_a_subscription(broker: TestBroker) -> None:
    async with open_client(ClientOptions("c", 5), into(broker)) as client:
        await client.subscribe("a", opts=SubOpts(1, nl=True))
        await client.publish("a", b"not for me", 1)
        await client.subscribe("a", qos=1)
        await client.publish("a", b"for me", 1)
        assert await client.unsubscribe("a", "b") == [0, 0x11]
        await client.publish("a", b"for nobody", 1)
        assert (await client.receive()).payload == b"for me"
        with trio.move_on_after(1):
            raise AssertionError(await client.receive())


async def test_a_kicked_client_hears_why(broker: TestBroker) -> None:
    with ending("administrative_action"):
        async with open_client(ClientOptions("c", 5), into(broker)):
            broker.node.broker.kick("c")
            await trio.sleep(10)


# -- QoS flows, packet by packet -----------------------------------------------------------------------------------


async def test_qos_2_out_is_released_once_the_server_has_it(autojump_clock: object) -> None:
    async with pair() as (client, server), trio.open_nursery() as nursery:
        codes: list[int] = []
        client.send("t", b"x", 2, done=codes.append)
        (packet,) = await server.publishes(1)
        assert (packet.qos, packet.dup) == (2, False)
        await server.ack(PUBREC, packet.packet_id)
        assert (await server.next(Ack)).kind == PUBREL
        assert codes == []
        await server.ack(PUBCOMP, packet.packet_id)
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [0]
        nursery.cancel_scope.cancel()


async def test_qos_2_in_is_given_once_however_often_it_is_sent(autojump_clock: object) -> None:
    async with pair() as (client, server):
        for dup in (False, True, True):
            await server.send(make_publish("t", b"x", 2, dup=dup, packet_id=7))
            assert (await server.next(Ack)) == Ack(PUBREC, 7)
        await server.send(Ack(PUBREL, 7))
        assert (await server.next(Ack)) == Ack(PUBCOMP, 7)
        await server.send(make_publish("t", b"y", 2, packet_id=7))
        assert [(await client.receive()).payload for _ in range(2)] == [b"x", b"y"]


async def test_acknowledgements_nobody_waits_for_do_no_harm(autojump_clock: object) -> None:
    async with pair(ClientOptions("c", 5)) as (client, server):
        for kind, code in ((PUBACK, 0), (PUBREC, 0), (PUBCOMP, 0x92), (PUBREL, 0)):
            await server.ack(kind, 99, code)
        assert (await server.next(Ack)) == Ack(PUBREL, 99, 0x92)
        assert (await server.next(Ack)) == Ack(PUBCOMP, 99, 0x92)
        client.send("t", b"", 1)
        assert (await server.next(Publish)).topic == "t"


async def test_a_refusal_settles_a_message(autojump_clock: object) -> None:
    codes: list[int] = []
    async with pair(ClientOptions("c", 5)) as (client, server):
        for qos, kind in ((1, PUBACK), (2, PUBREC)):
            client.send("t", b"", qos, done=codes.append)
            await server.ack(kind, (await server.next(Publish)).packet_id, 0x87)
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [0x87, 0x87]
        assert client.in_flight == 0


async def test_the_window_is_the_smaller_one_of_both_sides(autojump_clock: object) -> None:
    options = ClientOptions("c", 5, max_inflight=10)
    async with pair(options, connack={"properties": properties(receive_maximum=3)}) as (client, server):
        sent = 0
        while client.accepts(1):
            client.send("t", b"%d" % sent, 1)
            sent += 1
        assert sent == 3
        assert client.accepts(0)
        packets = await server.publishes(3)
        await server.ack(PUBACK, packets[1].packet_id)
        with trio.fail_after(1):
            await client.room(1)
        client.send("t", b"3", 1)
        assert not client.accepts(1)
        assert (await server.next(Publish)).packet_id not in (packets[0].packet_id, packets[2].packet_id)


async def test_what_waits_to_be_sent_is_bounded(autojump_clock: object) -> None:
    async with pair() as (client, server):
        count = 0
        while client.accepts(0):
            client.send("t", bytes(1000))
            count += 1
        assert OUT_LIMIT / 1100 < count < OUT_LIMIT / 1000 + 1
        await server.publishes(count)
        assert client.accepts(0)


async def test_frames_of_one_step_leave_in_one_piece(autojump_clock: object) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    sends: list[int] = []
    original = theirs.send_stream.send_all

    async def counted(data: bytes) -> None:
        sends.append(len(data))
        await original(data)

    theirs.send_stream.send_all = counted  # type: ignore[method-assign]

    async def connect() -> trio.abc.Stream:
        return theirs

    async with trio.open_nursery() as nursery:
        server = Session(ours, 4)
        nursery.start_soon(server.accept)
        async with open_client(ClientOptions("c"), connect) as client:
            before = len(sends)
            for _ in range(30):
                client.send("t", b"x", 1)
            await server.publishes(30)
            assert len(sends) == before + 1


# -- again and again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4])
async def test_mqtt_3_sends_again_what_is_not_acknowledged(autojump_clock: object, version: int) -> None:
    async with pair(ClientOptions("c", version, retry_interval=20, keepalive=0)) as (client, server):
        client.send("t", b"x", 1)
        first = await server.next(Publish)
        start = trio.current_time()
        again = await server.next(Publish)
        assert 20 <= trio.current_time() - start <= 22
        assert (again.dup, again.packet_id, again.payload) == (True, first.packet_id, b"x")
        client.send("t", b"y", 2)
        second = await server.next(Publish)
        await server.ack(PUBREC, second.packet_id)
        assert (await server.next(Ack)).kind == PUBREL
        await server.ack(PUBACK, first.packet_id)
        assert (await server.next(Ack)) == Ack(PUBREL, second.packet_id)


async def test_mqtt_5_leaves_a_server_that_acknowledges_nothing(autojump_clock: object) -> None:
    with ending("has not acknowledged a message for 2"):
        async with pair(ClientOptions("c", 5, retry_interval=20, keepalive=0)) as (client, server):
            client.send("t", b"x", 1)
            await server.next(Publish)
            assert isinstance(await server.receive(), Publish), "MQTT 5 does not send again"


async def test_a_slow_server_is_not_a_dead_one(autojump_clock: object) -> None:
    async with pair(ClientOptions("c", 5, retry_interval=20, keepalive=0)) as (client, server):
        for _ in range(5):
            client.send("t", b"x", 1)
        for packet in await server.publishes(5):
            await trio.sleep(19)
            await server.ack(PUBACK, packet.packet_id)
        await trio.sleep(100)
        assert client.in_flight == 0


# -- sessions ------------------------------------------------------------------------------------------------------


async def unfinished(session: ClientSession, options: ClientOptions, done: list[tuple[str, int]]) -> None:
    """A connection that ends with `one` unacknowledged, `two` released by the server, and a QoS 2 message in."""
    async with pair(options, session=session) as (client, server):
        for name, qos in (("one", 1), ("two", 2), ("three", 1)):
            client.send("t", name.encode(), qos, done=lambda code, name=name: done.append((name, code)))
        _, two, three = await server.publishes(3)
        await server.ack(PUBREC, two.packet_id)
        await server.next(Ack)
        await server.ack(PUBACK, three.packet_id)
        await server.send(make_publish("t", b"in", 2, packet_id=5))
        await server.next(Ack)
        assert (await client.receive()).payload == b"in"


@pytest.mark.parametrize("version", [4, 5])
async def test_a_session_that_the_server_has_kept_is_finished(autojump_clock: object, version: int) -> None:
    options = ClientOptions("c", version, clean_start=False)
    session, done = ClientSession(), list[tuple[str, int]]()
    await unfinished(session, options, done)
    assert done == [("three", 0)]
    async with pair(options, connack={"session_present": True}, session=session) as (client, server):
        assert client.session_present
        one = await server.next(Publish)
        assert (one.payload, one.dup) == (b"one", True)
        release = await server.next(Ack)
        assert release.kind == PUBREL
        await server.send(make_publish("t", b"in", 2, dup=True, packet_id=5))
        await server.next(Ack)
        await server.ack(PUBCOMP, release.packet_id)
        await server.ack(PUBACK, one.packet_id)
        with trio.move_on_after(5):
            raise AssertionError(await client.receive())
    assert done == [("three", 0), ("two", 0), ("one", 0)]


async def test_a_session_that_the_server_has_lost_is_forgotten(autojump_clock: object) -> None:
    options = ClientOptions("c", clean_start=False)
    session, done = ClientSession(), list[tuple[str, int]]()
    await unfinished(session, options, done)
    async with pair(options, session=session) as (client, server):
        assert not client.session_present
        assert done == [("three", 0), ("two", 0)], "the server had taken over `two`; `one` is its owner's again"
        await server.send(make_publish("t", b"new", 2, packet_id=5))
        await server.next(Ack)
        assert (await client.receive()).payload == b"new"


async def test_a_resumed_session_keeps_to_the_window(autojump_clock: object) -> None:
    options = ClientOptions("c", 5, clean_start=False)
    session = ClientSession()
    async with pair(options, session=session) as (client, server):
        for number in range(4):
            client.send("t", b"%d" % number, 1)
        await server.publishes(4)
    connack = {"session_present": True, "properties": properties(receive_maximum=2)}
    async with pair(options, connack=connack, session=session) as (client, server):
        first, second = await server.publishes(2)
        assert not client.accepts(0), "what is new waits for what is old"
        await server.ack(PUBACK, first.packet_id)
        third = await server.next(Publish)
        assert [first.payload, second.payload, third.payload] == [b"0", b"1", b"2"]


# -- servers that do not answer, refuse, or go away ----------------------------------------------------------------


async def test_a_server_that_never_answers_connect(autojump_clock: object) -> None:
    server = Server()
    start = trio.current_time()
    with pytest.raises(MqttError, match="no answer to CONNECT within 10 s"):
        async with open_client(ClientOptions("c"), server.connect):
            raise AssertionError
    assert trio.current_time() - start == 10


async def test_an_address_that_nobody_answers_at(autojump_clock: object) -> None:
    async def connect() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(MqttError, match="no connection within 3 s"):
        async with open_client(ClientOptions("c", connect_timeout=3), connect):
            raise AssertionError


async def test_a_connection_that_cannot_be_made(autojump_clock: object) -> None:
    async def connect() -> trio.abc.Stream:
        raise OSError("network is unreachable")

    with pytest.raises(MqttError, match="network is unreachable"):
        async with open_client(ClientOptions("c"), connect):
            raise AssertionError


@pytest.mark.parametrize(
    ("version", "code", "text"),
    [
        (3, 4, "bad user name or password"),
        (4, 5, "not authorized"),
        (4, 3, "server unavailable"),
        (5, 0x86, "bad_username_or_password"),
        (5, 0x8A, "banned"),
    ],
)
async def test_a_refusal_says_why(autojump_clock: object, version: int, code: int, text: str) -> None:
    with pytest.raises(MqttRefused, match=text) as caught:
        async with pair(ClientOptions("c", version), connack={"code": code}):
            raise AssertionError
    assert caught.value.code == code


async def test_a_server_that_closes_in_the_middle_of_a_packet(autojump_clock: object) -> None:
    async def half(server: Session) -> None:
        await server.send_raw(b"\x30\x0a\0\x01tabc")
        await server.close()

    assert "closed the connection" in str(await ends(half))


async def test_a_server_that_goes_silent_is_found_out(autojump_clock: object) -> None:
    options = ClientOptions("c", keepalive=60)
    start = trio.current_time()
    assert "has not answered PINGREQ for 30 s" in str(await ends(wait_for_ping, options))
    assert 70 < trio.current_time() - start < 90


async def wait_for_ping(server: Session) -> None:
    await server.next(Pingreq)


async def test_traffic_answers_a_ping(autojump_clock: object) -> None:
    async with pair(ClientOptions("c", keepalive=60)) as (client, server):
        for _ in range(5):
            await server.next(Pingreq)
            await trio.sleep(29)
            await server.send(make_publish("t"))
        await server.next(Pingreq)
        await server.send(Pingresp())
        await trio.sleep(40)
        assert client.accepts(0)


async def test_the_server_chooses_the_keepalive(autojump_clock: object) -> None:
    connack = {"properties": properties(server_keep_alive=8)}
    async with pair(ClientOptions("c", 5, keepalive=600), connack=connack) as (_, server):
        start = trio.current_time()
        await server.next(Pingreq)
        assert trio.current_time() - start <= 8


async def test_a_server_that_takes_no_data_is_left(autojump_clock: object) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def connect() -> trio.abc.Stream:
        return theirs

    async with trio.open_nursery() as nursery:
        server = Session(ours, 4)
        nursery.start_soon(server.accept)
        with ending(f"has taken no data for {SEND_SECONDS:.0f} s"):
            async with open_client(ClientOptions("c", keepalive=0), connect) as client:
                client.send("t", bytes(100_000))
                await trio.sleep(1000)


async def test_a_server_that_reads_no_acknowledgements_is_not_read_any_more(autojump_clock: object) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def connect() -> trio.abc.Stream:
        return theirs

    sent = 0
    async with trio.open_nursery() as nursery:
        server = Session(ours, 4)
        nursery.start_soon(server.accept)
        with ending("has taken no data"):
            async with open_client(ClientOptions("c", keepalive=0), connect, on_message=lambda packet: None):
                await trio.testing.wait_all_tasks_blocked()
                frames = b"\x32\x06\0\x01t\0\x01x" * 5000
                with trio.move_on_after(1000):
                    while True:
                        await server.send_raw(frames)
                        sent += 5000
    assert sent * 4 < READ_LIMIT + 200_000


async def test_more_messages_than_are_taken_wait_at_the_server(autojump_clock: object) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def connect() -> trio.abc.Stream:
        return theirs

    async with trio.open_nursery() as nursery:
        server = Session(ours, 4)
        nursery.start_soon(server.accept)
        async with open_client(ClientOptions("c", keepalive=10), connect) as client:
            await trio.testing.wait_all_tasks_blocked()
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await server.send_raw(b"\x30\x04\0\x01tx" * 100)
                    sent += 100

            nursery.start_soon(flood)
            await trio.sleep(100)  # the server's silence is ours: no PINGREQ is missed
            assert 1000 <= sent < 13_000, "neither fewer than may wait nor much more"
            before = sent
            for _ in range(before):
                await client.receive()
            await trio.testing.wait_all_tasks_blocked()
            assert sent > before
            nursery.cancel_scope.cancel()


# -- servers that break the rules ----------------------------------------------------------------------------------

WRONG = {
    "reserved type": b"\x00\x00",
    "remaining length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "QoS 3": b"\x36\x05\0\x01t\0\x01",
    "topic with wildcard": b"\x30\x03\0\x01#",
    "topic reaches past the packet": b"\x30\x03\0\x09t",
    "bad UTF-8": b"\x30\x03\0\x01\xff",
    "a second CONNACK": b"\x20\x02\0\0",
    "acknowledgement of packet 0": b"\x40\x02\0\0",
    "PINGREQ": b"\xc0\0",
    "DISCONNECT": b"\xe0\0",
    "SUBSCRIBE": b"\x82\x06\0\x01\0\x01t\0",
}


@pytest.mark.parametrize("frame", WRONG.values(), ids=WRONG.keys())
async def test_malformed_and_forbidden_packets_end_the_connection(autojump_clock: object, frame: bytes) -> None:
    assert "broke the protocol" in str(await ends(lambda server: server.send_raw(frame)))


async def test_an_mqtt_5_server_is_told_what_was_wrong(autojump_clock: object) -> None:
    servers: list[Session] = []

    async def wrong(server: Session) -> None:
        servers.append(server)
        await server.send_raw(b"\x30\x07\0\x01t\x03\x23\0\x01")  # a topic alias, which we have not allowed

    error = await ends(wrong, ClientOptions("c", 5))
    assert error.code == 0x94
    assert await servers[0].next(Disconnect) == Disconnect(0x94)


async def test_a_packet_that_is_too_large_is_refused_by_its_header(autojump_clock: object) -> None:
    error = await ends(
        lambda server: server.send_raw(b"\x30\xff\xff\xff\x7f"), ClientOptions("c", max_packet_size=1000)
    )
    assert "at most 1000" in str(error)


async def test_more_in_flight_than_we_allow(autojump_clock: object) -> None:
    async def flood(server: Session) -> None:
        for packet_id in (1, 2, 3):
            await server.send(make_publish("t", b"", 2, packet_id=packet_id))

    assert (await ends(flood, ClientOptions("c", 5, receive_maximum=2))).code == 0x93


async def test_packets_before_connack(autojump_clock: object) -> None:
    for packet in (make_publish("t"), Pingresp(), Suback(1, [0]), Auth(0x18)):
        server = Server(5)
        async with trio.open_nursery() as nursery:

            async def speak_first(server: Server = server, packet: Any = packet) -> None:
                session = await server.session()
                await session.send(packet)

            nursery.start_soon(speak_first)
            with pytest.raises(MqttError, match="before CONNACK"):
                async with open_client(ClientOptions("c", 5), server.connect):
                    raise AssertionError


async def test_a_session_after_a_clean_start_is_none(autojump_clock: object) -> None:
    with pytest.raises(MqttError, match="a session after a clean start"):
        async with pair(ClientOptions("c"), connack={"session_present": True}):
            raise AssertionError


async def test_a_suback_with_the_wrong_number_of_codes(autojump_clock: object) -> None:
    with ending("2 codes for 1 filters"):
        async with pair() as (client, server):
            await server.send(Suback(1, [0, 0]))
            await client.subscribe("a")


# -- what cannot be sent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message", "code"),
    [
        ({"maximum_qos": 1}, ("t", b"", 2), 0x9B),
        ({"retain_available": 0}, ("t", b"", 0, True), 0x9A),
        ({"maximum_packet_size": 100}, ("t", bytes(100)), 0x95),
        ({}, ("a/+", b""), 0x90),
        ({}, ("", b""), 0x90),
        ({}, ("t" * 65536, b""), 0x90),
        ({}, ("\ud800", b""), 0x90),
        ({}, ("t", b"", 0, False, properties(content_type="x" * 70_000)), 0x90),
    ],
)
async def test_messages_that_a_server_does_not_take(
    autojump_clock: object, said: dict[str, Any], message: tuple[Any, ...], code: int
) -> None:
    async with pair(ClientOptions("c", 5), connack={"properties": properties(**said)}) as (client, server):
        with pytest.raises(Unsendable) as caught:
            await client.publish(*message)
        assert caught.value.code == code
        client.send("t", b"next", 1)
        assert (await server.next(Publish)).payload == b"next"


async def test_requests_without_answers_are_bounded(autojump_clock: object) -> None:
    async with pair() as (client, _), trio.open_nursery() as nursery:
        for _ in range(MAX_REQUESTS):
            nursery.start_soon(client.subscribe, "a")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(MqttError, match="wait for the server's answer"):
            await client.unsubscribe("a")
        nursery.cancel_scope.cancel()


async def test_whoever_waits_outside_of_the_block_is_told_that_it_ended(autojump_clock: object) -> None:
    async def wait(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(MqttError):
            await call()
        ended.append(call)

    ended: list[object] = []
    async with trio.open_nursery() as outside:  # noqa: SIM117 - its tasks outlive the inner block
        async with pair() as (client, _):
            outside.start_soon(wait, client.receive)
            outside.start_soon(wait, lambda: client.publish("t", b"", 1))
            outside.start_soon(wait, lambda: client.subscribe("t"))
            await trio.testing.wait_all_tasks_blocked()
    assert len(ended) == 3
    with pytest.raises(MqttError, match="closed"):
        await client.publish("t")


async def test_a_crash_in_on_message_is_logged_and_costs_one_message(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[bytes] = []

    def take(packet: Publish) -> None:
        if packet.payload == b"bad":
            raise ZeroDivisionError
        taken.append(packet.payload)

    async with pair(on_message=take) as (_, server):
        for number, payload in enumerate((b"a", b"bad", b"b"), 1):
            await server.send(make_publish("t", payload, 1, packet_id=number))
            assert (await server.next(Ack)) == Ack(PUBACK, number)
    assert taken == [b"a", b"b"]
    assert [record.message for record in caplog.records] == ["a message on t could not be taken"]


async def test_nothing_is_left_when_the_block_is_cancelled(autojump_clock: object) -> None:
    with trio.move_on_after(5):
        async with pair() as (_, server):
            await trio.sleep_forever()
    with pytest.raises(Exception, match="closed"):
        await server.receive()


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"version": 6},
        {"keepalive": 70_000},
        {"receive_maximum": 0},
        {"max_inflight": 0},
        {"connect_timeout": 0},
        {"password": b"p"},
        {"clientid": "", "clean_start": False},
    ],
)
def test_options_that_no_connect_can_say(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}|clientid"):
        ClientOptions(**options)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(ClientOptions("c", 4, "u", b"secret"))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("h", "h", 1883),
        ("h:1", "h", 1),
        ("127.0.0.1:1883", "127.0.0.1", 1883),
        ("[::1]:8883", "::1", 8883),
        ("[::1]", "::1", 1883),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = ServerAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert ServerAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", ":1883", "h:0", "h:65536", "h:x", "::1", "a b:1", "mqtt://h:1", "emqx@10.0.0.1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        ServerAddress.parse(text)


# -- real connections ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_self_signed(folder, ["127.0.0.1", "localhost"])
    ensure_self_signed(folder / "other", ["127.0.0.1"])
    return folder


@asynccontextmanager
async def tls_broker(folder: Path, **settings: object) -> AsyncIterator[TestBroker]:
    files = {"keyfile": str(folder / "key.pem"), "certfile": str(folder / "cert.pem")}
    tree = {"listener": {"ssl": {"test": {"bind": "127.0.0.1:0", "zone": "default", **files, **settings}}}}
    async with running({**tree, "zone": {"default": {}}}, listen=True) as broker:
        yield broker


async def over_tls(broker: TestBroker, tls: MqttTls, host: str = "127.0.0.1") -> None:
    options = ClientOptions("c", connect_timeout=5)
    async with open_client(options, dialer(f"{host}:{broker.port}", tls)) as client:
        await client.subscribe("t", qos=1)
        await client.publish("t", bytes(200_000), 1)
        assert len((await client.receive()).payload) == 200_000


async def test_tls_with_a_certificate_that_is_checked(certificates: Path) -> None:
    async with tls_broker(certificates) as broker:
        ca = certificates / "cacert.pem"
        await over_tls(broker, MqttTls(ca, verify=True))
        await over_tls(broker, MqttTls(ca, verify=True, server_name_indication="localhost"))
        await over_tls(broker, MqttTls(ca, verify=True, server_name_indication="disable"))
        await over_tls(broker, MqttTls())
        await over_tls(broker, MqttTls(ciphers=("ECDHE-ECDSA-AES256-GCM-SHA384",), tls_versions=("tlsv1.2",)))
        for wrong in (
            MqttTls(certificates / "other" / "cacert.pem", verify=True),
            MqttTls(ca, verify=True, server_name_indication="example.org"),
        ):
            with pytest.raises(MqttError, match=r"TLS: .*certificate"):
                await over_tls(broker, wrong)


async def test_a_server_that_speaks_no_tls(certificates: Path) -> None:
    async with running(listen=True) as broker:
        with pytest.raises(MqttError, match=r"TLS|lost"):
            await over_tls(broker, MqttTls())


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MqttError, match=f"127.0.0.1:{port}: connection refused"):
        await dialer(f"127.0.0.1:{port}")()


async def test_addresses_that_are_never_connected_to() -> None:
    with pytest.raises(MqttError, match="link-local"):
        await dialer("169.254.169.254:1883")()


@pytest.mark.parametrize(
    ("tls", "text"),
    [
        (MqttTls(Path("none.pem"), verify=True), "cacertfile none.pem"),
        (MqttTls(ciphers=("NONE-SUCH",)), "ciphers: none of NONE-SUCH"),
        (MqttTls(tls_versions=("sslv3",)), "tls_versions: sslv3"),
        (MqttTls(keyfile=Path("k.pem")), "ssl.keyfile needs ssl.certfile"),
    ],
)
def test_tls_settings_that_cannot_be_used(tls: MqttTls, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dialer("h:1", tls)
