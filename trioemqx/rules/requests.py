"""What somebody asks of rules: read from a request, and checked before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs

from trioemqx.core.topics import validate_filter
from trioemqx.errors import ProtocolError
from trioemqx.rules.errors import bad_arguments, required
from trioemqx.rules.lookup import EVENT_PREFIX
from trioemqx.rules.records import CONTINUE, STOP, RuleRecord, checked_id, checked_text
from trioemqx.rules.sql import Functions, Rule, SqlError, compile_rule
from trioemqx.rules.steps import StepHost, check_shape, read_actions
from trioemqx.rules.terms import term

MAX_RULES: Final = 10_000
MAX_SIZE: Final = 200 * 1024
"""Characters of a rule as JSON."""


class RequestHost(StepHost, Protocol):
    """What requests need of the rule engine."""

    functions: Functions

    def wall(self) -> float:
        """Unix seconds."""


def check(asked: Mapping[str, Any]) -> None:
    """Raise RuleError for the first member, in their order, that cannot be."""
    for name, value in asked.items():
        if name == "id":
            checked_id(value)
        elif name == "enabled" and not isinstance(value, bool):
            raise bad_arguments(f"{{invalid_enabled,{term(value)}}}")
        elif name == "on_action_failed" and value not in (CONTINUE, STOP):
            raise bad_arguments(f"{{invalid_on_failed,{term(value)}}}")
        elif name == "description":
            checked_text(value, "description")
        elif name == "actions":
            check_shape(value)


def record(host: RequestHost, rule_id: str, asked: Mapping[str, Any]) -> RuleRecord:
    """A new rule. Raises RuleError."""
    compiled(host, asked["rawsql"], rule_id)
    return bounded(
        RuleRecord(
            id=rule_id,
            rawsql=asked["rawsql"],
            actions=read_actions(host, asked["actions"]),
            enabled=asked.get("enabled", True),
            description=asked.get("description", ""),
            on_action_failed=asked.get("on_action_failed", CONTINUE),
            created_at=int(host.wall() * 1_000_000),
        )
    )


def changed(host: RequestHost, before: RuleRecord, asked: Mapping[str, Any]) -> RuleRecord:
    """A rule with what is given in place of what it was. Raises RuleError."""
    names = ("rawsql", "enabled", "description", "on_action_failed")
    given = {name: asked[name] for name in names if name in asked}
    if "rawsql" in given:
        compiled(host, given["rawsql"], before.id)
    if "actions" in asked:
        given["actions"] = read_actions(host, asked["actions"], unknown=True)
    return bounded(attrs.evolve(before, **given))


def bounded(record: RuleRecord) -> RuleRecord:
    """The rule, unless no export could hold it. Raises RuleError."""
    if len(json.dumps(attrs.asdict(record), default=str)) > MAX_SIZE:
        raise bad_arguments(f"{{rule_too_large,{MAX_SIZE}}}")
    return record


def program(host: RequestHost, record: RuleRecord) -> Rule:
    """The SQL of a rule, ready to run. Raises RuleError."""
    return compiled(host, record.rawsql, record.id)


def compiled(host: RequestHost, rawsql: object, rule_id: str) -> Rule:
    """SQL, ready to run. Raises RuleError with the place of what is wrong."""
    if rawsql is None:
        raise required("rawsql")
    if not isinstance(rawsql, str):
        raise bad_arguments(f"{{invalid_data_type,{{string,{term(rawsql)}}}}}")
    try:
        found = compile_rule(rawsql, host.functions, {"rule_id": rule_id})
    except SqlError as error:
        raise bad_arguments(f"{{parse_error,{term(str(error))}}}") from error
    for source in found.topics:
        _check_source(source)
    return found


def _check_source(source: str) -> None:
    if source.startswith(EVENT_PREFIX):
        return
    try:
        validate_filter(source)
    except ProtocolError as error:
        raise bad_arguments(f"{{invalid_topic_filter,{term(source)}}}") from error
