"""A plugin that crashes, hangs, blocks or cannot be loaded: the broker goes on, and says so."""

from __future__ import annotations

import pytest
import trio
from plugin_folders import Folders

from trioemqx.testing import Refused, TestBroker, running
from trioemqx.types import Message

CRASHING = """
    class Crashing(Plugin):
        @hookimpl
        def message_publish(self, message: Message):
            if not message.sys:
                1 / 0

        @hookimpl
        async def client_authenticate(self, client: ClientInfo):
            return Verdict(0)

        @hookimpl
        def client_check_acl_now(self, client: ClientInfo, action: str, topic: str):
            return True

    plugin = Crashing
"""


async def test_repeated_crashes_switch_a_plugin_off(broker: TestBroker, folders: Folders) -> None:
    folders.write("crashing", CRASHING)
    await broker.node.plugins.load("crashing")
    client = await broker.client("c", subscribe="t")
    for number in range(10):
        await client.publish("t", str(number).encode())
        assert await client.message() == ("t", str(number).encode())
    assert broker.node.broker.metrics.hook_crashed == 10
    assert "crashing" not in broker.node.plugins.live
    alarm = broker.alarms()["plugin_disabled/crashing"]
    assert alarm["reason"] == "10 crashes within 60 s, the last in message_publish"
    with pytest.raises(Refused):
        await broker.client("d")
    assert await client.publish("u", qos=1) == 0x87, "what it decided is denied from now on"
    await broker.node.plugins.load("crashing")
    assert broker.alarms() == {}
    await broker.client("d")
    await broker.node.plugins.unload("crashing")
    await broker.client("e")


async def test_unloading_a_plugin_that_is_off_opens_its_door_again(broker: TestBroker, folders: Folders) -> None:
    folders.write("crashing", CRASHING)
    await broker.node.plugins.load("crashing")
    for _ in range(10):
        broker.node.publish(Message("t", b""))
    with pytest.raises(Refused):
        await broker.client("c")
    assert await broker.ctl("plugins unload crashing") == ["Plugin crashing unloaded successfully."]
    await broker.client("c")
    assert broker.alarms() == {}


async def test_crashes_that_are_far_apart_are_forgiven(broker: TestBroker, folders: Folders) -> None:
    folders.write("crashing", CRASHING)
    await broker.node.plugins.load("crashing")
    for _ in range(30):
        broker.node.publish(Message("t", b""))
        await trio.sleep(10)
    assert "crashing" in broker.node.plugins.live


RUNNING = """
    class Running(Plugin):
        starts = 0

        async def run(self):
            type(self).starts += 1
            if self.starts <= CRASHES:
                await trio.sleep(SLEEP)
                raise RuntimeError("out of order")
            await trio.sleep_forever()

    plugin = Running
"""


def _running(folders: Folders, crashes: int, sleep: float) -> None:
    folders.write("background", RUNNING.replace("CRASHES", str(crashes)).replace("SLEEP", str(sleep)))


async def test_a_crashed_run_is_started_again(broker: TestBroker, folders: Folders) -> None:
    _running(folders, 2, 0.0)
    await broker.node.plugins.load("background")
    await trio.sleep(5)
    assert broker.node.plugins.plugin("background").starts == 3  # type: ignore[attr-defined]
    assert broker.alarms()["plugin_crashed/background"]["error"] == "RuntimeError: out of order"
    await trio.sleep(70)
    assert broker.alarms() == {}, "it has been well for a minute"


async def test_a_run_that_crashes_again_and_again_is_given_up(broker: TestBroker, folders: Folders) -> None:
    client = await broker.client("c")
    _running(folders, 1000, 0.0)
    await broker.node.plugins.load("background")
    await trio.sleep(60)
    assert "background" not in broker.node.plugins.live
    assert "crashed 5 times" in str(broker.alarms()["plugin_disabled/background"]["reason"])
    await client.ping()


