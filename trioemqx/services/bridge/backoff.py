"""How long to wait before the next try."""

from __future__ import annotations

from random import Random
from typing import Final

FIRST: Final = 1.0


class Backoff:
    """A second, then twice as long each time, at most `longest` seconds, each by up to a quarter longer or shorter, so
    that not everybody comes back at once."""

    def __init__(self, longest: float, random: Random) -> None:
        self._longest = longest
        self._random = random
        self._next = min(FIRST, longest)

    def reset(self) -> None:
        """It went well for a while."""
        self._next = min(FIRST, self._longest)

    def next(self) -> float:
        """Seconds to wait now."""
        seconds = self._next
        self._next = min(2 * seconds, self._longest)
        return min(self._longest, seconds * self._random.uniform(0.75, 1.25))
