"""Which rules want a topic: the same as by looking at each of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioemqx.core.topics import matches
from trioemqx.rules import lookup
from trioemqx.rules.lookup import Lookup

EVENTS = ("$events/a", "$events/b")
WORDS = st.sampled_from(["a", "b", "", "$x"])
TOPICS = st.lists(WORDS, min_size=1, max_size=3).map("/".join).filter(bool)
FILTERS = st.one_of(
    TOPICS,
    st.lists(st.sampled_from(["a", "b", "+", ""]), min_size=1, max_size=3).map("/".join).filter(bool),
    st.lists(st.sampled_from(["a", "+"]), max_size=2).map(lambda words: "/".join([*words, "#"])),
    st.sampled_from([*EVENTS, "$events/+", "$events/a/x", "$events/#"]),
)


def wanted(sources: list[str], topic: str) -> bool:
    return any(not source.startswith("$events/") and matches(source, topic) for source in sources)


@given(st.lists(st.lists(FILTERS, min_size=1, max_size=3), max_size=6), st.lists(TOPICS, max_size=5), st.data())
def test_it_finds_what_a_walk_would(rules: list[list[str]], topics: list[str], data: st.DataObject) -> None:
    table: Lookup[int] = Lookup(EVENTS)
    alive: dict[int, list[str]] = {}
    for number, sources in enumerate(rules):
        table.add(number, sources, number)
        alive[number] = sources
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(alive)))
            table.remove(gone, alive.pop(gone))
        for topic in topics:
            expected = tuple(number for number, sources in alive.items() if wanted(sources, topic))
            assert table.messages(topic) == expected
            assert table.messages(topic) == expected, "also from memory"
        for event in EVENTS:
            found = tuple(n for n, sources in alive.items() if any(matches(source, event) for source in sources))
            assert table.event(event) == found
    for number, sources in alive.items():
        table.remove(number, sources)
    assert not table.wants_messages()


def test_what_is_remembered_is_bounded() -> None:
    table: Lookup[int] = Lookup(())
    table.add(1, ["#"], 1)
    for number in range(3 * lookup.CACHED_TOPICS):
        assert table.messages(f"t/{number}") == (1,)
    assert table.messages("x" * 60_000) == (1,)
    assert len(table._young) + len(table._old) <= 2 * lookup.CACHED_TOPICS
    assert max(map(len, table._young)) <= lookup.LONGEST_CACHED
