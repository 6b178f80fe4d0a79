"""Runs rules for an event, and actions for what they select. Nothing in here waits, and nothing that goes wrong leaves
it: it is counted, told once in a while, and held against the rule when it was a crash."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

import trio

from trioemqx.config.rules import RuleEngineConfig
from trioemqx.errors import crash_of
from trioemqx.hooks import SLOW
from trioemqx.metrics import Metrics
from trioemqx.rules.entries import EventEnv, RuleEntry
from trioemqx.rules.eventcolumns import EventColumns
from trioemqx.rules.sql import EvalError
from trioemqx.rules.steps import Step
from trioemqx.services.alarms import Alarms
from trioemqx.services.rulekit import ActionFailed, Output

log = logging.getLogger("trioemqx.rules")

About = tuple[Output, EventEnv]
"""What an action works on."""

AT_ONCE: Final = 200
"""Results of a FOREACH that are acted on in the flow that raised the event; the others follow in slices."""
MAX_LATER: Final = 200_000
"""What may wait to be done later; beyond that it has failed."""
WINDOW: Final = 60.0
"""Seconds in which `rule_engine.max_crashes` crashes switch a rule off."""
LOST: Final = "rules.lost"
"""The counter of what was not done because too much had been put off already."""
SLOW_ALARM: Final = "rule_slow"
DISABLED_ALARM: Final = "rule_disabled"


class RunningHost(Protocol):
    """What running rules needs of the rule engine."""

    alarms: Alarms
    metrics: Metrics

    @property
    def settings(self) -> RuleEngineConfig:
        """`[rule_engine]`"""

    def switch_off(self, entry: RuleEntry, reason: str) -> None:
        """A rule crashes too often."""


class Runner:
    """Runs rules. `work` is the task that does what had to be put off."""

    def __init__(self, host: RunningHost) -> None:
        self._host = host
        self._later: deque[Callable[[], None]] = deque()
        self._parked = trio.lowlevel.ParkingLot()

    def run(self, entries: Iterable[RuleEntry], columns: EventColumns) -> None:
        """Offer an event to rules, one after the other."""
        clock = time.perf_counter
        began = clock()
        for entry in entries:
            if entry.active:
                self._run_one(entry, columns)
                now = clock()
                if now - began > SLOW:
                    self._slow(entry, now - began)
                began = now

    def _run_one(self, entry: RuleEntry, columns: EventColumns) -> None:
        metrics = entry.metrics
        metrics.matched += 1
        program = entry.program
        try:
            found = program.run(columns)  # type: ignore[union-attr]
        except EvalError as error:
            metrics.exception += 1
            self._tell(entry, error)
            return
        except BaseException as caught:  # of a plugin's function
            crash = crash_of(caught)
            metrics.exception += 1
            self._crashed(entry, "its SQL", crash)
            return
        if not found and (found is None or isinstance(found, list)):
            metrics.no_result += 1
            return
        metrics.passed += 1
        env = EventEnv(entry.record.id, columns)
        if isinstance(found, list):
            self._act_on_all(entry, found, env)
        else:
            self.act(entry, found, env)

    def _act_on_all(self, entry: RuleEntry, outputs: list[Any], env: EventEnv) -> None:
        for output in outputs[:AT_ONCE]:
            self.act(entry, output, env)
        for at in range(AT_ONCE, len(outputs), AT_ONCE):
            self.later(partial(self._act_on_some, entry, outputs[at : at + AT_ONCE], env))

    def _act_on_some(self, entry: RuleEntry, outputs: list[Any], env: EventEnv) -> None:
        for output in outputs:
            if entry.active:
                self.act(entry, output, env)

    # -- actions -----------------------------------------------------------------------------------------------------

    def act(self, entry: RuleEntry, output: Output, env: EventEnv, first: int = 0) -> None:
        """Do the actions of a rule, from one on, for one result."""
        steps = entry.steps
        for place in range(first, len(steps)):
            step = steps[place]
            if step.queue is not None:
                self._enqueue(entry, step, output, env, place + 1 if entry.stop else 0)
                if entry.stop:
                    return
            elif not self._do(entry, step, output, env) and entry.stop:
                entry.metrics.exception += 1
                return

    def _do(self, entry: RuleEntry, step: Step, output: Output, env: EventEnv) -> bool:
        """An action that needs not wait. False when it has failed; its fallbacks have been run then."""
        step.metrics.taken += 1
        try:
            step.action.run(output, env)  # type: ignore[union-attr]
        except BaseException as caught:
            error = crash_of(caught)
            self._failed(entry, step, error, (output, env))
            return False
        step.metrics.success += 1
        return True

    def _enqueue(self, entry: RuleEntry, step: Step, output: Output, env: EventEnv, then: int) -> None:
        """An action that has to wait: its workers do it. With `then` above 0 the actions from there on come after it,
        unless it fails."""
        step.metrics.taken += 1
        try:
            item = step.action.prepare(output, env)  # type: ignore[union-attr]
        except BaseException as caught:
            error = crash_of(caught)
            self._settled(entry, step, (output, env), then, error)
            return
        queue: Any = step.queue
        if step.fallbacks or then:
            message = env.message
            size = len(message.payload) if message is not None else 0
            queue.put(item, partial(self._settled, entry, step, (output, env), then), size)
        else:  # nobody needs the event any more, and it may be large
            queue.put(item, partial(self._settled, entry, step, None, 0))

    def _settled(
        self, entry: RuleEntry, step: Step, about: About | None, then: int, error: BaseException | None
    ) -> None:
        """What came of a queued action."""
        if error is None:
            step.metrics.success += 1
            if then and about is not None:
                self.act(entry, *about, then)
            return
        self._failed(entry, step, error, about)
        if then:
            entry.metrics.exception += 1

    def _failed(self, entry: RuleEntry, step: Step, error: BaseException, about: About | None) -> None:
        """An action has failed: its fallbacks are next."""
        step.metrics.failed += 1
        if isinstance(error, ActionFailed | EvalError):
            self._tell(entry, error, step.id)
        else:
            self._crashed(entry, step.id, error)
        if about is None:
            return
        for fallback in step.fallbacks:
            if fallback.queue is not None:
                self._enqueue(entry, fallback, *about, 0)
            else:
                self._do(entry, fallback, *about)

    # -- later -------------------------------------------------------------------------------------------------------

    def later(self, call: Callable[[], None]) -> None:
        """Do something when whoever is at work now has ended."""
        if len(self._later) >= MAX_LATER:
            self._host.metrics.inc(LOST, 1)
            return
        self._later.append(call)
        self._parked.unpark()

    async def work(self) -> None:
        """Do what was put off, a slice at a time, for ever."""
        while True:
            while not self._later:
                await self._parked.park()
            try:
                self._later.popleft()()
            except Exception as error:
                self._host.metrics.hook_crashed += 1
                log.error("something that rules had put off crashed", exc_info=error)
            await trio.lowlevel.checkpoint()

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def _tell(self, entry: RuleEntry, error: BaseException, step: str = "") -> None:
        """Something did not work for an event: a line for the first time since the last sample. Anybody who may publish
        can cause this, so nothing but the line comes of it."""
        entry.problem = f"{step}: {error}" if step else str(error)
        if not entry.told:
            entry.told = True
            log.warning("rule %s failed: %.500s", entry.id, entry.problem)

    def _crashed(self, entry: RuleEntry, what: str, error: BaseException) -> None:
        """A bug: counted and held against the rule."""
        self._host.metrics.hook_crashed += 1
        if not entry.told:
            entry.told = True
            log.error("rule %s: %s crashed", entry.id, what, exc_info=error)
        entry.problem = f"{what}: {type(error).__name__}: {error}"
        now = trio.current_time()
        crashes = entry.crashes
        crashes.append(now)
        while now - crashes[0] > WINDOW:
            crashes.popleft()
        if len(crashes) >= self._host.settings.max_crashes and entry.active:
            crashes.clear()
            self._host.switch_off(entry, f"crashed too often, the last time in {entry.problem:.200}")

    def _slow(self, entry: RuleEntry, seconds: float) -> None:
        """A rule held the event loop."""
        if not entry.slow:
            entry.slow = True
            milliseconds = round(seconds * 1000)
            self._host.alarms.activate(f"{SLOW_ALARM}/{entry.id}", {"rule": entry.id, "milliseconds": milliseconds})
            log.warning("rule %s held the event loop for %d ms", entry.id, milliseconds)
