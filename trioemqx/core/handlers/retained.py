"""Sending retained messages after a SUBSCRIBE: a walk per filter, taken in small steps.

A walk pulls from the retained store only while the client keeps up, so a `#` over a million retained messages neither
fills memory nor keeps other clients waiting. Subscribing again restarts the walk of that filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.core.retained import Search
from trioemqx.core.subscription import Subscription

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel

STEP: Final = 20
"""Retained messages taken at a time."""
STEPS_PER_TURN: Final = 10


class RetainedWalk:
    """What is left of one filter's retained messages."""

    __slots__ = ("search", "subscription")

    def __init__(self, search: Search, subscription: Subscription) -> None:
        self.search = search
        self.subscription = subscription


def start(channel: Channel, subscription: Subscription) -> None:
    """Begin (or begin again) to send the retained messages of a filter; `walk` does it in steps."""
    broker = channel.broker
    walks = channel.walks
    if walks is None:
        walks = channel.walks = {}
    walks[subscription.filter] = RetainedWalk(broker.retained.search(subscription.filter), subscription)


def stop(channel: Channel, filter: str) -> None:
    """The subscription is gone."""
    if channel.walks:
        channel.walks.pop(filter, None)


def walk(channel: Channel) -> None:
    """Deliver a few retained messages; `channel.more` asks for another turn while the client keeps up.

    A client that is behind is not waited for: its next acknowledgement, or `Channel.drained`, comes back here.
    """
    session = channel.session
    walks = channel.walks
    if session is None or not walks or channel.closing:
        return
    broker = channel.broker
    for _ in range(STEPS_PER_TURN):
        if not session.has_room():
            return
        name = next(iter(walks))
        current = walks[name]
        for message in current.search.take(STEP, broker.now):
            broker.work += 1
            session.deliver(message, current.subscription)
        if current.search.done:
            del walks[name]
            if not walks:
                return
    channel.more = True
