"""Keep-alive [MQTT5 3.1.2.10] [broker.md 5.7]: 1.5 times the interval after the last packet, once a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from session_helpers import Recorder, both_families, config, every_version, shutdown_count, zone

from trioemqx.codec.control import Pingreq, Pingresp, Subscribe
from trioemqx.codec.packets import PUBREL, Ack, make_publish
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Closed, TestBroker
from trioemqx.types import ClientInfo, Message, SubOpts

TIMEOUT = 0x8D


async def end(client: Client, within: float) -> tuple[float, int | None]:
    """Seconds until the broker closes, and the code of its DISCONNECT."""
    began = trio.current_time()
    while (passed := trio.current_time() - began) < within:
        try:
            code = await client.closed()
            return trio.current_time() - began, code
        except trio.TooSlowError:
            continue
    raise AssertionError(f"still connected after {passed} s")


async def lifetime(client: Client, within: float) -> float:
    """Seconds until the broker closes."""
    return (await end(client, within))[0]


@every_version
@pytest.mark.parametrize("interval", [1, 4, 60])
async def test_a_silent_client_is_gone_after_one_and_a_half_intervals(
    broker: TestBroker, version: int, interval: int
) -> None:
    """[MQTT-3.1.2-22] v5: DISCONNECT 0x8D; reason keepalive_timeout for hooks and shutdown_count."""
    recorder = Recorder(broker)
    client = await broker.client("c", version=version, keepalive=interval)
    passed, code = await end(client, interval * 3 + 10)
    assert code == (TIMEOUT if version == 5 else None)
    assert interval * 1.5 <= passed <= interval * 1.5 + 2
    await trio.sleep(2)
    assert recorder.of("c")[-2:] == [
        ("client.disconnected", "keepalive_timeout"),
        ("session.terminated", "keepalive_timeout"),
    ]
    assert await shutdown_count(broker) == {"keepalive_timeout": 1}


@every_version
async def test_zero_switches_it_off(broker: TestBroker, version: int) -> None:
    """[MQTT5 3.1.2.10] A Keep Alive of 0 turns the mechanism off."""
    client = await broker.client("c", version=version, keepalive=0)
    await trio.sleep(5000)
    await client.ping()


async def _ping(client: Client) -> None:
    await client.send(Pingreq())


async def _publish(client: Client) -> None:
    await client.send(make_publish("t", b"x"))


async def _subscribe(client: Client) -> None:
    await client.send(Subscribe(1, [("t", SubOpts())]))


async def _release(client: Client) -> None:
    await client.send(Ack(PUBREL, 1))


@both_families
@pytest.mark.parametrize("life_sign", [_ping, _publish, _subscribe, _release])
async def test_every_packet_is_a_sign_of_life(
    broker: TestBroker, version: int, life_sign: Callable[[Client], Awaitable[None]]
) -> None:
    """[MQTT-3.1.2-22] any control packet within the time."""
    client = await broker.client("c", version=version, keepalive=4)
    for _ in range(10):
        await trio.sleep(5)
        await life_sign(client)
    assert 6 <= await lifetime(client, 20) <= 8


@both_families
async def test_bytes_that_are_no_packet_are_none(broker: TestBroker, version: int) -> None:
    """[reliability 2.1] counted on completed packets: a client that drips is as gone as one that is silent."""
    client = await broker.client("c", version=version, keepalive=4)
    frame = b"\x30\x7f\x00\x01t" + b"x" * 124
    sent = 0
    try:
        for sent in range(len(frame)):
            await client.send_raw(frame[sent : sent + 1])
            await trio.sleep(1)
    except Closed:
        assert 6 <= sent <= 10
    assert sent <= 10


@both_families
async def test_what_the_server_sends_is_no_sign_of_life(broker: TestBroker, version: int) -> None:
    """Only the client's packets count."""
    client = await broker.client("c", version=version, keepalive=2, subscribe="t")

    async def publish() -> None:
        for _ in range(20):
            broker.node.publish(Message("t", b"x"))
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        assert 3 <= await lifetime(client, 10) <= 5


# -- what the server wants -------------------------------------------------------------------------------------------


@zone(server_keepalive=10)
async def test_server_keep_alive_replaces_the_clients(broker: TestBroker) -> None:
    """[MQTT-3.1.2-21] [MQTT-3.2.2-22] announced to and enforced on v5 clients, whatever they wanted."""
    for wanted in (0, 1, 1000):
        client = await broker.client("c", keepalive=wanted)
        assert client.connack is not None
        assert client.connack.properties is not None
        assert client.connack.properties.server_keep_alive == 10
        session = broker.node.find("c")
        assert session is not None
        assert session.info.keepalive == 10
        assert 15 <= await lifetime(client, 40) <= 17.5


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
@zone(server_keepalive=10)
async def test_server_keep_alive_is_for_mqtt5_only(broker: TestBroker, version: int) -> None:
    """[3]"""
    client = await broker.client("c", version=version, keepalive=40)
    assert 60 <= await lifetime(client, 100) <= 62


@both_families
@zone(keepalive_backoff=1.5)
async def test_the_backoff_is_a_setting(broker: TestBroker, version: int) -> None:
    """[3] keepalive_backoff: the client is gone after interval × backoff × 2."""
    client = await broker.client("c", version=version, keepalive=10)
    assert 30 <= await lifetime(client, 60) <= 32


# -- when it is us who do not listen ---------------------------------------------------------------------------------


class SlowAcl:
    @hookimpl
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> bool:
        await trio.sleep(4.5)
        return True


@both_families
async def test_a_client_is_not_blamed_for_a_slow_backend(broker: TestBroker, version: int) -> None:
    """While a question is open nothing is read, so silence means nothing."""
    broker.node.hooks.register(SlowAcl(), "acl")
    client = await broker.client("c", version=version, keepalive=1)
    await client.send(Subscribe(1, [("t", SubOpts())]))
    for _ in range(8):
        await client.send(Pingreq())
        await trio.sleep(0.5)
    await trio.sleep(0.7)
    await client.ping()
    assert 1.5 <= await lifetime(client, 10) <= 3.5


@both_families
@config(zone={"default": {"rate_limit": {"conn_messages_in": "2,20s"}}})
async def test_a_client_is_not_blamed_for_a_rate_limit(broker: TestBroker, version: int) -> None:
    """[2.4] No packet is dropped and no disconnect happens."""
    watcher = await broker.client("watcher", subscribe="t")
    client = await broker.client("c", version=version, keepalive=2)
    for number in range(4):
        await client.send(make_publish("t", b"%d" % number))
    await client.send(Pingreq())
    got: list[bytes] = []
    while len(got) < 4:
        try:
            got.append((await watcher.message())[1])
        except trio.TooSlowError:
            assert trio.current_time() < 60
    assert got == [b"0", b"1", b"2", b"3"]
    assert trio.current_time() > 8
    while True:
        try:
            await client.wait_for(Pingresp)
            break
        except trio.TooSlowError:
            assert trio.current_time() < 60


@both_families
async def test_a_client_that_reads_slowly_is_not_blamed_for_its_unread_pings(broker: TestBroker, version: int) -> None:
    """Above the outbox's high mark a client's packets are not read; send_timeout decides whether it is gone."""
    client = await broker.client("c", version=version, keepalive=2, subscribe="t")
    for _ in range(40):
        broker.node.publish(Message("t", b"x" * 50_000))
    for number in range(40):
        await client.send(Pingreq())
        assert len((await client.message())[1]) == 50_000
        await trio.sleep(0.3 if number < 39 else 0)
    await client.ping()
