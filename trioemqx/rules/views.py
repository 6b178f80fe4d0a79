"""Rules, actions and resources as the HTTP API and `ctl --json` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.rules.params import described
from trioemqx.rules.steps import step_row

if TYPE_CHECKING:
    from trioemqx.rules.entries import RuleEntry
    from trioemqx.rules.resource_entries import ResourceEntry
    from trioemqx.services.rulekit import ActionType, ResourceType


def rule_row(entry: RuleEntry, node: str) -> dict[str, object]:
    """A rule with its counters on this node."""
    record = entry.record
    steps = entry.steps if entry.active else [None] * len(record.actions)
    return {
        "id": record.id,
        "rawsql": record.rawsql,
        "for": list(entry.topics),
        "enabled": entry.active,
        "description": record.description,
        "on_action_failed": record.on_action_failed,
        "created_at": record.created_at,
        "metrics": [entry.metrics.row(node)],
        "actions": [step_row(action, step, node) for action, step in zip(record.actions, steps, strict=True)],
    }


def action_row(kind: ActionType) -> dict[str, object]:
    """An action that rules can have."""
    return {
        "name": kind.name,
        "category": kind.category,
        "app": kind.app,
        "for": kind.for_,
        "types": list(kind.types),
        "params": described(kind.params),
        "title": kind.title.as_dict(),
        "description": kind.description.as_dict(),
    }


def type_row(kind: ResourceType) -> dict[str, object]:
    """A resource type."""
    return {
        "name": kind.name,
        "provider": kind.provider,
        "params": described(kind.params),
        "title": kind.title.as_dict(),
        "description": kind.description.as_dict(),
    }


def resource_row(entry: ResourceEntry) -> dict[str, object]:
    """A resource without its state."""
    record = entry.record
    return {
        "id": record.id,
        "type": record.type,
        "config": dict(record.config),
        "description": record.description,
    }


def resource_with_status(entry: ResourceEntry, node: str) -> dict[str, object]:
    """A resource, and whether it was up when it was last looked at."""
    return {**resource_row(entry), "status": [{"node": node, "is_alive": entry.alive}]}
