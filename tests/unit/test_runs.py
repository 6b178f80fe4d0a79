"""Like frames in one chunk reach everybody as the same frames one by one do, and count the same (`handlers.runs`)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from pubsub_helpers import config, plug, props

from trioemqx.codec.encode import encode
from trioemqx.core.callback import Callback
from trioemqx.core.handlers import runs
from trioemqx.core.subscription import Subscription
from trioemqx.testing import Client, TestBroker, make_publish, running
from trioemqx.types import SubOpts

CLOCKED = {"bytes.received", "bytes.sent", "packets.pingreq.received", "packets.pingresp.sent"}
"""Metrics that the test's own pings change."""


async def _audience(broker: TestBroker) -> dict[str, Client]:
    """Receivers of every kind for `t` and `u`; away ones come back later."""
    found = {
        "v3": await broker.client("v3", version=4, subscribe="t"),
        "v5": await broker.client("v5", subscribe="#"),
        "qos1": await broker.client("qos1", subscribe="t", qos=1),
        "alias": await broker.client("alias", subscribe="t", properties=props(topic_alias_maximum=5)),
        "small": await broker.client("small", subscribe="t", properties=props(maximum_packet_size=30)),
        "member": await broker.client("member", subscribe="$share/g/u"),
    }
    found["named"] = await broker.client("named")
    await found["named"].subscribe("t", identifier=7)
    found["slow"] = await broker.client("slow", subscribe="t", qos=2, expiry=1000)
    await found["slow"].close()
    return found


async def _sender(broker: TestBroker, version: int) -> Client:
    """A publisher that hears itself twice: once plainly, once without its own."""
    sender = await broker.client("sender", version=version, subscribe="t")
    if version == 5:
        await sender.subscribe("u", opts=SubOpts(0, True))
    return sender


async def _heard(client: Client) -> list[bytes]:
    await client.ping()
    await client.ping()  # the acknowledgements sent before the first answer have arrived too
    found = [encode(packet, client.version) for packet in client.inbox]
    client.inbox.clear()
    return found


async def _outcome(
    tree: dict[str, Any], version: int, frames: list[bytes], together: bool
) -> tuple[dict[str, object], dict[str, int], list[bytes]]:
    """What each receiver got, the metrics, and what a Python subscriber got."""
    inside: list[bytes] = []
    async with running(tree) as broker:
        clients = await _audience(broker)
        clients["sender"] = await _sender(broker, version)
        inner = Callback("inner", lambda message, subscription: inside.append(message.payload))
        broker.node.broker.router.subscribe(Subscription(inner, "t", SubOpts()))
        if together:
            await clients["sender"].send_raw(b"".join(frames))
        else:
            for frame in frames:
                await clients["sender"].send_raw(frame)
                await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        clients["slow"] = await broker.client("slow", clean_start=False, expiry=1000)
        heard: dict[str, object] = {name: await _heard(client) for name, client in clients.items()}
        metrics = {name: count for name, count in broker.node.metrics.items() if name not in CLOCKED}
    return heard, metrics, inside


BARE = {"plugins": {"load": ["emqx_retainer"]}, "modules": {"load": []}}
"""Each example starts two brokers, which need no more."""
FRAME = st.tuples(
    st.sampled_from(["t", "t", "t", "u", "nobody"]),
    st.sampled_from([0, 1, 1, 1, 25, 200]),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([False, False, False, True]),
)


@pytest.mark.parametrize("upgrade", [False, True])
@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(FRAME, min_size=2, max_size=40))
def test_one_chunk_or_many(version: int, upgrade: bool, wanted: list[tuple[str, int, int, bool]]) -> None:
    frames = [
        encode(
            make_publish(topic, bytes([i]) * size, qos, retain and size > 0, False, i + 1 if qos else 0, None), version
        )
        for i, (topic, size, qos, retain) in enumerate(wanted)
    ]
    tree: dict[str, Any] = {"zone": {"default": {"upgrade_qos": upgrade}}, **BARE}

    async def both() -> None:
        assert await _outcome(tree, version, frames, True) == await _outcome(tree, version, frames, False)

    trio.run(both, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the runs that are handed on, where the core is interpreted."""
    found: list[int] = []
    count = runs._count

    def recorded(channel: Any, size: int, cached: bool) -> None:
        found.append(size)
        count(channel, size, cached)

    monkeypatch.setattr(runs, "_count", recorded)
    if runs.__file__.endswith(".so"):
        pytest.skip("compiled code calls its own functions directly")
    return found


def _many(count: int, version: int = 5) -> bytes:
    return b"".join(encode(make_publish("t", b"%3d" % i, 0, False, False, 0, None), version) for i in range(count))


async def test_a_run_is_taken_in_one_piece(broker: TestBroker, taken: list[int]) -> None:
    watcher = await broker.client("w", subscribe="t")
    await (await broker.client("p")).send_raw(_many(60))
    assert [(await watcher.message())[1] for _ in range(60)] == [b"%3d" % i for i in range(60)]
    assert taken == [59]


async def test_a_run_ends_with_the_client_s_share_of_the_turn(broker: TestBroker, taken: list[int]) -> None:
    watchers = [await broker.client(f"w{i}", subscribe="t") for i in range(10)]
    await (await broker.client("p")).send_raw(_many(600))
    for watcher in watchers:
        assert [(await watcher.message())[1] for _ in range(600)] == [b"%3d" % i for i in range(600)]
    assert max(taken) * 11 <= 200, "each message of a run is work, and so is each of its deliveries"


@pytest.mark.parametrize("point", ["message_publish", "message_delivered", "delivery_completed"])
async def test_hooks_see_every_message(broker: TestBroker, taken: list[int], point: str) -> None:
    seen: list[bytes] = []
    plug(broker, **{point: lambda message: seen.append(message.payload)})
    watcher = await broker.client("w", subscribe="t")
    await (await broker.client("p")).send_raw(_many(60))
    await watcher.receive_publish()
    assert seen == [b"%3d" % i for i in range(60)]
    assert taken == []


@config(zone={"rate_limit": {"conn_messages_in": "10,1s"}})
async def test_limited_clients_are_counted_message_by_message(broker: TestBroker, taken: list[int]) -> None:
    watcher = await broker.client("w", subscribe="t")
    await (await broker.client("p")).send_raw(_many(60))
    for i in range(60):
        assert (await watcher.receive_publish()).payload == b"%3d" % i
    assert taken == []


async def test_who_gets_a_message_twice_gets_both_before_the_next(broker: TestBroker) -> None:
    """Also when one chunk brings all of them: order is of the topic, not of each subscription [MQTT-4.6.0-6]."""
    twice = await broker.client("twice", subscribe="t")
    await twice.subscribe("#")
    away = await broker.client("away", subscribe="t", qos=1, expiry=1000)
    await away.subscribe("+", qos=1)
    await away.close()
    await (await broker.client("p")).send_raw(_many(60))
    expected = [b"%3d" % number for number in range(60) for _ in range(2)]
    assert [(await twice.message())[1] for _ in range(120)] == expected
    away = await broker.client("away", clean_start=False, expiry=1000)
    assert [(await away.message())[1] for _ in range(120)] == expected
