"""Whatever is wrong with a plugin, the operator reads one line that says what and where, and clients notice nothing.

Each case is tried at a load, and at a reload of a plugin that was good before: the good one keeps serving.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from plugin_folders import HEAD, Folders

from trioemqx.services.plugins import importing
from trioemqx.testing import Client, Refused, TestBroker, running

FIRST = HEAD.count("\n") + 1
"""The line on which the code of a plugin begins."""
GOOD = """
class Good(Plugin):
    async def start(self):
        self.context.command("alive", lambda: "yes")

    @hookimpl
    def message_publish(self, message: Message):
        changed = message.copy()
        changed.topic = message.topic.replace("in", "out")
        return changed
plugin = Good
"""
EMPTY = "class P(Plugin):\n    pass\nplugin = P\n"


@attrs.frozen
class Case:
    """A mistake: the code, pyproject.toml or settings with it, and what is said. `{folder}` stands for the plugin's."""

    says: str
    code: str = EMPTY
    pyproject: str | None = ""
    settings: str = ""
    change: Callable[[Path], object] = lambda folder: None

    def write(self, folders: Folders) -> None:
        main = folders.write("bad", self.code)
        if self.pyproject is None:
            (main.parent / "pyproject.toml").unlink()
        elif self.pyproject:
            (main.parent / "pyproject.toml").write_text(self.pyproject)
        if self.settings:
            (main.parent / "etc").mkdir(exist_ok=True)
            (main.parent / "etc" / "bad.toml").write_text(self.settings)
        self.change(main.parent)


def pyproject(ours: str) -> str:
    return f'[project]\nname = "bad"\n\n[tool.trioemqx]\n{ours}\n'


def config(fields: str) -> str:
    indented = fields.replace("\n", "\n    ")
    return f"@attrs.frozen\nclass Config:\n    {indented}\n\nclass P(Plugin[Config]):\n    pass\nplugin = P\n"


def method(text: str) -> str:
    """A plugin with one more method, its lines after the class's."""
    indented = text.replace("\n", "\n    ")
    return f"class P(Plugin):\n    {indented}\nplugin = P\n"


