"""When a rule works: it is in the table that events are looked up in, and its actions have what they need.

A rule is *active* while it sees events. One that should be and cannot (a resource has no connection, the plugin of an
action is not loaded) is *waiting*, and is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from trioemqx.rules import requests
from trioemqx.rules.branches import Branches
from trioemqx.rules.entries import RuleEntry
from trioemqx.rules.errors import RuleError
from trioemqx.rules.guarded import GuardHost
from trioemqx.rules.lookup import Lookup
from trioemqx.rules.records import RuleRecord
from trioemqx.rules.requests import RequestHost
from trioemqx.rules.running import DISABLED_ALARM, SLOW_ALARM
from trioemqx.rules.sql import Rule
from trioemqx.rules.steps import Step, inherit, make_steps


class ActivationHost(RequestHost, GuardHost, Protocol):
    """What activating needs of the rule engine."""

    def rules_changed(self) -> None:
        """Other rules are active than before."""


class Activation:
    """`events` are the topics of all events."""

    def __init__(self, host: ActivationHost, events: Iterable[str]) -> None:
        self._host = host
        self.branches = Branches(host)
        self.lookup: Lookup[RuleEntry] = Lookup(events)
        self.owning = 0
        """How many active rules keep something for the clients that they see."""

    def activate(self, entry: RuleEntry) -> None:
        """Let a rule work. Raises RuleError; it does not work then."""
        if entry.program is None:
            entry.take(entry.record, requests.program(self._host, entry.record))
        steps = make_steps(self._host, entry.record.actions)
        inherit(steps, entry.steps)
        entry.steps = steps
        self._enter(entry, renewed=True)

    def deactivate(self, entry: RuleEntry) -> None:
        """Take a rule out of work; its actions end."""
        if entry.active:
            self._leave(entry)
            self.branches.stop(entry.steps)

    def change(
        self, entry: RuleEntry, record: RuleRecord, program: Rule | None, steps: list[Step], works: bool
    ) -> None:
        """Change a rule: nothing can fail in here, and nothing waits. `steps` are its own, or new ones."""
        before, was_active = entry.steps, entry.active
        self._leave(entry)
        entry.take(record, program)
        entry.steps = steps
        entry.waiting = entry.waiting and record.enabled and not works
        if steps is not before:
            inherit(steps, before)
        if works:
            self._enter(entry, renewed=not was_active)
        if was_active and (not works or steps is not before):
            self.branches.stop(before)

    def renew(self, entry: RuleEntry) -> None:
        """Make the actions of a rule anew, as what they are made of has changed. It waits when that cannot be."""
        self.deactivate(entry)
        try:
            self.activate(entry)
        except RuleError as error:
            entry.waiting, entry.problem = True, error.reason

    def recompile(self, entry: RuleEntry) -> None:
        """Read the SQL of a rule again, as functions have changed."""
        works = entry.active
        self._leave(entry)
        try:
            entry.take(entry.record, requests.program(self._host, entry.record))
        except RuleError as error:
            self.branches.stop(entry.steps)
            entry.waiting, entry.problem = True, error.reason
            return
        if works:
            self._enter(entry, renewed=False)

    def suspend(self, entries: Iterable[RuleEntry]) -> None:
        """Rules wait for what they have lost."""
        for entry in entries:
            if entry.active:
                self.deactivate(entry)
                entry.waiting = True

    def revive(self, entries: Iterable[RuleEntry], chosen: Callable[[RuleEntry], bool] = lambda entry: True) -> None:
        """Try those that wait."""
        for entry in entries:
            if entry.waiting and chosen(entry):
                self.renew(entry)

    def clear_alarms(self, entry: RuleEntry) -> None:
        """A new beginning, or the end."""
        entry.slow = False
        self._host.alarms.deactivate(f"{SLOW_ALARM}/{entry.id}")
        self._host.alarms.deactivate(f"{DISABLED_ALARM}/{entry.id}")

    def _enter(self, entry: RuleEntry, renewed: bool) -> None:
        entry.active, entry.waiting = True, False
        if renewed:
            entry.metrics.restart_speed()
            entry.crashes.clear()
            entry.problem = ""
            self.clear_alarms(entry)
        self.owning += entry.owns
        self.lookup.add(entry, entry.topics, entry.place)
        self.branches.start(entry.steps)
        self._host.rules_changed()

    def _leave(self, entry: RuleEntry) -> None:
        if entry.active:
            entry.active = False
            self.owning -= entry.owns
            self.lookup.remove(entry, entry.topics)
            self._host.rules_changed()
