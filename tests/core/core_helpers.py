"""A receiver that only remembers, shared by the tests of the core."""

from __future__ import annotations

from trioemqx.core.callback import Callback
from trioemqx.core.subscription import Subscription
from trioemqx.types import Message, SubOpts


class Sink:
    """Takes messages into a list; `online` is what the receiver says about being connected."""

    def __init__(self, clientid: str, online: bool = True) -> None:
        self.online = online
        self.got: list[tuple[str, str]] = []
        self.receiver = Callback(clientid, self.take, lambda: self.online)

    def take(self, message: Message, subscription: Subscription) -> None:
        self.got.append((message.topic, subscription.filter))


def subscription(clientid: str, filter: str, group: str = "", online: bool = True) -> Subscription:
    """A QoS 0 subscription of a new Sink."""
    return Subscription(Sink(clientid, online).receiver, filter, SubOpts(), group)
