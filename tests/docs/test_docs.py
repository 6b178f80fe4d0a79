"""What the pages say is true: code runs, names exist, and nothing that exists is missing."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioemqx.config.model import Config
from trioemqx.config.schema import Section, Setting, specs
from trioemqx.hookspecs import AsyncHooks, SyncHooks
from trioemqx.metrics import Metrics
from trioemqx.services import alarms
from trioemqx.services.plugins import watch
from trioemqx.services.stats import GIVEN, SAME_AS, ZERO

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "trioemqx"
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")] + sorted((ROOT / "docs").glob("*.md"))


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def python_blocks() -> list[tuple[str, str]]:
    return [(path.name, block) for path in PAGES for block in blocks(path, "python")]


def calls(path: Path) -> Iterator[ast.Call]:
    """Every call in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node


# -- code ----------------------------------------------------------------------------------------------------------


def run_python(code: str, folder: Path, *arguments: str) -> str:
    """The output of a program that must end well, run away from the checkout with the package under test."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EMQX_")}
    environ["PYTHONPATH"] = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
    file = folder / "test_example.py"
    file.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, *arguments, str(file)],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_python_block_compiles() -> None:
    found = python_blocks()
    assert len(found) >= 5
    for name, block in found:
        compile(block, name, "exec")


def test_the_embedding_examples_run(tmp_path: Path) -> None:
    (readme, _), (page_example,) = blocks(ROOT / "README.md", "python"), blocks(ROOT / "docs/embedding.md", "python")
    printed = run_python(readme, tmp_path)
    assert "MQTT at 127.0.0.1:" in printed
    assert "room/1/temperature b'21.5'" in printed
    printed = run_python(page_example, tmp_path)
    assert "program sensors/1/value b'21.5'" in printed
    assert printed.endswith("1 1\n")


def test_the_hooks_example_runs(tmp_path: Path) -> None:
    printed = run_python(blocks(ROOT / "docs/hooks.md", "python")[0], tmp_path)
    assert printed == "('new/a', b'renamed')\nCONNACK NOT_AUTHORIZED\n"


def test_the_testing_examples_pass_in_a_project_of_their_own(tmp_path: Path) -> None:
    known = any(point.value == "trioemqx.testing" for point in importlib.metadata.entry_points(group="pytest11"))
    plugin = [] if known else ["-p", "trioemqx.testing"]
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    of_readme = blocks(ROOT / "README.md", "python")[1]
    fixtures, block_manager = blocks(ROOT / "docs/testing.md", "python")
    pytest_command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin]
    assert "1 passed" in run_python(of_readme, tmp_path, *pytest_command)
    assert "4 passed" in run_python(fixtures, tmp_path, *pytest_command)
    run_python(block_manager, tmp_path)


def test_toml_blocks_are_accepted(tmp_path: Path) -> None:
    from trioemqx.config.load import load

    for path in PAGES:
        for block in blocks(path, "toml"):
            file = tmp_path / "emqx.toml"
            # Each block is a part of a file. What it leaves out is the zone it names, and certificates.
            text = block if "[zone.external]" in block else f"{block}\n[zone.external]\n"
            file.write_text(text, "utf-8")
            load(file, {})


# -- links and names -----------------------------------------------------------------------------------------------


def headings(text: str) -> set[str]:
    """The anchors that a renderer makes of a page's headings."""
    found = set()
    for line in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        found.add(re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-"))
    return found


def test_relative_links_lead_somewhere() -> None:
    links = [(path, target) for path in PAGES for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))]
    relative = [(path, target) for path, target in links if "://" not in target]
    assert len(relative) > 20
    for path, target in relative:
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_file(), f"{path.name}: {target}"
        if anchor:
            assert anchor in headings(file.read_text("utf-8")), f"{path.name}: {target}"


def test_pages_name_no_place_on_somebodys_machine() -> None:
    for path in PAGES:
        assert not re.search(r"(?<![\w.])/(?:work|tmp|home|root)/", path.read_text("utf-8")), path.name


def test_the_life_of_a_publish_names_code_that_exists() -> None:
    steps = re.findall(r"^\| \d+ \| `([\w/]+\.py)` `([\w.]+)` \|", page("docs/architecture.md"), re.MULTILINE)
    assert len(steps) == 17
    for file, name in steps:
        assert defined(PACKAGE / file, name), f"{file}: {name}"


def test_the_seams_name_code_that_exists() -> None:
    text = page("docs/architecture.md").partition("## Seams")[2].partition("## State")[0]
    pairs = re.findall(r"`([\w/]+\.py)` `([\w.]+)`", text)
    assert len(pairs) >= 10
    for file, name in pairs:
        assert defined(PACKAGE / file, name), f"{file}: {name}"


