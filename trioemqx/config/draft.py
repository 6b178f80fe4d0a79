"""The configuration while it is being put together: raw values by key path, each with where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

import attrs

from trioemqx.config.model import Config, schema
from trioemqx.config.scan import KeyPath
from trioemqx.config.schema import Branch, Free, Leaf, Path, Section, Setting, leaves, specs
from trioemqx.errors import ConfigError

UNSET: Final = object()
BESIDE: Final = ""
"""In a free table: the key of a value that was written for the table itself, as `EMQX_AUTH__JWT__VERIFY_CLAIMS=on` is
beside `EMQX_AUTH__JWT__VERIFY_CLAIMS__SUB=%c`."""
_STRENGTH: Final = {"saved": 1, "environment": 2}


@attrs.frozen
class Origin:
    """Where a value was set.

    `layer` is `default`, `file`, `saved` or `environment`; `where` is `file:line` or the variable's name; `below` is
    the raw value of the file that this one covers, `UNSET` when there is none.
    """

    layer: str
    where: str = ""
    below: object = UNSET

    @property
    def source(self) -> str:
        """What an error message starts with."""
        return {"file": self.where, "saved": "saved override", "environment": f"environment {self.where}"}.get(
            self.layer, self.where
        )


@attrs.frozen
class Raw:
    """A value as it was written. `textual` marks text of the environment, `unchecked` values of free tables."""

    value: Any
    origin: Origin
    textual: bool = False
    unchecked: bool = False


def no_line(_path: KeyPath) -> str:
    """The `where` of a source that has no lines."""
    return ""


class Draft:
    """Layers are added from the weakest to the strongest; `finish` checks every value and builds the Config."""

    def __init__(self) -> None:
        self.raw: dict[Path, Raw] = {}
        self.tables: dict[Path, None] = {}
        self.errors: list[ConfigError] = []
        self.warnings: list[str] = []

    # Adding

    def add_tree(self, tree: Mapping[str, object], layer: str, where: Callable[[KeyPath], str] = no_line) -> None:
        """Put all keys of a nested mapping over what is there; unknown keys become errors."""
        self._add_table(tree, schema(), (), layer, where)

    def put(self, path: Path, value: object, layer: str, where: str, *, textual: bool = False) -> None:
        """Put one value over what is there."""
        for length in range(1, len(path)):
            self.tables.setdefault(path[:length])
        covered = self.raw.get(path)
        below = UNSET
        if covered is not None:
            below = covered.value if covered.origin.layer in ("file", "given") else covered.origin.below
        self.raw[path] = Raw(value, Origin(layer, where, below), textual, find(path) is None)

    def names(self, at: Path) -> list[str]:
        """The names that stand directly under the table `at`, in order."""
        return [path[-1] for path in self.tables if len(path) == len(at) + 1 and path[:-1] == at]

    def _add_table(
        self, table: Mapping[str, object], branch: Branch, at: Path, layer: str, where: Callable[[KeyPath], str]
    ) -> None:
        for name, value in table.items():
            path = (*at, name)
            node = branch.step(name)
            source = where(path)
            if isinstance(node, Leaf):
                self.put(path, value, layer, source)
            elif isinstance(node, Branch) and isinstance(value, Mapping):
                if branch.wildcard is node and not good_name(name):
                    self._fail("a name may hold letters, digits, - and _", path, layer, source)
                self.tables.setdefault(path)
                self._add_table(value, node, path, layer, where)
            elif isinstance(node, Branch) and node.shorthand:
                self.put((*path, node.shorthand), value, layer, source)
            elif isinstance(node, Branch):
                self._fail(f"expected a table, got {value!r:.80}", path, layer, source)
            elif branch.free and (isinstance(value, Mapping) or not branch.children):
                self._add_free(value, path, layer, where)
            else:
                self._fail("unknown key", path, layer, source, nearest(path, branch))

    def _add_free(self, value: object, path: Path, layer: str, where: Callable[[KeyPath], str]) -> None:
        if not isinstance(value, Mapping):
            self.put(path, value, layer, where(path))
            return
        self.tables.setdefault(path)
        for name, inner in value.items():
            self._add_free(inner, (*path, name), layer, where)

    def _fail(self, text: str, path: Path, layer: str, where: str, hint: str = "") -> None:
        self.errors.append(ConfigError(text, ".".join(path), Origin(layer, where).source, hint))

    # Building

    def build(self) -> tuple[Config, dict[str, Origin]]:
        """The Config of all valid values (invalid ones become errors and take their defaults), and the origins."""
        values = {}
        for path, raw in self.raw.items():
            try:
                values[path] = self._parse(path, raw)
            except ValueError as problem:
                self.errors.append(ConfigError(str(problem), ".".join(path), raw.origin.source))
        origins = {".".join(path): raw.origin for path, raw in self.raw.items()}
        return self._assemble(Config, (), values), origins

    def _parse(self, path: Path, raw: Raw) -> object:
        setting = find(path)
        if setting is None or raw.unchecked:
            return raw.value
        value = setting.kind.read(raw.value) if raw.textual else raw.value
        try:
            return setting.kind.parse(value)
        except ValueError:
            if setting.secret:
                raise ValueError("not a valid value (it is secret and not shown)") from None
            raise

    def _assemble(self, cls: type, at: Path, values: dict[Path, object], **given: object) -> Any:
        """An instance of `cls` from the values under `at`."""
        found: dict[str, object] = dict(given)
        for attribute, spec in specs(cls):
            here = (*at, *spec.key)
            if isinstance(spec, Setting):
                if here in values:
                    found[attribute] = values[here]
            elif isinstance(spec, Free):
                found[attribute] = self._free_table(here, values)
            elif spec.how == "section":
                found[attribute] = self._assemble(spec.cls, here, values)
            elif spec.how == "named":
                found[attribute] = {name: self._assemble(spec.cls, (*here, name), values) for name in self.names(here)}
            else:
                found[attribute] = list(self._listeners(spec, here, values))
        return cls(**found)

    def _listeners(self, spec: Section, here: Path, values: dict[Path, object]) -> Iterator[object]:
        branch = find_branch(here)
        for kind in branch.children if branch is not None else ():
            for name in self.names((*here, kind)):
                yield self._assemble(spec.cls, (*here, kind, name), values, kind=kind, name=name)

    def _free_table(self, here: Path, values: dict[Path, object]) -> dict[str, Any]:
        """The tables under `here` as they were written, without the keys that the schema knows. A value that is a table
        as well stands in it under `BESIDE`."""
        branch = find_branch(here)
        known = branch.children if branch is not None else {}
        depth = len(here)
        paths = [
            path
            for path in [*self.tables, *values]
            if len(path) > depth and path[:depth] == here and path[depth] not in known
        ]
        below = self._strongest_below([path for path in paths if path in values], depth)
        covering = {path for path in below if path in values and self._covers(path, below[path])}
        root: dict[str, Any] = {}
        for path in paths:
            if any(path[:length] in covering for length in range(depth + 1, len(path))):
                continue
            table = root
            for name in path[depth:-1]:
                table = table.setdefault(name, {})
            if path not in values:
                table.setdefault(path[-1], {})
            elif path not in below or path in covering:
                table[path[-1]] = values[path]
            elif self._strength(path) >= below[path]:
                table.setdefault(path[-1], {})[BESIDE] = values[path]
        return root

    def _strength(self, path: Path) -> int:
        return _STRENGTH.get(self.raw[path].origin.layer, 0)

    def _strongest_below(self, paths: list[Path], depth: int) -> dict[Path, int]:
        """The strength of the strongest value below each path that has any."""
        found: dict[Path, int] = {}
        for path in paths:
            for length in range(depth + 1, len(path)):
                found[path[:length]] = max(found.get(path[:length], 0), self._strength(path))
        return found

    def _covers(self, path: Path, below: int) -> bool:
        """Whether a value takes the place of a weaker table. One that reads like a flag stands beside it: `on` must not
        empty the table that it switches on."""
        return self._strength(path) > below and not reads_as_flag(self.raw[path].value)


def reads_as_flag(value: object) -> bool:
    """Whether a value says on or off."""
    return isinstance(value, bool) or str(value).strip().lower() in ("on", "off", "true", "false")


def good_name(name: str) -> bool:
    """True for a name that can be a listener, zone or group: it becomes part of key paths and identifiers."""
    return 0 < len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


def find_branch(path: Path) -> Branch | None:
    """The table of the schema at a key path."""
    node: Branch | Leaf | None = schema()
    for name in path:
        node = node.step(name) if isinstance(node, Branch) else None
    return node if isinstance(node, Branch) else None


def find(path: Path) -> Setting | None:
    """The setting at a key path; None when the schema does not know it."""
    parent = find_branch(path[:-1])
    node = parent.step(path[-1]) if parent is not None else None
    return node.setting if isinstance(node, Leaf) else None


def nearest(path: Path, branch: Branch) -> str:
    """`did you mean ...?` for an unknown key: among its neighbours first, then a key of the same name elsewhere."""
    close = get_close_matches(path[-1], list(branch.children), 1, 0.6)
    if close:
        return f"did you mean {close[0]}?"
    elsewhere = [".".join(key) for key, _setting in leaves(schema()) if key[-1] == path[-1]]
    return f"did you mean {elsewhere[0]}?" if elsewhere else ""
