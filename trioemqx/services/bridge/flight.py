"""What of a lane's queue has been sent and is not settled yet."""

from __future__ import annotations

from collections.abc import Container, Iterator

from trioemqx.services.bridge.item import Item


class Flight:
    """Messages in the order in which they were taken. `size` is that of all of them, in bytes."""

    __slots__ = ("_items", "size")

    def __init__(self) -> None:
        self._items: dict[Item, None] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def add(self, item: Item) -> None:
        """It has been taken."""
        self._items[item] = None
        self.size += item.size

    def settle(self, item: Item) -> bool:
        """It is done; False when it is not there any more."""
        if item not in self._items:
            return False
        del self._items[item]
        self.size -= item.size
        return True

    def back(self, only: Container[Item] | None = None) -> list[Item]:
        """Take out all of it, or some of it, to be sent again; in order."""
        again = [item for item in self._items if only is None or item in only]
        for item in again:
            self.settle(item)
        return again
