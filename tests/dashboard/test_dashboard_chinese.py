"""What the server says is English in its code, and has a Chinese text in `app/chinese`: every text of the reference,
and nothing that nobody says any more."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import trioemqx
import trioemqx.dashboard
from trioemqx.config.model import schema
from trioemqx.config.schema import leaves
from trioemqx.services import alarms
from trioemqx.services.plugins import forms
from trioemqx.services.plugins.settings import config_class
from trioemqx.testing import running

FOLDER = Path(trioemqx.dashboard.__file__).parent / "static" / "app" / "chinese"
PACKAGE = Path(trioemqx.__file__).parent
CHECKOUT = Path(__file__).parents[2]
LINE = re.compile(r'^  (".*"): (".*"),$', re.MULTILINE)
RAISE = {"ApiError": 1, "_refused": 1, "RuleError": 1, "TraceError": 1} | dict.fromkeys(
    (
        *("bad_params", "missing", "bad_arguments", "refuse", "UserRefused", "AppRefused", "TableFull", "BanRefused"),
        *("RosterError", "NoSuchEntry", "EntryExists", "RosterFull", "NotWritten"),
        *("BackupError", "Broken", "FilterError", "PluginError", "NotSaved", "UploadRefused"),
    ),
    0,
)
"""What makes an error for a person, and which argument is the text; those after it may be one as well."""
MAKERS = (
    *("api", "services/web", "rules", "config", "services/backup", "services/dashboard_users.py"),
    *("services/applications.py", "services/banned.py", "services/filters.py", "services/plugins/manager.py"),
    *("services/plugins/starting.py", "services/plugins/changes.py", "services/plugins/serving.py"),
    *("services/plugins/switches.py", "services/overrides.py", "services/plugins/archive.py"),
    *("services/plugins/uploads.py", "services/plugins/uploading.py"),
)
ANYTHING = "{}: {}"
"""Fits what has a key in front; by itself it translates nothing."""
PLACE = re.compile(r"[a-z_.]*(\{\}|: |:|[a-z_]+\.)*\{\}")
"""Texts that only say of another one where it belongs to."""


def table(name: str) -> dict[str, str]:
    """One file of the catalogue: English → Chinese."""
    text = (FOLDER / f"{name}.js").read_text("utf-8")
    rows = [(json.loads(english), json.loads(chinese)) for english, chinese in LINE.findall(text)]
    assert len(dict(rows)) == len(rows) == sum(line.startswith('  "') for line in text.splitlines())
    return dict(rows)


def check(name: str, said: Iterable[str]) -> None:
    """Everything that is said has an entry, and every entry something that is said."""
    entries = table(name)
    fits = {english: re.compile(".*".join(map(re.escape, english.split("{}"))), re.DOTALL) for english in entries}
    used: set[str] = set()
    missing = []
    for text in sorted(set(said)):
        found = [english for english, pattern in fits.items() if pattern.fullmatch(text)]
        used.update(found)
        if not set(found) - {ANYTHING} and not PLACE.fullmatch(text):
            missing.append(text)
    assert missing == []
    assert sorted(entries.keys() - used - {ANYTHING}) == []


@pytest.mark.parametrize("name", ["settings", "plugins", "api", "messages"])
def test_entries_are_chinese_and_repeat_what_the_english_catches(name: str) -> None:
    entries = table(name)
    translated = {english: chinese for english, chinese in entries.items() if chinese != english}
    assert [english for english, chinese in translated.items() if not re.search("[\u4e00-\u9fff\uff1a]", chinese)] == []
    counts = {english: chinese.count("{}") + chinese.count("{*}") for english, chinese in entries.items()}
    assert [english for english, count in counts.items() if count != english.count("{}") and count] == []


def test_settings() -> None:
    check("settings", (text for _, setting in leaves(schema()) for text in (setting.doc, setting.kind.unit) if text))


def texts_of_form(table: forms.Schema) -> Iterator[str]:
    """Descriptions of what is a field of the form: tables have only their fields."""
    for key, one in table.get("properties", {}).items():
        if one.get("properties"):
            yield from texts_of_form(one)
        else:
            yield one.get("description", f"{key} is not described")


async def test_plugins_modules_and_endpoints(tmp_path: Path) -> None:
    keys = tmp_path / "psk.txt"
    keys.write_text("client:1234\n")
    async with running({"psk": {"file": {"path": str(keys)}}}) as broker:
        manager = broker.node.plugins
        described = [part.description for part in manager.built_in.values()]
        for listed in [*await manager.look("plugin"), *await manager.look("module")]:
            described.append(listed.description)
            if listed.name not in manager.live:
                await manager.load(listed.name)
        for name, generation in manager.live.items():
            described += texts_of_form(forms.schema_of(config_class(type(generation.instance)), name))
        endpoints = [row["descr"] for row in (await broker.api("GET", "/")).json()["data"]]
    check("plugins", described)
    check("api", endpoints)


def test_messages() -> None:
    words = [re.sub(r"\{\w+\}", "{}", text) for text in alarms._WORDS.values()]
    spoken = ["connection congested: {}", "{} crashed: {}", "Unknown alarm", "expected {}, got {}"]
    spoken.append("set plugins.upload = true in {}, or EMQX_PLUGINS__UPLOAD=true in the environment")
    folders = [*(PACKAGE / name for name in MAKERS), CHECKOUT / "plugins", CHECKOUT / "modules"]
    files = [file for folder in folders for file in [folder, *folder.rglob("*.py")] if file.suffix == ".py"]
    files = [file for file in files if "tests" not in file.parts]
    check("messages", [*words, *spoken, *alarms_of_codes(), *(text for file in files for text in errors_of(file))])


def alarms_of_codes() -> Iterator[str]:
    """The short names that errors of plugins have for EMQX."""
    yield from ("already_started", "not_started", "not_found", "missing_required_params")


def errors_of(file: Path) -> Iterator[str]:
    """The texts of errors that are raised in a file; `{}` for what is filled in."""
    module = None
    if file.is_relative_to(PACKAGE):
        module = importlib.import_module(".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts))
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISE:
            for argument in [*node.args[RAISE[node.func.id] :], *(keyword.value for keyword in node.keywords)]:
                yield from written(argument, module)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "expected":
            yield from written(node.value, module)


def written(node: ast.expr, module: ModuleType | None) -> Iterator[str]:
    """The texts that an expression can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from (*written(node.body, module), *written(node.orelse, module))
    elif isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
        yield f"{node.left.value}{{}}"
    elif isinstance(node, ast.Name) and isinstance(value := getattr(module, node.id, None), str):
        yield value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "reason":
                yield from written(value, module)
