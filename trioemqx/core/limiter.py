"""Token buckets: how long somebody who has already spent must now wait."""

from __future__ import annotations


class TokenBucket:
    """`count` tokens per `seconds`, all of them available at once after a rest.

    Taking never fails: what has been read from a socket cannot be unread. It may leave a debt, and the answer is how
    long to stop until that is paid.
    """

    __slots__ = ("_at", "_count", "_rate", "_tokens")

    def __init__(self, count: float, seconds: float) -> None:
        """Raises ValueError unless both are above 0."""
        if not (count > 0 and seconds > 0):
            raise ValueError(f"a rate needs a count and a period above 0, not {count} per {seconds} s")
        self._count = float(count)
        self._rate = count / seconds
        self._tokens = float(count)
        # The first use starts the clock: a bucket that is full has nothing to gain before it.
        self._at = -1.0

    def take(self, n: float, now: float) -> float:
        """Spend `n` tokens; returns the seconds to wait until the debt is paid, 0.0 when there is none."""
        self._refill(now)
        self._tokens -= n
        return -self._tokens / self._rate if self._tokens < 0.0 else 0.0

    def tokens(self, now: float) -> float:
        """Tokens at hand; below 0 is a debt."""
        self._refill(now)
        return self._tokens

    def _refill(self, now: float) -> None:
        if self._at >= 0.0 and now > self._at:
            self._tokens = min(self._count, self._tokens + (now - self._at) * self._rate)
        if now > self._at:
            self._at = now
