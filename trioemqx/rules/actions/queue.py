"""Workers for one action of a rule that has to wait for somebody. Whatever happens to it, no publisher waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs
import trio

from trioemqx.services.lanes import Budget, Lanes, Waiting
from trioemqx.services.rulekit import ActionFailed, QueuedAction, TryAgain

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries of a worker; each pause is twice the one before."""
FULL: Final = "dropped: the queue of the action is full"
ENDED: Final = "dropped: the action has ended"

Settle = Callable[[Exception | None], None]
"""Told what came of an item: None for success, ActionFailed, or another exception, which is a crash."""
Defer = Callable[[Callable[[], None]], None]
"""Has something called later, when whoever is at work now has ended."""


@attrs.frozen(eq=False)
class Job:
    """An item, and whom to tell."""

    item: Any
    settle: Settle


class ActionQueue:
    """The items of one action. `run` owns the workers; a lane gets one with its first item.

    `on_drop` is called for everything that there is no room for. That it has failed is told through `defer`: a fallback
    may publish something that ends here again.
    """

    def __init__(self, action: QueuedAction, budget: Budget, on_drop: Callable[[], None], defer: Defer) -> None:
        self.action = action
        self._on_drop = on_drop
        self._defer = defer
        self._lanes: Lanes[Job] = Lanes(
            max(1, action.lanes), max(1, action.size), action.max_bytes, self._dropped, budget
        )
        self._nursery: trio.Nursery | None = None
        self._working: set[int] = set()
        self._ending = False

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._lanes)

    def put(self, item: Any, settle: Settle, more: int = 0) -> None:
        """Add an item, without waiting. `more` is how many bytes are kept because of it, beside its own."""
        action = self.action
        if self._ending:
            settle(ActionFailed(ENDED))
            return
        lane = self._lanes.put(Job(item, settle), action.weigh(item) + more, action.key(item))
        if self._nursery is not None and lane not in self._working:
            self._start(self._nursery, lane)

    def _start(self, nursery: trio.Nursery, lane: int) -> None:
        self._working.add(lane)
        nursery.start_soon(self._work, lane)

    def _dropped(self, job: Job, reason: str = FULL) -> None:
        self._on_drop()
        self._defer(partial(job.settle, ActionFailed(reason)))

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The workers, until cancelled."""
        self._lanes.give_back()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for lane in {waiting.lane for waiting in self._lanes.everything()}:
                    self._start(nursery, lane)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._working.clear()

    async def drain(self, seconds: float) -> None:
        """Take nothing more; wait until everything is done, at most so long. What is left has failed."""
        self._ending = True
        with trio.move_on_after(seconds):
            await self._lanes.empty()

    def close(self) -> None:
        """The workers have ended: what they leave has failed."""
        self._ending = True
        self._lanes.give_back()
        for job in self._lanes.clear():
            self._dropped(job, ENDED)

    # -- working -----------------------------------------------------------------------------------------------------

    async def _work(self, lane: int) -> None:
        """Do the items of a lane, one batch after the other."""
        pause = FIRST_PAUSE
        while True:
            batch = await self._lanes.take(lane, max(1, self.action.batch))
            while True:
                failure = await self._deliver(batch)
                if not isinstance(failure, TryAgain):
                    pause = FIRST_PAUSE
                    break
                if self._ending or self._too_old(batch):
                    break
                await trio.sleep(pause * random.uniform(0.75, 1.25))
                pause = min(2 * pause, LONGEST_PAUSE)
            self._lanes.done(lane)
            for waiting in batch:
                waiting.value.settle(failure)

    def _too_old(self, batch: list[Waiting[Job]]) -> bool:
        return trio.current_time() - batch[0].born >= self.action.retry_for

    async def _deliver(self, batch: list[Waiting[Job]]) -> Exception | None:
        """One try: None when it is done, else what it raised."""
        try:
            await self.action.deliver([waiting.value.item for waiting in batch])
        except Exception as error:
            found = error
            while isinstance(found, ExceptionGroup) and len(found.exceptions) == 1:
                found = found.exceptions[0]
            return found
        return None
