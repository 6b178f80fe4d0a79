"""What watches over a node: its memory, its event loop, its limits, the queues of its clients.

Each guard raises alarms, and some of them act; what it is told by the configuration is here, at the start and at a
reload.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from trioemqx.config.model import Config
from trioemqx.listeners.limits import LimitWatch
from trioemqx.listeners.overload import Congestion
from trioemqx.listeners.shedding import Shedding
from trioemqx.services.lag_guard import LagGuard
from trioemqx.services.loopwatch import LoopWatch
from trioemqx.services.memory_guard import MemoryGuard
from trioemqx.services.memory_probe import SystemMemory
from trioemqx.services.monitor import Monitor, SystemProbe
from trioemqx.services.queue_watch import QueueWatch
from trioemqx.wiring import lag_settings, memory_settings, monitor_settings

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.listeners.gate import Gate
    from trioemqx.listeners.manager import ListenerManager
    from trioemqx.listeners.pump import Pump
    from trioemqx.services.alarms import Alarms
    from trioemqx.types import Message


class Guards:
    """All of them. `publish` is for EMQX's `$SYS` messages about a loop that was held."""

    def __init__(
        self,
        config: Config,
        alarms: Alarms,
        broker: Broker,
        pump: Pump,
        gate: Gate,
        listeners: ListenerManager,
        publish: Callable[[Message], object],
    ) -> None:
        overload = config.overload
        self.monitor = Monitor(alarms, SystemProbe(), monitor_settings(config))
        self.loop_watch = LoopWatch(publish, config.node.name, config.sysmon.long_schedule)
        self.congestion = Congestion(alarms)
        self.limit_watch = LimitWatch(alarms, gate, listeners, overload.descriptor_reserve)
        self.memory_guard = MemoryGuard(alarms, SystemMemory(), Shedding(pump), memory_settings(config))
        self.lag_guard = LagGuard(alarms, broker.pressure, lag_settings(config))
        self.queue_watch = QueueWatch(alarms, broker, overload.queue_alarms)

    def configure(self, config: Config) -> None:
        """Take a new configuration. What is read only when a service begins waits for `changed_services`."""
        self.monitor.settings = monitor_settings(config)
        self.loop_watch.threshold = config.sysmon.long_schedule
        self.memory_guard.settings = memory_settings(config)
        self.lag_guard.settings = lag_settings(config)
        self.queue_watch.most = config.overload.queue_alarms
        self.limit_watch.reserve = config.overload.descriptor_reserve

    def services(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """What of them runs, by name of service. The sweeper calls `congestion`."""
        return {
            "monitor_cpu": self.monitor.run_cpu,
            "monitor_memory": self.monitor.run_memory,
            "monitor_processes": self.monitor.run_processes,
            "loop_watch": self.loop_watch.run,
            "limit_watch": self.limit_watch.run,
            "memory_guard": self.memory_guard.run,
            "lag_guard": self.lag_guard.run,
            "queue_watch": self.queue_watch.run,
        }
