"""Retained messages in the store: what a restart brings back, and what the store is spared."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import pytest
import trio

from trioemqx.node import open_broker
from trioemqx.services import retained_store
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.messages import from_row, to_row
from trioemqx.services.store.protocol import HIGH_MARK, Durable, StoreError, all_items
from trioemqx.testing import OPEN_CONFIG, TestBroker
from trioemqx.types import Message, Properties


class Store(MemoryStore):
    """A memory store that says it were a disk, that may be behind, and may refuse."""

    outlives_process = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.full = False
        self.applied = 0

    def pending(self) -> int:
        return self.waiting

    def apply(self, ops) -> Durable:
        self.applied += 1
        if not self.full:
            return super().apply(ops)
        durable = Durable()
        durable.settle(StoreError("full"))
        return durable

    async def topics(self) -> list[str]:
        return [str(row["topic"]) async for _, row in all_items(self, "retained")]


class Clock:
    """A wall clock that goes with Trio's, and can be set."""

    def __init__(self) -> None:
        self.ahead = time.time() - trio.current_time()

    def __call__(self) -> float:
        return self.ahead + trio.current_time()


@pytest.fixture
def store(monkeypatch):
    made = Store()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: made)
    return made


@pytest.fixture
async def wall(autojump_clock):
    return Clock()


@asynccontextmanager
async def started(wall, **retainer):
    config = {**OPEN_CONFIG, "retainer": retainer}
    async with open_broker(config, wall=wall, in_memory=True) as node:
        broker = TestBroker(node)
        try:
            yield broker
        finally:
            for stream in broker.streams:
                await trio.aclose_forcefully(stream)


def held(broker) -> dict[str, bytes]:
    retained = broker.node.broker.retained
    found = retained.page(None, 0, 10_000, broker.node.broker.now)
    return {message.topic: message.payload for message in found if not message.topic.startswith("$SYS/")}


def publish(broker, topic, payload=b"x", expiry=None, **fields) -> None:
    message = Message(topic, payload, retain=True, **fields)
    if expiry is not None:
        message.properties = Properties()
        message.properties.message_expiry_interval = expiry
    broker.node.publish(message)


# -- restart -----------------------------------------------------------------------------------------------------------


async def test_a_restart_brings_back_all_of_a_message(store, wall, autojump_clock):
    properties = Properties()
    properties.content_type = "text/plain"
    properties.correlation_data = b"\x00\xff"
    properties.response_topic = "answers"
    properties.payload_format_indicator = 0
    properties.user_property = [("a", "1"), ("a", "ü")]
    async with started(wall) as broker:
        sender = await broker.client("sender", username="uncle")
        await sender.publish("t", b"\x00\xff payload", qos=2, retain=True, properties=properties)
        (before,) = broker.node.broker.retained.page("t", 0, 1, broker.node.now())
    async with started(wall) as broker:
        (after,) = broker.node.broker.retained.page("t", 0, 1, broker.node.now())
        for name in ("publisher", "username", "peerhost", "proto_ver", "timestamp", "retain", "retained", "qos"):
            assert getattr(after, name) == getattr(before, name), name
        packet = await (await broker.client("c", subscribe="#", qos=2)).receive_publish()
        assert (packet.topic, packet.payload, packet.qos, packet.retain) == ("t", b"\x00\xff payload", 2, True)
        for name in ("content_type", "correlation_data", "response_topic", "payload_format_indicator", "user_property"):
            assert getattr(packet.properties, name) == getattr(properties, name), name
        assert broker.metrics["messages.retained"] == 1


async def test_the_last_message_counts_and_an_empty_one_deletes(store, wall, autojump_clock):
    long = "long/" * 800
    async with started(wall) as broker:
        for topic, payload in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", b""), (long, b"3"), ("c/d", b"4")):
            publish(broker, topic, payload)
    async with started(wall) as broker:
        assert held(broker) == {"a": b"2", long: b"3", "c/d": b"4"}
        publish(broker, long, b"")
        assert await broker.ctl("retainer clean c/#") == ["Cleaned 1 retained messages"]
    async with started(wall) as broker:
        assert held(broker) == {"a": b"2"}
        broker.node.broker.retained.clear()
    async with started(wall) as broker:
        assert held(broker) == {}


