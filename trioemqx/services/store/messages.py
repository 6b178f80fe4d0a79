"""Messages as rows. `headers`, which hooks use among themselves, are not kept; neither is what a copy need not know."""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, Final

from trioemqx.types import PROPERTY_NAMES, Message, Properties

TEXTS: Final = ("topic", "publisher", "peerhost")
NUMBERS: Final = ("qos", "proto_ver", "timestamp")
NAMES: Final = frozenset(PROPERTY_NAMES)


def to_row(message: Message, at: int) -> dict[str, object]:
    """A message that came in at `at`, in Unix milliseconds."""
    row: dict[str, object] = {name: getattr(message, name) for name in TEXTS + NUMBERS}
    row["at"] = at
    row["payload"] = b64encode(message.payload).decode()
    if message.username is not None:
        row["username"] = message.username
    if message.properties is not None:
        row["properties"] = {name: _plain(value) for name, value in message.properties.as_dict().items()}
    return row


def from_row(row: Mapping[str, Any]) -> tuple[Message, int]:
    """(message, `at`). `received` is left to the caller. Raises ValueError for anything that is no such row."""
    message = Message(
        _text(row, "topic"),
        a2b_base64(_text(row, "payload"), strict_mode=True),
        _number(row, "qos"),
        publisher=_text(row, "publisher"),
        timestamp=_number(row, "timestamp"),
    )
    if message.qos not in (0, 1, 2):
        raise ValueError("qos is wrong")
    message.peerhost = _text(row, "peerhost")
    message.proto_ver = _number(row, "proto_ver")
    at = _number(row, "at")
    username = row.get("username")
    if username is not None and not isinstance(username, str):
        raise ValueError("the user name is no text")
    message.username = username
    if "properties" in row:
        message.properties = _properties(row["properties"])
    return message, at


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")
    return value


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int):
        raise ValueError(f"{name} is missing or no number")
    return value


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, list):
        return [list(member) if isinstance(member, tuple) else member for member in value]
    return value


def _properties(stored: Any) -> Properties:
    properties = Properties()
    if not isinstance(stored, dict) or not NAMES.issuperset(stored):
        raise ValueError("unknown properties")
    for name, value in stored.items():
        try:
            setattr(properties, name, _restored(name, value))
        except (TypeError, KeyError) as error:  # a compiled class checks what it is given
            raise ValueError(f"property {name}: {error!r}") from error
    return properties


def _restored(name: str, value: Any) -> object:
    if name == "user_property":
        return [(str(key), str(text)) for key, text in value]
    return a2b_base64(value["base64"], strict_mode=True) if isinstance(value, dict) else value
