"""Settings as metadata of attrs classes, and the tree of keys that is read off them.

The attrs classes are the schema. An attribute made by `setting` is one key; its dotted `key` may be longer than the
attribute's name (`rotation.size`). `section` nests a class under one table, `named` under every name a user gives
(`zone.<name>`), `free` holds tables that somebody else checks (`plugins.<name>`).

One tree of keys serves the file, the environment, saved overrides, `config show`, the reload diff and the reference
page. That is why values are checked leaf by leaf here and not by cattrs on a finished tree: each value may come from
another source, an error has to name that source, and two keys of the same Python type (a duration, a percentage) are
written differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import attrs

from trioemqx.config.fields import Kind, anything

Path = tuple[str, ...]

NAME: Final = "<name>"
"""Stands for a name the user chooses, in key paths of the schema."""

HIDDEN: Final = "******"
"""Shown in place of a secret."""

_SPEC: Final = "trioemqx"
_IN_URL: Final = re.compile(r"(://[^/?#@:\s]*:)[^/?#\s]+@")


def without_password(value: object) -> object:
    """A value as it may be shown: a URL without the password that is in it, everything else as it is."""
    return _IN_URL.sub(rf"\1{HIDDEN}@", value) if isinstance(value, str) else value


@attrs.frozen
class Setting:
    """One key: how it is written, what it means, and how a change is applied.

    `apply`: `live` takes effect on reload, `listener` needs the listener reopened, `restart` a new process.
    `only`: listener types that have the key, () for all. `used` False: accepted from EMQX, without effect here.
    `added` True: EMQX 4.4 has no such key. `required`: `default` never holds.
    `shorthand`: a plain value in place of the table means this key.
    """

    kind: Kind[Any]
    default: object
    doc: str
    key: Path
    apply: str
    only: Path
    example: object
    shorthand: bool = False
    secret: bool = False
    used: bool = True
    added: bool = False
    required: bool = False

    def show(self, value: object) -> object:
        """The value as a person would write it; None stays None, secrets become `******`."""
        if value is None:
            return self.kind.show(None) if self.kind.optional else None
        return HIDDEN if self.secret else without_password(self.kind.show(value))


@attrs.frozen
class Section:
    """A nested class: `how` is `section`, `named` or `listeners`."""

    cls: type
    key: Path
    how: str


@attrs.frozen
class Free:
    """A table whose content is not checked here."""

    key: Path


@attrs.define
class Leaf:
    """The end of a key path in the tree."""

    setting: Setting


@attrs.define
class Branch:
    """A table in the tree. `wildcard` is followed for names without a child of their own; `free` accepts anything."""

    children: dict[str, Branch | Leaf] = attrs.field(factory=dict)
    wildcard: Branch | None = None
    free: bool = False
    shorthand: str = ""

    def step(self, name: str) -> Branch | Leaf | None:
        """The node under `name`, or None when there is no such key."""
        return self.children.get(name) or self.wildcard


def setting(
    kind: Kind[Any],
    default: object,
    doc: str,
    *,
    key: str = "",
    apply: str = "live",
    only: Path = (),
    example: object = None,
    shorthand: bool = False,
    secret: bool = False,
    used: bool = True,
    added: bool = False,
    required: bool = False,
) -> Any:
    """An attrs attribute that is one key of the file; see `Setting` for the options."""
    path = tuple(key.split(".")) if key else ()
    spec = Setting(kind, default, doc, path, apply, only, example, shorthand, secret, used, added, required)
    # A secret must not get into logs and tracebacks with the repr of its class.
    return attrs.field(default=default, metadata={_SPEC: spec}, repr=_hidden if secret else True)


def _hidden(value: object) -> str:
    return "None" if value is None else HIDDEN


def unused(doc: str = "Belongs to Erlang.", *, key: str = "", only: Path = (), example: object = None) -> Any:
    """A key of EMQX that has no meaning outside Erlang: any value is accepted."""
    return setting(anything, None, doc, key=key, only=only, example=example, used=False, apply="restart")


def section(cls: type, key: str = "") -> Any:
    """An attribute that holds one nested class."""
    return attrs.field(factory=cls, metadata={_SPEC: Section(cls, tuple(key.split(".")) if key else (), "section")})


def named(cls: type, key: str = "") -> Any:
    """An attribute that holds a dict of nested classes by the user's names."""
    return attrs.field(factory=dict, metadata={_SPEC: Section(cls, tuple(key.split(".")) if key else (), "named")})


def listeners(cls: type) -> Any:
    """The attribute for `listener.<type>.<name>`: a list of `cls`."""
    return attrs.field(factory=list, metadata={_SPEC: Section(cls, ("listener",), "listeners")})


def free(key: str = "") -> Any:
    """An attribute that holds a dict of tables as they were written."""
    return attrs.field(factory=dict, metadata={_SPEC: Free(tuple(key.split(".")) if key else ())}, repr=False)


@cache
def specs(cls: type) -> tuple[tuple[str, Setting | Section | Free], ...]:
    """(attribute name, spec) of every configurable attribute of `cls`, with the key filled in."""
    found: list[tuple[str, Setting | Section | Free]] = []
    for field in attrs.fields(cls):
        spec = field.metadata.get(_SPEC)
        if spec is not None:
            found.append((field.name, spec if spec.key else attrs.evolve(spec, key=(field.name,))))
    return tuple(found)


def tree_of(cls: type, kinds: Path, kind: str = "") -> Branch:
    """The tree of keys under `cls`; `kinds` are the listener types, `kind` the one this subtree is for."""
    root = Branch()
    for _name, spec in specs(cls):
        if isinstance(spec, Setting):
            if not kind or not spec.only or kind in spec.only:
                _plant(root, spec)
        elif isinstance(spec, Free):
            parent = _parent(root, spec.key)
            branch = parent.children.setdefault(spec.key[-1], Branch())
            assert isinstance(branch, Branch)
            branch.free = True
        elif spec.how == "listeners":
            children: dict[str, Branch | Leaf] = {
                name: Branch(wildcard=tree_of(spec.cls, kinds, name)) for name in kinds
            }
            root.children[spec.key[0]] = Branch(children)
        else:
            below = tree_of(spec.cls, kinds)
            _parent(root, spec.key).children[spec.key[-1]] = Branch(wildcard=below) if spec.how == "named" else below
    return root


def _parent(root: Branch, key: Path) -> Branch:
    """The branch that holds the last part of `key`, made on the way."""
    node = root
    for part in key[:-1]:
        child = node.children.setdefault(part, Branch())
        assert isinstance(child, Branch)
        node = child
    return node


def _plant(root: Branch, spec: Setting) -> None:
    parent = _parent(root, spec.key)
    parent.children[spec.key[-1]] = Leaf(spec)
    if spec.shorthand:
        parent.shorthand = spec.key[-1]


def leaves(branch: Branch, at: Path = ()) -> Iterator[tuple[Path, Setting]]:
    """Every key of the tree with its setting; names the user chooses appear as `<name>`."""
    for name, node in branch.children.items():
        if isinstance(node, Leaf):
            yield (*at, name), node.setting
        else:
            yield from leaves(node, (*at, name))
    if branch.wildcard is not None:
        yield from leaves(branch.wildcard, (*at, NAME))
