"""discovered → imported → configured → started → live → stopping → forgotten, while clients stay connected."""

from __future__ import annotations

import gc
import os
import sys
import weakref

import pytest
import trio
import trio.testing
from plugin_folders import Folders

from trioemqx.services.plugins import PluginError
from trioemqx.testing import Refused, TestBroker, running
from trioemqx.types import Message

TAGGING = """
    class Tagging(Plugin):
        async def start(self):
            self.seen = 0
            self.context.command("tagging seen", lambda: str(self.seen))

        @hookimpl
        def message_publish(self, message: Message):
            if message.sys:
                return None
            self.seen += 1
            changed = message.copy()
            changed._payload = message.payload + b" TAG"
            return changed

        def export_state(self):
            return {"seen": self.seen}

        def import_state(self, state):
            self.seen = state["seen"]

    plugin = Tagging
"""


async def test_load_reload_unload_while_a_client_is_connected(broker: TestBroker, folders: Folders) -> None:
    client = await broker.client("c", subscribe="t", qos=1)
    folders.write("tagging", TAGGING.replace("TAG", "one"))
    await broker.node.plugins.load("tagging")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x one")
    folders.write("tagging", TAGGING.replace("TAG", "two"))
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x one"), "the file alone changes nothing"
    await broker.reload_plugin("tagging")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x two")
    assert await broker.ctl("tagging seen") == ["3"], "the state has been handed over"
    await broker.node.plugins.unload("tagging")
    await client.publish("t", b"x", qos=1)
    assert await client.message() == ("t", b"x")
    assert (await broker.ctl("tagging seen"))[0] == "Usage: emqx_ctl"


async def test_every_file_of_a_plugin_is_new_after_a_reload(broker: TestBroker, folders: Folders) -> None:
    folder = folders.root / "parts"
    folders.write("parts", "")
    (folder / "parts.py").unlink()
    (folder / "parts" / "inner").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text(
        "from trioemqx.plugin import Plugin\nfrom .inner.deep import WORD\nfrom . import near\n"
        "class Parts(Plugin):\n    word = f'{WORD} {near.WORD}'\nplugin = Parts\n"
    )
    (folder / "parts" / "inner" / "__init__.py").write_text("")
    for number in range(5):  # quicker than the seconds that a bytecode cache goes by
        (folder / "parts" / "inner" / "deep.py").write_text(f"WORD = 'a{number}'\n")
        (folder / "parts" / "near.py").write_text(f"WORD = 'b{number}'\n")
        await broker.reload_plugin("parts")
        assert broker.node.plugins.plugin("parts").word == f"a{number} b{number}"  # type: ignore[attr-defined]


async def test_a_message_is_seen_by_exactly_one_generation(broker: TestBroker, folders: Folders) -> None:
    """The hook, and a subscription through the context, across reloads between messages that keep coming."""
    code = """
        class Echo(Plugin):
            async def start(self):
                self.context.broker.subscribe("in", self.echo)
                await trio.sleep(0.5)   # the old one serves meanwhile

            def echo(self, message):
                self.context.broker.publish(Message("out", message.payload))

        plugin = Echo
    """
    folders.write("echo", code)
    await broker.node.plugins.load("echo")
    watcher = await broker.client("w", subscribe="out", qos=1)
    sender = await broker.client("s")

    async def send() -> None:
        for number in range(300):
            await sender.publish("in", str(number).encode(), qos=1)
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for _ in range(4):
            await broker.reload_plugin("echo")
    heard = [await watcher.message() for _ in range(300)]
    assert [payload for _, payload in heard] == [str(number).encode() for number in range(300)]
    assert await watcher.nothing()


async def test_calls_under_way_end_on_the_old_generation(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Slow(Plugin):
            hook_timeout = 10.0
            async def start(self):
                self.open = True
            async def stop(self):
                self.open = False
            @hookimpl
            async def client_authenticate(self, client: ClientInfo):
                await trio.sleep(3)
                return Verdict(0 if self.open else 0x87, extra={"by": NUMBER})
        plugin = Slow
    """
    folders.write("slow", code.replace("NUMBER", "1"))
    await broker.node.plugins.load("slow")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.client, "during")
        await trio.sleep(1)
        folders.write("slow", code.replace("NUMBER", "2"))
        await broker.reload_plugin("slow")
    during = broker.node.find("during")
    assert during is not None
    assert during.info.extra == {"by": 1}
    await broker.client("after")
    after = broker.node.find("after")
    assert after is not None
    assert after.info.extra == {"by": 2}


HOLDING = """
    from trioemqx.plugin import get, post

    class Holding(Plugin):
        async def start(self):
            context = self.context
            context.broker.subscribe("held/#", lambda message: None)
            context.broker.subscribe("$share/g/held", lambda message: None)
            context.command("holding here", lambda: "yes")
            context.metrics.counter("holding.count").inc()
            context.metrics.gauge("holding", lambda: 7)
            context.http.serve(get("/holding", lambda call: 7), post("/holding", lambda call: 7))
            context.alarms.raise_("holding")
            context.queue()
            self.file = open(__file__)
            context.spawn(trio.sleep_forever)
            context.every(1.0, lambda: None)

        async def stop(self):
            self.file.close()

        async def run(self):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)

        @hookimpl
        def message_publish(self, message: Message):
            return None

        @hookimpl
        async def client_authenticate(self, client: ClientInfo):
            return None

    plugin = Holding