async def test_tasks_and_timers_that_crash_count(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Tasks(Plugin):
            async def start(self):
                self.ticks = 0
                self.context.spawn(self.fail)
                self.context.every(20.0, self.tick)

            async def fail(self):
                raise ValueError

            def tick(self):
                self.ticks += 1
                raise ValueError

        plugin = Tasks
    """
    folders.write("tasks", code)
    await broker.node.plugins.load("tasks")
    await trio.sleep(101)
    assert broker.node.plugins.plugin("tasks").ticks == 5  # type: ignore[attr-defined]
    assert broker.node.broker.metrics.hook_crashed == 6


async def test_a_sync_hook_that_holds_the_loop_is_named(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Holds(Plugin):
            @hookimpl
            def message_publish(self, message: Message):
                pass
        plugin = Holds
    """
    folders.write("holds", code)
    await broker.node.plugins.load("holds")
    times = iter([0.0, 0.019, 1.0, 1.021, 2.0, 3.0])
    broker.node.hooks.compiled.clock = lambda: next(times)
    broker.node.publish(Message("t", b""))
    assert broker.alarms() == {}
    broker.node.publish(Message("t", b""))
    assert broker.alarms()["plugin_slow/holds"] == {"plugin": "holds", "hook": "message_publish", "milliseconds": 21}
    broker.node.hooks.compiled.clock = lambda: 0.0
    await broker.reload_plugin("holds")
    assert broker.alarms() == {}


async def test_an_async_hook_has_a_time_limit(folders: Folders) -> None:
    code = """
        class Hangs(Plugin):
            @hookimpl
            async def client_authenticate(self, client: ClientInfo):
                await trio.sleep_forever()
        plugin = Hangs
    """
    folders.write("hangs", code)
    config = folders.config("hangs", hangs={"hook_timeout": "2s"})
    async with running(config) as broker:
        began = trio.current_time()
        with pytest.raises(Refused) as caught:
            await broker.client("c")
        assert caught.value.connack.code == 0x88
        assert trio.current_time() - began == pytest.approx(2, abs=0.5)


async def test_stop_that_crashes_or_hangs_does_not_hold_the_broker(broker: TestBroker, folders: Folders) -> None:
    for name, body in (("crashes", "raise ValueError"), ("hangs", "await trio.sleep_forever()")):
        folders.write(name, f"class P(Plugin):\n    async def stop(self):\n        {body}\nplugin = P\n")
        await broker.node.plugins.load(name)
        await broker.node.plugins.unload(name)
        assert name not in broker.node.plugins.live


@pytest.mark.parametrize("kind", ["auth", "feature"])
async def test_a_plugin_that_does_not_load_at_start(folders: Folders, kind: str) -> None:
    """The broker starts; what an auth plugin would have decided is denied until it is loaded or unloaded."""
    folders.write("broken", "raise RuntimeError('no')\n", kind=kind)
    async with running(folders.config("broken")) as broker:
        reason = str(broker.alarms()["plugin_not_loaded/broken"]["reason"])
        assert "RuntimeError: no" in reason
        if kind == "auth":
            with pytest.raises(Refused):
                await broker.client("c")
            folders.write("broken", "class P(Plugin): pass\nplugin = P\n", kind=kind)
            await broker.node.plugins.load("broken")
        await broker.client("c")


async def test_an_endless_flood_from_a_plugin_stays_bounded(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Floods(Plugin):
            async def start(self):
                self.queue = self.context.queue(size=100)
                self.newest = self.context.queue(size=2, full="drop_new", name="newest")

            @hookimpl
            def message_publish(self, message: Message):
                self.queue.put(message.payload)
                self.newest.put(message.payload)
        plugin = Floods
    """
    folders.write("floods", code)
    await broker.node.plugins.load("floods")
    for number in range(1000):
        broker.node.publish(Message("t", str(number).encode()))
    queue = broker.node.plugins.plugin("floods").queue  # type: ignore[attr-defined]
    assert (len(queue), queue.dropped) == (100, 900)
    assert await queue.get() == b"900"
    newest = broker.node.plugins.plugin("floods").newest  # type: ignore[attr-defined]
    assert [await newest.get(), await newest.get()] == [b"0", b"1"]
    assert broker.metrics["plugin.floods.events.dropped"] == 900
    assert broker.metrics["plugin.floods.newest.dropped"] == 998


LEAVING = {
    "run": "async def run(self):\n        raise SystemExit(3)",
    "a nursery in run": """async def run(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.leave)
            await trio.sleep_forever()

    async def leave(self):
        raise SystemExit(3)""",
}


@pytest.mark.parametrize("body", LEAVING.values(), ids=LEAVING)
async def test_a_plugin_that_leaves_python_in_run_ends_itself_only(
    broker: TestBroker, folders: Folders, body: str
) -> None:
    folders.write("leaves", f"class P(Plugin):\n    {body}\nplugin = P\n")
    await broker.node.plugins.load("leaves")
    client = await broker.client("c")
    await trio.sleep(60)
    assert "crashed 5 times" in str(broker.alarms()["plugin_disabled/leaves"]["reason"])
    await client.ping()


NURSERY = """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await trio.sleep_forever()
"""


async def test_a_nursery_that_leaves_python_in_start_or_a_hook_ends_nothing_else(folders: Folders) -> None:
    leave = "async def leave():\n    raise SystemExit(3)\nasync def work():" + NURSERY
    folders.write(
        "starts", f"{leave}\nclass P(Plugin):\n    async def start(self):\n        await work()\nplugin = P\n"
    )
    hook = "@hookimpl\n    async def client_authenticate(self, client: ClientInfo):\n        await work()"
    folders.write("hooked", f"{leave}\nclass P(Plugin):\n    {hook}\nplugin = P\n", kind="auth")
    settings = "@attrs.frozen\nclass C:\n    def __attrs_post_init__(self):\n        raise SystemExit(3)"
    folders.write("settles", f"{settings}\nclass P(Plugin[C]): pass\nplugin = P\n")
    async with running(folders.config("starts", "hooked", "settles")) as broker:
        for name in ("starts", "settles"):
            assert "SystemExit: 3" in str(broker.alarms()[f"plugin_not_loaded/{name}"]["reason"])
        with pytest.raises(Refused):
            await broker.client("c")
        assert broker.node.broker.metrics.hook_crashed == 1


async def test_cancellation_is_not_taken_for_a_crash(broker: TestBroker, folders: Folders) -> None:
    """Also when it comes in a group with a SystemExit: the broker that ends is not held up."""
    code = """
        async def wait():
            try:
                await trio.sleep_forever()
            finally:
                raise SystemExit(3)

        class P(Plugin):
            async def run(self):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    await trio.sleep_forever()
        plugin = P
    """
    folders.write("both", code)
    await broker.node.plugins.load("both")
    await trio.sleep(1)
    await broker.node.plugins.unload("both")
    assert "both" not in broker.node.plugins.live
    await broker.client("c")
