"""Plugins by HTTP: what there is, and changes while clients stay connected."""

from __future__ import annotations

import json
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

import trioemqx
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import from_mapping
from trioemqx.errors import ConfigError
from trioemqx.services.plugins.errors import PluginError
from trioemqx.testing import TestBroker, running

PYPROJECT = """
[project]
name = "{name}"
version = "2.5"
description = "{name} for tests"

[tool.trioemqx]
api = ">=1,<2"
type = "{type}"
"""
TAGGING = """
    import attrs
    import trio
    from trioemqx.plugin import Message, Plugin, hookimpl

    @attrs.frozen
    class Config:
        word: str = "one"

    class Tagging(Plugin[Config]):
        @hookimpl
        def message_publish(self, message: Message):
            if message.sys:
                return None
            changed = message.copy()
            changed._payload = message.payload + b" " + self.config.word.encode()
            return changed

    plugin = Tagging
"""


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), "tagging", TAGGING)
        yield Path(folder)


@pytest.fixture
def broker_config(root: Path) -> dict[str, object]:
    return {"plugins": {"dirs": [str(root)], "loaded_file": str(root / "state" / "loaded_plugins")}}


def write(root: Path, name: str, code: str, kind: str = "feature") -> Path:
    """A folder of a plugin; returns its main file."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name, type=kind))
    main = folder / f"{name}.py"
    main.write_text("from __future__ import annotations\n" + textwrap.dedent(code))
    return main


async def put(broker: TestBroker, plugin: str, verb: str) -> object:
    return (await broker.api("PUT", f"/nodes/{broker.node.node}/plugins/{plugin}/{verb}")).json()


async def plugins(broker: TestBroker) -> dict[str, dict[str, object]]:
    found = (await broker.api("GET", f"/nodes/{broker.node.node}/plugins")).data
    return {row["name"]: row for row in found}


async def said(broker: TestBroker) -> bytes:
    """What becomes of a message."""
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"x")
    return (await client.message())[1]


ALREADY = {"code": 110, "message": "already_started"}
STOPPED = {"code": 111, "message": "not_started"}
OK = {"code": 0}


async def test_list(broker: TestBroker, root: Path) -> None:
    """GET /plugins and GET /nodes/{node}/plugins"""
    write(root, "broken", "import nothing_of_that_name", "auth")
    write(root, "odd", TAGGING, "strange")
    (entry,) = (await broker.api("GET", "/plugins")).data
    assert entry["node"] == broker.node.node
    names = [row["name"] for row in entry["plugins"]]
    assert names == sorted(names)
    found = await plugins(broker)
    assert list(found) == names
    assert found["tagging"] == {
        "name": "tagging", "version": "2.5", "description": "tagging for tests", "active": False, "type": "feature",
    }  # fmt: skip
    assert (found["broken"]["type"], found["odd"]["type"]) == ("auth", "feature")
    assert found["emqx_auth_mnesia"]["type"] == "auth"
    assert {(row["active"], row["version"]) for name, row in found.items() if name in BUILT_IN} == {
        (True, trioemqx.__version__)
    }


BUILT_IN = ("emqx_dashboard", "emqx_management")


async def test_load_and_unload(broker: TestBroker, root: Path) -> None:
    """PUT /nodes/{node}/plugins/{plugin}/load and PUT /nodes/{node}/plugins/{plugin}/unload"""
    watcher = await broker.client("w", subscribe="t")
    assert await put(broker, "tagging", "load") == OK
    assert await said(broker) == b"x one"
    assert (await plugins(broker))["tagging"]["active"] is True
    assert await put(broker, "tagging", "load") == ALREADY
    state = root / "state" / "loaded_plugins"
    assert "tagging" in state.read_text()
    assert await put(broker, "tagging", "unload") == OK
    assert await said(broker) == b"x"
    assert await put(broker, "tagging", "unload") == STOPPED
    assert "{tagging, true}" not in state.read_text()
    await watcher.ping()


async def test_reload(broker: TestBroker, root: Path) -> None:
    """PUT /nodes/{node}/plugins/{plugin}/reload"""
    assert await put(broker, "tagging", "reload") == OK, "one that is stopped is loaded"
    assert await said(broker) == b"x one"
    write(root, "tagging", TAGGING.replace('"one"', '"two"'))
    assert await put(broker, "tagging", "reload") == OK
    assert await said(broker) == b"x two"
    write(root, "tagging", "syntax error")
    answer = await put(broker, "tagging", "reload")
    assert answer["code"] == 102
    assert "tagging.py:2" in answer["message"]
    assert await said(broker) == b"x two", "the old one serves on"


async def test_of_all_nodes(broker: TestBroker, root: Path) -> None:
    """PUT /plugins/{plugin}/unload and PUT /plugins/{plugin}/reload"""
    assert (await broker.api("PUT", "/plugins/tagging/reload")).json() == OK
    assert await said(broker) == b"x one"
    assert (await broker.api("PUT", "/plugins/tagging/unload")).json() == OK
    assert (await broker.api("PUT", "/plugins/tagging/unload")).json() == STOPPED
    assert (await broker.api("PUT", "/plugins/tagging/load")).status == 404, "EMQX has no such endpoint"
    assert await said(broker) == b"x"


async def test_what_cannot_be_loaded(broker: TestBroker, root: Path) -> None:
    code = TAGGING.replace(
        "@hookimpl", 'async def start(self):\n            raise OSError("no disk")\n\n        @hookimpl'
    )
    write(root, "failing", code)
    answer = await put(broker, "failing", "load")
    assert answer["code"] == 102
    assert "no disk" in answer["message"]
    (root / "tagging" / "etc").mkdir()
    (root / "tagging" / "etc" / "tagging.toml").write_text("word = [5]\n")
    answer = await put(broker, "tagging", "load")
    assert (answer["code"], answer["message"]) == (102, "parse_config_file_failed")
    assert "tagging.toml:1" in answer["reason"]
    assert not {"failing", "tagging"} & broker.node.plugins.live.keys()


async def test_names(broker: TestBroker) -> None:
    for name in ("nothing", "emqx%5Fretainer", "%00", "..", "x" * 3000, "tagging%2F..", "TAGGING"):
        for verb in ("load", "unload", "reload"):
            answer = await broker.api("PUT", f"/nodes/{broker.node.node}/plugins/{name}/{verb}")
            assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
    for verb in ("load", "unload", "reload"):
        assert await put(broker, "emqx_mod_delayed", verb) == {"code": 102, "message": "not_found"}
    assert (await broker.api("PUT", "/nodes/x@y/plugins/tagging/load")).status == 404
    assert (await broker.api("GET", "/nodes/x@y/plugins")).status == 404
    assert "emqx_mod_delayed" not in broker.node.plugins.live


async def test_the_management_stays(broker: TestBroker) -> None:
    name = "emqx_management"
    assert await put(broker, name, "load") == ALREADY
    assert await put(broker, name, "unload") == {"code": 102, "message": f"Plugin {name} can not be unloaded."}
    assert await put(broker, name, "reload") == OK
    assert (await plugins(broker))[name]["active"] is True


@pytest.mark.parametrize("name", [*BUILT_IN, "emqx_rule_engine"])
async def test_a_reload_of_a_part_of_the_broker_reads_its_settings(broker: TestBroker, root: Path, name: str) -> None:
    """PUT /nodes/{node}/plugins/{plugin}/reload"""
    node = broker.node
    settings = {"rule_engine": {"max_hops": 3}, "plugins": {"loaded_file": str(root / "state" / "loaded_plugins")}}
    changed = from_mapping(settings)
    node.config = attrs.evolve(node.config, source=lambda saved: changed)
    assert await put(broker, name, "reload") == OK
    assert node.config.rule_engine.max_hops == 3
    mistake = ConfigErrors([ConfigError("must be a number", "rule_engine.max_hops", source="emqx.toml:7")])

    def broken(saved: object) -> None:
        raise mistake

    node.config = attrs.evolve(node.config, source=broken)
    assert await put(broker, name, "reload") == {
        "code": 102,
        "message": "parse_config_file_failed",
        "reason": str(mistake),
    }
    assert node.config.rule_engine.max_hops == 3


REPUBLISH = {"name": "republish", "params": {"target_topic": "out", "payload_tmpl": "${payload}", "target_qos": 0}}
RULE = {"id": "rule:1", "rawsql": 'SELECT * FROM "in"', "actions": [REPUBLISH]}


async def test_a_rule_engine_that_is_unloaded_does_nothing_until_it_is_loaded(broker: TestBroker, root: Path) -> None:
    """PUT /nodes/{node}/plugins/{plugin}/unload"""
    engine = "emqx_rule_engine"
    assert (await broker.api("POST", "/rules", RULE)).code == 0
    watcher = await broker.client("watcher", subscribe="#")
    assert await put(broker, engine, "load") == ALREADY
    assert await put(broker, engine, "reload") == OK
    assert await put(broker, engine, "unload") == OK
    assert (await plugins(broker))[engine]["active"] is False
    assert f"{{{engine}, false}}." in (root / "state" / "loaded_plugins").read_text()
    assert await put(broker, engine, "unload") == {"code": 111, "message": "not_started"}
    for path in ("/rules", "/rules/rule:1", "/actions", "/resources", "/rule_events"):
        assert (await broker.api("GET", path)).status == 404
    assert (await broker.api("GET", "/rules", auth="admin:wrong")).status == 401
    for command in ("rules list", "rule-actions list", "resources list", "resource-types show web_hook"):
        assert await broker.ctl(command) == [
            "emqx_rule_engine is not loaded: trioemqx ctl plugins load emqx_rule_engine"
        ]
    await watcher.publish("in", b"1")
    assert await watcher.message() == ("in", b"1")
    assert await put(broker, engine, "load") == OK
    assert [rule["id"] for rule in (await broker.api("GET", "/rules")).data] == ["rule:1"]
    assert len(await broker.ctl("rules list")) == 1
    await watcher.publish("in", b"2")
    assert sorted([await watcher.message(), await watcher.message()]) == [("in", b"2"), ("out", b"2")]
    assert await put(broker, engine, "unload") == OK
    assert await put(broker, engine, "reload") == OK
    assert (await broker.api("GET", "/rules")).status == 200


async def test_a_change_that_cannot_be_remembered_says_so(tmp_path: Path) -> None:
    """It would be undone by the next start, and it may be what keeps strangers out."""
    write(tmp_path, "tagging", TAGGING)
    state = tmp_path / "state" / "loaded_plugins"
    settings = {"plugins": {"dirs": [str(tmp_path)], "loaded_file": str(state)}}
    async with running(settings) as broker:
        (tmp_path / "state").write_text("in the way")
        text = f"in force, but not on disk: {state} cannot be written: File exists"
        assert await put(broker, "tagging", "load") == {"code": 102, "message": text}
        assert (await plugins(broker))["tagging"]["active"] is True
        assert await put(broker, "tagging", "unload") == {"code": 102, "message": text}
        assert (await plugins(broker))["tagging"]["active"] is False


async def test_what_was_unloaded_stays_so_after_a_start(tmp_path: Path) -> None:
    state = tmp_path / "loaded_plugins"
    state.write_text("{emqx_rule_engine, false}.\n{emqx_dashboard, false}.\n{emqx_management, false}.\n")
    here = {"listener": {"http": {"bind": "127.0.0.1:0"}}}
    settings = {"plugins": {"loaded_file": str(state)}, "management": here, "dashboard": here}
    async with running(settings, listen=True) as broker:
        assert not broker.alarms()
        assert (await broker.api("GET", "/rules")).status == 404
        api = broker.node.api
        assert api is not None
        assert [bool(server.port) for server in api.servers] == [True, False]
        await broker.node.plugins.load("emqx_dashboard")
        await broker.node.plugins.load("emqx_rule_engine")
        assert (await broker.api("GET", "/rules")).status == 200
        port = api.servers[1].port
        with trio.fail_after(5):
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        await broker.node.plugins.reload("emqx_dashboard")
        await broker.node.plugins.unload("emqx_dashboard")
        with trio.fail_after(5):
            while api.servers[1].port:
                await trio.sleep(0.02)
        assert api.servers[0].port
        with pytest.raises(PluginError, match="not started"):
            await broker.node.plugins.unload("emqx_dashboard")


async def test_a_body_changes_nothing(broker: TestBroker) -> None:
    for body in ({"a": 1}, [1], "x", 5):
        answer = await broker.api("PUT", f"/nodes/{broker.node.node}/plugins/tagging/reload", body)
        assert answer.json() == OK


async def test_a_caller_that_goes_away_does_not_stop_a_change(broker: TestBroker, root: Path) -> None:
    slow = TAGGING.replace("@hookimpl", "async def start(self):\n            await trio.sleep(2)\n\n        @hookimpl")
    write(root, "slow", slow)
    with trio.move_on_after(1) as gone:
        await put(broker, "slow", "load")
    assert gone.cancelled_caught
    assert "slow" not in broker.node.plugins.live
    await trio.sleep(2)
    assert "slow" in broker.node.plugins.live
    assert "slow" in (root / "state" / "loaded_plugins").read_text()


SELF = """
    from trioemqx.plugin import Plugin, put

    class Mine(Plugin):
        async def start(self):
            self.context.http.serve(put("/mine/{verb}", self.change, descr="Change me", group="mine"))

        async def change(self, call):
            await getattr(call.host.plugins, call.args["verb"])("mine")
            return "done"

    plugin = Mine
