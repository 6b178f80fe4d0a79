"""Values and conditions as Python: each method writes what has to be computed and gives the name of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioemqx.rules.sql import compare, operators, tree
from trioemqx.rules.sql.code import Code
from trioemqx.rules.sql.columns import PAYLOAD
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.table import Function, Functions
from trioemqx.rules.sql.paths import decode_payload, get_index, get_key, get_slice, make_range
from trioemqx.rules.sql.values import UNDEFINED, Value, kind

COMPARISONS: Final[dict[str, Callable[[Value, Value], bool]]] = {
    "=": compare.eq,
    "!=": compare.ne,
    "<>": compare.ne,
    "<": compare.lt,
    ">": compare.gt,
    "<=": compare.le,
    ">=": compare.ge,
    "=~": compare.topic_match,
    "~=": compare.unknown_comparison,
}
OPERATORS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "+": operators.add,
    "-": operators.subtract,
    "*": operators.multiply,
    "/": operators.divide,
    "div": operators.quotient,
    "mod": operators.remainder,
}
_PYTHON: Final = {"=": "==", "!=": "!=", "<>": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_MIRRORED: Final = {"=": "=", "!=": "!=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
UNDEFINED_NAME: Final = "U"
COLUMNS: Final = "c"
"""The argument of the function."""


def need_boolean(value: Value) -> bool:
    """What a function used as a condition gave. Raises EvalError unless it is true or false."""
    if value is True or value is False:
        return value
    raise EvalError(f"a function used as a condition has to give true or false, not {kind(value)}")


def no_function(name: str, *arguments: Value) -> Value:
    """Called instead of a function that there is not. Raises EvalError."""
    raise EvalError(f"there is no function {name} with {len(arguments)} arguments")


class Expressions:
    """Writes into `code`. `scope` holds what aliases and columns are at the moment: a name, or how to get it."""

    def __init__(self, code: Code, functions: Functions) -> None:
        self.code = code
        self.functions = functions
        self.scope: dict[str, str] = {}
        self.used: set[str] = set()
        code.namespace[UNDEFINED_NAME] = UNDEFINED
        self._calls_must_be_boolean = True

    # -- columns and paths

    def binding(self, name: str) -> str:
        """How to get a column or an alias; nothing is computed yet."""
        found = self.scope.get(name)
        return self.column(name) if found is None else found

    def column(self, name: str) -> str:
        """How to get a column of the event."""
        self.used.add(name)
        return self._fetch(name)

    def _fetch(self, name: str) -> str:
        return f"{COLUMNS}[{self.code.constant(name)}]"

    def load(self, binding: str) -> str:
        """The variable with what a binding stands for."""
        return binding if binding.isidentifier() else self.code.once(binding)

    def payload(self, binding: str) -> str:
        """The decoded payload."""
        if binding == self._fetch(PAYLOAD):
            return self.code.once(f"{COLUMNS}.decoded()")
        return self.code.once(f"{self.code.helper(decode_payload)}({self.load(binding)})")

    def path(self, path: tree.Path) -> str:
        """Read along a path. Names inside its indexes belong to the payload when the path begins there."""
        if not path.steps:
            return self.load(self.binding(path.name))
        if path.name == PAYLOAD:
            root = self.payload(self.binding(PAYLOAD))
            return self.walk(root, path.steps, root)
        return self.walk(self.load(self.binding(path.name)), path.steps, None)

    def walk(self, value: str, steps: tuple[object, ...], payload: str | None) -> str:
        """Follow steps; `payload` is where the names of indexes are looked up, if not among the columns."""
        for step in steps:
            if isinstance(step, str):
                value = self._member(value, step)
            elif isinstance(step, tree.Path):
                value = self.code.once(f"{self.code.helper(get_index)}({value}, {self.index(step, payload)})")
            else:
                place = step if isinstance(step, int) else 0
                value = self.code.once(f"{self.code.helper(get_index)}({value}, {self.code.constant(place)})")
        return value

    def _member(self, value: str, key: str) -> str:
        """A dictionary is looked into at once, which saves most of the time."""
        name = self.code.constant(key)
        return self.code.once(
            f"{value}.get({name}, U) if {value}.__class__ is dict else {self.code.helper(get_key)}({value}, {name})"
        )

    def index(self, path: tree.Path, payload: str | None) -> str:
        """The value of a path that is used as an index."""
        if payload is None:
            return self.path(path)
        return self.walk(self._member(payload, path.name), path.steps, payload)

    # -- values

    def value(self, node: tree.Node) -> str:
        """Any value; also conditions, as true and false."""
        if isinstance(node, tree.Const):
            return self.code.constant(node.value)
        if isinstance(node, tree.Path):
            return self.path(node)
        if isinstance(node, tree.CONDITIONS):
            return self.condition(node)
        if isinstance(node, tree.Call):
            return self.call(node)
        return self._made(node)

    def _made(self, node: tree.Node) -> str:
        code = self.code
        if isinstance(node, tree.Chain):
            return self.chain(node)
        if isinstance(node, tree.Signed):
            operand = self.value(node.operand)
            return operand if node.sign == "+" else code.let(f"{code.helper(operators.negative)}({operand})")
        if isinstance(node, tree.ListOf):
            items = [self.value(item) for item in node.items]
            return code.let(f"[{', '.join(items)}]")
        if isinstance(node, tree.RangeOf):
            bounds = f"{code.constant(node.begin)}, {code.constant(node.end)}"
            return code.let(f"{code.helper(make_range)}({bounds})")
        if isinstance(node, tree.Slice):
            bounds = f"{code.constant(node.begin)}, {code.constant(node.end)}"
            return code.let(f"{code.helper(get_slice)}({self.path(node.path)}, {bounds})")
        assert isinstance(node, tree.Case)
        return self.case(node)

    def chain(self, node: tree.Chain) -> str:
        """Operators of one level, from the left."""
        result = self.value(node.first)
        for operator, operand in node.rest:
            right = self.value(operand)
            result = self.code.let(f"{self.code.helper(OPERATORS[operator])}({result}, {right})")
        return result

    def call(self, node: tree.Call) -> str:
        """A function; one that is not there, or not with so many arguments, fails when the rule runs."""
        code = self.code
        arguments = [self.value(argument) for argument in node.arguments]
        function = self.functions.get(node.name)
        outer, code.mark = code.mark, f"{code.mark}, in {node.name[:60]}()"
        if function is None or not function.takes(len(arguments)):
            result = code.let(f"{code.helper(no_function)}({', '.join([code.constant(node.name), *arguments])})")
        else:
            given = [*self._extra(function), *arguments]
            result = code.let(f"{code.constant(function.call)}({', '.join(given)})")
        code.mark = outer
        return result

    def _extra(self, function: Function) -> list[str]:
        """What a function gets besides its arguments: columns as they are in scope, and whose event it is."""
        columns = [self.load(self.binding(name)) for name in function.columns]
        return [*columns, f"{COLUMNS}.owner"] if function.owner else columns

    def case(self, node: tree.Case) -> str:
        """The branches one after the other, each only while no earlier one was chosen."""
        code = self.code
        subject = None if node.subject is None else self.value(node.subject)
        result, waiting = code.variable(), code.variable()
        code.line(f"{result} = U")
        code.line(f"{waiting} = 1")
        for wanted, value in node.branches:
            with code.block(f"if {waiting}:"):
                chosen = self._when(wanted, subject)
                with code.block(f"if {chosen}:"):
                    code.line(f"{waiting} = 0")
                    code.line(f"{result} = {self.value(value)}")
        if node.otherwise is not None:
            with code.block(f"if {waiting}:"):
                code.line(f"{result} = {self.value(node.otherwise)}")
        return result

    def _when(self, wanted: tree.Node, subject: str | None) -> str:
        if subject is not None:
            return self.code.let(f"{self.code.helper(compare.same)}({subject}, {self.value(wanted)})")
        outer, self._calls_must_be_boolean = self._calls_must_be_boolean, False
        chosen = self.condition(wanted)
        self._calls_must_be_boolean = outer
        return chosen

    # -- conditions

    def condition(self, node: tree.Node) -> str:
        """True or false. A value that is neither counts as false, a function's as an error except in WHEN."""
        if isinstance(node, tree.Group):
            return self.condition(node.inner)
        if isinstance(node, tree.Compare):
            return self.compare(node)
        if isinstance(node, tree.Both):
            return self._series(node.items, "if {}:")
        if isinstance(node, tree.Either):
            return self._series(node.items, "if not {}:")
        if isinstance(node, tree.Negated):
            return self._negated(node.operand)
        if isinstance(node, tree.Among):
            return self._among(node)
        value = self.value(node)
        if isinstance(node, tree.Call) and self._calls_must_be_boolean:
            return self.code.let(f"{self.code.helper(need_boolean)}({value})")
        return self.code.let(f"{value} is True")

    def _series(self, items: tuple[tree.Node, ...], go_on: str) -> str:
        """AND and OR, from the left, as far as needed."""
        result = self.code.variable()
        self.code.line(f"{result} = {self.condition(items[0])}")
        for item in items[1:]:
            with self.code.block(go_on.format(result)):
                self.code.line(f"{result} = {self.condition(item)}")
        return result

    def _negated(self, operand: tree.Node) -> str:
        if isinstance(operand, tree.CONDITIONS):
            return self.code.let(f"not {self.condition(operand)}")
        return self.code.let(f"{self.value(operand)} is False")

    def _among(self, node: tree.Among) -> str:
        left = self.value(node.left)
        if all(isinstance(item, tree.Const) for item in node.items):
            items = self.code.constant(tuple(item.value for item in node.items if isinstance(item, tree.Const)))
        else:
            items = f"({', '.join(self.value(item) for item in node.items)},)"
        negation = "not " if node.negated else ""
        return self.code.let(f"{negation}{self.code.helper(compare.member)}({left}, {items})")

    def compare(self, node: tree.Compare) -> str:
        """A comparison; with a constant on one side Python does it where the other side is of the same kind."""
        left, right = self.value(node.left), self.value(node.right)
        full = f"{self.code.helper(COMPARISONS[node.operator])}({left}, {right})"
        direct = _PYTHON.get(node.operator)
        constant = node.right if isinstance(node.right, tree.Const) else node.left
        if direct is None or not isinstance(constant, tree.Const):
            return self.code.let(full)
        other = left if constant is node.right else right
        if constant.value.__class__ is str:
            test = f"{other}.__class__ is str"
        elif constant.value.__class__ in (int, float):
            test = f"{other}.__class__ is int or {other}.__class__ is float"
        else:
            return self.code.let(full)
        return self.code.let(f"{left} {direct} {right} if {test} else {full}")
