"""How a message's payload is put into JSON."""

from __future__ import annotations

import base64
from typing import Final

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678"
BASE62: Final = (*_LETTERS, "9A", "9B", "9C")
"""EMQX's own: 6 bits a character as in Base64, the last three values as two characters that begin with 9."""


def base62(data: bytes) -> str:
    """EMQX's base62. Of a last group that is not whole the bits left over are a value of their own, not shifted."""
    words = []
    whole = len(data) // 3 * 3
    for at in range(0, whole, 3):
        bits = int.from_bytes(data[at : at + 3])
        words += [BASE62[bits >> 18], BASE62[bits >> 12 & 63], BASE62[bits >> 6 & 63], BASE62[bits & 63]]
    rest = data[whole:]
    if len(rest) == 2:
        bits = int.from_bytes(rest)
        words += [BASE62[bits >> 10], BASE62[bits >> 4 & 63], BASE62[bits & 15]]
    elif rest:
        words += [BASE62[rest[0] >> 2], BASE62[rest[0] & 3]]
    return "".join(words)


def fields(payload: bytes, encoding: str) -> dict[str, str]:
    """`payload`. Where it should be plain and is not UTF-8 it is Base64, and `payload_encoding` says so: that loses
    nothing, and a receiver can tell it from text."""
    if encoding == "base64":
        return {"payload": base64.b64encode(payload).decode()}
    if encoding == "base62":
        return {"payload": base62(payload)}
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload": base64.b64encode(payload).decode(), "payload_encoding": "base64"}
