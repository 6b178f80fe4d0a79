"""Values of columns that take more than a look at an attribute."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.core.topics import EXCLUSIVE, QUEUE, SHARE, parse_filter
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.values import UNDEFINED, Value, text_of, value_from
from trioemqx.types import PROPERTY_NAMES, Properties

_PREFIXES: Final = (SHARE, QUEUE, EXCLUSIVE)
PROPERTY_WORDS: Final = {
    name: "-".join("QoS" if word == "qos" else word.capitalize() for word in name.split("_")) for name in PROPERTY_NAMES
}
"""The names of properties as rules see them: `Message-Expiry-Interval`."""
DUP: Final = 0x08
"""Of a PUBLISH's first byte [MQTT-3.3.1-1]."""


def filled(value: str | None) -> Value:
    """A text that may be missing, or empty for the same reason."""
    return value or UNDEFINED


def given(value: str | None) -> Value:
    """A text that may be missing, but may be empty."""
    return UNDEFINED if value is None else value


def properties_map(properties: Properties | None) -> dict[str, Value]:
    """Properties by the names of the standard, with hyphens. User properties are a map, of which the last of a repeated
    name counts, and under `User-Property-Pairs` a list in their order."""
    if properties is None:
        return {}
    found = {PROPERTY_WORDS[name]: value for name, value in properties.as_dict().items()}
    pairs: Any = found.pop("User-Property", None)
    if pairs:
        found["User-Property"] = dict(pairs)
        found["User-Property-Pairs"] = [{"key": key, "value": value} for key, value in pairs]
    identifiers: Any = found.get("Subscription-Identifier")
    if isinstance(identifiers, list) and len(identifiers) == 1:
        found["Subscription-Identifier"] = identifiers[0]
    return {name: text_of(value) if isinstance(value, bytes) else value for name, value in found.items()}


def flags(columns: Any) -> Value:
    """What the first byte of the frame said that the message came in, and `sys` of the broker's own."""
    message = columns.message
    found: dict[str, Value] = {"retain": message.retain, "dup": bool(message.raw and message.raw[0] & DUP)}
    if message.sys:
        found["sys"] = True
    return found


def headers(columns: Any) -> Value:
    """Internal headers; those that are no values are left out."""
    message = columns.message
    found: dict[str, Value] = {
        "username": given(message.username),
        "peerhost": filled(message.peerhost),
        "properties": properties_map(message.properties),
    }
    if message.proto_ver:  # of a client; programs, rules and the API speak no protocol
        found["protocol"] = "mqtt"
        found["proto_ver"] = message.proto_ver
    for name, header in (message.headers or {}).items():
        try:
            found[name] = value_from(header)
        except EvalError:
            continue
    return found


def peer(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def subscribed_filter(columns: Any) -> Value:
    """What was subscribed to, without the prefix of a shared subscription."""
    name: str = columns.what[0]
    return parse_filter(name).filter if name.startswith(_PREFIXES) else name


def packet_properties(columns: Any) -> Value:
    """Those of the packet that the event is about; of what others do for a client there are none."""
    return properties_map(columns.client.said)
