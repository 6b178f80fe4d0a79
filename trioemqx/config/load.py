"""From a TOML file, saved overrides and the environment to a checked `Config`.

The environment is stronger than saved overrides, these are stronger than the file, and the file is stronger than the
schema's defaults. Without a file EMQX's shipped values take the file's place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from trioemqx.config.check import check
from trioemqx.config.draft import Draft
from trioemqx.config.environ import add_environment, profile_of
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.listener import KINDS
from trioemqx.config.management import HttpListenerConfig
from trioemqx.config.model import Config
from trioemqx.config.saved import FILE, read_saved
from trioemqx.config.scan import KeyPath, locate
from trioemqx.config.shipped import shipped
from trioemqx.config.values import Address
from trioemqx.errors import ConfigError


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration of file `path` (None: no file) under `overrides` (dotted key -> value) and `environ`.

    Raises ConfigErrors with everything that is wrong, each line naming file and line, key, and the nearest valid key.
    """
    saved = overrides or {}
    config = _finish(_draft(path, environ, saved), environ, saved, path)
    return attrs.evolve(config, source=partial(_again, path, environ))


def load_with_saved(path: Path | None, environ: Mapping[str, str]) -> Config:
    """`load` with the overrides that were saved in `node.data_dir`. Raises ConfigErrors."""
    return load(path, environ, read_saved(_data_dir(_draft(path, environ, {}), environ)))


def from_mapping(
    tree: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of a nested mapping with the file's keys, for programs that embed the broker and for tests.

    Keys that are left out take the schema's defaults, as they do in a file. Raises ConfigErrors.
    """
    config = _finish(_given(tree), environ or {}, overrides or {}, None)
    return attrs.evolve(config, source=partial(_again_from_mapping, tree, environ or {}))


def _again(path: Path | None, environ: Mapping[str, str], saved: Mapping[str, object] | None) -> Config:
    return load_with_saved(path, environ) if saved is None else load(path, environ, saved)


def _again_from_mapping(
    tree: Mapping[str, object], environ: Mapping[str, str], saved: Mapping[str, object] | None
) -> Config:
    return from_mapping(tree, environ, read_saved(_data_dir(_given(tree), environ)) if saved is None else saved)


def _draft(path: Path | None, environ: Mapping[str, str], saved: Mapping[str, object]) -> Draft:
    """What stands below saved overrides and environment."""
    draft = Draft()
    if path is None:
        draft.add_tree(shipped(profile_of(environ, saved)), "default")
    else:
        _add_file(draft, path)
    return draft


def _given(tree: Mapping[str, object]) -> Draft:
    draft = Draft()
    draft.add_tree(tree, "given")
    return draft


def _data_dir(draft: Draft, environ: Mapping[str, str]) -> Path:
    """Where the saved overrides are: known without them. What is wrong elsewhere is found when all is put together."""
    add_environment(draft, environ)
    config, _ = draft.build()
    return Path(config.node.data_dir)


def _add_file(draft: Draft, path: Path) -> None:
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text)
        lines = locate(text)
    except OSError as problem:
        raise ConfigErrors([ConfigError(f"cannot be read: {problem.strerror}", source=str(path))]) from None
    except UnicodeDecodeError as problem:
        raise ConfigErrors([ConfigError(f"is not UTF-8 text (byte {problem.start})", source=str(path))]) from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigErrors([_syntax_error(path, text, str(problem))]) from None
    except RecursionError:
        raise ConfigErrors([ConfigError("too many brackets inside each other", source=str(path))]) from None
    except ValueError:  # Python converts no number of more than some thousand digits
        raise ConfigErrors([ConfigError("a number has too many digits", source=str(path))]) from None

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
    _add_saved(draft, environ, saved)
    add_environment(draft, environ)
    config, origins = draft.build()
    config = attrs.evolve(config, path=path, origins=origins, warnings=draft.warnings, saved=dict(saved))
    config = _loopback_when_hardened(config)
    errors, warnings = check(config)
    draft.errors.extend(errors)
    config.warnings.extend(warnings)
    if draft.errors:
        raise ConfigErrors(draft.errors)
    return config


def _add_saved(draft: Draft, environ: Mapping[str, str], saved: Mapping[str, object]) -> None:
    """Saved overrides, but for those of a listener, zone or group that file and environment no longer know: such a one
    is not brought back by a setting that it had."""
    if not saved:
        return
    named = Draft()
    named.raw, named.tables = dict(draft.raw), dict(draft.tables)
    add_environment(named, environ)
    used: dict[str, object] = {}
    for key, value in saved.items():
        path = tuple(key.split("."))
        owner = next((path[: len(at) + 1] for at in _NAMED if path[: len(at)] == at and len(path) > len(at) + 1), None)
        if owner is None or owner in named.tables:
            used[key] = value
        else:
            draft.warnings.append(f"saved override {key}: there is no {'.'.join(owner)}; see {FILE}")
    draft.add_tree(_nest(used), "saved")


_NAMED = (*(("listener", kind) for kind in KINDS), ("zone",), ("broker", "group"))
"""Tables whose members have names that users give."""


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
    management = attrs.evolve(
        config.management, http=_loopback(config.management.http), https=_loopback(config.management.https)
    )
    dashboard = attrs.evolve(
        config.dashboard, http=_loopback(config.dashboard.http), https=_loopback(config.dashboard.https)
    )
    return attrs.evolve(config, listeners=closed, management=management, dashboard=dashboard)


Door = TypeVar("Door", bound=HttpListenerConfig)


def _loopback(door: Door) -> Door:
    if door.bind is None or door.bind.host:
        return door
    return attrs.evolve(door, bind=Address("127.0.0.1", door.bind.port))