"""


async def test_a_plugin_may_be_changed_by_a_request_that_it_serves(broker: TestBroker, root: Path) -> None:
    write(root, "mine", SELF)
    assert await put(broker, "mine", "load") == OK
    first = broker.node.plugins.plugin("mine")
    with trio.fail_after(20):
        answer = await broker.api("PUT", "/mine/reload")
    assert (answer.status, answer.message) == (503, "mine was stopped meanwhile"), "it is not waited for without end"
    assert broker.node.plugins.plugin("mine") is not first
    with trio.fail_after(20):
        assert (await broker.api("PUT", "/mine/unload")).status == 503
    assert "mine" not in broker.node.plugins.live
    assert (await broker.api("PUT", "/mine/reload")).status == 404


async def test_two_changes_at_once_are_made_one_after_the_other(broker: TestBroker) -> None:
    answers: list[object] = []
    assert await put(broker, "tagging", "unload") == STOPPED

    async def change(verb: str) -> None:
        answers.append(await put(broker, "tagging", verb))

    async with trio.open_nursery() as nursery:
        for verb in ("load", "load", "load", "reload", "unload"):  # one unload: the third load always comes too late
            nursery.start_soon(change, verb)
    assert all(answer in (OK, ALREADY, STOPPED) for answer in answers), json.dumps(answers)
    assert answers.count(ALREADY) + answers.count(STOPPED) >= 1
    assert await put(broker, "tagging", "reload") == OK