"""


def _tasks() -> int:
    def count(task: trio.lowlevel.Task) -> int:
        return 1 + sum(count(child) for nursery in task.child_nurseries for child in nursery.child_tasks)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    return count(root)


async def _held(broker: TestBroker) -> dict[str, object]:
    await trio.testing.wait_all_tasks_blocked()
    core = broker.node.broker
    return {
        "tasks": _tasks(),
        "hooks": list(broker.node.hooks.describe()),
        "subscriptions": core.router.subscriptions,
        "routes": core.router.routes,
        "commands": broker.node.commands.names(),
        "metrics": sorted(core.metrics.values()),
        "stats": sorted(broker.node.stats()),
        "alarms": broker.alarms(),
        "endpoints": [(found.method, found.path) for found in broker.node.web_routes.endpoints],
        "listeners": sorted(broker.node.listeners.listeners),
        "files": len(os.listdir("/proc/self/fd")),
        "modules": sorted(name for name in sys.modules if "holding" in name),
    }


async def test_unload_leaves_nothing(broker: TestBroker, folders: Folders) -> None:
    folders.write("holding", HOLDING)
    before = await _held(broker)
    for _ in range(50):
        await broker.node.plugins.load("holding")
        during = await _held(broker)
        assert all(during[name] != before[name] for name in before if name != "listeners"), during
        await broker.reload_plugin("holding")
        again = await _held(broker)
        assert {**again, "modules": 0} == {**during, "modules": 0}
        await broker.node.plugins.unload("holding")
        assert await _held(broker) == before


async def test_old_generations_are_freed(broker: TestBroker, folders: Folders) -> None:
    folders.write("holding", HOLDING)
    await broker.node.plugins.load("holding")
    gone = []
    for _ in range(5):
        gone.append(weakref.ref(broker.node.plugins.plugin("holding")))
        await broker.reload_plugin("holding")
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5


EXCLUSIVE = """
    class Exclusive(Plugin):
        exclusive = True
        held = []

        async def start(self):
            if HELD.exists():
                raise PluginError("the lock is taken")
            if FAIL:
                raise PluginError("new code does not start")
            HELD.touch()

        async def stop(self):
            HELD.unlink()

        @hookimpl
        async def client_authenticate(self, client: ClientInfo):
            return Verdict(0x87 if client.clientid == "bad" else 0, extra={"by": NUMBER})

    plugin = Exclusive
