"""sprintf, with the formats of Erlang's io_lib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions.arguments import integer, items, text
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.jsontext import render, weigh
from trioemqx.rules.sql.meter import check_size, spend
from trioemqx.rules.sql.values import UNDEFINED, Value, bytes_of, kind, text_of

FORMATS: Final = Family("Formatting")
MAX_WIDTH: Final = 10_000
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@FORMATS.add("sprintf(format, ...)")
def sprintf(template: Value, *arguments: Value) -> Value:
    """A text with values put in: `~s` text, `~p` and `~w` any value, `~b` and `~B` integer (`~.16B`: base 16), `~f`,
    `~e` and `~g` float (`~.2f`), `~c` character code, `~n` line end, `~~` tilde, `~i` nothing. `~10s` sets the width,
    a negative one aligns to the left; `~5..0b` pads with zeros."""
    return _Formatter(text(template), arguments).run()


@FORMATS.add("sprintf_s(format, list)")
def sprintf_s(template: Value, arguments: Value) -> Value:
    """Like sprintf, with the values in a list."""
    return _Formatter(text(template), tuple(items(arguments))).run()


class _Formatter:
    """Reads a format once, taking arguments as it goes."""

    def __init__(self, template: str, arguments: tuple[Value, ...]) -> None:
        self._template = template
        self._arguments: Iterator[Value] = iter(arguments)
        self._at = 0
        self._width: int | None = None
        self._precision: int | None = None
        self._pad = " "

    def run(self) -> Value:
        """The finished text. Raises EvalError when arguments are missing, left over, or of the wrong kind."""
        pieces: list[bytes] = []
        size = 0
        while True:
            tilde = self._template.find("~", self._at)
            literal = self._template[self._at :] if tilde < 0 else self._template[self._at : tilde]
            pieces.append(literal.encode())
            size += len(pieces[-1])
            if tilde < 0:
                break
            self._at = tilde + 1
            pieces.append(self._directive())
            size += len(pieces[-1])
            spend(5)
            check_size(size)
        if next(self._arguments, self) is not self:
            raise EvalError("more values than the format has places")
        return text_of(b"".join(pieces))

    # -- reading

    def _next(self) -> str:
        if self._at >= len(self._template):
            raise EvalError("a format that ends with ~")
        self._at += 1
        return self._template[self._at - 1]

    def _number(self) -> int | None:
        """A number, or `*`, which takes one from the arguments."""
        begin = self._at
        if self._template[begin : begin + 1] == "*":
            self._at += 1
            return self._bounded(integer(self._argument()))
        end = begin + (self._template[begin : begin + 1] == "-")
        while self._template[end : end + 1] in tuple("0123456789"):
            end += 1
        digits = self._template[begin:end]
        self._at = end
        return self._bounded(int(digits[:10])) if digits.strip("-") else None

    def _bounded(self, number: int) -> int:
        if abs(number) > MAX_WIDTH:
            raise EvalError(f"a width of more than {MAX_WIDTH}")
        return number

    def _argument(self) -> Value:
        value = next(self._arguments, self)
        if value is self:
            raise EvalError("fewer values than the format has places")
        return value

    def _directive(self) -> bytes:
        """`~W.P.PadC`."""
        self._width, self._precision, self._pad = self._number(), None, " "
        letter = self._next()
        if letter == ".":
            self._precision = self._number()
            letter = self._next()
            if letter == ".":
                self._pad, letter = self._next(), self._next()
        while letter in ("t", "l"):  # texts are Unicode anyway
            letter = self._next()
        plain = {"~": "~", "n": "\n"}.get(letter)
        if plain is not None:
            return (plain * max(1, self._width or 1)).encode()
        form = _FORMS.get(letter)
        if form is None:
            raise EvalError(f"there is no format ~{letter}")
        return form(self, self._argument())

    # -- writing

    def _fit(self, shown: bytes, cut: bool) -> bytes:
        """In the width that is asked for. What is longer is cut, or becomes stars if it is a number."""
        if self._width is None:
            return shown
        width = abs(self._width)
        length = len(shown.decode("utf-8", "replace"))
        if length > width:
            return shown.decode("utf-8", "replace")[:width].encode() if cut else b"*" * width
        padding = (self._pad * (width - length)).encode()
        return shown + padding if self._width < 0 else padding + shown

    def string(self, value: Value) -> bytes:
        """`~s`: a text as it is, cut to the precision."""
        if not isinstance(value, str | bytes):
            raise EvalError(f"~s needs a text, not {kind(value)}; ~p takes everything")
        if self._precision is not None and isinstance(value, str):
            value = value[: max(0, self._precision)]
            if self._width is None:
                self._width = self._precision
        return self._fit(bytes_of(value), cut=True)

    def anything(self, value: Value) -> bytes:
        """`~p` and `~w`: any value, in Erlang's notation."""
        size, _ = weigh(value)
        check_size(size)
        return self._fit(_term(value), cut=False)

    def whole(self, value: Value, upper: bool = False) -> bytes:
        """`~b` and `~B`: an integer, in the base that the precision says."""
        number, base = integer(value), self._precision or 10
        if not 2 <= base <= 36:
            raise EvalError("a base is between 2 and 36")
        digits = _in_base(number, base)
        return self._fit((digits if upper else digits.lower()).encode(), cut=False)

    def fixed(self, value: Value) -> bytes:
        """`~f`: a float without exponent."""
        return self._fit(f"{self._float(value):.{self._places(6)}f}".encode(), cut=False)

    def scientific(self, value: Value) -> bytes:
        """`~e`: a float with an exponent."""
        return self._fit(_scientific(self._float(value), max(2, self._places(6))).encode(), cut=False)

    def general(self, value: Value) -> bytes:
        """Fixed between 0.1 and 10000, scientific elsewhere; the precision counts significant digits."""
        number, digits = self._float(value), self._places(6)
        before = next((power for power in range(5) if abs(number) < 10.0**power), 9)
        if abs(number) >= 0.1 and digits > before and before < 5:
            return self._fit(f"{number:.{max(1, digits - before)}f}".encode(), cut=False)
        return self._fit(_scientific(number, max(2, digits)).encode(), cut=False)

    def character(self, value: Value) -> bytes:
        """`~c`: the character with this code, as often as the width says."""
        code = integer(value)
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise EvalError("~c needs the code of a character")
        return (chr(code) * max(1, abs(self._width or 1))).encode()

    def nothing(self, value: Value) -> bytes:
        """`~i`: an argument that is not shown."""
        return b""

    def _float(self, value: Value) -> float:
        if not isinstance(value, float):
            raise EvalError(f"~f, ~e and ~g need a float, not {kind(value)}; float() converts")
        return value

    def _places(self, default: int) -> int:
        places = default if self._precision is None else self._precision
        if not 0 < places <= 253:
            raise EvalError("a precision is between 1 and 253")
        return places


