"""MQTT 5 properties of what a rule publishes: names and values are templates.

What depends on no placeholder is checked when the rule is made, the rest for each result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from trioemqx.core.topics import validate_topic
from trioemqx.errors import ProtocolError
from trioemqx.rules.actions.rendering import text_of
from trioemqx.rules.sql.values import UNDEFINED, Text, Value, bytes_of
from trioemqx.rules.template import Template
from trioemqx.services.rulekit import ActionFailed, Output, ParamsRefused
from trioemqx.types import Properties

MAX_FIELD: Final = 65535
"""Bytes of one text in a packet."""
MAX_EXPIRY: Final = 0xFFFF_FFFF
MAX_PAIRS: Final = 100
"""User properties; MQTT clients and brokers need not take more, this one does not."""
MAX_DIGITS: Final = 10


@attrs.frozen
class PublishProperties:
    """The parameters `mqtt_properties` and `user_properties`."""

    mqtt: tuple[tuple[Template, Template], ...]
    user: tuple[tuple[Template, Template], ...]

    @classmethod
    def of(cls, mqtt: Mapping[str, object], user: Mapping[str, object]) -> PublishProperties | None:
        """None where there is nothing to set. Raises ParamsRefused for what can never be right."""
        if len(user) > MAX_PAIRS:
            raise ParamsRefused("{too_many,user_properties}")
        made = cls(_templates(mqtt, "mqtt_properties"), _templates(user, "user_properties"))
        made._check()
        return made if mqtt or user else None

    def render(self, output: Output) -> Properties:
        """The properties for a result. One of the standard's whose placeholder stands for nothing is left out. Raises
        ActionFailed for a value that no packet can carry."""
        found = Properties()
        for name, value in self.mqtt:
            given = value.value(output)
            if given is not UNDEFINED:
                _set(found, text_of(name, output), given)
        pairs = [(_field(text_of(name, output)), _field(text_of(value, output))) for name, value in self.user]
        if pairs:
            found.user_property = pairs
        return found

    def _check(self) -> None:
        """Try what has no placeholders."""
        try:
            for name, value in self.mqtt:
                if not name.has_placeholders:
                    check = _check_of(name.text)
                    if not value.has_placeholders:
                        check(value.text)
        except ActionFailed as error:
            raise ParamsRefused("{invalid_value,mqtt_properties}") from error
        try:
            for pair in self.user:
                for template in pair:
                    if not template.has_placeholders:
                        _field(template.text)
        except ActionFailed as error:
            raise ParamsRefused("{invalid_value,user_properties}") from error


def _templates(given: Mapping[str, object], param: str) -> tuple[tuple[Template, Template], ...]:
    """Names and values; a number or a boolean stands for its text."""
    made = []
    for name, value in given.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif not isinstance(value, str | int | float):
            raise ParamsRefused(f"{{invalid_value,{param}}}")
        made.append((Template(name), Template(str(value))))
    return tuple(made)


def _set(properties: Properties, name: str, value: Value) -> None:
    setattr(properties, _attribute(name), _check_of(name)(value))


def _attribute(name: str) -> str:
    """`content_type` of `Content-Type`."""
    return name.strip().replace("-", "_").lower()


def _check_of(name: str) -> Callable[[Value], object]:
    check = _CHECKS.get(_attribute(name))
    if check is None:
        raise ActionFailed(f"not a property of a message: {name:.100}")
    return check


def _number(value: Value, most: int) -> int:
    """An integer, or the digits of one."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ActionFailed(f"a property cannot be {value!r:.100}: expected 0 to {most}")
    return value


def _field(value: Value) -> str:
    """A text that fits into a packet."""
    if not isinstance(value, str):
        raise ActionFailed(f"a property cannot be {value!r:.100}: expected a text")
    if "\0" in value or len(value.encode()) > MAX_FIELD:
        raise ActionFailed(f"a property cannot hold this text: {value:.100}")
    return value


def _topic(value: Value) -> str:
    topic = _field(value)
    try:
        validate_topic(topic)
    except ProtocolError as error:
        raise ActionFailed(f"{error}: {topic:.100}") from error
    return topic


def _data(value: Value) -> bytes:
    if not isinstance(value, Text):
        raise ActionFailed(f"a property cannot be {value!r:.100}: expected a text")
    data = bytes_of(value)
    if len(data) > MAX_FIELD:
        raise ActionFailed(f"a property cannot hold {len(data)} bytes")
    return data


_CHECKS: Final[Mapping[str, Callable[[Value], object]]] = {
    "payload_format_indicator": lambda value: _number(value, 1),
    "message_expiry_interval": lambda value: _number(value, MAX_EXPIRY),
    "content_type": _field,
    "response_topic": _topic,
    "correlation_data": _data,
}
"""What a PUBLISH of ours may have besides user properties."""
