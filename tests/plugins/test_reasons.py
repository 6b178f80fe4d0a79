"""Why a plugin could not be loaded or reloaded: in one line, with the place in its code."""

from __future__ import annotations

import pytest
from plugin_folders import HEAD, Folders

from trioemqx.services.plugins import PluginError
from trioemqx.testing import Refused, TestBroker, running

FIRST = HEAD.count("\n") + 1
"""The line that a plugin's own code begins at."""


async def refused(broker: TestBroker, name: str) -> str:
    with pytest.raises(PluginError) as caught:
        await broker.node.plugins.reload(name)
    return str(caught.value)


@pytest.mark.parametrize("method", ["export_state(self)", "import_state(self, state)"])
async def test_a_hand_over_that_fails_names_the_method_and_the_place(
    broker: TestBroker, folders: Folders, method: str
) -> None:
    good = "class P(Plugin):\n    def export_state(self):\n        return 1\nplugin = P\n"
    main = folders.write("hands", good if "import" in method else good.replace("return 1", "return {}['x']"))
    await broker.node.plugins.load("hands")
    if "import" in method:
        folders.write("hands", f"class P(Plugin):\n    def {method}:\n        return {{}}['x']\nplugin = P\n")
    step = f"{method.partition('(')[0]}()"
    assert await refused(broker, "hands") == f"hands: {step}: {main}:{FIRST + 2}: KeyError: 'x'"
    assert "hands" in broker.node.plugins.live


async def test_nothing_is_handed_over_by_a_plugin_that_exports_nothing(broker: TestBroker, folders: Folders) -> None:
    folders.write("hands", "class P(Plugin): pass\nplugin = P\n")
    await broker.node.plugins.load("hands")
    code = "class P(Plugin):\n    def import_state(self, state):\n        self.state = dict(state)\nplugin = P\n"
    folders.write("hands", code)
    await broker.node.plugins.reload("hands")
    assert not hasattr(broker.node.plugins.plugin("hands"), "state")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("self.context.broker.subscribe('a/#/b', print)", "hands: {place}: ProtocolError: "),
        ("self.context.bans.add('nobody', 'x')", "hands: start(): {place}: BanRefused: "),
        ("raise PluginError('hands: nothing to do')", "hands: nothing to do"),
    ],
)
async def test_a_call_to_the_broker_in_start_is_told_with_its_place(
    broker: TestBroker, folders: Folders, line: str, says: str
) -> None:
    main = folders.write("hands", f"class P(Plugin):\n    async def start(self):\n        {line}\nplugin = P\n")
    reason = await refused(broker, "hands")
    assert reason.startswith(says.replace("{place}", f"{main}:{FIRST + 2}"))


async def test_a_time_limit_of_its_own_is_not_taken_for_that_of_start(broker: TestBroker, folders: Folders) -> None:
    body = "with trio.fail_after(1):\n            await trio.sleep_forever()"
    main = folders.write("hands", f"class P(Plugin):\n    async def start(self):\n        {body}\nplugin = P\n")
    assert await refused(broker, "hands") == f"hands: start(): {main}:{FIRST + 2}: TooSlowError"
    folders.write("hands", "class P(Plugin):\n    async def start(self):\n        await trio.sleep(99)\nplugin = P\n")
    assert await refused(broker, "hands") == "hands: start() has not ended within 30 s"


async def test_a_nul_byte_is_told_with_file_and_line(broker: TestBroker, folders: Folders) -> None:
    main = folders.write("hands", "x = 1\ny = '\0'\n")
    says = f"hands: {main}:{FIRST + 1}: source code cannot contain NUL bytes"
    assert await refused(broker, "hands") == says
    (folders.root / "single.py").write_text('API = ">=1,<2"\n\0')
    path = folders.root / "single.py"
    assert await refused(broker, "single") == f"single: {path}:2: source code cannot contain NUL bytes"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("guard = ['client_connect']", "guard: unknown key (did you mean guards?)"),
        ("default_enable = true", "default_enable: unknown key (did you mean default_enabled?)"),
        ("default_enabled = 'yes'", "default_enabled: expected true or false, got 'yes'"),
        ("xyz = 1", "xyz: unknown key"),
        ("guards = ['client_conect']", "guards: client_conect is not a hook point that can keep somebody out"),
    ],
)
async def test_a_description_with_a_mistake_is_refused(
    broker: TestBroker, folders: Folders, line: str, says: str
) -> None:
    main = folders.write("hands", "class P(Plugin): pass\nplugin = P\n")
    project = main.with_name("pyproject.toml")
    project.write_text(f"{project.read_text()}{line}\n")
    where = "" if line.startswith("guards") else "[tool.trioemqx] in pyproject.toml: "
    assert (await refused(broker, "hands")).startswith(f"hands: {where}{says}")


async def test_a_misspelt_type_is_refused_and_denies_as_the_real_one(folders: Folders) -> None:
    folders.write("hands", "class P(Plugin): pass\nplugin = P\n", kind="auht")
    (folders.root / "single.py").write_text('API = ">=1,<2"\nTYPE = "auht"\n')
    says = "type: 'auht' is not a type of plugins (did you mean auth?)"
    async with running(folders.config("hands")) as broker:
        assert says in str(broker.alarms()["plugin_not_loaded/hands"]["reason"])
        assert says in await refused(broker, "single")
        with pytest.raises(Refused):
            await broker.client("c")


async def test_guards_under_a_misspelt_name_deny(folders: Folders) -> None:
    main = folders.write("hands", "class P(Plugin): pass\nplugin = P\n")
    project = main.with_name("pyproject.toml")
    project.write_text(f"{project.read_text()}guard = ['client_connect']\n")
    async with running(folders.config("hands")) as broker:
        with pytest.raises(Refused):
            await broker.client("c")
