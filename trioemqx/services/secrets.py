"""Passwords and secrets: kept as scrypt hashes, compared in constant time.

A hash is text: `$scrypt$<log2 n>$<salt>$<key>`, the last two in base64. Dashboard passwords that EMQX exported (base64
of a four-byte salt and an MD5 or SHA-256 digest) can be checked as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from functools import cache
from typing import Final

COST = 14
"""log2 of scrypt's n for new hashes. Tests lower it."""
_MOST_COST: Final = 17
_SALT: Final = 16
_KEY: Final = 32
_EMQX_SALT: Final = 4
PREFIX: Final = "$scrypt$"


def hash_secret(secret: str) -> str:
    """The hash to keep. Takes some 30 ms of processor time: call it in a thread."""
    salt = os.urandom(_SALT)
    return f"{PREFIX}{COST}${_encode(salt)}${_encode(_scrypt(secret, salt, COST))}"


def is_hash(text: str) -> bool:
    """True for what `hash_secret` made."""
    return _parts(text) is not None


def verify_secret(secret: str, kept: str | None) -> bool:
    """Whether `secret` is the one that was hashed; None is the hash of nobody's. Takes as long as hashing does."""
    if kept is None:
        kept = _nobodys()
    parts = _parts(kept)
    if parts is not None:
        cost, salt, key = parts
        return hmac.compare_digest(_scrypt(secret, salt, cost), key)
    return _verify_emqx(secret, kept)


@cache
def _nobodys() -> str:
    return hash_secret(base64.b64encode(os.urandom(_KEY)).decode("ascii"))


def _parts(kept: str) -> tuple[int, bytes, bytes] | None:
    fields = kept.removeprefix(PREFIX).split("$") if kept.startswith(PREFIX) else []
    if len(fields) != 3 or not fields[0].isdigit() or not 1 <= int(fields[0]) <= _MOST_COST:
        return None
    try:
        return int(fields[0]), base64.b64decode(fields[1], validate=True), base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None


def _scrypt(secret: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"), salt=salt, n=2**cost, r=8, p=1, dklen=_KEY, maxmem=2**28
    )


def _verify_emqx(secret: str, kept: str) -> bool:
    try:
        raw = base64.b64decode(kept, validate=True)
    except (binascii.Error, ValueError):
        return False
    salt, digest = raw[:_EMQX_SALT], raw[_EMQX_SALT:]
    text = salt + secret.encode("utf-8", "surrogatepass")
    for algorithm in ("sha256", "md5"):
        made = hashlib.new(algorithm, text, usedforsecurity=False).digest()
        if len(made) == len(digest):
            return hmac.compare_digest(made, digest)
    return False


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
