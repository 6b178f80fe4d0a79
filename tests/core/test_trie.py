"""The filter trie against a naive scan, and its bounds: depth, pruning, work per match."""

from __future__ import annotations

from itertools import product

from counted_steps import steps
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.topics import matches
from trioemqx.core.trie import Trie

WORDS = st.sampled_from(["a", "b", "", "$s"])
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("/".join).filter(bool)
PARTS = st.tuples(st.lists(st.sampled_from(["a", "b", "", "$s", "+", "+"]), max_size=4), st.sampled_from([[], ["#"]]))
FILTERS = PARTS.map(lambda parts: "/".join(parts[0] + parts[1])).filter(bool)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), FILTERS), max_size=30), st.lists(NAMES, max_size=8))
def test_match_equals_a_scan_after_any_changes(changes: list[tuple[bool, str]], names: list[str]) -> None:
    trie: Trie[str] = Trie()
    present: set[str] = set()
    for add, filter in changes:
        if add:
            trie.set(filter, filter)
            present.add(filter)
        else:
            assert trie.remove(filter) == (filter in present)
            present.discard(filter)
        assert len(trie) == len(present)
        assert trie.get(filter) == (filter if filter in present else None)
    for name in names:
        assert sorted(trie.match(name)) == sorted(filter for filter in present if matches(filter, name))
    for filter in present:
        assert trie.remove(filter)
    assert trie.nodes() == 0


def test_setting_again_replaces_the_value() -> None:
    trie: Trie[int] = Trie()
    trie.set("a/#", 1)
    trie.set("a/#", 2)
    assert (len(trie), trie.match("a/b"), trie.get("a")) == (1, [2], None)


def test_a_prefix_survives_the_removal_of_a_longer_filter() -> None:
    trie: Trie[str] = Trie()
    for filter in ("a/+", "a/+/b/c/#", "a/+/b"):
        trie.set(filter, filter)
    assert trie.remove("a/+/b/c/#")
    assert trie.nodes() == 3
    assert trie.match("a/x/b") == ["a/+/b"]
    assert not trie.remove("a/+/b/c/#")
    assert not trie.remove("a")


def test_depth_costs_no_stack_and_leaves_nothing() -> None:
    trie: Trie[int] = Trie()
    deep = "+/" * 32766 + "#"
    trie.set(deep, 1)
    trie.set("+/" * 128 + "#", 2)
    assert trie.match("a/" * 32766 + "a") == [2, 1] or trie.match("a/" * 32766 + "a") == [1, 2]
    assert trie.match("a/" * 127 + "a") == [2]
    assert trie.remove(deep)
    assert trie.nodes() == 128
    assert trie.remove("+/" * 128 + "#")
    assert trie.nodes() == 0


def test_512_overlapping_filters_all_match() -> None:
    trie: Trie[int] = Trie()
    for number, words in enumerate(product("a+", repeat=9)):
        trie.set("/".join(words), number)
    assert sorted(trie.match("/".join("a" * 9))) == list(range(512))
    nodes = 2**10 - 1
    assert steps(lambda: trie.match("/".join("a" * 9)), "trie.py") < 30 * nodes


def test_a_walk_ends_where_the_filters_end_however_deep_the_topic_is() -> None:
    trie: Trie[int] = Trie()
    for number, words in enumerate(product("a+", repeat=6)):
        trie.set("/".join(words) + "/z/#", number)
    deep = "a/" * 32767 + "a"
    assert trie.match(deep) == []
    near = steps(lambda: trie.match("a/" * 8 + "a"), "trie.py")
    assert steps(lambda: trie.match(deep), "trie.py") <= near


def test_a_filter_more_costs_a_topic_nothing_that_it_does_not_match() -> None:
    trie: Trie[int] = Trie()
    trie.set("a/b", 0)
    alone = steps(lambda: trie.match("a/b/c"), "trie.py")
    for number in range(1000):
        trie.set(f"other/{number}/+/#", number)
    assert steps(lambda: trie.match("a/b/c"), "trie.py") <= alone
