"""What a bridge counts."""

from __future__ import annotations

from typing import Final

QUEUE_FULL: Final = "queue_full"
EXPIRED: Final = "expired"
TOO_LARGE: Final = "too_large"
INVALID: Final = "invalid"
REFUSED: Final = "refused"
DAMAGED: Final = "damaged"
REASONS: Final = (QUEUE_FULL, EXPIRED, TOO_LARGE, INVALID, REFUSED, DAMAGED)
"""Why a message did not arrive: it was pushed out of the queue; its time had run out; the server takes none so large;
no packet can hold it, or no topic; the server has refused it; the disk has lost it."""


class BridgeCounters:
    """`matched` messages were for the bridge; `sent` counts each sending, `acked` those that arrived (at QoS 0: that
    were sent). `received` came from the other side; `received_invalid` of them could not be published here. Those that
    got lost are in `dropped`, by reason. `connects` and `reconnects` count accepted connections, the first of each lane
    and the later ones."""

    __slots__ = ("acked", "connects", "dropped", "matched", "received", "received_invalid", "reconnects", "sent")

    def __init__(self) -> None:
        self.matched = self.sent = self.acked = 0
        self.received = self.received_invalid = 0
        self.connects = self.reconnects = 0
        self.dropped = dict.fromkeys(REASONS, 0)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count messages that do not arrive."""
        self.dropped[reason] += count

    def as_dict(self) -> dict[str, int]:
        """All of them by name, `dropped.<reason>` too."""
        found = {name: getattr(self, name) for name in self.__slots__ if name != "dropped"}
        return {**found, **{f"dropped.{reason}": count for reason, count in self.dropped.items()}}
