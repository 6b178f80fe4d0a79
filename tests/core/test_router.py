"""The router: a fresh route says what a new match says, members leave in constant time, walks are not disturbed."""

from __future__ import annotations

import time
from random import Random

from core_helpers import subscription
from counted_steps import steps
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.router import FilterEntry, Router
from trioemqx.core.subscription import Subscription
from trioemqx.core.topics import matches

WORDS = st.sampled_from(["a", "b", "$s"])
NAMES = st.lists(WORDS, min_size=1, max_size=3).map("/".join)
PARTS = st.tuples(st.lists(st.sampled_from(["a", "b", "$s", "+"]), max_size=3), st.sampled_from([[], [], ["#"]]))
FILTERS = PARTS.map(lambda parts: "/".join(parts[0] + parts[1])).filter(bool)
GROUPS = st.sampled_from(["", "", "g", "$queue"])


def names(entries: list[FilterEntry]) -> list[str]:
    return sorted(entry.filter for entry in entries)


def everyone(router: Router, topic: str) -> list[Subscription]:
    found: list[Subscription] = []
    for entry in router.route(topic).entries:
        found.extend(entry.members)
        for group in entry.groups or []:
            found.extend(group.members)
    return found


def in_place(router: Router, filter: str) -> bool:
    """Every member knows its place."""
    entry = router.entry(filter)
    if entry is None:
        return True
    good = all(member.slot == at and member.entry is entry for at, member in enumerate(entry.members))
    for at, group in enumerate(entry.groups or []):
        good &= group.slot == at and bool(group.members)
        good &= all(member.slot == at and member.entry is entry for at, member in enumerate(group.members))
    return good


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), FILTERS, GROUPS),
        st.tuples(st.just("unsubscribe"), st.integers(0, 40), st.just("")),
        st.tuples(st.just("route"), NAMES, st.just("")),
    ),
    max_size=50,
)


@settings(max_examples=200)
@given(ACTIONS, st.integers(1, 6), st.booleans())
def test_fresh_routes_always_equal_a_new_match(
    actions: list[tuple[str, str | int, str]], cache_size: int, walking: bool
) -> None:
    router = Router(cache_size)
    router.walking = int(walking)
    alive: list[Subscription] = []
    held = {}
    for what, argument, group in actions:
        if what == "subscribe":
            alive.append(subscription(f"c{len(alive)}", str(argument), group))
            assert router.subscribe(alive[-1]) == (sum(s.filter == argument for s in alive) == 1)
            assert in_place(router, str(argument))
        elif what == "unsubscribe" and alive:
            gone = alive.pop(int(argument) % len(alive))
            assert router.unsubscribe(gone) == all(s.filter != gone.filter for s in alive)
            assert in_place(router, gone.filter)
        elif what == "route":
            held[str(argument)] = router.route(str(argument))
        for topic, route in held.items():
            if router.fresh(route):
                assert names(route.entries) == names(router.match(topic))
        for topic in held:
            expected = [s for s in alive if matches(s.filter, topic)]
            assert sorted(map(id, everyone(router, topic))) == sorted(map(id, expected))
            assert router.fresh(router.route(topic))
        assert router.cached <= cache_size
    assert router.routes == len({s.filter for s in alive}) == len(list(router.filters()))
    assert router.rows == len({(s.filter, s.group) for s in alive})
    assert router.subscriptions == len(alive)
    assert router.shared == sum(bool(s.group) for s in alive)


def test_a_second_member_makes_no_route_stale() -> None:
    router = Router()
    router.subscribe(subscription("1", "a/+"))
    router.subscribe(subscription("2", "a/b"))
    route = router.route("a/b")
    router.subscribe(subscription("3", "a/+"))
    router.subscribe(subscription("4", "a/b"))
    assert router.fresh(route)
    assert len(everyone(router, "a/b")) == 4


def test_only_routes_that_a_change_can_concern_become_stale() -> None:
    router = Router()
    routes = {topic: router.route(topic) for topic in ("a/b", "a/c", "b/b", "a")}

    def stale() -> set[str]:
        gone = {topic for topic, route in routes.items() if not router.fresh(route)}
        for topic in gone:
            assert router.route(topic) is routes[topic]
        return gone

    exact = subscription("1", "a/b")
    router.subscribe(exact)
    assert stale() == {"a/b"}
    below = subscription("2", "a/#")
    router.subscribe(below)
    assert stale() == {"a/b", "a/c", "a"}
    wide = subscription("3", "+/b")
    router.subscribe(wide)
    assert stale() == {"a/b", "a/c", "b/b", "a"}
    router.unsubscribe(exact)
    assert stale() == {"a/b"}
    router.unsubscribe(below)
    assert stale() == {"a/b", "a/c", "a"}
    router.unsubscribe(wide)
    assert stale() == set(routes)


