"""Lists that may be long: one page of them, looked for in slices while others have their turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from trioemqx.services.filters import Filter
from trioemqx.services.paging import Row, built, page
from trioemqx.services.web.answers import Page
from trioemqx.services.web.call import Call
from trioemqx.services.web.endpoints import Param

T = TypeVar("T")

PAGING: Final = (
    Param("_page", "integer", "The page, from 1.", default=1),
    Param("_limit", "integer", "Rows of a page; without it `management.max_row_limit`."),
)
"""What every list takes."""


async def paged(
    call: Call,
    source: Iterable[T],
    build: Callable[[T], Row | None],
    where: Sequence[Callable[[T], bool]] = (),
    *,
    limit: int | None = None,
    exact: bool = False,
    hasnext: bool = True,
    sort: Callable[[Row], Any] | None = None,
) -> Page:
    """The page that `_page` and `_limit` ask for, of the items of `source` for which all of `where` hold.

    `source` must stay as it is meanwhile: hand over a list, not the dict that it was made of. `build` makes the row of
    an item, None for one that has gone; `sort` is a key that orders the rows of the page. `limit` is the default of
    `_limit`. `meta.count` is -1 when there is a condition, or with `exact` the number all the same; `meta.hasnext` is
    there with `hasnext`. Raises ApiError 108 for a page or limit that is no number.
    """
    number, size = call.paging(limit)
    predicate = Filter(list(where), frozenset()) if where else None
    items, count, more = await page(source, predicate, number, size, exact)
    found = await built(items, build)
    if sort is not None:
        found.sort(key=sort)
    return Page(found, number, size, count, more if hasnext else None)
