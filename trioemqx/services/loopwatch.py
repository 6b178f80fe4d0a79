"""Warns when one task kept the event loop to itself: EMQX's `sysmon.long_schedule`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import trio

from trioemqx.types import Message

log = logging.getLogger("trioemqx.loopwatch")

INTERVAL: Final = 1.0
"""Seconds between reports; each tells the worst step since the last one."""


class LoopWatch(trio.abc.Instrument):
    """Measures every step of every task and reports, once a second, the longest one above `threshold` seconds (0 =
    none is): in the log, and under `$SYS/brokers/<node>/sysmon/long_schedule`. `clock` gives real seconds."""

    def __init__(
        self,
        publish: Callable[[Message], object],
        node: str,
        threshold: float = 0.24,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.threshold = threshold
        self._publish = publish
        self._topic = f"$SYS/brokers/{node}/sysmon/long_schedule"
        self._clock = clock
        self.longest = 0.0
        """Seconds that the longest step took in the last full second."""
        self._began = 0.0
        self._worst = 0.0
        self._who = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this before a task runs."""
        self._began = self._clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this when a task waits again."""
        took = self._clock() - self._began
        if took > self._worst:
            self._worst = took
            self._who = task.name

    async def run(self) -> None:
        """Watch and report for ever."""
        self._began = self._clock()  # of the step that this is
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await trio.sleep(INTERVAL)
                self.longest, self._worst = self._worst, 0.0
                if self.longest > self.threshold > 0.0:
                    self._report()
        finally:
            trio.lowlevel.remove_instrument(self)

    def _report(self) -> None:
        text = f"long_schedule: {self._who} kept the event loop for {self.longest * 1000:.0f} ms"
        log.warning("%s", text)
        self._publish(Message(self._topic, text.encode(), sys=True))
