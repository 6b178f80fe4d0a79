"""Message-Expiry-Interval [MQTT5 3.3.2.3.3]."""

from __future__ import annotations

import pytest

from trioemqx.core.expiry import expired, remaining
from trioemqx.types import Message, Properties


def message(interval: int | None, received: float = 100.0) -> Message:
    properties = Properties()
    properties.message_expiry_interval = interval
    return Message("t", b"x", properties=properties, received=received)


def test_without_an_interval_nothing_expires() -> None:
    assert not expired(Message("t", b"x", received=0.0), 1e12)
    assert not expired(message(None), 1e12)
    assert remaining(Message("t", b"x"), 1e12) is None
    assert remaining(message(None), 1e12) is None


@pytest.mark.parametrize(("now", "gone"), [(100.0, False), (110.0, False), (110.001, True), (99.0, False)])
def test_a_message_expires_when_more_than_its_interval_has_passed(now: float, gone: bool) -> None:
    assert expired(message(10), now) is gone


@pytest.mark.parametrize(
    ("now", "left"), [(100.0, 10), (100.99, 10), (101.0, 9), (109.5, 1), (110.0, 1), (500.0, 1), (50.0, 10)]
)
def test_the_interval_sent_on_is_reduced_by_whole_seconds_but_never_below_one(now: float, left: int) -> None:
    assert remaining(message(10), now) == left


def test_interval_zero_expires_at_once() -> None:
    assert not expired(message(0), 100.0)
    assert expired(message(0), 100.001)
    assert remaining(message(0), 100.0) == 1


def test_the_largest_interval() -> None:
    assert remaining(message(0xFFFFFFFF), 101.0) == 0xFFFFFFFE
