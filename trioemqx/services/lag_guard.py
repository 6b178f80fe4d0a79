"""Refuses new connections while the event loop is late, so that those who are here are served."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import attrs
import trio

from trioemqx.core.pressure import Pressure
from trioemqx.services.alarms import OVERLOAD_LAG, Alarms

INTERVAL: Final = 0.5
"""Seconds between two measurements."""


@attrs.frozen
class LagSettings:
    """`overload.lag_*`: how late the loop may be (seconds, 0 = no guard), and for how long."""

    threshold: float = 0.5
    period: float = 3.0


class LagGuard:
    """Sets `Pressure.late` when every measurement of `period` seconds was late by more than `threshold`; takes it back
    when none was for as long. `clock` gives seconds, Trio's."""

    def __init__(
        self,
        alarms: Alarms,
        pressure: Pressure,
        settings: LagSettings | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.settings = settings or LagSettings()
        self._alarms = alarms
        self._pressure = pressure
        self._clock = clock
        self._since: float | None = None
        """Since when the loop has been otherwise than `Pressure.late` says."""

    async def run(self) -> None:
        """Measure for ever."""
        self._alarms.deactivate(OVERLOAD_LAG)  # of a run before this one
        self._since = None
        interval = INTERVAL if self.settings.threshold > 0 else inf
        try:
            while True:
                due = self._clock() + interval
                await trio.sleep(interval)
                self.measured(due, self._clock())
        finally:
            self._pressure.late = False

    def measured(self, due: float, woken: float) -> None:
        """The loop was to come back at `due`, and did at `woken`."""
        threshold = self.settings.threshold
        late = 0.0 < threshold < woken - due
        if late == self._pressure.late:
            self._since = None
            return
        if self._since is None:
            self._since = due
        if woken - self._since >= self.settings.period:
            self._since = None
            self._pressure.late = late
            if late:
                milliseconds = round((woken - due) * 1000)
                self._alarms.activate(OVERLOAD_LAG, {"milliseconds": milliseconds})
            else:
                self._alarms.deactivate(OVERLOAD_LAG)