API = "set [tool.trioemqx] api in pyproject.toml"
CASES = {
    "a folder without pyproject.toml": Case("bad: {folder} has no pyproject.toml", pyproject=None),
    "a pyproject.toml that is no TOML": Case(
        "bad: {folder}/pyproject.toml: Expected '=' after a key in a key/value pair (at line 2, column 6)",
        pyproject="\nthis is not TOML",
    ),
    "a pyproject.toml whose tables are none": Case(
        f'bad: does not say which API it is for; {API}, for instance ">=1,<2"',
        pyproject="project = 3\ntool = [1, 2]\n",
    ),
    "no code": Case(
        "bad: {folder} has neither bad.py nor bad/__init__.py", change=lambda folder: (folder / "bad.py").unlink()
    ),
    "no api": Case(f'bad: does not say which API it is for; {API}, for instance ">=1,<2"', pyproject=pyproject("")),
    "an api that is no range": Case(
        'bad: [tool.trioemqx] api in pyproject.toml is "one", not a version range such as ">=1,<2"',
        pyproject=pyproject('api = "one"'),
    ),
    "an api of another time": Case("bad: is for API >=2, this trioemqx has 1.0", pyproject=pyproject('api = ">=2"')),
    "a guard that is no hook point": Case(
        "bad: guards: client_autenticate is not a hook point that can keep somebody out "
        "(did you mean client_authenticate?)",
        pyproject=pyproject('api = ">=1,<2"\nguards = ["client_autenticate"]'),
    ),
    "a syntax error": Case(f"bad: {{main}}:{FIRST}: invalid syntax", "def (:\n"),
    "text that is not UTF-8": Case(
        "bad: {main}:1: (unicode error) 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        change=lambda folder: (folder / "bad.py").write_bytes(b"\xff\xfe"),
    ),
    "an exception at import": Case(f"bad: {{main}}:{FIRST + 1}: ZeroDivisionError: division by zero", "x = 0\n1 / x\n"),
    "an import of what is not there": Case(
        f"bad: {{main}}:{FIRST}: ModuleNotFoundError: No module named 'no_such_module'", "import no_such_module\n"
    ),
    "an import that ends the process": Case(f"bad: {{main}}:{FIRST}: SystemExit: 3", "raise SystemExit(3)\n"),
    "no plugin": Case("bad: {main} has no `plugin = <class of trioemqx.plugin.Plugin>`", "class P(Plugin): pass\n"),
    "a plugin that is no class": Case(
        "bad: {main} has no `plugin = <class of trioemqx.plugin.Plugin>`", "plugin = 'bad'\n"
    ),
    "a plugin of another class": Case(
        "bad: {main} has no `plugin = <class of trioemqx.plugin.Plugin>`", "class P: pass\nplugin = P\n"
    ),
    "a constructor that crashes": Case(
        f"bad: {{main}}:{FIRST + 2}: ValueError: no",
        method("def __init__(self, context, config):\n    raise ValueError('no')"),
    ),
    "a waiting hook that is not async": Case(
        "bad: client_authenticate must be written with `async def`",
        method("@hookimpl\ndef client_authenticate(self, client): pass"),
    ),
    "an async hook that must not wait": Case(
        "bad: message_publish must be written with `def`",
        method("@hookimpl\nasync def message_publish(self, message): pass"),
    ),
    "a hook point that does not exist": Case(
        "bad: there is no hook point client_conected (did you mean client_connected?)",
        method("@hookimpl\ndef client_conected(self, client): pass"),
    ),
    "an argument that its point does not have": Case(
        "bad: client_connected has no argument klient (did you mean client?); it has client",
        method("@hookimpl\ndef client_connected(self, klient): pass"),
    ),
    "an attrs class that is none": Case(
        "P: Plugin[...] takes an attrs class, not <class 'int'>", "class P(Plugin[int]): pass\nplugin = P\n"
    ),
    "a setting that is missing": Case(
        "plugins.bad.file: has to be set (in etc/emqx.toml, table [plugins.bad])", config("file: str")
    ),
    "a setting that does not exist": Case(
        "{folder}/etc/bad.toml:2: plugins.bad.limt: unknown key (did you mean limit?)",
        config("limit: int = 1"),
        settings="# a comment\nlimt = 3\n",
    ),
    "a setting of the wrong type": Case(
        "{folder}/etc/bad.toml:1: plugins.bad.limit: expected a whole number, got 'many'",
        config("limit: int = 1"),
        settings="limit = 'many'\n",
    ),
    "a setting that is not one of those allowed": Case(
        "{folder}/etc/bad.toml:1: plugins.bad.kind: expected get or post, got 'put'",
        "from typing import Literal\n" + config("kind: Literal['get', 'post'] = 'get'"),
        settings="kind = 'put'\n",
    ),
    "a secret of the wrong type": Case(
        "{folder}/etc/bad.toml:1: plugins.bad.key: not a valid value (it is secret and not shown)",
        config("key: Secret"),
        settings="key = ['hidden']\n",
    ),
    "a setting that a validator refuses": Case(
        "{folder}/etc/bad.toml:1: plugins.bad.limit: 'limit' must be >= 1: 0",
        config("limit: int = attrs.field(default=1, validator=attrs.validators.ge(1))"),
        settings="limit = 0\n",
    ),
    "settings that are no TOML": Case(
        "{folder}/etc/bad.toml: Expected '=' after a key in a key/value pair (at line 2, column 5)",
        config("limit: int = 1"),
        settings="limit = 1\nand so on\n",
    ),
    "two mistakes at once": Case(
        "{folder}/etc/bad.toml:1: plugins.bad.one: expected a whole number, got 'x'; "
        "{folder}/etc/bad.toml:2: plugins.bad.two: expected a whole number, got 'y'",
        config("one: int = 1\ntwo: int = 2"),
        settings="one = 'x'\ntwo = 'y'\n",
    ),
    "a hook_timeout that is no time": Case(
        "{folder}/etc/bad.toml:1: hook_timeout: expected a duration",
        settings="hook_timeout = 'soon'\n",
    ),
    "start that crashes": Case(
        f"bad: start(): {{main}}:{FIRST + 2}: RuntimeError: no database",
        method("async def start(self):\n    raise RuntimeError('no database')"),
    ),
    "start that says what is wrong": Case(
        "bad: no server at db:5432",
        method("async def start(self):\n    raise PluginError('bad: no server at db:5432')"),
    ),
    "start with an error of several lines": Case(
        f"bad: start(): {{main}}:{FIRST + 2}: ValueError: one two",
        method("async def start(self):\n    raise ValueError('one\\n\\n two')"),
    ),
    "start that hangs": Case(
        "bad: start() has not ended within 30 s", method("async def start(self):\n    await trio.sleep_forever()")
    ),
    "start that ends the process": Case(
        "bad: start(): {main}:13: SystemExit: 1", method("async def start(self):\n    raise SystemExit(1)")
    ),
    "a command whose words are taken": Case(
        "bad: {main}:13: ValueError: there is a command plugins list already",
        method("async def start(self):\n    self.context.command('plugins list', lambda: 'mine')"),
    ),
    "a subscription to no filter": Case(
        "bad: {main}:13: ProtocolError: ",
        method("async def start(self):\n    self.context.broker.subscribe('a/#/b', print)"),
    ),
}


