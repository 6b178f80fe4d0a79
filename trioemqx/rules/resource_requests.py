"""What somebody asks of resources: read from a request, and checked before anything is changed."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Protocol

from trioemqx.rules import links
from trioemqx.rules.errors import already_exists, bad_arguments, required
from trioemqx.rules.params import validated
from trioemqx.rules.records import ResourceRecord, checked_id, checked_text, new_id
from trioemqx.rules.terms import term
from trioemqx.services.rulekit import ResourceType


class TypesHost(Protocol):
    """What is needed of the rule engine."""

    resource_types: dict[str, ResourceType]

    def wall(self) -> float:
        """Unix seconds."""


def record(
    host: TypesHost, kind: object, config: object, description: object, chosen: object, taken: Container[str]
) -> ResourceRecord:
    """A new resource, under the identifier that was `chosen` or a new one, and none that is `taken`. Raises
    RuleError."""
    chosen_id = None if chosen is None else checked_id(chosen)
    found = type_of(host, kind)
    if chosen_id is not None and chosen_id in taken:
        raise already_exists()
    checked = settings(found, config)
    text = checked_text(description, "description")
    return ResourceRecord(chosen_id or new_id("resource"), found.name, checked, text, int(host.wall() * 1_000_000))


def type_of(host: TypesHost, kind: object) -> ResourceType:
    """A resource type by its name. Raises RuleError."""
    if kind is None:
        raise required("type")
    found = host.resource_types.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise bad_arguments(f"{{resource_type_not_found,{term(kind)}}}")
    return found


def settings(kind: ResourceType, config: object) -> dict[str, Any]:
    """A configuration with all defaults. Raises RuleError also for one that its type does not take."""
    checked = validated(config, kind.params)
    links.check(kind, checked)
    return checked
