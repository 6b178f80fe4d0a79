"""How old a stored message is, also when the wall clock has been set meanwhile.

Rows hold wall time, since nothing else means anything to the next run. Within one run the difference between the wall
clock and the monotonic one shows when somebody has set the former; what was stored before is then as old as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NOTABLE: Final = 1000
"""Milliseconds; less may be a clock that is slowed down or sped up, as NTP does."""
REMEMBERED: Final = 100


class ClockJumps:
    """`wall` gives Unix seconds. `note` is to be called whenever time is looked at; a message's `number` says what came
    before a jump and what after it. Of more than REMEMBERED jumps the oldest two become one."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._offset: int | None = None
        self._jumps: list[tuple[int, int]] = []
        """(highest number in use, by how many milliseconds the wall clock was put forward)."""

    def note(self, now: float, highest: int) -> int:
        """The present in Unix milliseconds. `now` is the monotonic clock, `highest` the last number given away."""
        wall_ms = int(self._wall() * 1000)
        offset = wall_ms - int(now * 1000)
        if self._offset is None:
            self._offset = offset
        elif abs(offset - self._offset) >= NOTABLE:
            self._jumps.append((highest, offset - self._offset))
            self._offset = offset
            if len(self._jumps) > REMEMBERED:
                (_, first), (number, second) = self._jumps[:2]
                self._jumps[:2] = [(number, first + second)]
        return wall_ms

    def seen_from(self, number: int, wall_ms: int) -> int:
        """What the wall clock would show at `wall_ms` if nobody had set it since a message was stored."""
        return wall_ms - sum(by for highest, by in self._jumps if number <= highest)
