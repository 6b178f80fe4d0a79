"""Regular expressions, in bounded time whatever the expression is.

EMQX has PCRE. Here the engine is RE2, whose time is proportional to the text; what RE2 does not know (look-around, back
references, atomic and possessive groups, `$` before a final line feed) is matched by an engine that tries and backs up,
for `PATIENCE` seconds and no longer. Texts are matched by characters, those that are not UTF-8 by bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import re2  # type: ignore[import-untyped]
import regex  # type: ignore[import-untyped,unused-ignore]

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import data
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.meter import check_size, spend
from trioemqx.rules.sql.values import Value, bytes_of, text_of

REGEXES: Final = Family("Regular expressions")
MAX_PATTERN: Final = 4096
"""Bytes of an expression."""
MAX_MEMORY: Final = 1024 * 1024
"""Bytes that a compiled expression and its caches may take."""
KEPT: Final = 64
"""Expressions that stay compiled."""
PATIENCE: Final = 0.02
"""Seconds that the engine which backs up may take for one text."""
MAX_TRIED_PATTERN: Final = 256
MAX_REPEATS: Final = 1000
MAX_TRIED: Final = 64 * 1024
"""Bytes of a text that it is given."""


class Trying:
    """An expression that RE2 does not take, with the part of RE2's interface that is used here."""

    def __init__(self, source: Any) -> None:
        self._found: Any = regex.compile(source, regex.VERSION0)
        self.groups = self._found.groups
        self.programsize = 1000

    def search(self, whole: bytes) -> Any:
        """The first match, or None. Raises EvalError when that takes too long."""
        return next(iter(self.finditer(whole)), None)

    def finditer(self, whole: bytes) -> Iterator[Any]:
        """Every match; positions are in bytes."""
        if len(whole) > MAX_TRIED:
            raise EvalError(f"a text of more than {MAX_TRIED} bytes for an expression that is tried step by step")
        text = whole.decode() if isinstance(self._found.pattern, str) else whole
        try:
            for match in self._found.finditer(text, timeout=PATIENCE):
                yield match if isinstance(text, bytes) else InBytes(match, text)
        except TimeoutError:
            raise EvalError(f"the regular expression takes more than {PATIENCE:g} s") from None


class InBytes:
    """A match in a text, by the positions of its bytes."""

    def __init__(self, match: Any, text: str) -> None:
        self._match = match
        self._text = text

    def start(self) -> int:
        """Where it begins."""
        return len(self._text[: self._match.start()].encode())

    def end(self) -> int:
        """Where it ends."""
        return len(self._text[: self._match.end()].encode())

    def group(self, number: int) -> str | None:
        """What a group matched."""
        found: str | None = self._match.group(number)
        return found


@lru_cache(KEPT)
def _compiled(pattern: bytes, utf8: bool) -> Any:
    """A compiled expression, or the text of what is wrong with it."""
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.encoding = options.Encoding.UTF8 if utf8 else options.Encoding.LATIN1
    try:
        found = re2.compile(pattern, options)
    except re2.error:
        return _tried(pattern, utf8)
    spend(100 + found.programsize)
    return found


@lru_cache(KEPT)
def _tried(pattern: bytes, utf8: bool) -> Any:
    """An expression for the engine that backs up, or the text of what is wrong with it. It writes repeats out, so there
    may not be many."""
    if len(pattern) > MAX_TRIED_PATTERN or _repeats(pattern) > MAX_REPEATS:
        return f"more than {MAX_TRIED_PATTERN} bytes, or {MAX_REPEATS} repeats, of what RE2 does not know"
    try:
        return Trying(pattern.decode() if utf8 else pattern)
    except (regex.error, ValueError, RecursionError, OverflowError) as error:
        return str(error)


def _repeats(pattern: bytes) -> int:
    """The product of all counts in braces: so often a part may be repeated when they stand within each other."""
    product = 1
    for part in pattern.split(b"{")[1:]:
        for number in part.partition(b"}")[0].split(b","):
            if number.isdigit():
                product *= max(1, int(number[:9]))
                if product > MAX_REPEATS:
                    return product
    return product


def _expression(pattern: Value, subject: Value, size: int) -> Any:
    """An expression, ready for a text of so many bytes. The most that matching can take is the product of both."""
    source = data(pattern)
    if len(source) > MAX_PATTERN:
        raise EvalError(f"a regular expression of more than {MAX_PATTERN} bytes")
    utf8 = isinstance(pattern, str) and isinstance(subject, str)
    # Before a final line feed `$` matches as well, which RE2 cannot say.
    at_line_feed = b"$" in source and data(subject).endswith(b"\n")
    found = _tried(source, utf8) if at_line_feed else _compiled(source, utf8)
    if isinstance(found, str):
        raise EvalError(f"not a regular expression that can be used here: {found[:200]}")
    spend(size * found.programsize >> 6)
    return found


@REGEXES.add("regex_match(s, re)")
def regex_match(s: Value, re: Value) -> bool:
    """Whether a regular expression matches anywhere in a text."""
    whole = data(s)
    return _expression(re, s, len(whole)).search(whole) is not None


@REGEXES.add("regex_replace(s, re, new)")
def regex_replace(s: Value, re: Value, new: Value) -> Value:
    """Every match replaced. In `new`, `&` is the match, `\\1` its first group, `\\&` the character itself."""
    whole, parts = data(s), _template(data(new))
    expression = _expression(re, s, len(whole))
    pieces: list[bytes] = []
    size = end = 0
    for match in expression.finditer(whole):
        spend(20)
        found = [part if isinstance(part, bytes) else _group(match, part, expression.groups) for part in parts]
        before = whole[end : match.start()]
        pieces += [before, *found]
        size += len(before) + sum(map(len, found))
        check_size(size)
        end = match.end()
    pieces.append(whole[end:])
    check_size(size + len(pieces[-1]))
    return text_of(b"".join(pieces))


def _group(match: Any, number: int, groups: int) -> bytes:
    """What a group matched; nothing for one that does not exist."""
    return bytes_of(match.group(number) or b"") if number <= groups else b""


def _template(new: bytes) -> list[bytes | int]:
    """Literal bytes, and the numbers of groups to put in."""
    parts: list[bytes | int] = []
    at = 0
    while at < len(new):
        if new[at : at + 1] == b"&":
            parts.append(0)
            at += 1
        elif new[at : at + 1] == b"\\":
            part, at = _escape(new, at)
            parts.append(part)
        else:
            ends = [end for end in (new.find(b"&", at), new.find(b"\\", at)) if end >= 0]
            stop = min(ends, default=len(new))
            parts.append(new[at:stop])
            at = stop
        if len(parts) > 1000:
            raise EvalError("a replacement of more than 1000 parts")
    return parts


def _escape(new: bytes, at: int) -> tuple[bytes | int, int]:
    """`\\1`, `\\g1`, `\\g{1}`, or an escaped character; and where it ends."""
    begin = at + 1
    braces = new[begin : begin + 2] == b"g{"
    first = begin + 2 if braces else begin + 1 if new[begin : begin + 1] == b"g" else begin
    last = first
    while last < len(new) and last - first < 3 and 48 <= new[last] <= 57:
        last += 1
    closed = not braces or new[last : last + 1] == b"}"
    if last > first and closed and (first > begin or new[first] != 48):
        return int(new[first:last]), last + braces
    return new[begin : begin + 1] or b"\\", begin + 1
