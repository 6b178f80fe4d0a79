"""Every alarm of the machine and of plugins in a whole broker: raised, seen by operators, cleared, remembered.

Those of clients that do not read are in test_overload.py, of crashed services in test_tree.py, of the store in
tests/services/test_restart.py, of limits on connections and of the HTTP API in tests/api.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from trioemqx.testing import TestBroker


class Busy:
    """A machine whose figures are what a test says, in percent."""

    def __init__(self) -> None:
        self.level = 0.0

    def cpu(self) -> float:
        return self.level

    system_memory = process_memory = cpu

    async def processes(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.level


MACHINE = {
    "high_cpu_usage": "91% cpu usage",
    "high_system_memory_usage": "System memory usage is higher than 70%",
    "high_process_memory_usage": "Process memory usage is higher than 5%",
    "too_many_processes": "91% process usage",
}


class TestMachine:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"os_mon": {"cpu_check_interval": "60s", "mem_check_interval": "60s"}}

    async def test_a_busy_machine_raises_its_alarms_until_it_is_calm(self, broker: TestBroker) -> None:
        busy = broker.node.guards.monitor._probe = Busy()
        operator = await broker.client("op", subscribe="$SYS/brokers/+/alarms/#")
        busy.level = 91.0
        await trio.sleep(61)
        assert {alarm.name: alarm.message for alarm in broker.node.alarms.active()} == MACHINE
        events = [await operator.message() for _ in MACHINE]
        assert {json.loads(payload)["name"] for _, payload in events} == set(MACHINE)
        assert {topic.rpartition("/")[2] for topic, _ in events} == {"activate"}
        busy.level = 65.0
        await trio.sleep(60)
        assert set(broker.alarms()) == {"high_cpu_usage", "high_process_memory_usage", "too_many_processes"}
        busy.level = 1.0
        await trio.sleep(60)
        assert broker.alarms() == {}
        history = (await broker.api("GET", "/alarms/deactivated")).data[0]["alarms"]
        assert {row["name"] for row in history} == set(MACHINE)
        assert all(row["duration"] >= 29_000_000 for row in history)

    async def test_an_alarm_that_was_ended_by_hand_comes_again(self, broker: TestBroker) -> None:
        broker.node.guards.monitor._probe = Busy()
        broker.node.guards.monitor._probe.level = 91.0
        await trio.sleep(61)
        body = {"node": broker.node.node, "name": "high_cpu_usage"}
        assert (await broker.api("POST", "/alarms/deactivated", body)).code == 0
        assert "high_cpu_usage" not in broker.alarms()
        await trio.sleep(60)
        assert "high_cpu_usage" in broker.alarms()


PLUGIN = """
from __future__ import annotations
import time
import trio
from trioemqx.plugin import Message, Plugin, hookimpl

API = ">=1,<2"

class Bad(Plugin):
    async def run(self):
        if RUN_CRASHES:
            raise ZeroDivisionError("in run")
        await trio.sleep_forever()

    @hookimpl
    def message_publish(self, message: Message):
        if message.topic == "slow":
            time.sleep(0.05)
        if message.topic == "crash":
            raise ZeroDivisionError("in a hook")

plugin = Bad
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def write(folder: Path, run_crashes: bool = False) -> dict[str, object]:
    """The plugin `bad`, and settings of a broker that loads it."""
    (folder / "bad.py").write_text(PLUGIN.replace("RUN_CRASHES", str(run_crashes)))
    return {"plugins": {"dirs": [str(folder)], "load": ["bad"]}}


async def listed(broker: TestBroker) -> dict[str, object]:
    """Names and messages of the active alarms, by HTTP."""
    return {row["name"]: row["message"] for row in (await broker.api("GET", "/alarms/activated")).data[0]["alarms"]}


class TestHooks:
    @pytest.fixture
    def broker_config(self, folder: Path) -> dict[str, object]:
        return write(folder)

    async def test_a_slow_hook(self, broker: TestBroker) -> None:
        client = await broker.client("c")
        await client.publish("slow", b"x", qos=1)
        text = (await listed(broker))["plugin_slow/bad"]
        assert str(text).startswith("bad: message_publish held the event loop for ")
        await broker.node.plugins.reload("bad")
        assert await listed(broker) == {}

    async def test_a_plugin_that_crashes_again_and_again(self, broker: TestBroker) -> None:
        client = await broker.client("c")
        for _ in range(broker.node.config.plugins.max_crashes):
            assert await listed(broker) == {}
            await client.publish("crash", b"x", qos=1)
        text = (await listed(broker))["plugin_disabled/bad"]
        assert str(text).startswith("bad is switched off: 10 crashes within 60 s")
        (row,) = [row for row in (await broker.api("GET", "/plugins")).data[0]["plugins"] if row["name"] == "bad"]
        assert (row["active"], row["problem"]) == (False, "switched off after crashes")
        assert (await broker.api("PUT", f"/nodes/{broker.node.node}/plugins/bad/load")).code == 0
        assert await listed(broker) == {}


class TestBackground:
    @pytest.fixture
    def broker_config(self, folder: Path) -> dict[str, object]:
        return write(folder, run_crashes=True)

    async def test_a_crash_in_the_background(self, broker: TestBroker) -> None:
        assert await listed(broker) == {"plugin_crashed/bad": "bad crashed: ZeroDivisionError: in run"}
        await trio.sleep(20)
        assert "plugin_disabled/bad" in await listed(broker)


class TestMissing:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"plugins": {"load": ["not_there"]}}

    async def test_a_plugin_that_is_not_there(self, broker: TestBroker) -> None:
        assert await listed(broker) == {"plugin_not_loaded/not_there": "not_there was not loaded: not_there: not found"}
        assert (await broker.api("PUT", "/plugins/not_there/unload")).status == 404
        await broker.node.plugins.unload("not_there")
        assert await listed(broker) == {}
