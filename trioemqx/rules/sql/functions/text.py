"""Functions on texts. Positions and lengths count characters."""

from __future__ import annotations

from typing import Final

from trioemqx.rules.sql import operators
from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import ABSENT, count, data, integer, text, word
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.meter import check_items, check_size
from trioemqx.rules.sql.values import Text, Value

TEXT: Final = Family("Text")
BLANKS: Final = "\t\n\v\f\r \x85\u200e\u200f\u2028\u2029"
"""What trim takes off; the no-break space is not among them."""


@TEXT.add("lower(s)")
def lower(s: Value) -> str:
    """Lower case, Unicode aware."""
    return text(s).lower()


@TEXT.add("upper(s)")
def upper(s: Value) -> str:
    """Upper case, Unicode aware: `ß` becomes `SS`."""
    return text(s).upper()


@TEXT.add("trim(s)")
def trim(s: Value) -> str:
    """Without white space at both ends."""
    return text(s).strip(BLANKS)


@TEXT.add("ltrim(s)")
def ltrim(s: Value) -> str:
    """Without white space at the start."""
    return text(s).lstrip(BLANKS)


@TEXT.add("rtrim(s)")
def rtrim(s: Value) -> str:
    """Without white space at the end."""
    return text(s).rstrip(BLANKS)


@TEXT.add("reverse(s)")
def reverse(s: Value) -> str:
    """The characters in reverse order."""
    return text(s)[::-1]


@TEXT.add("strlen(s)")
def strlen(s: Value) -> int:
    """How many characters."""
    return len(text(s))


@TEXT.add("substr(s, start[, len])")
def substr(s: Value, start: Value, length: Value = ABSENT) -> str:
    """Characters from `start` on, counted from 0; empty past the end."""
    whole, first = text(s), count(start)
    return whole[first:] if length is ABSENT else whole[first : first + count(length)]


@TEXT.add("split(s, sep[, option])")
def split(s: Value, sep: Value, option: Value = ABSENT) -> list[Value]:
    """The parts between separators, without empty ones. Options: `notrim` keeps empty parts; `leading` and `trailing`
    split at the first and last separator only, `leading_notrim` and `trailing_notrim` keep empty parts then."""
    whole, at = text(s), text(sep)
    how = "" if option is ABSENT else word(option, *_SPLITS)
    if not at:
        parts = [whole]
    elif how.startswith("leading"):
        parts = whole.split(at, 1)
    elif how.startswith("trailing"):
        parts = whole.rsplit(at, 1)
    else:
        check_items(whole.count(at) + 1)
        parts = whole.split(at)
    return list(parts) if how.endswith("notrim") else [part for part in parts if part]


_SPLITS: Final = ("notrim", "leading", "leading_notrim", "trailing", "trailing_notrim")


@TEXT.add("tokens(s, chars[, 'nocrlf'])")
def tokens(s: Value, chars: Value, option: Value = ABSENT) -> list[Value]:
    """The parts between any of some characters, without empty ones; with `nocrlf` line ends separate as well."""
    whole, separators = text(s), text(chars)
    if option is not ABSENT:
        word(option, "nocrlf")
        separators += "\r\n"
    if not separators:
        return [whole] if whole else []
    first = separators[0]
    whole = whole.translate({ord(other): first for other in separators})
    check_items(whole.count(first) + 1)
    return [part for part in whole.split(first) if part]


@TEXT.add("concat(a, b)")
def concat(a: Value, b: Value) -> Text:
    """Two texts, joined."""
    for one in (a, b):
        if not isinstance(one, str | bytes):
            data(one)
    return operators.join(a, b)  # type: ignore[arg-type]


@TEXT.add("pad(s, len[, direction[, chars]])")
def pad(s: Value, length: Value, direction: Value = "trailing", chars: Value = " ") -> str:
    """At least `len` characters: `chars` (blank) is repeated `trailing` (default), `leading` or on `both` sides."""
    whole, fill = text(s), text(chars)
    how = word(direction, "trailing", "leading", "both")
    missing = max(0, integer(length) - len(whole))
    check_size(len(whole) + missing * len(fill))
    before = {"trailing": 0, "leading": missing, "both": missing // 2}[how]
    return fill * before + whole + fill * (missing - before)


@TEXT.add("replace(s, old, new[, where])")
def replace(s: Value, old: Value, new: Value, where: Value = "all") -> str:
    """`old` replaced by `new`, literally: `all` (default), the first (`leading`) or the last (`trailing`) one."""
    whole, search, by = text(s), text(old), text(new)
    how = word(where, "all", "leading", "trailing")
    if not search:
        return whole
    if how == "trailing":
        before, found, after = whole.rpartition(search)
        check_size(len(whole) + len(by))
        return f"{before}{by}{after}" if found else whole
    times = whole.count(search) if how == "all" else 1
    check_size(len(whole) + times * max(0, len(by) - len(search)))
    return whole.replace(search, by, times)


@TEXT.add("ascii(s)")
def ascii_(s: Value) -> int:
    """The first byte as an integer."""
    whole = data(s)
    if not whole:
        raise EvalError("needs a text that is not empty")
    return whole[0]


@TEXT.add("find(s, sub[, direction])")
def find(s: Value, sub: Value, direction: Value = "leading") -> str:
    """The rest of a text from the first (`leading`, default) or last (`trailing`) `sub` on; empty without one."""
    whole, wanted = text(s), text(sub)
    if word(direction, "leading", "trailing") == "leading" or not wanted:
        at = whole.find(wanted)
    else:
        at = whole.rfind(wanted)
    return whole[at:] if at >= 0 else ""
