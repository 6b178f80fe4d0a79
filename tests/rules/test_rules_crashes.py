"""A rule or an action with a bug, or one that is slow, harms nobody else; who goes on crashing is switched off."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from rules_helpers import Recorder, action_counts, add_slow, counts, rule

from trioemqx.services.rulekit import ActionFailed, ActionSetup, ActionType, DirectAction, TryAgain
from trioemqx.testing import TestBroker, running
from trioemqx.types import Message

ALL = 'SELECT * FROM "t/#"'


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"rule_engine": getattr(request, "param", {})}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


def publish(broker: TestBroker, payload: bytes = b"x", clientid: str = "pump") -> None:
    broker.node.publish(Message("t/1", payload, publisher=clientid))


# -- crashes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [ZeroDivisionError("bug"), SystemExit(3), RecursionError("deep"), MemoryError()])
async def test_a_crash_of_an_action_is_its_own(broker: TestBroker, crash: BaseException) -> None:
    bad, good = Recorder(broker, "bad"), Recorder(broker, "good")
    bad.failure = crash
    entry = await rule(broker, ALL, {"name": "bad", "fallbacks": [{"name": "good"}]}, "good")
    other = await rule(broker, ALL, "good")
    watcher = await broker.client("watcher", subscribe="t/#")
    publish(broker)
    assert await watcher.message() == ("t/1", b"x")
    assert action_counts(entry) == {"taken": 1, "failed": 1}
    assert len(good.outputs) == 3
    assert counts(entry) == counts(other) == {"matched": 1, "passed": 1}
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_a_rule_that_goes_on_crashing_is_switched_off(broker: TestBroker) -> None:
    bad = Recorder(broker, "bad")
    bad.failure = KeyError("bug")
    entry, other = await rule(broker, ALL, "bad", id="r"), await rule(broker, ALL, "do_nothing")
    for _ in range(15):
        publish(broker)
    assert (entry.active, counts(entry)["matched"], counts(other)["matched"]) == (False, 10, 15)
    (details,) = broker.alarms().values()
    assert set(broker.alarms()) == {"rule_disabled/r"}
    assert "KeyError" in str(details["reason"])
    assert (await broker.api("GET", "/rules/r")).data["enabled"] is False
    await broker.node.rules.update("r", {"description": "look into this"})
    await trio.sleep(60)
    assert not entry.active, "it stays off"
    bad.failure = None
    await broker.node.rules.update("r", {"enabled": True})
    publish(broker)
    assert (entry.active, len(bad.outputs), broker.alarms()) == (True, 1, {})


async def test_crashes_now_and_then_are_only_counted(broker: TestBroker) -> None:
    bad = Recorder(broker, "bad")
    bad.failure = KeyError("bug")
    entry = await rule(broker, ALL, "bad")
    for _ in range(30):
        publish(broker)
        await trio.sleep(10)
    assert entry.active
    assert action_counts(entry)["failed"] == 30


async def test_bad_messages_switch_nothing_off(broker: TestBroker) -> None:
    """Everybody who may publish can make a rule fail; so that costs the rule nothing."""
    entry = await rule(broker, 'SELECT payload.x + 1 AS y FROM "t/#"', "do_nothing")
    for payload in (b"no json", b'{"x":"a"}', b"[" * 5000, b'{"x":' * 200, b"\xff\xfe", b"") * 20:
        publish(broker, payload)
    publish(broker, b'{"x":1}')
    assert entry.active
    assert broker.alarms() == {}
    assert counts(entry) == {"matched": 121, "passed": 1, "exception": 120}


async def test_what_goes_wrong_is_told_once_in_a_while(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    await rule(broker, 'SELECT payload.x AS x FROM "t/#"', id="r")
    for _ in range(100):
        publish(broker, b"no json")
    assert caplog.text.count("rule r failed") == 1
    assert "SELECT: the payload is not JSON" in caplog.text
    await trio.sleep(11)
    publish(broker, b"no json")
    assert caplog.text.count("rule r failed") == 2


async def test_a_function_of_a_plugin_that_crashes_fails_the_rule(broker: TestBroker) -> None:
    def bug(value: object) -> object:
        raise RuntimeError("bug")

    broker.node.rules.additions.add_function("bug(x)", bug)
    entry = await rule(broker, 'SELECT bug(1) AS x FROM "t/#"')
    publish(broker)
    assert counts(entry) == {"matched": 1, "exception": 1}


async def test_an_action_that_cannot_be_made_is_refused(broker: TestBroker) -> None:
    def make(setup: ActionSetup) -> DirectAction:
        raise RuntimeError("bug")

    broker.node.rules.additions.add_action(ActionType("bad", make))
    answer = await broker.api("POST", "/rules", {"rawsql": ALL, "actions": [{"name": "bad"}]})
    assert (answer.code, answer.message) == (400, 'Bad Arguments: {init_action,<<"bug">>}')
    assert (await broker.api("GET", "/rules")).data == []


async def test_a_slow_rule_has_an_alarm(broker: TestBroker) -> None:
    def wait(setup: ActionSetup) -> Any:
        class Wait(DirectAction):
            def run(self, output: Any, event: Any) -> None:
                time.sleep(0.03)

        return Wait()

    broker.node.rules.additions.add_action(ActionType("wait", wait))
    entry = await rule(broker, ALL, "wait", id="r")
    for _ in range(3):
        publish(broker)
    assert set(broker.alarms()) == {"rule_slow/r"}
    assert entry.active
    await broker.node.rules.delete("r")
    assert broker.alarms() == {}


# -- actions that wait -------------------------------------------------------------------------------------------------


async def test_a_publisher_does_not_wait_for_an_action(broker: TestBroker) -> None:
    started, done = [], []

    async def deliver(items: Sequence[Any]) -> None:
        started.append(items)
        await trio.sleep(100)
        done.append(items)

    add_slow(broker, deliver)
    entry = await rule(broker, ALL, "slow")
    client = await broker.client("pump")
    began = trio.current_time()
    for _ in range(3):
        await client.publish("t/1", b"x", qos=1)
    assert trio.current_time() - began < 1
    assert (len(started), action_counts(entry)) == (1, {"taken": 3})
    await trio.sleep(301)
    assert (len(done), action_counts(entry)) == (3, {"taken": 3, "success": 3})


async def test_items_of_a_client_keep_their_order_and_others_do_not_wait(broker: TestBroker) -> None:
    done: list[tuple[str, str]] = []

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep(10 if items[0]["clientid"] == "slow" else 1)
        done.extend((item["clientid"], item["payload"]) for item in items)

    add_slow(broker, deliver, lanes=64)
    await rule(broker, 'SELECT clientid, payload FROM "t/#"', "slow")
    for number in range(3):
        publish(broker, b"%d" % number, "slow")
    publish(broker, b"0", "quick")
    await trio.sleep(5)
    assert done in ([("quick", "0")], [])
    await trio.sleep(60)
    assert [item for item in done if item[0] == "slow"] == [("slow", "0"), ("slow", "1"), ("slow", "2")]


async def test_items_are_taken_in_batches(broker: TestBroker) -> None:
    sizes: list[int] = []

    async def deliver(items: Sequence[Any]) -> None:
        sizes.append(len(items))
        await trio.sleep(1)

    add_slow(broker, deliver, batch=10)
    entry = await rule(broker, ALL, "slow")
    for _ in range(25):
        publish(broker)
    await trio.sleep(10)
    assert sum(sizes) == 25
    assert max(sizes) == 10
    assert action_counts(entry) == {"taken": 25, "success": 25}


async def test_a_full_queue_drops_the_oldest_and_runs_their_fallbacks(broker: TestBroker) -> None:
    recorder = Recorder(broker)
    done: list[str] = []

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep(1)
        done.extend(item["payload"] for item in items)

    add_slow(broker, deliver, size=5)
    sql = 'SELECT payload FROM "t/#"'
    entry = await rule(broker, sql, {"name": "slow", "fallbacks": [{"name": "record"}]})
    publish(broker, b"first")
    await trio.sleep(0.1)
    for number in range(20):
        publish(broker, b"%d" % number)
    await trio.sleep(30)
    assert done == ["first", "15", "16", "17", "18", "19"]
    assert [out["payload"] for out in recorder.outputs] == [str(number) for number in range(15)]
    assert action_counts(entry) == {"taken": 21, "success": 6, "failed": 15, "dropped": 15}


@settings(queue_bytes="10KB")
async def test_bytes_are_bounded_for_all_actions_together(broker: TestBroker) -> None:

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep_forever()

    add_slow(broker, deliver)
    entries = [await rule(broker, 'SELECT payload FROM "t/#"', "slow") for _ in range(4)]
    for _ in range(50):
        publish(broker, b"x" * 1000)
    assert broker.node.rules.budget.used <= 10 * 1024
    publish(broker, b"x" * 20_000)
    await trio.sleep(0.1)
    assert all(action_counts(entry)["dropped"] > 40 for entry in entries)
    assert broker.node.rules.budget.used <= 10 * 1024


async def test_a_fallback_that_feeds_the_full_queue_comes_to_an_end(broker: TestBroker) -> None:
    """What is dropped is published again, for the very rule whose queue is full."""

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep_forever()

    add_slow(broker, deliver, size=3)
    fallback = {"name": "republish", "params": {"target_topic": "t/again", "target_qos": 0}}
    entry = await rule(broker, ALL, {"name": "slow", "fallbacks": [fallback]})
    for _ in range(2000):
        publish(broker)
    await trio.sleep(1)
    found = action_counts(entry)
    assert found["dropped"] == found["failed"] == found["taken"] - 3 - 1
    assert broker.node.broker.metrics.hook_crashed == 0


@settings(queue_bytes="100KB")
async def test_the_event_counts_too_while_a_fallback_may_need_it(broker: TestBroker) -> None:

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep_forever()

    add_slow(broker, deliver)
    alone = await rule(broker, 'SELECT 1 AS x FROM "t/#"', "slow")
    for _ in range(50):
        publish(broker, b"x" * 10_000)
    await trio.sleep(0.1)
    assert action_counts(alone) == {"taken": 50}
    await broker.node.rules.update(alone.id, {"enabled": False})
    below = await rule(broker, 'SELECT 1 AS x FROM "t/#"', {"name": "slow", "fallbacks": [{"name": "do_nothing"}]})
    for _ in range(50):
        publish(broker, b"x" * 10_000)
    await trio.sleep(0.1)
    assert action_counts(below)["dropped"] >= 38


async def test_what_is_put_off_and_crashes_harms_nobody(broker: TestBroker) -> None:
    def bug() -> None:
        raise RuntimeError("bug")

    done: list[int] = []
    for call in (bug, lambda: done.append(1)):
        broker.node.rules.defer(call)
    await trio.sleep(1)
    assert done == [1]
    assert broker.alarms() == {}


async def test_what_fails_for_now_is_tried_again(broker: TestBroker) -> None:
    tries: list[float] = []

    async def deliver(items: Sequence[Any]) -> None:
        tries.append(trio.current_time())
        if len(tries) < 4:
            raise TryAgain("not yet")

    add_slow(broker, deliver, retry_for=60.0)
    entry = await rule(broker, ALL, "slow")
    publish(broker)
    await trio.sleep(60)
    assert action_counts(entry) == {"taken": 1, "success": 1}
    pauses = [later - before for before, later in itertools.pairwise(tries)]
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2] < 1


async def test_what_fails_for_too_long_has_failed(broker: TestBroker) -> None:
    recorder = Recorder(broker)

    async def deliver(items: Sequence[Any]) -> None:
        raise TryAgain("never")

    add_slow(broker, deliver, retry_for=20.0)
    entry = await rule(broker, ALL, {"name": "slow", "fallbacks": [{"name": "record"}]})
    publish(broker)
    await trio.sleep(15)
    assert action_counts(entry) == {"taken": 1}
    await trio.sleep(15)
    assert action_counts(entry) == {"taken": 1, "failed": 1}
    assert len(recorder.outputs) == 1


async def test_a_crash_of_a_worker_costs_one_item(broker: TestBroker) -> None:
    async def deliver(items: Sequence[Any]) -> None:
        if items[0]["payload"] == "bad":
            async with trio.open_nursery():
                raise KeyError("bug")

    add_slow(broker, deliver)
    entry = await rule(broker, ALL, "slow")
    for payload in (b"bad", b"good", b"bad", b"good"):
        publish(broker, payload)
    await trio.sleep(1)
    assert action_counts(entry) == {"taken": 4, "success": 2, "failed": 2}
    assert entry.active
    assert broker.node.broker.metrics.hook_crashed == 2


async def test_workers_that_crash_are_started_again(broker: TestBroker) -> None:
    async def deliver(items: Sequence[Any]) -> None:
        await trio.lowlevel.checkpoint()

    add_slow(broker, deliver, batch="many")
    entry = await rule(broker, ALL, "slow", "do_nothing")
    publish(broker)
    await trio.sleep(1)
    assert set(broker.alarms()) == {f"rule_action_crashed/{entry.steps[0].id}"}
    entry.steps[0].action.batch = 1  # type: ignore[union-attr]
    await trio.sleep(90)
    assert action_counts(entry) == {"taken": 1, "success": 1}
    assert broker.alarms() == {}


async def test_workers_that_crash_again_and_again_are_given_up_and_the_broker_lives(
    broker: TestBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async def deliver(items: Sequence[Any]) -> None:
        await trio.lowlevel.checkpoint()

    add_slow(broker, deliver, batch="many")
    entry = await rule(broker, ALL, "slow")
    publish(broker)
    await trio.sleep(60)
    assert "stays off until its rule is enabled again" in caplog.text
    assert f"rule_action_crashed/{entry.steps[0].id}" in broker.alarms()
    watcher = await broker.client("w", subscribe="t/1")
    publish(broker, b"lives")
    assert await watcher.message() == ("t/1", b"lives")


async def test_later_actions_wait_for_one_that_may_stop_them(broker: TestBroker) -> None:
    recorder = Recorder(broker)

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep(10)
        if items[0]["payload"] == "bad":
            raise ActionFailed("no")

    add_slow(broker, deliver)
    entry = await rule(broker, 'SELECT payload FROM "t/#"', "slow", "record", on_action_failed="stop")
    for payload in (b"good", b"bad"):
        publish(broker, payload)
    assert recorder.outputs == []
    await trio.sleep(30)
    assert recorder.outputs == [{"payload": "good"}]
    assert counts(entry) == {"matched": 2, "passed": 2, "exception": 1}


async def test_an_action_that_is_replaced_still_does_what_waits(broker: TestBroker) -> None:
    done: list[str] = []

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep(1.2)
        done.extend(item["payload"] for item in items)

    add_slow(broker, deliver)
    entry = await rule(broker, 'SELECT payload FROM "t/#"', "slow", id="r")
    for number in range(10):
        publish(broker, b"%d" % number)
    old = entry.steps[0]
    await broker.node.rules.update("r", {"actions": []})
    publish(broker, b"unseen")
    await trio.sleep(20)
    assert done == ["0", "1", "2", "3"], "there were five seconds left"
    assert (old.metrics.success, old.metrics.failed) == (4, 6)


async def test_a_broker_that_ends_does_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    done: list[str] = []

    async def deliver(items: Sequence[Any]) -> None:
        await trio.sleep(1)
        done.extend(item["payload"] for item in items)

    async with running() as broker:
        add_slow(broker, deliver)
        await rule(broker, 'SELECT payload FROM "t/#"', "slow")
        for number in range(3):
            publish(broker, b"%d" % number)
    assert done == ["0", "1", "2"]
