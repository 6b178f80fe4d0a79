"""From the text of a rule to its tree. Reading takes time in proportion to the text and no stack of Python's."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

from lark import Lark, Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from trioemqx.rules.sql import tree
from trioemqx.rules.sql.build import Builder
from trioemqx.rules.sql.check import check
from trioemqx.rules.sql.errors import SqlError

MAX_TEXT: Final = 16 * 1024
"""Bytes of the text of a rule."""

_WORDS: Final = {
    "NAME": "a name",
    "QUOTED": "a name",
    "TRUE": "a name",
    "FALSE": "a name",
    "STRING": "a text",
    "INTNUM": "a number",
    "APPROXNUM": "a number",
    "OPEN": "'['",
    "RANGE": "a range",
    "COMPARISON": "a comparison",
    "PLUS": "an operator",
    "MINUS": "an operator",
    "STAR": "'*'",
    "SLASH": "an operator",
    "DIV": "an operator",
    "MOD": "an operator",
    "LPAR": "'('",
    "RPAR": "')'",
    "RSQB": "']'",
    "COMMA": "','",
    "DOT": "'.'",
    "$END": "the end",
}
_VALUE: Final = frozenset({"NAME", "INTNUM", "LPAR", "STRING"})
"""Where all of these are possible, a value is."""
_BEGIN_VALUE: Final = frozenset(
    "NAME QUOTED TRUE FALSE STRING INTNUM APPROXNUM OPEN RANGE LPAR PLUS MINUS DIV MOD CASE".split()
)
_OPERATOR: Final = frozenset({"PLUS", "SLASH"})
_GO_ON: Final = frozenset("PLUS MINUS STAR SLASH DIV MOD COMPARISON OPEN RANGE LPAR DOT".split())
"""What can follow a value without ending it."""


def parse(text: str | bytes) -> tree.Statement:
    """The tree of a rule. Raises SqlError, which says where, for text that is no rule, longer than MAX_TEXT bytes or
    not UTF-8."""
    plain = _checked(text)
    try:
        statement: Any = _parser().parse(plain)
    except UnexpectedInput as error:
        raise _explain(error, plain) from None
    check(statement)
    return statement  # type: ignore[no-any-return]


def _checked(text: str | bytes) -> str:
    if len(text) > MAX_TEXT:
        raise SqlError(1, 1, f"a rule of more than {MAX_TEXT} bytes")
    try:
        data = text.encode() if isinstance(text, str) else text
        plain = data.decode()
    except UnicodeError:
        raise SqlError(1, 1, "the text is not UTF-8") from None
    if len(data) > MAX_TEXT:
        raise SqlError(1, 1, f"a rule of more than {MAX_TEXT} bytes")
    if not plain.strip():
        raise SqlError(1, 1, "the text is empty", ("SELECT", "FOREACH"))
    return plain


@cache
def _parser() -> Lark:
    """Built on first use, which takes a tenth of a second. The basic lexer keeps keywords reserved in every place."""
    grammar = files("trioemqx.rules.sql").joinpath("grammar.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", transformer=Builder(), maybe_placeholders=True)


def _explain(error: UnexpectedInput, text: str) -> SqlError:
    if isinstance(error, UnexpectedToken):
        token: Token = error.token
        if token.type == "$END":
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
            return SqlError(line, column, "the text ends too early", _expected(text, len(text)))
        expected = _expected(text, token.start_pos or 0)
        return SqlError(token.line or 1, token.column or 1, f"unexpected {token[:40]!r}", expected)
    if isinstance(error, UnexpectedCharacters):
        return SqlError(error.line, error.column, _strange(text[error.pos_in_stream or 0 :]))
    return SqlError(1, 1, "cannot be read")


def _strange(rest: str) -> str:
    """What is wrong with text that no token begins with."""
    first = rest[0]
    if first in "'\"":
        return f"nothing ends the {'text' if first == chr(39) else 'name'} that begins here with {first}"
    if first in "0123456789":
        return "a number that runs into a name"
    return f"the character {first!r} has no meaning here"


def _expected(text: str, place: int) -> tuple[str, ...]:
    """What could have stood at a place, in words. The text is read once more up to there, because the token that did
    not fit has already made the parser close what was open."""
    reader: Any = _parser().parse_interactive(text)
    for token in reader.lexer_thread.lex(reader.parser_state):
        if (token.start_pos or 0) >= place:
            break
        reader.feed_token(token)
    names = reader.accepts()
    words: list[str] = []
    if names >= _VALUE:
        words.append("a value")
        names -= _BEGIN_VALUE
    elif names >= _OPERATOR:
        words.append("an operator")
        names -= _GO_ON
    found = {_WORDS.get(name, name.lstrip("_")) for name in names}
    return (*words, *sorted(found))
