"""Short names for the JSON Schemas of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
ANY: Final[Schema] = {}
NODE: Final[Schema] = {"type": "string", "description": "name@host of a node"}


def some(*values: object) -> Schema:
    """One of these values."""
    return {"enum": list(values)}


def either(*schemas: Schema) -> Schema:
    """Any of these schemas."""
    return {"anyOf": list(schemas)}


def rows(of: Mapping[str, Any]) -> Schema:
    """An array."""
    return {"type": "array", "items": dict(of)}


def table(of: Mapping[str, Any]) -> Schema:
    """An object with names that are not known beforehand."""
    return {"type": "object", "additionalProperties": dict(of)}


def record(members: Mapping[str, Mapping[str, Any]], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members; all are there but the `optional` ones."""
    return {
        "type": "object",
        "properties": {name: dict(schema) for name, schema in members.items()},
        "required": [name for name in members if name not in optional],
    }


def texts(*names: str) -> dict[str, Schema]:
    """Members that are texts."""
    return dict.fromkeys(names, TEXT)


def wholes(*names: str) -> dict[str, Schema]:
    """Members that are whole numbers."""
    return dict.fromkeys(names, WHOLE)
