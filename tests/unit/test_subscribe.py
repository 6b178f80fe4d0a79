"""SUBSCRIBE and UNSUBSCRIBE: checks, caps, options, answers (broker behaviour 6.3, 6.4)."""

from __future__ import annotations

import pytest
from pubsub_helpers import ALL_VERSIONS, BOTH, config, messages, plug, props

from trioemqx.codec.control import Suback, Subscribe, Unsuback, Unsubscribe
from trioemqx.testing import Client, TestBroker, make_publish
from trioemqx.types import ClientInfo, Properties, SubOpts

INVALID_FILTERS = [
    "",
    "a/#/b",
    "a#",
    "a/b+",
    "+a",
    "##",
    "$share/g",
    "$share/g/",
    "$share//t",
    "$share/+/t",
    "$share/g#/t",
    "$share/g/$share/h/t",
    "$share/g/$queue/t",
    "$queue/",
    "$queue/$share/g/t",
    "$exclusive/",
]
"""Syntax errors, nested or bare share prefixes, wild or empty groups."""


async def _subscribe_raw(
    client: Client, filters: list[tuple[str, SubOpts]], properties: Properties | None = None
) -> None:
    await client.send(Subscribe(77, filters, properties))


# -- the packet as a whole ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INVALID_FILTERS)
@pytest.mark.parametrize(("version", "code"), [(5, 0x8F), (4, None)])
async def test_an_invalid_filter_ends_the_connection(
    broker: TestBroker, name: str, version: int, code: int | None
) -> None:
    client = await broker.client("c", version=version)
    await _subscribe_raw(client, [("good", SubOpts()), (name, SubOpts())])
    assert await client.closed() == code
    assert broker.node.stats()["subscriptions.count"] == 0


@pytest.mark.parametrize("name", INVALID_FILTERS)
async def test_unsubscribing_from_an_invalid_filter_too(broker: TestBroker, name: str) -> None:
    client = await broker.client("c")
    await client.send(Unsubscribe(77, [name], None))
    assert await client.closed() == 0x8F


@pytest.mark.parametrize("frame", [b"\x82\x03\x00\x01\x00", b"\xa2\x03\x00\x01\x00"], ids=["subscribe", "unsubscribe"])
async def test_no_filters_at_all(broker: TestBroker, frame: bytes) -> None:
    client = await broker.client("c")
    await client.send_raw(frame)
    assert await client.closed() == 0x82  # [MQTT-3.8.3-2], [MQTT-3.10.3-2]


@pytest.mark.parametrize("name", ["$share/g/t", "$queue/t"])
async def test_no_local_on_a_shared_subscription(broker: TestBroker, name: str) -> None:
    client = await broker.client("c")
    await _subscribe_raw(client, [(name, SubOpts(nl=True))])
    assert await client.closed() == 0x82


