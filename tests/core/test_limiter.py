"""Token buckets: bursts, debts, and never more than the rate in the long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.core.limiter import TokenBucket


def test_a_full_bucket_can_be_spent_at_once() -> None:
    bucket = TokenBucket(100, 10)
    assert bucket.take(100, 5.0) == 0.0
    assert bucket.tokens(5.0) == 0.0


def test_a_debt_is_waited_for_at_the_configured_rate() -> None:
    bucket = TokenBucket(100, 10)
    assert bucket.take(120, 0.0) == pytest.approx(2.0)
    assert bucket.take(0, 1.0) == pytest.approx(1.0)
    assert bucket.take(0, 2.0) == pytest.approx(0.0)
    assert bucket.take(10, 3.0) == pytest.approx(0.0)


def test_resting_fills_it_no_higher_than_its_count() -> None:
    bucket = TokenBucket(10, 1)
    bucket.take(10, 0.0)
    assert bucket.tokens(0.5) == pytest.approx(5.0)
    assert bucket.tokens(1e9) == 10.0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(10, 1)
    bucket.take(10, 100.0)
    assert bucket.tokens(50.0) == 0.0
    assert bucket.tokens(100.5) == pytest.approx(5.0)


@pytest.mark.parametrize(("count", "seconds"), [(0, 1), (1, 0), (-1, 1), (1, -1), (float("nan"), 1)])
def test_impossible_rates_are_refused(count: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(count, seconds)


@given(st.integers(1, 1000), st.integers(1, 60), st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), max_size=40))
def test_whoever_obeys_the_waits_never_exceeds_burst_plus_rate(
    count: int, seconds: int, steps: list[tuple[int, float]]
) -> None:
    bucket = TokenBucket(count, seconds)
    now = 0.0
    taken = 0
    last = 0
    for n, pause in steps:
        wait = bucket.take(n, now)
        assert wait >= 0.0
        taken += n
        last = n
        # What was taken last may be a debt; all before it has been paid for.
        assert taken - last <= count + now * count / seconds + 1e-6
        now += wait + pause
