"""The actions of a rule that works: made of what was asked for, with their counters, queues and fallbacks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from trioemqx.rules.actions.queue import ActionQueue
from trioemqx.rules.errors import RuleError, bad_arguments, no_action, required
from trioemqx.rules.metrics import ActionMetrics
from trioemqx.rules.params import validated
from trioemqx.rules.records import ActionRecord
from trioemqx.rules.terms import term
from trioemqx.services.lanes import Budget
from trioemqx.services.rulekit import (
    RESOURCE,
    Action,
    ActionSetup,
    ActionType,
    ParamsRefused,
    QueuedAction,
    Resource,
)

log = logging.getLogger("trioemqx.rules")

MAX_ACTIONS: Final = 100
"""Of one rule, fallbacks included."""
MAX_DEPTH: Final = 8
"""Fallbacks of fallbacks."""


class StepHost(Protocol):
    """What making actions needs of the rule engine."""

    action_types: dict[str, ActionType]
    budget: Budget

    def defer(self, call: Callable[[], None]) -> None:
        """Have something done when whoever is at work now has ended."""

    def resource_link(self, resource_id: str) -> Resource | None:
        """The connection of a resource; None while it has never had one."""

    def resource_type(self, resource_id: str) -> str | None:
        """The type of a resource; None when there is no such resource."""


class NotReady(RuleError):
    """An action uses a resource that has no connection yet, or does not exist."""


class Step:
    """One action of a rule: what was asked for, what was made of it, and how often it did its work."""

    __slots__ = ("action", "fallbacks", "id", "metrics", "queue", "record", "resource_id")

    def __init__(self, record: ActionRecord, action: Action, metrics: ActionMetrics, fallbacks: list[Step]) -> None:
        self.id = record.id
        self.record = record
        self.metrics = metrics
        self.fallbacks = fallbacks
        self.action = action
        self.queue: ActionQueue | None = None
        self.resource_id: str = record.params.get(RESOURCE, "")


# -- what was asked for ------------------------------------------------------------------------------------------------


def read_actions(host: StepHost, asked: object, unknown: bool = False) -> tuple[ActionRecord, ...]:
    """The actions of a request: `[{"name", "params", "fallbacks"}]`. Raises RuleError; `unknown` says that it is not
    to be told apart from other mistakes when there is no action of a name."""
    check_shape(asked, 0)
    records = tuple(_read(host, row, unknown) for row in asked)  # type: ignore[attr-defined]
    if sum(1 for _ in walk(records)) > MAX_ACTIONS:
        raise bad_arguments(f"{{too_many_actions,{MAX_ACTIONS}}}")
    return records


def check_shape(asked: object, depth: int = 0) -> None:
    """Everything has the right form, before anything of it is looked up."""
    if not isinstance(asked, list) or len(asked) > MAX_ACTIONS:
        raise bad_arguments(f"{{invalid_actions,{term(asked)}}}")
    if depth > MAX_DEPTH:
        raise bad_arguments("{invalid_actions,nested_too_deep}")
    for row in asked:
        if not isinstance(row, Mapping):
            raise bad_arguments(f"{{invalid_actions,{term(row)}}}")
        if "name" not in row:
            raise required("name")
        if not isinstance(row["name"], str):
            raise bad_arguments(f"{{invalid_data_type,{{string,{term(row['name'])}}}}}")
        check_shape(row.get("fallbacks", []), depth + 1)


def _read(host: StepHost, row: Mapping[str, Any], unknown: bool) -> ActionRecord:
    name = row["name"]
    kind = host.action_types.get(name)
    if kind is None:
        raise bad_arguments(f"{{action_not_found,{name[:100]}}}") if unknown else no_action(name[:100])
    params = validated(row.get("params", row.get("args", {})), kind.params)
    fallbacks = tuple(_read(host, fallback, unknown) for fallback in row.get("fallbacks", []))
    return ActionRecord(new_action_id(name), name, params, fallbacks)


_last_id = 0


def new_action_id(name: str) -> str:
    """`inspect_1582434715354188116`: nanoseconds, never the same twice."""
    global _last_id
    _last_id = max(time.time_ns(), _last_id + 1)
    return f"{name}_{_last_id}"


def walk(records: Iterable[ActionRecord]) -> Iterator[ActionRecord]:
    """Every action, fallbacks included."""
    for record in records:
        yield record
        yield from walk(record.fallbacks)


def resources_of(records: Iterable[ActionRecord]) -> set[str]:
    """The identifiers of the resources that actions use."""
    return {str(record.params[RESOURCE]) for record in walk(records) if RESOURCE in record.params}


# -- what is made of it ------------------------------------------------------------------------------------------------


def make_steps(host: StepHost, records: Iterable[ActionRecord]) -> list[Step]:
    """Actions that can begin to work. Raises NotReady, or RuleError for parameters that do not fit together."""
    return [_made(host, record) for record in records]


def check_actions(host: StepHost, records: Iterable[ActionRecord]) -> None:
    """Raise RuleError for parameters that do not fit together, of actions that need no resource; nothing is kept."""
    for record in walk(records):
        kind = host.action_types.get(record.name)
        if kind is not None and not kind.types:
            _action(kind, record, None)


def _made(host: StepHost, record: ActionRecord) -> Step:
    kind = host.action_types.get(record.name)
    if kind is None:
        reason = f"{{action_not_found,{record.name[:100]}}}"
        raise NotReady(400, f"Bad Arguments: {reason}", reason)
    fallbacks = [_made(host, fallback) for fallback in record.fallbacks]
    step = Step(record, _action(kind, record, _link(host, kind, record)), ActionMetrics(), fallbacks)
    if isinstance(step.action, QueuedAction):
        step.queue = ActionQueue(step.action, host.budget, _count_drop(step.metrics), host.defer)
    return step


def _count_drop(metrics: ActionMetrics) -> Callable[[], None]:
    def count() -> None:
        metrics.dropped += 1

    return count


def _link(host: StepHost, kind: ActionType, record: ActionRecord) -> Resource | None:
    """The connection that an action works with. Raises NotReady."""
    if not kind.types:
        return None
    resource_id = str(record.params.get(RESOURCE, ""))
    found = host.resource_type(resource_id)
    if found is not None and found not in kind.types:
        raise bad_arguments(f"{{resource_type_mismatch,{term(found)},{term(list(kind.types))}}}")
    link = host.resource_link(resource_id)
    if link is None:
        reason = f"{{resource_not_initialized,{term(resource_id)}}}"
        raise NotReady(400, f"Bad Arguments: {reason}", reason)
    return link


def _action(kind: ActionType, record: ActionRecord, link: Resource | None) -> Action:
    try:
        return kind.make(ActionSetup(record.id, record.params, link))
    except ParamsRefused as error:
        raise bad_arguments(str(error)) from error
    except Exception as error:
        log.error("action %s crashed while it was made", record.name, exc_info=error)
        raise bad_arguments(f"{{init_action,{term(str(error))}}}") from error


def all_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step, fallbacks included."""
    for step in steps:
        yield step
        yield from all_steps(step.fallbacks)


def inherit(new: list[Step], old: list[Step]) -> None:
    """Counters of actions that were replaced go to those in the same places."""
    for after, before in zip(new, old, strict=False):
        for name in ("taken", "success", "failed", "dropped"):
            setattr(after.metrics, name, getattr(before.metrics, name))
        inherit(after.fallbacks, before.fallbacks)


def step_row(record: ActionRecord, step: Step | None, node: str) -> dict[str, object]:
    """An action as the HTTP API has it; one that does not work has counted nothing."""
    metrics = step.metrics if step is not None else ActionMetrics()
    below: list[Step | None] = list(step.fallbacks) if step is not None else [None] * len(record.fallbacks)
    return {
        "id": record.id,
        "name": record.name,
        "params": dict(record.params),
        "metrics": [metrics.row(node)],
        "fallbacks": [step_row(*pair, node) for pair in zip(record.fallbacks, below, strict=True)],
    }
