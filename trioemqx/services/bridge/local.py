"""This side of a bridge: the broker that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trioemqx.types import Message


class Subscribed(Protocol):
    """A local subscription."""

    def close(self) -> None:
        """End it."""


class Local(Protocol):
    """This side: a plugin's `context.broker` is one."""

    @property
    def node(self) -> str:
        """The node's name."""

    def publish(self, message: Message) -> int:
        """Publish here."""

    def subscribe(self, filter: str, call: Callable[[Message], object], qos: int = 2) -> Subscribed:
        """Have a function called with what matches."""
