"""Gauges (http-api-v4.md 3.2)."""

from __future__ import annotations

import pytest
import trio

from trioemqx.services.stats import GIVEN, StatsKeeper

NAMES = """connections live_connections channels sessions subscribers subscriptions suboptions subscriptions.shared
topics routes retained resources""".split()


@pytest.fixture
def figures():
    return dict(zip(GIVEN, (1, 2, 3, 4, 5, 6, 7), strict=True))


def test_every_name_is_there_with_count_and_max(figures):
    keeper = StatsKeeper(lambda: figures)
    assert set(keeper.snapshot()) == {f"{name}.{kind}" for name in NAMES for kind in ("count", "max")}


def test_equal_gauges_are_equal(figures):
    found = StatsKeeper(lambda: figures).snapshot()
    assert found["connections.count"] == found["live_connections.count"] == 1
    assert found["channels.count"] == found["sessions.count"] == 2
    assert found["subscribers.count"] == 3
    assert found["suboptions.count"] == found["subscriptions.count"] == 4
    assert found["subscriptions.shared.count"] == 5
    assert found["topics.count"] == found["routes.count"] == 6
    assert found["retained.count"] == 7
    assert found["resources.count"] == 0


def test_max_is_the_high_water_mark(figures):
    keeper = StatsKeeper(lambda: figures)
    for value in (3, 9, 4):
        figures["connections"] = value
        keeper.refresh()
    found = keeper.snapshot()
    assert (found["connections.count"], found["connections.max"]) == (4, 9)
    assert found["live_connections.max"] == 9


def test_delayed_appears_once_its_module_gives_it(figures):
    keeper = StatsKeeper(lambda: figures)
    assert "delayed.count" not in keeper.snapshot()
    figures["delayed"] = 2
    assert keeper.snapshot()["delayed.max"] == 2


def test_a_source_that_forgets_a_gauge_is_a_bug_that_shows(figures):
    del figures["routes"]
    with pytest.raises(KeyError):
        StatsKeeper(lambda: figures).snapshot()


async def test_run_sees_peaks_nobody_asks_about(figures, autojump_clock):
    keeper = StatsKeeper(lambda: figures)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(0.5)
        figures["retained"] = 100
        await trio.sleep(1)
        figures["retained"] = 0
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert keeper.snapshot()["retained.max"] == 100
