"""What waits to be written to one connection.

The core appends encoded frames and never waits; the pump joins and sends them at the end of its round. `blocked` is set
by the pump while the kernel does not take more, so only then does a long outbox mean a slow receiver.
"""

from __future__ import annotations


class Outbox:
    """Frames for one connection, in order. `owner` is the connection; `dirty_list` is the pump's list of outboxes that
    got something this round."""

    __slots__ = ("blocked", "dirty", "dirty_list", "high", "low", "owner", "parts", "size")

    def __init__(self, dirty_list: list[Outbox], owner: object, high: int = 1024 * 1024, low: int = 256 * 1024) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.dirty = False
        self.blocked = False
        self.dirty_list = dirty_list
        self.owner = owner
        self.high = high
        self.low = low

    def put(self, frame: bytes) -> None:
        """Append one frame; the pump writes it this round."""
        self.parts.append(frame)
        self.size += len(frame)
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def put3(self, head: bytes, middle: bytes, tail: bytes) -> None:
        """Append one frame given as three parts, so that shared parts are not copied per receiver."""
        parts = self.parts
        parts.append(head)
        parts.append(middle)
        parts.append(tail)
        self.size += len(head) + len(middle) + len(tail)
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def touch(self) -> None:
        """Have the pump look at this connection at the end of the round, also without bytes to send."""
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def full(self) -> bool:
        """True while the peer does not read fast enough and more than `high` bytes wait for it."""
        return self.blocked and self.size > self.high

    def take(self, limit: int) -> bytes:
        """Remove and return at most about `limit` bytes from the front (whole parts, at least one)."""
        parts = self.parts
        if self.size <= limit:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            self.parts = []
            self.size = 0
            return data
        count = 0
        size = 0
        for part in parts:
            size += len(part)
            count += 1
            if size >= limit:
                break
        data = b"".join(parts[:count])
        del parts[:count]
        self.size -= size
        return data

    def clear(self) -> None:
        """Forget everything: the connection is gone."""
        self.parts = []
        self.size = 0
