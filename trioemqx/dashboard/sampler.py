"""The figures of the dashboard's charts: one sample a second, two hours of them, in columns of plain numbers.

Five minutes are kept second by second, two hours in averages of ten seconds: what a chart can show of them. Whether
anybody looks makes no difference here; a sample is a few dozen subtractions.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import psutil
import trio

from trioemqx.metrics import PLAIN, Metrics

if TYPE_CHECKING:
    from trioemqx.services.alarms import Alarms
    from trioemqx.services.loopwatch import LoopWatch
    from trioemqx.services.stats import StatsKeeper

INTERVAL: Final = 1.0
RECENT: Final = 300
"""Samples kept one by one."""
STEP: Final = 10
"""Samples that make one point of the long history."""
POINTS: Final = 720
"""Points of the long history: two hours."""

GAUGES: Final[Mapping[str, str]] = {
    "connections": "connections",
    "sessions": "sessions",
    "subscriptions": "subscriptions",
    "topics": "topics",
    "retained": "retained",
}
"""Column by EMQX's stat."""
_RECEIVED: Final = tuple(f"messages_qos{qos}_received" for qos in range(3))
_SENT: Final = tuple(f"messages_qos{qos}_sent" for qos in range(3))


def _drops() -> dict[str, tuple[str, ...]]:
    """The counters of what was dropped, by reason: `dropped.queue_full`."""
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(PLAIN):
        for prefix in ("delivery.dropped.", "messages.dropped."):
            if name.startswith(prefix):
                column = f"dropped.{name.removeprefix(prefix)}"
                found[column] = (*found.get(column, ()), name.replace(".", "_"))
    return found


_DROPS: Final = _drops()
RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "received": _RECEIVED,
    "sent": _SENT,
    "bytes_in": ("bytes_received",),
    "bytes_out": ("bytes_sent",),
    "dropped": tuple(counter for counters in _DROPS.values() for counter in counters),
    **_DROPS,
}
"""Column -> attributes of the counters whose sum it is, per second."""
PROCESS: Final = ("cpu", "rss", "lag", "alarms")
COLUMNS: Final = (*GAUGES, *RATES, *PROCESS)


class Probe(Protocol):
    """What is asked of the operating system."""

    def cpu(self) -> float:
        """Seconds of processor time that this process has used."""

    def rss(self) -> int:
        """Bytes of memory that it holds."""


class ProcessProbe:
    """This process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._rss = 0

    def cpu(self) -> float:
        """Seconds of processor time, over all threads."""
        return time.process_time()

    def rss(self) -> int:
        """Resident memory in bytes; that of the last look while there is no descriptor to look with."""
        with suppress(OSError):
            self._rss = int(self._process.memory_info().rss)
        return self._rss


class Columns:
    """The last `length` rows of numbers, a ring per column."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._t = array("d")
        self._columns = {name: array("d") for name in COLUMNS}
        self._at = 0

    def __len__(self) -> int:
        return len(self._t)

    def add(self, t: float, values: Mapping[str, float]) -> None:
        """Append a row; the oldest goes when there are too many."""
        if len(self._t) < self.length:
            self._t.append(t)
            for name, column in self._columns.items():
                column.append(values[name])
            return
        at = self._at
        self._t[at] = t
        for name, column in self._columns.items():
            column[at] = values[name]
        self._at = (at + 1) % self.length

    def as_dict(self) -> dict[str, Any]:
        """`t` and `columns`, oldest first."""
        return {"t": self._straight(self._t), "columns": {n: self._straight(c) for n, c in self._columns.items()}}

    def _straight(self, ring: array[float]) -> list[float]:
        return (ring[self._at :] + ring[: self._at]).tolist()


class Sampler:
    """Takes the samples, keeps them, and tells `on_sample` of each. `now()` is monotonic seconds, `wall()` Unix
    seconds."""

    def __init__(
        self,
        metrics: Metrics,
        stats: StatsKeeper,
        alarms: Alarms,
        loop: LoopWatch,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        probe: Probe | None = None,
    ) -> None:
        self._metrics = metrics
        self._stats = stats
        self._alarms = alarms
        self._loop = loop
        self._now = now
        self._wall = wall
        self._probe = probe or ProcessProbe()
        self.recent = Columns(RECENT)
        self.long = Columns(POINTS)
        self._bucket = dict.fromkeys(COLUMNS, 0.0)
        self._in_bucket = 0
        self.on_sample: Callable[[float, Mapping[str, float]], None] = _nobody
        self._before, self._at, self._cpu = self._counted(), now(), self._probe.cpu()

    async def run(self) -> None:
        """Take a sample each second, for ever. Seconds that were missed are not made up for."""
        due = self._now()
        while True:
            due = max(due + INTERVAL, self._now())
            await trio.sleep_until(due)
            self.take()

    def take(self) -> None:
        """One sample. Rates are per second since the one before, however long that is."""
        now, cpu, counted = self._now(), self._probe.cpu(), self._counted()
        passed = now - self._at
        if passed <= 0:
            return
        stats = self._stats.latest()
        values: dict[str, float] = {name: stats.get(stat, 0) for name, stat in GAUGES.items()}
        for name, count in counted.items():
            values[name] = round((count - self._before[name]) / passed, 1)
        values["cpu"] = round(100.0 * (cpu - self._cpu) / passed, 1)
        values["rss"] = self._probe.rss()
        values["lag"] = round(self._loop.longest * 1000.0, 2)
        values["alarms"] = self._alarms.count
        self._before, self._at, self._cpu = counted, now, cpu
        t = round(self._wall(), 3)
        self.recent.add(t, values)
        self._add_to_bucket(t, values)
        self.on_sample(t, values)

    def history(self) -> bytes:
        """What a viewer is sent first, as JSON: two hours, and the last five minutes as `recent`."""
        message = {
            "type": "history",
            "interval": STEP * INTERVAL,
            **self.long.as_dict(),
            "recent": {"interval": INTERVAL, **self.recent.as_dict()},
        }
        return msgspec.json.encode(message)

    def _counted(self) -> dict[str, int]:
        metrics = self._metrics
        return {name: sum([getattr(metrics, one) for one in counters]) for name, counters in RATES.items()}

    def _add_to_bucket(self, t: float, values: Mapping[str, float]) -> None:
        """Averages of ten; of the longest step the longest, since one of them is what somebody looks for."""
        bucket = self._bucket
        longest = max(bucket["lag"], values["lag"])
        for name, value in values.items():
            bucket[name] += value
        bucket["lag"] = longest
        self._in_bucket += 1
        if self._in_bucket == STEP:
            self.long.add(t, {name: round(total / STEP, 1) for name, total in bucket.items()} | {"lag": longest})
            self._bucket = dict.fromkeys(COLUMNS, 0.0)
            self._in_bucket = 0


def _nobody(t: float, values: Mapping[str, float]) -> None:
    """Default of `on_sample`: the history is all there is."""
