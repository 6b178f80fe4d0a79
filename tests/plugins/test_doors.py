"""No moment of a plugin's life opens a door: loading, reloading, failing, stopping, changing rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from plugin_folders import Folders

from trioemqx.services.plugins import PluginError, state
from trioemqx.services.plugins.switches import DESCRIPTIONS
from trioemqx.testing import Refused, TestBroker, running

ANSWERS = """
    class Answers(Plugin):
        @hookimpl(priority=PRIORITY)
        async def client_check_acl(self, client: ClientInfo, action: str, topic: str):
            await trio.sleep(SECONDS)
            return ALLOWED

        async def stop(self):
            await trio.sleep(STOP)

    plugin = Answers
"""


def _answers(
    folders: Folders, name: str, allowed: bool, priority: int = 0, seconds: float = 0, stop: float = 0
) -> None:
    code = ANSWERS.replace("PRIORITY", str(priority)).replace("ALLOWED", str(allowed))
    folders.write(name, code.replace("SECONDS", str(seconds)).replace("STOP", str(stop)))


async def test_an_answer_by_the_old_rules_is_asked_for_again(broker: TestBroker, folders: Folders) -> None:
    _answers(folders, "allows", True, seconds=1)
    _answers(folders, "denies", False, priority=10)
    await broker.node.plugins.load("allows")
    client = await broker.client("c")
    codes: list[int] = []

    async def publish() -> None:
        codes.append(await client.publish("t", qos=1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        await trio.sleep(0.5)
        await broker.node.plugins.load("denies")
    assert codes == [0x87]


async def test_what_a_plugin_allowed_is_forgotten_before_it_stops(folders: Folders) -> None:
    _answers(folders, "allows", True, stop=4)
    async with running({**folders.config("allows"), "acl_nomatch": "deny"}) as broker:
        client = await broker.client("c")
        assert await client.publish("t", qos=1) == 0x10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.node.plugins.unload, "allows")
            await trio.sleep(1)
            assert await client.publish("t", qos=1) == 0x87


FURTHER = """
    class Rules:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo):
            return Verdict(0x87)

        @hookimpl
        def client_check_acl_now(self, client: ClientInfo, action: str, topic: str):
            return False

    class Further(Plugin):
        exclusive = EXCLUSIVE
        async def start(self):
            if NOW:
                self.context.hooks(Rules())
            await trio.sleep(SECONDS)
            if FAIL:
                raise PluginError("no")

        def listen(self):
            self.context.hooks(Rules())

    plugin = Further
