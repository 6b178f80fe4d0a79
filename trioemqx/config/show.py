"""A configuration as a person asks about it: every value with its origin, and what a reload would change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final

import attrs

from trioemqx.config.draft import BESIDE, UNSET, Origin, find, find_branch
from trioemqx.config.model import Config, schema
from trioemqx.config.saved import is_fixed
from trioemqx.config.schema import HIDDEN, Free, Path, Setting, leaves, specs, without_password

_SECRET_WORDS: Final = (
    *("password", "secret", "token", "cookie", "private_key"),
    *("authorization", "api_key", "api-key", "apikey"),  # headers of requests that plugins send
)
_HARMLESS: Final = frozenset({"accept", "accept-encoding", "cache-control", "connection", "content-type", "user-agent"})
"""Headers that open no door; others may, whatever they are called."""


@attrs.frozen
class Change:
    """One key that differs between two configurations; `before` or `after` is None where it does not exist.

    `how` it is applied: `live` at once, `listener` by opening the listener again, `plugin` by its owner, `restart` only
    by a new process.
    """

    key: str
    before: object
    after: object
    how: str

    @property
    def live(self) -> bool:
        """True when a reload can apply it without a new process."""
        return self.how != "restart"


def show(config: Config) -> Iterator[tuple[str, object, str]]:
    """(key, value as written, origin) of every key, in the order of the reference page. Secrets are `******`."""
    for path, setting, value in _settings(config, ()):
        shown = setting.show(value) if setting is not None else _show_free(path, value)
        key = ".".join(path)
        yield key, shown, origin(config, key)


def unknown(prefix: str, shown: Iterable[str]) -> str | None:
    """The nearest key ("" when none is near) for one that is nowhere; None for a key or table that there could be.
    `shown` are the keys in force."""
    keys = [".".join(key) for key, _setting in leaves(schema())]
    branch = find_branch(tuple(prefix.split(".")))
    if any(key.startswith(prefix) for key in [*shown, *keys]) or (branch is not None and branch.free):
        return None
    return next(iter(get_close_matches(prefix, [*shown, *keys], 1, 0.6)), "")


def explain(config: Config, started: Config) -> list[dict[str, object]]:
    """Everything there is to say about every setting. `started` is what the process began with: a setting that needs a
    restart and differs from it is `pending`."""
    before = _by_key(started)
    rows = []
    for path, setting, value in _settings(config, ()):
        key = ".".join(path)
        found = config.origins.get(key)
        layer = "default" if found is None else found.layer
        shown = setting.show(value) if setting is not None else _show_free(path, value)
        apply = setting.apply if setting is not None else "plugin"
        row: dict[str, object] = {
            "key": key,
            "value": shown,
            "default": None if setting is None else setting.show(setting.default),
            "file": shown if layer == "file" else _below(found, path, setting),
            "origin": layer,
            "where": "" if found is None else found.where,
            "type": "any" if setting is None else setting.kind.name,
            "unit": "" if setting is None else setting.kind.unit,
            "description": "" if setting is None else setting.doc,
            "apply": apply,
            "live": apply != "restart",
            "used": setting is None or setting.used,
            "secret": setting.secret if setting is not None else _sounds_secret(path),
            "saved": key in config.saved,
            "fixed": is_fixed(key),
            "pending": apply == "restart" and before.get(key, (None, value))[1] != value,
        }
        rows.append(row)
    return rows


def _below(found: Origin | None, path: Path, setting: Setting | None) -> object:
    """What the file says under a stronger source, as it is written there."""
    if found is None or found.below is UNSET:
        return None
    return HIDDEN if (setting.secret if setting is not None else _sounds_secret(path)) else masked(found.below, path)


def is_secret(key: str) -> bool:
    """Whether the value of a key is not shown."""
    path = tuple(key.split("."))
    setting = find(path)
    return setting.secret if setting is not None else _sounds_secret(path)


def origin(config: Config, key: str) -> str:
    """Where the value of `key` was set: `file etc/emqx.toml:41`, `environment EMQX_...`, `saved override`, `given` (by
    the program) or `default`. What a stronger source covers is told as well: `saved override; file says 1000`.

    KeyError for a key that does not exist.
    """
    path = tuple(key.split("."))
    found = config.origins.get(key)
    setting = find(path)
    if found is None:
        if setting is None:
            raise KeyError(key)
        return "default"
    return _origin_text(found, path, setting)


def _origin_text(found: Origin, path: Path, setting: Setting | None) -> str:
    words = {"saved": "saved override"}.get(found.layer, f"{found.layer} {found.where}".strip())
    if found.below is UNSET or found.layer == "file":
        return words
    secret = setting.secret if setting is not None else _sounds_secret(path)
    if secret:
        return f"{words}; file says {HIDDEN}"
    shown = masked(found.below, path)
    below = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, default=str)
    return f"{words}; file says {below}"


def diff(old: Config, new: Config) -> list[Change]:
    """What changed between two configurations, secrets hidden. A listener that came or went is one change."""
    before, after = _by_key(old), _by_key(new)
    changes = list(_listeners_that_came_or_went(old, new))
    skipped = tuple(f"{change.key}." for change in changes)
    for key in [*before, *(key for key in after if key not in before)]:
        setting, value = before.get(key, (None, None))
        new_setting, new_value = after.get(key, (None, None))
        if value == new_value or key.startswith(skipped):
            continue
        spec = setting or new_setting
        path = tuple(key.split("."))
        if spec is None:
            changes.append(Change(key, _show_free(path, value), _show_free(path, new_value), "plugin"))
        else:
            changes.append(Change(key, spec.show(value), spec.show(new_value), spec.apply))
    return changes


def _listeners_that_came_or_went(old: Config, new: Config) -> Iterator[Change]:
    before = {f"listener.{one.kind}.{one.name}": str(one.bind) for one in old.listeners}
    after = {f"listener.{one.kind}.{one.name}": str(one.bind) for one in new.listeners}
    for key in [*before, *after]:
        if (key in before) != (key in after):
            yield Change(key, before.get(key), after.get(key), "listener")


def _by_key(config: Config) -> dict[str, tuple[Setting | None, object]]:
    return {".".join(path): (setting, value) for path, setting, value in _settings(config, ())}


def _settings(part: Any, at: Path, kind: str = "") -> Iterator[tuple[Path, Setting | None, object]]:
    """Every key below `part` with its setting (None in free tables) and its value."""
    cls: type = type(part)
    for attribute, spec in specs(cls):
        path = (*at, *spec.key)
        value = getattr(part, attribute)
        if isinstance(spec, Setting):
            if not kind or not spec.only or kind in spec.only:
                yield path, spec, value
        elif isinstance(spec, Free):
            yield from _free_leaves(value, path)
        elif spec.how == "section":
            yield from _settings(value, path)
        elif spec.how == "named":
            for name, inner in value.items():
                yield from _settings(inner, (*path, name))
        else:
            for listener in value:
                yield from _settings(listener, (*path, listener.kind, listener.name), listener.kind)


def _free_leaves(value: object, path: Path) -> Iterator[tuple[Path, None, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _free_leaves(inner, path if name == BESIDE else (*path, name))
    else:
        yield path, None, value


def _sounds_secret(path: Path) -> bool:
    name = path[-1].lower()
    of_headers = len(path) > 1 and path[-2] == "headers" and name not in _HARMLESS
    return of_headers or any(word in name for word in _SECRET_WORDS)


def _show_free(path: Path, value: object) -> object:
    """A value whose owner is not known here: by its name, a secret is still not shown."""
    if value is None or not _sounds_secret(path):
        return masked(value, path)
    return HIDDEN


def masked(value: object, path: Path = ()) -> object:
    """A value whose owner is not known here, without what by its name, or its place in a URL, is a secret."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if _sounds_secret((*path, name)) and inner else masked(inner, (*path, name))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(item) for item in value]
    return without_password(value)
