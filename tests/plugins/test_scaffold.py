"""`trioemqx plugin new` and `test`: what comes out works, is clean, and is what the example in the tree is like."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trioemqx import cli, scaffold
from trioemqx.testing import running

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = CHECKOUT / "plugins" / "emqx_plugin_template"
FILES = {
    "README.md",
    "allow_list.py",
    "etc/allow_list.toml",
    "pyproject.toml",
    "tests/test_allow_list.py",
    ".github/workflows/test.yml",
}


def trioemqx(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments))


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of its own process, away from the checkout."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
    environ = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin that was just made."""
    folder = tmp_path_factory.mktemp("author")
    result = trioemqx("plugin", "new", "allow_list", "--dir", str(folder))
    assert result.exit_code == 0, result.output
    return folder / "allow_list"


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if "cache" not in name}


# -- new -------------------------------------------------------------------------------------------------------------


def test_the_folder_is_a_project_with_everything(made: Path) -> None:
    assert files(made) == FILES
    described = tomllib.loads((made / "pyproject.toml").read_text())
    assert described["project"]["name"] == "allow_list"
    assert described["project"]["entry-points"]["trioemqx.plugins"] == {"allow_list": "allow_list:plugin"}
    assert described["tool"]["trioemqx"]["api"] == ">=1,<2"
    assert "class AllowList(Plugin[Config]):" in (made / "allow_list.py").read_text()
    assert not [path for path in FILES if "$" in (made / path).read_text().replace("${{", "")]


def test_the_settings_file_names_every_setting_with_its_default(made: Path) -> None:
    text = (made / "etc" / "allow_list.toml").read_text()
    assert tomllib.loads(text) == {}
    active = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)
    spec = importlib.util.spec_from_file_location("made_allow_list", made / "allow_list.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    defaults = module.Config()
    assert tomllib.loads(active) == {"greeting": defaults.greeting, "topic": defaults.topic}


def test_its_code_is_clean(made: Path) -> None:
    rules = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    select = ["--select", ",".join(rules["select"]), "--ignore", ",".join(rules["ignore"])]
    checks = [
        ["ruff", "check", "--isolated", "--no-cache", "--line-length", "120", *select, "."],
        ["ruff", "format", "--isolated", "--no-cache", "--check", "--line-length", "120", "."],
        ["ruff", "format", "--isolated", "--no-cache", "--check", "."],
        ["mypy", "--strict", "--cache-dir", os.devnull, "allow_list.py", "tests/test_allow_list.py"],
    ]
    for check in checks:
        done = run(sys.executable, "-m", *check, cwd=made, MYPYPATH=str(CHECKOUT))
        assert done.returncode == 0, f"{' '.join(check)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Allow-List", "lower-case letters, digits and _, a letter first (how about allow_list?)"),
        ("9lives", "lower-case letters, digits and _, a letter first"),
        ("_hidden", "lower-case letters, digits and _, a letter first (how about hidden?)"),
        ("über", "lower-case letters, digits and _, a letter first (how about ber?)"),
        ("../x", "lower-case letters, digits and _, a letter first (how about x?)"),
        ("", "lower-case letters, digits and _, a letter first"),
        ("class", "class is a word of Python's"),
        ("load", "load is the name of a setting: [plugins] load"),
        ("dirs", "dirs is the name of a setting: [plugins] dirs"),
        ("json", "there is a Python module json already"),
        ("trio", "there is a Python module trio already"),
        ("emqx_retainer", "emqx_retainer comes with trioemqx; take another name"),
        ("emqx_mod_presence", "emqx_mod_presence comes with trioemqx; take another name"),
        ("there", "there exists already"),
    ],
)
def test_names_that_cannot_be_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins" / "there").mkdir(parents=True)
    result = trioemqx("plugin", "new", name)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("trioemqx: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert files(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = trioemqx("plugin", "new", "mine", "--dir", str(tmp_path / "file" / "below"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "Not a directory" in result.stderr


def test_it_goes_where_a_broker_looks_and_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaffold.shutil, "which", lambda name: f"/usr/bin/{name}")
    steps = trioemqx("plugin", "new", "mine").stdout
    assert (tmp_path / "plugins" / "mine" / "mine.py").is_file()
    assert [line.split("  #")[0].strip() for line in steps.splitlines()[1:]] == [
        "trioemqx plugin test plugins/mine",
        "trioemqx start",
        "trioemqx ctl plugins load mine",
        "edit plugins/mine/mine.py",
        "trioemqx ctl plugins reload mine",
    ]


