"""One message on its way to one client: queued, in flight, or waiting for PUBCOMP."""

from __future__ import annotations

from typing import Final

from trioemqx.types import Message

QUEUED: Final = 0
SENT: Final = 1
"""PUBLISH sent, PUBACK or PUBREC awaited."""
RELEASED: Final = 2
"""PUBREC received and PUBREL sent, PUBCOMP awaited."""


class Delivery:
    """`qos`, `retain` and `identifier` are already those of the subscription; `group` and `filter` let a shared message
    go to another member when the session ends. `sent_at` is monotonic seconds of the last (re)transmission, `first_at`
    of the first one."""

    __slots__ = ("filter", "first_at", "group", "identifier", "message", "qos", "retain", "sent_at", "state")

    def __init__(
        self, message: Message, qos: int, retain: bool, identifier: int, group: str = "", filter: str = ""
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.identifier = identifier
        self.group = group
        self.filter = filter
        self.state = QUEUED
        self.sent_at = 0.0
        self.first_at = 0.0
