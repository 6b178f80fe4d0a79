"""Deadlines against a sorted dictionary, and the bound on dead entries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.deadlines import SLACK, Deadlines

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("due"), st.integers(0, 20), st.integers(0, 4)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(ACTIONS)
def test_it_behaves_like_a_sorted_dictionary(actions: list[tuple[str, int, int]]) -> None:
    deadlines = Deadlines()
    model: dict[object, float] = {}
    for what, first, second in actions:
        if what == "set":
            deadlines.set(("k", first), second)
            model[("k", first)] = second
        elif what == "cancel":
            assert deadlines.cancel(("k", first)) == (model.pop(("k", first), None) is not None)
        else:
            found = deadlines.due(first, second)
            times = [model.pop(key) for key in found]
            assert times == sorted(times)
            assert all(when <= first for when in times)
            assert len(found) <= second
            if len(found) < second:
                assert all(when > first for when in model.values())
        assert len(deadlines) == len(model)
        assert deadlines.next() == (min(model.values()) if model else None)
        for key, when in model.items():
            assert deadlines.when(key) == when


def test_keys_of_any_kind_need_no_order() -> None:
    deadlines = Deadlines()
    keys: list[object] = ["a", ("will", "a"), 7, object()]
    for key in keys:
        deadlines.set(key, 1.0)
    assert deadlines.due(1.0, 10) == keys


def test_a_deadline_is_due_at_its_very_time_and_not_before() -> None:
    deadlines = Deadlines()
    deadlines.set("a", 5.0)
    assert deadlines.due(4.999, 10) == []
    assert deadlines.due(5.0, 10) == ["a"]
    assert deadlines.due(5.0, 10) == []


def test_moving_and_cancelling_leave_a_bounded_number_of_dead_entries() -> None:
    deadlines = Deadlines()
    for number in range(10_000):
        deadlines.set(number % 10, float(number))
        assert len(deadlines._heap) <= 2 * 10 + SLACK + 1
    for _ in range(10_000):
        deadlines.set("x", 1.0)
        deadlines.cancel("x")
    assert len(deadlines._heap) <= 2 * 11 + SLACK + 1
    assert deadlines.next() == 9990.0
