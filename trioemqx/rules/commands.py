"""`rules`, `rule-actions`, `resources` and `resource-types` of `trioemqx ctl`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from trioemqx.config.schema import HIDDEN
from trioemqx.config.show import masked
from trioemqx.rules.engine import RuleEngine
from trioemqx.rules.entries import RuleEntry
from trioemqx.rules.errors import RuleError
from trioemqx.rules.resource_entries import ResourceEntry
from trioemqx.rules.terms import term
from trioemqx.rules.views import action_row, resource_with_status, rule_row, type_row
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import Family, shown
from trioemqx.services.rulekit import ActionType, ResourceType

RULE_OPTIONS: Final = {
    "-i": "id",
    "--id": "id",
    "-e": "enabled",
    "--enabled": "enabled",
    "-g": "on_action_failed",
    "--on_action_failed": "on_action_failed",
    "-d": "description",
    "--descr": "description",
    "-s": "rawsql",
    "--sql": "rawsql",
    "-a": "actions",
    "--actions": "actions",
}
RESOURCE_OPTIONS: Final = {
    "-i": "id",
    "--id": "id",
    "-c": "config",
    "--config": "config",
    "-d": "description",
    "--descr": "description",
    "-t": "type",
    "--type": "type",
}
_JSON: Final = ("actions", "config")


def add_to(commands: Commands, engine: RuleEngine) -> None:
    """Add the commands of this file. They have nobody to ask while the engine is unloaded."""

    def check() -> None:
        if not engine.on:
            raise CommandError("emqx_rule_engine is not loaded: trioemqx ctl plugins load emqx_rule_engine")

    rules, resources, kinds = Rules(engine), ResourceCommands(engine), Kinds(engine)
    rule_options = "[-s <Sql>] [-a <Actions>] [-e true|false] [-g continue|stop] [-d <Description>]"
    family = Family(commands, "rules", check)
    family.add("list", rules.lines, help="List rules", data=rules.rows)
    family.add("show", rules.show, "<RuleId>", "Show a rule", data=rules.row)
    options = "[-i <Id>] [-e true|false] [-g continue|stop] [-d <Description>]"
    family.add("create", rules.create, f"<Sql> <Actions> {options}", "Create a rule")
    family.add("update", rules.update, f"<RuleId> {rule_options}", "Change a rule")
    family.add("delete", rules.delete, "<RuleId>", "Delete a rule")
    family = Family(commands, "rule-actions", check)
    family.add("list", kinds.actions, help="List the actions that rules can have", data=kinds.action_rows)
    family.add("show", kinds.action, "<ActionName>", "Show an action", data=kinds.action_row)
    family = Family(commands, "resources", check)
    with_config = "[-c <Config>] [-d <Description>]"
    family.add("create", resources.create, f"<Type> [-i <Id>] {with_config}", "Create a resource")
    family.add("test", resources.test, f"<Type> {with_config}", "Try a resource, and keep nothing")
    family.add("list", resources.lines, "[-t <Type>]", "List resources", data=resources.rows)
    family.add("show", resources.show, "<ResourceId>", "Show a resource", data=resources.row)
    family.add("update", resources.update, f"<ResourceId> {with_config}", "Change a resource")
    family.add("delete", resources.delete, "<ResourceId>", "Delete a resource")
    family = Family(commands, "resource-types", check)
    family.add("list", kinds.types, help="List resource types", data=kinds.type_rows)
    family.add("show", kinds.type, "<ResourceType>", "Show a resource type", data=kinds.type_row)


def options(words: tuple[str, ...], known: Mapping[str, str], *allowed: str) -> dict[str, Any]:
    """What options say, by the names of the HTTP API. Raises CommandError."""
    found: dict[str, Any] = {}
    for at in range(0, len(words), 2):
        name = known.get(words[at])
        if name not in allowed or at + 1 == len(words):
            raise CommandError(f"Invalid options: {shown(words[at])}")
        value = words[at + 1]
        if name in _JSON:
            found[name] = from_json(value)
        elif name == "enabled":
            found[name] = {"true": True, "false": False}.get(value, value)
        else:
            found[name] = value
    return found


def from_json(text: str) -> object:
    """A JSON value. Raises CommandError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError("Invalid options: not JSON") from None


