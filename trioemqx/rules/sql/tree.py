"""What a rule's text means: one small class per thing that can be written.

`at` is where it stands, `depth` how many levels it has below it; both are kept because the text is foreign: errors name
the place, and everything that walks a tree may recurse.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from trioemqx.rules.sql.paths import Place
from trioemqx.rules.sql.values import Value


@attrs.frozen
class At:
    """Line and column, from 1."""

    line: int
    column: int


@attrs.frozen(kw_only=True)
class Node:
    """What all have in common."""

    at: At
    depth: int = 1


@attrs.frozen
class Const(Node):
    """A text, a number, true or false."""

    value: Value


@attrs.frozen
class RangeOf(Node):
    """`[begin..end]`, a list of integers."""

    begin: int
    end: int


@attrs.frozen
class Path(Node):
    """A column or alias, and the way inside it: keys, fixed indexes (HEAD and TAIL are `[0]` and `[-0]`), and paths
    whose values are indexes."""

    name: str
    steps: tuple[Place | Path, ...] = ()


@attrs.frozen
class Slice(Node):
    """`path[begin..end]`."""

    path: Path
    begin: int
    end: int


@attrs.frozen
class ListOf(Node):
    """`[a, b]`."""

    items: tuple[Node, ...]


@attrs.frozen
class Call(Node):
    """A function by its name. A dotted name has no function."""

    name: str
    arguments: tuple[Node, ...]


@attrs.frozen
class Case(Node):
    """`CASE` with conditions, or with a `subject` that is compared with values."""

    subject: Node | None
    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@attrs.frozen
class Chain(Node):
    """Operators of one level, worked off from the left: `first`, then each operator with its right side."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@attrs.frozen
class Signed(Node):
    """Unary `+` or `-`."""

    sign: str
    operand: Node


@attrs.frozen
class Compare(Node):
    """Two values and `=`, `!=`, `<>`, `<`, `>`, `<=`, `>=`, `=~` or `~=`."""

    operator: str
    left: Node
    right: Node


@attrs.frozen
class Among(Node):
    """`IN` and `NOT IN`."""

    left: Node
    items: tuple[Node, ...]
    negated: bool


@attrs.frozen
class Both(Node):
    """`AND` of two or more."""

    items: tuple[Node, ...]


@attrs.frozen
class Either(Node):
    """`OR` of two or more."""

    items: tuple[Node, ...]


@attrs.frozen
class Negated(Node):
    """`NOT`."""

    operand: Node


@attrs.frozen
class Group(Node):
    """A condition in parentheses. Other things in parentheses are just themselves."""

    inner: Node


CONDITIONS = (Compare, Among, Both, Either, Negated, Group)
"""What is true or false whatever its parts are."""


@attrs.frozen
class Star(Node):
    """`*`: all columns and aliases."""


@attrs.frozen
class Field(Node):
    """A value and its alias. `beside` is true for an alias without AS."""

    value: Node
    alias: Path | None = None
    beside: bool = False


Fields: TypeAlias = tuple[Star | Field, ...]


@attrs.frozen
class Select(Node):
    """`SELECT fields FROM topics WHERE where`."""

    fields: Fields
    topics: tuple[str, ...]
    where: Node | None


@attrs.frozen
class Foreach(Node):
    """`FOREACH fields DO do INCASE incase FROM topics WHERE where`."""

    fields: Fields
    do: Fields | None
    incase: Node | None
    topics: tuple[str, ...]
    where: Node | None


Statement: TypeAlias = Select | Foreach