async def test_a_subscription_identifier_of_0(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.send_raw(b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01t\x00")
    assert await client.closed() == 0x82


@config(zone={"max_topic_length": 8})
@pytest.mark.parametrize("name", ["x" * 9, "\u20ac" * 3, "$share/group/" + "x" * 9])
async def test_an_overlong_filter(broker: TestBroker, name: str) -> None:
    client = await broker.client("c")
    assert await client.subscribe("$share/group/" + "x" * 8) == [0]
    await _subscribe_raw(client, [(name, SubOpts())])
    assert await client.closed() == 0x8F


# -- codes -------------------------------------------------------------------------------------------------------------


@ALL_VERSIONS
async def test_granted_is_what_was_requested(broker: TestBroker, version: int) -> None:
    client = await broker.client("c", version=version)
    await _subscribe_raw(client, [("a", SubOpts(0)), ("b", SubOpts(1)), ("c", SubOpts(2))])
    answer = await client.wait_for(Suback)
    assert (answer.packet_id, answer.codes) == (77, [0, 1, 2])


@config(zone={"max_qos_allowed": 0})
@BOTH
async def test_the_requested_qos_is_granted_whatever_may_be_published(broker: TestBroker, version: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("t", qos=2) == [2]


@config(zone={"max_topic_levels": 2})
@pytest.mark.parametrize(("version", "code"), [(5, 0x8F), (4, 0x80)])
async def test_too_many_levels(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("a/b", "a/b/c", "$share/g/a/b", "$share/g/a/b/c") == [0, code, 0, code]


@config(zone={"wildcard_subscription": False})
@pytest.mark.parametrize(("version", "code"), [(5, 0xA2), (4, 0x80)])
async def test_wildcards_not_available(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("a/+", "#", "a", "$share/g/#", "$share/g/a") == [code, code, 0, code, 0]


@config(zone={"shared_subscription": False})
@pytest.mark.parametrize(("version", "code"), [(5, 0x9E), (4, 0x80)])
async def test_shared_not_available(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("a", "$share/g/a", "$queue/a") == [0, code, code]


@config(zone={"max_subscriptions": 2})
@pytest.mark.parametrize(("version", "code"), [(5, 0x97), (4, 0x80)])
async def test_max_subscriptions(broker: TestBroker, version: int, code: int) -> None:
    client = await broker.client("c", version=version)
    assert await client.subscribe("a", "$share/g/a", "b") == [0, 0, code]
    assert await client.subscribe("a", "$share/g/a", qos=1) == [1, 1]  # known ones are always allowed
    await client.unsubscribe("a")
    assert await client.subscribe("b") == [0]
    assert await client.subscribe("a") == [code]


@pytest.mark.parametrize(("version", "code"), [(5, 0x80), (4, 0x80)])
async def test_a_hook_denies_a_filter(broker: TestBroker, version: int, code: int) -> None:
    def client_subscribe(filters: list[tuple[str, SubOpts]]) -> None:
        for name, opts in filters:
            opts.deny = name == "bad"

    plug(broker, client_subscribe=client_subscribe)
    client = await broker.client("c", version=version)
    await _subscribe_raw(client, [("good", SubOpts(1)), ("bad", SubOpts(1)), ("fine", SubOpts(2))])
    assert (await client.wait_for(Suback)).codes == [1, code, 2]
    assert sorted(broker.node.find("c").subscriptions) == ["fine", "good"]


async def test_answers_are_by_position_when_a_hook_renames(broker: TestBroker) -> None:
    def client_subscribe(filters: list[tuple[str, SubOpts]]) -> list[tuple[str, SubOpts]]:
        return [(f"new/{name}", opts) for name, opts in filters]

    plug(broker, client_subscribe=client_subscribe)
    client = await broker.client("c")
    await _subscribe_raw(client, [("a", SubOpts(2)), ("b", SubOpts(0)), ("c", SubOpts(1))])
    assert (await client.wait_for(Suback)).codes == [2, 0, 1]
    assert sorted(broker.node.find("c").subscriptions) == ["new/a", "new/b", "new/c"]


async def test_a_name_made_invalid_by_a_hook_is_refused_alone(broker: TestBroker) -> None:
    def client_subscribe(filters: list[tuple[str, SubOpts]]) -> list[tuple[str, SubOpts]]:
        return [("a/#/b", opts) if name == "bad" else (name, opts) for name, opts in filters]

    plug(broker, client_subscribe=client_subscribe)
    client = await broker.client("c")
    assert await client.subscribe("bad", "good", qos=1) == [0x8F, 1]


@pytest.mark.parametrize("answer", [[], [("a", SubOpts())] * 3, ["a", "b"], [(1, SubOpts())] * 2, [("a", 1)] * 2, 7])
async def test_a_wrong_answer_of_a_hook_is_its_crash(broker: TestBroker, answer: object) -> None:
    plug(broker, client_subscribe=lambda filters: answer, client_unsubscribe=lambda filters: answer)
    client = await broker.client("c")
    assert await client.subscribe("a", "b", qos=1) == [1, 1]
    assert await client.unsubscribe("a", "b") == [0, 0]
    assert broker.node.broker.metrics.hook_crashed == 2


# -- options -----------------------------------------------------------------------------------------------------------


async def test_subscribing_again_replaces_the_options(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("t", opts=SubOpts(0, nl=True), identifier=5)
    assert await client.subscribe("t", opts=SubOpts(1), identifier=6) == [1]
    await client.publish("t", b"x", qos=2)
    (packet,) = await messages(client, 1)
    assert packet.qos == 1
    assert packet.properties.subscription_identifier == [6]
    await client.subscribe("t")
    await client.publish("t", b"x")
    (packet,) = await messages(client, 1)
    assert packet.properties is None
    assert broker.node.stats()["subscriptions.count"] == 1


async def test_no_local(broker: TestBroker) -> None:
    told: list[tuple[str, str]] = []
    plug(broker, delivery_dropped=lambda client, message, reason: told.append((client.clientid, reason)))
    client = await broker.client("c")
    other = await broker.client("o")
    await client.subscribe("a/#", opts=SubOpts(1, nl=True))
    await client.subscribe("a/b", opts=SubOpts(0))
    assert await client.publish("a/b", b"mine", qos=1) == 0
    assert [packet.qos for packet in await messages(client, 1)] == [0]
    await other.publish("a/c", b"other", qos=1)
    assert await client.message() == ("a/c", b"other")
    assert told == [("c", "no_local")]
    assert broker.node.metrics["delivery.dropped.no_local"] == 1


@pytest.mark.parametrize(
    "broker_config",
    [{"zone": {"default": {"ignore_loop_deliver": flag}}} for flag in (True, False)],
    ids=["on", "off"],
)
async def test_ignore_loop_deliver_is_no_local_for_v3(broker: TestBroker, broker_config: dict[str, object]) -> None:
    ignore = broker_config["zone"]["default"]["ignore_loop_deliver"]
    client = await broker.client("c", version=4, subscribe="t")
    newer = await broker.client("n", version=5, subscribe="t")
    await client.publish("t", b"old", qos=1)
    await newer.publish("t", b"new", qos=1)
    assert [packet.payload for packet in await messages(newer, 2)] == [b"old", b"new"]
    expected = [b"new"] if ignore else [b"old", b"new"]
    assert [packet.payload for packet in await messages(client, len(expected))] == expected


@pytest.mark.parametrize("rap", [True, False])
@pytest.mark.parametrize("retain", [True, False])
async def test_retain_as_published(broker: TestBroker, rap: bool, retain: bool) -> None:
    client = await broker.client("c")
    for qos in (0, 1, 2):
        await client.subscribe("t", opts=SubOpts(qos, rap=rap, rh=2))
        await client.publish("t", b"x", qos=qos, retain=retain)
        (packet,) = await messages(client, 1)
        assert packet.retain == (rap and retain)


@pytest.mark.parametrize("bridge", [True, False])
async def test_v3_bridges_get_retain_as_published(broker: TestBroker, bridge: bool) -> None:
    client = await broker.raw(version=4)
    level = 0x84 if bridge else 0x04
    await client.send_raw(b"\x10\x0d\x00\x04MQTT" + bytes([level]) + b"\x02\x00\x00\x00\x01b")
    await client.receive()
    await client.subscribe("t")
    await (await broker.client("p")).publish("t", b"x", qos=1, retain=True)
    (packet,) = await messages(client, 1)
    assert packet.retain == bridge


async def test_t_and_its_share_are_two_subscriptions(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("t", qos=0)
    await client.subscribe("$share/g/t", qos=1)
    await client.subscribe("$queue/t", qos=2)
    publisher = await broker.client("p")
    await publisher.publish("t", b"1", qos=2)
    assert sorted(packet.qos for packet in await messages(client, 3)) == [0, 1, 2]
    assert await client.unsubscribe("t", "t") == [0, 0x11]
    await publisher.publish("t", b"2", qos=2)
    assert sorted(packet.qos for packet in await messages(client, 2)) == [1, 2]
    assert await client.unsubscribe("$share/g/t") == [0]
    assert await client.unsubscribe("$share/other/t") == [0x11]
    await publisher.publish("t", b"3", qos=2)
    assert [packet.qos for packet in await messages(client, 1)] == [2]
    assert await client.unsubscribe("$queue/t") == [0]
    assert await publisher.publish("t", b"4", qos=2) == 0x10


# -- order of things ---------------------------------------------------------------------------------------------------


async def test_hooks_come_before_the_suback_and_retained_messages_after(broker: TestBroker) -> None:
    order: list[object] = []
    plug(
        broker,
        client_subscribe=lambda client, properties, filters: order.append(("subscribe", properties, list(filters))),
        session_subscribed=lambda client, filter, opts, is_new: order.append((filter, opts, is_new)),
    )
    client = await broker.client("c")
    await client.publish("t", b"kept", qos=1, retain=True)
    await _subscribe_raw(client, [("t", SubOpts(1)), ("$share/g/t", SubOpts(2))], props(user_property=[("k", "v")]))
    first = await client.receive()
    second = await client.receive()
    assert isinstance(first, Suback)
    assert (second.topic, second.payload, second.retain) == ("t", b"kept", True)
    filters = [("t", SubOpts(1)), ("$share/g/t", SubOpts(2))]
    assert order == [
        ("subscribe", props(user_property=[("k", "v")]), filters),
        ("t", SubOpts(1), True),
        ("$share/g/t", SubOpts(2), True),
    ]
    await client.subscribe("t")
    assert order[-1] == ("t", SubOpts(0), False)


@config(zone={"mountpoint": "m/", "exclusive_subscription": True})
async def test_hooks_hear_mounted_filters(broker: TestBroker) -> None:
    heard: list[tuple[str, str]] = []
    plug(
        broker,
        session_subscribed=lambda filter: heard.append(("+", filter)),
        session_unsubscribed=lambda filter: heard.append(("-", filter)),
        client_subscribe=lambda filters: heard.extend(("?", name) for name, _ in filters),
    )
    names = ["t", "$share/g/t", "$queue/t", "$exclusive/x"]
    client = await broker.client("c")
    await client.subscribe(*names)
    assert await client.unsubscribe(*names) == [0, 0, 0, 0]
    mounted = ["m/t", "$share/g/m/t", "$queue/m/t", "m/x"]
    assert heard == [("?", name) for name in names] + [("+", name) for name in mounted] + [
        ("-", name) for name in mounted
    ]


async def test_a_refused_filter_is_not_announced(broker: TestBroker) -> None:
    heard: list[str] = []
    plug(broker, session_subscribed=lambda filter: heard.append(filter))
    client = await broker.client("c")
    assert await client.subscribe("$exclusive/t", "t") == [0x8F, 0]
    assert heard == ["t"]


# -- UNSUBSCRIBE -------------------------------------------------------------------------------------------------------


async def test_unsuback_codes_of_v5(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("a", "b/#")
    await client.send(Unsubscribe(9, ["a", "missing", "b/#", "b/+"], None))
    answer = await client.wait_for(Unsuback)
    assert (answer.packet_id, answer.codes) == (9, [0, 0x11, 0, 0x11])


@pytest.mark.parametrize("version", [3, 4])
async def test_unsuback_of_v3_has_no_codes(broker: TestBroker, version: int) -> None:
    client = await broker.client("c", version=version)
    await client.subscribe("a")
    await client.send_raw(b"\xa2\x08\x00\x09\x00\x01a\x00\x01b")
    assert await client.receive() == Unsuback(9, [], None)


@BOTH
async def test_nothing_comes_after_unsuback(broker: TestBroker, version: int) -> None:
    client = await broker.client("c", version=version, subscribe="t")
    publisher = await broker.client("p")
    await publisher.publish("t", b"1", qos=1)
    await client.unsubscribe("t")
    await publisher.publish("t", b"2", qos=1)
    assert [packet.payload for packet in await messages(client, 1)] == [b"1"]


async def test_unsubscribe_hooks(broker: TestBroker) -> None:
    heard: list[object] = []

    def client_unsubscribe(
        client: ClientInfo, properties: Properties | None, filters: list[tuple[str, SubOpts]]
    ) -> list[tuple[str, SubOpts]]:
        heard.append((client.clientid, properties, [name for name, _ in filters]))
        return [("b" if name == "a" else name, opts) for name, opts in filters]

    plug(
        broker,
        client_unsubscribe=client_unsubscribe,
        session_unsubscribed=lambda client, filter, opts: heard.append((client.clientid, filter, opts)),
    )
    client = await broker.client("c")
    await client.subscribe("b", qos=2, identifier=3)
    await client.send(Unsubscribe(9, ["a", "x"], props(user_property=[("k", "v")])))
    assert (await client.wait_for(Unsuback)).codes == [0, 0x11]
    assert heard == [("c", props(user_property=[("k", "v")]), ["a", "x"]), ("c", "b", SubOpts(2, identifier=3))]


# -- on behalf of a client ---------------------------------------------------------------------------------------------


@config(zone={"max_subscriptions": 1})
async def test_the_facade_subscribes_a_client(broker: TestBroker) -> None:
    heard: list[object] = []
    plug(
        broker,
        client_subscribe=lambda filters: heard.append(filters),
        session_subscribed=lambda client, filter, is_new: heard.append((client.clientid, filter, is_new)),
        session_unsubscribed=lambda client, filter: heard.append((client.clientid, filter)),
    )
    client = await broker.client("c")
    await client.publish("t", b"kept", qos=1, retain=True)
    assert broker.node.subscribe("c", "t", SubOpts(1)) == 1
    assert await client.message() == ("t", b"kept")
    assert broker.node.subscribe("c", "u") == 0x97
    assert broker.node.subscribe("c", "a/#/b") == 0x8F
    assert broker.node.subscribe("nobody", "t") == 0x80
    assert broker.node.unsubscribe("c", "t") == 0
    assert broker.node.unsubscribe("c", "t") == 0x11
    assert heard == [("c", "t", True), ("c", "t")]
    assert broker.node.metrics["client.subscribe"] == 0
    assert broker.node.metrics["client.unsubscribe"] == 0


async def test_subscriptions_go_with_the_session(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.subscribe("a", "b/#", "$share/g/t")
    unsubscribed: list[str] = []
    plug(broker, session_unsubscribed=lambda filter: unsubscribed.append(filter))
    await client.disconnect()
    publisher = await broker.client("p")
    for topic in ("a", "b/c", "t"):
        await publisher.send(make_publish(topic, b"", 1, False, False, 5, None))
        assert (await publisher.receive()).code == 0x10
    assert broker.node.stats()["subscriptions.count"] == 0
    assert unsubscribed == []  # only a clean-up by the client is announced
