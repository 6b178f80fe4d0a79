"""Where in a TOML file each key stands.

tomllib reads values but forgets where they were. This scanner runs over text that tomllib has accepted, so it only
needs to tell keys, strings, brackets and comments apart.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

KeyPath = tuple[str | int, ...]

_BARE_END: Final = frozenset(" \t\r\n=.]},#")
_SCALAR_END: Final = frozenset(",]}#\r\n")


def locate(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key and every array element in `text`; array elements have their index in the path."""
    return {path: line for path, (line, _column) in toml_positions(text).items()}


def toml_positions(text: str) -> dict[KeyPath, tuple[int, int]]:
    """(line, column), both from 1, of every key, table and array element in `text`, which tomllib must have accepted.
    Array elements and the tables of `[[...]]` have their index in the path."""
    ends = [at for at, letter in enumerate(text) if letter == "\n"]
    found = {}
    for path, at in _Scanner(text).run().items():
        line = bisect_left(ends, at)
        found[path] = (line + 1, at - (ends[line - 1] if line else -1))
    return found


class _Scanner:
    """A cursor over the text. `places` collects the result, `arrays` counts the tables of each `[[...]]`."""

    def __init__(self, text: str) -> None:
        self.text = text + "\n"
        self.at = 0
        self.places: dict[KeyPath, int] = {}
        self.arrays: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        """Scan the whole text; gives where everything in it stands."""
        table: KeyPath = ()
        self.skip_blank()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.assignment(table)
            self.skip_blank()
        return self.places

    def skip_blank(self) -> None:
        """Over white space, line ends and comments."""
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "#":
                while self.text[self.at] != "\n":
                    self.at += 1
            elif letter in " \t\r\n":
                self.at += 1
            else:
                return

    def header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; gives the path of the table that it opens."""
        start = self.at
        repeated = self.text.startswith("[[", start)
        self.at += 2 if repeated else 1
        names = self.key()
        self.at += 2 if repeated else 1
        path: KeyPath = ()
        for place, name in enumerate(names):
            path = (*path, name)
            self.places.setdefault(path, start)
            if repeated and place == len(names) - 1:
                self.arrays[path] = self.arrays.get(path, 0) + 1
            if path in self.arrays:
                path = (*path, self.arrays[path] - 1)
                self.places.setdefault(path, start)
        return path

    def assignment(self, table: KeyPath) -> None:
        """`a.b = value` inside `table`."""
        start = self.at
        path = table
        for name in self.key():
            path = (*path, name)
            self.places.setdefault(path, start)
        self.at += 1  # the equals sign
        self.value(path)

    def key(self) -> list[str]:
        """A dotted key, up to the `=` or `]` behind it."""
        names = []
        while True:
            self.skip_blank()
            letter = self.text[self.at]
            names.append(self.quoted() if letter in "\"'" else self.bare())
            self.skip_blank()
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def bare(self) -> str:
        """A key without quotes."""
        start = self.at
        while self.text[self.at] not in _BARE_END:
            self.at += 1
        return self.text[start : self.at]

    def quoted(self) -> str:
        """A string of any of the four forms. Escapes stay as they are but for \\" and \\\\, which keys may hold."""
        quote = self.text[self.at]
        long = self.text.startswith(quote * 3, self.at)
        end = quote * 3 if long else quote
        self.at += len(end)
        start = self.at
        while not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        inside = self.text[start : self.at]
        self.at += len(end)
        while long and self.text[self.at] == quote:  # a long string may end in up to two quotes of its own
            self.at += 1
        return inside.replace('\\"', '"').replace("\\\\", "\\") if quote == '"' else inside

    def value(self, path: KeyPath) -> None:
        """Any value; arrays and inline tables note where their parts are."""
        self.skip_blank()
        letter = self.text[self.at]
        if letter in "\"'":
            self.quoted()
        elif letter == "[":
            self.array(path)
        elif letter == "{":
            self.inline_table(path)
        else:
            while self.text[self.at] not in _SCALAR_END:
                self.at += 1

    def array(self, path: KeyPath) -> None:
        """`[…]` behind a key, with the place of each element."""
        self.at += 1
        index = 0
        self.skip_blank()
        while self.text[self.at] != "]":
            self.places.setdefault((*path, index), self.at)
            self.value((*path, index))
            index += 1
            self.comma()
        self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        """`{…}` behind a key."""
        self.at += 1
        self.skip_blank()
        while self.text[self.at] != "}":
            self.assignment(path)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        """Over a comma, if there is one, and the white space around it."""
        self.skip_blank()
        if self.text[self.at] == ",":
            self.at += 1
            self.skip_blank()
