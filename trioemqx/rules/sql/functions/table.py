"""How functions are declared, found and called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import attrs

from trioemqx.rules.sql.values import Value, value_from

F = TypeVar("F", bound=Callable[..., Value])


@attrs.frozen
class Function:
    """A function of the language.

    `call` gets what is in `columns` (as they are in scope), then the owner of the event if `owner` is true, then the
    arguments: at least `least`, at most `most` (None: any number). It raises EvalError for arguments of the wrong kind.
    `signature` and `doc` are for people: `pad(s, len[, dir[, chars]])`.
    """

    name: str
    call: Callable[..., Value]
    least: int
    most: int | None
    signature: str
    doc: str
    columns: tuple[str, ...] = ()
    owner: bool = False

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments."""
        return count >= self.least and (self.most is None or count <= self.most)


def declare(
    signature: str, call: Callable[..., Value], columns: tuple[str, ...] = (), owner: bool = False, doc: str = ""
) -> Function:
    """A function from a Python one: how many arguments it takes is read off that, `doc` is the first paragraph of its
    docstring unless given."""
    parameters = list(inspect.signature(call).parameters.values())[len(columns) + owner :]
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return Function(
        name=signature.partition("(")[0],
        call=call,
        least=len(needed),
        most=None if many else len(parameters),
        signature=signature,
        doc=doc or " ".join((inspect.getdoc(call) or "").split("\n\n")[0].split()),
        columns=columns,
        owner=owner,
    )


def from_outside(signature: str, call: Callable[..., Any], doc: str = "") -> Function:
    """A function of a plugin: whatever it gives is made a value, tuples are lists and None is JSON null."""

    def checked(*arguments: Value) -> Value:
        return value_from(call(*arguments))

    return attrs.evolve(declare(signature, call, doc=doc), call=checked)


class Family:
    """The functions of one file, in order, under a heading."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.functions: list[Function] = []

    def add(self, signature: str, columns: tuple[str, ...] = (), owner: bool = False) -> Callable[[F], F]:
        """Declares the function below it. Several signatures may stand above one function."""

        def keep(call: F) -> F:
            self.functions.append(declare(signature, call, columns, owner))
            return call

        return keep


class Functions:
    """All functions by name."""

    def __init__(self, functions: Iterable[Function] = ()) -> None:
        self._table: dict[str, Function] = {}
        for function in functions:
            self.add(function)

    def add(self, function: Function) -> None:
        """Add one. Raises ValueError when the name is taken."""
        if function.name in self._table:
            raise ValueError(f"there is a function {function.name} already")
        self._table[function.name] = function

    def remove(self, name: str) -> None:
        """Take one out; rules that are compiled already keep it."""
        self._table.pop(name, None)

    def get(self, name: str) -> Function | None:
        """The function of a name."""
        return self._table.get(name)

    def __iter__(self) -> Iterator[Function]:
        return iter(self._table.values())

    def __len__(self) -> int:
        return len(self._table)
