"""Roles and groups, as they are kept, exported and shown: what may be in them, and what is wrong with what may not."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from trioemqx.plugin import PluginError

from .acl import ACCESS, check
from .users import read_time

MAX_NAME: Final = 128
"""Characters of the name of a role or a group."""
MAX_DESCRIPTION: Final = 1024
MAX_SIZE: Final = 200_000
"""Bytes of a role or a group as JSON: an import takes rows of a little more."""
MAX_PRIORITY: Final = 1_000_000

Rule = tuple[str, str, str]
"""(topic, action, access)."""
Role = tuple[str, tuple[Rule, ...], int]
"""(description, rules, Unix milliseconds). The first rule that fits decides."""
Group = tuple[str, int, tuple[str, ...], int]
"""(description, priority, roles, Unix milliseconds)."""


class RosterError(PluginError):
    """A role, a group or a member is not as it should be. The text is for people; `code` the HTTP API's."""

    code = 108


class NoSuchEntry(RosterError):
    """There is no role or group of this name."""

    code = 105


class EntryExists(RosterError):
    """There is one of this name."""

    code = 113


class RosterFull(RosterError):
    """A limit of the settings is reached."""

    code = 102


class NotWritten(RosterError):
    """It is in force, but the store did not take it."""

    code = 102


@attrs.frozen
class Limits:
    """How many there may be, as `[auth.mnesia]` says: `holder` are the roles of one group or one member, `groups_each`
    the groups of one member."""

    roles: int
    rules: int
    groups: int
    holder: int
    members: int
    groups_each: int


def checked_name(value: object) -> str:
    """The name of a role or a group. Raises RosterError."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable() or value in (".", ".."):
        raise RosterError(f"a name has 1 to {MAX_NAME} printable characters, and is neither . nor ..")
    return value


def checked_role(description: object, rules: object, created: int, limits: Limits) -> Role:
    """A role of these parts; rules are objects with `topic`, `action` and `access`. Raises RosterError."""
    if not isinstance(rules, list | tuple):
        raise RosterError("rules are a list")
    if len(rules) > limits.rules:
        raise RosterFull(f"full, auth.mnesia.max_acl_rules_per_role is {limits.rules}")
    found = tuple(_checked_rule(rule, place) for place, rule in enumerate(rules, 1))
    role = (_checked_description(description), found, created)
    _check_size(write_role("", role))
    return role


def checked_group(description: object, priority: object, roles: object, created: int, limits: Limits) -> Group:
    """A group of these parts; whether there are such roles is somebody else's to know. Raises RosterError."""
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > MAX_PRIORITY:
        raise RosterError(f"a priority is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    group = (_checked_description(description), priority, checked_names(roles, limits.holder), created)
    _check_size(write_group("", group))
    return group


def checked_names(value: object, most: int) -> tuple[str, ...]:
    """Names of roles, each one once. Raises RosterError."""
    if not isinstance(value, list | tuple):
        raise RosterError("roles are a list of names")
    found = tuple(checked_name(name) for name in value)
    if len(set(found)) < len(found):
        raise RosterError("a role is there twice")
    if len(found) > most:
        raise RosterFull(f"full, auth.mnesia.max_acl_roles_each is {most}")
    return found


def read_role(row: dict[str, Any], limits: Limits, now: int | None = None) -> tuple[str, Role]:
    """(name, role) of a stored or exported row. `now` is the time where it has none. Raises RosterError, ValueError."""
    created = read_time(row.get("created_at", now))
    return checked_name(row.get("name")), checked_role(row.get("description", ""), row.get("rules"), created, limits)


def write_role(name: str, role: Role) -> dict[str, object]:
    """A role as it is stored, exported and shown."""
    description, rules, created = role
    shown = [{"topic": topic, "action": action, "access": access} for topic, action, access in rules]
    return {"name": name, "description": description, "rules": shown, "created_at": created}


def read_group(row: dict[str, Any], limits: Limits, now: int | None = None) -> tuple[str, Group]:
    """(name, group) of a stored or exported row. Raises RosterError, ValueError."""
    created = read_time(row.get("created_at", now))
    description, priority = row.get("description", ""), row.get("priority", 0)
    return checked_name(row.get("name")), checked_group(description, priority, row.get("roles"), created, limits)


def write_group(name: str, group: Group) -> dict[str, object]:
    """A group as it is stored, exported and shown; its members are elsewhere."""
    description, priority, roles, created = group
    return {
        "name": name,
        "description": description,
        "priority": priority,
        "roles": list(roles),
        "created_at": created,
    }


def _checked_rule(rule: object, place: int) -> Rule:
    parts = rule if isinstance(rule, dict) else {}
    topic, action, access = parts.get("topic"), parts.get("action"), parts.get("access")
    wrong = check("all", "", topic, action, access)
    if wrong == "topic":
        raise RosterError(f"rule {place}: not a topic filter")
    if wrong == "action":
        raise RosterError(f"rule {place}: the action is pub, sub or pubsub")
    if wrong:
        raise RosterError(f"rule {place}: the access is {' or '.join(ACCESS)}")
    return str(topic), str(action), str(access)


def _checked_description(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION or not _is_unicode(value):
        raise RosterError(f"a description is a text of at most {MAX_DESCRIPTION} characters")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_size(row: dict[str, object]) -> None:
    if len(json.dumps(row, ensure_ascii=False).encode()) > MAX_SIZE:
        raise RosterFull(f"this is more than {MAX_SIZE} bytes: make two of it")
