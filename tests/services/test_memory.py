"""The cycle collector: connections need it not at all, and it never looks at what is old."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio

from trioemqx.services import memory
from trioemqx.testing import TestBroker


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Every test finds and leaves Python's own settings."""
    thresholds = gc.get_threshold()
    yield
    memory._settled.clear()
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*thresholds)


def living(name: str) -> int:
    return sum(type(found).__name__ == name for found in gc.get_objects())


async def test_a_connection_that_ended_is_freed_without_the_collector(broker: TestBroker) -> None:
    await (await broker.client("first", subscribe="t")).disconnect()
    await trio.sleep(2)
    gc.collect()
    names = ("Channel", "Session", "Link", "Connection", "Outbox", "Subscription")
    before = {name: living(name) for name in names}
    gc.disable()
    for number in range(20):
        client = await broker.client(f"c{number}", subscribe="t", qos=1)
        await client.publish("t", b"x", qos=1)
        await client.message()
        await (client.disconnect() if number % 2 else client.close())
    await trio.sleep(2)
    broker.streams.clear()
    assert {name: living(name) for name in names} == before


def test_settling_freezes_what_is_there() -> None:
    memory.begin()
    assert not gc.isenabled()
    memory.settle()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold() == memory.THRESHOLDS


def test_while_much_is_made_nothing_is_collected_and_then_it_is_old() -> None:
    memory.settle()
    before = gc.get_freeze_count()
    with memory.paused():
        assert not gc.isenabled()
        memory.tidy()
        made = [[] for _ in range(1000)]
        assert gc.get_freeze_count() <= before
        with memory.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_the_collector_of_a_program_around_us_is_left_alone() -> None:
    with memory.paused():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


async def test_what_grows_old_is_frozen_and_collected_in_full_only_while_it_is_little(
    nursery: trio.Nursery, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    fulls: list[float] = []
    monkeypatch.setattr(memory, "full", lambda: fulls.append(trio.current_time()))
    monkeypatch.setattr(memory, "SMALL", 10**9)
    nursery.start_soon(memory.run, 25.0)
    await trio.sleep(9)
    assert gc.get_freeze_count() == 0
    await trio.sleep(2)
    assert gc.get_freeze_count() > 1000
    await trio.sleep(50)
    assert len(fulls) == 2, "at the first tidying after each 25 s"
    monkeypatch.setattr(memory, "SMALL", 0)
    await trio.sleep(60)
    assert len(fulls) == 2, "too much to look at"
