"""Settings of plugins from `EMQX_...` variables, secrets in files among them."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from plugin_folders import Folders

from trioemqx.config.load import load
from trioemqx.testing import running

CODE = """
@attrs.frozen
class Config:
    password: Secret = Secret("")
    log_file: str = ""
    limit: int = 1

class P(Plugin[Config]):
    async def start(self):
        self.context.command("told", lambda: str(self.config))
plugin = P
"""


async def outcome(folders: Folders, code: str = CODE, **variables: str) -> object:
    """The settings that a plugin got, or why it got none."""
    folders.write("mine", code)
    prefix = "EMQX_PLUGINS__MINE__"
    environ = {f"{prefix}{name}": value for name, value in variables.items()}
    config = load(None, environ)
    async with running(folders.config()) as broker:
        plugins = broker.node.plugins
        plugins.catalogue.config = attrs.evolve(
            plugins.config, plugin_tables=config.plugin_tables, origins=config.origins
        )
        (line,) = await broker.ctl("plugins load mine")
        return plugins.plugin("mine").config if "successfully" in line else line


async def test_a_variable_sets_a_key(folders: Folders) -> None:
    config = await outcome(folders, LIMIT="7", LOG_FILE="x.log")
    assert (config.limit, config.log_file) == (7, "x.log")


async def test_a_secret_comes_from_a_file(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    config = await outcome(folders, PASSWORD_FILE=str(tmp_path / "secret"))
    assert str(config.password) == "sesame"
    assert "sesame" not in repr(config)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PASSWORD_FILE": "{tmp}/none"}, "{tmp}/none cannot be read: No such file or directory"),
        ({"PASSWORD_FILE": "{tmp}", "PASSWORD": "x"}, "password is set as well; use one of the two"),
    ],
)
async def test_a_secret_that_cannot_be_had_keeps_the_plugin_out(
    folders: Folders, tmp_path: Path, variables: dict[str, str], says: str
) -> None:
    given = {name: value.replace("{tmp}", str(tmp_path)) for name, value in variables.items()}
    line = await outcome(folders, **given)
    key = "environment EMQX_PLUGINS__MINE__PASSWORD_FILE: plugins.mine.password_file"
    assert line.startswith(f"Load plugin mine error: {key}: {says.replace('{tmp}', str(tmp_path))}")


async def test_a_file_cannot_name_files_for_secrets(folders: Folders) -> None:
    """`password_file` is a key of the environment only; elsewhere it is a mistake."""
    folders.write("mine", CODE)
    async with running(folders.config(mine={"password_file": "x"})) as broker:
        (line,) = await broker.ctl("plugins load mine")
        assert "plugins.mine.password_file: unknown key (did you mean password?)" in line


BOTH = """
@attrs.frozen
class Keys:
    url: str
    every: int = 1

@attrs.frozen
class Config:
    claims: bool | dict[str, str] = False
    keys: str | Keys = ""
    ssl: bool = False

class P(Plugin[Config]):
    pass
plugin = P
"""


@pytest.mark.parametrize(
    ("variables", "claims", "keys"),
    [
        ({"CLAIMS": "on", "CLAIMS__SUB": "%c"}, {"sub": "%c"}, ""),
        ({"CLAIMS": "off", "CLAIMS__SUB": "%c"}, False, ""),
        ({"KEYS": "http://x", "KEYS__EVERY": "7"}, False, ("http://x", 7)),
    ],
)
async def test_a_value_and_a_table_that_a_setting_takes_both_count(
    folders: Folders, variables: dict[str, str], claims: object, keys: object
) -> None:
    config = await outcome(folders, BOTH, **variables)
    assert config.claims == claims
    assert (config.keys if isinstance(config.keys, str) else (config.keys.url, config.keys.every)) == keys


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"SSL": "on", "SSL__VERIFY": "x"},
            "EMQX_PLUGINS__MINE__SSL: plugins.mine.ssl: is a value and a table at once: "
            "keep EMQX_PLUGINS__MINE__SSL or EMQX_PLUGINS__MINE__SSL__VERIFY",
        ),
        ({"CLAIMS": "perhaps", "CLAIMS__SUB": "x"}, "plugins.mine.claims: expected"),
    ],
)
async def test_a_value_and_a_table_are_a_mistake_elsewhere(
    folders: Folders, variables: dict[str, str], says: str
) -> None:
    assert says in await outcome(folders, BOTH, **variables)
