"""docs/plugins.md is true: its examples run, and it has everything that a plugin may use, as it is."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

import trioemqx.plugin as facade
from trioemqx import cli, scaffold
from trioemqx.config.model import PluginsConfig
from trioemqx.services.plugins import settings, watch
from trioemqx.services.plugins.context import Context
from trioemqx.services.plugins.messaging import BrokerPart, RetainedPart
from trioemqx.services.plugins.parts import AlarmsPart, BansPart, MetricsPart
from trioemqx.services.plugins.rules import RulesPart
from trioemqx.services.plugins.web import HttpPart
from trioemqx.testing import TestBroker, running

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text("utf-8")
PARTS = {
    "context": Context,
    "context.broker": BrokerPart,
    "context.metrics": MetricsPart,
    "context.alarms": AlarmsPart,
    "context.bans": BansPart,
    "context.retained": RetainedPart,
    "context.http": HttpPart,
    "context.rules": RulesPart,
    "counter": facade.Counter,
    "handle": facade.Handle,
    "table": facade.Table,
    "queue": facade.EventQueue,
}
OF_THE_OWNER = {
    "context.attach(nursery)",
    "context.go_dark(keep_hooks=False)",
    "context.go_live()",
    "context.http.finish(seconds)",
    "context.shielded(call, message)",
    "handle.open()",
}
"""Public for the manager's sake only."""
ATTRIBUTES = {
    "context.name",
    "context.log",
    "context.broker",
    "context.metrics",
    "context.alarms",
    "context.bans",
    "context.retained",
    "context.http",
    "context.rules",
    "counter.name",
    "queue.size",
    "queue.full",
    "queue.dropped",
}
"""Set in `__init__`, where nothing can be asked for them."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    found = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^#{{1,2}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[2]


# -- the examples ----------------------------------------------------------------------------------------------------


def plugin(folder: Path, name: str, code: str) -> Path:
    scaffold.write(folder / name, name)
    (folder / name / f"{name}.py").write_text(code)
    return folder / name


def block(title: str) -> str:
    (found,) = [text for text in blocks("python") if text.startswith(f'"""{title}')]
    return found


