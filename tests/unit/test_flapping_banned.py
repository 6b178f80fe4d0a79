"""Bans and flapping as a client meets them [broker.md 5.2 steps 5-6, 12]. The tables themselves: tests/services."""

from __future__ import annotations

import contextlib

import pytest
import trio
from session_helpers import Counted, Recorder, both_families, config, every_version, shutdown_count

from trioemqx.codec.control import Connack, Connect, Will
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Refused, TestBroker
from trioemqx.types import ClientInfo, Credentials, Message, Verdict

BANNED = 0x8A


def guarded(**more: object) -> pytest.MarkDecorator:
    """A zone that consults the table of bans."""
    return config(zone={"default": {"enable_ban": True, **more}})


async def refused(broker: TestBroker, version: int, clientid: str = "c", username: str | None = None) -> bool:
    """Whether the CONNECT is answered with "banned" (return code 5 in MQTT 3)."""
    client = await broker.raw(version)
    with contextlib.suppress(Refused):
        await client.connect(clientid, username=username)
        await client.disconnect()
        return False
    assert client.connack is not None
    assert client.connack.code == (BANNED if version == 5 else 5)
    assert await client.closed() is None
    return True


# -- bans ------------------------------------------------------------------------------------------------------------


@every_version
@guarded()
@pytest.mark.parametrize(("kind", "who"), [("clientid", "c"), ("username", "ann"), ("peerhost", "127.0.0.1")])
async def test_a_ban_keeps_out(broker: TestBroker, version: int, kind: str, who: str) -> None:
    """[5.2 step 5] clientid, user name or peer address ⇒ 0x8A; close reason banned."""
    broker.node.banned.create(kind, who)
    assert await refused(broker, version, "c", "ann")
    assert await shutdown_count(broker) == {"banned": 1}
    assert not broker.node.clients()
    assert await refused(broker, version, "other", "bob") == (kind == "peerhost")


@both_families
@guarded()
async def test_a_ban_ends_when_its_time_is_up(broker: TestBroker, version: int) -> None:
    """[12.1] Valid while until > now; 300 s by default."""
    broker.node.banned.create("clientid", "c")
    assert await refused(broker, version)
    await trio.sleep(297)
    assert await refused(broker, version)
    await trio.sleep(5)
    assert not await refused(broker, version)
    await trio.sleep(60)
    assert broker.node.banned.entries() == []  # purged each minute


@both_families
@guarded()
async def test_a_ban_can_be_lifted(broker: TestBroker, version: int) -> None:
    broker.node.banned.create("clientid", "c")
    assert await refused(broker, version)
    assert broker.node.banned.delete("clientid", "c")
    assert not await refused(broker, version)


@both_families
async def test_bans_count_only_where_the_zone_asks(broker: TestBroker, version: int) -> None:
    """[3] enable_ban is off by default."""
    broker.node.banned.create("clientid", "c")
    assert not await refused(broker, version)


@both_families
@guarded()
@pytest.mark.parametrize(("kind", "who"), [("clientid", "c"), ("username", "ann"), ("peerhost", "127.0.0.1")])
async def test_a_ban_ends_the_session_of_who_is_connected(
    broker: TestBroker, version: int, kind: str, who: str
) -> None:
    """[12.1] clientid bans kick at once. Ours: so do those of user names and addresses."""
    recorder = Recorder(broker)
    client = await broker.client("c", version=version, username="ann")
    broker.node.banned.create(kind, "other" if kind != "peerhost" else "10.9.9.9")
    await client.ping()
    broker.node.banned.create(kind, who)
    assert await client.closed() == (0x98 if version == 5 else None)
    assert recorder.of("c")[-1] == ("session.terminated", "kicked")
    assert broker.node.find("c") is None


@both_families
@guarded()
async def test_a_ban_comes_before_authentication_and_after_the_packet_checks(broker: TestBroker, version: int) -> None:
    """[5.2] The first error of the pipeline is the answer, and no backend is asked about a banned client."""

    class Backend:
        asked = 0

        @hookimpl
        async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
            self.asked += 1
            return Verdict()

    backend = Backend()
    broker.node.hooks.register(backend, "backend")
    broker.node.banned.create("clientid", "c")
    assert await refused(broker, version)
    assert backend.asked == 0
    client = await broker.raw(version)
    with pytest.raises(Refused) as caught:
        await client.connect("c", will=Will("a/#", b"", 0, False, None))
    assert caught.value.connack.code == (0x90 if version == 5 else 3)


