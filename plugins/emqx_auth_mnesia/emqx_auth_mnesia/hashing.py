"""How passwords are kept. What is kept says itself how it was made, so that entries of different kinds live together.

EMQX's forms are four random salt bytes followed by the hex digest of salt and password (plain: by salt and password).
Ours, for whoever wants more, is `$pbkdf2-sha256$<rounds>$<salt>$<key>`, salt and key in Base64.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from typing import Final

HASHES: Final = ("plain", "md5", "sha", "sha256", "sha512", "pbkdf2")
SALT: Final = 4
"""Bytes, in EMQX's forms."""
MIN_ROUNDS: Final = 1000
MAX_ROUNDS: Final = 10_000_000
_PBKDF2: Final = b"$pbkdf2-sha256$"
_BY_LENGTH: Final = {32: "md5", 40: "sha", 64: "sha256", 128: "sha512"}
_HEX: Final = frozenset(b"0123456789abcdef")
_MAX_PART: Final = 128


def keep(password: bytes, scheme: str, rounds: int) -> bytes:
    """What is kept of a password. `scheme` is one of HASHES, `rounds` is for pbkdf2."""
    if scheme == "pbkdf2":
        salt = os.urandom(16)
        key = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
        return b"%s%d$%s$%s" % (_PBKDF2, rounds, b64encode(salt), b64encode(key))
    salt = os.urandom(SALT)
    return salt + _digest(scheme, salt + password)


def fits(kept: bytes, password: bytes) -> bool:
    """True when `kept` was made of this password; False for any other, and for what nobody has made."""
    scheme = scheme_of(kept)
    if scheme == "pbkdf2":
        rounds, salt, key = _parts(kept) or (1, b"", b"")
        made = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
        return hmac.compare_digest(made, key)
    if not scheme:
        return False
    return hmac.compare_digest(_digest(scheme, kept[:SALT] + password), kept[SALT:])


def scheme_of(kept: bytes) -> str:
    """Which of HASHES it is; "" for none of them."""
    if kept.startswith(_PBKDF2):
        return "pbkdf2" if _parts(kept) else ""
    tail = kept[SALT:]
    if len(tail) > SALT and tail.startswith(kept[:SALT]):
        return "plain"
    return _BY_LENGTH.get(len(tail), "") if _HEX.issuperset(tail) else ""


def is_slow(kept: bytes) -> bool:
    """True when `fits` takes too long for the broker's own thread."""
    return kept.startswith(_PBKDF2)


def _digest(scheme: str, data: bytes) -> bytes:
    if scheme == "plain":
        return data
    made = hashlib.new("sha1" if scheme == "sha" else scheme, data, usedforsecurity=False)
    return made.hexdigest().encode()


def _parts(kept: bytes) -> tuple[int, bytes, bytes] | None:
    """(rounds, salt, key) of ours; None for what is not well formed, or asks for more work than anybody should."""
    parts = kept[len(_PBKDF2) :].split(b"$")
    if len(parts) != 3 or max(map(len, parts)) > _MAX_PART:
        return None
    try:
        rounds, salt, key = int(parts[0]), b64decode(parts[1], validate=True), b64decode(parts[2], validate=True)
    except ValueError:
        return None
    return (rounds, salt, key) if MIN_ROUNDS <= rounds <= MAX_ROUNDS and salt and len(key) == 32 else None
