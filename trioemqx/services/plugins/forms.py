"""A plugin's settings as a form sees them: a JSON Schema of its class, the values in force, where each comes from."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from trioemqx.config.schema import HIDDEN, without_password
from trioemqx.services.plugins.base import NoConfig, Secret
from trioemqx.services.plugins.settings import Gathered, key_of

Schema = dict[str, Any]

_PLAIN: Final[Mapping[Any, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Secret: "string",
    Path: "string",
}
_RESERVED: Final[Mapping[str, Schema]] = {
    "hook_timeout": {
        "type": ["number", "string"],
        "x-unit": "seconds",
        "description": "Seconds that an async hook of the plugin may take.",
    },
    "hook_priority": {"type": "integer", "description": "A priority for all hooks of the plugin."},
}
"""Settings of every plugin, without a field in its class."""


def schema_of(cls: type, name: str) -> Schema:
    """The JSON Schema of a settings class. `description` is the class's docstring; a field's is its metadata `doc` or
    the text under it, where it has one."""
    found = _table(cls)
    found["title"] = name
    for key, schema in _RESERVED.items():
        found["properties"].setdefault(key, dict(schema)).setdefault("description", schema["description"])
    return found


def _table(cls: type) -> Schema:
    hints = get_type_hints(cls, include_extras=True)
    docs = _docs(cls)
    properties: dict[str, Schema] = {}
    required = []
    for field in attrs.fields(cls):
        if not field.init:
            continue
        key = key_of(field.alias or field.name)
        schema = _value(hints[field.name])
        schema["title"] = key.replace("_", " ")
        if doc := field.metadata.get("doc") or docs.get(field.name):
            schema["description"] = str(doc)
        if field.default is attrs.NOTHING:
            required.append(key)
        elif not schema.get("writeOnly"):
            default = field.default.factory() if _makes_its_own(field.default) else field.default
            schema["default"] = shown(default)
        properties[key] = schema
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    own = cls.__doc__ or ""
    if own and cls is not NoConfig and not own.startswith("Method generated"):
        found["description"] = " ".join(own.split())
    if required:
        found["required"] = required
    return found


def _docs(cls: type) -> dict[str, str]:
    """The texts that stand under the fields of a class in its source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):  # made by a program
        return {}
    found: dict[str, str] = {}
    for field, text in pairwise(tree.body if isinstance(tree, ast.ClassDef) else ()):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(value.value.split())
    return found


def _makes_its_own(default: Any) -> bool:
    return isinstance(default, attrs.Factory) and not default.takes_self  # type: ignore[arg-type]


def _value(hint: Any) -> Schema:
    """The schema of one value of a type hint."""
    if isinstance(hint, type) and attrs.has(hint):
        return _table(hint)
    meaning = getattr(hint, "__metadata__", ())
    if "duration" in meaning:
        return {"type": ["number", "string"], "x-unit": "seconds"}
    if "bytesize" in meaning:
        return {"type": ["integer", "string"], "x-unit": "bytes"}
    if meaning:
        return _value(get_args(hint)[0])
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return {"anyOf": [{"type": "null"} if part is type(None) else _value(part) for part in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple):
        return {"type": "array", "items": _value(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(inner[1])}
    if hint is Secret:
        return {"type": "string", "writeOnly": True}
    return {"type": _PLAIN[hint]} if hint in _PLAIN else {}


def shown(value: Any) -> Any:
    """A value as JSON has it; secrets are `******`, also the passwords in URLs."""
    if isinstance(value, Secret):
        return HIDDEN if value else ""
    if attrs.has(type(value)):
        return {
            key_of(field.alias or field.name): shown(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.init
        }
    if isinstance(value, Mapping):
        return {str(key): shown(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(member) for member in value]
    if value is None or isinstance(value, bool | int | float | str):
        return without_password(value)
    return str(value)


def origins_of(gathered: Gathered, keys: Mapping[str, Any]) -> dict[str, str]:
    """`default`, `file` (also what a program gave), `environment` or `saved`, by the first part of each key."""
    found = {}
    for key in keys:
        place = gathered.place((key,))
        written = any(path[0] == key for path in gathered.values if path not in gathered.shipped)
        found[key] = _word(place) if written else "default"
    return found


def _word(place: str) -> str:
    if place.startswith("environment "):
        return "environment"
    return "saved" if place.startswith("saved override") else "file"


def secrets_stay(given: Mapping[str, Any], now: Any) -> dict[str, Any]:
    """What was sent for a settings class, with secrets that came back as they are shown replaced by what they are."""
    fields = {key_of(f.alias or f.name): f for f in attrs.fields(type(now)) if f.init}
    found = {}
    for key, value in given.items():
        field = fields.get(key)
        found[key] = value if field is None else _stays(value, getattr(now, field.name))
    return found


def _stays(given: Any, now: Any) -> Any:
    if isinstance(now, Secret):
        return str(now) if given == HIDDEN else given
    if isinstance(now, str):
        return now if given == without_password(now) else given
    if isinstance(given, Mapping):
        if attrs.has(type(now)):
            return secrets_stay(given, now)
        if isinstance(now, Mapping):
            return {key: _stays(value, now.get(key)) for key, value in given.items()}
    if isinstance(now, list | tuple) and isinstance(given, list) and len(now) == len(given):
        return [_stays(value, before) for value, before in zip(given, now, strict=True)]
    return given
