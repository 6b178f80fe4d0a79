"""Where conditions may stand: the parser takes them in every place, this says where they are meant."""

from __future__ import annotations

from typing import Final

from trioemqx.rules.sql import tree
from trioemqx.rules.sql.build import error_at

_WORDS: Final = {tree.Both: "AND", tree.Either: "OR", tree.Negated: "NOT", tree.Among: "IN"}


def check(statement: tree.Statement) -> None:
    """Raises SqlError for a condition where a value has to stand, and for aliases in the wrong place."""
    _fields(statement.fields)
    if isinstance(statement, tree.Foreach):
        _check_foreach(statement)
    if statement.where is not None:
        condition(statement.where)


def _check_foreach(statement: tree.Foreach) -> None:
    for field in statement.fields:
        if isinstance(field, tree.Star):
            raise error_at(field.at, "FOREACH needs a list, not *")
    _fields(statement.do or ())
    if statement.incase is not None:
        condition(statement.incase)


def _fields(fields: tree.Fields) -> None:
    for field in fields:
        if isinstance(field, tree.Field):
            item(field.value)
            if field.beside and isinstance(field.value, tree.Compare):
                raise error_at(field.at, "an alias after a comparison needs AS")


def item(node: tree.Node) -> None:
    """A value, or one comparison of two."""
    if isinstance(node, tree.Compare):
        scalar(node.left)
        scalar(node.right)
    else:
        scalar(node)


def scalar(node: tree.Node) -> None:
    """A value: no comparison and nothing made of conditions."""
    if isinstance(node, tree.CONDITIONS):
        word = _WORDS.get(type(node), "a comparison")
        raise error_at(node.at, f"{word} is only possible in WHERE, INCASE and WHEN")
    inside(node, scalar)


def argument(node: tree.Node) -> None:
    """What a function is called with: values, comparisons, and those in parentheses."""
    if isinstance(node, tree.Group):
        argument(node.inner)
    elif isinstance(node, tree.Compare):
        argument(node.left)
        argument(node.right)
    elif isinstance(node, tree.CONDITIONS):
        scalar(node)
    else:
        inside(node, argument)


def condition(node: tree.Node) -> None:
    """What is true or false."""
    if isinstance(node, tree.Both | tree.Either):
        for part in node.items:
            condition(part)
    elif isinstance(node, tree.Negated):
        condition(node.operand)
    elif isinstance(node, tree.Group):
        condition(node.inner)
    elif isinstance(node, tree.Among):
        scalar(node.left)
        for member in node.items:
            item(member)
    else:
        item(node)


def inside(node: tree.Node, operand: object) -> None:
    """The parts of a value; `operand` checks what operators work on."""
    check_operand = argument if operand is argument else scalar
    if isinstance(node, tree.Chain):
        check_operand(node.first)
        for _, right in node.rest:
            check_operand(right)
    elif isinstance(node, tree.Signed):
        check_operand(node.operand)
    elif isinstance(node, tree.ListOf):
        for member in node.items:
            scalar(member)
    elif isinstance(node, tree.Call):
        for value in node.arguments:
            argument(value)
    elif isinstance(node, tree.Case):
        _case(node)


def _case(node: tree.Case) -> None:
    if node.subject is not None:
        item(node.subject)
    for wanted, value in node.branches:
        if node.subject is None:
            condition(wanted)
        else:
            item(wanted)
        item(value)
    if node.otherwise is not None:
        item(node.otherwise)
