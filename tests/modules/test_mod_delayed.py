"""`$delayed/<N>/<topic>`: published to `<topic>` after N seconds, or at the Unix time N."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trioemqx.hookspecs import hookimpl
from trioemqx.node import open_broker
from trioemqx.services.plugins import PluginError
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.protocol import Row
from trioemqx.testing import OPEN_CONFIG, Client, TestBroker
from trioemqx.types import Message, Properties, SubOpts

NAME = "emqx_mod_delayed"
NOBODY = 0x10
LONGEST = 4294967


def settings(**delayed: object) -> dict[str, object]:
    return {"modules": {"load": [NAME]}, "module": {"delayed": delayed}, "plugins": {"load": ["emqx_retainer"]}}


def limited(**delayed: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [settings(**delayed)], ids=[""])


@pytest.fixture
def broker_config() -> dict[str, object]:
    return settings()


class Recorder:
    """A plugin that sees every message that is published."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    @hookimpl
    def message_publish(self, message: Message) -> None:
        if not message.sys:
            self.seen.append(message)


def recorder(broker: TestBroker) -> list[Message]:
    plugin = Recorder()
    broker.node.hooks.register(plugin, "recorder")
    return plugin.seen


def waiting(broker: TestBroker) -> tuple[int, int]:
    """What metric and gauge say."""
    return broker.metrics["messages.delayed"], broker.node.stats()["delayed.count"]


async def arrives(client: Client, seconds: float) -> None:
    """The next message comes after so many seconds, to a tenth of a second."""
    began = trio.current_time()
    with trio.fail_after(seconds + 5):
        while not client.inbox:
            with trio.move_on_after(1):
                client.inbox.append(await client.receive_publish())
    assert seconds <= trio.current_time() - began <= seconds + 0.1


# -- the delay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_publisher_hears_that_nobody_got_it_and_subscribers_wait(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("watcher", subscribe="#", qos=2)
    await watcher.subscribe("$delayed/#")
    sender = await broker.client("sender")
    assert await sender.publish("$delayed/7/a/b", b"later", qos=qos) == NOBODY
    await arrives(watcher, 7)
    message = await watcher.receive_publish()
    assert (message.topic, message.payload, message.qos) == ("a/b", b"later", qos)
    assert await watcher.nothing(20), "once"