class Rules:
    """`rules`"""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    def lines(self) -> list[str]:
        """A line for each, the oldest first."""
        return [self._line(entry) for entry in self._engine.entries()]

    def rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them, but for secrets."""
        return [self._row(entry) for entry in self._engine.entries()]

    def show(self, rule_id: str) -> str:
        """One rule."""
        return self._line(self._found(rule_id))

    def row(self, rule_id: str) -> dict[str, object]:
        """As the HTTP API has it, but for secrets."""
        return self._row(self._found(rule_id))

    async def create(self, sql: str, actions: str, *more: str) -> str:
        """Make one."""
        given = options(more, RULE_OPTIONS, "id", "enabled", "on_action_failed", "description")
        try:
            entry = await self._engine.create({**given, "rawsql": sql, "actions": from_json(actions)})
        except RuleError as error:
            raise CommandError(f"Invalid options: {error.reason}") from error
        return f"Rule {shown(entry.id)} created"

    async def update(self, rule_id: str, *more: str) -> str:
        """Change what is given."""
        given = options(more, RULE_OPTIONS, "rawsql", "actions", "enabled", "on_action_failed", "description")
        try:
            await self._engine.update(rule_id, given)
        except RuleError as error:
            raise CommandError(f"Invalid options: {error.reason}") from error
        return f"Rule {shown(rule_id)} updated"

    async def delete(self, rule_id: str) -> str:
        """Forget one; one that does not exist is no error."""
        await self._engine.delete(rule_id)
        return "ok"

    def _found(self, rule_id: str) -> RuleEntry:
        entry = self._engine.find(rule_id)
        if entry is None:
            raise CommandError(f"Cannot found {shown(rule_id)}")
        return entry

    def _row(self, entry: RuleEntry) -> dict[str, Any]:
        row = rule_row(entry, self._engine.node)
        return {**row, "actions": masked(row["actions"])}

    def _line(self, entry: RuleEntry) -> str:
        row = self._row(entry)
        return (
            f"rule(id='{shown(entry.id)}', for='{term(row['for'])}', rawsql='{shown(row['rawsql'])}', "
            f"actions={term(row['actions'])}, on_action_failed='{row['on_action_failed']}', "
            f"metrics={term(row['metrics'])}, enabled='{str(entry.active).lower()}', "
            f"description='{shown(row['description'])}')"
        )


class Kinds:
    """`rule-actions` and `resource-types`"""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    def _actions(self) -> list[ActionType]:
        return sorted(self._engine.action_types.values(), key=lambda kind: kind.title.en)

    def _types(self) -> list[ResourceType]:
        return sorted(self._engine.resource_types.values(), key=lambda kind: kind.title.en)

    def actions(self) -> list[str]:
        """A line for each."""
        return [self.action(kind.name) for kind in self._actions()]

    def action_rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        return [action_row(kind) for kind in self._actions()]

    def action(self, name: str) -> str:
        """One action."""
        kind = _found(self._engine.action_types, name)
        types = ",".join(kind.types)
        return (
            f"action(name='{kind.name}', app='{kind.app}', for='{kind.for_}', types=[{types}], "
            f"title ='{shown(kind.title.en)}', description='{shown(kind.description.en)}')"
        )

    def action_row(self, name: str) -> dict[str, object]:
        """As the HTTP API has it."""
        return action_row(_found(self._engine.action_types, name))

    def types(self) -> list[str]:
        """A line for each."""
        return [self.type(kind.name) for kind in self._types()]

    def type_rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        return [type_row(kind) for kind in self._types()]

    def type(self, name: str) -> str:
        """One resource type."""
        kind = _found(self._engine.resource_types, name)
        return (
            f"resource_type(name='{kind.name}', provider='{kind.provider}', "
            f"title ='{shown(kind.title.en)}', description='{shown(kind.description.en)}')"
        )

    def type_row(self, name: str) -> dict[str, object]:
        """As the HTTP API has it."""
        return type_row(_found(self._engine.resource_types, name))


class ResourceCommands:
    """`resources`"""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    async def create(self, kind: str, *more: str) -> str:
        """Make one."""
        given = options(more, RESOURCE_OPTIONS, "id", "config", "description")
        wanted = given.get("config", {}), given.get("description", ""), given.get("id")
        try:
            record = await self._engine.resources.create(kind, *wanted)
        except RuleError as error:
            raise CommandError(f"Invalid options: {error.reason}") from error
        return f"Resource {shown(record.id)} created"

    async def test(self, kind: str, *more: str) -> str:
        """Connect, and keep nothing."""
        given = options(more, RESOURCE_OPTIONS, "config", "description")
        try:
            await self._engine.resources.test(kind, given.get("config", {}))
        except RuleError as error:
            raise CommandError(f"Test creating resource failed: {error.reason}") from error
        return "Test creating resource successfully (dry-run)"

    def lines(self, *more: str) -> list[str]:
        """A line for each."""
        return [self._line(entry) for entry in self._chosen(more)]

    def rows(self, *more: str) -> list[dict[str, object]]:
        """As the HTTP API has them, but for secrets."""
        return [self._row(entry) for entry in self._chosen(more)]

    def _chosen(self, more: tuple[str, ...]) -> list[ResourceEntry]:
        wanted = options(more, RESOURCE_OPTIONS, "type").get("type")
        return [entry for entry in self._engine.resources.entries() if wanted in (None, entry.record.type)]

    def show(self, resource_id: str) -> str:
        """One resource."""
        return self._line(self._found(resource_id))

    def row(self, resource_id: str) -> dict[str, object]:
        """As the HTTP API has it, but for secrets."""
        return self._row(self._found(resource_id))

    async def update(self, resource_id: str, *more: str) -> str:
        """Change what is given."""
        given = options(more, RESOURCE_OPTIONS, "config", "description")
        try:
            await self._engine.resources.update(resource_id, given.get("config"), given.get("description"))
        except RuleError as error:
            raise CommandError(f"Resource update failed: {error.reason}") from error
        return "Resource update successfully"

    async def delete(self, resource_id: str) -> str:
        """Forget one; one that does not exist is no error."""
        try:
            await self._engine.resources.delete(resource_id)
        except RuleError as error:
            raise CommandError(f"Cannot delete resource as {error.reason}") from error
        return "ok"

    def _found(self, resource_id: str) -> ResourceEntry:
        entry = self._engine.resources.find(resource_id)
        if entry is None:
            raise CommandError(f"Cannot found {shown(resource_id)}")
        return entry

    def _row(self, entry: ResourceEntry) -> dict[str, object]:
        return {**resource_with_status(entry, self._engine.node), "config": self._shown(entry)}

    def _shown(self, entry: ResourceEntry) -> dict[str, object]:
        """Its configuration without secrets: a terminal is looked at by others, and its lines are kept."""
        record = entry.record
        kind = self._engine.resource_types.get(record.type)
        secret = {param.name for param in kind.params if "password" in param.type} if kind is not None else set()
        return {
            name: HIDDEN if name in secret and value else masked(value, (name,))
            for name, value in record.config.items()
        }

    def _line(self, entry: ResourceEntry) -> str:
        record, config = entry.record, self._shown(entry)
        status = [{"node": self._engine.node, "is_alive": entry.alive}]
        return (
            f"resource(id='{shown(record.id)}', type='{shown(record.type)}', config={term(config)}, "
            f"status={term(status)}, description='{shown(record.description)}')"
        )


def _found(table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise CommandError(f"Cannot found {shown(name)}")
    return table[name]
