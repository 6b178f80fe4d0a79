"""Rules and resources of exports: EMQX 4.0 to 4.4's, and ours. What cannot work here is kept and waits."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trioemqx.rules.errors import RuleError
from trioemqx.rules.params import validated
from trioemqx.rules.records import (
    CONTINUE,
    STOP,
    ActionRecord,
    ResourceRecord,
    RuleRecord,
    checked_id,
    checked_text,
    resource_row,
    rule_row,
)
from trioemqx.rules.requests import MAX_RULES
from trioemqx.rules.resources import MAX_RESOURCES
from trioemqx.rules.steps import MAX_DEPTH, new_action_id
from trioemqx.services.rulekit import RESOURCE
from trioemqx.services.store.protocol import Delete, all_items

if TYPE_CHECKING:
    from trioemqx.rules.engine import RuleEngine

log = logging.getLogger("trioemqx.rules")

LEFT_TABLE: Final = "imported_rules"
"""Where earlier versions kept what they imported and could not use: rows `{kind, id, version, text}`."""
OLD: Final = ("4.0", "4.1", "4.2")
"""Versions whose `web_hook` has method and headers of its own."""
MILLISECONDS_END: Final = 10**14
"""Times below are milliseconds, those above microseconds."""
SEND: Final = "data_to_webserver"
JSON_TYPE: Final = "application/json"
PAGE: Final = 50

Row = Mapping[str, Any]


class Transfer:
    """What comes and what goes."""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    # -- out ---------------------------------------------------------------------------------------------------------

    async def rows(self, section: str) -> AsyncGenerator[Row, None]:
        """The rows of `rules` or `resources`, as EMQX 4.4 has them."""
        for number, row in enumerate(self._rows(section), 1):
            yield row
            if number % PAGE == 0:
                await trio.lowlevel.checkpoint()

    def _rows(self, section: str) -> Iterator[Row]:
        engine = self._engine
        if section == "rules":
            for entry in engine.entries():
                yield _milliseconds(rule_row(entry.record))
        else:
            for resource in engine.resources.entries():
                yield _milliseconds(resource_row(resource.record))

    def checked(self, section: str, row: Row) -> Row:
        """The row, if it has the form that it has to have. Raises ValueError with what is wrong."""
        try:
            if section == "rules":
                read_rule(row, 0)
            else:
                read_resource(row, 0)
        except RuleError as error:
            raise ValueError(error.reason) from None
        return row

    # -- in ----------------------------------------------------------------------------------------------------------

    async def take(self, resources: Sequence[Row], rules: Sequence[Row], version: str) -> list[str]:
        """Enter them, in place of those with the same identifiers. Returns a line for each that is not there, or does
        not work, now."""
        notes: list[str] = []
        old = version.startswith(OLD)
        hooks = {row.get("id"): row for row in resources if row.get("type") == "web_hook"} if old else {}
        for number, row in enumerate(resources, 1):
            self._take_resource(row, old, notes)
            if number % PAGE == 0:
                await trio.lowlevel.checkpoint()
        for number, row in enumerate(rules, 1):
            self._take_rule(row, hooks, notes)
            if number % PAGE == 0:
                await trio.lowlevel.checkpoint()
        self._engine.resources.wake()
        return notes

    async def take_left(self) -> None:
        """Enter what an earlier version kept for a rule engine."""
        store = self._engine.host.store
        found: dict[str, list[Row]] = {"resource": [], "rule": []}
        keys, version = [], ""
        async with aclosing(all_items(store, LEFT_TABLE, 200)) as items:
            async for key, row in items:
                keys.append(key)
                version = str(row.get("version", ""))
                if row.get("kind") in found:
                    found[str(row["kind"])].append(json.loads(str(row["text"])))
        if keys:
            for note in await self.take(found["resource"], found["rule"], version):
                log.warning("import: %s", note)
            store.apply([Delete(LEFT_TABLE, key) for key in keys])

    def _take_resource(self, row: Row, old: bool, notes: list[str]) -> None:
        engine = self._engine
        try:
            record = read_resource(_without_old(row) if old else row, int(engine.wall() * 1_000_000))
            kind = engine.resource_types.get(record.type)
            if kind is not None:
                record = attrs.evolve(record, config=validated(record.config, kind.params))
            else:
                notes.append(f"resource {record.id} waits: there is no type {record.type!r:.80}")
            if engine.resources.find(record.id) is None and len(engine.resources) >= MAX_RESOURCES:
                raise ValueError(f"at most {MAX_RESOURCES} resources")
        except (RuleError, ValueError) as error:
            notes.append(f"resource {row.get('id')!r:.80} was not taken: {error}")
            return
        engine.resources.take(record)
        engine.records.keep(record)

    def _take_rule(self, row: Row, hooks: Mapping[Any, Row], notes: list[str]) -> None:
        engine = self._engine
        try:
            record = read_rule(row, int(engine.wall() * 1_000_000))
            if engine.find(record.id) is None and len(engine.entries()) >= MAX_RULES:
                raise ValueError(f"at most {MAX_RULES} rules")
            record = attrs.evolve(record, actions=tuple(self._completed(action, hooks) for action in record.actions))
        except (RuleError, ValueError) as error:
            notes.append(f"rule {row.get('id')!r:.80} was not taken: {error}")
            return
        entry = engine.restore(record)
        engine.records.keep(record)
        if record.enabled and not entry.active and entry.problem:
            notes.append(f"rule {record.id} waits: {entry.problem}")

    def _completed(self, action: ActionRecord, hooks: Mapping[Any, Row]) -> ActionRecord:
        """An action with all defaults, if it is one that is known here. Raises RuleError."""
        params = dict(action.params)
        hook = hooks.get(params.get(RESOURCE)) if action.name == SEND else None
        if hook is not None:
            params = _with_hook(params, hook)
        kind = self._engine.action_types.get(action.name)
        if kind is not None:
            params = validated(params, kind.params)
        fallbacks = tuple(self._completed(fallback, hooks) for fallback in action.fallbacks)
        return attrs.evolve(action, params=params, fallbacks=fallbacks)


def _milliseconds(row: dict[str, Any]) -> Row:
    return {**row, "created_at": row["created_at"] // 1000}


def read_resource(row: Row, now: int) -> ResourceRecord:
    """A resource of an export. `now` is Unix microseconds. Raises RuleError, ValueError."""
    config, kind = row.get("config", {}), row.get("type")
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ValueError("type or config")
    if config.get("ssl") in ("on", "off"):
        config = {**config, "ssl": config["ssl"] == "on"}
    return ResourceRecord(checked_id(row.get("id")), kind, config, _description(row), _time(row, now))


def read_rule(row: Row, now: int) -> RuleRecord:
    """A rule of an export. Raises RuleError, ValueError."""
    rawsql, enabled = row.get("rawsql"), row.get("enabled", True)
    if not isinstance(rawsql, str) or not isinstance(enabled, bool):
        raise ValueError("rawsql or enabled")
    return RuleRecord(
        checked_id(row.get("id")),
        rawsql,
        _actions(row.get("actions", []), 0),
        enabled,
        _description(row),
        STOP if row.get("on_action_failed") == STOP else CONTINUE,
        _time(row, now),
    )


def _actions(rows: object, depth: int) -> tuple[ActionRecord, ...]:
    if not isinstance(rows, list) or depth > MAX_DEPTH:
        raise ValueError("actions")
    found = []
    for row in rows:
        name = row.get("name") if isinstance(row, dict) else None
        params = row.get("args", row.get("params", {})) if isinstance(row, dict) else None
        if not isinstance(name, str) or not isinstance(params, dict):
            raise ValueError("actions")
        given = row.get("id")
        action_id = given if isinstance(given, str) and given else new_action_id(name)
        found.append(ActionRecord(action_id, name, params, _actions(row.get("fallbacks", []), depth + 1)))
    return tuple(found)


def _description(row: Row) -> str:
    text = row.get("description", "")
    return checked_text("" if text == "undefined" else text, "description")


def _time(row: Row, now: int) -> int:
    """Unix microseconds."""
    value = row.get("created_at")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**17:
        return now
    return value * 1000 if value < MILLISECONDS_END else value


def _without_old(row: Row) -> Row:
    """A `web_hook` without what its actions have now."""
    config = row.get("config")
    if row.get("type") != "web_hook" or not isinstance(config, dict):
        return row
    kept = {name: value for name, value in config.items() if name not in ("method", "headers", "content_type")}
    for name in ("connect_timeout", "request_timeout"):
        if isinstance(kept.get(name), int):
            kept[name] = f"{kept[name]}s"
    return {**row, "config": kept}


def _with_hook(params: dict[str, Any], hook: Row) -> dict[str, Any]:
    """The parameters of an action with what its resource had."""
    config: Any = hook.get("config") if isinstance(hook.get("config"), dict) else {}
    headers = config.get("headers") if isinstance(config.get("headers"), dict) else {}
    content_type = config.get("content_type", JSON_TYPE)
    found = {"method": config.get("method", "POST"), "headers": {"content-type": content_type, **headers}, **params}
    if "payload_tmpl" in found:
        found.setdefault("body", found.pop("payload_tmpl"))
    return found
