"""The text of the one Python function that a rule becomes, line by line.

Nothing of a rule's text ever gets into it: names, texts and numbers are bound to `k0`, `k1`, … in the namespace of the
function, its variables are `t0`, `t1`, …, and the rest is written here and in the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, Final

from trioemqx.rules.sql.columns import Columns
from trioemqx.rules.sql.errors import SqlError

HEADER: Final = "def rule(c):"
MAX_INDENT: Final = 90
"""Python takes 100 levels."""


class Code:
    """Grows by `line` and `let`; `mark` says which clause the following lines belong to."""

    def __init__(self) -> None:
        self._lines = [HEADER]
        self._marks = [""]
        self._indent = 1
        self._variables = 0
        self._names: dict[object, str] = {}
        self._known: dict[str, str] = {}
        self.namespace: dict[str, Any] = {"__builtins__": {"dict": dict, "int": int, "float": float, "str": str}}
        self.mark = ""

    def line(self, text: str) -> None:
        """Add a statement."""
        self._lines.append(" " * self._indent + text)
        self._marks.append(self.mark)

    def variable(self) -> str:
        """A new name."""
        self._variables += 1
        return f"t{self._variables - 1}"

    def let(self, expression: str) -> str:
        """Compute something now; gives the variable that holds it."""
        name = self.variable()
        self.line(f"{name} = {expression}")
        return name

    def once(self, expression: str) -> str:
        """Like `let`, unless the same expression has been computed before, here or around here. It must be one that
        always gives the same value while the rule runs."""
        found = self._known.get(expression)
        if found is None:
            found = self._known[expression] = self.let(expression)
        return found

    def constant(self, value: object) -> str:
        """The name that a value is bound to."""
        key = (value.__class__, value) if isinstance(value, str | bytes | int | float) else id(value)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"k{len(self._names)}"
            self.namespace[name] = value
        return name

    def helper(self, function: Callable[..., object]) -> str:
        """The name of a function of this package."""
        self.namespace[function.__name__] = function
        return function.__name__

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Statements inside an `if` or a `for`. What is computed in there is forgotten afterwards, since it may not
        have been. Raises SqlError when blocks are nested too deep for Python."""
        self.line(opening)
        if self._indent >= MAX_INDENT:
            raise SqlError(1, 1, "conditions are nested too deep")
        known = self._known
        self._known = dict(known)
        self._indent += 1
        try:
            yield
        finally:
            self._indent -= 1
            self._known = known

    def source(self) -> str:
        """The whole text, for tests and for curious people."""
        return "\n".join(self._lines) + "\n"

    def finish(self) -> tuple[Callable[[Columns], Any], list[str]]:
        """The function, and for every line of it the clause that it belongs to."""
        module = compile(self.source(), "<rule>", "exec", dont_inherit=True)
        body = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
        return FunctionType(body, self.namespace), self._marks
