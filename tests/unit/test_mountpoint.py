"""Mountpoints [broker.md 3, 7.5] [reliability.md 2.3]: one prefix for everything a client names, stripped on the way
back, never visible, never wider than its client."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Recorder, both_families, config, every_version, props, zone

from trioemqx.errors import connack_return_code
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Refused, TestBroker
from trioemqx.types import ClientInfo, Credentials, Message, SubOpts, Verdict

TENANTS = {
    "zone": {
        "default": {"mountpoint": "tenant/%u/"},
        "plain": {"enable_acl": False},
        "device": {"mountpoint": "dev/%c/", "enable_acl": False},
    }
}
tenants = config(**TENANTS)


@every_version
@tenants
async def test_clients_of_one_tenant_meet_and_see_no_prefix(broker: TestBroker, version: int) -> None:
    """[3] Put in front on publish and subscribe, stripped on delivery."""
    one = await broker.client("one", version=version, username="ann", subscribe="a/+", qos=2)
    two = await broker.client("two", version=version, username="ann")
    for qos in (0, 1, 2):
        await two.publish("a/b", b"%d" % qos, qos)
        packet = await one.receive_publish()
        assert (packet.topic, packet.payload, packet.qos) == ("a/b", b"%d" % qos, qos)


@every_version
@tenants
async def test_tenants_do_not_meet(broker: TestBroker, version: int) -> None:
    """Whatever they subscribe to, and however they climb."""
    ann = await broker.client("one", version=version, username="ann", subscribe="#")
    bob = await broker.client("two", version=version, username="bob")
    for topic in ("a", "../ann/a", "/ann/a", "tenant/ann/a", "ann/a"):
        await bob.publish(topic, b"from bob", 1)
    assert await ann.nothing()


@both_families
@tenants
async def test_the_broker_sees_the_whole_topic(broker: TestBroker, version: int) -> None:
    watcher = await broker.client("watcher", zone="plain", subscribe="#")
    ann = await broker.client("one", version=version, username="ann")
    await ann.publish("a/b", b"up")
    assert await watcher.message() == ("tenant/ann/a/b", b"up")
    await ann.subscribe("down/#")
    broker.node.publish(Message("tenant/ann/down/x", b"down"))
    assert await ann.message() == ("down/x", b"down")
    broker.node.publish(Message("down/x", b"not mounted"))
    assert await ann.nothing()


@both_families
@config(zone={"default": {"mountpoint": "dev/%c/x%c/%u/"}})
async def test_placeholders_are_whole_levels(broker: TestBroker, version: int) -> None:
    """[3] %c and %u only as a whole level; an absent user name leaves %u as it is."""
    await broker.client("c1", version=version)
    await broker.client("c2", version=version, username="ann")
    mounts = {session.clientid: session.info.mountpoint for session in broker.node.clients()}
    assert mounts == {"c1": "dev/c1/x%c/%u/", "c2": "dev/c2/x%c/ann/"}


@both_families
@pytest.mark.parametrize("value", ["+", "#", "a/b", "a+", "#a", "+/#"])
async def test_a_name_that_would_widen_the_mountpoint_is_refused(
    broker_config: dict[str, object], broker: TestBroker, version: int, value: str
) -> None:
    """[reliability 2.3] Wildcards and separators in client identifier or user name (CVE-2017-7650): 0x87."""
    for where, connect in (("device", {"clientid": value}), ("default", {"clientid": "c", "username": value})):
        client = await broker.raw(version, where)
        with pytest.raises(Refused) as caught:
            await client.connect(**connect)
        assert caught.value.connack.code == (0x87 if version == 5 else connack_return_code(0x87))
    assert broker.node.clients() == []


@pytest.fixture
def broker_config() -> dict[str, object]:
    return TENANTS


@both_families
async def test_unsubscribe_names_what_subscribe_named(broker: TestBroker, version: int) -> None:
    ann = await broker.client("one", version=version, username="ann", subscribe="a/#")
    assert broker.node.broker.router.entry("tenant/ann/a/#") is not None
    await ann.unsubscribe("a/#")
    assert broker.node.broker.router.entry("tenant/ann/a/#") is None


@both_families
async def test_shared_filters_are_mounted_inside(broker: TestBroker, version: int) -> None:
    """[3] `$share/g/` + mount + filter."""
    ann = await broker.client("one", version=version, username="ann", subscribe="$share/g/a", qos=1)
    bob = await broker.client("two", version=version, username="bob", subscribe="$share/g/a", qos=1)
    for _ in range(4):
        await ann.publish("a", b"for ann", 1)
    assert [await ann.message() for _ in range(4)] == [("a", b"for ann")] * 4
    assert await bob.nothing()
    await ann.unsubscribe("$share/g/a")
    assert broker.node.stats()["subscriptions.shared.count"] == 1


@both_families
async def test_retained_messages_are_each_tenants_own(broker: TestBroker, version: int) -> None:
    ann = await broker.client("one", version=version, username="ann")
    await ann.publish("a", b"kept", 1, retain=True)
    again = await broker.client("two", version=version, username="ann", subscribe="#")
    packet = await again.receive_publish()
    assert (packet.topic, packet.payload, packet.retain) == ("a", b"kept", True)
    bob = await broker.client("three", version=version, username="bob", subscribe="#")
    assert await bob.nothing()
    await ann.publish("a", b"", 1, retain=True)
    late = await broker.client("four", version=version, username="ann", subscribe="a")
    assert await late.nothing()


@both_families
async def test_what_waits_is_stripped_too(broker: TestBroker, version: int) -> None:
    """Queue, resend and retry come through the same gate."""
    expiry = 100 if version == 5 else None
    ann = await broker.client("one", version=version, username="ann", clean_start=False, expiry=expiry)
    await ann.subscribe("a/#", qos=2)
    broker.node.publish(Message("tenant/ann/a/flying", b"1", 1))
    ann.auto_ack = False
    await ann.receive_publish()
    await ann.close()
    await trio.sleep(1)
    broker.node.publish(Message("tenant/ann/a/waiting", b"2", 2))
    again = await broker.client("one", version=version, username="ann", clean_start=False, expiry=expiry)
    packets = [await again.receive_publish() for _ in range(2)]
    assert [(packet.topic, packet.dup) for packet in packets] == [("a/flying", True), ("a/waiting", False)]


@both_families
async def test_the_parent_of_a_mounted_wildcard_is_not_the_clients(broker: TestBroker, version: int) -> None:
    """`tenant/ann/#` also matches `tenant/ann` [MQTT5 4.7.1.2], which has no name inside the mountpoint."""
    ann = await broker.client("one", version=version, username="ann", subscribe="#", qos=1)
    broker.node.publish(Message("tenant/ann", b"parent", 1))
    assert await ann.nothing()
    session = broker.node.find("one")
    assert session is not None
    assert session.inflight == {}


async def test_topic_aliases_work_on_the_inner_name(broker: TestBroker) -> None:
    ann = await broker.client("one", username="ann", subscribe="a", qos=1, properties=props(topic_alias_maximum=5))
    for number in range(3):
        await ann.publish("a" if number == 0 else "", b"%d" % number, 1, properties=props(topic_alias=7))
    packets = [await ann.receive_publish() for _ in range(3)]
    assert [packet.topic for packet in packets] == ["a", "", ""]
    assert [packet.payload for packet in packets] == [b"0", b"1", b"2"]


@both_families
async def test_no_topic_reaches_outside_through_dollar_names(broker: TestBroker, version: int) -> None:
    """`$SYS/...` of a mounted client is an ordinary name inside its mountpoint when it subscribes."""
    ann = await broker.client("one", version=version, username="ann", subscribe="$SYS/#")
    broker.node.publish(Message("$SYS/brokers", b"secret"))
    assert await ann.nothing()


# -- from a backend --------------------------------------------------------------------------------------------------


class Backend:
    """Gives every client a mountpoint of its own."""

    def __init__(self, mountpoint: str | None) -> None:
        self.mountpoint = mountpoint

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
        return Verdict(0, mountpoint=self.mountpoint)


@both_families
@pytest.mark.parametrize(
    ("given", "expected"), [("own/%c/", "own/c/"), ("", ""), (None, "tenant/ann/")], ids=["own", "none", "the zone's"]
)
async def test_a_backend_may_replace_the_zones_mountpoint(
    broker: TestBroker, version: int, given: str | None, expected: str
) -> None:
    """[3] An auth backend may return a mountpoint, which replaces the zone's."""
    broker.node.hooks.register(Backend(given), "backend")
    client = await broker.client("c", version=version, username="ann", subscribe="t")
    broker.node.publish(Message(f"{expected}t", b"x"))
    assert await client.message() == ("t", b"x")


