"""A plugin that is installed as a distribution is found by its entry point, and lives as one in a folder does."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioemqx import scaffold
from trioemqx.plugin import PluginError
from trioemqx.services.plugins.discovery import find_plugins
from trioemqx.testing import TestBroker, running

wheels = pytest.importorskip("hatchling.builders.wheel")
NAME = "wheel_made"


def build(project: Path) -> Path:
    """The wheel of a project."""
    (wheel,) = wheels.WheelBuilder(str(project)).build(directory=str(project / "dist"), versions=["standard"])
    return Path(wheel)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what `plugin new` makes, with a setting that it ships."""
    project = tmp_path_factory.mktemp("author") / NAME
    scaffold.write(project, NAME)
    settings = project / "etc" / f"{NAME}.toml"
    settings.write_text(settings.read_text().replace('# greeting = "Hello"', 'greeting = "Good day"'))
    return build(project)


@pytest.fixture
def site(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of `sys.path` in which the wheel is installed."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    importlib.invalidate_caches()


def test_the_wheel_has_the_code_and_what_describes_it_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"{NAME}.py", f"{NAME}.plugin.toml", f"{NAME}.settings.toml"}
    carried = zipfile.ZipFile(wheel).read(f"{NAME}.plugin.toml").decode()
    assert tomllib.loads(carried)["tool"]["trioemqx"]["api"] == ">=1,<2"


def test_it_is_found_and_not_imported(site: Path) -> None:
    found = find_plugins([])[NAME]
    assert (found.main, found.folder, found.problem) == (site / f"{NAME}.py", None, "")
    assert (found.version, found.description, found.type) == ("0.1.0", scaffold.DESCRIPTION, "feature")
    assert not [name for name in sys.modules if NAME in name]


async def test_it_is_loaded_edited_reloaded_and_unloaded(site: Path) -> None:
    async with running() as broker:
        watcher = await broker.client("w", subscribe="greetings")
        await say(broker, f"plugins load {NAME}", f"Plugin {NAME} loaded successfully.")
        await broker.client("a")
        assert await watcher.message() == ("greetings", b"Good day, a!")  # the setting that the wheel ships

        main = site / f"{NAME}.py"
        main.write_text(main.read_text().replace("!", "?"))
        await say(broker, f"plugins reload {NAME}", f"Plugin {NAME} reloaded successfully.")
        await broker.client("b")
        assert await watcher.message() == ("greetings", b"Good day, b?")

        main.write_text("1 +\n")
        says = f"Reload plugin {NAME} error: {NAME}: {main}:1: invalid syntax."
        await say(broker, f"plugins reload {NAME}", says)
        await broker.client("c")
        assert await watcher.message() == ("greetings", b"Good day, c?")

        await say(broker, f"plugins unload {NAME}", f"Plugin {NAME} unloaded successfully.")
        await broker.client("d")
        assert await watcher.nothing()
    assert not [name for name in sys.modules if NAME in name]


async def say(broker: TestBroker, command: str, answer: str) -> None:
    assert await broker.ctl(command) == [answer]


async def test_the_operators_settings_win_over_those_it_ships(site: Path, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / f"{NAME}.toml").write_text('greeting = "From the file"\ntopic = "from/the/file"\n')
    table = {NAME: {"greeting": "From the table"}}
    async with running({"plugins": {"etc_dir": str(etc), "load": [NAME], **table}}) as broker:
        watcher = await broker.client("w", subscribe="#")
        await broker.client("c")
        assert await watcher.message() == ("from/the/file", b"From the table, c!")


async def test_a_package_is_installed_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files: a reload takes all of them as they are then."""
    project, site = tmp_path / NAME, tmp_path / "site"
    scaffold.write(project, NAME)
    package = project / NAME
    package.mkdir()
    text = (project / f"{NAME}.py").read_text().replace('"Hello"', "HELLO")
    (package / "__init__.py").write_text(text.replace("\n\n\n@attrs", "\n\nfrom .words import HELLO\n\n\n@attrs", 1))
    (package / "words.py").write_text('HELLO = "Moin"\n')
    (project / f"{NAME}.py").unlink()
    described = project / "pyproject.toml"
    described.write_text(described.read_text().replace(f'include = ["{NAME}.py"]', f'packages = ["{NAME}"]'))
    with zipfile.ZipFile(build(project)) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    async with running({"plugins": {"load": [NAME]}}) as broker:
        watcher = await broker.client("w", subscribe="greetings")
        (site / NAME / "words.py").write_text('HELLO = "Servus"\n')
        await broker.reload_plugin(NAME)
        await broker.client("c")
        assert await watcher.message() == ("greetings", b"Servus, c!")


async def test_a_folder_wins_over_what_is_installed(site: Path, tmp_path: Path) -> None:
    scaffold.write(tmp_path / "plugins" / NAME, NAME)
    async with running({"plugins": {"dirs": [str(tmp_path / "plugins")], "load": [NAME]}}) as broker:
        watcher = await broker.client("w", subscribe="greetings")
        await broker.client("c")
        assert await watcher.message() == ("greetings", b"Hello, c!")


async def test_an_installed_plugin_without_its_description(site: Path) -> None:
    """It says its API in the module, as a single file does."""
    (site / f"{NAME}.plugin.toml").unlink()
    record = site / f"{NAME}-0.1.0.dist-info" / "RECORD"
    record.write_text("\n".join(line for line in record.read_text().split("\n") if ".plugin.toml" not in line))
    async with running() as broker:
        with pytest.raises(PluginError, match="set API in the module"):
            await broker.node.plugins.load(NAME)
        main = site / f"{NAME}.py"
        main.write_text(main.read_text() + 'API = ">=1,<2"\n')
        await broker.node.plugins.load(NAME)


async def test_an_entry_point_without_its_code(site: Path) -> None:
    (site / f"{NAME}.py").unlink()
    async with running() as broker:
        assert await broker.ctl(f"plugins load {NAME}") == [
            f"Load plugin {NAME} error: {NAME}: the entry point names {NAME}, which cannot be found."
        ]


async def test_what_is_installed_while_the_broker_runs_is_found(wheel: Path, site: Path) -> None:
    shutil.rmtree(site)
    async with running() as broker:
        assert NAME not in broker.node.plugins.catalogue.discover()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        await say(broker, f"plugins load {NAME}", f"Plugin {NAME} loaded successfully.")


async def test_what_is_uninstalled_is_not_found_and_serves_until_it_is_unloaded(site: Path) -> None:
    async with running({"plugins": {"load": [NAME]}}) as broker:
        shutil.rmtree(site)
        says = f"Reload plugin {NAME} error: The plugin doesn't exist."
        await say(broker, f"plugins reload {NAME}", says)
        watcher = await broker.client("w", subscribe="greetings")
        await broker.client("c")
        assert await watcher.message() == ("greetings", b"Good day, c!")
        await say(broker, f"plugins unload {NAME}", f"Plugin {NAME} unloaded successfully.")
