"""`context.hooks`: further objects whose hooks count as the plugin's, for as long as they are held."""

from __future__ import annotations

import pytest
import trio
from plugin_folders import Folders

from trioemqx.services.plugins import PluginError
from trioemqx.testing import Refused, TestBroker

SPY = """
    class Spy:
        def __init__(self, word):
            self.word = word
        @hookimpl
        def message_publish(self, message: Message):
            changed = message.copy()
            changed._payload = message.payload + self.word
            return None if message.sys else changed

    class Host(Plugin):
        async def start(self):
            START
        @hookimpl
        def client_connected(self, client):
            self.connected = client.clientid

    plugin = Host
"""


async def test_hooks_come_with_start_and_go_with_the_plugin(broker: TestBroker, folders: Folders) -> None:
    client = await broker.client("c", subscribe="t", qos=1)
    folders.write("host", SPY.replace("START", "self.context.hooks(Spy(b' one'))"))
    await broker.node.plugins.load("host")
    assert broker.node.hooks.compiled.message_publish
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x one")
    folders.write("host", SPY.replace("START", "[self.context.hooks(Spy(word)) for word in (b' two', b' three')]"))
    await broker.reload_plugin("host")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x two three"), "several at one point, and the old one's are gone"
    assert [name for name, _ in broker.node.hooks.compiled.message_publish] == ["host", "host"]
    await broker.node.plugins.unload("host")
    assert not broker.node.hooks.compiled.message_publish


async def test_a_point_is_free_while_nothing_is_held(broker: TestBroker, folders: Folders) -> None:
    folders.write("host", SPY.replace("START", "self.make = Spy"))
    await broker.node.plugins.load("host")
    plugin = broker.node.plugins.plugin("host")
    assert not broker.node.hooks.compiled.message_publish
    handle = plugin.context.hooks(plugin.make(b"!"))  # type: ignore[attr-defined]
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x")
    assert await client.message() == ("t", b"x!")
    handle.close()
    handle.close()
    assert not broker.node.hooks.compiled.message_publish


async def test_hooks_that_do_not_fit_are_refused_and_the_old_plugin_stays(broker: TestBroker, folders: Folders) -> None:
    folders.write("host", SPY.replace("START", "self.context.hooks(Spy(b' old'))"))
    await broker.node.plugins.load("host")
    wrong = SPY.replace("def message_publish(self, message: Message)", "def message_published(self, message)")
    folders.write("host", wrong.replace("START", "self.context.hooks(Spy(b' new'))"))
    with pytest.raises(PluginError, match=r"message_published \(did you mean message_publish\?\)"):
        await broker.reload_plugin("host")
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x")
    assert await client.message() == ("t", b"x old")


GATE = """
    class Gate:
        def __init__(self, plugin):
            self.plugin = plugin
        @hookimpl
        async def client_authenticate(self, client):
            if client.clientid == "crash":
                raise RuntimeError("bug")
            self.plugin.asked = True
            await trio.sleep(2)
            assert not self.plugin.stopped, "stopped while it was asked"
            return Verdict(0 if client.username else 0x87)

    class Host(Plugin):
        asked = stopped = False
        async def start(self):
            self.context.hooks(Gate(self))
        async def stop(self):
            self.stopped = True

    plugin = Host
"""


async def test_priority_and_timeout_are_those_of_the_plugin(folders: Folders, broker: TestBroker) -> None:
    folders.write("host", GATE)
    broker.node.plugins.config.plugin_tables["host"] = {"hook_timeout": 1, "hook_priority": 7}
    await broker.node.plugins.load("host")
    assert dict(broker.node.hooks.describe())["client_authenticate"] == [("host", 7)]
    with pytest.raises(Refused, match="SERVER_UNAVAILABLE"):  # it takes 2 seconds
        await broker.client("c", username="u")


async def test_calls_under_way_end_before_the_plugin_stops(folders: Folders, broker: TestBroker) -> None:
    folders.write("host", GATE)
    await broker.node.plugins.load("host")
    plugin = broker.node.plugins.plugin("host")
    async with trio.open_nursery() as nursery:

        async def connect() -> None:
            await broker.client("c", username="u")

        nursery.start_soon(connect)
        while not plugin.asked:  # type: ignore[attr-defined]
            await trio.sleep(0.01)
        await broker.node.plugins.unload("host")
    assert plugin.stopped  # type: ignore[attr-defined]


async def test_what_could_keep_somebody_out_denies_when_the_plugin_is_switched_off(
    folders: Folders, broker: TestBroker
) -> None:
    folders.write("host", GATE)
    await broker.node.plugins.load("host")
    for _ in range(10):
        with pytest.raises(Refused):
            await broker.client("crash")
    assert "plugin_disabled/host" in broker.alarms()
    with pytest.raises(Refused, match="NOT_AUTHORIZED"):
        await broker.client("c", username="u")
    await broker.node.plugins.unload("host")
    await broker.client("c")


async def test_an_alarm_of_the_old_generation_goes_at_a_reload(folders: Folders, broker: TestBroker) -> None:
    code = """
        class Host(Plugin):
            async def start(self):
                for name in NAMES:
                    self.context.alarms.raise_(name)

        plugin = Host
    """
    folders.write("host", code.replace("NAMES", '("one", "both")'))
    await broker.node.plugins.load("host")
    assert {"one", "both"} <= set(broker.alarms())
    folders.write("host", code.replace("NAMES", '("both", "two")'))
    await broker.reload_plugin("host")
    assert "one" not in broker.alarms()
    assert {"both", "two"} <= set(broker.alarms())


async def test_an_alarm_that_another_generation_raised_as_well_stays(folders: Folders, broker: TestBroker) -> None:
    code = """
        class Host(Plugin):
            async def start(self):
                self.context.alarms.raise_("both")
                END

            @hookimpl
            def client_connected(self, client):
                1 / 0

        plugin = Host
    """
    folders.write("host", code.replace("END", "pass"))
    await broker.node.plugins.load("host")
    folders.write("host", code.replace("END", "1 / 0"))
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        await broker.node.plugins.reload("host")
    assert "both" in broker.alarms(), "it is the one's that goes on"
    folders.write("host", code.replace("END", "pass"))
    for number in range(10):
        await broker.client(str(number))
    assert "host" not in broker.node.plugins.live, "it was switched off"
    await broker.node.plugins.load("host")
    assert "both" in broker.alarms(), "it is the new one's"
