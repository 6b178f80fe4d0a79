"""A plugin's settings: gathered from where operators write them, checked against the plugin's own class.

The strongest wins: `EMQX_PLUGINS__<NAME>__<KEY>` and the tables of `etc/emqx.toml` (both are in the `Config` already),
then `<plugins.etc_dir>/<name>.toml`, and where there is none the `etc/<name>.toml` that the plugin ships. Settings that
EMQX keeps under a name of their own (`auth.http.timeout`) are found there as well. Long, because an error names the
place a value is from, so that finding and checking it go together.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from keyword import iskeyword
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs

from trioemqx.config.draft import BESIDE, reads_as_flag
from trioemqx.config.environ import read_secret
from trioemqx.config.fields import flag, parse_bytesize, parse_duration
from trioemqx.config.model import Config, schema
from trioemqx.config.scan import KeyPath, locate
from trioemqx.config.schema import leaves
from trioemqx.errors import ConfigError
from trioemqx.services.plugins.base import Duration, NoConfig, Plugin, Secret, SettingError
from trioemqx.services.plugins.discovery import Found, shipped_settings
from trioemqx.services.plugins.errors import BadSettings, PluginError

log = logging.getLogger("trioemqx.plugins")

Key = tuple[str, ...]
RESERVED: Final = ("hook_timeout", "hook_priority")
"""Settings of every plugin: seconds for its async hooks, and a priority for all its hooks."""


class Gathered:
    """Raw values by key path, each with the place it was written at."""

    def __init__(self) -> None:
        self.values: dict[Key, object] = {}
        self.places: dict[Key, str] = {}
        self.shipped: set[Key] = set()
        """Values that nobody wrote: what the broker uses without a configuration file."""
        self.data_dir = Path("data")

    def add(self, tree: Mapping[str, Any], place: Callable[[Key], str], at: Key = ()) -> None:
        """Lay a table over what is there."""
        for name, value in tree.items():
            path = (*at, str(name))
            if isinstance(value, Mapping) and value:
                self.add(value, place, path)
            else:
                if reads_as_flag(value) and any(
                    len(key) > len(path) and key[: len(path)] == path for key in self.values
                ):
                    path = (*path, BESIDE)  # it switches the table on or off and does not empty it
                self._drop(path)
                self.values[path] = value
                self.places[path] = place(path)
                self.shipped.discard(path)

    def _drop(self, path: Key) -> None:
        """Forget weaker values that cannot stand beside one at `path`: a text where a table was, or the other way."""
        length = len(path)
        for key in [key for key in self.values if key[:length] == path or key == path[: len(key)]]:
            del self.values[key]
            self.places.pop(key, None)
            self.shipped.discard(key)

    def tree(self) -> dict[str, Any]:
        """The values as nested tables."""
        root: dict[str, Any] = {}
        for path, value in self.values.items():
            table = root
            for name in path[:-1]:
                inner = table.get(name)
                if not isinstance(inner, dict):
                    inner = table[name] = {}
                table = inner
            table[path[-1]] = value
        return root

    def place(self, path: Key) -> str:
        """Where a key was written; for a table, where its first key was."""
        if path in self.places:
            return self.places[path]
        return next((where for key, where in self.places.items() if key[: len(path)] == path), "")


def gather(found: Found, prefixes: tuple[str, ...], config: Config) -> Gathered:
    """Everything that was written for a plugin. Raises PluginError for a file that cannot be read."""
    gathered = Gathered()
    gathered.data_dir = Path(config.node.data_dir)
    own = Path(config.plugins.etc_dir) / f"{found.name}.toml" if config.plugins.etc_dir else None
    for file in (own, shipped_settings(found)):
        if found.kind == "plugin" and file is not None and file.is_file():
            _add_file(gathered, file, prefixes)
            break
    for at, prefix in _places(found, prefixes):
        key = tuple(prefix.split("."))
        tree = _inside(config, key)
        if isinstance(tree, Mapping):
            gathered.add(tree, _origin(config, key, len(at)), at)
        elif isinstance(tree, str | int | float):  # a setting that the broker itself has no use for
            gathered.add({key[-1]: tree}, _origin(config, key, 1))
            if (origin := config.origins.get(prefix)) is not None and origin.layer == "default":
                gathered.shipped.add(key[-1:])
        elif isinstance(tree, list):  # [[module.subscription]] for [module.subscription.1], and so on
            numbers = {str(number): value for number, value in enumerate(tree, 1)}
            gathered.add(numbers, partial(_place_of, config, prefix), at)
    for at, prefix in _places(found, prefixes):  # a variable is the strongest under every name that a setting has
        key = tuple(prefix.split("."))
        of_environment = _from_environment(config, key)
        if of_environment:
            gathered.add(of_environment, _origin(config, key, len(at)), at)
    return gathered


def _from_environment(config: Config, key: Key) -> dict[str, Any]:
    """The values below `key` that variables set."""
    tree: dict[str, Any] = {}
    for name, origin in config.origins.items():
        path = tuple(name.split("."))
        if origin.layer == "environment" and path[: len(key)] == key and len(path) > len(key):
            table = tree
            value = _inside(config, path)
            if isinstance(value, Mapping) and BESIDE in value:
                path, value = (*path, BESIDE), value[BESIDE]
            for part in path[len(key) : -1]:
                table = table.setdefault(part, {})
            table[path[-1]] = value
    return tree


def _places(found: Found, prefixes: tuple[str, ...]) -> Iterator[tuple[Key, str]]:
    """(where in the plugin's settings, key in the configuration), the weakest first."""
    for prefix in prefixes:
        yield (() if len(prefixes) == 1 else (prefix.rpartition(".")[2],)), prefix
    yield (), f"{found.kind}s.{found.name}"


def _inside(config: Config, key: Key) -> object:
    tables = {"plugins": config.plugin_tables, "modules": config.module_tables}
    tree: object = tables.get(key[0], getattr(config, key[0], None))
    for name in key[1:]:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _origin(config: Config, key: Key, skip: int) -> Callable[[Key], str]:
    def place(path: Key) -> str:
        origin = config.origins.get(".".join((*key, *path[skip:])).removesuffix("."))
        return "" if origin is None else str(origin.source)

    return place


def _place_of(config: Config, key: str, inner: Key) -> str:
    """Where a whole value was written, for everything in it."""
    origin = config.origins.get(key)
    return "" if origin is None else str(origin.source)


def _add_file(gathered: Gathered, file: Path, prefixes: tuple[str, ...]) -> None:
    try:
        text = file.read_text("utf-8")
        tree = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadSettings(f"{file}: {error}") from None
    lines = locate(text)
    for prefix in prefixes:
        key = tuple(prefix.split("."))
        inner = _cut(tree, key)
        at = () if len(prefixes) == 1 else (key[-1],)
        gathered.add(inner, _line(file, lines, key, len(at)), at)
    gathered.add(tree, _line(file, lines, (), 0))


def _line(file: Path, lines: Mapping[KeyPath, int], key: Key, skip: int) -> Callable[[Key], str]:
    def place(path: Key) -> str:
        return f"{file}:{lines.get((*key, *path[skip:]), 1)}"

    return place


def _cut(tree: dict[str, Any], key: Key) -> Mapping[str, Any]:
    """Take the table at `key` out of a tree, and what becomes empty by that."""
    inner = tree.get(key[0])
    if not isinstance(inner, dict):
        return {}
    found = inner if len(key) == 1 else _cut(inner, key[1:])
    if len(key) == 1 or not inner:
        del tree[key[0]]
    return found


def config_class(cls: type[Plugin[Any]]) -> type:
    """The `Config` in `class Mine(Plugin[Config])`; NoConfig for a bare `Plugin`. Raises PluginError."""
    for ancestor in cls.__mro__:
        for base in getattr(ancestor, "__orig_bases__", ()):
            if get_origin(base) is Plugin:
                (chosen,) = get_args(base)
                if not (isinstance(chosen, type) and attrs.has(chosen)):
                    raise PluginError(f"{cls.__name__}: Plugin[...] takes an attrs class, not {chosen!r}")
                return chosen
    return NoConfig


def build(cls: type, gathered: Gathered, title: str) -> Any:
    """An instance of a settings class. `title` is the table's name for messages, `plugins.allow_list`. Raises
    PluginError with one line for everything that is wrong."""
    errors: list[ConfigError] = []
    tree = gathered.tree()
    for name in RESERVED:
        if name not in {field.name for field in attrs.fields(cls)}:
            tree.pop(name, None)
    builder = _Builder(gathered, title, errors)
    if BESIDE in tree:
        builder.both(())
        del tree[BESIDE]
    made = builder.table(cls, tree, ())
    if errors:
        raise BadSettings("; ".join(map(str, errors)))
    return made


def reserved(gathered: Gathered) -> tuple[float | None, int | None]:
    """`hook_timeout` and `hook_priority`, None where they are not set. Raises PluginError."""
    timeout, priority = (_reserved(gathered, name, hint) for name, hint in zip(RESERVED, (Duration, int), strict=True))
    return timeout, priority


def _reserved(gathered: Gathered, name: str, hint: Any) -> Any:
    value = gathered.values.get((name,))
    try:
        return None if value is None else _plain(hint, value)
    except ValueError as error:
        raise BadSettings(f"{gathered.place((name,))}: {name}: {error}") from None


class _Builder:
    """Builds instances and collects what is wrong, each with file, line and key."""

    def __init__(self, gathered: Gathered, title: str, errors: list[ConfigError]) -> None:
        self.gathered = gathered
        self.title = title
        self.errors = errors

    def fail(self, text: str, path: Key, hint: str = "") -> None:
        """Note an error at a key."""
        key = ".".join((self.title, *path)).removesuffix(".")
        self.errors.append(ConfigError(text, key, self.gathered.place(path), hint))

    def table(self, cls: type, tree: Mapping[str, Any], at: Key) -> Any:
        """An instance of an attrs class; None when something is wrong."""
        before = len(self.errors)
        hints = get_type_hints(cls, include_extras=True)
        fields = {key_of(field.alias or field.name): field for field in attrs.fields(cls) if field.init}
        given: dict[str, Any] = {}
        numbered = _numbered(fields, hints)
        if numbered is not None:
            members = {name: value for name, value in tree.items() if name.isdecimal()}
            given[numbered] = self.value(get_args(hints[fields.pop(numbered).name])[0], members, at)
            tree = {name: value for name, value in tree.items() if name not in members}
        for name, value in self.from_files(fields, tree, at).items():
            if name in fields:
                given[name] = self.value(hints[fields[name].name], value, (*at, name))
            else:
                self.unknown((*at, name), list(fields))
        for name, field in fields.items():
            if field.default is attrs.NOTHING and name not in given:
                self.fail("has to be set", (*at, name), self.where_to_set())
        if len(self.errors) > before:
            return None
        try:
            return cls(**{f"{name}_" if iskeyword(name) else name: value for name, value in given.items()})
        except (ValueError, TypeError) as error:
            text = str(error.args[0] if error.args else error)
            # attrs' own validators begin with the field's name: 'limit' must be >= 1
            named = tuple(name for name, field in fields.items() if text.startswith(f"'{field.name}' "))
            self.fail(text, (*at, *(error.path if isinstance(error, SettingError) else named)))
            return None

    def from_files(self, fields: Container[str], tree: Mapping[str, Any], at: Key) -> Mapping[str, Any]:
        """The values of `EMQX_..._FILE` variables in place of the files' names. What a plugin's keys are is known here
        only, so the configuration has left them as they are."""
        found = dict(tree)
        for name in tree:
            key = name.removesuffix("_file")
            if name in fields or key not in fields or not self.from_environment((*at, name)):
                continue
            file = str(found.pop(name))
            if self.from_environment((*at, key)):
                self.fail(f"{key} is set as well; use one of the two", (*at, name))
            try:
                found[key] = read_secret(file)
            except ValueError as error:
                self.fail(str(error), (*at, name))
        return found

    def from_environment(self, path: Key) -> bool:
        """Whether a variable set a key."""
        return self.gathered.places.get(path, "").startswith("environment ")

    def unknown(self, path: Key, names: list[str]) -> None:
        """A key that the settings do not have. In the environment that is a warning, as everywhere: containers carry
        variables that were meant for others."""
        close = get_close_matches(path[-1], names, 1) or self.of_the_broker(path[-1])
        hint = f"did you mean {close[0]}?" if close else ""
        if self.gathered.place(path).startswith("environment"):
            log.warning(
                "%s", ConfigError("unknown key", ".".join((self.title, *path)), self.gathered.place(path), hint)
            )
        else:
            self.fail("unknown key", path, hint)

    def of_the_broker(self, name: str) -> list[str]:
        """The nearest key of the broker's own table of that name: `retainer.max_payload_size` for emqx_retainer."""
        table = self.title.rpartition(".")[2].removeprefix("emqx_")
        known = {key[-1]: ".".join(key) for key, _setting in leaves(schema()) if key[0] == table}
        return [known[close] for close in get_close_matches(name, known, 1)]

    def where_to_set(self) -> str:
        """Advice for a key that is missing."""
        return f"in etc/emqx.toml, table [{self.title}]"

    def value(self, hint: Any, value: object, path: Key) -> Any:
        """A value of a type hint; notes what does not fit."""
        if isinstance(value, Mapping) and BESIDE in value:
            return self.beside(hint, dict(value), path)
        if isinstance(hint, type) and attrs.has(hint):
            if isinstance(value, Mapping):
                return self.table(hint, cast("Mapping[str, Any]", value), path)
            return self.fail("expected a table", path)
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return self.union(inner, value, path)
        if origin is dict and isinstance(value, Mapping):
            return {str(name): self.value(inner[1], member, (*path, str(name))) for name, member in value.items()}
        if origin in (list, tuple):
            members = [self.value(inner[0], member, (*path, *number)) for number, member in _members(value)]
            return members if origin is list else tuple(members)
        if "queue" in getattr(hint, "__metadata__", ()):
            return self.queue(value, path)
        try:
            return _plain(hint, value)
        except ValueError as error:
            return self.fail("not a valid value (it is secret and not shown)" if hint is Secret else str(error), path)

    def queue(self, value: object, path: Key) -> Any:
        """A folder for a queue: who may save settings makes none where it likes."""
        if not isinstance(value, str | Path):
            return self.fail(f"expected a path, got {type(value).__name__}", path)
        own = absolute(self.gathered.data_dir / "replayq")
        saved = any(self.gathered.place(path[:length]).startswith("saved") for length in range(1, len(path) + 1))
        if saved and value and own not in absolute(Path(value)).parents:
            return self.fail(f"only the file and the environment can name a folder outside {own}", path)
        return Path(value)

    def beside(self, hint: Any, table: dict[str, Any], path: Key) -> Any:
        """A value and a table at one key. A flag switches the table; a text stands for the one field of the table that
        has to be set, as `jwks` does for `jwks.url`. Anything else is a mistake."""
        plain = table.pop(BESIDE)
        choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
        if bool in choices and len(choices) > 1:
            try:
                return self.value(hint, table if flag.parse(plain) else False, path)
            except ValueError as error:
                return self.fail(str(error), path)
        for cls in (choice for choice in choices if str in choices and attrs.has(choice)):
            needed = [
                key_of(field.alias) for field in attrs.fields(cls) if field.init and field.default is attrs.NOTHING
            ]
            if len(needed) == 1 and needed[0] not in table:
                return self.table(cls, {needed[0]: plain, **table}, path)
        return self.both(path)

    def both(self, path: Key) -> None:
        """Note that a key is set as a value and as a table."""
        places = [
            where.removeprefix("environment ")
            for key, where in self.gathered.places.items()
            if key[: len(path)] == path and len(key) > len(path) and key[-1] != BESIDE
        ]
        first = self.gathered.place((*path, BESIDE)).removeprefix("environment ")
        self.fail(f"is a value and a table at once: keep {first} or {places[0]}", (*path, BESIDE))

    def union(self, choices: tuple[Any, ...], value: object, path: Key) -> Any:
        """The first of several types that fits; the last one's complaint when none does."""
        if value is None and type(None) in choices:
            return None
        others = [choice for choice in choices if choice is not type(None)]
        for choice in others[:-1]:
            attempt = _Builder(self.gathered, self.title, [])
            made = attempt.value(choice, value, path)
            if not attempt.errors:
                return made
        return self.value(others[-1], value, path)


def _numbered(fields: Mapping[str, Any], hints: Mapping[str, Any]) -> str | None:
    """The name of the field that takes the table's numbered keys (`Numbered`), if there is one."""
    marked = (name for name, field in fields.items() if "numbered" in getattr(hints[field.name], "__metadata__", ()))
    return next(marked, None)


def absolute(path: Path) -> Path:
    """A path without `..`; links stay, for whoever made one inside our folders meant it."""
    return Path(os.path.abspath(path))


def key_of(name: str) -> str:
    """The key of a field: its name, and `from` for `from_`, because Python keeps some words for itself."""
    return name[:-1] if iskeyword(name[:-1]) and name.endswith("_") else name


def _members(value: object) -> list[tuple[Key, object]]:
    """A list, or a text with commas; numbered keys (`rule.1`, `rule.2`) in the order of their numbers. Each member
    comes with its key, () where it has none."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (len(str(name)), str(name)))
        return [((str(name),), value[name]) for name in names]
    if isinstance(value, list | tuple):
        return [((), member) for member in value]
    if isinstance(value, str):
        return [((), part.strip()) for part in value.split(",") if part.strip()]
    return [((), value)]


def _plain(hint: Any, value: object) -> Any:
    """A value that is neither table nor list. ValueError says what was expected."""
    if hint is Any or hint is object:
        return value
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint), value)
    meaning = getattr(hint, "__metadata__", ())
    if "duration" in meaning:
        return parse_duration(value)
    if "bytesize" in meaning:
        return parse_bytesize(value)
    if hint is bool:
        return flag.parse(value)
    if hint is int or hint is float:
        return _number(hint, value)
    if hint in (str, Secret, Path) and isinstance(value, str):
        return hint(value)
    if hint in (str, Secret) and isinstance(value, int | float) and not isinstance(value, bool):
        return hint(str(value))
    raise ValueError(f"expected {_name(hint)}, got {type(value).__name__}")


def _number(hint: type, value: object) -> Any:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = hint(value)
        if hint is int and isinstance(value, float) and number != value:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected a {'whole ' if hint is int else ''}number, got {value!r:.80}") from None
    return number


def _one_of(words: tuple[object, ...], value: object) -> object:
    for word in words:
        if word == value or str(word) == str(value).lower():
            return word
    raise ValueError(f"expected {', '.join(map(str, words[:-1]))} or {words[-1]}, got {value!r:.80}")


def _name(hint: Any) -> str:
    return {str: "text", Secret: "text", Path: "a path"}.get(hint, getattr(hint, "__name__", str(hint)))
