"""Keeps the broker alive when memory runs short: what may be done without goes first, in a fixed order.

Each second the process's resident memory is compared with what it may have. Three watermarks divide that into bands,
and a band has rungs: each sample that stays above its watermark climbs one, so that what costs least is tried first.
On the way down a band is left only when memory is `margin` below its watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import inf
from typing import Final, Protocol

import attrs
import trio

from trioemqx.services.alarms import OVERLOAD_MEMORY, Alarms
from trioemqx.services.memory_probe import MemoryProbe

GIVE_BACK_EVERY: Final = 10
"""Samples between two requests to the allocator, above the first watermark."""


class Rung(IntEnum):
    """What is done without; each rung includes those below it."""

    CALM = 0
    FRUGAL = 1
    """Caches do not grow; topics without a retained message get none. An alarm is raised."""
    NO_ANONYMOUS = 2
    """CONNECT that no backend vouches for is refused."""
    NO_CONNECTIONS = 3
    """Every CONNECT is refused."""
    SLOWLY = 4
    """Retained messages are handed over at half the pace; publishers are not read in turn."""
    NO_QOS0 = 5
    """Queued QoS 0 messages are dropped, and none is queued."""
    CUT = 6
    """Connections with the largest out-buffers end."""


BANDS: Final = (
    (Rung.CALM, Rung.CALM),
    (Rung.FRUGAL, Rung.FRUGAL),
    (Rung.NO_ANONYMOUS, Rung.SLOWLY),
    (Rung.NO_QOS0, Rung.CUT),
)
"""The first and the last rung of each band."""


class Shedder(Protocol):
    """What gives way."""

    def set_rung(self, rung: Rung) -> None:
        """Set the switches that stay as they are until the next rung."""
        ...

    async def pause_publishers(self, seconds: float) -> None:
        """Do not read some of those who publish."""
        ...

    async def drop_qos0(self) -> None:
        """Drop what is queued at QoS 0."""
        ...

    async def cut_largest(self, excess: int) -> None:
        """End connections with the largest out-buffers, `excess` bytes in all."""
        ...


@attrs.frozen
class MemorySettings:
    """`overload.memory_*`: seconds (0 = no guard), bytes (0 = what the system allows), percentage points."""

    check_interval: float = 1.0
    limit: int = 0
    watermarks: Sequence[float] = (70.0, 80.0, 90.0)
    margin: float = 5.0


class MemoryGuard:
    """Climbs and descends; `shedder` does it, `probe` measures. `rung` is where it stands."""

    def __init__(
        self, alarms: Alarms, probe: MemoryProbe, shedder: Shedder, settings: MemorySettings | None = None
    ) -> None:
        self.settings = settings or MemorySettings()
        self.rung = Rung.CALM
        self._alarms = alarms
        self.probe = probe
        self._shedder = shedder
        self._band = 0
        self._samples = 0

    async def run(self) -> None:
        """Sample for ever. When this ends nothing stays switched off."""
        try:
            while True:
                await trio.sleep(self.settings.check_interval or inf)
                await self.check()
        finally:
            self._move(Rung.CALM)
            self._band = 0

    async def check(self) -> None:
        """Take one sample and act on it."""
        limit = self.settings.limit or self.probe.limit()
        used = self.probe.used()
        percent = 100.0 * used / limit
        before = self.rung
        self._band, climbing = self._place(percent)
        first, last = BANDS[self._band]
        self._move(min(last, max(first, Rung(min(before + climbing, Rung.CUT)))))
        self._tell(percent, used, limit)
        await self._shed(before, used, limit)

    def _place(self, percent: float) -> tuple[int, bool]:
        """The band, and whether memory really is above its watermark, not only within the margin below it."""
        marks = self.settings.watermarks
        above = sum(percent >= mark for mark in marks)
        kept = sum(percent >= mark - self.settings.margin for mark in marks)
        band = max(above, min(self._band, kept))
        return band, above == band and band > 0

    def _move(self, rung: Rung) -> None:
        if rung != self.rung:
            self.rung = rung
            self._shedder.set_rung(rung)

    def _tell(self, percent: float, used: int, limit: int) -> None:
        if self.rung == Rung.CALM:
            self._alarms.deactivate(OVERLOAD_MEMORY)
        else:
            mark = self.settings.watermarks[0]
            details = {"usage": round(percent, 1), "used": used, "limit": limit, "high_watermark": mark}
            self._alarms.activate(OVERLOAD_MEMORY, details)

    async def _shed(self, before: Rung, used: int, limit: int) -> None:
        """What has to be done again with each sample, and what is done on arriving at a rung."""
        rung = self.rung
        if rung >= Rung.SLOWLY:
            await self._shedder.pause_publishers(self.settings.check_interval)
        if rung >= Rung.NO_QOS0 > before:
            await self._shedder.drop_qos0()
        if rung == Rung.CUT and before >= Rung.NO_QOS0:
            aim = (self.settings.watermarks[2] - self.settings.margin) / 100.0
            await self._shedder.cut_largest(used - int(limit * aim))
        self._samples = self._samples + 1 if rung else 0
        if rung > before or (rung and self._samples % GIVE_BACK_EVERY == 0):
            await self.probe.give_back()
