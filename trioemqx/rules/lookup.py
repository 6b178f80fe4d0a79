"""Which rules want a message or an event: by topic through a trie, with a memory of topics seen lately."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from trioemqx.core.topics import is_wildcard, matches
from trioemqx.core.trie import Trie

R = TypeVar("R")

EVENT_PREFIX: Final = "$events/"
CACHED_TOPICS: Final = 5000
"""Topics of each of the two generations that are remembered."""
LONGEST_CACHED: Final = 256
"""Characters of a topic that is worth remembering."""


class Lookup(Generic[R]):
    """Rules by what they select from. `events` are the topics of all events, `$events/client_connected`.

    Rules come back in the order of their places, each once, even if several of its filters match.
    """

    def __init__(self, events: Iterable[str]) -> None:
        self._events = tuple(events)
        self._places: dict[R, int] = {}
        self._exact: dict[str, dict[R, None]] = {}
        self._wild: Trie[dict[R, None]] = Trie()
        self._by_event: dict[str, dict[R, None]] = {}
        self._young: dict[str, tuple[R, ...]] = {}
        self._old: dict[str, tuple[R, ...]] = {}

    def add(self, rule: R, sources: Iterable[str], place: int) -> None:
        """Add a rule that selects from these filters and events. `place` orders rules that want the same."""
        self._places[rule] = place
        for source in sources:
            self._table(source, rule)
        self._forget()

    def remove(self, rule: R, sources: Iterable[str]) -> None:
        """Take a rule out, with the same sources."""
        self._places.pop(rule, None)
        for source in sources:
            self._drop(source, rule)
        self._forget()

    def messages(self, topic: str) -> tuple[R, ...]:
        """The rules that want a message of a topic."""
        found = self._young.get(topic)
        return self._seek(topic) if found is None else found

    def event(self, topic: str) -> tuple[R, ...]:
        """The rules that want an event, by its topic."""
        return self._in_order(self._by_event.get(topic, ()))

    def wants_messages(self) -> bool:
        """True while some rule selects from published messages."""
        return bool(self._exact) or len(self._wild) > 0

    def _table(self, source: str, rule: R) -> None:
        if source.startswith(EVENT_PREFIX):
            for event in self._events:
                if matches(source, event):
                    self._by_event.setdefault(event, {})[rule] = None
        elif is_wildcard(source):
            among = self._wild.get(source)
            if among is None:
                among = {}
                self._wild.set(source, among)
            among[rule] = None
        else:
            self._exact.setdefault(source, {})[rule] = None

    def _drop(self, source: str, rule: R) -> None:
        if source.startswith(EVENT_PREFIX):
            for event in self._events:
                _take_out(self._by_event, event, rule)
        elif is_wildcard(source):
            among = self._wild.get(source)
            if among is not None:
                among.pop(rule, None)
                if not among:
                    self._wild.remove(source)
        else:
            _take_out(self._exact, source, rule)

    def _seek(self, topic: str) -> tuple[R, ...]:
        found = self._old.get(topic)
        if found is None:
            among = dict(self._exact.get(topic, ()))
            for rules in self._wild.match(topic):
                among.update(rules)
            found = self._in_order(among)
        if len(topic) <= LONGEST_CACHED:
            if len(self._young) >= CACHED_TOPICS:
                self._old, self._young = self._young, {}
            self._young[topic] = found
        return found

    def _in_order(self, rules: Iterable[R]) -> tuple[R, ...]:
        return tuple(sorted(rules, key=self._places.__getitem__))

    def _forget(self) -> None:
        """What is remembered is no longer true."""
        self._young = {}
        self._old = {}


def _take_out(table: dict[str, dict[R, None]], key: str, rule: R) -> None:
    among = table.get(key)
    if among is not None:
        among.pop(rule, None)
        if not among:
            del table[key]
