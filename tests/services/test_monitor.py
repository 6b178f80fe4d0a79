"""The machine's and the process's alarms (broker.md 13)."""

from __future__ import annotations

import os
import resource

import pytest
import trio
from services_helpers import FakeBroker, Wall, opened_store

from trioemqx.services.alarms import Alarms
from trioemqx.services.monitor import Monitor, MonitorSettings, SystemProbe


class FakeProbe:
    def __init__(self):
        self.levels = {"cpu": 0.0, "system_memory": 0.0, "process_memory": 0.0, "processes": 0.0}
        self.asked = []

    def cpu(self):
        self.asked.append(("cpu", trio.current_time()))
        return self.levels["cpu"]

    def system_memory(self):
        self.asked.append(("memory", trio.current_time()))
        return self.levels["system_memory"]

    def process_memory(self):
        return self.levels["process_memory"]

    async def processes(self):
        self.asked.append(("processes", trio.current_time()))
        return self.levels["processes"]


@pytest.fixture
def probe():
    return FakeProbe()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def alarms(broker):
    return Alarms(broker.node, opened_store(), broker.publish, wall=Wall(), now=lambda: 0.0)


@pytest.fixture
def monitor(alarms, probe):
    return Monitor(alarms, probe)


@pytest.mark.parametrize(
    ("name", "level", "check"),
    [("high_cpu_usage", "cpu", "check_cpu"), ("too_many_processes", "processes", "check_processes")],
)
async def test_between_the_watermarks_the_alarm_stays_as_it_is(monitor, alarms, probe, name, level, check):
    seen = []
    for usage in (80.0, 80.1, 60.1, 60.0, 59.9, 70.0):
        probe.levels[level] = usage
        result = getattr(monitor, check)()
        if result is not None:
            await result
        seen.append(alarms.is_active(name))
    assert seen == [False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("name", "level", "over", "at"),
    [
        ("high_system_memory_usage", "system_memory", 70.5, 70.0),
        ("high_process_memory_usage", "process_memory", 5.1, 5.0),
    ],
)
async def test_memory_alarms_have_one_mark(monitor, alarms, probe, name, level, over, at):
    probe.levels[level] = over
    monitor.check_memory()
    assert [alarm.name for alarm in alarms.active()] == [name]
    probe.levels[level] = at
    monitor.check_memory()
    assert alarms.active() == []


async def test_details_and_messages(monitor, alarms, probe):
    probe.levels = {"cpu": 91.256, "system_memory": 71.0, "process_memory": 6.0, "processes": 95.0}
    monitor.check_cpu()
    monitor.check_memory()
    await monitor.check_processes()
    assert {alarm.name: (alarm.details, alarm.message) for alarm in alarms.active()} == {
        "high_cpu_usage": ({"usage": 91.26, "high_watermark": 80, "low_watermark": 60}, "91.26% cpu usage"),
        "high_system_memory_usage": (
            {"usage": 71, "high_watermark": 70},
            "System memory usage is higher than 70%",
        ),
        "high_process_memory_usage": (
            {"pid": os.getpid(), "high_watermark": 5},
            "Process memory usage is higher than 5%",
        ),
        "too_many_processes": ({"usage": 95, "high_watermark": 80, "low_watermark": 60}, "95% process usage"),
    }


async def test_each_check_has_its_interval_and_memory_whole_minutes(alarms, probe, autojump_clock):
    settings = MonitorSettings(cpu_check_interval=100, mem_check_interval=10, process_check_interval=90)
    monitor = Monitor(alarms, probe, settings)
    start = trio.current_time()
    with trio.move_on_after(205):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(monitor.run_cpu)
            nursery.start_soon(monitor.run_memory)
            nursery.start_soon(monitor.run_processes)
    times = [(name, round(at - start)) for name, at in probe.asked]
    assert sorted(times) == [
        ("cpu", 100),
        ("cpu", 200),
        ("memory", 60),
        ("memory", 120),
        ("memory", 180),
        ("processes", 90),
        ("processes", 180),
    ]


async def test_an_interval_of_zero_switches_a_check_off(alarms, probe, autojump_clock):
    monitor = Monitor(alarms, probe, MonitorSettings(cpu_check_interval=0, mem_check_interval=0))
    with trio.move_on_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(monitor.run_cpu)
            nursery.start_soon(monitor.run_memory)
    assert probe.asked == []


async def test_the_real_probe_gives_percentages():
    probe = SystemProbe()
    for value in (probe.system_memory(), probe.process_memory(), await probe.processes()):
        assert 0 < value < 100
    assert 0 <= probe.cpu() <= 100


async def test_the_real_probe_sees_descriptors_and_tasks():
    before = await SystemProbe().processes()
    pipes = [os.pipe() for _ in range(20)]
    assert await SystemProbe().processes() > before
    for pair in pipes:
        for descriptor in pair:
            os.close(descriptor)
    assert await SystemProbe(task_limit=4).processes() >= 50


async def test_without_a_descriptor_the_real_probe_says_what_it_knows():
    """A shortage that lasts for some seconds must not end the checks for good, and is itself something to tell."""
    probe = SystemProbe()
    known = probe.cpu(), probe.system_memory(), probe.process_memory()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert (probe.cpu(), probe.system_memory(), probe.process_memory()) == known
        assert await probe.processes() == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert await probe.processes() < 100
