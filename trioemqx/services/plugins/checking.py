"""What a start would find wrong with plugins and their settings, without a start: for `config check`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from trioemqx.config.model import Config
from trioemqx.errors import ConfigError
from trioemqx.services.plugins import discovery, importing
from trioemqx.services.plugins.catalogue import Catalogue
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.generation import class_of, configured
from trioemqx.services.plugins.switches import DESCRIPTIONS

ACL_MODULE: Final = "emqx_mod_acl_internal"
SHARED: Final = ("module", "auth", "web", "psk")
"""Tables whose members belong to plugins and modules, by the names that these have for them."""


def check_plugins(config: Config) -> tuple[list[str], list[str]]:
    """(errors, warnings), a line each. The code of what a start would load is imported, nothing of it is started."""
    catalogue = Catalogue(config)
    found = catalogue.discover()
    wanted = catalogue.wanted()
    errors = list(catalogue.unreadable)
    warnings: list[str] = []
    for name in wanted:
        try:
            _check_one(discovery.pick(found, name), config)
        except PluginError as error:
            (warnings if error.reason == "not_found" else errors).append(str(error))
    if ACL_MODULE in wanted and ACL_MODULE in found:
        errors += map(str, _acl_file(config))
    return errors, [*warnings, *map(str, _strangers(config, found))]


def _check_one(found: Found, config: Config) -> None:
    """Raise PluginError when a plugin cannot be imported or cannot take its settings."""
    cls, package = class_of(found)
    try:
        configured(found, cls, config)
    finally:
        importing.forget(package)


def _acl_file(config: Config) -> Iterator[ConfigError]:
    """The file of access rules has to be there once somebody has named it."""
    origin = config.origins.get("acl_file")
    if config.acl_file and origin is not None and origin.layer != "default" and not Path(config.acl_file).is_file():
        yield ConfigError(f"{config.acl_file} does not exist", "acl_file", origin.source)


def _strangers(config: Config, found: Mapping[str, Found]) -> Iterator[ConfigError]:
    """Tables that belong to nobody who is here. Their owner may be installed later, so that they are no errors."""
    prefixes = [prefix for each in found.values() for prefix in prefixes_of(each)]
    for table in SHARED:
        known = [prefix for prefix in prefixes if prefix.startswith(f"{table}.")]
        yield from _unknown(config, table, getattr(config, table), known, "plugin or module has settings")
    for kind, tables in (("plugin", config.plugin_tables), ("module", config.module_tables)):
        known = [f"{kind}s.{name}" for name, each in found.items() if each.kind == kind]
        known += [f"plugins.{name}" for name in DESCRIPTIONS if kind == "plugin"]
        yield from _unknown(config, f"{kind}s", tables, known, f"{kind} here is")


def _unknown(
    config: Config, table: str, tree: Mapping[str, object], known: list[str], what: str
) -> Iterator[ConfigError]:
    for name in tree:
        key = f"{table}.{name}"
        if not any(each == key or each.startswith(f"{key}.") for each in known):
            close = get_close_matches(key, known, 1, 0.6)
            hint = f"did you mean {close[0]}?" if close else ""
            yield ConfigError(f"no {what} of this name", key, _place(config, key), hint)


def _place(config: Config, key: str) -> str:
    """Where the first value of a table was set; the file when it has none."""
    places = (o.source for k, o in config.origins.items() if k == key or k.startswith(f"{key}."))
    return next(places, str(config.path or ""))


def prefixes_of(found: Found) -> tuple[str, ...]:
    """The tables of EMQX's names that a plugin reads, as its source says."""
    try:
        tree = ast.parse(found.main.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "prefix" for t in node.targets):
            try:
                named = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(named, tuple):
                return tuple(map(str, named))
    return ()
