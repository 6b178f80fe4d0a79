"""Messages that wait for a disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trioemqx.services.bridge.counters import QUEUE_FULL, TOO_LARGE
from trioemqx.services.bridge.item import Item
from trioemqx.services.bridge.lanequeue import Drop


class Buffer:
    """At most `limit` bytes; what is more pushes the oldest out. Until `admit` messages that are `put` are kept apart,
    so that older ones can be `adopt`ed before them."""

    def __init__(self, limit: int, drop: Drop) -> None:
        self._limit = limit
        self._drop = drop
        self._items: deque[Item] = deque()
        self._late: deque[Item] | None = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Those that were admitted."""
        return len(self._items)

    @property
    def total(self) -> int:
        """All of them."""
        return len(self._items) + len(self._late or ())

    def put(self, item: Item) -> None:
        """Add a new message."""
        self._add(self._items if self._late is None else self._late, item)

    def adopt(self, item: Item) -> None:
        """Add an older one."""
        self._add(self._items, item)

    def _add(self, items: deque[Item], item: Item) -> None:
        if item.size > self._limit:
            self._drop(TOO_LARGE, 1)
            return
        item.seq = 0
        items.append(item)
        self._bytes += item.size
        while self._bytes > self._limit and items:
            self._bytes -= items.popleft().size
            self._drop(QUEUE_FULL, 1)

    def admit(self) -> None:
        """No older ones come any more."""
        late, self._late = self._late, None
        self._items.extend(late or ())

    def head(self) -> Item | None:
        """The oldest."""
        return self._items[0] if self._items else None

    def take(self) -> Item:
        """The oldest; IndexError without one."""
        item = self._items.popleft()
        self._bytes -= item.size
        return item

    def batch(self, size: int) -> list[Item]:
        """The oldest, about `size` bytes of them."""
        found: list[Item] = []
        while self._items and size > 0:
            found.append(self.take())
            size -= found[-1].size
        return found

    def put_back(self, items: Sequence[Item]) -> None:
        """They were taken and are the oldest again."""
        self._items.extendleft(reversed(items))
        self._bytes += sum(item.size for item in items)
