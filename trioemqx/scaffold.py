"""`trioemqx plugin`: what somebody who writes a plugin needs on the first day, a folder to start from and a test run.

`new` fills the templates in `templates/plugin`. `test` is pytest with the fixtures of `trioemqx.testing`, which find
the plugin by the folder of the test.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import os
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Final, NoReturn

import attrs
import click

from trioemqx.config.model import PluginsConfig

PACKAGE: Final = Path(__file__).resolve().parent
TEMPLATES: Final = PACKAGE / "templates" / "plugin"
FILES: Final = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "{name}.py": "plugin.py.in",
    "etc/{name}.toml": "settings.toml.in",
    "tests/test_{name}.py": "test.py.in",
    ".github/workflows/test.yml": "ci.yml.in",
}
"""What a new plugin consists of, and the template of each."""
DESCRIPTION: Final = "Greets every client that connects"
USED: Final = frozenset({"ClientInfo", "Config", "Message", "Plugin"})
"""Class names that the template needs for something else."""
NEEDED_TO_TEST: Final = ("pytest", "pytest_trio")
WRONG: Final = 1


@click.group()
def plugin() -> None:
    """Write a plugin: make a folder to start from, run its tests."""


@plugin.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("plugins"),
    show_default=True,
    help="Folder in which the plugin gets its own.",
)
def plugin_new(name: str, folder: Path) -> None:
    """Make the folder NAME with a plugin that works: code, settings, test, README, pyproject.toml."""
    target = folder / name
    problem = name_problem(name) or (f"{target} exists already" if target.exists() else "")
    if problem:
        _fail(problem)
    try:
        write(target, name)
    except OSError as error:
        _fail(f"{error.filename or target}: {error.strerror}")
    for line in next_steps(target, name, program()):
        click.echo(line)


@plugin.command("test", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", metavar="[FOLDER] [PYTEST ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def plugin_test(arguments: tuple[str, ...]) -> None:
    """Run the tests of the plugin in FOLDER (default: here), in brokers that have it loaded. The exit code is
    pytest's."""
    from trioemqx.services.plugins.discovery import is_project

    named = arguments[:1] if not arguments[:1] or not arguments[0].startswith("-") else ()
    folder, more = Path(*named), arguments[len(named) :]
    if not is_project(folder):
        _fail(f"{folder.resolve()} is no plugin: its pyproject.toml has to say [tool.trioemqx] api")
    missing = [name.replace("_", "-") for name in NEEDED_TO_TEST if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"the tests need {' and '.join(missing)}: {sys.executable} -m pip install {' '.join(missing)}")
    command = [sys.executable, "-m", "pytest", *_fixtures(), "-o", "trio_mode=true", *more]
    sys.exit(subprocess.run(command, cwd=folder, env=_environment(), check=False).returncode)


def name_problem(name: str) -> str:
    """Why a plugin cannot have this name; empty when it can."""
    if not (name.isascii() and name.isidentifier() and name.islower() and name[0] != "_"):
        wanted = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name.lower()).strip("_")
        hint = f" (how about {wanted}?)" if wanted.isidentifier() else ""
        return f"{name!r} cannot be a plugin's name: lower-case letters, digits and _, a letter first{hint}"
    if name in {field.name for field in attrs.fields(PluginsConfig)}:
        return f"{name} is the name of a setting: [plugins] {name}"
    if keyword.iskeyword(name):
        return f"{name} is a word of Python's"
    for base in (PACKAGE, PACKAGE.parent):
        if (base / "plugins" / name / "pyproject.toml").exists() or (base / "modules" / f"{name}.py").exists():
            return f"{name} comes with trioemqx; take another name"
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:
        return f"there is a Python module {name} already ({spec.origin}); take another name"
    return ""


def render(name: str, description: str = DESCRIPTION) -> dict[str, str]:
    """The texts of a new plugin, by their paths in its folder."""
    words = {"name": name, "cls": class_name(name), "upper": name.upper(), "description": description}
    return {
        path.format(name=name): Template((TEMPLATES / template).read_text("utf-8")).substitute(words)
        for path, template in FILES.items()
    }


def class_name(name: str) -> str:
    """`allow_list` -> `AllowList`."""
    made = "".join(part.capitalize() for part in name.split("_"))
    return f"{made}Plugin" if made in USED or keyword.iskeyword(made) else made


def write(target: Path, name: str) -> None:
    """Make a folder with a new plugin. Raises OSError; FileExistsError when there is one."""
    target.mkdir(parents=True)
    for path, text in render(name).items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def program() -> str:
    """What is typed to call this command once more: it need not be on the PATH, as in a checkout."""
    if shutil.which("trioemqx") is not None:
        return "trioemqx"
    return sys.argv[0] if Path(sys.argv[0]).name == "trioemqx" else f"{sys.executable} -m trioemqx"


def next_steps(target: Path, name: str, program: str) -> list[str]:
    """What to do with it."""
    found = target.parent == Path("plugins")
    where = "  # finds it when it runs in this folder" if found else ""
    lines = [f"{target} is a plugin that works. What next:", f"  {program} plugin test {target}"]
    if not found:
        lines.append(f'  in etc/emqx.toml:  [plugins]  dirs = ["{target.resolve()}"]')
    lines += [f"  {program} start{where}", f"  {program} ctl plugins load {name}"]
    lines += [f"  edit {target / name}.py", f"  {program} ctl plugins reload {name}"]
    return lines


def _fixtures() -> list[str]:
    """What makes pytest know the fixtures: nothing where trioemqx is installed."""
    known = any(point.value == "trioemqx.testing" for point in importlib.metadata.entry_points(group="pytest11"))
    return [] if known else ["-p", "trioemqx.testing"]


def _environment() -> dict[str, str]:
    """This process's variables. What stands in PYTHONPATH must be found from another working directory, and a checkout
    that was started as such has to be found as well."""
    places = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if (PACKAGE.parent / "pyproject.toml").is_file() and str(PACKAGE.parent) not in places:
        places.append(str(PACKAGE.parent))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)} if places else dict(os.environ)


def _fail(text: str) -> NoReturn:
    click.echo(f"trioemqx: {text}", err=True)
    sys.exit(WRONG)