class World:
    """A broker, a client that must not notice anything, and what there was before."""

    def __init__(self, broker: TestBroker, client: Client) -> None:
        self.broker = broker
        self.client = client
        self.before = self.snapshot()

    def snapshot(self) -> object:
        node = self.broker.node
        return (
            list(node.hooks.describe()),
            node.commands.names(),
            sorted(node.plugins.live),
            sorted(self.broker.metrics),
            sorted(self.broker.alarms()),
            sorted(name for name in sys.modules if name.startswith(f"{importing.ROOT}.")),
        )

    def unchanged(self) -> None:
        assert self.snapshot() == self.before

    async def serves(self, topic: str) -> None:
        """The client is connected and gets what it sends."""
        await self.client.publish("in", b"still there", qos=1)
        assert await self.client.message() == (topic, b"still there")


@pytest.fixture(params=[pytest.param(case, id=name) for name, case in CASES.items()])
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def one_line(output: list[str]) -> str:
    (line,) = output
    assert "Traceback" not in line
    return line


def expected(case: Case, folders: Folders) -> str:
    folder = folders.root / "bad"
    return case.says.replace("{folder}", str(folder)).replace("{main}", str(folder / "bad.py"))


async def test_a_load_says_in_one_line_what_is_wrong(broker: TestBroker, folders: Folders, case: Case) -> None:
    world = World(broker, await broker.client("c", subscribe="in"))
    case.write(folders)
    line = one_line(await broker.ctl("plugins load bad"))
    assert line.startswith(f"Load plugin bad error: {expected(case, folders)}")
    assert "hidden" not in line
    world.unchanged()
    await world.serves("in")


async def test_a_reload_says_the_same_and_the_old_one_serves_on(
    broker: TestBroker, folders: Folders, case: Case
) -> None:
    folders.write("bad", GOOD)
    assert await broker.ctl("plugins load bad") == ["Plugin bad loaded successfully."]
    world = World(broker, await broker.client("c", subscribe="out"))
    case.write(folders)
    line = one_line(await broker.ctl("plugins reload bad"))
    assert line.startswith(f"Reload plugin bad error: {expected(case, folders)}")
    world.unchanged()
    await world.serves("out")
    assert await broker.ctl("alive") == ["yes"]
    shutil.rmtree(folders.root / "bad")
    folders.write("bad", GOOD)
    assert await broker.ctl("plugins reload bad") == ["Plugin bad reloaded successfully."]
    await world.serves("out")


async def test_a_property_is_no_hook_and_is_left_alone(broker: TestBroker, folders: Folders) -> None:
    """What it gives may be there only once the plugin has started."""
    code = method("@property\ndef first(self):\n    return self.ids[0]\nasync def start(self):\n    self.ids = [7]")
    folders.write("good", code)
    assert await broker.ctl("plugins load good") == ["Plugin good loaded successfully."]


# -- what has no place in the table ----------------------------------------------------------------------------------


async def test_a_name_that_is_not_there(broker: TestBroker, folders: Folders) -> None:
    folders.write("allow_list", EMPTY)
    hint = "Did you mean allow_list?"
    assert await broker.ctl("plugins load allow_lits") == ["Load plugin allow_lits error: not_found.", hint]
    with pytest.raises(Exception, match=r"^allow_lits: not found \(did you mean allow_list\?\)$"):
        await broker.node.plugins.load("allow_lits")
    assert await broker.ctl("plugins reload allow_lits") == [
        "Reload plugin allow_lits error: The plugin doesn't exist.",
        hint,
    ]


async def test_the_list_says_what_is_wrong_with_what_cannot_be_loaded(broker: TestBroker, folders: Folders) -> None:
    CASES["a folder without pyproject.toml"].write(folders)
    (line,) = [line for line in await broker.ctl("plugins list") if line.startswith("Plugin(bad,")]
    folder = folders.root / "bad"
    assert line == f"Plugin(bad, description=, active=false, problem={folder} has no pyproject.toml)"


async def test_a_file_that_describes_itself_wrongly(broker: TestBroker, folders: Folders) -> None:
    """A plugin of a single file, as modules are."""
    file = folders.root / "alone.py"
    for text, says in (
        ("API = 1 +\n", f"alone: {file}:1: invalid syntax"),
        ("DESCRIPTION = 'x'\n", "alone: does not say which API it is for; set API in the module"),
        ("API = '>=1'\nGUARDS = 5\n", "alone: guards: 5 is not a hook point that can keep somebody out"),
        ("API = '>=1'\nOTHER = {[]: 1}\n", f"alone: {file}:2: TypeError: "),
    ):
        file.write_text(text)
        line = one_line(await broker.ctl("plugins load alone"))
        assert line.startswith(f"Load plugin alone error: {says}")