def test_the_first_plugin_passes_its_test(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli.main, ["plugin", "new", "allow_list", "--dir", str(tmp_path)])
    assert made.exit_code == 0
    (tmp_path / "allow_list" / "allow_list.py").write_text(block("Lets in"))
    (tmp_path / "allow_list" / "tests" / "test_allow_list.py").write_text(block("Only those"))
    command = [sys.executable, "-m", "trioemqx", "plugin", "test", str(tmp_path / "allow_list"), "-q"]
    done = subprocess.run(command, env=scaffold._environment(), capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def _source_path() -> dict[str, str]:
    """Where mypy finds trioemqx; an installed package it finds itself."""
    place = scaffold.PACKAGE.parent
    return {} if place.name == "site-packages" else {"MYPYPATH": str(place)}


def test_the_examples_are_clean(tmp_path: Path) -> None:
    found = blocks("python")
    assert len(found) >= 4
    for number, text in enumerate(found):
        (tmp_path / f"example_{number}.py").write_text(text)
    ruff = ["ruff", "check", "--isolated", "--no-cache", "--line-length", "100", "--select", "E,F,B,ASYNC,UP,I"]
    for command in (ruff, ["mypy", "--strict", "--cache-dir", "/dev/null"]):
        done = subprocess.run(
            [sys.executable, "-m", *command, str(tmp_path)],
            env={**scaffold._environment(), **_source_path()},
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


async def test_the_example_of_a_queue_and_a_hand_over_works(tmp_path: Path) -> None:
    plugin(tmp_path, "archive", block("Writes every message"))
    file = tmp_path / "lines"
    tables = {"archive": {"file": str(file), "topics": "a/#"}}
    async with running({"plugins": {"dirs": [str(tmp_path)], "load": ["archive"], **tables}}, listen=True) as broker:
        client = await broker.client("c")
        for topic in ("a/1", "b/1", "a/2"):
            await client.publish(topic, b"x", qos=1)
        await written(file, 2)
        assert file.read_text() == "a/1 x\na/2 x\n"
        await broker.reload_plugin("archive")
        await client.publish("a/3", b"x", qos=1)
        await written(file, 3)
        assert await broker.ctl("archive count") == ["3 messages"]
        assert await broker.ctl("archive count a b") == broker.node.commands.usage("archive")


async def test_the_example_of_endpoints_works(tmp_path: Path) -> None:
    plugin(tmp_path, "notes", block("Notes about clients"))
    async with running({"plugins": {"dirs": [str(tmp_path)], "load": ["notes"]}}) as broker:
        for clientid in ("pump-1", "a%2Fb"):
            assert (await broker.api("PUT", f"/notes/{clientid}", {"note": "leaks"})).json() == {"code": 0}
        assert (await broker.api("GET", "/notes/a%2Fb")).data == {"clientid": "a/b", "note": "leaks"}
        assert (await broker.api("PUT", "/notes/x", {})).code == 107
        assert (await broker.api("PUT", "/notes/x", {"note": "x" * 1001})).code == 108
        assert (await broker.api("DELETE", "/notes/pump-1")).json() == {"code": 0}
        await broker.reload_plugin("notes")
        answer = (await broker.api("GET", "/notes")).json()
        assert answer["data"] == [{"clientid": "a/b", "note": "leaks"}]
        assert answer["meta"]["count"] == 1


async def test_the_example_of_an_action_works(tmp_path: Path) -> None:
    plugin(tmp_path, "journal", block("Keeps what rules select"))
    file = tmp_path / "lines"
    file.touch()
    tables = {"journal": {"file": str(file)}}
    async with running({"plugins": {"dirs": [str(tmp_path)], "load": ["journal"], **tables}}, listen=True) as broker:
        rule = {
            "id": "r",
            "rawsql": 'SELECT fahrenheit(payload.c) AS f FROM "t/#"',
            "actions": [{"name": "journal", "params": {"field": "f"}}],
        }
        assert (await broker.api("POST", "/rules", rule)).code == 0
        client = await broker.client("c")
        for celsius in (0, 100):
            await client.publish("t/1", b'{"c":%d}' % celsius, qos=1)
        await written(file, 2)
        assert file.read_text() == "r 32.0\nr 212.0\n"
        await broker.reload_plugin("journal")
        await client.publish("t/1", b'{"c":10}', qos=1)
        await written(file, 3)
        metrics = (await broker.api("GET", "/rules/r")).data["actions"][0]["metrics"][0]
        assert (metrics["taken"], metrics["failed"]) == (3, 0)


def test_what_an_endpoint_and_a_call_have_is_explained() -> None:
    text = section("Endpoints of your own")
    fields = {field.name for field in facade.Endpoint.__attrs_attrs__} - {"method", "path", "handle"}
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.+?) \|", text, re.MULTILINE)))) | {"listed"}
    assert fields - told <= {"app", "media", "bare", "ours", "raw", "takes"}, "those are for the broker's own"
    for name in ("args", "body", "query", "user", "peer", "listener", "get", "has", "need", "text", "integer", "flag"):
        assert f"`call.{name}" in text
    for name in vars(facade.schema):
        if not name.startswith("_") and name in ("record", "rows", "table", "texts", "wholes", "some", "either"):
            assert f"`{name}`" in text


async def written(file: Path, lines: int) -> None:
    with trio.fail_after(5):
        while (await trio.Path(file).read_text()).count("\n") < lines:
            await trio.sleep(0.01)


async def test_the_settings_that_the_page_shows_are_read_as_it_says(tmp_path: Path) -> None:
    """The same value, from each of the places, the strongest last."""
    code = block("Shows types").replace("class Shown(Plugin[Config]):", "class Shown(Plugin[Config]):\n    # no hooks")
    folder = plugin(tmp_path / "plugins", "shown", code)
    (folder / "etc" / "shown.toml").write_text("")
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "shown.toml").write_text('timeout = "1s"\nlimit = "64KB"\n')
    table = {"timeout": "2m", "servers": ["a:1", "b:2"], "password": "hidden", "tls": {"verify": "off"}}
    base = {"dirs": [str(tmp_path / "plugins")], "etc_dir": str(etc), "load": ["shown"]}
    async with running({"plugins": {**base, "shown": table}}) as broker:
        config = broker.node.plugins.plugin("shown").config
        assert (config.timeout, config.limit, config.servers, config.tls.verify) == (120, 65536, ("a:1", "b:2"), False)
        assert "hidden" not in repr(config)


# -- the reference ---------------------------------------------------------------------------------------------------


def members() -> Iterator[str]:
    """Every public member, as the page has to write it."""
    yield from ATTRIBUTES
    for at, cls in PARTS.items():
        for name, member in vars(cls).items():
            if name.startswith("_"):
                continue
            if isinstance(member, property):
                yield f"{at}.{name}"
            elif callable(member):
                yield f"{at}.{name}({', '.join(arguments(member))})"


def arguments(function: object) -> Iterator[str]:
    keywords = False
    for argument in list(inspect.signature(function).parameters.values())[1:]:  # type: ignore[arg-type]
        if argument.kind is argument.KEYWORD_ONLY and not keywords:
            keywords = True
            yield "*"
        default = "" if argument.default is argument.empty else f"={argument.default!r}".replace("'", '"')
        yield ("*" if argument.kind is argument.VAR_POSITIONAL else "") + argument.name + default


