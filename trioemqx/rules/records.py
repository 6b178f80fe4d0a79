"""Rules and resources as the store keeps them: what somebody has asked for, and nothing of how it goes."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import attrs

from trioemqx.rules.errors import bad_arguments
from trioemqx.services.store.protocol import Delete, Durable, Op, Put, Store, all_items, key_for

log = logging.getLogger("trioemqx.rules")

RULES: Final = "rules"
RESOURCES: Final = "resources"
MAX_ID: Final = 512
CONTINUE: Final = "continue"
STOP: Final = "stop"
UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a row raises that is none of ours."""


@attrs.frozen
class ActionRecord:
    """An action of a rule. `params` has all defaults."""

    id: str
    name: str
    params: Mapping[str, Any]
    fallbacks: tuple[ActionRecord, ...] = ()


@attrs.frozen
class RuleRecord:
    """A rule. `created_at` is Unix microseconds; `enabled` is what was asked for."""

    id: str
    rawsql: str
    actions: tuple[ActionRecord, ...] = ()
    enabled: bool = True
    description: str = ""
    on_action_failed: str = CONTINUE
    created_at: int = 0


@attrs.frozen
class ResourceRecord:
    """A resource. `config` has all defaults; `created_at` is Unix microseconds."""

    id: str
    type: str
    config: Mapping[str, Any] = attrs.field(repr=False)
    description: str = ""
    created_at: int = 0


class Records:
    """The two tables. Rows are JSON texts, since parameters may be nested as deep as a request may be."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, *records: RuleRecord | ResourceRecord) -> Durable:
        """Write some."""
        return self._store.apply([_put(record) for record in records])

    def drop(self, record: RuleRecord | ResourceRecord) -> Durable:
        """Forget one."""
        return self._store.delete(_table(record), key_for(record.id))

    async def rules(self) -> AsyncGenerator[RuleRecord, None]:
        """Every rule, in the order of keys."""
        async with aclosing(all_items(self._store, RULES, 200)) as items:
            async for key, row in items:
                try:
                    yield read_rule(json.loads(str(row["text"])))
                except UNREADABLE as error:
                    log.error("rule %s of the store is not readable: %r", key, error)

    async def resources(self) -> AsyncGenerator[ResourceRecord, None]:
        """Every resource, in the order of keys."""
        async with aclosing(all_items(self._store, RESOURCES, 200)) as items:
            async for key, row in items:
                try:
                    yield read_resource(json.loads(str(row["text"])))
                except UNREADABLE as error:
                    log.error("resource %s of the store is not readable: %r", key, error)

    def swap(self, puts: list[RuleRecord | ResourceRecord], deletes: list[tuple[str, str]]) -> Durable:
        """Write some and delete other rows, by (table, key), in one go."""
        ops: list[Op] = [_put(record) for record in puts]
        ops += [Delete(table, key) for table, key in deletes]
        return self._store.apply(ops)


def _table(record: RuleRecord | ResourceRecord) -> str:
    return RULES if isinstance(record, RuleRecord) else RESOURCES


def _put(record: RuleRecord | ResourceRecord) -> Put:
    row = rule_row(record) if isinstance(record, RuleRecord) else resource_row(record)
    return Put(_table(record), key_for(record.id), {"text": json.dumps(row)})


def rule_row(record: RuleRecord) -> dict[str, Any]:
    """A rule as exports have it: `args` in place of `params`."""
    return {
        "id": record.id,
        "rawsql": record.rawsql,
        "actions": [_action_row(action) for action in record.actions],
        "enabled": record.enabled,
        "description": record.description,
        "on_action_failed": record.on_action_failed,
        "created_at": record.created_at,
    }


def _action_row(action: ActionRecord) -> dict[str, Any]:
    return {
        "id": action.id,
        "name": action.name,
        "fallbacks": [_action_row(fallback) for fallback in action.fallbacks],
        "args": dict(action.params),
    }


def resource_row(record: ResourceRecord) -> dict[str, Any]:
    """A resource as exports have it."""
    return {
        "id": record.id,
        "type": record.type,
        "config": dict(record.config),
        "created_at": record.created_at,
        "description": record.description,
    }


def read_rule(row: Mapping[str, Any]) -> RuleRecord:
    """A rule that `rule_row` wrote."""
    return RuleRecord(
        id=row["id"],
        rawsql=row["rawsql"],
        actions=tuple(_read_action(action) for action in row["actions"]),
        enabled=row["enabled"],
        description=row["description"],
        on_action_failed=row["on_action_failed"],
        created_at=row["created_at"],
    )


def _read_action(row: Mapping[str, Any]) -> ActionRecord:
    fallbacks = tuple(_read_action(fallback) for fallback in row["fallbacks"])
    return ActionRecord(row["id"], row["name"], row["args"], fallbacks)


def read_resource(row: Mapping[str, Any]) -> ResourceRecord:
    """A resource that `resource_row` wrote."""
    return ResourceRecord(row["id"], row["type"], row["config"], row["description"], row["created_at"])


# -- identifiers -------------------------------------------------------------------------------------------------------


def new_id(kind: str) -> str:
    """`rule:7fdb2c9e`"""
    return f"{kind}:{secrets.token_hex(4)}"


def checked_id(value: object) -> str:
    """An identifier that somebody has chosen. Raises RuleError."""
    if value == "":
        raise bad_arguments("{empty_string_not_allowed,id}")
    if not isinstance(value, str) or "\0" in value or not _is_utf8(value):
        raise bad_arguments("{invalid_id,not_a_text}")
    if len(value) > MAX_ID:
        raise bad_arguments(f"{{invalid_id,{{longer_than,{MAX_ID}}}}}")
    return value


def checked_text(value: object, name: str, most: int = 4096) -> str:
    """A text that somebody has written, such as a description. Raises RuleError."""
    if not isinstance(value, str) or len(value) > most or not _is_utf8(value):
        raise bad_arguments(f"{{invalid_data_type,{{string,{name}}}}}")
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