@guarded(use_username_as_clientid=True)
async def test_the_identity_that_counts_is_the_one_in_force(broker: TestBroker) -> None:
    """[5.2 steps 4 and 5] The client identifier after certificate and user name have replaced it."""
    broker.node.banned.create("clientid", "ann")
    assert await refused(broker, 5, "c", "ann")
    assert not await refused(broker, 5, "ann", "bob")


@both_families
@guarded()
async def test_retained_messages_of_a_banned_client_stay_away(broker: TestBroker, version: int) -> None:
    """[12.1] Not delivered while the ban lasts."""
    bad = await broker.client("bad", version=version)
    await bad.publish("t", b"from bad", 1, retain=True)
    broker.node.publish(Message("u", b"from the broker", 1, True))
    broker.node.banned.create("clientid", "bad", until=int(broker.node.wall()) + 60)
    reader = await broker.client("reader", version=version, subscribe="#")
    assert await reader.message() == ("u", b"from the broker")
    assert await reader.nothing()
    await trio.sleep(61)
    later = await broker.client("later", version=version, subscribe="t")
    assert await later.message() == ("t", b"from bad")


# -- flapping --------------------------------------------------------------------------------------------------------


def flapping(policy: str = "5, 1m, 2m", **zone: object) -> pytest.MarkDecorator:
    return config(
        flapping_detect_policy=policy,
        zone={"default": {"enable_ban": True, "enable_flapping_detect": True, **zone}},
    )


@both_families
@flapping()
async def test_too_many_connects_are_a_ban(broker: TestBroker, version: int) -> None:
    """[12.2] The count within the window bans the clientid, by `flapping detector`, for the third value."""
    assert [await refused(broker, version) for _ in range(6)] == [False] * 4 + [True] * 2
    ban = broker.node.banned.find("clientid", "c")
    assert ban is not None
    assert (ban.by, ban.reason) == ("flapping detector", "flapping is detected")
    assert ban.until - ban.at == 120
    assert not await refused(broker, version, "other")
    await trio.sleep(121)
    assert not await refused(broker, version)


@both_families
@flapping()
async def test_slow_reconnects_are_not_flapping(broker: TestBroker, version: int) -> None:
    """[12.2] If the window has passed the count restarts."""
    for _ in range(12):
        assert not await refused(broker, version)
        await trio.sleep(16)


@both_families
@flapping()
async def test_connects_count_before_authentication(broker: TestBroker, version: int) -> None:
    """[12.2] Wrong passwords count."""

    class No:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
            return Verdict(0x86)

    broker.node.hooks.register(No(), "no")
    codes = []
    for _ in range(6):
        client = await broker.raw(version)
        with pytest.raises(Refused) as caught:
            await client.connect("c")
        codes.append(caught.value.connack.code)
    assert codes == ([0x86] * 4 + [BANNED] * 2 if version == 5 else [4] * 4 + [5] * 2)


@flapping()
async def test_a_flapping_ban_ends_the_session_that_was_alive(broker: TestBroker) -> None:
    """Two programs with one client identifier: both are out."""
    clients = [await broker.client("c", expiry=100) for _ in range(4)]
    last: Client = await broker.raw(5)
    await last.send(Connect(proto_ver=5, clientid="c"))
    assert await last.receive() == Connack(False, BANNED, None)
    assert await clients[-1].closed() == 0x98
    assert broker.node.clients() == []


@both_families
@pytest.mark.parametrize(
    "broker_config",
    [
        {"flapping_detect_policy": "3, 1m, 5m", "zone": {"default": {"enable_flapping_detect": True}}},
        {"flapping_detect_policy": "3, 1m, 5m", "zone": {"default": {"enable_ban": True}}},
    ],
    ids=["no enable_ban", "no enable_flapping_detect"],
)
async def test_flapping_needs_both_switches(broker: TestBroker, version: int) -> None:
    """[12.2] Effective only if enable_flapping_detect and enable_ban are on."""
    counted = Counted(broker)
    for _ in range(10):
        assert not await refused(broker, version)
    assert counted["client.connected"] == 10
    assert broker.node.banned.entries() == []