"""


def _exclusive(folders: Folders, number: int, fail: bool) -> str:
    held = folders.root / "lock"
    code = EXCLUSIVE.replace("NUMBER", str(number)).replace("FAIL", str(fail))
    return code.replace("HELD", f"__import__('pathlib').Path({str(held)!r})")


async def test_an_exclusive_plugin_stops_before_the_new_one_starts(broker: TestBroker, folders: Folders) -> None:
    folders.write("exclusive", _exclusive(folders, 1, False))
    await broker.node.plugins.load("exclusive")
    folders.write("exclusive", _exclusive(folders, 2, False))
    await broker.reload_plugin("exclusive")
    await broker.client("c")
    assert broker.node.find("c").info.extra == {"by": 2}  # type: ignore[union-attr]
    assert (folders.root / "lock").exists()


async def test_an_exclusive_plugin_comes_back_when_the_new_one_fails(broker: TestBroker, folders: Folders) -> None:
    folders.write("exclusive", _exclusive(folders, 1, False))
    await broker.node.plugins.load("exclusive")
    folders.write("exclusive", _exclusive(folders, 2, True))
    with pytest.raises(PluginError, match="new code does not start; the old one was started again"):
        await broker.reload_plugin("exclusive")
    await broker.client("c")
    assert broker.node.find("c").info.extra == {"by": 1}  # type: ignore[union-attr]
    with pytest.raises(Refused):
        await broker.client("bad")
    await broker.node.plugins.unload("exclusive")
    assert not (folders.root / "lock").exists()


async def test_a_failed_hand_over_keeps_the_old_one(broker: TestBroker, folders: Folders) -> None:
    folders.write("tagging", TAGGING.replace("TAG", "one"))
    await broker.node.plugins.load("tagging")
    folders.write("tagging", TAGGING.replace("TAG", "two").replace('state["seen"]', 'state["other"]'))
    with pytest.raises(PluginError, match="KeyError: 'other'"):
        await broker.reload_plugin("tagging")
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x")
    assert await client.message() == ("t", b"x one")
    assert await broker.ctl("tagging seen") == ["1"]


async def test_names_that_are_taken(broker: TestBroker, folders: Folders) -> None:
    """A command that exists already: the plugin does not load, and nothing of it stays."""
    code = """
        class Taker(Plugin):
            async def start(self):
                self.context.command("retainer info", lambda: "mine")
            @hookimpl
            def message_publish(self, message: Message):
                raise Drop
        plugin = Taker
    """
    folders.write("taker", code)
    with pytest.raises(PluginError, match="there is a command retainer info already"):
        await broker.node.plugins.load("taker")
    assert await broker.ctl("retainer info") == ["retained/total: 0"]
    assert "message_publish" not in dict(broker.node.hooks.describe())


# -- state that survives -----------------------------------------------------------------------------------------------


async def test_what_is_loaded_survives_a_restart(folders: Folders) -> None:
    folders.write("tagging", TAGGING)
    file = folders.root / "loaded_plugins"
    config = {"plugins": {"dirs": [str(folders.root)], "loaded_file": str(file)}}
    async with running(config) as broker:
        assert "emqx_retainer" in broker.node.plugins.live, "on by default"
        await broker.node.plugins.load("tagging")
        await broker.node.plugins.unload("emqx_retainer")
    assert "{tagging, true}.\n" in file.read_text()
    assert "{emqx_retainer, false}.\n" in file.read_text()
    async with running(config) as broker:
        assert "tagging" in broker.node.plugins.live
        assert "emqx_retainer" not in broker.node.plugins.live
    only = {"plugins": {**config["plugins"], "load": ["emqx_retainer"]}}
    async with running(only) as broker:  # as EMQX_LOADED_PLUGINS does: for this run only
        assert "emqx_retainer" in broker.node.plugins.live
        assert "tagging" not in broker.node.plugins.live
        await broker.node.plugins.load("tagging")
    assert "{emqx_retainer, false}.\n" in file.read_text()


async def test_without_the_retainer_retain_has_no_effect(broker: TestBroker) -> None:
    client = await broker.client("c")
    await client.publish("t", b"kept", retain=True, qos=1)
    await broker.node.plugins.unload("emqx_retainer")
    await client.publish("t", b"not kept", retain=True, qos=1)
    assert await client.subscribe("t") == [0]
    assert await client.nothing()
    await broker.node.plugins.load("emqx_retainer")
    await client.subscribe("t")
    assert await client.message() == ("t", b"kept"), "what was there stays where it is"


# -- settings ----------------------------------------------------------------------------------------------------------

CONFIGURED = """
    @attrs.frozen
    class Config:
        word: str
        number: int = 1
        secret: Secret = Secret("")

    class Configured(Plugin[Config]):
        def config_changed(self, config):
            return config.number == self.config.number

    plugin = Configured
"""


async def test_changed_settings_are_applied_or_the_plugin_is_reloaded(folders: Folders) -> None:
    folders.write("configured", CONFIGURED)
    from trioemqx.wiring import prepare

    def tree(**settings: object) -> dict[str, object]:
        return {"plugins": {"dirs": [str(folders.root)], "load": ["configured"], "configured": settings}}

    async with running(tree(word="one")) as broker:
        manager = broker.node.plugins
        first = manager.plugin("configured")
        assert await manager.configure(prepare(tree(word="one"))) == []
        assert manager.plugin("configured") is first
        assert await manager.configure(prepare(tree(word="two"))) == []
        assert manager.plugin("configured") is first, "it took the change itself"
        assert first.config.word == "two"
        assert await manager.configure(prepare(tree(word="two", number=2))) == []
        assert manager.plugin("configured") is not first
        assert manager.plugin("configured").config.number == 2
        (line,) = await manager.configure(prepare(tree(number=3)))
        assert "plugins.configured.word: has to be set" in line
        assert manager.plugin("configured").config.number == 2
        broker.node.reload(prepare({**tree(word="three", number=2)}))
        await trio.sleep(1)
        assert manager.plugin("configured").config.word == "three", "as SIGHUP does"


async def test_publishing_from_a_hook_reaches_everybody(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Copies(Plugin):
            @hookimpl
            def message_publish(self, message: Message):
                if message.topic == "a":
                    self.context.broker.publish(Message("b", message.payload))
        plugin = Copies
    """
    folders.write("copies", code)
    await broker.node.plugins.load("copies")
    watcher = await broker.client("w", subscribe="b")
    assert broker.node.publish(Message("a", b"x")) == 0
    assert await watcher.message() == ("b", b"x")