async def test_expiry_goes_on_while_the_broker_is_down(store, wall, autojump_clock):
    async with started(wall) as broker:
        publish(broker, "short", expiry=10)
        publish(broker, "long", expiry=100)
        publish(broker, "for/ever")
        await trio.sleep(5)
    await trio.sleep(20)
    async with started(wall) as broker:
        assert set(held(broker)) == {"long", "for/ever"}
        assert await store.topics() == ["for/ever", "long"], "what has expired is deleted"
        packet = await (await broker.client("c", subscribe="long")).receive_publish()
        assert 73 <= packet.properties.message_expiry_interval <= 75
        await trio.sleep(80)
        assert set(held(broker)) == {"for/ever"}
        assert await store.topics() == ["for/ever"]


async def test_the_age_of_the_configuration_counts_from_the_beginning_too(store, wall, autojump_clock):
    async with started(wall, expiry_interval="1m") as broker:
        publish(broker, "old")
        await trio.sleep(30)
        publish(broker, "new")
    await trio.sleep(35)
    async with started(wall, expiry_interval="1m") as broker:
        assert set(held(broker)) == {"new"}


async def test_a_clock_that_went_back_makes_nothing_older_nor_eternal(store, wall, autojump_clock):
    async with started(wall) as broker:
        publish(broker, "t", expiry=100)
    wall.ahead -= 1_000_000
    async with started(wall) as broker:
        assert set(held(broker)) == {"t"}
        await trio.sleep(102)
        assert held(broker) == {}


async def test_limits_are_for_what_is_published_not_for_what_was_accepted(store, wall, autojump_clock):
    async with started(wall) as broker:
        for n in range(5):
            publish(broker, f"t{n}", b"x" * 100)
    async with started(wall, max_retained_messages=2, max_payload_size=10) as broker:
        assert len(held(broker)) == 5
        publish(broker, "t5")
        assert "t5" not in await store.topics()


async def test_what_the_broker_says_of_itself_is_not_kept(store, wall, autojump_clock):
    async with started(wall) as broker:
        publish(broker, "$SYS/brokers/x/version")
        publish(broker, "$SYSTEM")
        await trio.sleep(70)
        assert broker.node.stats()["retained.count"] > 2
        assert await store.topics() == ["$SYSTEM"]


async def test_a_message_beyond_a_limit_is_not_stored(store, wall, autojump_clock):
    async with started(wall, max_payload_size=10) as broker:
        publish(broker, "t", b"x" * 10)
        publish(broker, "t", b"y" * 11)
        publish(broker, "u", b"y" * 11)
    async with started(wall) as broker:
        assert held(broker) == {"t": b"x" * 10}


async def test_a_row_that_cannot_be_read_is_left_out_and_said(store, wall, autojump_clock, caplog):
    async with started(wall) as broker:
        publish(broker, "good")
        store.put("retained", "bad", {"topic": "bad"})
    async with started(wall) as broker:
        assert set(held(broker)) == {"good"}
        assert broker.node.retained_store.refused == 1
    assert "cannot be read and is left out: bad" in caplog.text


async def test_a_store_that_ends_with_the_process_is_not_written_to(monkeypatch, wall, autojump_clock):
    store = MemoryStore()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    async with started(wall) as broker:
        publish(broker, "t")
        assert await store.items("retained") == []


# -- when the store is behind ------------------------------------------------------------------------------------------


async def test_while_the_store_is_behind_changes_of_one_topic_become_one(store, wall, autojump_clock):
    async with started(wall) as broker:
        publish(broker, "gone")
        store.waiting = HIGH_MARK
        before = store.applied
        for n in range(100):
            publish(broker, "t", b"%d" % n)
        publish(broker, "gone", b"")
        await trio.sleep(10)
        assert store.applied == before
        store.waiting = HIGH_MARK - 1
        await trio.sleep(2)
        assert store.applied == before + 2
        assert await store.topics() == ["t"]
        publish(broker, "t", b"at once")
        assert store.applied == before + 3
    async with started(wall) as broker:
        assert held(broker) == {"t": b"at once"}


