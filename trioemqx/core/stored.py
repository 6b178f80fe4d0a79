"""A message that the store holds, or will hold, for sessions that outlive the process."""

from __future__ import annotations

from trioemqx.types import Message


class Stored:
    """One row of `messages`, made in the batch `ticket`, under `number`. `message` is needed until the row is encoded,
    and let go of then: the message refers to this, and nobody collects cycles."""

    __slots__ = ("message", "number", "ticket")

    def __init__(self, number: int, message: Message, ticket: int) -> None:
        self.number = number
        self.ticket = ticket
        self.message: Message | None = message

    def forget(self) -> None:
        """The row is encoded."""
        self.message = None
