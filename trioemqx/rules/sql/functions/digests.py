"""Hashes, encodings and compression."""

from __future__ import annotations

import binascii
import hashlib
import zlib
from collections.abc import Callable
from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions import terms
from trioemqx.rules.sql.functions.arguments import data
from trioemqx.rules.sql.functions.table import Family, declare
from trioemqx.rules.sql.jsontext import decode, encode
from trioemqx.rules.sql.meter import check_size, meter, spend
from trioemqx.rules.sql.values import Text, Value, kind, text_of

DIGESTS: Final = Family("Hashes, encodings, compression")
_GZIP, _RAW, _ZLIB = 31, -15, 15
"""What zlib calls the three formats."""


@DIGESTS.add("md5(s)")
def md5(s: Value) -> str:
    """The MD5 digest of a text in lower-case hexadecimal digits."""
    return hashlib.md5(_hashed(s), usedforsecurity=False).hexdigest()


@DIGESTS.add("sha(s)")
def sha(s: Value) -> str:
    """The SHA-1 digest of a text in lower-case hexadecimal digits."""
    return hashlib.sha1(_hashed(s), usedforsecurity=False).hexdigest()


@DIGESTS.add("sha256(s)")
def sha256(s: Value) -> str:
    """The SHA-256 digest of a text in lower-case hexadecimal digits."""
    return hashlib.sha256(_hashed(s)).hexdigest()


def _hashed(s: Value) -> bytes:
    whole = data(s)
    spend(len(whole) >> 5)
    return whole


@DIGESTS.add("base64_encode(b)")
def base64_encode(b: Value) -> str:
    """The bytes of a text in base64, with padding."""
    whole = data(b)
    check_size(len(whole) * 4 // 3 + 4)
    return binascii.b2a_base64(whole, newline=False).decode()


@DIGESTS.add("base64_decode(t)")
def base64_decode(t: Value) -> Text:
    """What a base64 text stands for; white space in it does not count, padding has to be there."""
    whole = data(t).translate(None, b" \t\r\n")
    try:
        return text_of(binascii.a2b_base64(whole, strict_mode=True))
    except binascii.Error as error:
        raise EvalError(f"not base64: {error}") from None


@DIGESTS.add("json_encode(x)")
def json_encode(x: Value) -> str:
    """A value as compact JSON; what is missing becomes "undefined"."""
    return encode(x)


@DIGESTS.add("json_decode(t)")
def json_decode(t: Value) -> Value:
    """The value of a JSON text."""
    if not isinstance(t, str | bytes):
        raise EvalError(f"needs a text, not {kind(t)}")
    return decode(t)


@DIGESTS.add("term_encode(x)")
def term_encode(x: Value) -> Text:
    """A value in Erlang's external term format."""
    return text_of(terms.encode(x))


@DIGESTS.add("term_decode(b)")
def term_decode(b: Value) -> Value:
    """The value of an external term that term_encode, or Erlang, has made."""
    return terms.decode(data(b))


def _compressed(value: Value, form: int) -> Text:
    whole = data(value)
    spend(len(whole) >> 1)
    packer = zlib.compressobj(wbits=form)
    packed = packer.compress(whole) + packer.flush()
    check_size(len(packed))
    return text_of(packed)


def _expanded(value: Value, form: int) -> Text:
    """Never makes more than a text may have. A gzip text may consist of several streams."""
    rest, pieces, room = data(value), [], meter.text
    while True:
        unpacker = zlib.decompressobj(wbits=form)
        try:
            pieces.append(unpacker.decompress(rest, room + 1))
        except zlib.error as error:
            raise EvalError(f"cannot be unpacked: {error}") from None
        room -= len(pieces[-1])
        if room < 0:
            check_size(meter.text + 1)
        if not unpacker.eof:
            raise EvalError("cannot be unpacked: the end is missing")
        rest = unpacker.unused_data
        spend(10 + (len(pieces[-1]) >> 3))
        if form != _GZIP or not rest:
            return text_of(b"".join(pieces))


def _packing(form: int) -> Callable[[Value], Text]:
    return lambda b: _compressed(b, form)


def _unpacking(form: int) -> Callable[[Value], Text]:
    return lambda b: _expanded(b, form)


for _signature, _call, _doc in (
    ("gzip(b)", _packing(_GZIP), "Compressed, as a gzip stream."),
    ("gunzip(b)", _unpacking(_GZIP), "What a gzip stream holds."),
    ("zip(b)", _packing(_RAW), "Compressed, as raw deflate data."),
    ("unzip(b)", _unpacking(_RAW), "What raw deflate data hold."),
    ("zip_compress(b)", _packing(_ZLIB), "Compressed, as a zlib stream."),
    ("zip_uncompress(b)", _unpacking(_ZLIB), "What a zlib stream holds."),
):
    DIGESTS.functions.append(declare(_signature, _call, doc=_doc))
