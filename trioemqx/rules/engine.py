"""The rule engine of one node: rules, the actions and resources they use, and what plugins bring to them.

Rules, and the resources before them, outlive the process. Everything that changes something checks all of it before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from trioemqx.rules import requests, trying
from trioemqx.rules.activation import Activation
from trioemqx.rules.additions import Additions
from trioemqx.rules.catalogue import actions_of, types_of
from trioemqx.rules.entries import RuleEntry
from trioemqx.rules.errors import RuleError, already_exists, bad_arguments, no_rule, required
from trioemqx.rules.events import EVENTS
from trioemqx.rules.hooks import RuleHooks
from trioemqx.rules.metrics import SAMPLE_SECONDS
from trioemqx.rules.records import Records, RuleRecord, new_id
from trioemqx.rules.resources import Resources
from trioemqx.rules.running import DISABLED_ALARM, Runner
from trioemqx.rules.sql import Environment, compile_rule, standard_functions
from trioemqx.rules.steps import NotReady, all_steps, check_actions, make_steps
from trioemqx.rules.transfer import Transfer
from trioemqx.services.lanes import Budget
from trioemqx.services.rulekit import ActionFailed, ActionType, Resource, ResourceType
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.config.model import Config
    from trioemqx.config.rules import RuleEngineConfig
    from trioemqx.core.broker import Broker
    from trioemqx.services.alarms import Alarms
    from trioemqx.services.plugins.registry import HookRegistry
    from trioemqx.services.store.protocol import Store

log = logging.getLogger("trioemqx.rules")

REVIVE_SECONDS: Final = 20.0
"""Between two tries to activate rules that wait."""
MAX_DESCENDANTS: Final = 100
"""Messages that rules may make of one that a rule has made."""
ANY_RULE: Final = 'SELECT 1 AS x FROM "t"'


class EngineHost(Protocol):
    """What the rule engine needs of the node."""

    broker: Broker
    alarms: Alarms
    store: Store
    hooks: HookRegistry
    config: Config
    data_dir: Path

    def wall(self) -> float:
        """Unix seconds."""


class RuleEngine:
    """`load` reads what is stored, `run` is its branch of the nursery tree, `drain` comes before its end."""

    def __init__(self, host: EngineHost) -> None:
        self.host = host
        self.alarms = host.alarms
        self.metrics = host.broker.metrics
        self.data_dir = host.data_dir
        self.budget = Budget(host.config.rule_engine.queue_bytes)
        self.action_types: dict[str, ActionType] = actions_of(self)
        self.resource_types: dict[str, ResourceType] = types_of(self)
        self.environment = Environment(now_ns=lambda: int(host.wall() * 1e9))
        self.functions = standard_functions(self.environment)
        self.runner = Runner(self)
        self.records = Records(host.store)
        self.resources = Resources(self, self.records)
        self.activation = Activation(self, (event.topic for event in EVENTS if not event.is_message))
        self.hooks = RuleHooks(self)
        self.transfer = Transfer(self)
        self.additions = Additions(self)
        self._entries: dict[str, RuleEntry] = {}
        self._places = 0
        self.on = True
        """False while the engine is switched off: no rule sees anything."""
        self._readable = False
        self._publishing = 0
        """How many calls of `publish` are under way, one within the other."""
        self._descendants = 0

    # -- what its parts ask ------------------------------------------------------------------------------------------

    @property
    def settings(self) -> RuleEngineConfig:
        """`[rule_engine]`"""
        return self.host.config.rule_engine

    @property
    def node(self) -> str:
        """`name@host`"""
        return self.host.broker.node

    def wall(self) -> float:
        """Unix seconds."""
        return self.host.wall()

    def publish(self, message: Message) -> int:
        """Publish a message of a rule. What rules make of it, and of that, is published within this call, and ends
        somewhere: several actions in each of several rounds are more than any broker can do. Raises ActionFailed beyond
        `MAX_DESCENDANTS`."""
        if self._publishing == 0:
            self._descendants = 0
        elif self._descendants >= MAX_DESCENDANTS:
            raise ActionFailed(f"recursively_republish: {MAX_DESCENDANTS} messages come from one already")
        else:
            self._descendants += 1
        self._publishing += 1
        try:
            return self.host.broker.publish(message)
        finally:
            self._publishing -= 1

    def defer(self, call: Callable[[], None]) -> None:
        """Have something done when whoever is at work now has ended."""
        self.runner.later(call)

    def resource_link(self, resource_id: str) -> Resource | None:
        """The connection of a resource; None while it has never had one."""
        return self.resources.link(resource_id)

    def resource_type(self, resource_id: str) -> str | None:
        """The type of a resource; None when there is no such resource."""
        entry = self.resources.find(resource_id)
        return None if entry is None else entry.record.type

    def users_of(self, resource_id: str) -> list[str]:
        """The active rules that use a resource."""
        return [entry.id for entry in self._entries.values() if entry.active and entry.uses(resource_id)]

    def resource_up(self, resource_id: str) -> None:
        """A resource has another connection than before: actions are made anew for it."""
        for entry in self.entries():
            if (entry.active or entry.waiting) and entry.uses(resource_id):
                self.activation.renew(entry)

    def rules_changed(self) -> None:
        """Other rules are active than before: so are other hooks."""
        self.hooks.refresh()

    def switch_off(self, entry: RuleEntry, reason: str) -> None:
        """A rule crashes too often: it stays off until somebody enables it."""
        log.critical("rule %s is switched off: %s", entry.id, reason)
        self.activation.deactivate(entry)
        entry.problem = reason
        self.alarms.activate(f"{DISABLED_ALARM}/{entry.id}", {"rule": entry.id, "reason": reason})

    # -- what people ask ---------------------------------------------------------------------------------------------

    def entries(self) -> list[RuleEntry]:
        """Every rule, in the order in which they were made."""
        return list(self._entries.values())

    def find(self, rule_id: str) -> RuleEntry | None:
        """One rule."""
        return self._entries.get(rule_id)

    async def test(self, rawsql: object, columns: object) -> object:
        """What a rule selects from columns that somebody has made up, as JSON. Raises RuleError."""
        await self._ready_to_read()
        return trying.tried(self, rawsql, columns)

    async def _ready_to_read(self) -> None:
        """Making the parser takes a tenth of a second, which nobody should wait for but who needs it."""
        if self._readable:
            await trio.lowlevel.checkpoint()
        else:
            await trio.to_thread.run_sync(compile_rule, ANY_RULE, self.functions)
            self._readable = True

    async def create(self, asked: Mapping[str, Any]) -> RuleEntry:
        """Make a rule of `rawsql`, `actions` and, where they are given, `id`, `description`, `enabled` and
        `on_action_failed`. It is not enabled while a resource it uses has no connection. Raises RuleError and
        StoreError."""
        await self._ready_to_read()
        requests.check(asked)
        if asked.get("id") in self._entries:
            raise already_exists()
        for name in ("rawsql", "actions"):
            if name not in asked:
                raise required(name)
        if len(self._entries) >= requests.MAX_RULES:
            raise bad_arguments(f"{{too_many_rules,{requests.MAX_RULES}}}")
        rule_id = asked.get("id") or new_id("rule")
        entry = self._made(requests.record(self, rule_id, asked))
        self._entries[rule_id] = entry
        await self.records.keep(entry.record).wait()
        return entry

    def _made(self, record: RuleRecord) -> RuleEntry:
        """A rule, active if it is to be and can be. Raises RuleError, and leaves nothing then."""
        self._places += 1
        entry = RuleEntry(record, requests.program(self, record), self._places)
        if not record.enabled:
            check_actions(self, record.actions)
            return entry
        try:
            self.activation.activate(entry)
        except NotReady as error:
            entry.record = attrs.evolve(record, enabled=False)
            entry.problem = error.reason
        return entry

    async def update(self, rule_id: str, asked: Mapping[str, Any]) -> RuleEntry:
        """Change what is given: all of it, or nothing. Raises RuleError and StoreError."""
        await self._ready_to_read()
        requests.check(asked)
        entry = self._entries.get(rule_id)
        if entry is None:
            raise no_rule(rule_id)
        record = requests.changed(self, entry.record, asked)
        program = requests.program(self, record) if "rawsql" in asked else entry.program
        works = entry.active if "enabled" not in asked else record.enabled
        steps = entry.steps
        if works and not (entry.active and record.actions is entry.record.actions):
            steps = make_steps(self, record.actions)
        elif not works:
            check_actions(self, record.actions)
        self.activation.change(entry, record, program, steps, works)
        if entry.waiting:
            self.activation.renew(entry)
        await self.records.keep(record).wait()
        return entry

    async def delete(self, rule_id: str) -> None:
        """Forget a rule; nothing happens when there is none. Raises StoreError."""
        entry = self._entries.pop(rule_id, None)
        if entry is None:
            return
        self.activation.deactivate(entry)
        self.activation.clear_alarms(entry)
        await self.records.drop(entry.record).wait()

    def reset_metrics(self, rule_id: str) -> None:
        """Count from 0 again; nothing happens when there is no such rule."""
        entry = self._entries.get(rule_id)
        if entry is not None:
            entry.metrics.reset()
            for step in all_steps(entry.steps):
                step.metrics.reset()

    def switch(self, on: bool) -> None:
        """Switch the engine on or off. Rules and resources stay as they are; what waits for a server is still sent."""
        self.on = on
        self.hooks.refresh()

    def configure(self) -> None:
        """The settings have changed."""
        self.budget.limit = self.settings.queue_bytes
        self.hooks.refresh()

    # -- life --------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what an earlier run stored. Rules that need no resource are active when this returns."""
        await self.resources.load()
        found = [record async for record in self.records.rules()]
        for record in sorted(found, key=lambda record: (record.created_at, record.id)):
            self.restore(record)
            await trio.lowlevel.checkpoint()
        await self.transfer.take_left()
        self.hooks.refresh()

    def restore(self, record: RuleRecord) -> RuleEntry:
        """Enter a rule as it was stored or exported, in place of one of the same identifier; when it cannot work now it
        waits."""
        before = self._entries.pop(record.id, None)
        if before is not None:
            self.activation.deactivate(before)
            self.activation.clear_alarms(before)
        self._places += 1
        entry = self._entries[record.id] = RuleEntry(record, None, self._places)
        try:
            if record.enabled:
                self.activation.activate(entry)
            else:
                entry.take(record, requests.program(self, record))
        except RuleError as error:
            entry.waiting, entry.problem = record.enabled, error.reason
            if not isinstance(error, NotReady):
                log.warning("rule %s does not work: %s", record.id, error.reason)
        return entry

    async def run(self) -> None:
        """Everything that waits: resources, workers, samples, and rules that want to be active."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.activation.branches.run)
            nursery.start_soon(self.resources.run)
            nursery.start_soon(self.runner.work)
            nursery.start_soon(self._sample)
            while True:
                await trio.sleep(REVIVE_SECONDS)
                self.activation.revive(self.entries())

    async def drain(self) -> None:
        """The broker ends: workers may do what is left, for a while; connections are closed."""
        await self.activation.branches.drain()
        await self.resources.close()

    async def _sample(self) -> None:
        while True:
            await trio.sleep(SAMPLE_SECONDS)
            for number, entry in enumerate(self.entries(), 1):
                entry.told = False
                if entry.active:
                    entry.metrics.speed.sample(entry.metrics.matched)
                if number % 1000 == 0:
                    await trio.lowlevel.checkpoint()