BLOCKING = """
import time
while not (Path(__file__).parent / "go on").exists():
    time.sleep(0.01)
class P(Plugin):
    pass
plugin = P
"""


async def test_an_import_that_does_not_end_holds_up_nobody(folders: Folders) -> None:
    """On real time: the import has a thread of its own, and what comes of it too late is thrown away."""
    main = folders.write("blocks", "from pathlib import Path\n" + BLOCKING)
    async with running(folders.config(start_timeout=0.3), listen=True) as broker:
        world = World(broker, await broker.client("c", subscribe="in"))
        async with trio.open_nursery() as nursery:
            lines: list[str] = []

            async def load() -> None:
                lines.extend(await broker.ctl("plugins load blocks"))

            nursery.start_soon(load)
            while not lines:
                await world.serves("in")
        assert lines == ["Load plugin blocks error: blocks: its import has not ended within 0.3 s."]
        (main.parent / "go on").touch()
        with trio.fail_after(5):
            while world.snapshot() != world.before:
                await trio.sleep(0.01)
        assert await broker.ctl("plugins load blocks") == ["Plugin blocks loaded successfully."]


async def test_an_import_that_does_not_end_at_start_keeps_only_itself_out(folders: Folders) -> None:
    code = "from pathlib import Path\n" + BLOCKING + "    @hookimpl\n    async def client_authenticate(self): ...\n"
    main = folders.write("blocks", code.replace("plugin = P\n", "") + "plugin = P\n")
    async with running(folders.config("blocks", start_timeout=0.3), listen=True) as broker:
        assert "plugin_not_loaded/blocks" in broker.alarms()
        with pytest.raises(Refused):  # it would have had a say in who comes in
            await broker.client("c")
        (main.parent / "go on").touch()


@pytest.mark.parametrize("what", ["pyproject", "syntax", "import"])
async def test_a_broken_plugin_that_decides_who_comes_in_keeps_the_door_shut(folders: Folders, what: str) -> None:
    """At the start of a broker, also when it is too broken to say that it is an auth plugin."""
    code = "class P(Plugin):\n    @hookimpl\n    async def client_authenticate(self, client): ...\nplugin = P\n"
    main = folders.write("door", {"syntax": "1 +\n", "import": "import no_such_module\n"}.get(what, "") + code)
    if what == "pyproject":
        (main.parent / "pyproject.toml").write_text("broken")
    async with running(folders.config("door")) as broker:
        assert "plugin_not_loaded/door" in broker.alarms()
        with pytest.raises(Refused, match="NOT_AUTHORIZED"):
            await broker.client("c")
        await broker.node.plugins.unload("door")
        await broker.client("c")
        assert broker.alarms() == {}


LOADED = """
{good, true}.
% a comment
{off, false}.   % another
bare.

{bad name, true}.
{good, maybe}.
{{{
../etc, true
"""


async def test_lines_of_loaded_plugins_that_make_no_sense_are_named_and_skipped(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("good", "off", "bare"):
        folders.write(name, EMPTY)
    file = folders.root / "loaded_plugins"
    file.write_text(LOADED)
    settings = {"dirs": [str(folders.root)], "loaded_file": str(file)}
    with caplog.at_level(logging.ERROR):
        async with running({"plugins": settings}) as broker:
            assert {"good", "bare"} <= set(broker.node.plugins.live)
            assert "off" not in broker.node.plugins.live
            await broker.client("c")
    told = [record.getMessage() for record in caplog.records]
    assert [re.match(rf"{re.escape(str(file))}:(\d+): expected {{name, true}}\.", text)[1] for text in told] == [
        *("7", "8", "9", "10"),
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
async def test_a_loaded_plugins_that_cannot_be_read_means_the_defaults(
    folders: Folders, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    file = folders.root / "loaded_plugins"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        async with running({"plugins": {"loaded_file": str(file)}}) as broker:
            assert "emqx_retainer" in broker.node.plugins.live
            assert "access of an unreadable state file" in " ".join(broker.alarms()), "who knows what it named"
    assert [text for text in caplog.messages if f"{file} cannot be read: " in text]


async def test_a_loaded_plugin_that_is_gone_does_not_stop_the_start(folders: Folders) -> None:
    async with running(folders.config("gone", "emqx_retainer")) as broker:
        assert broker.alarms()["plugin_not_loaded/gone"]["reason"] == "gone: not found"
        await broker.client("c")
        assert "emqx_retainer" in broker.node.plugins.live
