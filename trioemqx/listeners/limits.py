"""Tells the operator when a limit on connections keeps clients out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.services.alarms import TOO_FEW_DESCRIPTORS, TOO_MANY_CONNECTIONS

if TYPE_CHECKING:
    from trioemqx.listeners.gate import Gate
    from trioemqx.listeners.manager import ListenerManager
    from trioemqx.services.alarms import Alarms

INTERVAL: Final = 1.0
CALM: Final = 60.0
"""Seconds without anybody kept out after which the alarm is cleared."""


@attrs.define
class _Watched:
    """How many had been kept out at the last look, and when somebody was for the last time."""

    count: int = 0
    last: float = 0.0


class LimitWatch:
    """The alarms `too_many_connections`, of the node's limit, `too_many_connections/<listener>` and
    `too_few_descriptors`: raised when a client was turned away or had to wait because a limit was reached, cleared when
    none has been for CALM seconds. `reserve` is how many descriptors connections leave to others."""

    def __init__(self, alarms: Alarms, gate: Gate, listeners: ListenerManager, reserve: int = 0) -> None:
        self.reserve = reserve
        self._alarms = alarms
        self._gate = gate
        self._listeners = listeners
        self._watched: dict[str, _Watched] = {}

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            await trio.sleep(INTERVAL)
            self.check(trio.current_time())

    def check(self, now: float) -> None:
        """Look at every limit once."""
        gate = self._gate
        self._judge(TOO_MANY_CONNECTIONS, gate.full, gate.max_connections, now)
        self._judge(TOO_FEW_DESCRIPTORS, gate.starved, self.reserve, now)
        listeners = self._listeners.listeners
        for name, listener in listeners.items():
            self._judge(f"{TOO_MANY_CONNECTIONS}/{name}", listener.full, listener.config.max_connections, now)
        for alarm in [alarm for alarm in self._watched if _listener(alarm) and _listener(alarm) not in listeners]:
            del self._watched[alarm]
            self._alarms.deactivate(alarm)

    def _judge(self, name: str, count: int, limit: int, now: float) -> None:
        watched = self._watched.setdefault(name, _Watched())
        if count > watched.count:
            kept_out = count - watched.count
            watched.count, watched.last = count, now
            self._alarms.activate(name, {"limit": limit, "kept_out": kept_out})
            return
        watched.count = count  # a listener that was made anew counts from 0
        if now - watched.last >= CALM:
            self._alarms.deactivate(name)


def _listener(alarm: str) -> str:
    """The listener an alarm is about; "" for the node's."""
    return alarm.partition("/")[2]
