"""What the gauges of EMQX's virtual machine stand for here: processors, memory, tasks, waiting messages."""

from __future__ import annotations

from typing import Final

import psutil
import trio

WINDOW: Final = 1.0
"""Processor seconds that must have passed for a new figure, so that two readers do not take it from each other."""


class Machine:
    """Reads the figures. `queued` is set by whoever counts the messages that wait."""

    def __init__(self) -> None:
        self.queued = 0
        self._total = self._idle = 0.0
        self._use = 0.0

    def read(self) -> dict[str, int | float]:
        """The gauges by EMQX's names."""
        memory = psutil.virtual_memory()
        use = self._busy()
        return {
            "cpu_use": use,
            "cpu_idle": round(100.0 - use, 2),
            "run_queue": trio.lowlevel.current_statistics().tasks_runnable,
            "process_messages_in_queues": self.queued,
            "total_memory": memory.total,
            "used_memory": memory.used,
        }

    def _busy(self) -> float:
        """Percent since the last reading; at the first one since the machine was started. `psutil.cpu_percent` keeps
        one memory for everybody, and the broker's own monitor uses that."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is in that of its host too.
        total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
        idle = times["idle"] + times.get("iowait", 0.0)
        passed = total - self._total
        if passed >= WINDOW:
            share = 1.0 - (idle - self._idle) / passed
            self._use = round(100.0 * min(1.0, max(0.0, share)), 2)
            self._total, self._idle = total, idle
        return self._use
