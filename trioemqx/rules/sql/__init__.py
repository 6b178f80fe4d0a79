"""The SQL of rules: text in, a Python function out. Nothing here waits, logs or reads a clock of its own.

    functions = standard_functions(Environment(now_ns=time.time_ns))
    rule = compile_rule('SELECT payload.t AS t FROM "site/#" WHERE t > 20', functions, {"rule_id": "rule:1"})
    rule.run(Columns({"topic": "site/1", "payload": '{"t":21}'}))   # {"t": 21}

Reading order: `values` and `meter` (what values are, what bounds them), `jsontext`, `compare`, `operators` and `paths`
(what can be done with them), `grammar.lark`, `build`, `check` and `parse` (from text to `tree`), `code`, `expressions`
and `generate` (from tree to Python), `rule`. `functions` has the functions, a file per family.
"""

from __future__ import annotations

from trioemqx.rules.sql.columns import Columns
from trioemqx.rules.sql.errors import EvalError, SqlError
from trioemqx.rules.sql.functions import families, standard_functions
from trioemqx.rules.sql.functions.environment import Environment
from trioemqx.rules.sql.functions.table import Function, Functions, declare, from_outside
from trioemqx.rules.sql.rule import Rule, compile_rule
from trioemqx.rules.sql.values import UNDEFINED, Value

__all__ = [
    "UNDEFINED",
    "Columns",
    "Environment",
    "EvalError",
    "Function",
    "Functions",
    "Rule",
    "SqlError",
    "Value",
    "compile_rule",
    "declare",
    "families",
    "from_outside",
    "standard_functions",
]
