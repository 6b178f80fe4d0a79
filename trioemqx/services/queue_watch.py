"""One alarm for each client whose queue overflows, for a bounded number of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.services.alarms import QUEUE_FULL, Alarms

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.session import Session

INTERVAL: Final = 1.0
CALM: Final = 60.0
"""Seconds without a lost message after which an alarm is cleared."""


@attrs.define
class _Full:
    """The session that lost messages, and when it did last."""

    created_at: int
    last: float


class QueueWatch:
    """The alarms `queue_full/<clientid>`: raised once when a queue loses a message, cleared when it has lost none for
    CALM seconds or its session is gone. At most `most` at a time; clients beyond are counted."""

    def __init__(self, alarms: Alarms, broker: Broker, most: int = 100) -> None:
        self.most = most
        self._alarms = alarms
        self._broker = broker
        self._full: dict[str, _Full] = {}

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            await trio.sleep(INTERVAL)
            await self.check(trio.current_time())

    async def check(self, now: float) -> None:
        """Raise alarms for queues that overflowed since the last look, clear those of queues that are calm. Each alarm
        is a row, a message and a line of the log, so others have their turn after each."""
        overflowed, self._broker.overflowed = self._broker.overflowed, []
        for session in overflowed:
            session.overflowed = False
        for session in overflowed:
            if self._overflowed(session, now):
                await trio.lowlevel.checkpoint()
        for clientid in [clientid for clientid, full in self._full.items() if self._calm(clientid, full, now)]:
            del self._full[clientid]
            self._alarms.deactivate(f"{QUEUE_FULL}/{clientid}")
            await trio.lowlevel.checkpoint()

    def _overflowed(self, session: Session, now: float) -> bool:
        """Note it; True when that raised an alarm."""
        clientid = session.clientid
        known = self._full.get(clientid)
        if known is not None:
            known.last = now
        elif self._broker.find(clientid) is not session:
            return False
        elif len(self._full) >= self.most:
            self._broker.metrics.overload["overload.queues.unreported"] += 1
        else:
            self._full[clientid] = _Full(session.created_at, now)
            zone = session.zone
            details = {
                "clientid": clientid,
                "username": session.info.username or "",
                "dropped": session.queue_dropped,
                "max_mqueue_len": zone.max_mqueue_len,
                "max_mqueue_bytes": zone.max_mqueue_bytes,
                "connected": session.connected(),
            }
            return self._alarms.activate(f"{QUEUE_FULL}/{clientid}", details)
        return False

    def _calm(self, clientid: str, full: _Full, now: float) -> bool:
        session = self._broker.find(clientid)
        return session is None or session.created_at != full.created_at or now - full.last >= CALM
