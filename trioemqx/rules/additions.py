"""What plugins bring to the rule engine: actions, resource types and functions. Rules wait for what goes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trioemqx.rules.sql import from_outside
from trioemqx.services.rulekit import ActionType, ResourceType

if TYPE_CHECKING:
    from trioemqx.rules.engine import RuleEngine


class Additions:
    """Each method returns what takes it away again, and raises ValueError for a name that is taken."""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    def add_action(self, kind: ActionType) -> Callable[[], None]:
        """Let rules use another action."""
        engine = self._engine
        _put(engine.action_types, kind.name, kind)
        engine.activation.revive(engine.entries(), lambda entry: entry.does(kind.name))

        def remove() -> None:
            engine.action_types.pop(kind.name, None)
            engine.activation.suspend(entry for entry in engine.entries() if entry.does(kind.name))

        return remove

    def add_resource_type(self, kind: ResourceType) -> Callable[[], None]:
        """Let resources be of another type."""
        engine = self._engine
        _put(engine.resource_types, kind.name, kind)
        engine.resources.wake()

        def remove() -> None:
            engine.resource_types.pop(kind.name, None)
            for resource_id in engine.resources.drop_type(kind.name):
                engine.activation.suspend(entry for entry in engine.entries() if entry.uses(resource_id))

        return remove

    def add_function(self, signature: str, call: Callable[..., Any], doc: str = "") -> Callable[[], None]:
        """Let the SQL of rules call another function."""
        function = from_outside(signature, call, doc)
        self._engine.functions.add(function)
        self._recompile(function.name)

        def remove() -> None:
            self._engine.functions.remove(function.name)
            self._recompile(function.name)

        return remove

    def _recompile(self, name: str) -> None:
        """Rules that may call a function are read again."""
        for entry in self._engine.entries():
            if name in entry.record.rawsql and entry.program is not None:
                self._engine.activation.recompile(entry)


def _put(table: dict[str, Any], name: str, value: object) -> None:
    if name in table:
        raise ValueError(f"the rule engine has {name} already")
    table[name] = value