def test_methods_named_in_the_architecture_exist() -> None:
    names = set(re.findall(r"`([A-Z]\w+\.\w+)`", page("docs/architecture.md")))
    assert len(names) > 15
    sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    for name in names:
        owner, member = name.split(".")
        assert re.search(rf"^class {owner}\b", sources, re.MULTILINE), name
        assert re.search(
            rf"^    (?:async )?def {member}\(|^        self\.{member}(?::.+)? = ", sources, re.MULTILINE
        ), name


def defined(path: Path, name: str) -> bool:
    """Whether a file defines a function, a class or a method."""
    body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
    for part in name.split("."):
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return True


# -- hooks ---------------------------------------------------------------------------------------------------------


def hook_points() -> dict[str, str]:
    """Every hook point with its signature as the page writes it."""
    found = {}
    for declared in (AsyncHooks, SyncHooks):
        for name, function in vars(declared).items():
            if name.startswith("_"):
                continue
            signature = inspect.signature(function)
            arguments = [f"{one.name}: {one.annotation}" for one in list(signature.parameters.values())[1:]]
            colour = "async " if inspect.iscoroutinefunction(function) else ""
            found[name] = f"{colour}{name}({', '.join(arguments)}) -> {signature.return_annotation}"
    return found


def test_every_hook_has_a_heading_with_its_exact_signature() -> None:
    documented = re.findall(r"^### `(.+)`$", page("docs/hooks.md"), re.MULTILINE)
    assert sorted(documented) == sorted(hook_points().values())


@pytest.mark.parametrize("name", sorted(hook_points()))
def test_every_hook_has_a_test(name: str) -> None:
    pattern = re.compile(rf"^ *(?:async )?def test_hook_{name}(?:_(?!complete\b)\w+)?\(", re.MULTILINE)
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if pattern.search(path.read_text("utf-8"))]
    assert files, f"no test_hook_{name} in tests/"


# -- names an operator sees ----------------------------------------------------------------------------------------


def test_every_metric_and_stat_is_documented() -> None:
    text = page("docs/metrics.md")
    names = {*Metrics().values(), *Metrics().faults(), *Metrics().overload, *GIVEN, *SAME_AS, *ZERO}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_no_metric_is_documented_that_does_not_exist() -> None:
    tables = re.findall(r"^\| (`.+?`) \|", page("docs/metrics.md"), re.MULTILINE)
    documented = {name for row in tables for name in re.findall(r"`([^`]+)`", row)}
    assert documented == {*Metrics().values(), *Metrics().faults(), *Metrics().overload, *GIVEN, *SAME_AS, *ZERO}


def test_every_alarm_is_documented() -> None:
    text = page("docs/operations.md").partition("## Alarms")[2].partition("\n## ")[0]
    raised = {
        ast.unparse(call.args[0]) for path in PACKAGE.rglob("*.py") for call in calls(path) if is_activation(call)
    }
    told = {
        "name",
        "alarm",
        "f'{name}_crashed'",
        "f'{alarm}/{plugin}'",
        "API_CRASHING",
        "STORE_FAILED",
        "STORE_DAMAGED",
        "STORE_LOG_LARGE",
    }
    told |= {"entry.alarm", "f'{DISABLED_ALARM}/{entry.id}'", "f'{SLOW_ALARM}/{entry.id}'"}
    told |= {"OVERLOAD_MEMORY", "OVERLOAD_LAG", "f'{QUEUE_FULL}/{clientid}'"}
    assert raised == told, "document it, and tell this test"
    constants = {
        value
        for name, value in vars(alarms).items()
        if name.startswith(("API_", "HIGH_", "TOO_", "STORE_", "OVERLOAD_"))
    }
    assert len(constants) == 12
    for name in (
        *constants,
        "too_many_connections/<listener>",
        "queue_full/<clientid>",
        "<service>_crashed",
        *("rule_disabled/<rule>", "rule_slow/<rule>", "rule_action_crashed/<action>"),
        *("resource/<type>/<id>/down", "resource_crashed/<id>"),
        *(f"{name}/<plugin>" for name in watch.ALARMS),
    ):
        assert f"| `{name}` |" in text, name


def test_every_alarm_is_in_a_test() -> None:
    table = page("docs/operations.md").partition("## Alarms")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(\w+(?:/<\w+>)*|<service>_crashed)", table, re.MULTILINE)
    assert len(names) >= 15
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    text = "".join(path.read_text("utf-8") for path in files)
    for name in names:
        assert name.replace("<service>", "").partition("<")[0] in text, name


