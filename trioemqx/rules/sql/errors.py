"""What goes wrong with a rule: its text does not parse, or its evaluation fails for an event."""

from __future__ import annotations

from trioemqx.errors import TrioemqxError


class SqlError(TrioemqxError):
    """Text that is no rule. `line` and `column` count from 1; `expected` are the things that could have stood there,
    in words, where that is known."""

    def __init__(self, line: int, column: int, reason: str, expected: tuple[str, ...] = ()) -> None:
        ending = f", expected {_one_of(expected)}" if expected else ""
        super().__init__(f"line {line}, column {column}: {reason}{ending}")
        self.line = line
        self.column = column
        self.reason = reason
        self.expected = expected


class EvalError(TrioemqxError):
    """The rule fails for this event; other rules and the publisher do not notice. `clause` is SELECT, WHERE, FOREACH,
    DO or INCASE, and the function that failed, if it was one; `Rule.run` fills it in."""

    def __init__(self, reason: str, clause: str = "") -> None:
        super().__init__(f"{clause}: {reason}" if clause else reason)
        self.reason = reason
        self.clause = clause


def _one_of(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
