"""What happens later: calls at points of virtual time, in an order that only the seed decides."""

from __future__ import annotations

import heapq
import math

import trio


class Timeline:
    """Calls wait here for their time. Calls of the same time are made in the order in which they were planned."""

    def __init__(self):
        self._heap = []
        self._count = 0
        self._news = trio.Event()

    def after(self, delay, call, *args):
        """Have `call(*args)` made in `delay` seconds."""
        self.at(trio.current_time() + delay, call, *args)

    def at(self, when, call, *args):
        """Have `call(*args)` made at a time of Trio's clock."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, call, args))
        self._news.set()

    async def run(self):
        """Make the calls, for ever."""
        while True:
            while self._heap and self._heap[0][0] <= trio.current_time():
                _, _, call, args = heapq.heappop(self._heap)
                call(*args)
            self._news = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._news.wait()
