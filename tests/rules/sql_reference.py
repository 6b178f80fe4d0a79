"""A second evaluator, slow and simple: it walks the tree with dictionaries for scope and output.

The generated functions are compared with it. It shares their operators and functions, and nothing about scopes, order,
short cuts and loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trioemqx.rules.sql import UNDEFINED, EvalError, Functions, tree
from trioemqx.rules.sql.compare import member, same
from trioemqx.rules.sql.expressions import COMPARISONS, OPERATORS
from trioemqx.rules.sql.operators import negative
from trioemqx.rules.sql.paths import decode_payload, get_index, get_key, get_slice, make_range, place_of, put
from trioemqx.rules.sql.rule import Output

Scope = dict[str, Any]
METADATA = {"rule_id": "rule:1"}


class Reference:
    """Evaluates one statement for one event. Raises EvalError like a rule."""

    def __init__(self, statement: tree.Statement, functions: Functions, columns: Scope) -> None:
        self.statement = statement
        self.functions = functions
        self.columns = {**columns, "metadata": METADATA}

    def run(self) -> Output | list[Output] | None:
        try:
            if isinstance(self.statement, tree.Foreach):
                return self._foreach(self.statement)
            scope = dict(self.columns)
            output = self._fields(self.statement.fields, scope)
            return output if self._passes(self.statement.where, scope) else None
        except (ArithmeticError, RecursionError) as error:
            raise EvalError(str(error)) from error

    def _passes(self, condition: tree.Node | None, scope: Scope) -> bool:
        return condition is None or self.condition(condition, scope)

    # -- fields

    def _fields(self, fields: tree.Fields, scope: Scope) -> Output:
        output: Output = {}
        for number, field in enumerate(fields):
            if isinstance(field, tree.Star):
                output.update(scope)
                continue
            value = self.value(field.value, scope)
            target = field.alias or self._target(field.value, number)
            places = self._places(target, scope)
            self._write(scope, target.name, places, value)
            self._write(output, target.name, places, value)
        return output

    def _target(self, node: tree.Node, number: int) -> tree.Path:
        if isinstance(node, tree.Slice):
            return node.path
        if isinstance(node, tree.Const) and isinstance(node.value, str):
            return tree.Path(at=node.at, name=node.value)
        if isinstance(node, tree.Path):
            return node
        kinds = {tree.Call: "fun", tree.Case: "case", tree.Const: "const", tree.ListOf: "list", tree.RangeOf: "range"}
        return tree.Path(at=node.at, name=f"_v_{kinds.get(type(node), 'op')}_{number}")

    def _places(self, target: tree.Path, scope: Scope) -> tuple[Any, ...]:
        return tuple(place_of(self.path(step, scope)) if isinstance(step, tree.Path) else step for step in target.steps)

    def _write(self, into: Scope, name: str, places: tuple[Any, ...], value: Any) -> None:
        if places and name == "payload" and name in into:
            into[name] = decode_payload(into[name])
        into[name] = put(into.get(name, UNDEFINED), places, value)

    # -- FOREACH

    def _foreach(self, statement: tree.Foreach) -> list[Output] | None:
        scope, selected = dict(self.columns), {}
        found: Any = UNDEFINED
        for number, field in enumerate(statement.fields):
            assert isinstance(field, tree.Field)
            found = self.value(field.value, scope)
            target = field.alias or self._target(field.value, number)
            below = target.name == "payload" and bool(target.steps)
            if below and field.alias is None:
                continue
            places = self._places(target, scope)
            self._write(scope, target.name, places, found)
            if below:
                selected["payload"] = scope["payload"]
            else:
                self._write(selected, target.name, places, found)
        outer = {**self.columns, **selected}
        if not self._passes(statement.where, outer):
            return None
        alias = statement.fields[-1].alias  # type: ignore[union-attr]
        name = alias.name if alias is not None and not alias.steps else "item"
        results: list[Output] = []
        for element in found if isinstance(found, list) else []:
            inner = {**outer, name: element}
            if self._passes(statement.incase, inner):
                results.append(inner if statement.do is None else self._fields(statement.do, inner))
        return results

    # -- values

    def path(self, path: tree.Path, scope: Scope) -> Any:
        value = scope.get(path.name, UNDEFINED)
        if path.name == "payload" and path.steps:
            root = decode_payload(value)
            return self._walk(root, path.steps, lambda index: self._inside(index, root))
        return self._walk(value, path.steps, lambda index: self.path(index, scope))

    def _inside(self, index: tree.Path, root: Any) -> Any:
        """An index of a path below the payload belongs to the payload."""
        return self._walk(get_key(root, index.name), index.steps, lambda inner: self._inside(inner, root))

    def _walk(self, value: Any, steps: tuple[Any, ...], look_up: Callable[[tree.Path], Any]) -> Any:
        for step in steps:
            if isinstance(step, str):
                value = get_key(value, step)
            elif isinstance(step, tree.Path):
                value = get_index(value, look_up(step))
            else:
                value = get_index(value, step if isinstance(step, int) else 0)
        return value

    def value(self, node: tree.Node, scope: Scope) -> Any:
        match node:
            case tree.Const():
                return node.value
            case tree.Path():
                return self.path(node, scope)
            case tree.Chain():
                value = self.value(node.first, scope)
                for operator, right in node.rest:
                    value = OPERATORS[operator](value, self.value(right, scope))
                return value
            case tree.Signed():
                value = self.value(node.operand, scope)
                return value if node.sign == "+" else negative(value)
            case tree.ListOf():
                return [self.value(item, scope) for item in node.items]
            case tree.RangeOf():
                return make_range(node.begin, node.end)
            case tree.Slice():
                return get_slice(self.path(node.path, scope), node.begin, node.end)
            case tree.Call():
                return self._call(node, scope)
            case tree.Case():
                return self._case(node, scope)
        return self.condition(node, scope)

    def _call(self, node: tree.Call, scope: Scope) -> Any:
        arguments = [self.value(argument, scope) for argument in node.arguments]
        function = self.functions.get(node.name)
        if function is None or not function.takes(len(arguments)):
            raise EvalError("no function")
        owner = [""] if function.owner else []
        return function.call(*(scope.get(name, UNDEFINED) for name in function.columns), *owner, *arguments)

    def _case(self, node: tree.Case, scope: Scope) -> Any:
        subject = None if node.subject is None else self.value(node.subject, scope)
        for wanted, value in node.branches:
            if node.subject is None:
                chosen = self.condition(wanted, scope, strict=False)
            else:
                chosen = same(subject, self.value(wanted, scope))
            if chosen:
                return self.value(value, scope)
        return UNDEFINED if node.otherwise is None else self.value(node.otherwise, scope)

    # -- conditions

    def condition(self, node: tree.Node, scope: Scope, strict: bool = True) -> bool:
        match node:
            case tree.Group():
                return self.condition(node.inner, scope, strict)
            case tree.Both():
                return all(self.condition(item, scope, strict) for item in node.items)
            case tree.Either():
                return any(self.condition(item, scope, strict) for item in node.items)
            case tree.Negated():
                if isinstance(node.operand, tree.CONDITIONS):
                    return not self.condition(node.operand, scope, strict)
                return self.value(node.operand, scope) is False
            case tree.Compare():
                left, right = self.value(node.left, scope), self.value(node.right, scope)
                return COMPARISONS[node.operator](left, right)
            case tree.Among():
                left = self.value(node.left, scope)
                return member(left, [self.value(item, scope) for item in node.items]) is not node.negated
        value = self.value(node, scope)
        if strict and isinstance(node, tree.Call) and not isinstance(value, bool):
            raise EvalError("not a boolean")
        return value is True