def test_the_cache_is_bounded_and_a_dropped_route_is_never_fresh_again() -> None:
    router = Router(cache_size=8)
    first = router.route("t/0")
    for number in range(1, 50):
        router.route(f"t/{number}")
    assert router.cached <= 8
    assert router.evicted == 50 - router.cached
    assert not router.fresh(first)
    router.subscribe(subscription("1", "t/0"))
    assert not router.fresh(first)
    assert names(router.route("t/0").entries) == ["t/0"]


def test_a_walk_sees_the_members_it_started_with() -> None:
    router = Router()
    subs = [subscription(str(number), "a") for number in range(5)]
    for sub in subs:
        router.subscribe(sub)
    entry = router.route("a").entries[0]
    seen = []
    router.walking += 1
    for member in entry.members:
        seen.append(member)
        router.unsubscribe(subs[4 - len(seen) + 1])
        router.subscribe(subscription(f"new{len(seen)}", "a"))
    router.walking -= 1
    assert seen == subs
    assert in_place(router, "a")
    assert sorted(m.receiver.clientid for m in router.route("a").entries[0].members) == [f"new{n}" for n in range(1, 6)]


def test_a_walk_over_groups_is_not_disturbed() -> None:
    router = Router()
    subs = [subscription(str(number), "a", f"g{number}") for number in range(4)]
    for sub in subs:
        router.subscribe(sub)
    groups = router.route("a").entries[0].groups
    assert groups is not None
    router.walking += 1
    seen = []
    for group in groups:
        seen.append(group.name)
        router.unsubscribe(subs[len(seen) - 1])
    router.walking -= 1
    assert seen == ["g0", "g1", "g2", "g3"]
    assert router.routes == 0


def test_subscribing_and_unsubscribing_twice_changes_nothing() -> None:
    router = Router()
    sub = subscription("1", "a/#")
    assert router.subscribe(sub)
    assert not router.subscribe(sub)
    assert router.subscriptions == 1
    assert router.unsubscribe(sub)
    assert not router.unsubscribe(sub)
    assert (router.routes, router.subscriptions) == (0, 0)


def test_a_filter_wanted_by_another_node_stays() -> None:
    router = Router()
    sub = subscription("1", "a")
    router.subscribe(sub)
    entry = router.entry("a")
    assert entry is not None
    entry.remote = ["n2"]
    assert not router.unsubscribe(sub)
    assert router.entry("a") is entry


def test_leaving_a_crowd_costs_no_search() -> None:
    router = Router()
    subs = [subscription(str(number), "a", "g" if number % 2 else "") for number in range(20000)]
    for sub in subs:
        router.subscribe(sub)
    Random(1).shuffle(subs)
    start = time.perf_counter()
    for sub in subs:
        router.unsubscribe(sub)
    assert time.perf_counter() - start < 2.0
    assert router.routes == 0


def test_churn_leaves_nothing_behind() -> None:
    router = Router(cache_size=16)
    for number in range(500):
        sub = subscription("c", f"dev{number}/+/#", "g")
        router.subscribe(sub)
        router.route(f"dev{number}/x")
        router.unsubscribe(sub)
    assert router.routes == 0
    assert router._trie.nodes() == 0
    assert not router._groups
    assert len(router._branches) <= 16


def test_512_overlapping_filters_and_65535_levels() -> None:
    router = Router()
    for number in range(512):
        words = ["+" if number >> bit & 1 else "a" for bit in range(9)]
        router.subscribe(subscription(str(number), "/".join(words)))
    assert len(everyone(router, "/".join("a" * 9))) == 512
    deep = "a/" * 65534 + "a"
    assert router.route(deep).entries == []
    near = steps(lambda: router.route("a/" * 10 + "b"), "router.py", "trie.py")
    assert steps(lambda: router.route(deep + "b"), "router.py", "trie.py") <= near


def test_entries_are_a_copy_with_wildcards_last() -> None:
    router = Router()
    first, second, third = (subscription("c", filter) for filter in ("a/+", "b", "a"))
    for one in (first, second, third):
        router.subscribe(one)
    entries = router.entries()
    router.unsubscribe(second)
    assert [entry.filter for entry in entries] == ["b", "a", "a/+"]
    assert entries[0].empty()
    assert names(router.entries()) == ["a", "a/+"]
