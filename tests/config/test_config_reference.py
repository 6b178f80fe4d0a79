"""The file and the page that people read are the schema, no more and no less."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trioemqx.config.load import from_mapping, load
from trioemqx.config.model import schema
from trioemqx.config.reference import commented_toml, main, markdown
from trioemqx.config.schema import NAME, leaves
from trioemqx.config.shipped import SHIPPED
from trioemqx.config.show import show

ROOT = Path(__file__).parents[2]
SHIPPED_FILE = ROOT / "etc/emqx.toml"
PAGE = ROOT / "docs/configuration.md"


def uncommented() -> dict[str, Any]:
    """The shipped file with every `#key = value` and `#[table]` line made active."""
    lines = [
        line[1:] if line.startswith("#") and line[1:2] not in ("", " ", "#") else line
        for line in SHIPPED_FILE.read_text("utf-8").splitlines()
    ]
    return tomllib.loads("\n".join(lines))


def flat(tree: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, (*at, name))
        else:
            yield (*at, name)


def general(key: tuple[str, ...]) -> tuple[str, ...]:
    """The key with the user's name and, for listeners, the type taken out."""
    if key[0] == "listener":
        return ("listener", *key[3:])
    if key[0] == "zone":
        return ("zone", NAME, *key[2:])
    if key[:2] == ("broker", "group"):
        return ("broker", "group", NAME, *key[3:])
    return key


def test_the_shipped_file_is_what_the_schema_makes() -> None:
    assert SHIPPED_FILE.read_text("utf-8") == commented_toml()


def test_the_page_is_what_the_schema_makes() -> None:
    assert PAGE.read_text("utf-8") == markdown()


def test_active_values_of_the_shipped_file_are_those_used_without_a_file() -> None:
    assert tomllib.loads(SHIPPED_FILE.read_text("utf-8")) == SHIPPED
    with_file = {key: value for key, value, _where in show(load(SHIPPED_FILE, {}))}
    without = {key: value for key, value, _where in show(load(None, {}))}
    assert with_file == without


def test_every_key_of_the_schema_is_in_the_shipped_file() -> None:
    wanted = {general(key) for key, _setting in leaves(schema())}
    assert wanted - {general(key) for key in flat(uncommented())} == set()


def test_every_key_of_the_schema_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for key, _setting in leaves(schema()):
        name = ".".join(("listener", "<type>", *key[2:]) if key[0] == "listener" else key)
        assert f"| `{name}`" in page


def test_every_commented_option_may_be_made_active() -> None:
    tree = uncommented()
    # These exclude each other, what certificates of clients must have needs them to be asked for, and names from
    # certificates need the PROXY header on a plain listener.
    tree["listener"]["ssl"]["external"].pop("psk_ciphers")
    tree["listener"]["ssl"]["external"]["verify"] = "verify_peer"
    tree["listener"]["tcp"]["external"]["proxy_protocol"] = True
    assert from_mapping(tree).warnings == []


def test_every_setting_has_words_and_a_default_that_is_valid() -> None:
    for key, setting in leaves(schema()):
        assert len(setting.doc) > 10, key
        assert setting.apply in ("live", "listener", "restart"), key
        if setting.default is not None and not setting.required:
            shown = setting.kind.show(setting.default)
            assert setting.kind.parse(shown) == setting.default, key
        elif setting.default is None and not setting.kind.optional:
            assert setting.example is not None, key


@pytest.mark.parametrize(("argument", "made"), [("doc", markdown), ("toml", commented_toml)])
def test_the_command_prints_them(argument: str, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument]) == 0
    assert capsys.readouterr().out == made()


def test_the_command_refuses_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    assert "usage" in capsys.readouterr().err