_FORMS: Final[dict[str, Callable[[_Formatter, Value], bytes]]] = {
    "s": _Formatter.string,
    "p": _Formatter.anything,
    "w": _Formatter.anything,
    "b": _Formatter.whole,
    "B": lambda formatter, value: formatter.whole(value, upper=True),
    "f": _Formatter.fixed,
    "e": _Formatter.scientific,
    "g": _Formatter.general,
    "c": _Formatter.character,
    "i": _Formatter.nothing,
}


def _scientific(number: float, digits: int) -> str:
    """`1.50000e+0`: so many significant digits, an exponent without leading zeros."""
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0') or '0'}"


def _in_base(number: int, base: int) -> str:
    if base == 10:
        return str(number)
    if base == 16:
        return f"{number:X}"
    digits: list[str] = []
    left = abs(number)
    while left:
        left, digit = divmod(left, base)
        digits.append(_DIGITS[digit])
    spend(len(digits))
    return ("-" if number < 0 else "") + ("".join(reversed(digits)) or "0")


def _term(value: Any) -> bytes:
    """A value in Erlang's notation."""
    if isinstance(value, str | bytes):
        quoted = bytes_of(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'<<"' + quoted + (b'">>' if value.isascii() else b'"/utf8>>')
    if isinstance(value, list):
        return b"[" + b",".join(map(_term, value)) + b"]"
    if isinstance(value, dict):
        return b"#{" + b",".join(_term(key) + b" => " + _term(member) for key, member in value.items()) + b"}"
    if value is None or value is UNDEFINED or isinstance(value, bool):
        return bytes_of(render(value))
    return _erlang_number(repr(value)).encode()


def _erlang_number(digits: str) -> str:
    """`1e+22` is `1.0e22` in Erlang, `1e-07` is `1.0e-7`."""
    mantissa, mark, exponent = digits.partition("e")
    if not mark:
        return digits
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(exponent)}"
