"""Takes a JSON Web Token apart, and believes nothing of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

MAX_TOKEN: Final = 65535
"""Bytes: more do not fit into an MQTT password."""


@attrs.frozen
class Token:
    """What a token says of itself. `signed` is what the signature is made over; `extended` is True when its header asks
    for an extension, of which none is known here, so that it has to be refused (RFC 7515 4.1.11)."""

    alg: str
    kid: str | None
    extended: bool
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes


def parse(text: str | bytes | None) -> Token | None:
    """The parts of a token in compact form; None for anything else."""
    if text is None or not 5 <= len(text) <= MAX_TOKEN:
        return None
    try:
        written = text if isinstance(text, str) else text.decode("ascii")
        header, claims, signature = written.split(".")
        about, said = _object(header), _object(claims)
        alg, kid = about.get("alg"), about.get("kid")
        if not isinstance(alg, str) or not (kid is None or isinstance(kid, str)):
            return None
        extended = "crit" in about or "b64" in about
        return Token(alg, kid, extended, said, f"{header}.{claims}".encode("ascii"), _bytes(signature))
    except (ValueError, RecursionError):
        return None


def _object(part: str) -> dict[str, Any]:
    found = json.loads(_bytes(part), parse_constant=_no_number)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _bytes(part: str) -> bytes:
    """base64url without padding (RFC 7515 2), in the one way in which it may be written. Raises ValueError."""
    found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(found).rstrip(b"=") != part.encode("ascii"):
        raise ValueError("not base64url")
    return found
