"""The workers of actions that have to wait: a branch of the nursery tree for each such action of an active rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from trioemqx.rules.guarded import GuardHost, guarded
from trioemqx.rules.steps import Step, all_steps

DRAIN_SECONDS: Final = 5.0
"""What the workers of an action that is no longer needed have left to do their work."""


class Branches:
    """The tasks of queues. Between `run`s, queues only fill."""

    def __init__(self, host: GuardHost) -> None:
        self._host = host
        self._nursery: trio.Nursery | None = None
        self._scopes: dict[Step, trio.CancelScope] = {}
        self._steps: dict[Step, None] = {}

    async def run(self) -> None:
        """Own the tasks, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for step in list(self._steps):
                    self._begin(step)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._scopes.clear()

    def start(self, steps: Iterable[Step]) -> None:
        """Let the queues of actions be worked on."""
        for step in all_steps(steps):
            if step.queue is not None and step not in self._steps:
                self._steps[step] = None
                self._begin(step)

    def stop(self, steps: Iterable[Step]) -> None:
        """Let go of actions; what waits for them may still be done, for a while."""
        for step in all_steps(steps):
            if self._steps.pop(step, step) is None and step.queue is not None:
                if self._nursery is not None:
                    self._nursery.start_soon(self._retire, step)
                else:
                    step.queue.close()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """The broker ends: wait until everything is done, at most so long."""
        async with trio.open_nursery() as nursery:
            for step in list(self._steps):
                if step.queue is not None:
                    nursery.start_soon(step.queue.drain, seconds)

    def waiting(self) -> int:
        """How many items wait, of all actions."""
        return sum(len(step.queue) for step in self._steps if step.queue is not None)

    def _begin(self, step: Step) -> None:
        if self._nursery is not None:
            scope = self._scopes[step] = trio.CancelScope()
            self._nursery.start_soon(self._work, step, scope, name=f"rule action {step.id}")

    async def _retire(self, step: Step) -> None:
        queue = step.queue
        if queue is None:
            return
        await queue.drain(DRAIN_SECONDS)
        scope = self._scopes.pop(step, None)
        if scope is not None:
            scope.cancel()
        queue.close()

    async def _work(self, step: Step, scope: trio.CancelScope) -> None:
        queue = step.queue
        if queue is None:
            return
        alarm = f"rule_action_crashed/{step.id}"
        with scope:
            await guarded(self._host, f"rule action {step.id}", alarm, queue.run, "its rule is enabled again")
