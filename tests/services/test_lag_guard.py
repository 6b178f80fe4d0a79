"""New connections are refused while the event loop is late (`services.lag_guard`)."""

from __future__ import annotations

import pytest
import trio
from services_helpers import FakeBroker, opened_store

from trioemqx.core.pressure import Pressure
from trioemqx.services.alarms import Alarms
from trioemqx.services.lag_guard import LagGuard, LagSettings


@pytest.fixture
def pressure():
    return Pressure()


@pytest.fixture
def alarms():
    return Alarms("emqx@127.0.0.1", opened_store(), FakeBroker().publish)


@pytest.fixture
def guard(alarms, pressure):
    return LagGuard(alarms, pressure)


def measure(guard, pressure, start, *lags):
    """What holds after each measurement; one a second, the lags in seconds."""
    found = []
    for number, lag in enumerate(lags):
        guard.measured(start + number, start + number + lag)
        found.append(pressure.late)
    return found


async def test_three_seconds_late_and_three_seconds_in_time(guard, pressure, alarms):
    assert measure(guard, pressure, 0, 0.6, 0.6, 0.6, 0.6) == [False, False, False, True]
    (alarm,) = alarms.active()
    assert (alarm.name, alarm.details) == ("overload_lag", {"milliseconds": 600})
    assert alarm.message == "New connections are refused: the event loop is 600 ms late"
    assert pressure.refusal() == 0x89
    assert measure(guard, pressure, 4, 0.1, 0.1, 0.1, 0.1) == [True, True, True, False]
    assert alarms.active() == []
    assert pressure.refusal() == 0


async def test_one_measurement_in_time_begins_anew(guard, pressure):
    assert not any(measure(guard, pressure, 0, *[0.6, 0.6, 0.6, 0.4] * 5))
    measure(guard, pressure, 20, *[0.6] * 4)
    assert all(measure(guard, pressure, 24, *[0.1, 0.1, 0.1, 0.6] * 5))


async def test_at_the_threshold_it_is_in_time(guard, pressure):
    assert not any(measure(guard, pressure, 0, *[0.5] * 10))


async def test_it_measures_by_its_clock(alarms, pressure, autojump_clock):
    """A loop that is stuck for a second whenever the guard wants to look."""
    stuck = 0.0

    def clock():
        return trio.current_time() + stuck

    guard = LagGuard(alarms, pressure, LagSettings(0.5, 3.0), clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guard.run)
        await trio.sleep(10.25)  # in the middle between two measurements
        assert not pressure.late
        for _ in range(4):
            stuck += 1.0
            await trio.sleep(0.5)
        assert pressure.late
        await trio.sleep(4)
        assert not pressure.late
        for _ in range(4):
            stuck += 1.0
            await trio.sleep(0.5)
        assert pressure.late
        nursery.cancel_scope.cancel()
    assert not pressure.late, "nothing stays refused when the guard ends"


async def test_a_threshold_of_0_switches_it_off(alarms, pressure):
    guard = LagGuard(alarms, pressure, LagSettings(threshold=0.0))
    assert not any(measure(guard, pressure, 0, *[10.0] * 10))
