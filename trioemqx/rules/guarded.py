"""The background work of rules: started again after a crash, with an alarm while it crashes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from trioemqx.metrics import Metrics
from trioemqx.services.alarms import Alarms
from trioemqx.services.supervise import GaveUp, supervise

log = logging.getLogger("trioemqx.rules")


class GuardHost(Protocol):
    """What guarding needs of the rule engine."""

    alarms: Alarms
    metrics: Metrics


async def guarded(
    host: GuardHost, name: str, alarm: str, work: Callable[[], Awaitable[object]], until: str
) -> GaveUp | None:
    """Do some work for as long as it lasts. Returns why it was given up, after `until` was named as what brings it
    back; None when it has ended by itself."""
    alarms = host.alarms
    try:
        await supervise(
            name,
            work,
            metrics=host.metrics,
            on_crash=lambda _, error: alarms.activate(alarm, {"error": f"{type(error).__name__}: {error}"}),
            on_recovered=lambda _: alarms.deactivate(alarm),
        )
    except GaveUp as error:
        log.critical("%s; it stays off until %s", error, until)
        return error
    return None
