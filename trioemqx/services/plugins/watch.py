"""What goes wrong with plugins: crashes are counted and held against them, slow hooks are named."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from trioemqx.services.plugins.discovery import one_line
from trioemqx.services.plugins.handles import Host

log = logging.getLogger("trioemqx.plugins")

WINDOW: Final = 60.0
"""Seconds in which `plugins.max_crashes` crashes switch a plugin off."""
SLOW_ALARM: Final = "plugin_slow"
DISABLED_ALARM: Final = "plugin_disabled"
NOT_LOADED_ALARM: Final = "plugin_not_loaded"
CRASHED_ALARM: Final = "plugin_crashed"
ALARMS: Final = (SLOW_ALARM, DISABLED_ALARM, NOT_LOADED_ALARM, CRASHED_ALARM)
"""Each is raised as `<alarm>/<plugin>` and cleared when the plugin is loaded anew or unloaded."""


class Watch:
    """`switch_off` is called with (plugin, reason) when a plugin has crashed `max_crashes` times within a minute."""

    def __init__(self, host: Host, switch_off: Callable[[str, str], None], max_crashes: int) -> None:
        self.max_crashes = max_crashes
        self._host = host
        self._switch_off = switch_off
        self._crashes: dict[str, deque[float]] = {}

    def hook_crashed(self, plugin: str, point: str) -> None:
        """A hook, or something else of a plugin's, crashed. It has been logged and counted."""
        now = trio.current_time()
        crashes = self._crashes.setdefault(plugin, deque())
        crashes.append(now)
        while now - crashes[0] > WINDOW:
            crashes.popleft()
        if len(crashes) >= self.max_crashes:
            count = len(crashes)
            crashes.clear()
            self._switch_off(plugin, f"{count} crashes within {WINDOW:g} s, the last in {point}")

    def task_crashed(self, plugin: str, error: BaseException) -> None:
        """A task or a callback of a plugin crashed."""
        self._host.broker.metrics.hook_crashed += 1
        log.error("%s crashed", plugin, exc_info=error)
        self.hook_crashed(plugin, "a task")

    def run_crashed(self, plugin: str, error: BaseException) -> None:
        """Its `run` crashed and is started again."""
        self.alarm(CRASHED_ALARM, plugin, error=one_line(error))

    def recovered(self, plugin: str) -> None:
        """Its `run` has been well for a while."""
        self._host.alarms.deactivate(f"{CRASHED_ALARM}/{plugin}")

    def slow(self, plugin: str, point: str, seconds: float) -> None:
        """A sync hook held the event loop."""
        if self.alarm(SLOW_ALARM, plugin, hook=point, milliseconds=round(seconds * 1000)):
            log.warning("hook %s of %s held the event loop for %.0f ms", point, plugin, seconds * 1000)

    def alarm(self, alarm: str, plugin: str, **details: object) -> bool:
        """Raise one of ALARMS for a plugin; False when it is active already."""
        return self._host.alarms.activate(f"{alarm}/{plugin}", {"plugin": plugin, **details})

    def clear(self, plugin: str) -> None:
        """A new beginning: no alarms, no crashes."""
        self._crashes.pop(plugin, None)
        for alarm in ALARMS:
            self._host.alarms.deactivate(f"{alarm}/{plugin}")
