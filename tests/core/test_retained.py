"""Retained messages: lookup against a naive scan, searches that rest while the store changes, limits, expiry."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.retained import Retained, Search, Topic
from trioemqx.core.topics import matches
from trioemqx.types import Message, Properties

WORDS = st.sampled_from(["a", "b", "", "$s"])
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("/".join).filter(bool)
PARTS = st.tuples(st.lists(st.sampled_from(["a", "b", "", "$s", "+", "+"]), max_size=4), st.sampled_from([[], ["#"]]))
FILTERS = PARTS.map(lambda parts: "/".join(parts[0] + parts[1])).filter(bool)


def message(topic: str, payload: bytes = b"x", received: float = 0.0, interval: int | None = None) -> Message:
    found = Message(topic, payload, 1, True, "p", received=received)
    if interval is not None:
        found.properties = Properties()
        found.properties.message_expiry_interval = interval
    return found


def topics(store: Retained, filter: str, now: float = 0.0) -> list[str]:
    return sorted(found.topic for found in store.find(filter, now))


def nodes(store: Retained) -> int:
    """Nodes below the root, those waiting to be swept out of `order` included."""
    count = 0
    stack: list[Topic] = [store.root]
    while stack:
        order = stack.pop().order or []
        count += len(order)
        stack.extend(order)
    return count


CHANGES = st.lists(st.tuples(st.booleans(), NAMES), max_size=40)


@settings(max_examples=200)
@given(CHANGES, FILTERS)
def test_find_equals_a_scan_after_any_changes(changes: list[tuple[bool, str]], filter: str) -> None:
    store = Retained()
    model: dict[str, bytes] = {}
    for number, (add, topic) in enumerate(changes):
        payload = b"%d" % number if add else b""
        assert store.store(message(topic, payload), 0.0)
        if add:
            model[topic] = payload
        else:
            model.pop(topic, None)
        assert len(store) == len(model)
        assert store.bytes == sum(len(topic) + len(payload) for topic, payload in model.items())
    assert topics(store, filter) == sorted(topic for topic in model if matches(filter, topic))
    assert {found.topic: found.payload for found in store.find("#", 0.0)} == {
        topic: payload for topic, payload in model.items() if not topic.startswith("$")
    }
    for topic, payload in model.items():
        found = store.get(topic, 0.0)
        assert found is not None
        assert found.payload == payload
        assert store.delete(topic)
        assert not store.delete(topic)
    assert (len(store), store.bytes, nodes(store)) == (0, 0, 0)


@settings(max_examples=200)
@given(st.lists(NAMES, max_size=25), st.lists(st.tuples(st.integers(0, 3), CHANGES), max_size=6), FILTERS)
def test_a_search_that_rests_while_the_store_changes(
    start: list[str], rounds: list[tuple[int, list[tuple[bool, str]]]], filter: str
) -> None:
    store = Retained()
    for topic in start:
        store.store(message(topic), 0.0)
    stable = {topic for topic in start if matches(filter, topic)}
    ever = set(start)
    search = store.search(filter)
    found: list[str] = []
    for count, changes in rounds:
        found += [item.topic for item in search.take(count, 0.0)]
        for add, topic in changes:
            if add:
                store.store(message(topic), 0.0)
                ever.add(topic)
            else:
                store.delete(topic)
                stable.discard(topic)
    while not search.done:
        for item in search.take(3, 0.0):
            assert store.holds(item, 0.0)
            found.append(item.topic)
    for topic in stable:
        assert found.count(topic) == 1
    assert all(matches(filter, topic) and topic in ever for topic in found)


def test_the_stored_copy_is_marked_and_the_original_is_not() -> None:
    store = Retained()
    live = message("a")
    store.store(live, 0.0)
    found = store.get("a", 0.0)
    assert found is not None
    assert found is not live
    assert (found.retain, found.retained, live.retained) == (True, True, False)
    assert (found.payload, found.qos, found.publisher) == (b"x", 1, "p")


def test_wildcards_on_the_first_level_do_not_reach_dollar_topics() -> None:
    store = Retained()
    for topic in ("$SYS/brokers", "a/$b", "a"):
        store.store(message(topic), 0.0)
    assert topics(store, "#") == ["a", "a/$b"]
    assert topics(store, "+/brokers") == []
    assert topics(store, "+/+") == ["a/$b"]
    assert topics(store, "$SYS/#") == ["$SYS/brokers"]
    assert topics(store, "a/+") == ["a/$b"]


def test_a_search_of_hidden_topics_reaches_everything() -> None:
    store = Retained()
    for topic in ("$SYS/brokers", "a/$b", "a"):
        store.store(message(topic), 0.0)
    found = {message.topic for message in store.search("#", hidden=True).take(10, 0.0)}
    assert found == {"$SYS/brokers", "a", "a/$b"}
    assert [found.topic for found in store.search("+/brokers", hidden=True).take(10, 0.0)] == ["$SYS/brokers"]


def test_limits_refuse_and_count() -> None:
    store = Retained(max_messages=2, max_payload=3)
    assert store.store(message("a"), 0.0)
    assert store.store(message("b"), 0.0)
    assert not store.store(message("c"), 0.0)
    assert store.store(message("a", b"new"), 0.0)
    assert not store.store(message("a", b"long"), 0.0)
    assert store.refused == 2
    found = store.get("a", 0.0)
    assert found is not None
    assert found.payload == b"new"
    assert store.store(message("b", b""), 0.0)
    assert store.store(message("c"), 0.0)
    assert topics(store, "#") == ["a", "c"]


def test_an_expired_message_makes_room() -> None:
    store = Retained(max_messages=1)
    store.store(message("a", interval=5), 0.0)
    assert not store.store(message("b"), 5.0)
    assert store.store(message("b"), 6.0)
    assert topics(store, "#", 6.0) == ["b"]


def test_its_own_interval_beats_the_configured_expiry() -> None:
    store = Retained(expiry=10)
    store.store(message("own", interval=20), 0.0)
    store.store(message("plain"), 0.0)
    assert topics(store, "#", 10.0) == ["own", "plain"]
    assert topics(store, "#", 11.0) == ["own"]
    assert store.get("plain", 11.0) is None
    assert topics(store, "#", 21.0) == []


def test_sweep_removes_what_is_over_in_slices() -> None:
    store = Retained(expiry=10)
    for number in range(25):
        store.store(message(f"t/{number}"), 0.0)
    store.store(message("t/0", received=8.0), 8.0)
    store.store(message("forever", interval=0xFFFFFFFF), 0.0)
    assert store.sweep(10.0, 10) == 0
    assert [store.sweep(10.5, 10) for _ in range(4)] == [10, 10, 4, 0]
    assert topics(store, "#", 10.5) == ["forever", "t/0"]
    assert store.sweep(100.0, 10) == 1
    assert topics(store, "#", 100.0) == ["forever"]
    assert nodes(store) <= 2


def test_replacing_with_a_message_that_does_not_expire_cancels_the_deadline() -> None:
    store = Retained()
    store.store(message("a", interval=5), 0.0)
    store.store(message("a"), 1.0)
    assert store.sweep(100.0, 10) == 0
    assert topics(store, "a", 100.0) == ["a"]


def test_pages_for_the_api() -> None:
    store = Retained()
    for number in range(10):
        store.store(message(f"t/{number}"), 0.0)
    store.store(message("$x"), 0.0)
    assert [found.topic for found in store.page(None, 8, 5, 0.0)] == ["t/8", "t/9", "$x"]
    assert [found.topic for found in store.page("t/+", 2, 3, 0.0)] == ["t/2", "t/3", "t/4"]
    assert store.page("none/#", 0, 5, 0.0) == []


def test_clearing_ends_running_searches() -> None:
    store = Retained()
    for number in range(10):
        store.store(message(f"t/{number}"), 0.0)
    search = store.search("#")
    assert len(search.take(3, 0.0)) == 3
    assert store.clear() == 10
    store.store(message("t/new"), 0.0)
    while not search.done:
        assert search.take(5, 0.0) == []
    assert (len(store), topics(store, "#")) == (1, ["t/new"])


def steps_until_found(search: Search) -> tuple[int, int]:
    """(calls, messages) until a search is done, taking ten at a time."""
    calls = 0
    found = 0
    while not search.done:
        found += len(search.take(10, 0.0))
        calls += 1
    return calls, found


def test_only_matching_branches_are_walked() -> None:
    store = Retained()
    for number in range(3000):
        store.store(message(f"other/{number}/c"), 0.0)
        store.store(message(f"a/{number % 10}/{number}"), 0.0)
    store.store(message("a/3/c"), 0.0)
    assert steps_until_found(store.search("a/+/c")) == (1, 1)
    calls, found = steps_until_found(store.search("+/5/+"))
    assert found == 301
    assert calls < 40


def test_a_search_that_finds_nothing_still_gives_the_turn_back() -> None:
    store = Retained()
    for number in range(5000):
        store.store(message(f"t/{number}/x"), 0.0)
    search = store.search("t/+/y")
    start = time.perf_counter()
    assert search.take(1, 0.0) == []
    assert time.perf_counter() - start < 0.01
    assert not search.done
    assert steps_until_found(search)[1] == 0


def test_a_resting_search_is_not_confused_by_churn_and_keeps_nothing_alive() -> None:
    store = Retained()
    for number in range(100):
        store.store(message(f"t/{number}"), 0.0)
    search = store.search("t/+")
    first = search.take(10, 0.0)
    for number in range(100, 5000):
        store.store(message(f"t/{number}"), 0.0)
        if number > 150:
            store.delete(f"t/{number - 50}")
    assert nodes(store) < 500
    rest = []
    while not search.done:
        rest += search.take(10, 0.0)
    assert [found.topic for found in first + rest] == [f"t/{number}" for number in range(100)]


@pytest.mark.parametrize("levels", [128, 65535])
def test_very_deep_topics_are_harmless(levels: int) -> None:
    store = Retained()
    deep = "/" * (levels - 1)
    for _ in range(2):
        store.store(message(deep), 0.0)
        assert topics(store, "#") == [deep]
        assert topics(store, "/+/#") == [deep]
        assert topics(store, "+/" * (levels - 1) + "+") == [deep]
        store.delete(deep)
        assert nodes(store) == 0
    store.store(message(deep), 0.0)
    store.clear()
    assert topics(store, "#") == []
