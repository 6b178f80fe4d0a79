"""The QoS of what an action publishes: fixed, the value of a placeholder, or that of the original message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trioemqx.rules.template import Template
from trioemqx.services.rulekit import ActionFailed, Output, ParamsRefused, RuleEvent

AS_ORIGINAL: Final = -1
"""Stands for the QoS of the message that the event is about."""
_QOS: Final[dict[object, int]] = {0: 0, 1: 1, 2: 2, "0": 0, "1": 1, "2": 2}
_PARAM: Final[dict[object, int]] = {**_QOS, AS_ORIGINAL: AS_ORIGINAL, str(AS_ORIGINAL): AS_ORIGINAL}


class TargetQos:
    """A parameter with a QoS. Raises ParamsRefused."""

    def __init__(self, value: object, name: str) -> None:
        self._wanted = fixed(value, _PARAM, name)

    def of(self, output: Output, event: RuleEvent) -> int:
        """The QoS for a result of an event. Raises ActionFailed."""
        wanted = self._wanted
        if isinstance(wanted, int) and wanted != AS_ORIGINAL:
            return wanted
        found = wanted.value(output) if isinstance(wanted, Template) else event.get("qos") or 0
        if isinstance(found, bool) or not isinstance(found, int | str) or found not in _QOS:
            raise ActionFailed(f"bad QoS: {found!r:.100}")
        return _QOS[found]


def fixed(value: object, known: Mapping[object, object], name: str) -> Any:
    """What holds for all results, or the template of it. Raises ParamsRefused."""
    if isinstance(value, str) and "${" in value:
        return Template(value)
    if not isinstance(value, int | str) or value not in known:
        raise ParamsRefused(f"{{invalid_value,{name}}}")
    return known[value]
