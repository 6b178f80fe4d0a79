"""A page of a long list: which rows, how many there are, whether more follow, and that others get their turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from trioemqx.services.filters import Filter
from trioemqx.services.paging import SLICE, built, page, slowly

TEN = list(range(10))


def even() -> Filter[int]:
    return Filter([lambda number: number % 2 == 0], frozenset({"even"}))


@pytest.mark.parametrize("source", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize(
    ("number", "limit", "expected"),
    [
        (1, 4, ([0, 1, 2, 3], 10, True)),
        (2, 4, ([4, 5, 6, 7], 10, True)),
        (3, 4, ([8, 9], 10, False)),
        (4, 4, ([], 10, False)),
        (1, 10, (TEN, 10, False)),
        (0, 4, ([0, 1, 2, 3], 10, True)),
        (-3, 4, ([0, 1, 2, 3], 10, True)),
        (1, 0, ([], 10, True)),
        (10**30, 10**30, ([], 10, False)),
    ],
)
async def test_pages(source: type, number: int, limit: int, expected: object) -> None:
    assert await page(source(TEN), None, number, limit) == expected


@pytest.mark.parametrize(
    ("number", "limit", "expected"),
    [
        (1, 2, ([0, 2], -1, True)),
        (2, 2, ([4, 6], -1, True)),
        (3, 2, ([8], -1, False)),
        (1, 5, ([0, 2, 4, 6, 8], -1, False)),
        (4, 2, ([], -1, False)),
        (1, 0, ([], -1, True)),
    ],
)
async def test_filtered_pages_are_not_counted(number: int, limit: int, expected: object) -> None:
    assert await page(TEN, even(), number, limit) == expected


async def test_unless_an_exact_number_is_wanted() -> None:
    assert await page(TEN, even(), 1, 2, exact=True) == ([0, 2], 5, True)
    assert await page([], even(), 1, 2, exact=True) == ([], 0, False)


async def test_an_empty_list() -> None:
    assert await page([], None, 1, 0) == ([], 0, False)
    assert await page(iter([]), None, 1, 10) == ([], 0, False)


async def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="not -1"):
        await page(TEN, None, 1, -1)


@pytest.mark.parametrize("number", [1, 3, 7])
async def test_pages_run_over_slices(number: int) -> None:
    many = range(SLICE * 3)
    limit = SLICE // 2 + 1
    found, count, more = await page(iter(many), None, number, limit)
    assert found == list(many)[(number - 1) * limit : number * limit]
    assert (count, more) == (SLICE * 3, number * limit < SLICE * 3)


async def test_a_filtered_walk_ends_with_its_page() -> None:
    looked: list[int] = []

    def source() -> Iterator[int]:
        for number in range(SLICE * 100):
            looked.append(number)
            yield number

    assert await page(source(), even(), 1, 10) == (list(range(0, 20, 2)), -1, True)
    assert len(looked) == SLICE


async def turns(work: object) -> int:
    """How often another task gets its turn while this one works."""
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await trio.lowlevel.checkpoint()
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await work()  # type: ignore[operator]
        nursery.cancel_scope.cancel()
    return count


async def test_others_get_their_turn() -> None:
    never = Filter[int]([lambda number: number < 0], frozenset({"never"}))

    async def walk() -> None:
        await page(range(SLICE * 20), never, 1, 10)

    async def build() -> None:
        await built(range(1000), lambda number: {"number": number})

    async def read() -> None:
        stream = slowly(range(1000))
        assert [number async for number in stream] == list(range(1000))

    assert await turns(walk) >= 10
    assert await turns(build) >= 5
    assert await turns(read) >= 5


async def test_what_has_gone_meanwhile_has_no_row() -> None:
    assert await built(TEN, lambda number: {"n": number} if number > 7 else None) == [{"n": 8}, {"n": 9}]
