"""Values in Erlang's external term format (version 131), which devices of an EMQX installation may speak.

true, false, null and undefined are atoms, texts binaries, maps maps with binary keys. Reading takes what writing makes,
and what Erlang makes of such values.
"""

from __future__ import annotations

import struct
from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.jsontext import weigh
from trioemqx.rules.sql.meter import MAX_DEPTH, MAX_INTEGER_BITS, check_items, check_number, check_size, spend
from trioemqx.rules.sql.values import UNDEFINED, Value, bytes_of, kind, text_of

VERSION: Final = 131
_FLOAT, _ATOM, _SMALL_ATOM = 70, 118, 119
_BYTE, _INT, _OLD_ATOM, _NIL, _STRING, _LIST, _BINARY, _SMALL_BIG, _BIG, _OLD_SMALL_ATOM, _MAP = (
    97, 98, 100, 106, 107, 108, 109, 110, 111, 115, 116,
)  # fmt: skip
_ATOM_SIZES: Final = {_ATOM: 2, _OLD_ATOM: 2, _SMALL_ATOM: 1, _OLD_SMALL_ATOM: 1}
_ATOMS: Final[dict[bytes, Value]] = {b"true": True, b"false": False, b"null": None, b"undefined": UNDEFINED}
_NAMES: Final = {id(value): name for name, value in _ATOMS.items()}


def encode(value: Value) -> bytes:
    """The bytes of a value. Raises EvalError for one that is too big."""
    size, _ = weigh(value)
    check_size(size)
    pieces = [bytes([VERSION])]
    _write(value, pieces)
    check_size(sum(map(len, pieces)))
    return b"".join(pieces)


def _write(value: Value, pieces: list[bytes]) -> None:
    name = _NAMES.get(id(value))
    if name is not None:
        pieces.append(struct.pack(">BB", _SMALL_ATOM, len(name)) + name)
    elif isinstance(value, int):
        pieces.append(_integer(value))
    elif isinstance(value, float):
        pieces.append(struct.pack(">Bd", _FLOAT, value))
    elif isinstance(value, str | bytes):
        data = bytes_of(value)
        pieces.append(struct.pack(">BI", _BINARY, len(data)) + data)
    elif isinstance(value, list):
        _write_list(value, pieces)
    elif isinstance(value, dict):
        pieces.append(struct.pack(">BI", _MAP, len(value)))
        for key, member in value.items():
            _write(key, pieces)
            _write(member, pieces)
    else:
        raise EvalError(f"{kind(value)} cannot be encoded")


def _write_list(value: list[Value], pieces: list[bytes]) -> None:
    if value:
        pieces.append(struct.pack(">BI", _LIST, len(value)))
        for member in value:
            _write(member, pieces)
    pieces.append(bytes([_NIL]))


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return bytes([_BYTE, value])
    if -(1 << 31) <= value < 1 << 31:
        return struct.pack(">Bi", _INT, value)
    digits = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
    head = struct.pack(">BB", _SMALL_BIG, len(digits)) if len(digits) < 256 else struct.pack(">BI", _BIG, len(digits))
    return head + bytes([value < 0]) + digits


def decode(data: bytes) -> Value:
    """The value of an external term. Raises EvalError for anything else, and for terms that have no value here."""
    reader = _Reader(data)
    try:
        if reader.byte() != VERSION:
            raise EvalError("not an external term")
        value = reader.term(0)
    except (struct.error, IndexError):
        raise EvalError("an external term that ends too early") from None
    if reader.at != len(data):
        raise EvalError("something follows the external term")
    return value


class _Reader:
    """Walks through the bytes; sizes are checked against what is there before anything is made."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """The next byte."""
        self.at += 1
        return self.data[self.at - 1]

    def number(self, form: str) -> int:
        """The next number, in a format of `struct`."""
        size = struct.calcsize(form)
        found: int = struct.unpack_from(form, self.data, self.at)[0]
        self.at += size
        return found

    def take(self, size: int) -> bytes:
        """The next so many bytes. Raises IndexError when there are fewer."""
        found = self.data[self.at : self.at + size]
        if len(found) < size:
            raise IndexError
        self.at += size
        return found

    def term(self, depth: int) -> Value:
        """The value that stands here, so many levels deep. Raises EvalError for what has no value."""
        if depth > MAX_DEPTH:
            raise EvalError(f"an external term nested deeper than {MAX_DEPTH} levels")
        spend(1)
        tag = self.byte()
        if tag in _ATOM_SIZES:
            return self.atom(self.number(">H") if _ATOM_SIZES[tag] == 2 else self.byte())
        if tag == _BYTE:
            return self.byte()
        if tag == _INT:
            return self.number(">i")
        if tag == _BINARY:
            return text_of(self.take(self.number(">I")))
        if tag in (_SMALL_BIG, _BIG):
            return self.big(self.byte() if tag == _SMALL_BIG else self.number(">I"))
        return self.compound(tag, depth)

    def compound(self, tag: int, depth: int) -> Value:
        """The value behind a tag that is no atom, integer or binary."""
        if tag == _FLOAT:
            return check_number(struct.unpack(">d", self.take(8))[0])
        if tag == _NIL:
            return []
        if tag == _STRING:  # a list of bytes
            return list(self.take(check_items(self.number(">H"))))
        if tag == _LIST:
            return self.list(depth)
        if tag == _MAP:
            return self.map(depth)
        raise EvalError(f"an external term with tag {tag} has no value here")

    def atom(self, size: int) -> Value:
        """The value of an atom whose name has so many bytes; any other than ours is a text."""
        name = self.take(size)
        return _ATOMS[name] if name in _ATOMS else text_of(name)

    def big(self, size: int) -> int:
        """An integer of so many bytes, behind its sign."""
        if size > MAX_INTEGER_BITS // 8:
            raise EvalError(f"an integer of more than {MAX_INTEGER_BITS} bits")
        negative = self.byte() != 0
        found = int.from_bytes(self.take(size), "little")
        check_number(found)
        return -found if negative else found

    def list(self, depth: int) -> Value:
        """A list. Raises EvalError for one with a tail."""
        count = self.counted()
        found = [self.term(depth + 1) for _ in range(count)]
        if self.byte() != _NIL:
            raise EvalError("an improper list has no value here")
        return found

    def map(self, depth: int) -> Value:
        """A map. Raises EvalError for keys that are no texts."""
        found: dict[str, Value] = {}
        for _ in range(self.counted()):
            key = self.term(depth + 1)
            if not isinstance(key, str):
                raise EvalError("the keys of a map are texts")
            found[key] = self.term(depth + 1)
        return found

    def counted(self) -> int:
        """How many elements follow. Raises IndexError when that cannot be, EvalError when it is too much."""
        count = self.number(">I")
        if count > len(self.data) - self.at:
            raise IndexError
        return check_items(count)
