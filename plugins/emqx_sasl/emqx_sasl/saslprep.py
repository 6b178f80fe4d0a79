"""SASLprep [RFC 4013]: one form for user names and passwords that look the same.

Unicode is that of stringprep, 3.2: what was assigned later may be sent, but not stored.
"""

from __future__ import annotations

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0 as unicode

PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""[RFC4013 2.3]"""


class NotAllowed(ValueError):
    """A text that SASLprep does not allow. The message does not show it: it may be a password."""


def saslprep(text: str, stored: bool) -> str:
    """The prepared form. `stored` also refuses characters that Unicode 3.2 did not know [RFC3454 7]. Raises NotAllowed;
    an empty text is none either."""
    if not (text.isascii() and text.isprintable()):
        mapped = (" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
        text = unicode.normalize("NFKC", "".join(mapped))
        _check_characters(text, stored)
        _check_direction(text)
    if not text:
        raise NotAllowed("empty")
    return text


def _check_characters(text: str, stored: bool) -> None:
    for character in text:
        if any(inside(character) for inside in PROHIBITED):
            raise NotAllowed("holds a character that SASLprep does not allow")
        if stored and stringprep.in_table_a1(character):
            raise NotAllowed("holds a character that Unicode 3.2 does not know")


def _check_direction(text: str) -> None:
    """[RFC3454 6] Right-to-left text begins and ends so, and is not mixed."""
    rightward = [stringprep.in_table_d1(character) for character in text]
    if any(rightward) and (
        any(stringprep.in_table_d2(character) for character in text) or not (rightward[0] and rightward[-1])
    ):
        raise NotAllowed("mixes directions of writing")
