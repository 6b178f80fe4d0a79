"""One rule of a running broker: what was asked for, what was made of it, and how it goes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from trioemqx.rules.metrics import RuleMetrics
from trioemqx.rules.records import STOP, RuleRecord
from trioemqx.rules.sql.values import UNDEFINED
from trioemqx.rules.steps import Step, resources_of, walk
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.rules.eventcolumns import EventColumns
    from trioemqx.rules.sql import Rule


OWNED: Final = "proc_dict_put"
"""The function that keeps something for a client, which goes with it."""


class RuleEntry:
    """A rule. `active`: it works. `waiting`: it should, and will be tried again. `program` is None while its SQL
    cannot be read, which only happens to what another version has stored."""

    __slots__ = (
        "active",
        "crashes",
        "metrics",
        "owns",
        "place",
        "problem",
        "program",
        "record",
        "slow",
        "steps",
        "stop",
        "told",
        "topics",
        "waiting",
    )

    def __init__(self, record: RuleRecord, program: Rule | None, place: int) -> None:
        self.metrics = RuleMetrics()
        self.place = place
        self.active = False
        self.waiting = False
        self.steps: list[Step] = []
        """Those that work, or that worked when it was active last."""
        self.told = False
        """Whether something that went wrong has been logged since the last sample."""
        self.slow = False
        self.problem = ""
        self.crashes: deque[float] = deque()
        self.take(record, program)

    def take(self, record: RuleRecord, program: Rule | None) -> None:
        """Another record, and what was made of its SQL."""
        self.record = record
        self.program = program
        self.topics: tuple[str, ...] = () if program is None else tuple(program.topics)
        self.stop = record.on_action_failed == STOP
        self.owns = OWNED in record.rawsql

    @property
    def id(self) -> str:
        """Its identifier."""
        return self.record.id

    def uses(self, resource_id: str) -> bool:
        """Whether one of its actions uses a resource."""
        return resource_id in resources_of(self.record.actions)

    def does(self, name: str) -> bool:
        """Whether one of its actions is of this kind."""
        return any(action.name == name for action in walk(self.record.actions))


class EventEnv:
    """An event that a rule runs for; see `rulekit.RuleEvent`."""

    __slots__ = ("_columns", "rule_id")

    def __init__(self, rule_id: str, columns: EventColumns) -> None:
        self.rule_id = rule_id
        self._columns = columns

    @property
    def message(self) -> Message | None:
        """The message of the event, where it has one."""
        return self._columns.message

    def get(self, name: str) -> Any:
        """A column by its name, None when the event has none of that name."""
        value = self._columns[name]
        return None if value is UNDEFINED else value
