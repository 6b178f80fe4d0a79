"""What is counted of rules and actions since the node's start, and how quick rules are."""

from __future__ import annotations

from collections import deque
from typing import Final

SAMPLE_SECONDS: Final = 10.0
SAMPLES: Final = 30
"""How many samples `speed_last5m` is the mean of."""


class Speed:
    """Events per second, sampled every SAMPLE_SECONDS from a counter that only grows."""

    __slots__ = ("_before", "_recent", "highest", "last")

    def __init__(self, matched: int = 0) -> None:
        self.last = 0.0
        self.highest = 0.0
        self._before = matched
        self._recent: deque[float] = deque(maxlen=SAMPLES)

    def sample(self, matched: int) -> None:
        """Another interval is over; the counter is at `matched` now."""
        self.last = (matched - self._before) / SAMPLE_SECONDS
        self._before = matched
        self.highest = max(self.highest, self.last)
        self._recent.append(self.last)

    def mean(self) -> float:
        """Over the last five minutes, or since the beginning."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0


class RuleMetrics:
    """Counters of one rule. `failed` is the sum of `no_result` and `exception`, so it is not counted."""

    __slots__ = ("exception", "matched", "no_result", "passed", "speed")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Everything from 0."""
        self.matched = 0
        self.passed = 0
        self.no_result = 0
        self.exception = 0
        self.speed = Speed()

    def restart_speed(self) -> None:
        """The rule begins to work again: speeds from 0."""
        self.speed = Speed(self.matched)

    def row(self, node: str) -> dict[str, object]:
        """As the HTTP API has it."""
        speed = self.speed
        return {
            "node": node,
            "matched": self.matched,
            "passed": self.passed,
            "failed": self.no_result + self.exception,
            "exception": self.exception,
            "no_result": self.no_result,
            "speed": round(speed.last, 2),
            "speed_max": round(speed.highest, 2),
            "speed_last5m": round(speed.mean(), 2),
        }


class ActionMetrics:
    """Counters of one action of a rule: how often it was begun, done, and not done. `dropped` is what its queue had no
    room for; it has failed."""

    __slots__ = ("dropped", "failed", "success", "taken")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Everything from 0."""
        self.taken = 0
        self.success = 0
        self.failed = 0
        self.dropped = 0

    def row(self, node: str) -> dict[str, object]:
        """As the HTTP API has it; `dropped` is not EMQX's."""
        return {
            "node": node,
            "taken": self.taken,
            "success": self.success,
            "failed": self.failed,
            "dropped": self.dropped,
        }
