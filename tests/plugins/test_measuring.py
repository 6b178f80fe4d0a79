"""`context.measure_hooks`: how long every plugin's hooks take, for as long as somebody wants to know."""

from __future__ import annotations

import pytest
from plugin_folders import Folders

from trioemqx.testing import TestBroker

MEASURING = """
class Stopwatch(Plugin):
    async def start(self):
        self.seen = []
        self.handle = self.context.measure_hooks(self.told)

    def told(self, plugin, point, seconds):
        if point == "client_connected":
            raise ValueError("mine")
        self.seen.append((plugin, point, seconds >= 0))

    def again(self):
        return self.context.measure_hooks(self.told)

plugin = Stopwatch
"""
MEASURED = """
class Measured(Plugin):
    @hookimpl
    def message_publish(self, message: Message):
        if message.topic == "drop":
            raise Drop
        return Message(message.topic, message.payload + b"!")

    @hookimpl
    async def client_authenticate(self, client: ClientInfo):
        await trio.sleep(0.01)

    @hookimpl
    def client_connected(self, client: ClientInfo):
        self.connected = client.clientid

plugin = Measured
"""


@pytest.fixture
def broker_config(folders: Folders) -> dict[str, object]:
    folders.write("measured", MEASURED)
    folders.write("stopwatch", MEASURING)
    return {**folders.config("measured", "stopwatch", max_crashes=100), "modules": {"load": []}}


async def test_every_call_is_told_and_answers_as_before(broker: TestBroker) -> None:
    stopwatch = broker.node.plugins.plugin("stopwatch")
    client = await broker.client("c", subscribe="#")
    for topic in ("drop", "t"):
        await client.publish(topic, b"x", qos=1)
    assert await client.message() == ("t", b"x!")
    calls = [("measured", point, True) for point in ("client_authenticate", "message_publish", "message_publish")]
    assert stopwatch.seen == calls  # type: ignore[attr-defined]


async def test_what_goes_wrong_with_the_stopwatch_is_its_own(broker: TestBroker) -> None:
    await broker.client("c")
    assert broker.node.plugins.plugin("measured").connected == "c"  # type: ignore[attr-defined]
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_calls_are_not_measured_any_more_when_the_handle_is_closed(broker: TestBroker) -> None:
    stopwatch = broker.node.plugins.plugin("stopwatch")
    measured = broker.node.hooks.compiled.message_publish
    stopwatch.handle.close()  # type: ignore[attr-defined]
    plain = broker.node.hooks.compiled.message_publish
    assert measured != plain
    handle = stopwatch.again()  # type: ignore[attr-defined]
    assert broker.node.hooks.compiled.message_publish != plain
    handle.close()
    assert broker.node.hooks.compiled.message_publish == plain
    await (await broker.client("c")).publish("t", b"", qos=1)
    assert stopwatch.seen == []  # type: ignore[attr-defined]


async def test_measuring_goes_with_the_plugin_and_stays_over_the_reload_of_others(broker: TestBroker) -> None:
    await broker.reload_plugin("measured")
    await (await broker.client("c")).publish("t", b"", qos=1)
    assert len(broker.node.plugins.plugin("stopwatch").seen) == 2  # type: ignore[attr-defined]
    await broker.node.plugins.unload("stopwatch")
    ((_, call),) = broker.node.hooks.compiled.message_publish
    assert call.__self__ is broker.node.plugins.plugin("measured")  # type: ignore[attr-defined]


async def test_a_point_can_be_traced_meanwhile(broker: TestBroker) -> None:
    traced: list[object] = []
    with broker.node.hooks.trace("message_publish", lambda plugin, point, args, result: traced.append(plugin)):
        await (await broker.client("c")).publish("t", b"", qos=1)
    assert traced == ["measured"]
    assert ("measured", "message_publish", True) in broker.node.plugins.plugin("stopwatch").seen  # type: ignore[attr-defined]
