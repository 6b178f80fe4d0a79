"""Makes the tree while the parser reads: one method per rule of grammar.lark, called with what the rule consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lark import Token, Transformer

from trioemqx.rules.sql import tree
from trioemqx.rules.sql.errors import SqlError
from trioemqx.rules.sql.paths import HEAD, TAIL, Place

MAX_DEPTH: Final = 64
"""Levels inside each other, and steps of a path."""
MAX_DIGITS: Final = 4000
"""Digits of a number that is written in a rule."""
RESERVED: Final = frozenset({"IF", "ELSIF"})
"""Keywords that nothing uses."""


def at(token: Token) -> tree.At:
    """Where a token stands."""
    return tree.At(token.line or 1, token.column or 1)


def error_at(where: tree.At, reason: str) -> SqlError:
    """An error about something that is already in the tree."""
    return SqlError(where.line, where.column, reason)


def above(where: tree.At, *nodes: tree.Node | None) -> int:
    """The depth of what holds the nodes. Raises SqlError when it is too great."""
    depth = 1 + max((node.depth for node in nodes if node is not None), default=0)
    if depth > MAX_DEPTH:
        raise error_at(where, f"nested deeper than {MAX_DEPTH} levels")
    return depth


def text_in(token: Token) -> str:
    """What stands between the quotes of a string; a quote in it is written twice."""
    return token[1:-1].replace("''", "'")


class Builder(Transformer):  # type: ignore[type-arg]
    """Methods take the parts of their rule: nodes, tokens, and None for what was left out."""

    def select(self, parts: list[Any]) -> tree.Select:
        """`select`: `SELECT … FROM … WHERE …` as a whole."""
        fields, topics, where = parts
        return tree.Select(at=fields[0].at, fields=fields, topics=topics, where=where)

    def foreach(self, parts: list[Any]) -> tree.Foreach:
        """`foreach`: `FOREACH … DO … INCASE … FROM … WHERE …` as a whole."""
        fields, do, incase, topics, where = parts
        return tree.Foreach(at=fields[0].at, fields=fields, do=do, incase=incase, topics=topics, where=where)

    def fields(self, parts: list[Any]) -> tree.Fields:
        """`fields`: what stands between commas, in order."""
        return tuple(parts)

    def star(self, parts: list[Token]) -> tree.Star:
        """`field`, first form: `*`."""
        return tree.Star(at=at(parts[0]))

    def plain(self, parts: list[Any]) -> tree.Field:
        """`field`, second form: a value without an alias."""
        return tree.Field(at=parts[0].at, value=parts[0])

    def named(self, parts: list[Any]) -> tree.Field:
        """`field`, third form: `value AS alias`."""
        return tree.Field(at=parts[0].at, value=parts[0], alias=as_path(parts[1]))

    def beside(self, parts: list[Any]) -> tree.Field:
        """`field`, last form: `value alias`."""
        return tree.Field(at=parts[0].at, value=parts[0], alias=as_path(parts[1]), beside=True)

    def topics(self, parts: list[str]) -> tuple[str, ...]:
        """`topics`: the entries of FROM, in order."""
        return tuple(parts)

    def topic(self, parts: list[Token]) -> str:
        """`topic`: one entry of FROM, without quotes."""
        return text_in(parts[0]) if parts[0].type == "STRING" else plain_name(parts[0])

    # -- conditions

    def either(self, parts: list[tree.Node]) -> tree.Node:
        """`expression`: conditions with OR between."""
        return tree.Either(at=parts[0].at, depth=above(parts[0].at, *parts), items=tuple(parts))

    def both(self, parts: list[tree.Node]) -> tree.Node:
        """`conjunction`: conditions with AND between."""
        return tree.Both(at=parts[0].at, depth=above(parts[0].at, *parts), items=tuple(parts))

    def negate(self, parts: list[Any]) -> tree.Node:
        """`negation`: a condition behind NOT."""
        where = at(parts[0])
        return tree.Negated(at=where, depth=above(where, parts[1]), operand=parts[1])

    def compare(self, parts: list[Any]) -> tree.Node:
        """`comparison`, first form: two values with an operator between."""
        left, operator, right = parts
        depth = above(left.at, left, right)
        return tree.Compare(at=left.at, depth=depth, operator=str(operator), left=left, right=right)

    def among(self, parts: list[Any]) -> tree.Node:
        """`comparison`, second form: `value IN (…)`, also with NOT."""
        left, negation, items = parts
        depth = above(left.at, left, *items)
        return tree.Among(at=left.at, depth=depth, left=left, items=items, negated=negation is not None)

    def group(self, parts: list[tree.Node]) -> tree.Node:
        """`primary` in parentheses; they are only kept around conditions, which `check` has to tell apart."""
        inner = parts[0]
        depth = above(inner.at, inner)
        return tree.Group(at=inner.at, depth=depth, inner=inner) if isinstance(inner, tree.CONDITIONS) else inner

    # -- values

    def chain(self, parts: list[Any]) -> tree.Node:
        """`sum` and `product`: values with operators of one level between, from left to right."""
        first, operators, operands = parts[0], parts[1::2], parts[2::2]
        depth = above(first.at, first, *operands)
        rest = tuple((str(operator), operand) for operator, operand in zip(operators, operands, strict=True))
        return tree.Chain(at=first.at, depth=depth, first=first, rest=rest)

    def sign(self, parts: list[Token]) -> Token:
        """`sign` and `factor`: the operator itself."""
        return parts[0]

    factor = sign

    def signed(self, parts: list[Any]) -> tree.Node:
        """`unary`: a value behind a sign."""
        where = at(parts[0])
        return tree.Signed(at=where, depth=above(where, parts[1]), sign=str(parts[0]), operand=parts[1])

    def text(self, parts: list[Token]) -> tree.Node:
        """`literal`: a text, without quotes."""
        return tree.Const(at=at(parts[0]), value=text_in(parts[0]))

    def integer(self, parts: list[Token]) -> tree.Node:
        """`literal`: an integer."""
        return tree.Const(at=at(parts[0]), value=whole(parts[0]))

    def decimal(self, parts: list[Token]) -> tree.Node:
        """`literal`: a float. Raises SqlError for an infinite one."""
        value = float(parts[0])
        if value - value != 0.0:
            raise error_at(at(parts[0]), "a number that is too big")
        return tree.Const(at=at(parts[0]), value=value)

    def span(self, parts: list[Token]) -> tree.Node:
        """`literal`: `[1..3]`, a list of integers."""
        begin, end = bounds(parts[0])
        return tree.RangeOf(at=at(parts[0]), begin=begin, end=end)

    def cut(self, parts: list[Any]) -> tree.Node:
        """`primary`: `path[1..3]`, a part of a list."""
        begin, end = bounds(parts[1])
        return tree.Slice(at=parts[0].at, path=as_path(parts[0]), begin=begin, end=end)

    def array(self, parts: list[Any]) -> tree.Node:
        """`array`: a list in brackets."""
        items = parts[1] or ()
        where = at(parts[0])
        return tree.ListOf(at=where, depth=above(where, *items), items=items)

    def items(self, parts: list[tree.Node]) -> tuple[tree.Node, ...]:
        """`items`: what stands between commas in a list or a call, in order."""
        return tuple(parts)

    def call(self, parts: list[Any]) -> tree.Node:
        """`call`, first form: a function and its arguments. A name with dots is kept as one that no function has."""
        path, arguments = as_path(parts[0]), parts[1] or ()
        name = path.name if not path.steps else f"{path.name}.…"
        return tree.Call(at=path.at, depth=above(path.at, *arguments), name=name, arguments=arguments)

    def called(self, parts: list[Any]) -> tree.Node:
        """`call`, the others: `div(…)` and `mod(…)`."""
        where = at(parts[0])
        return tree.Call(at=where, depth=above(where, *parts[1]), name=str(parts[0]), arguments=parts[1])

    def case(self, parts: list[Any]) -> tree.Node:
        """`case`: CASE with its branches, and with a value to compare if there is one."""
        word, subject, *branches, otherwise = parts
        where = at(word)
        depth = above(where, subject, otherwise, *(node for branch in branches for node in branch))
        return tree.Case(at=where, depth=depth, subject=subject, branches=tuple(branches), otherwise=otherwise)

    def when(self, parts: list[tree.Node]) -> tuple[tree.Node, tree.Node]:
        """`when`: the condition and the result of one branch."""
        return parts[0], parts[1]

    # -- paths

    def path(self, parts: list[Any]) -> tree.Node:
        """`path`: a name and the steps behind it. `true` and `false` alone are values."""
        name, steps = parts[0], tuple(parts[1:])
        where = at(name)
        if not steps and name.type in ("TRUE", "FALSE"):
            return tree.Const(at=where, value=name.type == "TRUE")
        depth = above(where, *(step for step in steps if isinstance(step, tree.Path)))
        if len(steps) > MAX_DEPTH:
            raise error_at(where, f"a path of more than {MAX_DEPTH} steps")
        return tree.Path(at=where, depth=depth, name=plain_name(name), steps=steps)

    def key(self, parts: list[Token]) -> str:
        """`key`: a step by name, without quotes."""
        token = parts[0]
        if token.type == "STRING":
            return text_in(token)
        return str(token) if token.type == "INTNUM" else plain_name(token)

    def index(self, parts: list[Any]) -> Place:
        """`index`: a step by number; 0 is the head of a list, -0 its tail."""
        _, sign, digits = parts
        number = whole(digits)
        if number == 0:
            return TAIL if sign == "-" else HEAD
        return -number if sign == "-" else number

    def index_path(self, parts: Sequence[Any]) -> tree.Node:
        """`index`, first form: a step that is looked up by another path."""
        return as_path(parts[1])


def as_path(node: tree.Node) -> tree.Path:
    """A path, also where `true` and `false` are just names."""
    if isinstance(node, tree.Path):
        return node
    value = node.value if isinstance(node, tree.Const) else None
    return tree.Path(at=node.at, name="true" if value is True else "false")


def plain_name(token: Token) -> str:
    """A name without the quotes around it. Raises SqlError for a keyword."""
    if token.type == "QUOTED":
        return token[1:-1]
    if token.upper() in RESERVED:
        raise error_at(at(token), f"the keyword {token} stands where a name should; put it in double quotes")
    return str(token)


def whole(token: Token) -> int:
    """The integer that is written. Raises SqlError for one with too many digits."""
    if len(token) > MAX_DIGITS:
        raise error_at(at(token), f"a number of more than {MAX_DIGITS} digits")
    return int(token)


def bounds(token: Token) -> tuple[int, int]:
    """The two numbers of `[1..2]`."""
    if len(token) > MAX_DIGITS:
        raise error_at(at(token), f"a number of more than {MAX_DIGITS} digits")
    begin, end = token[1:-1].split("..")
    return int(begin), int(end)
