"""`config check` finds what a start would refuse of plugins and their settings, and names tables that are nobody's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from plugin_folders import Folders

from trioemqx.config.load import load
from trioemqx.services.plugins.checking import check_plugins
from trioemqx.services.plugins.importing import ROOT

HEAD = '[plugins]\nloaded_file = "none"\n'


def checked(tmp_path: Path, text: str, **environ: str) -> tuple[list[str], list[str]]:
    """(errors, warnings) without the file's folder."""
    file = tmp_path / "emqx.toml"
    file.write_text(text, "utf-8")
    errors, warnings = check_plugins(load(file, environ))
    return tuple([line.replace(f"{tmp_path}/", "") for line in lines] for lines in (errors, warnings))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[plugins.emqx_retainer]\nmax_retaned = 4\n",
            "emqx.toml:4: plugins.emqx_retainer.max_retaned: unknown key "
            "(did you mean retainer.max_retained_messages?)",
        ),
        ("[module.presence]\nqos = 5\n", "emqx.toml:4: modules.emqx_mod_presence.qos: expected 0, 1 or 2, got 5"),
    ],
)
def test_settings_are_checked_by_their_owners(tmp_path: Path, text: str, says: str) -> None:
    assert checked(tmp_path, HEAD + text) == ([says], [])


def test_a_file_of_access_rules_has_to_be_there(tmp_path: Path) -> None:
    errors, _ = checked(tmp_path, f'acl_file = "{tmp_path}/none.conf"\n{HEAD}')
    assert errors == ["emqx.toml:1: acl_file: none.conf does not exist"]
    assert checked(tmp_path, f'acl_file = "{tmp_path}/none.conf"\n{HEAD}[modules]\nload = []\n') == ([], [])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("module.presense", "no plugin or module has settings of this name (did you mean module.presence?)"),
        ("auth.htp", "no plugin or module has settings of this name (did you mean auth.http?)"),
        ("auth.mysql", "no plugin or module has settings of this name"),
        ("plugins.emqx_retaner", "no plugin here is of this name (did you mean plugins.emqx_retainer?)"),
        ("modules.zz", "no module here is of this name"),
    ],
)
def test_a_table_that_is_nobody_s_is_named(tmp_path: Path, table: str, says: str) -> None:
    errors, (warning,) = checked(tmp_path, f"{HEAD}[{table}]\nx = 1\n")
    assert errors == []
    assert warning.startswith(f"emqx.toml:4: {table}: {says}")


def test_the_shipped_settings_are_right(tmp_path: Path) -> None:
    assert check_plugins(load(None, {})) == ([], [])


def test_code_is_imported_and_forgotten(tmp_path: Path, folders: Folders) -> None:
    folders.write("broken", "raise SystemExit(3)\n")
    folders.write("good", "class P(Plugin): pass\nplugin = P\n")
    before = {name for name in sys.modules if name.startswith(f"{ROOT}.")}
    text = f'{HEAD}dirs = ["{folders.root}"]\nload = ["broken", "good", "gone", "emqx_management"]\n'
    (error,), (warning,) = checked(tmp_path, text)
    assert "broken.py:" in error
    assert error.endswith("SystemExit: 3")
    assert warning.startswith("gone: not found")
    assert {name for name in sys.modules if name.startswith(f"{ROOT}.")} == before
