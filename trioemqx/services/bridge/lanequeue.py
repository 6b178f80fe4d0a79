"""What both kinds of queue can do."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol

from trioemqx.services.bridge.item import Item

Drop = Callable[[str, int], None]
"""Counts messages that were dropped: (reason, how many)."""


class LaneQueue(Protocol):
    """Messages in their order. One is `put`, later `take`n, which leaves it in flight, and in the end `done`."""

    @property
    def waiting(self) -> int:
        """Messages that are not in flight."""

    @property
    def in_flight(self) -> int:
        """Messages that were taken and are not done."""

    @property
    def flight_bytes(self) -> int:
        """Their size."""

    def put(self, item: Item) -> None:
        """Add a message; when there is no room the oldest that waits is dropped."""

    def head(self) -> Item | None:
        """The message that `take` would give; None when `fill` has to look for more."""

    def take(self) -> Item:
        """The oldest message that waits; it is in flight then. IndexError when `head` is None."""

    def done(self, item: Item) -> None:
        """A message is settled. One that is not in flight any more is none of our business."""

    def rewind(self, only: Container[Item] | None = None) -> None:
        """What is in flight, or some of it, waits again, before the rest."""

    async def fill(self) -> bool:
        """Get more messages where they are kept; False when there are none."""

    async def run(self) -> None:
        """What has to be done beside, until cancelled."""

    async def close(self) -> None:
        """Keep what is left, if that is what it is for."""

    def export(self) -> list[Item]:
        """All messages that nobody else keeps."""
