"""Watches the machine and this process, and raises or clears the alarms of broker.md's table.

All levels are percent (0-100). What is measured comes from a `Probe`, so that tests can say how busy the machine is.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import attrs
import psutil
import trio

from trioemqx.services.alarms import (
    HIGH_CPU_USAGE,
    HIGH_PROCESS_MEMORY_USAGE,
    HIGH_SYSTEM_MEMORY_USAGE,
    TOO_MANY_PROCESSES,
    Alarms,
    Details,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TASK_LIMIT = 1_048_576
"""Stands for Erlang's process limit."""


class Probe(Protocol):
    """Where the figures come from, in percent."""

    def cpu(self) -> float:
        """Busy share of all processors since the last call."""

    def system_memory(self) -> float:
        """Memory in use on the machine."""

    def process_memory(self) -> float:
        """This process's resident memory, of the machine's."""

    async def processes(self) -> float:
        """The fuller of two tables: descriptors of this process, tasks of this run, each of its limit."""


@attrs.frozen
class MonitorSettings:
    """`os_mon.*` and `vm_mon.*`: intervals in seconds (0 switches a check off), watermarks in percent."""

    cpu_check_interval: float = 60.0
    cpu_high_watermark: float = 80.0
    cpu_low_watermark: float = 60.0
    mem_check_interval: float = 60.0
    sysmem_high_watermark: float = 70.0
    procmem_high_watermark: float = 5.0
    process_check_interval: float = 30.0
    process_high_watermark: float = 80.0
    process_low_watermark: float = 60.0


class SystemProbe:
    """Reads the real figures. `task_limit` stands for Erlang's process limit. While there is no descriptor to look
    with, the figures are those of the last look: a shortage must not switch the checks off."""

    def __init__(self, task_limit: int = TASK_LIMIT) -> None:
        self._task_limit = task_limit
        self._process = psutil.Process()
        self._threads = trio.CapacityLimiter(1)
        self._known = dict.fromkeys(("cpu", "system", "process"), 0.0)
        psutil.cpu_percent(None)  # the first call only remembers where to count from

    def cpu(self) -> float:
        """Busy share of all processors since the last call."""
        return self._read("cpu", lambda: psutil.cpu_percent(None))

    def system_memory(self) -> float:
        """Memory in use on the machine."""
        return self._read("system", lambda: psutil.virtual_memory().percent)

    def process_memory(self) -> float:
        """Resident memory of this process, of the machine's."""
        return self._read("process", lambda: 100.0 * self._process.memory_info().rss / psutil.virtual_memory().total)

    def _read(self, name: str, look: Callable[[], float]) -> float:
        with suppress(OSError):
            self._known[name] = look()
        return self._known[name]

    async def processes(self) -> float:
        """Open descriptors or living tasks, whichever is nearer its limit. Counting 50 000 descriptors reads a
        directory of that size, so a thread does it."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            count = await trio.to_thread.run_sync(self._process.num_fds, limiter=self._threads)
        except OSError:
            count = limit  # not one is left to count them with
        descriptors = 0.0 if limit == resource.RLIM_INFINITY else count / limit
        tasks = trio.lowlevel.current_statistics().tasks_living / self._task_limit
        return 100.0 * max(descriptors, tasks)


class Monitor:
    """Three checks, each at its own interval."""

    def __init__(self, alarms: Alarms, probe: Probe, settings: MonitorSettings | None = None) -> None:
        self._alarms = alarms
        self._probe = probe
        self.settings = settings or MonitorSettings()

    def check_cpu(self) -> None:
        """high_cpu_usage: above the high mark, until below the low one."""
        settings = self.settings
        usage = round(self._probe.cpu(), 2)
        high, low = settings.cpu_high_watermark, settings.cpu_low_watermark
        self._judge(HIGH_CPU_USAGE, usage, high, low, _details(usage=usage, high_watermark=high, low_watermark=low))

    def check_memory(self) -> None:
        """high_system_memory_usage and high_process_memory_usage: above the mark, until no longer."""
        settings = self.settings
        usage, high = round(self._probe.system_memory(), 2), settings.sysmem_high_watermark
        self._judge(HIGH_SYSTEM_MEMORY_USAGE, usage, high, high, _details(usage=usage, high_watermark=high))
        usage, high = self._probe.process_memory(), settings.procmem_high_watermark
        self._judge(HIGH_PROCESS_MEMORY_USAGE, usage, high, high, _details(pid=os.getpid(), high_watermark=high))

    async def check_processes(self) -> None:
        """too_many_processes: descriptors or tasks above the high mark, until below the low one."""
        usage = round(await self._probe.processes(), 2)
        high, low = self.settings.process_high_watermark, self.settings.process_low_watermark
        self._judge(TOO_MANY_PROCESSES, usage, high, low, _details(usage=usage, high_watermark=high, low_watermark=low))

    async def run_cpu(self) -> None:
        """Check the processors for ever."""
        await self._every(self.settings.cpu_check_interval, self.check_cpu)

    async def run_memory(self) -> None:
        """Check memory for ever; the interval is rounded to whole minutes, at least one."""
        interval = self.settings.mem_check_interval
        await self._every(max(60.0, round(interval / 60.0) * 60.0) if interval > 0 else 0.0, self.check_memory)

    async def run_processes(self) -> None:
        """Check descriptors and tasks for ever."""
        while True:
            await _pause(self.settings.process_check_interval)
            await self.check_processes()

    async def _every(self, interval: float, check: Callable[[], None]) -> None:
        while True:
            await _pause(interval)
            check()

    def _judge(self, name: str, usage: float, high: float, low: float, details: Details) -> None:
        """Above `high` the alarm is on, below `low` it is off, between them it stays as it is."""
        if usage > high:
            self._alarms.activate(name, details)
        elif usage < low or low == high:
            self._alarms.deactivate(name, details)


def _details(**figures: float) -> Details:
    """Figures as EMQX prints them: 80, not 80.0."""
    return {name: int(figure) if figure == int(figure) else figure for name, figure in figures.items()}


async def _pause(interval: float) -> None:
    if interval > 0:
        await trio.sleep(interval)
    else:
        await trio.sleep_forever()
