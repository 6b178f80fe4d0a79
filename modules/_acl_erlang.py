"""EMQX's `acl.conf` as it is: Erlang terms, each ended by a full stop, and what they mean as access rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import attrs

from ._acl_rules import ACTIONS, MAX_DEPTH, AclError, Rule, Topic, Who, either

TOKEN: Final = re.compile(
    r"""
      (?P<blank>  (?: [\x00-\x20\x80-\xa0] | %[^\n]*+ )++ )
    | (?P<string> "(?:[^"\\]|\\.)*+" )
    | (?P<quoted> '(?:[^'\\]|\\.)*+' )
    | (?P<atom>   [a-z][A-Za-z0-9_@]* )
    | (?P<number> [+-]?[0-9][0-9A-Za-z_\#]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)? )
    | (?P<mark>   <<|>>|[{}\[\],./] )
    """,
    re.VERBOSE | re.DOTALL,
)
ESCAPE: Final = re.compile(r"\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|([0-7]{1,3})|\^(.)|(.))", re.DOTALL)
LETTERS: Final = {
    "b": "\b", "d": "\x7f", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "s": " ", "t": "\t", "v": "\v"
}  # fmt: skip
NESTING: Final = 2 * MAX_DEPTH + 8
"""Of tuples and lists inside each other."""


@attrs.frozen
class Term:
    """`kind` is `atom`, `string`, `number` (both as text), `tuple` or `list` (of `parts`); `at` is its offset."""

    kind: str
    at: int
    text: str = ""
    parts: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return {"tuple": "a tuple", "list": "a list", "string": f'"{self.text:.80}"'}.get(self.kind, f"{self.text:.80}")


def read_erlang(text: str) -> list[Rule]:
    """The rules in the text of an `acl.conf`. Raises AclError."""
    try:
        return [_rule(term) for term in _Reader(text).terms()]
    except _Wrong as error:
        line = text.count("\n", 0, error.at) + 1
        raise AclError(str(error), line, error.at - text.rfind("\n", 0, error.at)) from None


class _Wrong(Exception):
    """An error at an offset."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


# -- terms -------------------------------------------------------------------------------------------------------------


class _Reader:
    """A cursor over the tokens: `kind`, `token` and `at` are the present one's; at the end `kind` is `end`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind, self.token, self.at = "", "", 0
        self.next = 0
        self.advance()

    def advance(self) -> None:
        """Go on to the next token."""
        while True:
            self.at = self.next
            if self.at == len(self.text):
                self.kind, self.token = "end", ""
                return
            match = TOKEN.match(self.text, self.at)
            if match is None:
                raise _Wrong(self.unreadable(), self.at)
            self.kind, self.token, self.next = str(match.lastgroup), match.group(), match.end()
            if self.kind != "blank":
                return

    def unreadable(self) -> str:
        """What is wrong where no token can be read."""
        letter = self.text[self.at]
        if letter in "\"'":
            return f"this {letter} is never closed"
        if letter.isupper() or letter == "_":
            return f"expected a term, got {_word(self.text, self.at)!r}: a text needs quotes"
        return f"unexpected {letter!r}"

    def shown(self) -> str:
        """The present token for a message."""
        return "the end of the file" if self.kind == "end" else f"{self.token:.80}"

    def terms(self) -> Iterator[Term]:
        """Every term up to the end of the file."""
        while self.kind != "end":
            term = self.term(0)
            if self.token != "." or self.kind != "mark":
                raise _Wrong(f"expected a full stop after the rule, got {self.shown()}", self.at)
            if self.next < len(self.text) and self.text[self.next] not in " \t\r\n\f\v%":
                raise _Wrong("a full stop needs a line end behind it", self.at)
            self.advance()
            yield term

    def term(self, depth: int) -> Term:
        """One term."""
        if depth > NESTING:
            raise _Wrong("too many brackets inside each other", self.at)
        at = self.at
        if self.kind == "string":
            return Term("string", at, self.strings())
        if self.kind in ("atom", "number", "quoted"):
            kind = "number" if self.kind == "number" else "atom"
            text = self.token if self.kind != "quoted" else self.unescaped()
            self.advance()
            return Term(kind, at, text)
        if self.kind == "mark" and self.token in ("{", "["):
            opening = self.token
            self.advance()
            parts = self.parts("}" if opening == "{" else "]", depth)
            return Term("tuple" if opening == "{" else "list", at, "", tuple(parts))
        if self.kind == "mark" and self.token == "<<":
            return self.binary()
        raise _Wrong(f"expected a rule or a part of one, got {self.shown()}", at)

    def parts(self, closing: str, depth: int) -> list[Term]:
        """The terms up to a closing bracket."""
        found: list[Term] = []
        while True:
            if self.kind == "mark" and self.token == closing and not found:
                break
            found.append(self.term(depth + 1))
            if self.kind == "mark" and self.token == closing:
                break
            if self.kind != "mark" or self.token != ",":
                raise _Wrong(f"expected , or {closing}, got {self.shown()}", self.at)
            self.advance()
        self.advance()
        return found

    def strings(self) -> str:
        """A string; several behind each other are one."""
        text = ""
        while self.kind == "string":
            text += self.unescaped()
            self.advance()
        return text

    def binary(self) -> Term:
        """`<<"text">>` or `<<"text"/utf8>>`."""
        at = self.at
        self.advance()
        if self.kind != "string":
            raise _Wrong(f"expected a string, got {self.shown()}", self.at)
        text = self.strings()
        if self.token == "/":
            self.advance()
            if self.kind != "atom" or self.token != "utf8":
                raise _Wrong(f"expected utf8, got {self.shown()}", self.at)
            self.advance()
        if self.token != ">>":
            raise _Wrong(f"expected >>, got {self.shown()}", self.at)
        self.advance()
        return Term("string", at, text)

    def unescaped(self) -> str:
        """What stands between the quotes of the present token."""

        def letter(match: re.Match[str]) -> str:
            hexadecimal = match[1] or match[2]
            if hexadecimal or match[3]:
                code = int(hexadecimal, 16) if hexadecimal else int(match[3], 8)
                if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                    raise _Wrong(f"{match[0]:.80} is no character", self.at + 1 + match.start())
                return chr(code)
            if match[4]:
                return chr(ord(match[4]) & 31)
            return LETTERS.get(match[5], match[5])

        return ESCAPE.sub(letter, self.token[1:-1])


def _word(text: str, at: int) -> str:
    match = re.compile(r"\w{1,40}").match(text, at)
    return match.group() if match is not None else text[at]


# -- what they mean ----------------------------------------------------------------------------------------------------


def _rule(term: Term) -> Rule:
    """`{allow, all}` or `{allow, Who, Action, Topics}`."""
    if term.kind != "tuple" or len(term.parts) not in (2, 4):
        raise _Wrong(f"expected {{allow, all}} or {{allow, Who, Action, Topics}}, got {_size(term)}", term.at)
    allow = _one_of(term.parts[0], ("allow", "deny")) == "allow"
    who = _who(term.parts[1], 0)
    if len(term.parts) == 2:
        return Rule(allow, who)
    action = _one_of(term.parts[2], ACTIONS)
    topics = term.parts[3]
    listed = topics.parts if topics.kind == "list" else (topics,)
    if not listed:
        raise _Wrong("a rule needs at least one topic", topics.at)
    return Rule(allow, who, action, tuple(map(_topic, listed)))


def _size(term: Term) -> str:
    return f"a tuple of {len(term.parts)}" if term.kind == "tuple" else str(term)


def _one_of(term: Term, words: tuple[str, ...]) -> str:
    if term.kind != "atom" or term.text not in words:
        raise _Wrong(f"expected {either(words)}, got {term}", term.at)
    return term.text


def _who(term: Term, depth: int) -> Who:
    if depth > MAX_DEPTH:
        raise _Wrong("too many conditions inside each other", term.at)
    if term.kind == "atom" and term.text == "all":
        return Who()
    if term.kind != "tuple" or len(term.parts) != 2:
        raise _Wrong(f'expected all, or a pair such as {{user, "name"}}, got {_size(term)}', term.at)
    kind = _one_of(term.parts[0], ("user", "client", "ipaddr", "ipaddrs", "and", "or"))
    value = term.parts[1]
    if kind in ("user", "client") and value.kind == "atom" and value.text == "all":
        return Who()
    try:
        if kind in ("and", "or"):
            return Who(kind, parts=tuple(_who(part, depth + 1) for part in _list(value)))
        if kind == "ipaddrs":
            return Who("ipaddr", tuple(_text(part) for part in _list(value)))
        return Who(kind, (_text(value),))
    except ValueError as error:
        raise _Wrong(str(error), value.at) from None


def _list(term: Term) -> tuple[Term, ...]:
    if term.kind != "list":
        raise _Wrong(f"expected a list, got {term}", term.at)
    return term.parts


def _text(term: Term) -> str:
    if term.kind != "string":
        raise _Wrong(f"expected a string, got {term}", term.at)
    return term.text


def _topic(term: Term) -> Topic:
    """`"filter"` or `{eq, "topic"}`."""
    try:
        if term.kind == "tuple" and len(term.parts) == 2:
            _one_of(term.parts[0], ("eq",))
            return Topic(_text(term.parts[1]), True)
        if term.kind != "string":
            raise _Wrong(f'expected a topic filter in quotes, or {{eq, "topic"}}, got {_size(term)}', term.at)
        return Topic(term.text)
    except ValueError as error:
        raise _Wrong(str(error), term.at) from None
