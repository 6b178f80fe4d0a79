"""What the broker says about itself under `$SYS/brokers/<node>/...`, at two intervals."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.types import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trioemqx.services.facade import BrokerLike

ROOT: Final = "$SYS/brokers"
DESCRIPTION: Final = "trioemqx"


def _always(topic: str) -> bool:
    return True


class SysTopics:
    """Builds and publishes the messages of broker.md section 10.

    `started` is the broker's monotonic time of its start. `wall` gives Unix seconds. `wanted` tells whether a topic has
    a subscriber, so that a hundred messages nobody reads are not built; retained topics are published in any case.
    `nodes` lists the running nodes.
    """

    def __init__(
        self,
        broker: BrokerLike,
        started: float,
        *,
        wall: Callable[[], float] = time.time,
        wanted: Callable[[str], bool] = _always,
        nodes: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._broker = broker
        self._started = started
        self._wall = wall
        self._wanted = wanted
        self._nodes = nodes or (lambda: [broker.node])
        self._prefix = f"{ROOT}/{broker.node}"

    def publish_interval(self) -> None:
        """What comes each sys_interval: nodes, version, description (retained), stats, metrics."""
        self._publish(ROOT, ",".join(self._nodes()), retain=True)
        self._publish(f"{self._prefix}/version", self._broker.version, retain=True)
        self._publish(f"{self._prefix}/sysdescr", DESCRIPTION, retain=True)
        for name, value in self._figures():
            topic = f"{self._prefix}/{name}"
            if self._wanted(topic):
                self._publish(topic, str(value))

    def publish_heartbeat(self) -> None:
        """What comes each sys_heartbeat: uptime and local time."""
        self._publish(f"{self._prefix}/uptime", format_uptime(self._broker.now() - self._started))
        self._publish(f"{self._prefix}/datetime", format_datetime(self._wall()))

    async def run(self, interval: float = 60.0, heartbeat: float = 30.0) -> None:
        """Publish for ever; first after one interval, 0 switches one off. A late round does not delay the next."""
        start = trio.current_time()
        due = {
            self.publish_interval: _first(start, interval),
            self.publish_heartbeat: _first(start, heartbeat),
        }
        every = {self.publish_interval: interval, self.publish_heartbeat: heartbeat}
        while True:
            action = min(due, key=due.__getitem__)
            await trio.sleep_until(due[action])
            due[action] = max(due[action] + every[action], trio.current_time())
            action()

    def _figures(self) -> Iterator[tuple[str, int]]:
        for name, value in self._broker.stats().items():
            yield f"stats/{name}", value
        for name, value in self._broker.metrics.items():
            yield f"metrics/{name.replace('.', '/')}", value

    def _publish(self, topic: str, text: str, retain: bool = False) -> None:
        now = self._broker.now()
        stamp = int(self._wall() * 1000)
        self._broker.publish(Message(topic, text.encode(), 0, retain, "sys", None, now, stamp, sys=True))


async def run(
    broker: BrokerLike,
    interval: float,
    heartbeat: float,
    *,
    started: float,
    wall: Callable[[], float] = time.time,
    wanted: Callable[[str], bool] = _always,
    nodes: Callable[[], Sequence[str]] | None = None,
) -> None:
    """`SysTopics(...).run(...)` in one call, for the supervisor."""
    await SysTopics(broker, started, wall=wall, wanted=wanted, nodes=nodes).run(interval, heartbeat)


def format_uptime(seconds: float) -> str:
    """`1 days, 2 hours, 3 minutes, 4 seconds`; leading zero units are left out, below one second it is empty."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return ", ".join(parts)


def format_datetime(wall: float) -> str:
    """`YYYY-MM-DD hh:mm:ss`, local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def _first(start: float, interval: float) -> float:
    return start + interval if interval > 0 else math.inf
