"""A hook that hangs, answers nonsense, is cancelled or falls apart: only what it was asked is lost, and where it
decides who may do what, the answer is no.

That every point may raise is in tests/unit/test_hooks.py (`test_crashes_stay_with_their_plugin` and
`test_crashes_that_deny`), that a sync hook may hold the loop in tests/plugins/test_supervision.py, and what actions of
rules may do in tests/rules/test_rules_crashes.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from trioemqx.codec.packets import PUBACK, make_publish
from trioemqx.ending import DRAIN
from trioemqx.hookspecs import AsyncHooks, SyncHooks, hookimpl
from trioemqx.services.access import TIMEOUT
from trioemqx.services.plugins import HookRegistry
from trioemqx.testing import Client, Refused, TestBroker, running
from trioemqx.types import Properties

ASYNC = [name for name in vars(AsyncHooks) if not name.startswith("_")]
NOTIFYING = """client_connected client_disconnected client_check_acl_complete session_created session_subscribed
session_unsubscribed session_resumed session_discarded session_takeovered session_terminated message_acked
message_dropped delivery_dropped delivery_completed""".split()


def plug(broker: TestBroker, point: str, call: Callable[..., object]) -> None:
    """Have one hook, which takes no arguments."""
    plugin = type("Plugin", (), {})()
    setattr(plugin, point, hookimpl(call))
    broker.node.hooks.register(plugin, "bad")


async def ask(broker: TestBroker, point: str) -> int:
    """Do what the point decides; the reason code."""
    if point.startswith("client_check_acl"):
        client = await broker.client("asks")
        await client.send(make_publish("t", b"x", 1, False, False, 7, None))
        return (await client.ack(PUBACK, 7)).code
    properties = Properties()
    if point == "client_enhanced_authenticate":
        properties.authentication_method = "m"
    client = await broker.raw()
    with pytest.raises(Refused) as caught:
        await client.connect("asks", properties=properties)
    return caught.value.connack.code


async def falls_apart() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_raise)
        nursery.start_soon(_raise)


async def _raise() -> None:
    raise ZeroDivisionError("in a task of its own")


async def nonsense() -> object:
    return "text"


async def exits() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("how", [falls_apart, nonsense, exits, trio.sleep_forever])
@pytest.mark.parametrize("point", ASYNC)
async def test_what_decides_denies(broker: TestBroker, point: str, how: Callable[[], Awaitable[object]]) -> None:
    async def call() -> object:
        return await how()

    broker.node.access._timeout = 0.5
    other = await broker.client("other")
    plug(broker, point, call)
    code = await ask(broker, point)
    assert code == (0x88 if (point, how) == ("client_authenticate", trio.sleep_forever) else 0x87)
    await other.ping()
    assert broker.node.broker.metrics.connection_crashed == 0
    assert broker.node.broker.metrics.hook_crashed == 1


async def begin(broker: TestBroker, point: str) -> Client:
    """A client that waits for the answer of a hook."""
    if point == "client_check_acl":
        client = await broker.client("waits")
        await client.send(make_publish("t", b"x", 1, False, False, 7, None))
    else:
        client = await broker.raw()
        properties = Properties()
        if point == "client_enhanced_authenticate":
            properties.authentication_method = "m"
        with trio.move_on_after(0.5):
            await client.connect("waits", properties=properties)
    await trio.sleep(0.1)
    return client


class Waits:
    """A hook that waits for ever, and notes how that ends."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def hook(self) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                self.ends.append("cancelled")
                raise

        return wait


@pytest.mark.parametrize("point", ASYNC)
async def test_a_question_outlives_its_client_until_its_time_is_over_and_leaves_nothing(
    broker: TestBroker, point: str
) -> None:
    waits = Waits()
    tasks = broker.node._connections.child_tasks
    before = len(tasks)
    plug(broker, point, waits.hook())
    client = await begin(broker, point)
    await client.close()
    await trio.sleep(TIMEOUT + 1)
    assert waits.ends == ["cancelled"]
    assert broker.node.broker.metrics.connection_crashed == 0
    assert broker.node.find("waits") is None
    assert (len(tasks), len(broker.node.pump.turn.links)) == (before, 0)
    broker.node.hooks.unregister("bad")
    assert await (await broker.client("after")).publish("t", b"x", qos=1) == 0x10


@pytest.mark.parametrize("point", ASYNC)
async def test_the_end_of_the_broker_cancels_it(autojump_clock: trio.testing.MockClock, point: str) -> None:
    waits = Waits()
    async with running() as broker:
        broker.node.access._timeout = 3600
        plug(broker, point, waits.hook())
        await begin(broker, point)
        began = trio.current_time()
    assert waits.ends == ["cancelled"]
    assert trio.current_time() - began < DRAIN + 1
    assert broker.node.broker.metrics.connection_crashed == 0


@pytest.mark.parametrize("answer", ["text", 1, [], b"key"])
async def test_a_rule_in_memory_says_yes_by_true_alone(broker: TestBroker, answer: object) -> None:
    plug(broker, "client_check_acl_now", lambda: answer)
    assert await ask(broker, "client_check_acl_now") == 0x87


def test_a_key_that_is_none_is_no_key() -> None:
    registry = HookRegistry()

    class Keys:
        @hookimpl
        def tls_handshake_psk_lookup(self, identity: str) -> object:
            return {"text": "text", "object": object()}[identity]

    registry.register(Keys(), "keys")
    assert [registry.compiled.run_psk_lookup(identity) for identity in ("text", "object")] == [None, None]


async def test_what_a_notified_hook_answers_is_nobodys_business(broker: TestBroker) -> None:
    called: set[str] = set()
    for point in NOTIFYING:
        plugin = type("Plugin", (), {})()

        def answer(point: str = point) -> object:
            called.add(point)
            return object()

        setattr(plugin, point, hookimpl(lambda answer=answer: answer()))
        broker.node.hooks.register(plugin, f"answers {point}")
    watcher = await broker.client("w", subscribe="t", qos=1)
    client = await broker.client("c", expiry=100)
    assert await client.publish("t", b"x", qos=1) == 0
    assert await watcher.message() == ("t", b"x")
    await watcher.unsubscribe("t")
    await client.publish("nobody")
    await broker.client("c", clean_start=False, expiry=100)
    again = await broker.client("c", clean_start=True)
    await again.disconnect()
    await trio.sleep(1)
    assert broker.node.broker.metrics.hook_crashed == 0
    assert called >= set(NOTIFYING) - {"delivery_dropped"}


def test_every_point_is_covered_here_or_there() -> None:
    transforming = {"client_connect", "client_connack", "client_subscribe", "client_unsubscribe"}
    transforming |= {"message_publish", "message_delivered"}  # tests/unit: test_an_answer_of_the_wrong_kind_is_a_crash
    deciding = {"client_check_acl_now", "tls_handshake_psk_lookup"}
    declared = {name for name in vars(SyncHooks) if not name.startswith("_")}
    assert declared == {*transforming, *deciding, *NOTIFYING}