async def test_many_topics_are_caught_up_with_in_parts(store, wall, autojump_clock, monkeypatch):
    monkeypatch.setattr(retained_store, "PAGE", 10)
    async with started(wall) as broker:
        store.waiting = HIGH_MARK
        for n in range(35):
            publish(broker, f"t{n:02d}")
        store.waiting = 0
        seen = []
        for _ in range(200):
            await trio.sleep(0.01)
            seen.append(len(await store.topics()))
        assert sorted(set(seen)) == [0, 10, 20, 30, 35]


async def test_what_a_full_store_refused_is_written_later(store, wall, autojump_clock):
    async with started(wall) as broker:
        store.full = True
        publish(broker, "t", b"1")
        await trio.sleep(3)
        publish(broker, "t", b"2")
        store.full = False
        await trio.sleep(2)
        assert await store.topics() == ["t"]
    async with started(wall) as broker:
        assert held(broker) == {"t": b"2"}


async def test_the_end_of_the_broker_writes_what_is_behind(store, wall, autojump_clock, monkeypatch):
    monkeypatch.setattr(retained_store, "PAGE", 10)
    async with started(wall) as broker:
        store.waiting = HIGH_MARK
        for n in range(35):
            publish(broker, f"t{n}")
    store.waiting = 0
    async with started(wall) as broker:
        assert len(held(broker)) == 35


async def test_the_end_of_the_broker_does_not_wait_for_a_store_that_takes_nothing(store, wall, autojump_clock, caplog):
    async with started(wall) as broker:
        publish(broker, "t")
        store.full = True
        publish(broker, "t", b"new")
    assert "1 retained messages could not be stored as they are now" in caplog.text


async def test_a_message_no_row_can_hold_replaces_nothing_with_something_old(store, wall, autojump_clock, caplog):
    """A hook may have put anything into a message. Publishing it goes on as if nothing were wrong."""
    async with started(wall) as broker:
        publish(broker, "t", b"old")
        watcher = await broker.client("w", subscribe="live")
        publish(broker, "t", b"new", publisher="lone surrogate \ud800")
        broker.node.publish(Message("live", b"x"))
        assert await watcher.message() == ("live", b"x")
        assert held(broker) == {"t": b"new"}
        assert await store.topics() == []
        assert broker.node.retained_store.refused == 1
    assert "the retained message of 't' cannot be stored" in caplog.text


async def test_a_bug_in_storing_does_not_reach_the_publisher(store, wall, autojump_clock, caplog, monkeypatch):
    async with started(wall) as broker:
        monkeypatch.setattr(retained_store, "to_row", lambda *_: 1 / 0)
        sender = await broker.client("s")
        assert await sender.publish("t", b"x", qos=1, retain=True) == 0x10
        assert held(broker) == {"t": b"x"}
        assert broker.node.retained_store.refused == 1
    assert "ZeroDivisionError" in caplog.text


# -- rows --------------------------------------------------------------------------------------------------------------


GOOD = {**to_row(Message("t", b"x"), 5), "username": "u", "properties": {"content_type": "a"}}


def test_a_row_is_read_back():
    message, at = from_row(GOOD)
    assert (message.topic, message.payload, message.username, at) == ("t", b"x", "u", 5)
    assert message.properties is not None
    assert message.properties.content_type == "a"


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": None},
        {"payload": 5},
        {"payload": "no base64"},
        {"payload": "ü"},
        {"qos": 3},
        {"qos": "1"},
        {"at": None},
        {"timestamp": 1.5},
        {"username": 5},
        {"properties": []},
        {"properties": {"no_such_property": 1}},
        {"properties": {"user_property": 5}},
        {"properties": {"correlation_data": {"hex": "00"}}},
        {"properties": {"correlation_data": {"base64": "?"}}},
    ],
)
def test_anything_else_is_a_value_error(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - which one does not matter
        from_row({**GOOD, **wrong})