def test_every_service_whose_crash_is_an_alarm_is_documented() -> None:
    text = page("docs/operations.md").partition("## Alarms")[2].partition("\n## ")[0]
    services = [*named(PACKAGE / "node.py", "_what_runs"), *named(PACKAGE / "guards.py", "services")]
    services += [ast.literal_eval(call.args[1]) for call in calls(PACKAGE / "node.py") if is_supervised(call)]
    assert {"pump", "sweeper", "stats", "memory_guard", "ctl", "api"} <= set(services)
    for name in services:
        assert f"`{name}`" in text, name


def named(path: Path, function: str) -> Iterator[str]:
    """The names in the table of services that a function makes: `{"name": run, ...}`, `table["name"] = run`."""
    (made,) = (
        each
        for each in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(each, ast.FunctionDef) and each.name == function
    )
    for each in ast.walk(made):
        if isinstance(each, ast.Dict):
            yield from (key.value for key in each.keys if isinstance(key, ast.Constant))
        elif isinstance(each, ast.Subscript) and isinstance(each.slice, ast.Constant):
            yield each.slice.value


def is_method(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == name


def is_supervised(call: ast.Call) -> bool:
    """`partial(supervised, "name", ...)`"""
    return ast.unparse(call).startswith("partial(supervised, ")


def is_activation(call: ast.Call) -> bool:
    return is_method(call, "activate") and ast.unparse(call.func).endswith("alarms.activate")


def test_every_command_and_exit_code_is_documented() -> None:
    from trioemqx import cli, supervisor

    text = page("docs/operations.md")
    for name, command in cli.main.commands.items():
        for inner in getattr(command, "commands", {"": command}):
            assert f"`trioemqx {name} {inner}".rstrip() in text
    codes = [cli.BAD_CONFIG, cli.NOT_RUNNING, supervisor.OK, supervisor.GAVE_UP, supervisor.CANNOT_LISTEN]
    assert {f"| {code} |" for code in codes} <= set(re.findall(r"\| \d+ \|", text))


# -- settings ------------------------------------------------------------------------------------------------------


def test_settings_named_in_the_pages_exist() -> None:
    known = {key.split(".")[-1] for key, _ in settings(Config, ())}
    heads = {key.split(".")[0] for key, _ in settings(Config, ())}
    for path in PAGES:
        if path.name == "configuration.md":
            continue
        for name in re.findall(r"`((?:\w+)(?:\.(?:\w+|<name>))+)`", path.read_text("utf-8")):
            if name in Metrics().overload:
                continue
            if name.split(".")[0] in heads - {"node", "broker", "plugins", "store"}:
                assert name.split(".")[-1] in known, f"{path.name}: {name}"


def test_settings_without_effect_are_listed() -> None:
    """Nobody outside `config` reads them. A setting that gets an effect must leave the list, and a new one without
    effect must enter it."""
    text = page("docs/operations.md").partition("<!-- without effect")[2].partition("<!-- end -->")[0]
    listed = {name for name in re.findall(r"`([\w.<>]+)`", text) if "." in name or name.startswith(("acl_", "auth_"))}
    names = dict(settings(Config, ()))
    assert listed <= set(names), "not a setting"
    read = attributes_read()
    without = {key for key, attribute in names.items() if attribute not in read} - ELSEWHERE
    # The name of some attributes is that of something else as well, so their being read proves nothing.
    assert without <= listed
    assert {key for key in listed - without if names[key] not in AMBIGUOUS} == set()


ELSEWHERE = {
    "acl_file",
    "log.primary_log_level",
    *(f"log.{level}.file" for level in "debug info notice warning error critical alert emergency".split()),
    "security.profile",
}
"""Settings that a property of `config` or a module puts to use."""
AMBIGUOUS = {"idle_timeout", "file", "load", "size"}


def settings(cls: type, prefix: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(dotted key, attribute) of every setting that is meant to have an effect."""
    for attribute, spec in specs(cls):
        if isinstance(spec, Setting):
            if spec.used:
                yield ".".join((*prefix, *spec.key)), attribute
        elif isinstance(spec, Section):
            yield from settings(spec.cls, (*prefix, *spec.key, *(() if spec.how == "section" else ("<name>",))))


def attributes_read() -> set[str]:
    """Names of attributes that code outside `config` reads. What `services.zones` hands over counts once the core
    reads it."""
    zones = PACKAGE / "services" / "zones.py"
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "config" and path != zones:
            found |= reads(ast.parse(path.read_text("utf-8")))
    for node in ast.walk(ast.parse(zones.read_text("utf-8"))):
        if isinstance(node, ast.Assign):
            targets = {one.attr for one in ast.walk(node.targets[0]) if isinstance(one, ast.Attribute)}
            if targets & found:
                found |= reads(node.value)
    return found


def reads(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_the_search_for_reads_sees_reads_only() -> None:
    code = textwrap.dedent("a.read = b.also\nc.call()\ndel d.gone")
    assert reads(ast.parse(code)) == {"also", "call"}
