"""Share groups: each strategy's choice, absent and excluded members; the table of exclusive topics."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from core_helpers import Sink, subscription
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.router import Router
from trioemqx.core.shared import MAX_REMEMBERED, STRATEGIES, Exclusive, Group
from trioemqx.core.subscription import Subscription
from trioemqx.types import SubOpts


def group_of(strategy: str, online: str = "111", seed: int = 1) -> tuple[Group, list[Subscription]]:
    """A group on `t` in a router, one member per character, `1` for connected and `0` for absent."""
    router = Router(strategies={"g": strategy}, random=Random(seed))
    subs = [subscription(f"m{at}", "t", "g", mark == "1") for at, mark in enumerate(online)]
    for sub in subs:
        router.subscribe(sub)
    entry = router.entry("t")
    assert entry is not None
    assert entry.groups is not None
    return entry.groups[0], subs


def chosen(group: Group, times: int, publisher: str = "p", topic: str = "t") -> Counter[str]:
    state: dict[object, object] = {}
    picked = [group.pick(state, publisher, topic) for _ in range(times)]
    assert None not in picked
    return Counter(member.receiver.clientid for member in picked if member is not None)


def test_random_gives_each_member_its_share() -> None:
    group, _ = group_of("random", "111")
    counts = chosen(group, 3000)
    assert all(850 < counts[name] < 1150 for name in ("m0", "m1", "m2"))


def test_random_stays_even_when_some_are_absent() -> None:
    group, _ = group_of("random", "10001")
    counts = chosen(group, 2000)
    assert set(counts) == {"m0", "m4"}
    assert 850 < counts["m0"] < 1150


def test_round_robin_takes_turns_and_starts_anywhere() -> None:
    group, _ = group_of("round_robin", "1111")
    starts = set()
    for _ in range(40):
        state: dict[object, object] = {}
        turn = [group.pick(state, "p", "t") for _ in range(8)]
        names = [member.receiver.clientid for member in turn if member is not None]
        starts.add(names[0])
        assert names[:4] == names[4:]
        assert len(set(names)) == 4
    assert len(starts) == 4


def test_round_robin_passes_over_absent_members_evenly() -> None:
    group, _ = group_of("round_robin", "10010")
    assert chosen(group, 100) == {"m0": 50, "m3": 50}


def test_sticky_keeps_its_member_until_it_leaves() -> None:
    group, _ = group_of("sticky", "1111")
    state: dict[object, object] = {}
    first = group.pick(state, "p", "t")
    assert first is not None
    assert all(group.pick(state, "p", "t") is first for _ in range(50))
    group.remove(first)
    first.entry = None
    second = group.pick(state, "p", "t")
    assert second is not None
    assert second is not first
    assert all(group.pick(state, "p", "t") is second for _ in range(50))
    other = {group.pick({}, "p", "t") for _ in range(60)}
    assert len(other) == 3


def test_sticky_moves_on_when_its_member_goes_away() -> None:
    router = Router(strategy="sticky", random=Random(1))
    sinks = {name: Sink(name) for name in ("m0", "m1", "m2")}
    for sink in sinks.values():
        router.subscribe(Subscription(sink.receiver, "t", SubOpts(), "g"))
    groups = router.route("t").entries[0].groups
    assert groups is not None
    group = groups[0]
    state: dict[object, object] = {}
    first = group.pick(state, "p", "t")
    assert first is not None
    sinks[first.receiver.clientid].online = False
    second = group.pick(state, "p", "t")
    assert second is not None
    assert second is not first
    for sink in sinks.values():
        sink.online = False
    assert group.pick(state, "p", "t") is not None


@pytest.mark.parametrize("strategy", ["hash", "hash_clientid"])
def test_hash_clientid_depends_on_the_publisher_alone(strategy: str) -> None:
    group, _ = group_of(strategy, "1111")
    assert all(len(chosen(group, 20, publisher=f"p{number}")) == 1 for number in range(10))
    assert group.pick({}, "p", "t/1") is group.pick({}, "p", "t/2")
    assert len({group.pick({}, f"p{number}", "t") for number in range(100)}) == 4


def test_hash_topic_depends_on_the_topic_alone() -> None:
    group, _ = group_of("hash_topic", "1111")
    assert group.pick({}, "p1", "t") is group.pick({}, "p2", "t")
    assert len({group.pick({}, "p", f"t/{number}") for number in range(100)}) == 4


@settings(max_examples=100)
@given(
    st.sampled_from(STRATEGIES), st.text("01", min_size=1, max_size=6), st.sets(st.integers(0, 5)), st.integers(0, 1000)
)
def test_any_strategy_prefers_connected_and_obeys_exclusion(
    strategy: str, online: str, excluded: set[int], seed: int
) -> None:
    group, subs = group_of(strategy, online, seed)
    exclude = [sub for at, sub in enumerate(subs) if at in excluded]
    allowed = [sub for sub in subs if sub not in exclude]
    state: dict[object, object] = {}
    for number in range(5):
        member = group.pick(state, f"p{number}", f"t/{number}", exclude or None)
        if not allowed:
            assert member is None
            continue
        assert member is not None
        assert member in allowed
        assert member.receiver.connected() == any(sub.receiver.connected() for sub in allowed)


def test_an_empty_group_gives_nobody() -> None:
    assert Group("g", "t", "random", Random(1)).pick({}, "p", "t") is None


@pytest.mark.parametrize("strategy", ["round_robin", "sticky"])
def test_what_a_publisher_remembers_is_bounded(strategy: str) -> None:
    state: dict[object, object] = {}
    sub = subscription("m", "t", "g")
    for number in range(MAX_REMEMBERED * 2 + 10):
        group = Group("g", f"t/{number}", strategy, Random(1))
        group.add(sub)
        assert group.pick(state, "p", "t") is sub
    assert 0 < len(state) <= MAX_REMEMBERED


def test_exclusive_topics_have_one_holder() -> None:
    table = Exclusive()
    assert table.claim("t", "a")
    assert not table.claim("t", "b")
    assert not table.claim("t", "a")
    assert table.holder("t") == "a"
    assert not table.release("t", "b")
    assert table.release("t", "a")
    assert not table.release("t", "a")
    assert table.claim("t", "b")
    assert len(table) == 1
