"""What waits to be written to one connection.

The core appends encoded frames and never waits; the pump joins and sends them at the end of its round. `blocked` is set
by the pump while the kernel does not take more, so only then does a long outbox mean a slow receiver.
"""

from __future__ import annotations


class Mark:
    """From the `parts`th part on, behind `size` bytes, an outbox waits for the batch `ticket`. `promises` is the number
    of acknowledgements to the client among what waits."""

    __slots__ = ("parts", "promises", "size", "ticket")

    def __init__(self, ticket: int, parts: int, size: int) -> None:
        self.ticket = ticket
        self.parts = parts
        self.size = size
        self.promises = 0


class Outbox:
    """Frames for one connection, in order. `owner` is the connection; `dirty_list` is the pump's list of outboxes that
    got something this round. `marks` is None unless something waits for the store."""

    __slots__ = ("blocked", "dirty", "dirty_list", "high", "low", "marks", "owner", "parts", "size")

    def __init__(self, dirty_list: list[Outbox], owner: object, high: int = 1024 * 1024, low: int = 256 * 1024) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.marks: list[Mark] | None = None
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
        if self.marks is not None:
            return self._take_ready(limit, self.marks)
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
        self.marks = None

    # -- what waits for the store ------------------------------------------------------------------------------------

    def ready(self) -> int:
        """Bytes that may be sent now."""
        marks = self.marks
        return self.size if marks is None else marks[0].size

    def gate(self, ticket: int) -> bool:
        """What is put in from here on waits for a batch; False when it did already."""
        marks = self.marks
        if marks is None:
            self.marks = [Mark(ticket, len(self.parts), self.size)]
            return True
        if marks[-1].ticket == ticket:
            return False
        marks.append(Mark(ticket, len(self.parts), self.size))
        return True

    def promise(self) -> int:
        """One more message of the client's is acknowledged behind the last gate; returns how many are behind gates."""
        marks = self.marks
        if marks is None:
            return 0
        marks[-1].promises += 1
        return self.promised()

    def promised(self) -> int:
        """Messages of the client's that wait for the store to be acknowledged."""
        marks = self.marks
        total = 0
        if marks is not None:
            for mark in marks:
                total += mark.promises
        return total

    def open_gate(self, ticket: int) -> None:
        """Batches up to this one have been written."""
        marks = self.marks
        if marks is not None:
            left = [mark for mark in marks if mark.ticket > ticket]
            self.marks = left or None

    def discard(self) -> None:
        """What waits is never to be said."""
        marks = self.marks
        if marks is not None:
            del self.parts[marks[0].parts :]
            self.size = marks[0].size
            self.marks = None

    def _take_ready(self, limit: int, marks: list[Mark]) -> bytes:
        parts = self.parts
        last = marks[0].parts
        size = 0
        count = 0
        while count < last and size < limit:
            size += len(parts[count])
            count += 1
        data = b"".join(parts[:count])
        del parts[:count]
        self.size -= size
        for mark in marks:
            mark.parts -= count
            mark.size -= size
        return data
