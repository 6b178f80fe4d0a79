"""Sending retained messages after a SUBSCRIBE: a walk per filter, taken in small steps.

A walk pulls from the retained store only while the client keeps up, so a `#` over a million retained messages neither
fills memory nor keeps other clients waiting. Subscribing again restarts the walk of that filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.core.retained import Search
from trioemqx.core.subscription import Subscription
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel
    from trioemqx.core.session import Session

STEP: Final = 20
"""Retained messages looked up at a time."""
PER_TURN: Final = 200
"""Retained messages one client may be given in one turn."""


class RetainedWalk:
    """What is left of one filter's retained messages. `found` is what was looked up and not yet sent, latest first."""

    __slots__ = ("found", "search", "subscription")

    def __init__(self, search: Search, subscription: Subscription) -> None:
        self.search = search
        self.subscription = subscription
        self.found: list[Message] = []

    def look(self, now: float) -> bool:
        """Look up some more, which may be none; False at the end. What is looked up together is sent by its age."""
        if self.search.done:
            return False
        self.found = sorted(self.search.take(STEP, now), key=_received)
        self.found.reverse()
        return True


def start(channel: Channel, subscription: Subscription) -> None:
    """Begin (or begin again) to send the retained messages of a filter; `walk` does it in steps."""
    broker = channel.broker
    if not broker.retaining:
        return
    walks = channel.walks
    if walks is None:
        walks = channel.walks = {}
    walks[subscription.filter] = RetainedWalk(broker.retained.search(subscription.filter), subscription)


def begin(session: Session, subscription: Subscription) -> None:
    """Send the retained messages of a filter that somebody else has subscribed the client to. Those of an absent client
    go into its queue as far as that has room, at most PER_TURN of them; its next connection gets the others."""
    channel = session.channel
    if channel is not None and not channel.closing:
        start(channel, subscription)
        walk(channel)
        if channel.more:
            channel.out.touch()
        return
    broker = session.broker
    if not broker.retaining:
        return
    current = RetainedWalk(broker.retained.search(subscription.filter), subscription)
    if session.walks is None:
        session.walks = {}
    session.walks[subscription.filter] = current
    if _queue(session, current):
        del session.walks[subscription.filter]


def _queue(session: Session, current: RetainedWalk) -> bool:
    """Queue what there is room for; True when nothing is left."""
    left = PER_TURN // session.broker.pressure.retained_share
    while left > 0 and session.queue_has_room():
        if current.found:
            left -= 1
            _send(session, current)
        elif current.look(session.broker.now):
            left -= STEP - len(current.found)
        else:
            return True
    return False


def stop(session: Session, filter: str) -> None:
    """The subscription is gone."""
    channel = session.channel
    if channel is not None and channel.walks:
        channel.walks.pop(filter, None)
    if session.walks:
        session.walks.pop(filter, None)


def _received(message: Message) -> float:
    return message.received


def walk(channel: Channel) -> None:
    """Deliver a few retained messages; `channel.more` asks for another turn while the client keeps up.

    A client that is behind is not waited for: its next acknowledgement, or `Channel.drained`, comes back here.
    """
    session = channel.session
    walks = channel.walks
    if session is None or not walks:
        return
    broker = channel.broker
    out = channel.out
    left = PER_TURN // broker.pressure.retained_share
    while left > 0:
        if channel.closing or not session.has_room():  # closing: a hook may have kicked the client
            return
        if out.size >= out.low:  # what is there goes to the socket first
            break
        name = next(iter(walks))
        current = walks[name]
        if current.found:
            left -= 1
            _send(session, current)
        elif current.look(broker.now):
            left -= STEP - len(current.found)
        else:
            del walks[name]
        if not walks:
            return
    if out.marks is None and (not out.blocked or out.size < out.low):  # else `Channel.drained` comes back here
        channel.more = True


def _send(session: Session, current: RetainedWalk) -> None:
    """One message, unless it has gone meanwhile or its publisher has been banned."""
    broker = session.broker
    message = current.found.pop()
    if broker.retained.holds(message, broker.now) and not broker.access.source_banned(message.publisher):
        broker.work += 1
        session.deliver(message, current.subscription)