@both_families
async def test_a_session_under_another_mountpoint_brings_nothing_of_the_old_one(
    broker: TestBroker, version: int
) -> None:
    """A resumed session must not go on receiving what its new place may not see."""
    backend = Backend("one/")
    broker.node.hooks.register(backend, "backend")
    expiry = 100 if version == 5 else None
    client = await broker.client("c", version=version, clean_start=False, expiry=expiry, subscribe="#", qos=1)
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("one/t", b"waiting", 1))
    for mountpoint in ("two/", "one/longer/", ""):
        backend.mountpoint = mountpoint
        again = await broker.client("c", version=version, clean_start=False, expiry=expiry)
        broker.node.publish(Message("one/t", b"live", 1))
        assert await again.nothing()
        await again.close()
        await trio.sleep(1)
        session = broker.node.find("c")
        assert session is not None
        assert (session.subscriptions, session.inflight) == ({}, {})


# -- what hooks and rules see ----------------------------------------------------------------------------------------


class Rules:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.subscribed: list[str] = []

    @hookimpl
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> bool:
        self.asked.append((action, topic))
        return True

    @hookimpl
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts) -> None:
        self.subscribed.append(filter)


@both_families
@config(zone={"default": {"mountpoint": "tenant/%u/", "enable_acl": True}})
async def test_rules_see_what_the_client_wrote_and_hooks_the_mounted_filter(broker: TestBroker, version: int) -> None:
    """[6.1, 6.3] ACL before the mountpoint; [14] session.subscribed has the mounted filter."""
    rules = Rules()
    broker.node.hooks.register(rules, "rules")
    client = await broker.client("c", version=version, username="ann", subscribe="$share/g/a/#")
    await client.publish("a/b", b"x", 1)
    await client.close()
    await trio.sleep(1)
    assert rules.asked == [("subscribe", "a/#"), ("publish", "a/b")]
    assert rules.subscribed == ["$share/g/tenant/ann/a/#"]


@zone(mountpoint="m/")
async def test_dropped_messages_are_told_with_their_whole_topic(broker: TestBroker) -> None:
    recorder = Recorder(broker)
    client = await broker.client("c")
    await client.publish("nobody", b"x", 1)
    assert recorder.dropped == [("", b"x", "no_subscribers")]
