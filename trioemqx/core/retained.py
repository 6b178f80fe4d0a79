"""Retained messages: one per topic, found by wildcard without looking at branches that cannot match.

Topics form a tree by level. A `Search` walks it a few steps at a time and may rest for minutes between two of them
while messages come and go: it keeps places, not copies, so a thousand slow readers of `#` cost a thousand cursors.
"""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING, Final

from trioemqx.core.deadlines import Deadlines
from trioemqx.core.expiry import expired
from trioemqx.core.topics import is_wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioemqx.types import Message

MAX_PAYLOAD: Final = 1024 * 1024
STEPS_PER_MESSAGE: Final = 16
"""Nodes a search may visit per message asked for before it gives the turn back."""


class Topic:
    """One level of the tree. `order` holds the children by age, so that a cursor can go on where it was; a child that
    is gone stays there, without message and children, until a sweep. `epoch` counts what moved places in `order`."""

    __slots__ = ("children", "dead", "epoch", "message", "name", "order", "serial")

    def __init__(self, name: str, serial: int) -> None:
        self.name = name
        self.serial = serial
        self.message: Message | None = None
        self.children: dict[str, Topic] | None = None
        self.order: list[Topic] | None = None
        self.dead = 0
        self.epoch = 0

    def alive(self) -> bool:
        """False for a node that holds nothing and has been, or must be, taken out of the tree."""
        return self.message is not None or self.children is not None

    def add(self, child: Topic) -> None:
        """Append a child. Serials only grow, so `order` stays sorted by them."""
        if self.children is None or self.order is None:
            self.children = {}
            self.order = []
        self.children[child.name] = child
        self.order.append(child)

    def drop(self, child: Topic) -> None:
        """Take out a child that is not alive any more."""
        children = self.children
        order = self.order
        if children is None or order is None:
            return
        del children[child.name]
        self.dead += 1
        if not children:
            self.children = None
            self.order = None
        elif self.dead * 2 > len(order):
            self.order = [kept for kept in order if kept.alive()]
        else:
            return
        self.dead = 0
        self.epoch += 1


class Cursor:
    """A place among the children of one topic, valid whatever happens to them. Children that came later than the cursor
    are not visited, so a search ends. `depth` is the level of the filter that the children are compared with."""

    __slots__ = ("_end", "_epoch", "_index", "_last", "_no_dollar", "_parent", "depth")

    def __init__(self, parent: Topic, depth: int, no_dollar: bool) -> None:
        self.depth = depth
        self._parent = parent
        self._no_dollar = no_dollar
        self._epoch = parent.epoch
        self._index = 0
        self._last = -1
        self._end = parent.order[-1].serial if parent.order else -1

    def next(self) -> Topic | None:
        """The next place, or None at the end. What is there may be gone already."""
        order = self._parent.order
        if order is None:
            return None
        if self._epoch != self._parent.epoch:
            self._epoch = self._parent.epoch
            self._index = _first_after(order, self._last)
        if self._index == len(order):
            return None
        child = order[self._index]
        if child.serial > self._end:
            return None
        self._index += 1
        self._last = child.serial
        return child

    def hides(self, child: Topic) -> bool:
        """A wildcard on the first level does not reach `$` topics [MQTT-4.7.2-1]."""
        return self._no_dollar and child.name.startswith("$")


def _first_after(order: list[Topic], serial: int) -> int:
    """The index of the first child younger than `serial`."""
    low = 0
    high = len(order)
    while low < high:
        middle = (low + high) // 2
        if order[middle].serial <= serial:
            low = middle + 1
        else:
            high = middle
    return low


class Search:
    """The retained messages that match one valid filter, as they are when they are taken.

    A message that is there from the beginning to the end is found exactly once; one that comes or goes meanwhile may be
    found or not. `done` becomes True when nothing is left. With `hidden` wildcards reach `$` topics, too.
    """

    __slots__ = ("_hidden", "_stack", "_start", "_store", "_words", "done")

    def __init__(self, store: Retained, filter: str, hidden: bool = False) -> None:
        self.done = False
        self._hidden = hidden
        self._store = store
        self._words = filter.split("/")
        self._stack: list[Cursor] = []
        self._start = True

    def take(self, limit: int, now: float) -> list[Message]:
        """At most `limit` messages. The work is bounded too: the list may be short or empty before `done`."""
        found: list[Message] = []
        if self._start:
            self._start = False
            self._enter(self._store.root, 0, found, now)
        steps = limit * STEPS_PER_MESSAGE
        while self._stack and len(found) < limit and steps > 0:
            steps -= 1
            cursor = self._stack[-1]
            child = cursor.next()
            if child is None:
                self._stack.pop()
            elif child.alive() and not cursor.hides(child):
                self._enter(child, cursor.depth, found, now)
        self.done = not self._stack
        return found

    def _enter(self, topic: Topic, depth: int, found: list[Message], now: float) -> None:
        """Follow the plain levels from here, then note the message or open a cursor at the wildcard."""
        words = self._words
        while depth < len(words) and words[depth] != "+" and words[depth] != "#":
            child = None if topic.children is None else topic.children.get(words[depth])
            if child is None:
                return
            topic = child
            depth += 1
        more = depth < len(words)
        if not more or words[depth] == "#":  # `a/#` includes its parent `a`
            message = topic.message
            if message is not None and self._store.holds(message, now):
                found.append(message)
        if more and topic.children is not None:
            below = depth if words[depth] == "#" else depth + 1
            self._stack.append(Cursor(topic, below, topic is self._store.root and not self._hidden))


