"""The services of a node: a branch of its tree, in which one that crashes disturbs no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import trio

from trioemqx.services.supervise import GaveUp, supervise

if TYPE_CHECKING:
    from trioemqx.metrics import Metrics
    from trioemqx.services.alarms import Alarms

Run = Callable[[], Awaitable[object]]


class Services:
    """Services by name, each supervised. While one is crashing the alarm `<service>_crashed` is raised; `gave_up` is
    told of one that crashed too often and stays off."""

    def __init__(self, alarms: Alarms, metrics: Metrics, gave_up: Callable[[str, GaveUp], object]) -> None:
        self.nursery: trio.Nursery | None = None
        """Where they run; None before the start."""
        self._alarms = alarms
        self._metrics = metrics
        self._gave_up = gave_up
        self._runs: dict[str, Run] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    def start(self, nursery: trio.Nursery, runs: Mapping[str, Run]) -> None:
        """Start them all."""
        self.nursery = nursery
        self._runs = dict(runs)
        for name in runs:
            self._start(nursery, name)

    def restart(self, name: str) -> None:
        """End a service and start it anew, so that it sees its new settings; one that gave up gets another chance.
        Before the start there is nothing to do."""
        if self.nursery is not None and name in self._scopes:
            self._scopes[name].cancel()
            self._start(self.nursery, name)

    def _start(self, nursery: trio.Nursery, name: str) -> None:
        nursery.start_soon(self._service, name, name=f"service {name}")  # what a log calls a task that holds the loop

    async def _service(self, name: str) -> None:
        """Until it returns, or gives up: then its alarm stays."""
        with trio.CancelScope() as self._scopes[name]:
            try:
                await self.supervised(name, self._runs[name])
            except GaveUp as error:
                self._gave_up(name, error)

    async def supervised(self, name: str, run: Run) -> None:
        """Run until it returns, also through crashes. Raises GaveUp."""
        await supervise(name, run, metrics=self._metrics, on_crash=self.crashed, on_recovered=self._recovered)

    def crashed(self, name: str, error: BaseException) -> None:
        """Raise the alarm of a service."""
        self._alarms.activate(f"{name}_crashed", {"error": f"{type(error).__name__}: {error}"})

    def _recovered(self, name: str) -> None:
        if self._alarms.is_active(f"{name}_crashed"):
            self._alarms.deactivate(f"{name}_crashed")