"""


def _further(
    folders: Folders, exclusive: bool = False, now: bool = True, seconds: float = 0, fail: bool = False
) -> None:
    code = FURTHER.replace("EXCLUSIVE", str(exclusive)).replace("NOW", str(now))
    folders.write("further", code.replace("SECONDS", str(seconds)).replace("FAIL", str(fail)))


@pytest.mark.parametrize("fail", [False, True])
async def test_an_exclusive_reload_keeps_the_door_shut(broker: TestBroker, folders: Folders, fail: bool) -> None:
    _further(folders, exclusive=True)
    await broker.node.plugins.load("further")
    _further(folders, exclusive=True, seconds=3, fail=fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.ctl, "plugins reload further")
        await trio.sleep(1)
        with pytest.raises(Refused):
            await broker.client("during")
    with pytest.raises(Refused):
        await broker.client("after")


async def test_rules_that_come_while_a_plugin_is_live_hold_at_once(broker: TestBroker, folders: Folders) -> None:
    _further(folders, now=False)
    await broker.node.plugins.load("further")
    client = await broker.client("c")
    assert await client.publish("t", qos=1) == 0x10
    broker.node.plugins.plugin("further").listen()  # type: ignore[attr-defined]
    assert await client.publish("t", qos=1) == 0x87


async def test_an_access_plugin_that_is_gone_is_missed(folders: Folders) -> None:
    file = folders.root / "loaded_plugins"
    file.write_text("{my-auth, true}.\n{something, true}.\n")
    config = {"plugins": {"dirs": [str(folders.root)], "loaded_file": str(file)}}
    async with running(config) as broker:
        with pytest.raises(Refused):
            await broker.client("c")
        listed = await broker.ctl("hooks")
        assert "client_authenticate: my-auth (0, denies)" in listed
        assert await broker.ctl("plugins unload my-auth") == ["Plugin my-auth unloaded successfully."]
        await broker.client("c")
        assert "plugin_not_loaded/my-auth" not in broker.alarms()
    assert "{my-auth, false}." in file.read_text()


def test_what_is_loaded_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API has said that it is done: first the content is on the disk, then the name that leads to it."""
    file = tmp_path / "state" / "loaded_plugins"
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        done.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append(("replace", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    state.write(file, {"emqx_auth_mnesia": True})
    assert done == [("fsync", f"{file}.new"), ("replace", str(file)), ("fsync", str(file.parent))]
    assert state.read(file) == {"emqx_auth_mnesia": True}


async def test_an_unreadable_state_file_lets_nobody_in(folders: Folders) -> None:
    file = folders.root / "loaded_plugins"
    file.write_bytes(b"\xff\xfe{emqx_auth_http, true}.\n")
    async with running({"plugins": {"loaded_file": str(file)}}) as broker:
        with pytest.raises(Refused):
            await broker.client("c")
        assert "cannot be read" in str(broker.alarms())


async def test_code_that_leaves_the_process_does_not_take_it_down(broker: TestBroker, folders: Folders) -> None:
    code = """
        import sys
        class Exits(Plugin):
            async def start(self):
                self.context.broker.subscribe("exit", lambda message: sys.exit(1))
                self.context.command("exit now", lambda: sys.exit(1))
                self.context.metrics.gauge("exits", lambda: sys.exit(1))

            async def stop(self):
                sys.exit(1)

            @hookimpl
            def message_publish(self, message: Message):
                if message.topic == "hook":
                    sys.exit(1)

            @hookimpl
            async def client_check_acl(self, client: ClientInfo, action: str, topic: str):
                if topic == "acl":
                    sys.exit(1)

        plugin = Exits
    """
    folders.write("exits", code)
    await broker.node.plugins.load("exits")
    client = await broker.client("c", subscribe="hook", qos=1)
    await client.publish("hook", b"x", qos=1)
    assert await client.message() == ("hook", b"x")
    await client.publish("exit", qos=1)
    assert await client.publish("acl", qos=1) == 0x87
    assert "SystemExit" in (await broker.ctl("exit now"))[0]
    assert broker.node.stats()["exits.count"] == 0
    await broker.node.plugins.unload("exits")
    await client.ping()


async def test_crashes_of_code_that_is_not_live_are_not_held_against_the_one_that_is(
    broker: TestBroker, folders: Folders
) -> None:
    folders.write("mixed", "class P(Plugin): pass\nplugin = P\n")
    await broker.node.plugins.load("mixed")
    code = """
        class P(Plugin):
            async def start(self):
                self.context.every(0.1, self.crash)
                self.context.alarms.raise_("mine")
                await trio.sleep(5)
                raise PluginError("no")
            def crash(self):
                raise ValueError
        plugin = P
    """
    folders.write("mixed", code)
    with pytest.raises(PluginError, match="no"):
        await broker.reload_plugin("mixed")
    assert "mixed" in broker.node.plugins.live
    assert broker.alarms() == {}


async def test_an_exclusive_plugin_loses_no_state(broker: TestBroker, folders: Folders) -> None:
    code = """
        class Counts(Plugin):
            exclusive = True
            count = 0
            async def start(self):
                self.context.metrics.counter("exclusive.NUMBER")
                await trio.sleep(2)
                if FAIL:
                    raise PluginError("no")
            @hookimpl
            def message_publish(self, message: Message):
                self.count += not message.sys
            def export_state(self):
                return self.count
            def import_state(self, state):
                self.count = state
        plugin = Counts
    """

    def write(number: int, fail: bool) -> None:
        folders.write("counts", code.replace("NUMBER", str(number)).replace("FAIL", str(fail)))

    write(1, False)
    await broker.node.plugins.load("counts")
    client = await broker.client("c")
    for number, fail in ((2, False), (3, True)):
        write(number, fail)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.ctl, "plugins reload counts")
            for _ in range(8):
                await client.publish("t", qos=1)
                await trio.sleep(0.5)
    await trio.sleep(5)
    assert broker.node.plugins.plugin("counts").count == 16  # type: ignore[attr-defined]
    assert [name for name in broker.metrics if name.startswith("exclusive.")] == ["exclusive.2"]


async def test_the_order_of_access_plugins_can_change_while_it_runs(broker: TestBroker, folders: Folders) -> None:
    from trioemqx.wiring import prepare

    _answers(folders, "first", True)
    _answers(folders, "second", False)
    for name in ("first", "second"):
        await broker.node.plugins.load(name)
    client = await broker.client("c")
    assert await client.publish("t", qos=1) == 0x10
    await broker.node.plugins.configure(prepare({**folders.config("first", "second"), "acl_order": "second"}))
    assert await client.publish("t", qos=1) == 0x87


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("def message_publish(self, *, message): pass", "keyword-only"),
        ("def message_publish(self, message):\n        yield", "yields"),
        ("async def client_authenticate(self):\n        yield", "yields"),
    ],
)
async def test_hooks_that_could_not_be_called_are_refused(
    broker: TestBroker, folders: Folders, method: str, words: str
) -> None:
    folders.write("odd", f"class P(Plugin):\n    @hookimpl\n    {method}\nplugin = P\n")
    with pytest.raises(PluginError, match=words):
        await broker.node.plugins.load("odd")


async def test_what_only_emqx_has_as_plugins_is_here_already(folders: Folders, tmp_path: Path) -> None:
    """Its lines in the state file stay, and nothing is said of them."""
    folders.write("other", "class P(Plugin): pass\nplugin = P\n")
    file = tmp_path / "loaded_plugins"
    file.write_text("{emqx_management, true}.\n{emqx_dashboard, true}.\n{emqx_rule_engine, false}.\n")
    async with running({"plugins": {"dirs": [str(folders.root)], "loaded_file": str(file)}}) as broker:
        assert (broker.alarms(), broker.node.plugins.problems) == ({}, [])
        await broker.node.plugins.load("other")
    text = file.read_text()
    assert text == "{emqx_management, true}.\n{emqx_dashboard, true}.\n{emqx_rule_engine, false}.\n{other, true}.\n"
    async with running({"plugins": {"load": list(DESCRIPTIONS), "loaded_file": str(file)}}) as broker:
        assert broker.alarms() == {}