class Retained:
    """The retained store of one node.

    `max_messages` and `max_payload` (bytes) are limits, 0 = none; `expiry` is the age in seconds at which a message
    without an interval of its own goes, 0 = never. `refused` counts what a limit kept out, `bytes` sums topics and
    payloads. `changed` is called with each topic and its new message, or None when it is gone.
    """

    __slots__ = (
        "_deadlines",
        "_messages",
        "_serial",
        "bytes",
        "changed",
        "expiry",
        "max_messages",
        "max_payload",
        "refused",
        "root",
    )

    def __init__(self, max_messages: int = 0, max_payload: int = MAX_PAYLOAD, expiry: float = 0.0) -> None:
        self.max_messages = max_messages
        self.max_payload = max_payload
        self.expiry = expiry
        self.changed: Callable[[str, Message | None], None] | None = None
        self.bytes = 0
        self.refused = 0
        self.root = Topic("", 0)
        self._messages: dict[str, Message] = {}
        self._deadlines = Deadlines()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._messages)

    def store(self, message: Message, now: float) -> bool:
        """Keep a copy of a message as its topic's retained one, or with an empty payload delete that [MQTT-3.3.1-6].

        False when a limit refuses it; what was there before stays. The copy is marked `retained`.
        """
        topic = message.topic
        payload = message.payload
        if not payload:
            self.delete(topic)
            return True
        if 0 < self.max_payload < len(payload):
            self.refused += 1
            return False
        if 0 < self.max_messages <= len(self._messages) and topic not in self._messages:
            self.sweep(now, 1)
            if self.max_messages <= len(self._messages):
                self.refused += 1
                return False
        kept = message.copy()
        self.restore(kept)
        if self.changed is not None:
            self.changed(topic, kept)
        return True

    def restore(self, kept: Message) -> None:
        """Make a message its topic's retained one, itself and whatever the limits: it has been accepted before."""
        topic = kept.topic
        before = self._messages.get(topic)
        if before is not None:
            self.bytes -= len(topic) + len(before.payload)
        self.bytes += len(topic) + len(kept.payload)
        kept.retain = True
        kept.retained = True
        self._messages[topic] = kept
        self._grow(topic).message = kept
        self._schedule(kept)

    def delete(self, topic: str) -> bool:
        """Remove a topic's message. False when there was none."""
        message = self._messages.pop(topic, None)
        if message is None:
            return False
        self.bytes -= len(topic) + len(message.payload)
        self._deadlines.cancel(topic)
        self._prune(topic)
        if self.changed is not None:
            self.changed(topic, None)
        return True

    def clear(self) -> int:
        """Remove everything; returns how many messages there were."""
        gone = list(self._messages)
        self._messages.clear()
        self._deadlines = Deadlines()
        self.root = Topic("", 0)
        self.bytes = 0
        if self.changed is not None:
            for topic in gone:
                self.changed(topic, None)
        return len(gone)

    def get(self, topic: str, now: float) -> Message | None:
        """The message of exactly this topic."""
        message = self._messages.get(topic)
        return None if message is None or self.is_over(message, now) else message

    def holds(self, message: Message, now: float) -> bool:
        """True while this very message is its topic's retained one."""
        return self.get(message.topic, now) is message

    def search(self, filter: str, hidden: bool = False) -> Search:
        """Messages that match a valid filter, to be taken in bounded steps; `hidden` as for `Search`."""
        return Search(self, filter, hidden)

    def find(self, filter: str, now: float) -> Iterator[Message]:
        """The same as an iterator, which runs on until it finds the next one; `now` stays what it was at the start."""
        if not is_wildcard(filter):
            message = self.get(filter, now)
            if message is not None:
                yield message
            return
        search = Search(self, filter)
        while not search.done:
            yield from search.take(1, now)

    def page(self, filter: str | None, start: int, limit: int, now: float) -> list[Message]:
        """At most `limit` messages from number `start` on, all of them or those that match a filter; for the API."""
        found: list[Message] = []
        source = self._all(now) if filter is None else self.find(filter, now)
        for number, message in enumerate(source):
            if len(found) == limit:
                break
            if number >= start:
                found.append(message)
        return found

    def sweep(self, now: float, limit: int) -> int:
        """Remove at most `limit` messages that are over; returns how many. Ask again while it returns `limit`."""
        gone = self._deadlines.due(now, limit)
        for topic in gone:
            if isinstance(topic, str):
                self.delete(topic)
        return len(gone)

    def is_over(self, message: Message, now: float) -> bool:
        """True when a message has expired, by its own interval or, without one, by the configured age."""
        properties = message.properties
        if properties is not None and properties.message_expiry_interval is not None:
            return expired(message, now)
        return self.expiry > 0 and now - message.received > self.expiry

    # Below: the tree

    def _all(self, now: float) -> Iterator[Message]:
        for message in self._messages.values():
            if not self.is_over(message, now):
                yield message

    def _schedule(self, message: Message) -> None:
        age: float = self.expiry
        properties = message.properties
        if properties is not None and properties.message_expiry_interval is not None:
            age = float(properties.message_expiry_interval)
        elif age <= 0:
            self._deadlines.cancel(message.topic)
            return
        # A message of exactly that age is still good.
        self._deadlines.set(message.topic, nextafter(message.received + age, inf))

    def _grow(self, topic: str) -> Topic:
        node = self.root
        for word in topic.split("/"):
            child = None if node.children is None else node.children.get(word)
            if child is None:
                self._serial += 1
                child = Topic(word, self._serial)
                node.add(child)
            node = child
        return node

    def _prune(self, topic: str) -> None:
        """Take the message off its node, and then every node that holds nothing, from the leaf up."""
        path = [self.root]
        for word in topic.split("/"):
            children = path[-1].children
            if children is None:
                return
            path.append(children[word])
        path[-1].message = None
        for index in range(len(path) - 1, 0, -1):
            if path[index].alive():
                return
            path[index - 1].drop(path[index])
