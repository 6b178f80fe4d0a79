"""One resource of a running broker: what was asked for, its connection, how it goes, and what it needs around it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import attrs
import trio

from trioemqx.metrics import Metrics
from trioemqx.rules.records import ResourceRecord
from trioemqx.services.alarms import Alarms
from trioemqx.services.rulekit import Resource, ResourceType


@attrs.define(eq=False)
class ResourceEntry:
    """One resource. `link` is its connection, None until the first one; `alive` is what was seen last. `leaving` are
    those of the resource whose place it took: they end before it has one, since both may want the same files."""

    record: ResourceRecord
    link: Resource | None = None
    alive: bool = False
    problem: str = ""
    deleted: bool = False
    leaving: list[Resource] = attrs.field(factory=list)
    scope: trio.CancelScope | None = None
    changing: trio.Lock = attrs.field(factory=trio.Lock)

    def gone(self) -> bool:
        """True once it has been deleted; asked again after every wait."""
        return self.deleted

    @property
    def alarm(self) -> str:
        """What operators see while it is down."""
        return f"resource/{self.record.type}/{self.record.id}/down"


class ResourceHost(Protocol):
    """What resources need of the rule engine."""

    alarms: Alarms
    data_dir: Path
    metrics: Metrics
    resource_types: dict[str, ResourceType]

    def wall(self) -> float:
        """Unix seconds."""

    def users_of(self, resource_id: str) -> list[str]:
        """The enabled rules that use a resource."""

    def resource_up(self, resource_id: str) -> None:
        """A resource has another connection than before."""
