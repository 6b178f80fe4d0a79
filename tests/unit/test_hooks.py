"""Every hook point: when it fires, with what, in which order, what its answer and its crash do (broker behaviour 14).

`test_hook_<point>` exists for each point; a test at the end checks that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pluggy
import pytest
import trio
from pubsub_helpers import config, messages, plug, props

from trioemqx.codec.control import Auth, Unsubscribe
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack
from trioemqx.core.access import AuthStep
from trioemqx.core.session import Session
from trioemqx.hooks import Drop, Hooks, Refuse
from trioemqx.hookspecs import AsyncHooks, SyncHooks, hookimpl
from trioemqx.services.plugins import HookRegistry, PluginRefused
from trioemqx.testing import Closed, Refused, TestBroker, make_publish, running
from trioemqx.types import ClientInfo, Credentials, Message, Properties, SubOpts, Verdict


def points(declared: type) -> list[str]:
    return [name for name in vars(declared) if not name.startswith("_")]


ASYNC = points(AsyncHooks)
SYNC = points(SyncHooks)
NOTIFY = """client_connected client_disconnected client_check_acl_complete session_created session_subscribed
session_unsubscribed session_resumed session_discarded session_takeovered session_terminated message_acked
message_dropped delivery_dropped delivery_completed""".split()
DECIDE = ["client_check_acl_now", "tls_handshake_psk_lookup"]
TRANSFORM = sorted(set(SYNC) - set(NOTIFY) - set(DECIDE))


def arguments(point: str) -> list[str]:
    declared = AsyncHooks if point in ASYNC else SyncHooks
    return list(inspect.signature(getattr(declared, point)).parameters)[1:]


def recording(heard: list[tuple[str, dict[str, Any]]], point: str) -> Callable[..., Any]:
    """An implementation that takes every argument of its point, notes them by name, and answers None."""
    names = arguments(point)
    word = "async def" if point in ASYNC else "def"
    given = ", ".join(f"{name!r}: {name}" for name in names)
    space: dict[str, Any] = {"heard": heard}
    exec(f"{word} {point}({', '.join(names)}):\n    heard.append(({point!r}, {{{given}}}))", space)
    return space[point]


def crashes(broker: TestBroker) -> dict[str, int]:
    """How often each hook of the plugin `strange` crashed."""
    chains = broker.node.hooks.details()
    return {point: entry.errors for point, chain in chains for entry in chain if entry.plugin == "strange"}


def record(broker: TestBroker, *wanted: str) -> list[tuple[str, dict[str, Any]]]:
    """Note the calls of some points, or of all."""
    heard: list[tuple[str, dict[str, Any]]] = []
    plug(broker, "recorder", **{point: recording(heard, point) for point in wanted or (*ASYNC, *SYNC)})
    return heard


def only(heard: list[tuple[str, dict[str, Any]]], point: str) -> dict[str, Any]:
    """The arguments of the one call of a point."""
    calls = [given for name, given in heard if name == point]
    assert len(calls) == 1, f"{point} was called {len(calls)} times"
    return calls[0]


async def _settle() -> None:
    await trio.sleep(0.1)


# -- the life of a client ----------------------------------------------------------------------------------------------


async def test_the_order_of_a_whole_life(broker: TestBroker) -> None:
    heard = record(broker)
    client = await broker.client("c", username="u", password=b"p")
    await client.subscribe("t", qos=1)
    await client.publish("t", b"x", qos=1)
    await client.receive_publish()
    await client.ping()
    await client.unsubscribe("t")
    await client.disconnect()
    await _settle()
    assert [name for name, _ in heard] == [
        "client_connect",
        "client_authenticate",
        "session_created",
        "client_connected",
        "client_connack",
        "client_check_acl",
        "client_check_acl_now",
        "client_check_acl_complete",
        "client_subscribe",
        "session_subscribed",
        "client_check_acl",
        "client_check_acl_now",
        "client_check_acl_complete",
        "message_publish",
        "message_delivered",
        "message_acked",
        "delivery_completed",
        "client_unsubscribe",
        "session_unsubscribed",
        "client_disconnected",
        "session_terminated",
    ]
    for _, given in heard:
        if "client" in given:
            assert isinstance(given["client"], ClientInfo)
            assert given["client"].clientid == "c"


async def test_hook_client_connect(broker: TestBroker) -> None:
    heard = record(broker, "client_connect")
    sent = props(user_property=[("a", "b")])
    await broker.client("c", username="u", keepalive=7, properties=sent)
    given = only(heard, "client_connect")
    assert given["properties"] == sent
    client = given["client"]
    assert (client.clientid, client.username, client.keepalive, client.proto_ver) == ("c", "u", 7, 5)
    assert client.peerhost == "127.0.0.1"


async def test_client_connect_changes_properties(broker: TestBroker) -> None:
    plug(broker, client_connect=lambda properties: props(session_expiry_interval=77))
    await broker.client("c")
    assert broker.node.find("c").expiry_interval == 77


@pytest.mark.parametrize(("version", "code"), [(5, 0x9F), (4, 3)])
async def test_client_connect_refuses(broker: TestBroker, version: int, code: int) -> None:
    def client_connect() -> None:
        raise Refuse(0x9F)

    heard = record(broker, "client_connack", "client_connected", "client_disconnected", "client_authenticate")
    plug(broker, client_connect=client_connect)
    with pytest.raises(Refused) as caught:
        await broker.client("c", version=version)
    assert caught.value.connack.code == code
    await _settle()
    assert [name for name, _ in heard] == ["client_connack"]
    assert heard[0][1]["reason"] == "connection_rate_exceeded"


@pytest.mark.parametrize("answer", ["crash", 5, "text"])
async def test_client_connect_fails_closed(broker: TestBroker, answer: object) -> None:
    def client_connect() -> object:
        if answer == "crash":
            raise ZeroDivisionError
        return answer

    plug(broker, client_connect=client_connect)
    with pytest.raises(Refused) as caught:
        await broker.client("c")
    assert caught.value.connack.code == 0x80


async def test_hook_client_connack(broker: TestBroker) -> None:
    heard = record(broker, "client_connack")
    await broker.client("c")
    given = only(heard, "client_connack")
    assert given["reason"] == "success"
    assert given["properties"].retain_available == 1


@config(allow_anonymous=False)
async def test_client_connack_of_a_refusal(broker: TestBroker) -> None:
    heard = record(broker, "client_connack")
    with pytest.raises(Refused):
        await broker.client("c")
    assert only(heard, "client_connack")["reason"] == "not_authorized"


async def test_client_connack_changes_properties(broker: TestBroker) -> None:
    def client_connack(properties: Properties) -> Properties:
        properties.reason_string = "welcome"
        return properties

    plug(broker, client_connack=client_connack)
    client = await broker.client("c")
    assert client.connack.properties.reason_string == "welcome"
    assert (await broker.client("old", version=4)).connack.properties is None


async def test_hook_client_connected(broker: TestBroker) -> None:
    heard = record(broker, "client_connected", "client_connack")
    await broker.client("c")
    assert [name for name, _ in heard] == ["client_connected", "client_connack"]
    client = only(heard, "client_connected")["client"]
    assert client.connected_at == pytest.approx(broker.node.wall() * 1000, abs=2000)


@pytest.mark.parametrize(
    "how", ["normal", "disconnect_with_will_message", "tcp_closed", "kicked", "topic_name_invalid"]
)
async def test_hook_client_disconnected(broker: TestBroker, how: str) -> None:
    heard = record(broker, "client_disconnected")
    client = await broker.client("c")
    if how == "normal":
        await client.disconnect()
    elif how == "disconnect_with_will_message":
        await client.disconnect(4)
    elif how == "tcp_closed":
        await client.close()
    elif how == "kicked":
        broker.node.kick("c")
    else:
        await client.send_raw(b"\x30\x04\x00\x01#\x00")
    await trio.sleep(3)
    given = only(heard, "client_disconnected")
    assert (given["client"].clientid, given["reason"]) == ("c", how)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("clean_start", [True, False])
async def test_client_disconnected_of_a_connection_that_lost_its_session(
    flag: bool, clean_start: bool, autojump_clock: object
) -> None:
    name = "client_disconnect_discarded" if clean_start else "client_disconnect_takeovered"
    async with running({"broker": {name: flag}}) as broker:
        heard = record(broker, "client_disconnected")
        await broker.client("c", expiry=100)
        await broker.client("c", clean_start=clean_start, expiry=100)
        await _settle()
        reason = "discarded" if clean_start else "takeovered"
        assert [given["reason"] for _, given in heard] == ([reason] if flag else [])


async def test_not_for_a_client_that_was_never_accepted(broker: TestBroker) -> None:
    heard = record(broker, "client_disconnected", "session_terminated")
    client = await broker.raw()
    await client.send_raw(b"\x10\x02\x00\x04")
    with pytest.raises(Closed):
        await client.receive()
    stranger = await broker.raw()
    await stranger.close()
    await _settle()
    assert heard == []


# -- access ------------------------------------------------------------------------------------------------------------


async def test_hook_client_authenticate(broker: TestBroker) -> None:
    heard = record(broker, "client_authenticate")
    await broker.client("c", username="u", password=b"secret")
    given = only(heard, "client_authenticate")
    assert (given["credentials"].username, given["credentials"].password) == ("u", b"secret")
    assert "secret" not in repr(given["credentials"])


async def test_client_authenticate_first_verdict_wins(broker: TestBroker) -> None:
    asked: list[str] = []

    def backend(name: str, verdict: Verdict | None) -> None:
        async def client_authenticate(client: ClientInfo, credentials: Credentials) -> Verdict | None:
            asked.append(name)
            return verdict

        plug(broker, name, client_authenticate=client_authenticate)

    backend("passes", None)
    backend("decides", Verdict(0, is_superuser=True, mountpoint="m/", extra={"k": "v"}))
    backend("last", Verdict(0x87))
    await broker.client("c")
    assert asked == ["passes", "decides"]
    info = broker.node.find("c").info
    assert (info.is_superuser, info.mountpoint, info.extra, info.anonymous) == (True, "m/", {"k": "v"}, False)


async def test_hook_client_enhanced_authenticate(broker: TestBroker) -> None:
    heard: list[tuple[str, bytes | None, object]] = []

    async def client_enhanced_authenticate(method: str, data: bytes | None, cache: object) -> AuthStep | None:
        heard.append((method, data, cache))
        if data == b"1":
            return AuthStep("continue", b"2", cache="remembered")
        return AuthStep("ok", b"4")

    plug(broker, client_enhanced_authenticate=client_enhanced_authenticate)
    client = await broker.raw()
    start = props(authentication_method="m", authentication_data=b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.connect("c", properties=start))
        await _settle()
        await client.send(Auth(0x18, props(authentication_method="m", authentication_data=b"3")))
    assert client.connack.properties.authentication_data == b"4"
    assert heard == [("m", b"1", None), ("m", b"3", "remembered")]


async def test_hook_client_check_acl(broker: TestBroker) -> None:
    heard = record(broker, "client_check_acl")
    client = await broker.client("c")
    await client.subscribe("a/+")
    await client.publish("b", b"", qos=1)
    assert [(given["client"].clientid, given["action"], given["topic"]) for _, given in heard] == [
        ("c", "subscribe", "a/+"),
        ("c", "publish", "b"),
    ]


async def test_hook_client_check_acl_complete(broker: TestBroker) -> None:
    heard = record(broker, "client_check_acl_complete")
    client = await broker.client("c")
    for _ in range(2):
        await client.publish("b", b"", qos=1)
    assert [list(given.values())[1:] for _, given in heard] == [
        ["publish", "b", True, False],
        ["publish", "b", True, True],
    ]


async def test_hook_client_check_acl_now(broker: TestBroker) -> None:
    """Rules in memory: asked without a detour, in one order with those that wait; asked again where one has to wait."""
    asked: list[str] = []

    def client_check_acl_now(client: ClientInfo, action: str, topic: str) -> bool | None:
        asked.append(f"{action} {topic}")
        return {"yes": True, "no": False}.get(topic)

    async def client_check_acl(topic: str) -> bool | None:
        asked.append(f"waits for {topic}")
        return topic == "other"

    plug(broker, "rules", client_check_acl_now=client_check_acl_now)
    client = await broker.client("c")
    assert await client.subscribe("yes", "no", "else") == [0, 0x87, 0]
    assert asked == ["subscribe yes", "subscribe no", "subscribe else"]
    plug(broker, "backend", client_check_acl=client_check_acl)
    asked.clear()
    assert await client.publish("yes", qos=1) in (0, 0x10)
    assert await client.publish("other", qos=1) in (0, 0x10)
    assert await client.publish("another", qos=1) == 0x87
    assert asked == [
        "publish yes",
        *("publish other", "publish other", "waits for other"),
        *("publish another", "publish another", "waits for another"),
    ]


def test_hook_tls_handshake_psk_lookup() -> None:
    registry = HookRegistry()

    class Keys:
        @hookimpl
        def tls_handshake_psk_lookup(self, identity: str) -> bytes | None:
            if identity == "crash":
                raise ValueError(identity)
            return b"key" if identity == "known" else None

    registry.register(Keys(), "keys")
    lookup = registry.compiled.run_psk_lookup
    assert [lookup(identity) for identity in ("known", "unknown", "crash")] == [b"key", None, None]


# -- subscriptions (what the answers do is in test_subscribe) ----------------------------------------------------------


async def test_hook_client_subscribe(broker: TestBroker) -> None:
    heard = record(broker, "client_subscribe")
    client = await broker.client("c")
    await client.subscribe("a", "b", opts=SubOpts(1, True, True, 2), identifier=3)
    given = only(heard, "client_subscribe")
    wanted = SubOpts(1, True, True, 2, 3)
    assert given["filters"] == [("a", wanted), ("b", wanted)]
    assert given["properties"] == props(subscription_identifier=[3])


async def test_hook_client_unsubscribe(broker: TestBroker) -> None:
    heard = record(broker, "client_unsubscribe")
    client = await broker.client("c")
    await client.send(Unsubscribe(1, ["a", "b"], props(user_property=[("k", "v")])))
    await _settle()
    given = only(heard, "client_unsubscribe")
    assert [name for name, _ in given["filters"]] == ["a", "b"]
    assert given["properties"] == props(user_property=[("k", "v")])


async def test_hook_session_subscribed(broker: TestBroker) -> None:
    heard = record(broker, "session_subscribed")
    client = await broker.client("c")
    await client.subscribe("a", qos=2)
    await client.subscribe("a", qos=1)
    assert [list(given.values())[1:] for _, given in heard] == [["a", SubOpts(2), True], ["a", SubOpts(1), False]]


async def test_hook_session_unsubscribed(broker: TestBroker) -> None:
    heard = record(broker, "session_unsubscribed")
    client = await broker.client("c", subscribe="a", qos=2)
    await client.unsubscribe("b", "a")
    given = only(heard, "session_unsubscribed")
    assert (given["filter"], given["opts"]) == ("a", SubOpts(2))


async def test_the_filters_of_one_hook_are_those_of_the_next(broker: TestBroker) -> None:
    seen: list[str] = []

    def adding(name: str) -> None:
        def client_subscribe(filters: list[tuple[str, SubOpts]]) -> list[tuple[str, SubOpts]]:
            seen.append(filters[0][0])
            return [(f"{filter}/{name}", opts) for filter, opts in filters]

        plug(broker, name, client_subscribe=client_subscribe)

    adding("1")
    adding("2")
    await broker.client("c", subscribe="t")
    assert seen == ["t", "t/1"]
    assert list(broker.node.find("c").subscriptions) == ["t/1/2"]


# -- sessions ----------------------------------------------------------------------------------------------------------

SESSION = ("session_created", "session_resumed", "session_takeovered", "session_discarded", "session_terminated")


async def _session_events(broker: TestBroker, *connects: bool, leave: bool = False) -> list[tuple[str, dict[str, Any]]]:
    heard = record(broker, *SESSION)
    for clean_start in connects:
        client = await broker.client("c", clean_start=clean_start, expiry=100)
        if leave:
            await client.close()
            await _settle()
    return heard


async def test_hook_session_created(broker: TestBroker) -> None:
    heard = await _session_events(broker, True)
    given = only(heard, "session_created")
    assert isinstance(given["session"], Session)
    assert given["session"] is broker.node.find("c")


async def test_hook_session_resumed(broker: TestBroker) -> None:
    heard = await _session_events(broker, True, False, leave=True)
    assert [name for name, _ in heard] == ["session_created", "session_resumed"]
    assert only(heard, "session_resumed")["session"] is only(heard, "session_created")["session"]


async def test_hook_session_takeovered(broker: TestBroker) -> None:
    heard = await _session_events(broker, True, False)
    # `session.resumed` runs on the new side before the old side ends
    assert [name for name, _ in heard] == ["session_created", "session_resumed", "session_takeovered"]


@pytest.mark.parametrize("leave", [True, False])
async def test_hook_session_discarded(broker: TestBroker, leave: bool) -> None:
    heard = await _session_events(broker, True, True, leave=leave)
    assert [name for name, _ in heard] == ["session_created", "session_discarded", "session_created"]
    assert heard[1][1]["session"] is heard[0][1]["session"]
    assert heard[2][1]["session"] is not heard[0][1]["session"]


@pytest.mark.parametrize("how", ["normal", "tcp_closed", "kicked", "expired"])
async def test_hook_session_terminated(broker: TestBroker, how: str) -> None:
    heard = record(broker, "session_terminated")
    client = await broker.client("c", expiry=5 if how == "expired" else 0)
    if how == "kicked":
        broker.node.kick("c")
    elif how == "normal":
        await client.disconnect()
    else:
        await client.close()
    if how == "expired":
        await trio.sleep(4)
        assert heard == []
        await trio.sleep(3)
    await _settle()
    given = only(heard, "session_terminated")
    assert (given["client"].clientid, given["reason"]) == ("c", how)


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_hook_message_publish(broker: TestBroker) -> None:
    heard = record(broker, "message_publish")
    client = await broker.client("c", will=make_publish("will", b"w"))
    await client.publish("t", b"x", qos=2)
    broker.node.publish(Message("api", b"y", publisher="http_api"))
    await client.close()
    await _settle()
    found = [(given["message"].topic, given["message"].payload, given["message"].publisher) for _, given in heard]
    assert found == [("t", b"x", "c"), ("api", b"y", "http_api"), ("will", b"w", "c")]


async def test_message_publish_folds_in_order(broker: TestBroker) -> None:
    def adding(name: bytes) -> None:
        def message_publish(message: Message) -> Message:
            changed = message.copy()
            changed._payload = message.payload + name
            return changed

        plug(broker, name.decode(), message_publish=message_publish)

    adding(b"1")
    adding(b"2")
    watcher = await broker.client("w", subscribe="t", qos=2)
    client = await broker.client("c")
    for qos in (0, 1, 2):
        await client.publish("t", b"x", qos=qos)
        assert await watcher.message() == ("t", b"x12")


@pytest.mark.parametrize("topic", ["a/+", "", "a\0b"])
@pytest.mark.parametrize("point", ["message_publish", "message_delivered"])
async def test_a_topic_that_cannot_be_published_to_is_a_crash_of_its_hook(
    broker: TestBroker, point: str, topic: str
) -> None:
    """The hooks before and after it count."""
    plug(broker, "first", message_publish=lambda message: message.copy(payload=message.payload + b"1"))
    plug(broker, "strange", **{point: lambda message: message.copy(topic=topic)})
    plug(broker, "last", message_publish=lambda message: message.copy(payload=message.payload + b"2"))
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x12")
    assert crashes(broker) == {point: 1}


async def test_message_publish_drop_ends_the_chain(broker: TestBroker) -> None:
    heard: list[str] = []

    def message_publish(message: Message) -> None:
        raise Drop

    plug(broker, "first", message_publish=lambda message: heard.append("first"))
    plug(broker, "drops", message_publish=message_publish)
    plug(broker, "last", message_publish=lambda message: heard.append("last"))
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c")
    assert await client.publish("t", b"x", qos=1) == 0x10
    assert broker.node.publish(Message("t", b"x")) == 0
    assert heard == ["first", "first"]
    assert await watcher.nothing()


async def test_hook_message_delivered(broker: TestBroker) -> None:
    heard = record(broker, "message_delivered")
    watchers = [await broker.client(f"w{number}", subscribe="t", qos=number) for number in range(3)]
    await (await broker.client("c")).publish("t", b"x", qos=2)
    for watcher in watchers:
        await watcher.message()
    assert {given["client"].clientid for _, given in heard} == {"w0", "w1", "w2"}
    assert all(given["message"].topic == "t" for _, given in heard)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_message_delivered_changes_the_message_for_one_client(broker: TestBroker, qos: int) -> None:
    def message_delivered(client: ClientInfo, message: Message) -> Message | None:
        if client.clientid != "special":
            return None
        changed = message.copy()
        changed._payload = b"for you"
        changed.topic = "other"
        return changed

    plug(broker, message_delivered=message_delivered)
    special = await broker.client("special", subscribe="t", qos=2)
    usual = await broker.client("usual", subscribe="t", qos=2)
    await (await broker.client("c")).publish("t", b"x", qos=qos)
    assert await special.message() == ("other", b"for you")
    assert await usual.message() == ("t", b"x")


async def test_message_delivered_is_not_repeated_with_the_packet(broker: TestBroker) -> None:
    heard = record(broker, "message_delivered")
    client = await broker.client("w", subscribe="t", qos=1, expiry=100)
    client.auto_ack = False
    broker.node.publish(Message("t", b"x", 1))
    await client.receive_publish()
    again = await broker.client("w", clean_start=False, expiry=100)
    await again.receive_publish()
    assert len(heard) == 1


async def test_hook_message_acked(broker: TestBroker) -> None:
    heard = record(broker, "message_acked")
    client = await broker.client("w", subscribe="t", qos=2)
    client.auto_ack = False
    for qos in (0, 1, 2):
        broker.node.publish(Message("t", b"%d" % qos, qos))
        await client.receive_publish()
    for ack in (Ack(PUBACK, 1), Ack(PUBREC, 2), Ack(PUBREC, 2), Ack(PUBCOMP, 2), Ack(PUBACK, 77)):
        await client.send(ack)
    await client.ping()
    assert [(given["client"].clientid, given["message"].payload) for _, given in heard] == [("w", b"1"), ("w", b"2")]


@config(zone={"max_awaiting_rel": 1})
async def test_hook_message_dropped(broker: TestBroker) -> None:
    heard = record(broker, "message_dropped")
    client = await broker.client("c")
    await client.send(make_publish("t", b"1", 2, False, False, 1, None))
    await client.send(make_publish("t", b"2", 2, False, False, 1, None))
    await client.send(make_publish("t", b"3", 2, False, False, 2, None))
    await client.closed()
    node = broker.node.node
    assert [(given["message"].payload, given["node"], given["reason"]) for _, given in heard] == [
        (b"1", node, "no_subscribers"),
        (b"2", node, "packet_identifier_inuse"),
        (b"3", node, "receive_maximum_exceeded"),
    ]


@config(zone={"max_mqueue_len": 1, "mqueue_store_qos0": False})
async def test_hook_delivery_dropped(broker: TestBroker) -> None:
    heard = record(broker, "delivery_dropped")
    await broker.client("small", subscribe="large", properties=props(maximum_packet_size=50))
    local = await broker.client("local")
    await local.subscribe("mine", opts=SubOpts(nl=True))
    await (await broker.client("away", subscribe="t", qos=1, expiry=100)).close()
    await _settle()
    broker.node.publish(Message("large", b"x" * 50))
    broker.node.publish(Message("mine", b"", publisher="local"))
    broker.node.publish(Message("t", b"qos0", 0))
    broker.node.publish(Message("t", b"first", 1))
    broker.node.publish(Message("t", b"second", 1, properties=props(message_expiry_interval=1)))
    await trio.sleep(3)
    await broker.client("away", clean_start=False, expiry=100)
    assert [(given["client"].clientid, given["reason"]) for _, given in heard] == [
        ("small", "too_large"),
        ("local", "no_local"),
        ("away", "qos0_msg"),
        ("away", "queue_full"),
        ("away", "expired"),
    ]
    assert heard[3][1]["message"].payload == b"first"


async def test_hook_delivery_completed(broker: TestBroker) -> None:
    """At the send for QoS 0, at PUBACK for QoS 1, at PUBCOMP for QoS 2."""
    heard = record(broker, "delivery_completed")
    client = await broker.client("w", subscribe="t", qos=2)
    client.auto_ack = False
    born = broker.node.find("w").created_at
    await trio.sleep(5)

    async def completed() -> list[bytes]:
        await client.ping()
        return [given["message"].payload for _, given in heard]

    for qos in (0, 1, 2):
        broker.node.publish(Message("t", b"%d" % qos, qos))
    assert await completed() == [b"0"]
    await client.send(Ack(PUBACK, 1))
    assert await completed() == [b"0", b"1"]
    await client.send(Ack(PUBREC, 2))
    assert await completed() == [b"0", b"1"]
    await client.send(Ack(PUBCOMP, 2))
    assert await completed() == [b"0", b"1", b"2"]
    assert {given["session_birth_time"] for _, given in heard} == {born}
    assert {given["client"].clientid for _, given in heard} == {"w"}


# -- order, isolation, registration ------------------------------------------------------------------------------------


async def test_order_of_implementations(broker: TestBroker) -> None:
    """A higher priority first, equal ones as they were registered; a replacement keeps its place."""
    heard: list[str] = []

    def made(name: str, priority: int = 0) -> object:
        class Plugin:
            @hookimpl(priority=priority)
            def message_publish(self, message: Message) -> None:
                heard.append(name)

        return Plugin()

    hooks = broker.node.hooks
    for name, priority in (("last", -1), ("one", 0), ("rewrite", 1000), ("two", 0)):
        hooks.register(made(name, priority), name)
    hooks.register(made("set", 0), "set", priority=5)
    broker.node.publish(Message("t", b""))
    assert heard == ["rewrite", "set", "one", "two", "last"]
    assert dict(hooks.describe())["message_publish"] == [
        ("rewrite", 1000),
        ("set", 5),
        ("one", 0),
        ("two", 0),
        ("last", -1),
    ]
    assert hooks.unregister("two")
    assert not hooks.unregister("two")
    hooks.replace(made("another"), "one")
    hooks.register(made("three"), "three")
    heard.clear()
    broker.node.publish(Message("t", b""))
    assert heard == ["rewrite", "set", "another", "three", "last"]


@config(auth_order="second,http", acl_order="second")
async def test_auth_order_and_acl_order_come_first(broker: TestBroker) -> None:
    asked: list[str] = []

    def backend(name: str) -> None:
        async def client_authenticate() -> None:
            asked.append(name)

        async def client_check_acl() -> None:
            asked.append(f"{name} acl")

        def client_check_acl_now() -> None:
            asked.append(f"{name} acl now")

        plug(
            broker,
            name,
            client_authenticate=client_authenticate,
            client_check_acl=client_check_acl,
            client_check_acl_now=client_check_acl_now,
        )

    for name in ("first", "emqx_auth_http", "second"):
        backend(name)
    client = await broker.client("c")
    assert asked == ["second", "emqx_auth_http", "first"]
    asked.clear()
    await client.publish("t", qos=1)
    assert asked == [
        *("second acl", "second acl now"),
        *("first acl", "first acl now"),
        *("emqx_auth_http acl", "emqx_auth_http acl now"),
    ]


def crashing(point: str) -> Callable[..., Any]:
    if point in ASYNC:

        async def crash_later() -> None:
            raise ZeroDivisionError(point)

        return crash_later

    def crash() -> None:
        raise ZeroDivisionError(point)

    return crash


HARMLESS = [
    point for point in SYNC if point not in ("client_connect", "client_check_acl_now", "tls_handshake_psk_lookup")
]


async def test_crashes_stay_with_their_plugin(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    """With every point crashing but those that fail closed, clients do not notice, and other plugins are called."""
    heard = record(broker, *HARMLESS)
    plug(broker, "crashes", **{point: crashing(point) for point in HARMLESS})
    watcher = await broker.client("w", subscribe="t", qos=2)
    client = await broker.client("c", expiry=100)
    for qos in (0, 1, 2):
        assert await client.publish("t", b"x", qos=qos) == 0
        assert await watcher.message() == ("t", b"x")
    await client.publish("nobody", b"x", qos=1)
    await client.subscribe("u")
    await client.unsubscribe("u")
    await client.subscribe("v", opts=SubOpts(1, nl=True))
    await client.publish("v", b"x")
    await client.ping()
    await broker.client("c", clean_start=False, expiry=100)
    await broker.client("c", clean_start=True)
    broker.node.kick("c")
    await trio.sleep(2)
    assert {name for name, _ in heard} == set(HARMLESS)
    assert broker.node.broker.metrics.hook_crashed == len(heard)
    assert broker.node.broker.metrics.connection_crashed == 0
    assert any("message_publish of crashes" in entry.getMessage() for entry in caplog.records)
    await watcher.ping()


@pytest.mark.parametrize(
    "point", ["client_authenticate", "client_enhanced_authenticate", "client_check_acl", "client_check_acl_now"]
)
async def test_crashes_that_deny(broker: TestBroker, point: str) -> None:
    plug(broker, **{point: crashing(point)})
    if point.startswith("client_check_acl"):
        client = await broker.client("c")
        assert await client.publish("t", b"", qos=1) == 0x87
    else:
        with pytest.raises(Refused) as caught:
            await broker.client("c", properties=props(authentication_method="m"))
        assert caught.value.connack.code == 0x87
    assert broker.node.broker.metrics.hook_crashed == 1


@pytest.mark.parametrize("point", TRANSFORM)
@pytest.mark.parametrize("answer", [False, 0, "text", object()])
async def test_an_answer_of_the_wrong_kind_is_a_crash(broker: TestBroker, point: str, answer: object) -> None:
    plug(broker, **{point: lambda: answer})
    if point == "client_connect":
        with pytest.raises(Refused):
            await broker.client("c")
    else:
        client = await broker.client("c", subscribe="t")
        await client.publish("t", b"x", qos=1)
        assert await client.message() == ("t", b"x")
        await client.unsubscribe("t")
    assert broker.node.broker.metrics.hook_crashed >= 1
    assert broker.node.broker.metrics.connection_crashed == 0


@pytest.mark.parametrize("point", ["message_publish", "message_delivered"])
@pytest.mark.parametrize("payload", ["text", 7, ["x"]])
async def test_a_payload_that_is_not_bytes_is_a_crash(broker: TestBroker, point: str, payload: Any) -> None:
    """The message goes on as it was, also to a session that waits for its client."""
    plug(broker, "strange", **{point: lambda message: message.copy(payload=payload)})
    client = await broker.client("c", subscribe="t", qos=1, expiry=60)
    assert await client.publish("t", b"x", qos=1) == 0
    assert await client.message() == ("t", b"x")
    await client.close()
    broker.node.publish(Message("t", b"y", 1))
    again = await broker.client("c", clean_start=False, expiry=60)
    assert await again.message() == ("t", b"y")
    assert crashes(broker) == {point: 2}
    assert broker.node.broker.metrics.connection_crashed == 0


def _renamed(name: str) -> Callable[..., Any]:
    return lambda filters: [(name, opts) for _, opts in filters]


def _with(**values: object) -> Callable[..., Any]:
    def change(filters: list[tuple[str, SubOpts]]) -> list[tuple[str, SubOpts]]:
        for _, opts in filters:
            for name, value in values.items():
                setattr(opts, name, value)
        return filters

    return change


@pytest.mark.parametrize("name", ["a/#/b", "", "$share/g"])
async def test_a_filter_that_a_hook_made_invalid_is_refused_and_counts(broker: TestBroker, name: str) -> None:
    plug(broker, "strange", client_subscribe=lambda filters: _renamed(name)(filters))
    client = await broker.client("c")
    assert await client.subscribe("t", qos=1) == [0x8F]
    assert crashes(broker) == {"client_subscribe": 1}


@pytest.mark.parametrize("change", [_with(qos=9), _with(rh=3), _with(qos="1")])
async def test_a_subscription_that_mqtt_does_not_have_is_a_crash(
    broker: TestBroker, change: Callable[..., Any]
) -> None:
    plug(broker, "strange", client_subscribe=lambda filters: change(filters))
    client = await broker.client("c")
    assert await client.subscribe("t", qos=1) == [1]
    assert crashes(broker) == {"client_subscribe": 1}
    assert await client.publish("t", b"x", qos=1) == 0
    assert await client.message() == ("t", b"x")


@pytest.mark.parametrize("answer", ["allow", 1, 0, Verdict(0), object()])
@pytest.mark.parametrize("point", ["client_check_acl", "client_check_acl_now"])
async def test_an_access_rule_that_answers_in_another_way_denies_loudly(
    broker: TestBroker, point: str, answer: object
) -> None:
    async def later() -> object:
        return answer

    plug(broker, "strange", **{point: later if point in ASYNC else lambda: answer})
    client = await broker.client("c")
    assert await client.publish("t", b"x", qos=1) == 0x87
    assert crashes(broker) == {point: 1}


@pytest.mark.parametrize("point", [*ASYNC, *SYNC])
async def test_the_wrong_colour_is_refused(broker: TestBroker, point: str) -> None:
    async def later() -> None:
        return None

    def at_once() -> None:
        return None

    wrong, right = (at_once, later) if point in ASYNC else (later, at_once)
    with pytest.raises(
        PluginRefused, match=f"{point} must be written with `{'async def' if point in ASYNC else 'def'}`"
    ):
        plug(broker, "wrong", **{point: wrong})
    assert not broker.node.hooks.unregister("wrong")  # nothing stays behind
    plug(broker, "right", **{point: right})


async def test_the_colour_counts_under_another_name_too(broker: TestBroker) -> None:
    class Plugin:
        @hookimpl(specname="message_publish")
        async def another_name(self, message: Message) -> None:
            raise AssertionError

    with pytest.raises(PluginRefused, match="message_publish"):
        broker.node.hooks.register(Plugin(), "plugin")
    assert broker.node.publish(Message("t", b"")) == 0


async def test_wrappers_are_refused(broker: TestBroker) -> None:
    class Plugin:
        @pluggy.HookimplMarker("trioemqx")(wrapper=True)
        def message_publish(self, message: Message):
            return (yield)

    with pytest.raises(PluginRefused, match="wrapper"):
        broker.node.hooks.register(Plugin(), "plugin")


async def test_unknown_arguments_are_refused(broker: TestBroker) -> None:
    with pytest.raises(PluginRefused, match="massage"):
        plug(broker, message_publish=lambda massage: None)


async def test_registering_twice_is_refused(broker: TestBroker) -> None:
    plug(broker, message_publish=lambda message: None)
    with pytest.raises(PluginRefused, match="already registered"):
        plug(broker, message_publish=lambda message: None)


async def test_any_of_the_arguments_by_name(broker: TestBroker) -> None:
    """None of them, some, in any order; defaults stay."""
    heard: list[object] = []
    plug(broker, "none", client_check_acl_complete=lambda: heard.append("none"))
    plug(broker, "one", client_check_acl_complete=lambda topic: heard.append(topic))
    plug(
        broker,
        "turned",
        client_check_acl_complete=lambda allowed, action, client: heard.append((allowed, action, client.clientid)),
    )
    client = await broker.client("c")
    await client.publish("t", b"", qos=1)
    assert heard == ["none", "t", (True, "publish", "c")]


async def test_all_points_by_all_arguments(broker: TestBroker) -> None:
    """A plugin that takes everything is called directly, one that takes nothing through a wrapper; both are called."""
    record(broker)
    calls: list[str] = []

    def counting(point: str) -> Callable[..., Any]:
        if point in ASYNC:

            async def count_later() -> None:
                calls.append(point)

            return count_later

        return lambda: calls.append(point)

    plug(broker, "nothing", **{point: counting(point) for point in (*ASYNC, *SYNC)})
    client = await broker.client("c", subscribe="t", qos=1)
    await client.publish("t", b"x", qos=1)
    await client.receive_publish()
    await client.ping()
    assert {"client_connect", "message_publish", "message_delivered", "message_acked", "client_check_acl"} <= set(calls)


async def test_a_chain_changes_while_it_runs(broker: TestBroker) -> None:
    """A run in progress keeps the implementations it began with."""
    heard: list[str] = []

    def message_publish(message: Message) -> None:
        heard.append("first")
        broker.node.hooks.unregister("second")
        broker.node.hooks.unregister("first")

    plug(broker, "first", message_publish=message_publish)
    plug(broker, "second", message_publish=lambda message: heard.append("second"))
    broker.node.publish(Message("t", b""))
    broker.node.publish(Message("t", b""))
    assert heard == ["first", "second"]


async def test_delivery_follows_the_hook_that_was_loaded_meanwhile(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    broker.node.publish(Message("t", b"1"))
    heard = record(broker, "message_delivered")
    broker.node.publish(Message("t", b"2"))
    broker.node.hooks.unregister("recorder")
    broker.node.publish(Message("t", b"3"))
    assert [packet.payload for packet in await messages(watcher, 3)] == [b"1", b"2", b"3"]
    assert len(heard) == 1


async def test_qos2_in_runs_the_publish_hook_once(broker: TestBroker) -> None:
    heard = record(broker, "message_publish")
    client = await broker.client("c")
    for dup in (False, True):
        await client.send(make_publish("t", b"x", 2, False, dup, 5, None))
        await client.ack(PUBREC, 5)
    await client.send(Ack(PUBREL, 5))
    await client.ack(PUBCOMP, 5)
    assert len(heard) == 1


def test_every_point_is_compiled_and_tested() -> None:
    hooks = Hooks()  # a compiled one has no __dict__
    compiled = {name for name in dir(hooks) if getattr(hooks, name) == ()} - {"acl"}
    tested = {name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook_")}
    assert set(ASYNC) | set(SYNC) == compiled == tested
