"""The figures behind the charts, on virtual time."""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from trioemqx.dashboard.sampler import COLUMNS, Columns, ProcessProbe, Sampler
from trioemqx.metrics import Metrics
from trioemqx.services.alarms import Alarms
from trioemqx.services.loopwatch import LoopWatch
from trioemqx.services.stats import GIVEN, StatsKeeper
from trioemqx.services.store.memory import MemoryStore

EPOCH = 1_700_000_000.0


class Machine:
    """Says how busy it is."""

    seconds = 0.0

    def cpu(self) -> float:
        return self.seconds

    def rss(self) -> int:
        return 123_456


class Setup:
    """A sampler with everything that it looks at."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.gauges = dict.fromkeys(GIVEN, 0)
        self.stats = StatsKeeper(lambda: self.gauges)
        self.store = MemoryStore()
        self.alarms = Alarms("n@h", self.store, lambda message: 0, now=trio.current_time)
        self.loop = LoopWatch(lambda message: 0, "n@h")
        self.machine = Machine()
        start = trio.current_time()
        self.sampler = Sampler(
            self.metrics,
            self.stats,
            self.alarms,
            self.loop,
            now=trio.current_time,
            wall=lambda: EPOCH + trio.current_time() - start,
            probe=self.machine,
        )
        self.seen: list[tuple[float, Mapping[str, float]]] = []
        self.sampler.on_sample = lambda t, values: self.seen.append((t, values))

    def history(self) -> Any:
        return json.loads(self.sampler.history())


async def run_for(setup: Setup, seconds: float) -> None:
    with trio.move_on_after(seconds + 0.5):
        await setup.sampler.run()


async def test_one_sample_a_second_with_every_figure(autojump_clock) -> None:
    setup = Setup()
    await run_for(setup, 3)
    assert [t for t, _ in setup.seen] == [EPOCH + 1, EPOCH + 2, EPOCH + 3]
    assert all(tuple(values) == COLUMNS for _, values in setup.seen)
    names = set(COLUMNS)
    assert names >= set(
        "connections sessions subscriptions topics retained received sent bytes_in bytes_out dropped cpu rss lag "
        "alarms dropped.queue_full dropped.no_subscribers".split()
    )


async def test_counters_become_rates(autojump_clock) -> None:
    setup = Setup()
    metrics = setup.metrics
    metrics.messages_qos0_received = 1_000_000  # before the first sample
    sampler = Sampler(
        metrics, setup.stats, setup.alarms, setup.loop, now=trio.current_time, wall=lambda: EPOCH, probe=setup.machine
    )
    await trio.sleep(2)
    metrics.messages_qos0_received += 10
    metrics.messages_qos1_received += 20
    metrics.messages_qos2_sent += 7
    metrics.bytes_received += 2048
    metrics.delivery_dropped_queue_full += 4
    metrics.messages_dropped_no_subscribers += 6
    setup.machine.seconds += 0.5
    sampler.take()
    values = {name: column[-1] for name, column in sampler.recent.as_dict()["columns"].items()}
    assert values["received"] == 15.0
    assert values["sent"] == 3.5
    assert values["bytes_in"] == 1024.0
    assert (values["dropped"], values["dropped.queue_full"], values["dropped.no_subscribers"]) == (5.0, 2.0, 3.0)
    assert (values["cpu"], values["rss"]) == (25.0, 123_456)
    await trio.sleep(1)
    sampler.take()
    assert sampler.recent.as_dict()["columns"]["received"] == [15.0, 0.0]


async def test_what_is_now_is_shown_as_it_is(autojump_clock) -> None:
    setup = Setup()
    setup.gauges.update(connections=3, sessions=5, subscriptions=7, routes=4, retained=2)
    await setup.store.open()
    setup.alarms.activate("x")
    setup.loop.longest = 0.0123
    await run_for(setup, 1)
    _, values = setup.seen[0]
    shown = [values[name] for name in ("connections", "sessions", "subscriptions", "topics", "retained")]
    assert shown == [3, 5, 7, 4, 2]
    assert (values["alarms"], values["lag"]) == (1, 12.3)


async def test_two_hours_are_kept_thinned_and_five_minutes_as_they_were(autojump_clock) -> None:
    setup = Setup()
    for _ in range(3 * 3600):
        setup.metrics.messages_qos0_received += 100
        autojump_clock.jump(1)
        setup.sampler.take()
    found = setup.history()
    assert (found["type"], found["interval"], found["recent"]["interval"]) == ("history", 10, 1)
    assert len(found["t"]) == 720
    assert len(found["recent"]["t"]) == 300
    assert found["t"] == sorted(found["t"])
    assert found["t"][-1] == EPOCH + 3 * 3600
    assert found["recent"]["t"] == [EPOCH + 3 * 3600 - 299 + second for second in range(300)]
    assert set(found["columns"]) == set(found["recent"]["columns"]) == set(COLUMNS)
    assert found["columns"]["received"] == [100.0] * 720


async def test_points_are_averages_but_for_the_longest_step(autojump_clock) -> None:
    setup = Setup()
    for second in range(10):
        setup.gauges["connections"] = second
        setup.stats.refresh()
        setup.loop.longest = 0.05 if second == 4 else 0.001
        await trio.sleep(1)
        setup.sampler.take()
    columns = setup.history()["columns"]
    assert (columns["connections"], columns["lag"]) == ([4.5], [50.0])


async def test_a_step_that_took_long_makes_one_sample_of_several_seconds(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.sampler.run)
        await trio.sleep(1.5)
        setup.metrics.messages_qos0_sent += 70
        autojump_clock.jump(7)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    rates = [values["sent"] for _, values in setup.seen]
    assert rates[:2] == [0.0, 9.3]  # 70 in 7.5 s


def test_a_ring_forgets_its_oldest_row() -> None:
    columns = Columns(3)
    for number in range(5):
        columns.add(number, dict.fromkeys(COLUMNS, float(number)))
    found = columns.as_dict()
    assert len(columns) == 3
    assert found["t"] == found["columns"]["cpu"] == [2.0, 3.0, 4.0]


async def test_the_longest_step_of_a_second_is_measured(broker) -> None:
    now = [0.0]
    await trio.sleep(0.5)
    broker.node.loop_watch._clock = lambda: now[0]
    await trio.lowlevel.checkpoint()
    now[0] += 0.02  # in the midst of this step: more than any other, less than what is told to people
    await trio.sleep(1)
    assert broker.node.loop_watch.longest == pytest.approx(0.02)
    await trio.sleep(2)
    assert broker.node.loop_watch.longest == 0.0


def test_without_a_descriptor_memory_is_what_it_was() -> None:
    """The charts would end for good otherwise, for a shortage of some seconds."""
    probe = ProcessProbe()
    known = probe.rss()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert probe.rss() == known > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
