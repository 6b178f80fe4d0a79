"""One client identifier, several connections [MQTT-3.1.4-3] [broker.md 7.1]: takeover, discard, kick, ban."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Counted, Recorder, both_families, config, every_version, props, shutdown_count

from trioemqx.codec.control import Connack, Connect
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Closed, TestBroker, Will
from trioemqx.types import ClientInfo, Credentials, Message, Verdict

LOST = ("client.disconnected", "session.terminated")


async def again(broker: TestBroker, version: int, clean_start: bool, clientid: str = "c") -> Client:
    expiry = 100 if version == 5 else None
    return await broker.client(clientid, version=version, clean_start=clean_start, expiry=expiry)


# -- the table of 7.1 ------------------------------------------------------------------------------------------------


@every_version
async def test_takeover(broker: TestBroker, version: int) -> None:
    """v5: DISCONNECT 0x8E; hooks session.resumed and session.takeovered, no client.disconnected; reason takeovered."""
    recorder = Recorder(broker)
    counted = Counted(broker)
    old = await again(broker, version, False)
    recorder.events.clear()
    new = await again(broker, version, False)
    assert await old.closed() == (0x8E if version == 5 else None)
    assert new.connack is not None
    assert new.connack.session_present == (version > 3)
    await trio.sleep(3)
    assert recorder.of("c") == [
        ("client.connect",),
        ("session.resumed",),
        ("session.takeovered",),
        ("client.connected",),
        ("client.connack", "success"),
    ]
    assert counted("session.created", "session.resumed", "session.takeovered") == [1, 1, 1]
    assert counted("session.discarded", "session.terminated", "client.disconnected") == [0, 0, 0]
    assert await shutdown_count(broker) == {"takeovered": 1}
    assert broker.node.broker.registry.connected == 1
    await new.ping()


@every_version
async def test_discard(broker: TestBroker, version: int) -> None:
    """v5: DISCONNECT 0x8E; hook session.discarded, no client.disconnected; reason discarded."""
    recorder = Recorder(broker)
    counted = Counted(broker)
    old = await again(broker, version, False)
    recorder.events.clear()
    new = await again(broker, version, True)
    assert await old.closed() == (0x8E if version == 5 else None)
    assert new.connack is not None
    assert not new.connack.session_present
    await trio.sleep(3)
    assert recorder.of("c") == [
        ("client.connect",),
        ("session.discarded",),
        ("session.created",),
        ("client.connected",),
        ("client.connack", "success"),
    ]
    assert counted("session.created", "session.discarded", "session.terminated") == [2, 1, 0]
    assert counted["client.disconnected"] == 0
    assert await shutdown_count(broker) == {"discarded": 1}
    await new.ping()


@both_families
@config(broker={"client_disconnect_discarded": True, "client_disconnect_takeovered": True})
async def test_client_disconnected_fires_for_both_where_configured(broker: TestBroker, version: int) -> None:
    """[1.3] broker.client_disconnect_discarded and broker.client_disconnect_takeovered."""
    recorder = Recorder(broker)
    await again(broker, version, False)
    await again(broker, version, False)
    await again(broker, version, True)
    await trio.sleep(3)
    found = [event for event in recorder.of("c") if event[0] == "client.disconnected"]
    assert found == [("client.disconnected", "takeovered"), ("client.disconnected", "discarded")]
    assert broker.node.metrics["client.disconnected"] == 2


@every_version
async def test_kick_of_a_connected_client(broker: TestBroker, version: int) -> None:
    """v5: DISCONNECT 0x98; will published at once; client.disconnected and session.terminated with reason kicked; the
    session is lost entirely."""
    recorder = Recorder(broker)
    watcher = await broker.client("watcher", subscribe="will")
    delayed = props(will_delay_interval=50) if version == 5 else None
    old = await broker.client(
        "c",
        version=version,
        clean_start=False,
        expiry=100 if version == 5 else None,
        subscribe="t",
        will=Will("will", b"kicked", 0, False, delayed),
    )
    assert broker.node.kick("c")
    assert await old.closed() == (0x98 if version == 5 else None)
    assert await watcher.message() == ("will", b"kicked")
    assert recorder.of("c")[-2:] == [("client.disconnected", "kicked"), ("session.terminated", "kicked")]
    assert broker.node.find("c") is None
    assert not broker.node.kick("c")
    assert await shutdown_count(broker) == {"kicked": 1}
    new = await again(broker, version, False)
    assert new.connack is not None
    assert not new.connack.session_present
    assert await watcher.nothing(100)


@both_families
async def test_kick_of_a_waiting_session(broker: TestBroker, version: int) -> None:
    """No client.disconnected then: it has run. A will whose delay is running is published."""
    recorder = Recorder(broker)
    watcher = await broker.client("watcher", subscribe="will")
    client = await again(broker, version, False)
    await client.close()
    other = await broker.client("delayed", expiry=99, will=Will("will", b"x", 0, False, props(will_delay_interval=50)))
    await other.close()
    await trio.sleep(1)
    recorder.events.clear()
    assert broker.node.kick("c")
    assert broker.node.kick("delayed")
    assert recorder.events == [("session.terminated", "c", "kicked"), ("session.terminated", "delayed", "kicked")]
    assert await watcher.message() == ("will", b"x")


@both_families
async def test_a_ban_kicks(broker: TestBroker, version: int) -> None:
    """[12.1] Creating a clientid ban ends the session at once."""
    client = await again(broker, version, False)
    broker.node.banned.create("clientid", "c")
    assert await client.closed() == (0x98 if version == 5 else None)
    assert broker.node.find("c") is None


# -- takeover keeps everything ---------------------------------------------------------------------------------------


async def test_a_live_session_is_present_even_with_expiry_zero(broker: TestBroker) -> None:
    """[7.1] Session present = 1 also when the old connection would have had expiry 0, because it still existed."""
    await broker.client("c", subscribe="t")
    new = await broker.client("c", clean_start=False)
    assert new.connack is not None
    assert new.connack.session_present
    broker.node.publish(Message("t", b"x"))
    assert await new.message() == ("t", b"x")


@every_version
async def test_a_takeover_keeps_flows_of_both_directions(broker: TestBroker, version: int) -> None:
    """[7.1] Subscriptions, in-flight with ids and states, queue, awaiting_rel."""
    watcher = await broker.client("watcher", subscribe="up")
    old = await again(broker, version, False)
    await old.subscribe("t", qos=2)
    old.auto_ack = False
    for number in range(3):
        broker.node.publish(Message("t", b"%d" % number, 2))
    sent = [await old.receive_publish() for _ in range(3)]
    await old.send(Ack(PUBREC, sent[0].packet_id))
    await old.receive()
    await old.send(make_publish("up", b"once", 2, False, False, 99))
    assert await old.receive() == Ack(PUBREC, 99)
    new = await again(broker, version, False)
    new.auto_ack = False
    seen = [await new.receive() for _ in range(3)]
    assert [(packet.packet_id, packet.dup) for packet in seen if isinstance(packet, Publish)] == [
        (sent[1].packet_id, True),
        (sent[2].packet_id, True),
    ]
    assert seen[2] == Ack(PUBREL, sent[0].packet_id)
    await new.send(make_publish("up", b"once", 2, False, True, 99))
    assert await new.receive() == Ack(PUBREC, 99)
    assert await watcher.message() == ("up", b"once")
    assert await watcher.nothing()


@both_families
async def test_the_old_connection_gets_nothing_after_its_disconnect(broker: TestBroker, version: int) -> None:
    """[reliability 4] 0x8E and no further packet; nothing it still sends is taken."""
    watcher = await broker.client("watcher", subscribe="up")
    old = await again(broker, version, False)
    await old.subscribe("t", qos=1)
    new = await again(broker, version, False)
    broker.node.publish(Message("t", b"x", 1))
    assert await new.message() == ("t", b"x")
    await old.send(make_publish("up", b"late"))
    assert await old.closed() == (0x8E if version == 5 else None)
    assert old.inbox == []
    assert await watcher.nothing()


async def test_a_takeover_by_another_user_is_a_discard(broker: TestBroker) -> None:
    """A session belongs to (client identifier, user name)."""
    recorder = Recorder(broker)
    old = await broker.client("c", username="ann", expiry=100, subscribe="t")
    new = await broker.client("c", username="bob", expiry=100, clean_start=False)
    assert await old.closed() == 0x8E
    assert new.connack is not None
    assert not new.connack.session_present
    assert ("session.discarded",) in recorder.of("c")
    assert broker.node.stats()["subscriptions.count"] == 0


# -- storms ----------------------------------------------------------------------------------------------------------


def connect_again(version: int) -> Connect:
    """CONNECT of "c" that goes on with its session, and keeps it."""
    return Connect(
        {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}[version],
        version,
        clean_start=False,
        clientid="c",
        properties=props(session_expiry_interval=100) if version == 5 else None,
    )


@every_version
@pytest.mark.parametrize("slow", [False, True], ids=["at once", "slow backend"])
async def test_a_hundred_connects_at_once_leave_one_and_lose_nothing(
    broker: TestBroker, version: int, slow: bool
) -> None:
    """[reliability 2.1, T1] One survivor, every other connection closed, every QoS 1 message delivered, in order."""
    if slow:
        broker.node.hooks.register(_Slow(), "slow")
    first = await again(broker, version, False)
    await first.subscribe("t", qos=1)
    first.auto_ack = False
    publisher = await broker.client("publisher")
    payloads = [b"%03d" % number for number in range(300)]
    clients = [await broker.raw(version) for _ in range(100)]
    packet = connect_again(version)
    received: list[bytes] = []
    ended: list[Client] = []

    async def play(client: Client, delay: float) -> None:
        await trio.sleep(delay)
        try:
            await client.send_raw(encode(packet, version))
            while True:
                received.append((await client.receive_publish()).payload)
        except (Closed, trio.TooSlowError) as error:
            if isinstance(error, Closed):
                ended.append(client)

    async def publish() -> None:
        for payload in payloads:
            await publisher.publish("t", payload, 1)
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        for index, client in enumerate(clients):
            nursery.start_soon(play, client, 0.0 if slow else index % 10 * 0.02)
    assert len(ended) == 99
    assert set(received) == set(payloads)
    firsts = list(dict.fromkeys(received))
    assert firsts == payloads
    survivors = [client for client in clients if client not in ended]
    await survivors[0].ping()
    await trio.sleep(3)
    assert broker.node.broker.registry.connected == 2
    assert len(broker.node.broker.registry.channels) == 2
    session = broker.node.find("c")
    assert session is not None
    assert (session.inflight, session.mqueue) == ({}, None)
    assert await shutdown_count(broker) == {"takeovered": 100}
    assert broker.node.metrics["session.takeovered"] == 100


class _Slow:
    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
        if client.clientid == "c":
            await trio.sleep(0.05)
        return Verdict()


@both_families
async def test_a_storm_of_clean_starts_leaves_one(broker: TestBroker, version: int) -> None:
    clients = [await broker.raw(version) for _ in range(100)]
    packet = encode(Connect(proto_ver=version, clientid="c"), version)
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.send_raw, packet)
    codes: list[int | str | None] = []

    async def see(client: Client) -> None:
        try:
            assert (await client.wait_for(Connack)).code == 0
            codes.append(await client.closed())
        except trio.TooSlowError:
            codes.append("alive")

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(see, client)
    assert codes.count("alive") == 1
    assert codes.count(0x8E if version == 5 else None) == 99
    assert broker.node.broker.registry.connected == 1
    assert len(broker.node.clients()) == 1
    assert await shutdown_count(broker) == {"discarded": 99}


@both_families
async def test_takeover_of_a_connection_that_does_not_read(broker: TestBroker, version: int) -> None:
    """The new connection waits for nothing; the old one is cut when it does not close."""
    stuck = await again(broker, version, False)
    await stuck.subscribe("t", qos=1)
    for _ in range(200):
        broker.node.publish(Message("t", b"x" * 10_000, 1))
    began = trio.current_time()
    new = await again(broker, version, False)
    assert trio.current_time() - began < 0.1
    got = [await new.message() for _ in range(200)]
    assert len(got) == 200
    await trio.sleep(5)
    assert len(broker.node.broker.registry.channels) == 1
