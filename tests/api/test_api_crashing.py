"""The alarm for a part of the API that fails again and again."""

from __future__ import annotations

import pytest
import trio

from trioemqx.api.v4 import brokers
from trioemqx.testing import TestBroker


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that an endpoint needs is broken."""

    def fail(host: object) -> dict[str, object]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(brokers, "node_info", fail)


async def crash(broker: TestBroker, times: int) -> None:
    for _ in range(times):
        answer = await broker.api("GET", "/nodes")
        assert (answer.status, answer.code, answer.message) == (500, 500, "Internal Error")


async def test_requests_that_crash_again_and_again_are_an_alarm(broker: TestBroker, bug: None) -> None:
    await crash(broker, 4)
    assert broker.alarms() == {}
    await crash(broker, 1)
    assert broker.alarms() == {"api_crashing": {"error": "GET /api/v4/nodes: ZeroDivisionError: a bug"}}
    (alarm,) = broker.node.alarms.active()
    assert alarm.message == "Requests to the HTTP API fail: GET /api/v4/nodes: ZeroDivisionError: a bug"
    assert (await broker.api("GET", "/metrics")).status == 200, "the rest serves on"


async def test_it_is_cleared_after_a_minute_without(broker: TestBroker, bug: None) -> None:
    await crash(broker, 5)
    api = broker.node.api
    assert api is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api._watch)
        await trio.sleep(50)
        await crash(broker, 1)
        await trio.sleep(58)
        assert list(broker.alarms()) == ["api_crashing"]
        await trio.sleep(4)
        assert broker.alarms() == {}
        nursery.cancel_scope.cancel()


async def test_seldom_crashes_are_no_alarm(broker: TestBroker, bug: None) -> None:
    for _ in range(10):
        await crash(broker, 1)
        await trio.sleep(20)
    assert broker.alarms() == {}