async def test_whoever_asked_may_go_away_in_the_middle(broker: TestBroker, folders: Folders) -> None:
    """The change is done whole: the new one is live, the old one has been stopped."""
    code = """
        class Slow(Plugin):
            number = NUMBER
            async def start(self):
                await trio.sleep(2)
            async def stop(self):
                await trio.sleep(2)
                self.context.broker.publish(Message("stopped", str(self.number).encode()))
        plugin = Slow
    """
    watcher = await broker.client("w", subscribe="stopped")
    folders.write("slow", code.replace("NUMBER", "1"))
    with trio.move_on_after(1):
        await broker.node.plugins.load("slow")
    await trio.sleep(2)
    assert "slow" in broker.node.plugins.live
    folders.write("slow", code.replace("NUMBER", "2"))
    with trio.move_on_after(3):
        await broker.reload_plugin("slow")
    assert await watcher.message() == ("stopped", b"1")
    assert broker.node.plugins.plugin("slow").number == 2  # type: ignore[attr-defined]
    await broker.node.plugins.unload("slow")
    assert "_slow" not in " ".join(name for name in sys.modules if name.startswith("_trioemqx_plugins"))


async def test_an_exclusive_plugin_that_cannot_come_back_is_switched_off(broker: TestBroker, folders: Folders) -> None:
    folders.write("exclusive", _exclusive(folders, 1, False))
    await broker.node.plugins.load("exclusive")
    folders.write(
        "exclusive",
        _exclusive(folders, 2, True).replace(
            'raise PluginError("new',
            f"__import__('pathlib').Path({str(folders.root / 'lock')!r}).touch()\n"
            '                raise PluginError("new',
        ),
    )
    with pytest.raises(PluginError, match=r"the old one could not be started again: .*the lock is taken"):
        await broker.reload_plugin("exclusive")
    assert "exclusive" not in broker.node.plugins.live
    assert "plugin_disabled/exclusive" in broker.alarms()
    with pytest.raises(Refused):
        await broker.client("c")


async def test_a_plugin_that_hangs_at_its_start_does_not_hold_up_the_end(folders: Folders) -> None:
    folders.write(
        "hangs", "class P(Plugin):\n    async def start(self):\n        await trio.sleep_forever()\nplugin = P\n"
    )
    began = trio.current_time()
    async with running(folders.config("emqx_retainer")) as broker, trio.open_nursery() as nursery:
        nursery.start_soon(broker.ctl, "plugins load hangs")
        await trio.sleep(1)
        broker.node.stop()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began < 10


async def test_counters_of_a_generation_that_did_not_start_are_gone(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Counts(Plugin):
            async def start(self):
                self.context.metrics.counter("counts.one").inc()
                if FAIL:
                    self.context.metrics.counter("counts.two").inc()
                    raise PluginError("no")
        plugin = Counts
    """
    folders.write("counts", code.replace("FAIL", "True"))
    with pytest.raises(PluginError, match="no"):
        await broker.node.plugins.load("counts")
    assert "counts.one" not in broker.metrics
    folders.write("counts", code.replace("FAIL", "False"))
    await broker.node.plugins.load("counts")
    folders.write("counts", code.replace("FAIL", "True"))
    with pytest.raises(PluginError, match="no"):
        await broker.reload_plugin("counts")
    assert "counts.two" not in broker.metrics
    assert broker.metrics["counts.one"] == 2


async def test_load_and_reload_read_the_settings_as_they_are_written_now(folders: Folders) -> None:
    folders.write("configured", CONFIGURED)
    file = folders.root / "emqx.toml"
    head = 'allow_anonymous = true\n[listener.tcp]\nmain = "127.0.0.1:0"\n'
    head += f'[plugins]\ndirs = ["{folders.root}"]\nload = []\n'
    head += f'loaded_file = "none"\n[node]\ndata_dir = "{folders.root}/data"\n'
    file.write_text(head)
    from trioemqx.node import open_broker

    async with open_broker(file, in_memory=True) as node:
        with pytest.raises(PluginError, match=r"plugins\.configured\.word: has to be set"):
            await node.plugins.load("configured")
        file.write_text(head + '[plugins.configured]\nword = "one"\n')
        await node.plugins.load("configured")
        file.write_text(head + '[plugins.configured]\nword = "two"\nnumbr = 1\n')
        with pytest.raises(PluginError, match=r"emqx\.toml:12: .*numbr: unknown key \(did you mean number\?\)"):
            await node.plugins.reload("configured")
        file.write_text(head + '[plugins.configured]\nword = "two"\n')
        await node.plugins.reload("configured")
        assert node.plugins.plugin("configured").config.word == "two"
