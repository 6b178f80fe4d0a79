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
    of the first one. `packet_id` is the one it was sent under, 0 before.

    `key` names the row that keeps it for this session ("" = there is none), `number` the row of its message; `released`
    counts PUBRELs over all sessions, so that their order is known."""

    __slots__ = (
        "filter",
        "first_at",
        "group",
        "identifier",
        "key",
        "message",
        "number",
        "packet_id",
        "qos",
        "released",
        "retain",
        "sent_at",
        "state",
    )

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
        self.packet_id = 0
        self.key = ""
        self.number = 0
        self.released = 0