async def test_mqtt_3_gets_the_usual_acknowledgement(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender", version=4)
    assert await sender.publish("$delayed/1/t", b"x", qos=1) == 0
    await arrives(watcher, 1)


async def test_zero_seconds_are_at_once(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    await (await broker.client("sender")).publish("$delayed/0/t", b"x")
    await arrives(watcher, 0)


async def test_a_unix_time(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    at = int(broker.node.wall()) + 30
    await (await broker.client("sender")).publish(f"$delayed/{at}/t", b"x")
    left = at - broker.node.wall()
    await arrives(watcher, left - 0.01)


@pytest.mark.parametrize("at", [LONGEST, 1_000_000_000])
async def test_a_unix_time_in_the_past_is_at_once(broker: TestBroker, at: int) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    await (await broker.client("sender")).publish(f"$delayed/{at}/t", b"x")
    await arrives(watcher, 0)


async def test_the_longest_delays(broker: TestBroker) -> None:
    sender = await broker.client("sender")
    await sender.publish(f"$delayed/{LONGEST - 1}/t", b"x", qos=1)
    await sender.publish(f"$delayed/{int(broker.node.wall()) + LONGEST}/t", b"x", qos=1)
    assert waiting(broker) == (2, 2)
    await sender.publish(f"$delayed/{int(broker.node.wall()) + LONGEST + 2}/t", b"x", qos=1)
    assert waiting(broker) == (2, 2)


async def test_they_come_by_their_time_then_in_the_order_they_were_published(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    for delay, payload in [(9, b"third"), (3, b"first"), (3, b"second"), (9, b"fourth")]:
        await sender.publish(f"$delayed/{delay}/t", payload)
    assert [(await watcher.message())[1] for _ in range(2)] == [b"first", b"second"]
    await trio.sleep(5)
    assert [(await watcher.message())[1] for _ in range(2)] == [b"third", b"fourth"]


async def test_many_at_the_same_time(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    at = int(broker.node.wall()) + 10
    for number in range(350):
        await sender.publish(f"$delayed/{at}/t", b"%d" % number)
    await sender.ping()
    await trio.sleep(8)
    assert [int((await watcher.message())[1]) for _ in range(350)] == [*range(350)]
    assert waiting(broker) == (0, 0)


async def test_a_delay_within_a_delay_is_two_delays(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="x")
    await (await broker.client("sender")).publish("$delayed/2/$delayed/3/x", b"twice")
    await arrives(watcher, 5)
    assert await watcher.message() == ("x", b"twice")
    assert waiting(broker) == (0, 0)


# -- what is published then --------------------------------------------------------------------------------------------


async def test_it_takes_the_full_path_as_it_was_sent(broker: TestBroker) -> None:
    seen = recorder(broker)
    properties = Properties()
    properties.content_type = "text/plain"
    properties.response_topic = "answers"
    properties.correlation_data = b"\x00\xff"
    properties.user_property = [("a", "1"), ("a", "2")]
    properties.message_expiry_interval = 60
    properties.payload_format_indicator = 1
    sender = await broker.client("sender", username="uncle")
    await sender.publish("$delayed/100/t", b"x", qos=2, retain=True, properties=properties)
    assert seen == [], "nobody sees it before its time"
    await trio.sleep(101)
    (message,) = seen
    assert (message.topic, message.payload, message.qos, message.retain) == ("t", b"x", 2, True)
    assert (message.publisher, message.username, message.proto_ver) == ("sender", "uncle", 5)
    assert message.properties == properties
    late = await broker.client("late", subscribe="t")
    retained = await late.receive_publish()
    assert retained.retain
    assert retained.properties is not None
    assert retained.properties.message_expiry_interval == 59, "it counts from the publication"


async def test_no_local_knows_the_publisher(broker: TestBroker) -> None:
    me = await broker.client("me")
    await me.subscribe("t", opts=SubOpts(1, nl=True))
    await me.publish("$delayed/1/t", b"x", qos=1)
    assert await me.nothing(5)


async def test_a_message_of_somebody_who_was_banned_meanwhile_is_discarded(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="#")
    bad, good = await broker.client("bad"), await broker.client("good")
    await bad.publish("$delayed/3/t", b"bad", qos=1)
    await good.publish("$delayed/3/t", b"good", qos=1)
    broker.node.banned.create("clientid", "bad")
    assert await watcher.message() == ("t", b"good")
    assert await watcher.nothing(10)
    assert waiting(broker) == (0, 0)
    assert broker.metrics[f"plugin.{NAME}.banned"] == 1


async def test_a_hook_that_crashes_costs_no_other_message(broker: TestBroker) -> None:
    class Crashing:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            raise ValueError(message.topic)

    broker.node.hooks.register(Crashing(), "crashing")
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    await sender.publish("$delayed/1/t", b"1")
    await sender.publish("$delayed/2/t", b"2")
    assert [(await watcher.message())[1] for _ in range(2)] == [b"1", b"2"]


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topic",
    [
        "$delayed/",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//t",
        "$delayed/-1/t",
        "$delayed/0x10/t",
        "$delayed/1.5/t",
        "$delayed/1e3/t",
        "$delayed/ 5/t",
        "$delayed/soon/t",
        "$delayed/٣/t",
        "$delayed/" + "9" * 15 + "/t",
        "$delayed/" + "9" * 3000 + "/t",
        "$delayed/1/$SYS/brokers/forged",
    ],
)
async def test_what_makes_no_sense_is_refused_and_not_published_as_it_is(
    broker: TestBroker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = recorder(broker)
    sender = await broker.client("sender")
    await sender.subscribe("$delayed/#", "$SYS/brokers/forged")
    with caplog.at_level(logging.WARNING):
        assert await sender.publish(topic, b"x", qos=1) == NOBODY
    assert await sender.nothing(10)
    assert seen == []
    assert broker.metrics[f"plugin.{NAME}.invalid"] == 1
    assert waiting(broker) == (0, 0)
    (line,) = [record.getMessage() for record in caplog.records if record.name.endswith(NAME)]
    assert line.startswith("refused a message of 'sender' to '$delayed/")
    assert len(line) < 600


async def test_a_topic_that_only_looks_like_it_is_an_ordinary_one(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="$delayed")
    await client.publish("$delayed", b"x")
    assert await client.message() == ("$delayed", b"x")


@limited(max_delayed_messages=2)
async def test_no_more_than_so_many_wait(broker: TestBroker) -> None:
    sender = await broker.client("sender", subscribe="t")
    for number in range(3):
        assert await sender.publish("$delayed/5/t", b"%d" % number, qos=1) == NOBODY
    assert waiting(broker) == (2, 2)
    assert broker.metrics[f"plugin.{NAME}.full"] == 1
    await trio.sleep(6)
    assert [(await sender.message())[1] for _ in range(2)] == [b"0", b"1"]
    await sender.publish("$delayed/5/t", b"3", qos=1)
    assert waiting(broker) == (1, 1), "there is room again"
    assert broker.node.stats()["delayed.max"] == 2


@limited(max_delayed_bytes="10KB")
async def test_no_more_than_so_many_bytes_wait(broker: TestBroker) -> None:
    sender = await broker.client("sender", subscribe="t")
    await sender.publish("$delayed/5/t", bytes(8000), qos=1)
    await sender.publish("$delayed/5/t", bytes(8000), qos=1)
    properties = Properties()
    properties.user_property = [("name", "v" * 1000)] * 9
    await sender.publish("$delayed/5/t", b"", qos=1, properties=properties)
    assert waiting(broker) == (1, 1)
    assert broker.metrics[f"plugin.{NAME}.full"] == 2
    await trio.sleep(6)
    await sender.publish("$delayed/5/t", bytes(8000), qos=1)
    assert waiting(broker) == (1, 1)


@limited(max_delayed_messages=0, max_delayed_bytes=0)
async def test_zero_is_no_limit(broker: TestBroker) -> None:
    sender = await broker.client("sender")
    for _ in range(5):
        await sender.publish("$delayed/5/t", bytes(100_000), qos=1)
    assert waiting(broker) == (5, 5)


@pytest.mark.parametrize("broker_config", [{"module": {"delayed": {"max_delayed_messages": -1}}}], ids=[""])
async def test_a_limit_below_zero_is_refused(broker: TestBroker) -> None:
    with pytest.raises(PluginError, match=r"max_delayed_messages: expected 0 \(no limit\) or more"):
        await broker.node.plugins.load(NAME)


# -- restart, reload, unload -------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(wall: Callable[[], float]) -> AsyncIterator[TestBroker]:
    async with open_broker({**OPEN_CONFIG, **settings()}, wall=wall, in_memory=True) as node:
        broker = TestBroker(node)
        try:
            yield broker
        finally:
            for stream in broker.streams:
                await trio.aclose_forcefully(stream)


async def test_a_restart(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    store = MemoryStore()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    epoch = time.time() - trio.current_time()

    def wall() -> float:
        return epoch + trio.current_time()

    properties = Properties()
    properties.correlation_data = b"\x00\xff"
    properties.user_property = [("a", "1"), ("a", "2")]
    async with started(wall) as broker:
        sender = await broker.client("sender", username="uncle")
        await sender.publish("$delayed/5/t", b"sent", qos=1)
        await sender.publish("$delayed/10/over", b"\x00\xff", qos=1, retain=True)
        await sender.publish("$delayed/100/t", b"\x00\xff", qos=2, retain=True, properties=properties)
        await trio.sleep(6)
        assert waiting(broker) == (2, 2)
    await trio.sleep(50)
    async with started(wall) as broker:
        seen = recorder(broker)
        assert waiting(broker) == (1, 1), "what became due meanwhile is published at the start"
        late = await broker.client("late", subscribe="over")
        assert await late.message() == ("over", b"\x00\xff")
        await trio.sleep(40)
        assert seen == []
        await trio.sleep(10)
        (message,) = seen
        assert (message.topic, message.payload, message.qos, message.retain) == ("t", b"\x00\xff", 2, True)
        assert (message.publisher, message.username, message.proto_ver) == ("sender", "uncle", 5)
        assert message.properties == properties
    async with started(wall) as broker:
        assert waiting(broker) == (0, 0), "once"


@pytest.mark.parametrize(("years", "exact"), [(10, True), (10, False), (-10, True)])
async def test_a_delay_does_not_go_by_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object, years: int, exact: bool
) -> None:
    store = MemoryStore()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    epoch = [time.time() - trio.current_time()]
    by = years * 365 * 86400

    def wall() -> float:
        return epoch[0] + trio.current_time()

    async with started(wall) as broker:
        sender = await broker.client("sender", subscribe="t")
        await sender.publish("$delayed/9/t", b"delay", qos=1)
        await sender.publish("$delayed/60/t", b"later", qos=1)
        if exact:
            await sender.publish(f"$delayed/{int(wall()) + 20}/t", b"time", qos=1)
        epoch[0] += by
        if exact and years > 0:
            assert await sender.message() == ("t", b"time"), "a time that is over"
            assert trio.current_time() < 2
        assert await sender.nothing(6)
        assert await sender.message() == ("t", b"delay")
        assert 9 <= trio.current_time() < 11
        assert await sender.nothing(45)
    epoch[0] -= 2 * abs(by)
    begun = trio.current_time()
    async with started(wall) as broker:
        late = await broker.client("late", subscribe="t")
        await trio.sleep(58)
        assert await late.message() == ("t", b"later")
        assert trio.current_time() - begun < 62, "no longer than its delay, whatever the clock shows now"
        assert waiting(broker) == ((1, 1) if years < 0 else (0, 0))


async def test_a_row_that_cannot_be_read_is_left_out(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    sender = await broker.client("sender", subscribe="t")
    await sender.publish("$delayed/3/t", b"good", qos=1)
    await broker.node.plugins.unload(NAME)
    table = f"{NAME}_messages"
    for number, row in enumerate([{}, {"topic": "t", "payload": "%"}, {"topic": "t", "payload": "", "due": "x"}]):
        broker.node.store.put(table, f"bad{number}", {"key": f"bad{number}", "row": row})
    await broker.node.plugins.load(NAME)
    assert waiting(broker) == (1, 1)
    assert len([record for record in caplog.records if "cannot be read" in record.getMessage()]) == 3
    assert await sender.message() == ("t", b"good")


async def test_a_reload_loses_nothing_and_sends_nothing_twice(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    at = int(broker.node.wall()) + 6
    async with trio.open_nursery() as nursery:

        async def reload() -> None:
            for _ in range(12):
                await broker.reload_plugin(NAME)
                await trio.sleep(0.7)

        nursery.start_soon(reload)
        for number in range(200):
            await sender.publish(f"$delayed/{at if number % 2 else 4}/t", b"%d" % number, qos=1)
            if number % 50 == 0:
                await trio.sleep(1)
    await trio.sleep(2)
    got = sorted([int((await watcher.message())[1]) for _ in range(200)])
    assert got == [*range(200)]
    assert await watcher.nothing(20)
    assert waiting(broker) == (0, 0)


async def test_what_comes_and_goes_while_a_reload_is_prepared(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    await sender.publish("$delayed/2/t", b"gone meanwhile", qos=1)
    await sender.publish("$delayed/20/t", b"kept", qos=1)
    store = broker.node.store
    read = store.items

    async def slowly(table: str, after: str = "", limit: int = 1000) -> list[tuple[str, Row]]:
        rows = await read(table, after, limit)
        await trio.sleep(3)
        return rows

    monkeypatch.setattr(store, "items", slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.reload_plugin, NAME)
        await trio.sleep(1)
        await sender.publish("$delayed/20/t", b"come meanwhile", qos=1)
    assert waiting(broker) == (2, 2)
    await trio.sleep(20)
    assert [(await watcher.message())[1] for _ in range(3)] == [b"gone meanwhile", b"kept", b"come meanwhile"]
    assert await watcher.nothing(20)


async def test_the_old_generation_publishes_nothing_any_more(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    await (await broker.client("sender")).publish("$delayed/2/t", b"x", qos=1)
    old: Any = broker.node.plugins.plugin(NAME)
    await broker.reload_plugin(NAME)
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(5)  # both would have something to do now, and nobody has had a turn
    assert old._publish_due() > 0
    assert waiting(broker) == (1, 1)
    assert await watcher.message() == ("t", b"x")
    assert await watcher.nothing(10)


async def test_metric_and_order_outlive_a_reload(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    sender = await broker.client("sender")
    await sender.publish("$delayed/9/t", b"second", qos=1)
    await sender.publish("$delayed/5/t", b"first", qos=1)
    await broker.reload_plugin(NAME)
    assert waiting(broker) == (2, 2)
    await trio.sleep(10)
    assert [(await watcher.message())[1] for _ in range(2)] == [b"first", b"second"]


async def test_a_reload_that_fails_changes_nothing(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    await (await broker.client("sender")).publish("$delayed/5/t", b"x", qos=1)
    await trio.sleep(1)

    def refuse(*args: object) -> None:
        raise ValueError("no")

    with monkeypatch.context() as patch:
        patch.setattr(broker.node.hooks, "replace", refuse)
        with pytest.raises(PluginError):
            await broker.reload_plugin(NAME)
    assert waiting(broker) == (1, 1)
    assert await watcher.message() == ("t", b"x")


async def test_after_an_unload_the_topic_is_an_ordinary_one_and_what_waits_waits_on(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t")
    await client.subscribe("$delayed/#")
    await client.publish("$delayed/5/t", b"kept", qos=1)
    await broker.node.plugins.unload(NAME)
    assert broker.metrics["messages.delayed"] == 0
    assert "delayed.count" not in broker.node.stats()
    await client.publish("$delayed/5/t", b"literal", qos=1)
    assert await client.message() == ("$delayed/5/t", b"literal")
    assert await client.nothing(20)
    await broker.node.plugins.load(NAME)
    assert await client.message() == ("t", b"kept")
