"""What the broker publishes about itself (broker.md 10)."""

from __future__ import annotations

import re
import time

import pytest
import trio
from services_helpers import FakeBroker, Wall

from trioemqx.services.systopics import SysTopics, format_datetime, format_uptime, run

NODE = "$SYS/brokers/emqx@127.0.0.1"


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, ""),
        (-3, ""),
        (1, "1 seconds"),
        (60, "1 minutes, 0 seconds"),
        (3605, "1 hours, 0 minutes, 5 seconds"),
        (93784.9, "1 days, 2 hours, 3 minutes, 4 seconds"),
        (86400 * 400, "400 days, 0 hours, 0 minutes, 0 seconds"),
    ],
)
def test_uptime(seconds, text):
    assert format_uptime(seconds) == text


def test_datetime_is_local_time():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", format_datetime(1_700_000_000))
    moment = (2026, 2, 3, 4, 5, 6, 0, 0, -1)
    assert format_datetime(time.mktime(moment)) == "2026-02-03 04:05:06"


async def test_interval_topics(broker):
    broker.counters.packets_connect_received = 4
    SysTopics(broker, 0.0, wall=Wall()).publish_interval()
    found = {message.topic: message.payload.decode() for message in broker.published}
    assert found["$SYS/brokers"] == "emqx@127.0.0.1"
    assert found[f"{NODE}/version"] == "1.2.3"
    assert found[f"{NODE}/sysdescr"]
    assert found[f"{NODE}/stats/connections.count"] == "3"
    assert found[f"{NODE}/stats/connections.max"] == "5"
    assert found[f"{NODE}/metrics/packets/connect/received"] == "4"
    assert found[f"{NODE}/metrics/messages/dropped/await_pubrel_timeout"] == "0"
    assert len(found) == 3 + 2 + len(broker.metrics)


async def test_only_names_version_and_description_are_retained(broker):
    topics = SysTopics(broker, 0.0, wall=Wall())
    topics.publish_interval()
    topics.publish_heartbeat()
    retained = {message.topic for message in broker.published if message.retain}
    assert retained == {"$SYS/brokers", f"{NODE}/version", f"{NODE}/sysdescr"}
    assert all(message.sys and message.qos == 0 and message.publisher == "sys" for message in broker.published)


async def test_what_nobody_wants_is_not_built(broker):
    wanted = f"{NODE}/metrics/bytes/sent"
    SysTopics(broker, 0.0, wall=Wall(), wanted=lambda topic: topic == wanted).publish_interval()
    assert [message.topic for message in broker.published if not message.retain] == [wanted]


async def test_all_running_nodes_are_named(broker):
    SysTopics(broker, 0.0, wall=Wall(), nodes=lambda: ["a@h", "b@h"]).publish_interval()
    assert broker.published[0].payload == b"a@h,b@h"


async def run_for(seconds, broker, interval, heartbeat):
    times = {"version": [], "uptime": []}
    start = trio.current_time()
    publish = broker.publish

    def record(message):
        kind = message.topic.rpartition("/")[2]
        if kind in times:
            times[kind].append((round(trio.current_time() - start), message.payload.decode()))
        return publish(message)

    broker.publish = record
    with trio.move_on_after(seconds):
        await run(broker, interval, heartbeat, started=start)
    return times


async def test_first_emission_comes_one_interval_after_start(broker, autojump_clock):
    times = await run_for(125, broker, 60.0, 30.0)
    assert [at for at, _ in times["version"]] == [60, 120]
    assert times["uptime"] == [
        (30, "30 seconds"),
        (60, "1 minutes, 0 seconds"),
        (90, "1 minutes, 30 seconds"),
        (120, "2 minutes, 0 seconds"),
    ]


async def test_an_interval_of_zero_switches_it_off(broker, autojump_clock):
    times = await run_for(1000, broker, 0, 400)
    assert times["version"] == []
    assert [at for at, _ in times["uptime"]] == [400, 800]
    assert (await run_for(10_000, FakeBroker(), 0, 0)) == {"version": [], "uptime": []}


async def test_a_round_that_comes_late_is_not_made_up_for(broker, mock_clock):
    topics = SysTopics(broker, trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(topics.run, 0.0, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len([message for message in broker.published if message.topic.endswith("uptime")]) <= 2
