"""Alarms (broker.md 13), and the JSON they publish (section 10)."""

from __future__ import annotations

import json
import logging

import pytest
import trio
from services_helpers import FakeBroker, Wall, opened_store

from trioemqx.services.alarms import Alarms, AlarmSettings, describe

CPU = {"usage": 91.5, "high_watermark": 80, "low_watermark": 60}


@pytest.fixture
def store():
    return opened_store()


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def make(store, wall, broker):
    def make(**settings):
        return Alarms(
            broker.node, store, broker.publish, AlarmSettings(**settings), wall=wall, now=lambda: 5.0, max_active=50
        )

    return make


def test_an_alarm_is_active_once(make, broker):
    alarms = make()
    assert alarms.activate("high_cpu_usage", CPU)
    assert not alarms.activate("high_cpu_usage", CPU)
    assert alarms.is_active("high_cpu_usage")
    assert len(alarms.active()) == len(broker.published) == 1


def test_what_is_not_active_cannot_be_deactivated(make, broker):
    alarms = make()
    assert not alarms.deactivate("high_cpu_usage")
    assert broker.published == []


def test_activation_is_published_as_json(make, broker, wall):
    make().activate("high_cpu_usage", CPU)
    (message,) = broker.published
    assert message.topic == "$SYS/brokers/emqx@127.0.0.1/alarms/activate"
    assert (message.qos, message.retain, message.sys, message.publisher) == (0, False, True, "sys")
    assert (message.received, message.timestamp) == (5.0, int(wall.now * 1000))
    assert message.properties.content_type == "application/json"
    assert list(json.loads(message.payload).items()) == [
        ("name", "high_cpu_usage"),
        ("details", CPU),
        ("message", "91.5% cpu usage"),
        ("activate_at", 1_700_000_000_000_000),
        ("deactivate_at", "infinity"),
        ("activated", True),
    ]


def test_history_keeps_the_first_details_and_the_event_carries_the_last(make, broker, wall):
    alarms = make()
    alarms.activate("high_cpu_usage", CPU)
    wall.now += 2
    alarms.deactivate("high_cpu_usage", {**CPU, "usage": 7})
    event = json.loads(broker.published[-1].payload)
    assert broker.published[-1].topic.endswith("/alarms/deactivate")
    assert event["deactivate_at"] - event["activate_at"] == 2_000_000
    assert (event["activated"], event["message"], event["details"]["usage"]) == (False, "7% cpu usage", 7)
    (past,) = alarms.history()
    assert (past.details, past.message, past.activated) == (CPU, "91.5% cpu usage", False)
    assert alarms.active() == []


def test_deactivation_without_details_repeats_those_of_the_activation(make, broker):
    alarms = make()
    alarms.activate("high_cpu_usage", CPU)
    alarms.deactivate("high_cpu_usage")
    assert json.loads(broker.published[-1].payload)["details"] == CPU


@pytest.mark.parametrize(
    ("actions", "lines", "messages"),
    [({"log", "publish"}, 2, 2), ({"log"}, 2, 0), ({"publish"}, 0, 2), (set(), 0, 0)],
)
def test_actions(make, broker, caplog, actions, lines, messages):
    alarms = make(actions=frozenset(actions))
    with caplog.at_level(logging.DEBUG, "trioemqx.alarms"):
        alarms.activate("x", {"a": 1})
        alarms.deactivate("x")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * lines
    assert len(broker.published) == messages


@pytest.mark.parametrize(
    ("name", "details", "message"),
    [
        ("high_cpu_usage", {"usage": 81.25}, "81.25% cpu usage"),
        ("high_system_memory_usage", {"high_watermark": 60}, "System memory usage is higher than 60%"),
        ("high_process_memory_usage", {"high_watermark": 5}, "Process memory usage is higher than 5%"),
        ("too_many_processes", {"usage": 90}, "90% process usage"),
        ("partition", {"occurred": "b@h"}, "Partition occurs at node b@h"),
        ("resource/web_hook/r:1/down", {"id": "r:1", "type": "web_hook"}, "Resource web_hook(r:1) is down"),
        ("conn_congestion/c/u", {"clientid": "c"}, "connection congested: c/u"),
        ("plugin_disabled/x", {"crashes": 9}, "Unknown alarm"),
        ("high_cpu_usage", {"other": "{usage}"}, "Unknown alarm"),
        ("store_crashed", None, "store_crashed"),
    ],
)
def test_messages(name, details, message):
    assert describe(name, details) == message


def test_history_drops_the_oldest_activation_beyond_the_limit(make, wall, store):
    alarms = make(size_limit=3)
    for number in range(5):
        alarms.activate(f"a{number}")
        wall.now += 1
    for number in (4, 2, 0, 1, 3):
        alarms.deactivate(f"a{number}")
    assert [alarm.name for alarm in alarms.history()] == ["a2", "a3", "a4"]


async def test_history_in_the_store_is_bounded_too(make, store):
    alarms = make(size_limit=0)
    for _ in range(5):
        alarms.activate("x")
        alarms.deactivate("x")
    assert alarms.history() == []
    assert await store.items("alarms_history") == []


async def test_the_sweep_forgets_what_was_activated_longer_ago_than_validity(make, wall, store, autojump_clock):
    alarms = make(validity_period=100)
    alarms.activate("old")
    wall.now += 90
    alarms.activate("young")
    alarms.deactivate("old")
    alarms.deactivate("young")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        await trio.sleep(99)
        wall.now += 20
        assert len(alarms.history()) == 2
        await trio.sleep(2)
        assert [alarm.name for alarm in alarms.history()] == ["young"]
        assert len(await store.items("alarms_history")) == 1
        nursery.cancel_scope.cancel()


async def test_what_was_active_before_a_restart_is_history_after_it(make, wall, store):
    before = make()
    before.activate("ended")
    before.deactivate("ended")
    wall.now += 1
    before.activate("conn_congestion/" + "c" * 65535 + "/u", {"clientid": "c"})
    wall.now += 10
    after = make()
    await after.load()
    assert after.active() == []
    assert [alarm.name[:15] for alarm in after.history()] == ["ended", "conn_congestion"]
    assert after.history()[1].deactivate_at == 1_700_000_011_000_000
    assert await store.items("alarms") == []
    again = make()
    await again.load()
    assert again.history() == after.history()


async def test_clear_history(make, store):
    alarms = make()
    alarms.activate("x")
    alarms.activate("y")
    alarms.deactivate("x")
    alarms.clear_history()
    assert alarms.history() == []
    assert [alarm.name for alarm in alarms.active()] == ["y"]
    assert await store.items("alarms_history") == []


def test_active_alarms_are_bounded(make):
    alarms = make(actions=frozenset())
    assert [alarms.activate(f"conn_congestion/{number}/u") for number in range(60)].count(True) == 50
    assert alarms.refused == 10
