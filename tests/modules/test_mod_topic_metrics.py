"""Counts and rates of chosen topics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from trioemqx.node import open_broker
from trioemqx.services.plugins import PluginError
from trioemqx.services.store.memory import MemoryStore
from trioemqx.testing import OPEN_CONFIG, TestBroker
from trioemqx.types import Message

NAME = "emqx_mod_topic_metrics"
SETTINGS = {"modules": {"load": [NAME, "emqx_mod_delayed"]}}
COUNTERS = (
    *("messages.in", "messages.out", "messages.dropped"),
    *(f"messages.qos{qos}.{way}" for qos in (0, 1, 2) for way in ("in", "out")),
)


@pytest.fixture
def broker_config() -> dict[str, object]:
    return dict(SETTINGS)


def module(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


def counts(broker: TestBroker, topic: str) -> dict[str, int]:
    """What is not 0, without `messages.` and `.count`."""
    numbers = module(broker).metrics(topic)
    return {name[9:-6]: value for name, value in numbers.items() if name.endswith(".count") and value}


def rate(broker: TestBroker, topic: str = "t", name: str = "messages.in") -> float:
    found: float = module(broker).metrics(topic)[f"{name}.rate"]
    return found


def reason(call: Callable[..., object], *args: object) -> str:
    with pytest.raises(PluginError) as caught:
        call(*args)
    return caught.value.reason


def listeners(broker: TestBroker) -> list[str]:
    """The points at which the module is called."""
    return [point for point, calls in broker.node.hooks.describe() if NAME in dict(calls)]


# -- counts ------------------------------------------------------------------------------------------------------------


async def test_the_eighteen_numbers(broker: TestBroker) -> None:
    module(broker).register("t")
    numbers = module(broker).metrics("t")
    assert set(numbers) == {f"{name}.{kind}" for name in COUNTERS for kind in ("count", "rate")}
    assert all(value == 0 for value in numbers.values())
    assert module(broker).all_metrics() == [{"topic": "t", "metrics": numbers}]


async def test_in_by_qos_and_out_by_the_qos_of_each_delivery(broker: TestBroker) -> None:
    module(broker).register("t")
    await broker.client("two", subscribe="#", qos=2)
    await broker.client("one", subscribe="+", qos=1)
    sender = await broker.client("sender")
    for qos in (0, 1, 1, 2, 2, 2):
        await sender.publish("t", b"x", qos=qos)
    await sender.publish("t/other", b"x", qos=1)
    await sender.ping()
    assert counts(broker, "t") == {
        "in": 6,
        "qos0.in": 1,
        "qos1.in": 2,
        "qos2.in": 3,
        "out": 12,
        "qos0.out": 2,
        "qos1.out": 2 + 2 + 3,
        "qos2.out": 3,
    }


async def test_a_fast_sender_is_counted_in_full(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    await sender.send_raw(b"\x30\x05\x00\x01t\x00x" * 500)
    await sender.ping()
    module(broker).register("t")
    await sender.send_raw(b"\x30\x05\x00\x01t\x00x" * 500)
    await sender.ping()
    for _ in range(1000):
        await watcher.message()
    assert counts(broker, "t") == {"in": 500, "qos0.in": 500, "out": 500, "qos0.out": 500}


async def test_dropped_is_what_went_to_nobody(broker: TestBroker) -> None:
    module(broker).register("t")
    sender = await broker.client("sender")
    await sender.publish("t", b"x", qos=1)
    await sender.publish("other", b"x", qos=1)
    assert counts(broker, "t") == {"in": 1, "qos1.in": 1, "dropped": 1}


async def test_messages_of_the_broker_itself_count(broker: TestBroker) -> None:
    module(broker).register("$SYS/mine")
    broker.node.publish(Message("$SYS/mine", b"x"))
    assert counts(broker, "$SYS/mine") == {"in": 1, "qos0.in": 1}


async def test_a_delayed_message_counts_when_it_is_published(broker: TestBroker) -> None:
    module(broker).register("t")
    module(broker).register("$delayed/5/t")
    await (await broker.client("sender")).publish("$delayed/5/t", b"x", qos=1)
    assert counts(broker, "t") == counts(broker, "$delayed/5/t") == {}
    await trio.sleep(6)
    assert counts(broker, "t") == {"in": 1, "qos1.in": 1, "dropped": 1}


# -- rates -------------------------------------------------------------------------------------------------------------


async def test_rates_are_moving_averages_sampled_each_second(broker: TestBroker) -> None:
    module(broker).register("t")
    await trio.sleep(0.5)
    expected, longer = 0.0, 0.0
    for messages in (10, 10, 0, 0, 30):
        for _ in range(messages):
            broker.node.publish(Message("t", b"x", 1))
        await trio.sleep(1)
        expected = (4 * expected + messages) / 5
        longer = (59 * longer + messages) / 60
        assert rate(broker) == rate(broker, name="messages.qos1.in") == pytest.approx(expected, abs=0.2)
        assert module(broker).rates("t")["messages.in"][60] == pytest.approx(longer, abs=0.02)
        assert rate(broker, name="messages.qos0.in") == 0


async def test_a_steady_stream_has_its_rate_and_silence_none(broker: TestBroker) -> None:
    module(broker).register("t")

    async def stream() -> None:
        while True:
            broker.node.publish(Message("t", b"x"))
            await trio.sleep(0.1)

    with trio.move_on_after(30):
        await stream()
    rates = module(broker).rates("t")["messages.in"]
    assert rates[5] == pytest.approx(10, abs=0.3)
    assert 3 < rates[60] < 5
    assert 0.8 < rates[300] < 1.2
    assert rate(broker) == rates[5]
    assert rate(broker, name="messages.out") == 0
    await trio.sleep(120)
    assert rate(broker) == 0
    assert 0 < module(broker).rates("t")["messages.in"][300] < 1


# -- registration ------------------------------------------------------------------------------------------------------


async def test_errors(broker: TestBroker) -> None:
    own = module(broker)
    own.register("t")
    assert reason(own.register, "t") == "already_existed"
    for call in (own.unregister, own.reset, own.metrics, own.rates):
        assert reason(call, "unknown") == "topic_not_found"
    for call in (own.register, own.unregister, own.reset, own.metrics, own.rates):
        for topic in ("", "+", "a/#", "a\0b", "x" * 65536, "\ud800", 7):
            assert reason(call, topic) == "invalid_topic"


async def test_at_most_512_topics(broker: TestBroker) -> None:
    own = module(broker)
    for number in range(512):
        own.register(f"t/{number}")
    assert reason(own.register, "one more") == "quota_exceeded"
    assert reason(own.register, "t/5") == "already_existed"
    own.unregister("t/7")
    own.register("one more")
    assert len(own.all_metrics()) == 512


async def test_unregister_and_reset(broker: TestBroker) -> None:
    own = module(broker)
    for topic in ("a", "b", "c"):
        own.register(topic)
        broker.node.publish(Message(topic, b"x"))
    await trio.sleep(2)
    own.reset("a")
    assert counts(broker, "a") == {}
    assert rate(broker, "a") == 0
    assert counts(broker, "b")["in"] == 1
    broker.node.publish(Message("a", b"x"))
    assert counts(broker, "a")["in"] == 1, "it goes on counting"
    own.reset()
    assert counts(broker, "a") == counts(broker, "b") == {}
    own.unregister("a")
    assert [found["topic"] for found in own.all_metrics()] == ["b", "c"]
    own.unregister_all()
    assert own.all_metrics() == []
    own.register("a")
    assert counts(broker, "a") == {}


async def test_while_no_topic_is_registered_nothing_is_hooked(broker: TestBroker) -> None:
    own = module(broker)
    assert listeners(broker) == []
    own.register("a")
    own.register("b")
    assert listeners(broker) == ["message_delivered", "message_dropped", "message_publish"]
    own.unregister("a")
    assert len(listeners(broker)) == 3
    own.unregister("b")
    assert listeners(broker) == []


# -- reload, restart, unload -------------------------------------------------------------------------------------------


async def test_counts_and_rates_outlive_a_reload(broker: TestBroker) -> None:
    await trio.sleep(0.5)  # away from the ticks
    module(broker).register("t")
    for number in range(30):
        broker.node.publish(Message("t", b"x"))
        if number % 10 == 9:
            await trio.sleep(1)
    before = module(broker).metrics("t")
    assert before["messages.in.count"] == 30
    old = module(broker)
    await broker.reload_plugin(NAME)
    assert module(broker) is not old
    assert module(broker).metrics("t") == before
    broker.node.publish(Message("t", b"x"))
    assert counts(broker, "t")["in"] == 31, "once"
    await trio.sleep(1.5)
    assert 0 < rate(broker) < before["messages.in.rate"]
    module(broker).unregister("t")
    await broker.reload_plugin(NAME)
    assert module(broker).all_metrics() == []
    assert listeners(broker) == []


async def test_nothing_is_missed_or_counted_twice_in_a_reload(broker: TestBroker) -> None:
    module(broker).register("t")
    sender = await broker.client("sender")
    async with trio.open_nursery() as nursery:

        async def reload() -> None:
            for _ in range(5):
                await broker.reload_plugin(NAME)

        nursery.start_soon(reload)
        for _ in range(300):
            await sender.publish("t", b"x", qos=1)
    assert counts(broker, "t") == {"in": 300, "qos1.in": 300, "dropped": 300}


@asynccontextmanager
async def started() -> AsyncIterator[TestBroker]:
    async with open_broker({**OPEN_CONFIG, **SETTINGS}, wall=time.time, in_memory=True) as node:
        yield TestBroker(node)


async def test_registrations_outlive_a_restart(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    store = MemoryStore()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    long = "long/" * 1000
    async with started() as broker:
        for topic in ("a", "b", long):
            module(broker).register(topic)
        module(broker).unregister("a")
        broker.node.publish(Message("b", b"x"))
    async with started() as broker:
        assert {found["topic"] for found in module(broker).all_metrics()} == {"b", long}
        assert counts(broker, "b") == {}
        broker.node.publish(Message(long, b"x"))
        assert counts(broker, long)["in"] == 1


async def test_an_unload_leaves_nothing_behind(broker: TestBroker) -> None:
    module(broker).register("t")
    await broker.node.plugins.unload(NAME)
    assert listeners(broker) == []
    broker.node.publish(Message("t", b"x"))
    await broker.node.plugins.load(NAME)
    assert counts(broker, "t") == {}
    broker.node.publish(Message("t", b"x"))
    assert counts(broker, "t")["in"] == 1