def test_every_member_of_the_context_is_in_the_reference_and_nothing_else() -> None:
    written = re.findall(r"^\| `(?:await )?((?:context|counter|handle|table|queue)\..+?)` \|", PAGE, re.MULTILINE)
    assert sorted(written) == sorted(set(members()) - OF_THE_OWNER)


def test_the_attributes_named_here_exist() -> None:
    for name in ATTRIBUTES:
        at, _, attribute = name.rpartition(".")
        assert f"self.{attribute}" in inspect.getsource(PARTS[at].__init__), name


def test_every_member_of_a_plugin_is_in_the_reference() -> None:
    text = section("What a plugin is made of")
    for name, member in vars(facade.Plugin).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            shown = f"{name}({', '.join(arguments(member))})"
            assert f"| `{'async ' if inspect.iscoroutinefunction(member) else ''}{shown}` |" in text, shown
        else:
            assert f"| `{name} = " in text, name


def test_every_name_of_the_facade_is_explained() -> None:
    text = section("Names of `trioemqx.plugin`")
    assert set(re.findall(r"`(\w+)(?:\([^`]*\))?`(?=[^|]*\|)", text)) >= set(facade.__all__)
    rows = set(re.findall(r"`(\w+)", "\n".join(re.findall(r"^\| (.+?) \|", text, re.MULTILINE))))
    assert rows == set(facade.__all__)


def test_the_api_version_is_the_present_one() -> None:
    assert f"version {'.'.join(map(str, facade.API_VERSION))}" in section("Names of `trioemqx.plugin`")


def test_settings_and_alarms_of_every_plugin_are_there() -> None:
    for name in (*settings.RESERVED, "start_timeout", "max_crashes"):
        assert f"`{name}`" in PAGE or f"`plugins.{name}`" in PAGE, name
    assert {"start_timeout", "max_crashes"} <= {field.name for field in PluginsConfig.__attrs_attrs__}
    for alarm in watch.ALARMS:
        assert f"`{alarm}/<plugin>`" in PAGE, alarm


def test_the_steps_of_a_life_are_those_of_the_code() -> None:
    from trioemqx.services.plugins import generation

    assert generation.__doc__ is not None
    (steps,) = re.findall(r"^(\w+(?: → \w+)+)", generation.__doc__, re.MULTILINE)
    table = section("The life of a plugin").partition("\n\nA plugin")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:] == steps.split(" → ")


# -- what it promises elsewhere --------------------------------------------------------------------------------------


async def test_a_thread_takes_no_virtual_time(broker: TestBroker) -> None:
    """A plugin that reads a file in `start` is not too slow because the clock jumped meanwhile."""
    import time

    began = trio.current_time()
    with trio.fail_after(10):
        await trio.to_thread.run_sync(time.sleep, 0.05)
    assert trio.current_time() - began < 0.01
    await trio.sleep(1000)
    assert trio.current_time() - began >= 1000


@pytest.mark.parametrize("name", ["allow_list"])
async def test_what_survives_is_as_the_table_says(tmp_path: Path, name: str) -> None:
    """Rows of a table and files survive a reload and an unload; counters a reload; what `start` asked for neither."""
    code = """
from trioemqx.plugin import Plugin

class Keeps(Plugin):
    async def start(self):
        self.counter = self.context.metrics.counter("plugin.allow_list.n")
        self.context.command("n", lambda: str(self.counter.value))
        self.context.alarms.raise_("mine")

    def export_state(self):
        self.counter.inc()
        self.context.table("rows").put("k", {"n": 1})
        (self.context.data_dir / "file").write_text("kept")
        return 7

    def import_state(self, state):
        self.state = state

plugin = Keeps
"""
    plugin(tmp_path, name, code)
    async with running({"plugins": {"dirs": [str(tmp_path)]}}) as broker:
        plugins = broker.node.plugins
        await plugins.load(name)
        await plugins.reload(name)
        assert plugins.plugin(name).state == 7
        assert await broker.ctl("n") == ["1"]
        assert "mine" in broker.alarms()
        await plugins.unload(name)
        assert "n" not in broker.node.commands.names()
        assert broker.alarms() == {}
        assert "plugin.allow_list.n" not in broker.metrics
        await plugins.load(name)
        kept = plugins.plugin(name).context
        assert [row async for row in kept.table("rows").rows()] == [("k", {"n": 1})]
        assert (kept.data_dir / "file").read_text() == "kept"
        assert not hasattr(plugins.plugin(name), "state")
        assert await broker.ctl("n") == ["0"]
