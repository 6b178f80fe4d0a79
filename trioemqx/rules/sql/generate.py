"""A whole rule as Python: which columns and aliases a field sees, what it writes where, loops, results.

Which alias hides which column is known from the text, so nothing of that is left at run time: scope and output are
tables of variables here, and a column that is only selected is not even fetched before WHERE has let the event pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from trioemqx.rules.sql import tree
from trioemqx.rules.sql.code import Code
from trioemqx.rules.sql.columns import PAYLOAD
from trioemqx.rules.sql.expressions import COLUMNS, UNDEFINED_NAME, Expressions
from trioemqx.rules.sql.functions.table import Functions
from trioemqx.rules.sql.meter import check_items, meter, spend
from trioemqx.rules.sql.paths import place_of, put
from trioemqx.rules.sql.values import Value

ITEM: Final = "item"
"""What FOREACH calls an element without an alias."""
METADATA: Final = "metadata"
EMPTY: Final[list[Value]] = []
_KINDS: Final = {tree.Call: "fun", tree.Case: "case", tree.Const: "const", tree.ListOf: "list", tree.RangeOf: "range"}


def loop_over(value: Value, units: int) -> list[Value]:
    """The elements of a FOREACH; what is not a list has none. `units` is the work that one element makes."""
    if not isinstance(value, list):
        return EMPTY
    check_items(len(value))
    spend(len(value) * units)
    return value


class Generator:
    """Writes one statement into `code`. `used` are the columns it may read, `uses_all` whether that is all of them."""

    def __init__(self, functions: Functions, metadata: Mapping[str, Value]) -> None:
        self.code = Code()
        self.write = Expressions(self.code, functions)
        self.write.scope = {METADATA: self.code.constant(dict(metadata))}
        self.uses_all = False
        self.code.namespace["meter"] = meter

    def statement(self, statement: tree.Statement) -> None:
        """The body of the function."""
        self.code.line("meter.left = meter.work")
        if isinstance(statement, tree.Foreach):
            self._foreach(statement)
        else:
            output = self._fields(statement.fields, "SELECT")
            self._where(statement.where)
            self.code.line(f"return {output}")

    def _where(self, condition: tree.Node | None) -> None:
        if condition is not None:
            self.code.mark = "WHERE"
            self.code.line(f"if not {self.write.condition(condition)}: return None")

    # -- lists of fields

    def _fields(self, fields: tree.Fields, clause: str) -> str:
        """Evaluate fields in order; gives the expression that makes the output."""
        self.code.mark = clause
        output: dict[str, str] = {}
        everything = False
        for number, field in enumerate(fields):
            if isinstance(field, tree.Star):
                everything, output = True, dict(self.write.scope)
                continue
            binding = self._binding(field.value)
            target = field.alias or self._own_target(field.value, number)
            self._assign(target, binding, output, everything)
        return self._map(output, everything)

    def _binding(self, node: tree.Node) -> str:
        """A column that is only passed on is not fetched yet."""
        if isinstance(node, tree.Path) and not node.steps:
            return self.write.binding(node.name)
        return self.write.value(node)

    def _own_target(self, node: tree.Node, number: int) -> tree.Path:
        """Where a field without alias goes."""
        if isinstance(node, tree.Path):
            return node
        if isinstance(node, tree.Slice):
            return node.path
        if isinstance(node, tree.Const) and isinstance(node.value, str):
            return tree.Path(at=node.at, name=node.value)
        return tree.Path(at=node.at, name=f"_v_{_KINDS.get(type(node), 'op')}_{number}")

    def _assign(self, target: tree.Path, binding: str, output: dict[str, str], everything: bool) -> None:
        """Write a value under its target into scope and output."""
        scope, name = self.write.scope, target.name
        if not target.steps:
            scope[name] = output[name] = binding
            return
        before = self.write.binding(name)
        there = output.get(name, before if everything else UNDEFINED_NAME)
        value, places = self.write.load(binding), self._places(target.steps)
        scope[name] = self._put(name, before, places, value)
        output[name] = scope[name] if there == before else self._put(name, there, places, value)

    def _put(self, name: str, before: str, places: str, value: str) -> str:
        """A target below the payload makes it its decoded JSON."""
        inside = name == PAYLOAD and before != UNDEFINED_NAME
        base = self.write.payload(before) if inside else self.write.load(before)
        return self.code.let(f"{self.code.helper(put)}({base}, {places}, {value})")

    def _places(self, steps: tuple[object, ...]) -> str:
        names = []
        for step in steps:
            if isinstance(step, tree.Path):
                names.append(f"{self.code.helper(place_of)}({self.write.path(step)})")
            else:
                names.append(self.code.constant(step))
        return f"({', '.join(names)},)"

    def _map(self, output: dict[str, str], everything: bool) -> str:
        """An expression for the output."""
        members = [f"{self.code.constant(name)}: {binding}" for name, binding in output.items()]
        if everything:
            self.uses_all = True
            members.insert(0, f"**{COLUMNS}.everything()")
        return f"{{{', '.join(members)}}}"

    # -- FOREACH

    def _foreach(self, statement: tree.Foreach) -> None:
        self.code.mark = "FOREACH"
        scope = dict(self.write.scope)
        selected: dict[str, str] = {}
        collection = ""
        for number, field in enumerate(statement.fields):
            assert isinstance(field, tree.Field)
            binding = self._binding(field.value)
            collection = self.write.load(binding)
            self._select(field, number, binding, selected)
        self.write.scope = scope | selected
        self._where(statement.where)
        last = statement.fields[-1]
        assert isinstance(last, tree.Field)
        element = last.alias.name if last.alias is not None and not last.alias.steps else ITEM
        self._loop(statement, collection, element)

    def _select(self, field: tree.Field, number: int, binding: str, selected: dict[str, str]) -> None:
        """What an expression of FOREACH leaves behind. Without an alias the payload stays whole."""
        target = field.alias or self._own_target(field.value, number)
        below_payload = target.name == PAYLOAD and bool(target.steps)
        if below_payload and field.alias is None:
            return
        self._assign(target, binding, selected, everything=False)
        if below_payload:
            selected[PAYLOAD] = self.write.scope[PAYLOAD]

    def _loop(self, statement: tree.Foreach, collection: str, element: str) -> None:
        code = self.code
        code.mark = "FOREACH"
        parts = [field.value for field in statement.do or () if isinstance(field, tree.Field)]
        units = 2 + sum(size(node) for node in [*parts, statement.incase] if node is not None)
        elements = code.let(f"{code.helper(loop_over)}({collection}, {code.constant(units)})")
        results, variable = code.let("[]"), code.variable()
        with code.block(f"for {variable} in {elements}:"):
            self.write.scope[element] = variable
            if statement.incase is not None:
                code.mark = "INCASE"
                code.line(f"if not {self.write.condition(statement.incase)}: continue")
            if statement.do is None:
                output = self._map(self.write.scope, everything=True)
            else:
                output = self._fields(statement.do, "DO")
            code.line(f"{results}.append({output})")
        code.line(f"return {results}")


def size(node: object) -> int:
    """How many things a part of a tree consists of."""
    if isinstance(node, tuple):
        return sum(size(member) for member in node)
    if not isinstance(node, tree.Node):
        return 0
    parts = (field.name for field in attrs.fields(type(node)))
    return 1 + sum(size(getattr(node, name)) for name in parts)
