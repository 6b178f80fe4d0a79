"""The part of the broker facade that services use; the broker itself has more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trioemqx.types import Message


class BrokerLike(Protocol):
    """What a service may ask of the broker."""

    @property
    def node(self) -> str:
        """The node's name, as in `$SYS/brokers/<node>/...`."""

    @property
    def version(self) -> str:
        """The broker's version."""

    @property
    def metrics(self) -> dict[str, int]:
        """Every counter by EMQX's name."""

    def now(self) -> float:
        """The broker's monotonic clock, in seconds."""

    def publish(self, message: Message) -> int:
        """Route one message; returns the number of deliveries."""

    def kick(self, clientid: str) -> bool:
        """End a client's session; False when there was none."""

    def stats(self) -> dict[str, int]:
        """All gauges by their full names (`connections.count`, `connections.max`, ...)."""
