"""`[rule_engine]`"""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from typing import Any, Final

import attrs

from trioemqx.config.fields import Kind, bytesize, duration, flag, integer, refuse
from trioemqx.config.schema import section, setting

_QOS: Final = {"qos0": 0, "qos1": 1, "qos2": 2}


OFF: Final = -1


def _event(value: object) -> int:
    """The QoS that an event is published with, OFF when it is not."""
    written = [str(value).lower()] if isinstance(value, bool) else value
    words = written.split(",") if isinstance(written, str) else written
    if isinstance(words, list | tuple) and 1 <= len(words) <= 2 and all(isinstance(word, str) for word in words):
        state, qos = (*[word.strip().lower() for word in words], "qos1")[:2]
        if state in ("off", "false") and qos in _QOS:
            return OFF
        if state in ("on", "true") and qos in _QOS:
            return _QOS[qos]
    raise refuse('off, on, or on with a QoS such as "on, qos1"', value)


event: Final = Kind("off | on, qos0..2", _event, lambda qos: "off" if qos == OFF else f"on, qos{qos}")


def _published(name: str) -> Any:
    return setting(event, OFF, f"Publish {name} as messages to $events/{name}.")


@attrs.frozen
class RuleEventsConfig:
    """`[rule_engine.events]`: events that are published as messages too, with their columns as JSON."""

    client_connected: int = _published("client_connected")
    client_disconnected: int = _published("client_disconnected")
    session_subscribed: int = _published("session_subscribed")
    session_unsubscribed: int = _published("session_unsubscribed")
    message_delivered: int = _published("message_delivered")
    message_acked: int = _published("message_acked")
    message_dropped: int = _published("message_dropped")


@attrs.frozen
class RuleEngineConfig:
    """`[rule_engine]`"""

    ignore_sys_message: bool = setting(flag, True, "Rules do not see $SYS messages and what happens to them.")
    events: RuleEventsConfig = section(RuleEventsConfig)
    max_hops: int = setting(
        integer(1, 100), 8, "How often a message may be republished by rules, one after the other.", added=True
    )
    max_crashes: int = setting(integer(1), 10, "Crashes of a rule within a minute that switch it off.", added=True)
    queue_size: int = setting(
        integer(1), 10_000, "What may wait for one action that asks a server; then the oldest goes.", added=True
    )
    queue_bytes: int = setting(bytesize, 256 * 1024**2, "The same in bytes, for all actions together.", added=True)
    retry_for: float = setting(
        duration, 10.0, "How long an action is tried again while its server cannot be reached.", added=True
    )
