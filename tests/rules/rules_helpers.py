"""What the tests of the rule engine have in common: rules in a line, and actions that remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trioemqx.rules.entries import RuleEntry
from trioemqx.services.rulekit import ActionSetup, ActionType, DirectAction, QueuedAction, RuleEvent
from trioemqx.testing import TestBroker

NOTHING = {"name": "do_nothing"}


class Recorder:
    """An action `record` that keeps the outputs it gets; `failure`, when set, is raised instead."""

    def __init__(self, broker: TestBroker, name: str = "record") -> None:
        self.outputs: list[Any] = []
        self.events: list[RuleEvent] = []
        self.failure: BaseException | None = None
        recorder = self

        class Record(DirectAction):
            def __init__(self, setup: ActionSetup) -> None:
                self.setup = setup

            def run(self, output: Mapping[str, Any], event: RuleEvent) -> None:
                if recorder.failure is not None:
                    raise recorder.failure
                recorder.outputs.append(dict(output))
                recorder.events.append(event)

        self.remove = broker.node.rules.additions.add_action(ActionType(name, Record))


class Slow(QueuedAction):
    """An action that has to wait: what `delivers` does, an async function of the items."""

    def __init__(self, delivers: Callable[[Sequence[Any]], Any], **settings: Any) -> None:
        self.delivers = delivers
        for name, value in settings.items():
            setattr(self, name, value)

    def prepare(self, output: Mapping[str, Any], event: RuleEvent) -> Any:
        return dict(output)

    def weigh(self, item: Any) -> int:
        return len(str(item.get("payload", "")))

    def key(self, item: Any) -> str:
        return str(item.get("clientid", ""))

    async def deliver(self, items: Sequence[Any]) -> None:
        await self.delivers(items)


def add_slow(broker: TestBroker, delivers: Callable[[Sequence[Any]], Any], name: str = "slow", **settings: Any) -> None:
    """Have an action that waits."""
    broker.node.rules.additions.add_action(ActionType(name, lambda setup: Slow(delivers, **settings)))


async def rule(broker: TestBroker, sql: str, *actions: Any, **more: Any) -> RuleEntry:
    """Make a rule; an action may be a name."""
    made = [{"name": action} if isinstance(action, str) else action for action in actions]
    return await broker.node.rules.create({"rawsql": sql, "actions": made, **more})


def counts(entry: RuleEntry) -> dict[str, object]:
    """The counters of a rule that are not 0."""
    row = entry.metrics.row("")
    return {name: row[name] for name in ("matched", "passed", "no_result", "exception") if row[name]}


def action_counts(entry: RuleEntry, *at: int) -> dict[str, int]:
    """The counters of an action that are not 0; `at` leads to it, through fallbacks."""
    steps = entry.steps
    for place in at or (0,):
        step = steps[place]
        steps = step.fallbacks
    metrics = step.metrics
    names = ("taken", "success", "failed", "dropped")
    return {name: getattr(metrics, name) for name in names if getattr(metrics, name)}


def listening(broker: TestBroker) -> list[str]:
    """The hook points that the rule engine listens to."""
    return [point for point, chain in broker.node.hooks.describe() if "emqx_rule_engine" in dict(chain)]