@pytest.mark.parametrize(
    ("called", "typed"),
    [(".venv/bin/trioemqx", ".venv/bin/trioemqx"), ("/x/trioemqx/__main__.py", f"{sys.executable} -m trioemqx")],
)
def test_what_is_not_on_the_path_is_called_as_it_was(monkeypatch: pytest.MonkeyPatch, called: str, typed: str) -> None:
    monkeypatch.setattr(scaffold.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", [called, "plugin", "new", "mine"])
    assert scaffold.program() == typed
    assert f"  {typed} ctl plugins load mine" in scaffold.next_steps(Path("plugins/mine"), "mine", typed)


def test_elsewhere_it_says_what_to_configure(tmp_path: Path) -> None:
    steps = trioemqx("plugin", "new", "mine", "--dir", str(tmp_path)).stdout
    assert f'in etc/emqx.toml:  [plugins]  dirs = ["{tmp_path / "mine"}"]' in steps


@pytest.mark.parametrize("name", ["message", "plugin", "config", "none", "a", "x1_2"])
async def test_odd_names_make_plugins_that_load(tmp_path: Path, name: str) -> None:
    """Among them those whose class would be called like something it needs."""
    scaffold.write(tmp_path / name, name)
    async with running({"plugins": {"dirs": [str(tmp_path)], "load": [name]}}) as broker:
        watcher = await broker.client("w", subscribe="greetings")
        await broker.client("c")
        assert await watcher.message() == ("greetings", b"Hello, c!")
        await broker.reload_plugin(name)


# -- the example in the tree -----------------------------------------------------------------------------------------


def test_the_example_is_made_of_the_same_pieces() -> None:
    name = EXAMPLE.name
    rendered = scaffold.render(name, "A template to copy from: greets clients and counts their visits")
    assert files(EXAMPLE) == set(rendered) - {".github/workflows/test.yml"}
    assert (EXAMPLE / "pyproject.toml").read_text() == rendered["pyproject.toml"]
    shipped = (EXAMPLE / "etc" / f"{name}.toml").read_text()
    for line in rendered[f"etc/{name}.toml"].splitlines()[2:]:
        assert line in shipped.splitlines()
    for line in (
        'greeting: str = "Hello"',
        'topic: str = "greetings"',
        "def client_connected(self, client: ClientInfo)",
    ):
        assert line in (EXAMPLE / f"{name}.py").read_text()
        assert line in rendered[f"{name}.py"]


# -- test ------------------------------------------------------------------------------------------------------------


def test_its_tests_pass_without_any_preparation(made: Path) -> None:
    done = run(sys.executable, "-m", "trioemqx", "plugin", "test", "-q", cwd=made)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_its_tests_pass_by_pytest_alone_and_from_elsewhere(made: Path, tmp_path: Path) -> None:
    fixtures = scaffold._fixtures()
    plain = run(sys.executable, "-m", "pytest", *fixtures, "-q", "-p", "no:cacheprovider", cwd=made)
    assert "2 passed" in plain.stdout, plain.stdout
    away = run(sys.executable, "-m", "trioemqx", "plugin", "test", str(made), "-q", "-k", "greeted", cwd=tmp_path)
    assert "1 passed, 1 deselected" in away.stdout, away.stdout + away.stderr


def test_the_name_of_the_folder_does_not_matter(tmp_path: Path) -> None:
    """A repository may be called otherwise than the plugin in it."""
    scaffold.write(tmp_path / "a-repository", "allow_list")
    done = run(sys.executable, "-m", "trioemqx", "plugin", "test", "a-repository", "-q", cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_plugin_that_does_not_load_fails_its_tests_with_that_line(tmp_path: Path) -> None:
    scaffold.write(tmp_path / "broken", "broken")
    file = tmp_path / "broken" / "broken.py"
    file.write_text(file.read_text().replace("validate_topic(", "validate_topics("))
    done = run(sys.executable, "-m", "trioemqx", "plugin", "test", "broken", "-q", cwd=tmp_path)
    assert done.returncode == 1
    assert f"PluginError: broken: start(): {file}:22: NameError: name 'validate_topics' is not defined" in done.stdout


def test_a_folder_that_is_no_plugin(tmp_path: Path) -> None:
    result = trioemqx("plugin", "test", str(tmp_path), "-q")
    assert result.exit_code == 1
    assert result.stderr == f"trioemqx: {tmp_path} is no plugin: its pyproject.toml has to say [tool.trioemqx] api\n"


def test_what_is_missing_to_test_is_said(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_trio" else find(name))
    result = trioemqx("plugin", "test", str(made))
    assert result.exit_code == 1
    assert result.stderr == f"trioemqx: the tests need pytest-trio: {sys.executable} -m pip install pytest-trio\n"
