"""One page of a long list, walked in slices, so that whoever looks at a hundred thousand rows holds nobody up.

The source is what there was when the walk began, in an order that does not change; what comes or goes meanwhile
neither breaks it nor shows up twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

import trio

from trioemqx.services.filters import Filter

T = TypeVar("T")
Row = dict[str, object]

SLICE: Final = 1000
"""Items looked at between two checkpoints: well under a millisecond each time."""
ROWS: Final = 100
"""Rows built between two checkpoints."""
UNKNOWN: Final = -1
"""The count of a filtered list, as EMQX gives it."""


async def page(
    source: Iterable[T], predicate: Filter[T] | None, page: int, limit: int, exact: bool = False
) -> tuple[list[T], int, bool]:
    """(items, count, whether there are more) of page `page` (from 1; less counts as 1) with `limit` items each.

    `count` is the whole number of items without a predicate; with one it is -1, since the walk ends when the page is
    full, or with `exact` the number for which it holds. ValueError for a `limit` below 0.
    """
    if limit < 0:
        raise ValueError(f"a page has 0 rows or more, not {limit}")
    first = (max(page, 1) - 1) * limit
    if predicate is None and isinstance(source, Sequence):
        await trio.lowlevel.checkpoint()
        return list(source[first : first + limit]), len(source), len(source) > first + limit
    found: list[T] = []
    count = 0
    items = iter(source)
    while part := list(islice(items, SLICE)):
        if predicate is not None:
            part = predicate.select(part)
        if len(found) < limit:
            found += part[max(first - count, 0) :][: limit - len(found)]
        count += len(part)
        if predicate is not None and not exact and count > first + limit:
            break
        await trio.lowlevel.checkpoint()
    return found, count if predicate is None or exact else UNKNOWN, count > first + limit


async def built(items: Sequence[T], build: Callable[[T], Row | None]) -> list[Row]:
    """A row for each item, made in slices; None says that the item has gone meanwhile."""
    rows: list[Row] = []
    for at in range(0, len(items), ROWS):
        rows += [row for item in items[at : at + ROWS] if (row := build(item)) is not None]
        await trio.lowlevel.checkpoint()
    return rows


async def slowly(source: Iterable[T], slice_size: int = ROWS) -> AsyncGenerator[T, None]:
    """The items of a source, with a checkpoint after every `slice_size`."""
    for number, item in enumerate(source, 1):
        yield item
        if number % slice_size == 0:
            await trio.lowlevel.checkpoint()
