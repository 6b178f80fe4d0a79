"""Lanes: one order for each key, and a bound for everything together."""

from __future__ import annotations

from collections import deque

import trio
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.services.lanes import Budget, Lanes

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(1, 40)),
        st.tuples(st.just("take"), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just("done"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("give_back"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


def run(steps: list[tuple[str, object, int]], size: int, most: int) -> None:
    """Do the steps beside a model: two lists of (number, size) that wait, and what is in hand."""

    async def main() -> None:
        dropped: list[int] = []
        budget = Budget(100)
        lanes: Lanes[int] = Lanes(2, size, most, dropped.append, budget)
        waiting: tuple[deque[tuple[int, int]], deque[tuple[int, int]]] = (deque(), deque())
        hand: dict[int, list[tuple[int, int]]] = {}
        number = 0
        for what, first, second in steps:
            if what == "put":
                number += 1
                lane = lanes.put(number, second, str(first))
                if second > min(most, 100):
                    assert dropped[-1] == number
                else:
                    waiting[lane].append((number, second))
                _push_out(waiting, dropped, size, min(most, 100))
            elif what == "take" and first not in hand and waiting[first]:  # type: ignore[index]
                taken = await lanes.take(first, second)  # type: ignore[arg-type]
                expected = [waiting[first].popleft() for _ in range(min(second, len(waiting[first])))]  # type: ignore[index]
                assert [(item.value, item.size) for item in taken] == expected
                hand[first] = expected  # type: ignore[index]
            elif what == "done":
                lanes.done(first)  # type: ignore[arg-type]
                hand.pop(first, None)  # type: ignore[call-overload]
            elif what == "give_back":
                lanes.give_back()
                for lane, items in hand.items():
                    waiting[lane].extendleft(reversed(items))
                hand.clear()
            everything = sorted([*waiting[0], *waiting[1], *(item for items in hand.values() for item in items)])
            assert [item.value for item in lanes.everything()] == [item[0] for item in everything]
            held = sum(item[1] for lane in waiting for item in lane)
            assert lanes.bytes == budget.used == held
            assert len(lanes) == sum(map(len, waiting))
            assert lanes.idle == (not everything)

    trio.run(main)


def _push_out(waiting: tuple[deque[tuple[int, int]], ...], dropped: list[int], size: int, most: int) -> None:
    """The oldest of all go until the others fit."""
    while sum(map(len, waiting)) > size or sum(item[1] for lane in waiting for item in lane) > most:
        oldest = min((lane for lane in waiting if lane), key=lambda lane: lane[0])
        gone, _ = oldest.popleft()
        assert gone in dropped


@given(STEPS, st.integers(1, 5), st.integers(20, 120))
def test_lanes_do_what_a_list_would(steps: list[tuple[str, object, int]], size: int, most: int) -> None:
    run(steps, size, most)


async def test_a_worker_waits_for_something_to_do(autojump_clock: trio.testing.MockClock) -> None:
    lanes: Lanes[str] = Lanes(1, 10, 100, print)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def later() -> None:
            await trio.sleep(5)
            lanes.put("x", 1)
            lanes.put("y", 1)

        began = trio.current_time()
        taken = await lanes.take(0, 5)
        assert (trio.current_time() - began, [item.value for item in taken]) == (5, ["x", "y"])


async def test_waiting_until_all_is_done(autojump_clock: trio.testing.MockClock) -> None:
    lanes: Lanes[str] = Lanes(1, 10, 100, print)
    lanes.put("x", 1)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def work() -> None:
            await lanes.take(0)
            await trio.sleep(3)
            lanes.done(0)

        began = trio.current_time()
        await lanes.empty()
        assert trio.current_time() - began == 3


async def test_several_share_a_budget() -> None:
    budget = Budget(100)
    dropped: list[str] = []
    first: Lanes[str] = Lanes(1, 100, 1000, dropped.append, budget)
    second: Lanes[str] = Lanes(1, 100, 1000, dropped.append, budget)
    first.put("a", 90)
    second.put("b", 20)
    assert (dropped, budget.used) == (["b"], 90), "whoever adds makes room, as far as that is its own"
    assert first.clear() == ["a"]
    second.put("c", 20)
    assert budget.used == 20
