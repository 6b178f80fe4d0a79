"""A rule that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from traceback import walk_tb
from typing import Any, TypeAlias

from trioemqx.rules.sql import tree
from trioemqx.rules.sql.columns import Columns
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.table import Functions
from trioemqx.rules.sql.generate import Generator
from trioemqx.rules.sql.parse import parse
from trioemqx.rules.sql.values import Value

Output: TypeAlias = dict[str, Value]


class Rule:
    """`topics` are the FROM entries as they are written. `columns_used` are the names of columns that may be read,
    `uses_all` is true when that is every column of the event (`*`, and FOREACH without DO)."""

    __slots__ = ("_function", "_marks", "columns_used", "is_foreach", "source", "topics", "uses_all")

    def __init__(self, statement: tree.Statement, functions: Functions, metadata: Mapping[str, Value]) -> None:
        self.topics = statement.topics
        self.is_foreach = isinstance(statement, tree.Foreach)
        generator = Generator(functions, metadata)
        generator.statement(statement)
        self.source = generator.code.source()
        """The Python text, to look at."""
        self._function, self._marks = generator.code.finish()
        self.columns_used = frozenset(generator.write.used)
        self.uses_all = generator.uses_all

    def run(self, columns: Columns) -> Any:
        """Evaluate the rule for an event. Gives the output of a SELECT (a map), the outputs of a FOREACH (a list, which
        may be empty), and None where WHERE is false. FROM is not looked at.

        The output is not to be changed: parts of it belong to the event. Raises EvalError when the rule fails; so does
        any other exception of a function end.
        """
        try:
            return self._function(columns)
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> EvalError:
        """The error with the clause it happened in."""
        code = self._function.__code__
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code is code]
        clause = self._marks[lines[0] - 1] if lines else ""
        if isinstance(error, EvalError):
            return EvalError(error.reason, clause)
        if isinstance(error, RecursionError):
            return EvalError("nested too deep", clause)
        return EvalError(f"{type(error).__name__}: {error}"[:500], clause)


def compile_rule(text: str | bytes, functions: Functions, metadata: Mapping[str, Value] | None = None) -> Rule:
    """Make a rule of its text. `metadata` is the column of that name, `{"rule_id": …}`. Raises SqlError."""
    return Rule(parse(text), functions, metadata or {})
