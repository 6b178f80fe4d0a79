"""Many things that fall due at some time: session expiry, will delays, retained messages that age.

A heap whose entries are not searched for: cancelling or moving a deadline leaves a dead entry behind, which is skipped
when its time comes, and the heap is rebuilt when dead entries are the majority.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

SLACK: Final = 64
"""Dead entries that are always tolerated."""


class Deadlines:
    """One deadline per key. Keys are hashable, times are seconds of whatever clock the caller uses."""

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, object]] = []
        self._live: dict[object, tuple[float, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._live)

    def set(self, key: object, when: float) -> None:
        """Let `key` fall due at `when`, instead of when it was due before."""
        self._serial += 1
        self._live[key] = (when, self._serial)
        heappush(self._heap, (when, self._serial, key))
        self._compact()

    def cancel(self, key: object) -> bool:
        """Forget a deadline. False when there was none."""
        if self._live.pop(key, None) is None:
            return False
        self._compact()
        return True

    def when(self, key: object) -> float | None:
        """When a key falls due, or None."""
        found = self._live.get(key)
        return None if found is None else found[0]

    def next(self) -> float | None:
        """The earliest deadline, or None."""
        self._skip_dead()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, limit: int) -> list[object]:
        """Take out at most `limit` keys whose time has come (`when <= now`), the earliest first."""
        found: list[object] = []
        while len(found) < limit:
            self._skip_dead()
            if not self._heap or self._heap[0][0] > now:
                break
            key = heappop(self._heap)[2]
            del self._live[key]
            found.append(key)
        return found

    def _skip_dead(self) -> None:
        heap = self._heap
        while heap:
            head = heap[0]
            found = self._live.get(head[2])
            if found is not None and found[1] == head[1]:
                return
            heappop(heap)

    def _compact(self) -> None:
        if len(self._heap) <= 2 * len(self._live) + SLACK:
            return
        self._heap = [(when, serial, key) for key, (when, serial) in self._live.items()]
        heapify(self._heap)
