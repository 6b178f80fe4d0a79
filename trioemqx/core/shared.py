"""Shared subscriptions: which member of a group gets this message. And `$exclusive` topics, which have one holder.

A group is one (share name, filter) pair; several groups on one filter each get a copy of the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from trioemqx.core.subscription import Subscription

if TYPE_CHECKING:
    from random import Random

RANDOM: Final = "random"
ROUND_ROBIN: Final = "round_robin"
STICKY: Final = "sticky"
LOCAL: Final = "local"
HASH: Final = "hash"
HASH_CLIENTID: Final = "hash_clientid"
HASH_TOPIC: Final = "hash_topic"
STRATEGIES: Final = (RANDOM, ROUND_ROBIN, STICKY, LOCAL, HASH, HASH_CLIENTID, HASH_TOPIC)

MAX_REMEMBERED: Final = 1024
"""Groups one publishing connection remembers for round_robin and sticky; beyond it starts afresh."""


class Group:
    """The members of one share name on one filter.

    `members` has no order that means anything: a member knows its place (`subscription.slot`), so that leaving costs
    the same in a group of ten thousand. `slot` is the group's own place in its filter's list.
    """

    __slots__ = ("_random", "filter", "key", "members", "name", "slot", "strategy")

    def __init__(self, name: str, filter: str, strategy: str, random: Random) -> None:
        self.name = name
        self.filter = filter
        self.key = group_key(name, filter)
        self.strategy = strategy
        self.members: list[Subscription] = []
        self.slot = -1
        self._random = random

    def add(self, subscription: Subscription) -> None:
        """Take a member in. The caller makes sure that it is not one already."""
        subscription.slot = len(self.members)
        self.members.append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Let a member go: the last one takes its place."""
        last = self.members.pop()
        if last is not subscription:
            self.members[subscription.slot] = last
            last.slot = subscription.slot
        subscription.slot = -1

    def pick(
        self, state: dict[object, object], publisher: str, topic: str, exclude: list[Subscription] | None = None
    ) -> Subscription | None:
        """Choose the member for one message, or None when all are excluded or there is none.

        `state` is the publishing connection's own dictionary, where round_robin and sticky remember their last choice
        (at most MAX_REMEMBERED groups). Members whose client is connected are preferred; an absent one is chosen only
        when there is no other.
        """
        count = len(self.members)
        if count == 0:
            return None
        strategy = self.strategy
        if strategy == ROUND_ROBIN:
            return self._next(state, exclude)
        if strategy == STICKY:
            return self._same(state, exclude)
        if strategy == HASH_TOPIC:
            return self._from(_hash(topic) % count, exclude)
        if strategy in (HASH, HASH_CLIENTID):
            return self._from(_hash(publisher) % count, exclude)
        # RANDOM; LOCAL too, because all members listed here are on this node.
        return self._any(exclude)

    def _next(self, state: dict[object, object], exclude: list[Subscription] | None) -> Subscription | None:
        last = state.get(self.key)
        count = len(self.members)
        start = (last + 1) % count if isinstance(last, int) else int(self._random.random() * count)
        chosen = self._from(start, exclude)
        if chosen is not None:
            _remember(state, self.key, chosen.slot)
        return chosen

    def _same(self, state: dict[object, object], exclude: list[Subscription] | None) -> Subscription | None:
        kept = state.get(self.key)
        # A subscription that was taken out of the router has no entry any more.
        if isinstance(kept, Subscription) and kept.entry is not None and _ready(kept, exclude):
            return kept
        chosen = self._any(exclude)
        if chosen is not None:
            _remember(state, self.key, chosen)
        return chosen

    def _any(self, exclude: list[Subscription] | None) -> Subscription | None:
        """A member, each with the same chance."""
        members = self.members
        chosen = members[int(self._random.random() * len(members))]
        if _ready(chosen, exclude):
            return chosen
        ready = [member for member in members if _ready(member, exclude)]
        if not ready:
            ready = [member for member in members if exclude is None or member not in exclude]
        return ready[int(self._random.random() * len(ready))] if ready else None

    def _from(self, start: int, exclude: list[Subscription] | None) -> Subscription | None:
        """The first connected member from `start` on, going round; else the first absent one."""
        members = self.members
        count = len(members)
        absent: Subscription | None = None
        for step in range(count):
            member = members[(start + step) % count]
            if _ready(member, exclude):
                return member
            if absent is None and (exclude is None or member not in exclude):
                absent = member
        return absent


def group_key(name: str, filter: str) -> str:
    """One text for (name, filter); a share name holds no `/`, so two pairs never give the same."""
    return f"{name}/{filter}"


def _ready(member: Subscription, exclude: list[Subscription] | None) -> bool:
    return (exclude is None or member not in exclude) and member.receiver.connected()


def _remember(state: dict[object, object], key: str, choice: object) -> None:
    if len(state) >= MAX_REMEMBERED and key not in state:
        state.clear()
    state[key] = choice


def _hash(text: str) -> int:
    """The same on every node and after every restart, unlike `hash()`."""
    return crc32(text.encode("utf-8", "surrogatepass"))


class Exclusive:
    """Who holds which `$exclusive/<topic>`."""

    __slots__ = ("_holders",)

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}

    def claim(self, topic: str, clientid: str) -> bool:
        """Take a topic. False when anybody holds it already, the same client included (the answer is 0x97)."""
        if topic in self._holders:
            return False
        self._holders[topic] = clientid
        return True

    def release(self, topic: str, clientid: str) -> bool:
        """Give a topic back. False when this client does not hold it."""
        if self._holders.get(topic) != clientid:
            return False
        del self._holders[topic]
        return True

    def holder(self, topic: str) -> str | None:
        """The clientid that holds a topic, or None."""
        return self._holders.get(topic)

    def __len__(self) -> int:
        return len(self._holders)
