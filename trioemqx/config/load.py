"""From a TOML file, saved overrides and the environment to a checked `Config`.

The environment is stronger than saved overrides, these are stronger than the file, and the file is stronger than the
schema's defaults. Without a file EMQX's shipped values take the file's place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from trioemqx.config.check import check
from trioemqx.config.draft import Draft
from trioemqx.config.environ import add_environment, profile_of
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.model import Config
from trioemqx.config.scan import KeyPath, locate
from trioemqx.config.shipped import shipped
from trioemqx.config.values import Address
from trioemqx.errors import ConfigError


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration of file `path` (None: no file) under `overrides` (dotted key -> value) and `environ`.

    Raises ConfigErrors with everything that is wrong, each line naming file and line, key, and the nearest valid key.
    """
    draft = Draft()
    saved = overrides or {}
    if path is None:
        draft.add_tree(shipped(profile_of(environ, saved)), "default")
    else:
        _add_file(draft, path)
    return _finish(draft, environ, saved, path)


def from_mapping(tree: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a nested mapping with the file's keys, for programs that embed the broker and for tests.

    Keys that are left out take the schema's defaults, as they do in a file. Raises ConfigErrors.
    """
    draft = Draft()
    draft.add_tree(tree, "given")
    return _finish(draft, environ or {}, {}, None)


def _add_file(draft: Draft, path: Path) -> None:
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text)
    except OSError as problem:
        raise ConfigErrors([ConfigError(f"cannot be read: {problem.strerror}", source=str(path))]) from None
    except UnicodeDecodeError as problem:
        raise ConfigErrors([ConfigError(f"is not UTF-8 text (byte {problem.start})", source=str(path))]) from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigErrors([_syntax_error(path, text, str(problem))]) from None
    lines = locate(text)

    def where(key: KeyPath) -> str:
        line = lines.get(key)
        return f"{path}:{line}" if line else str(path)

    draft.add_tree(tree, "file", where)


def _syntax_error(path: Path, text: str, problem: str) -> ConfigError:
    """tomllib ends its messages in `(at line 3, column 5)` or `(at end of document)`."""
    words, _, place = problem.rpartition(" (at ")
    number = place.removeprefix("line ").partition(",")[0]
    line = number if number.isdigit() else str(text.count("\n") + 1)
    return ConfigError(f"{words or problem}", source=f"{path}:{line}", hint="TOML syntax")


def _finish(draft: Draft, environ: Mapping[str, str], saved: Mapping[str, object], path: Path | None) -> Config:
    draft.add_tree(_nest(saved), "saved")
    add_environment(draft, environ)
    config, origins = draft.build()
    config = attrs.evolve(config, path=path, origins=origins, warnings=draft.warnings)
    config = _loopback_when_hardened(config)
    errors, warnings = check(config)
    draft.errors.extend(errors)
    config.warnings.extend(warnings)
    if draft.errors:
        raise ConfigErrors(draft.errors)
    return config


def _nest(saved: Mapping[str, object]) -> dict[str, object]:
    """`{"mqtt.max_qos_allowed": 1}` as nested tables; overrides that are nested already stay so."""
    root: dict[str, object] = {}
    for key, value in saved.items():
        *tables, last = key.split(".")
        table = root
        for name in tables:
            inner = table.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigErrors([ConfigError("is both a value and a table", name, "saved override")])
            table = inner
        table[last] = value
    return root


def _loopback_when_hardened(config: Config) -> Config:
    """With the hardened profile a bare port means loopback: nobody chose to open it to the network."""
    if config.security.profile != "hardened":
        return config
    closed = [
        listener if listener.bind.host else attrs.evolve(listener, bind=Address("127.0.0.1", listener.bind.port))
        for listener in config.listeners
    ]
    return attrs.evolve(config, listeners=closed)
