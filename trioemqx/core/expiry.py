"""Message-Expiry-Interval: counted from the moment this broker received the message [MQTT5 3.3.2.3.3]."""

from __future__ import annotations

from trioemqx.types import Message


def expired(message: Message, now: float) -> bool:
    """True when more seconds than the message allows have passed since it came; without an interval never."""
    properties = message.properties
    if properties is None or properties.message_expiry_interval is None:
        return False
    return now - message.received > properties.message_expiry_interval


def remaining(message: Message, now: float) -> int | None:
    """The interval to send on [MQTT-3.3.2-6]: less the whole seconds spent here, at least 1. None without one."""
    properties = message.properties
    if properties is None or properties.message_expiry_interval is None:
        return None
    spent = max(int(now - message.received), 0)
    return max(properties.message_expiry_interval - spent, 1)
