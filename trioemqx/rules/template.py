"""Texts with placeholders `${…}` that are filled in from what a rule has selected.

A placeholder is the shortest text between `${` and `}`; keys are separated by dots, and everything else belongs to the
keys, blanks too. There is no escape: `$`, `{` and a `${` that nothing closes stand for themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trioemqx.rules.sql.jsontext import encode, render
from trioemqx.rules.sql.meter import MAX_DEPTH, check_size, meter
from trioemqx.rules.sql.paths import get_key
from trioemqx.rules.sql.values import UNDEFINED, Text, Value, bytes_of, text_of

OPEN: Final = "${"


class Template:
    """A template, taken apart once. `parts` are literal texts and the keys of placeholders."""

    __slots__ = ("only", "parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[str | tuple[str, ...]] = _parse(text)
        only = self.parts[0] if len(self.parts) == 1 else None
        self.only: tuple[str, ...] | None = only if isinstance(only, tuple) else None
        """The keys of a template that is nothing but one placeholder."""

    @property
    def has_placeholders(self) -> bool:
        """Whether it depends on the output."""
        return any(isinstance(part, tuple) for part in self.parts)

    def render(self, output: Mapping[str, Any]) -> Text:
        """The filled-in text: texts raw, null as `undefined`, maps and lists as JSON. It is bytes where a text of the
        output is not UTF-8. Raises EvalError when it gets too long."""
        meter.left = meter.work
        pieces: list[Any] = []
        size = 0
        for part in self.parts:
            piece: Any = part
            if isinstance(part, tuple):
                found = output.get(part[0], UNDEFINED) if len(part) == 1 else _look_up(output, part)
                piece = found if type(found) is str else render(found)
            pieces.append(piece)
            size += len(piece)
        check_size(size)  # before the whole is made
        try:
            return "".join(pieces)
        except TypeError:  # not all of them are UTF-8
            return text_of(b"".join(map(bytes_of, pieces)))

    def body(self, output: Mapping[str, Any]) -> bytes:
        """The filled-in text as a payload. An empty template stands for the JSON of the whole output."""
        if not self.text:
            meter.left = meter.work
            return encode(dict(output)).encode()
        return bytes_of(self.render(output))

    def value(self, output: Mapping[str, Any]) -> Value:
        """The value itself where the template is one placeholder, else the filled-in text."""
        if self.only is None:
            return self.render(output)
        meter.left = meter.work
        return _look_up(output, self.only)


def _parse(text: str) -> list[str | tuple[str, ...]]:
    """Literal texts and keys, in order."""
    parts: list[str | tuple[str, ...]] = []
    begin = at = 0
    while True:
        at = text.find(OPEN, at)
        end = text.find("}", at + 3) if at >= 0 else -1
        if end < 0:
            break
        if begin < at:
            parts.append(text[begin:at])
        parts.append(tuple(text[at + len(OPEN) : end].split(".", MAX_DEPTH)))
        begin = at = end + 1
    if begin < len(text):
        parts.append(text[begin:])
    return parts


def _look_up(output: Mapping[str, Any], keys: tuple[str, ...]) -> Value:
    found: Value = output.get(keys[0], UNDEFINED)
    for key in keys[1:]:
        found = get_key(found, key)
    return found
