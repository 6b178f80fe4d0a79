"""The server's side of SCRAM [RFC 5802, RFC 7677]: messages, keys, proofs. No I/O, no state.

client-first   n,,n=user,r=<client nonce>
server-first   r=<client nonce><server nonce>,s=<salt>,i=<rounds>
client-final   c=<what stood in front of n=>,r=<both nonces>,p=<proof>
server-final   v=<signature>
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

import attrs

from .saslprep import NotAllowed, saslprep

MECHANISMS: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""Hash by mechanism."""
MAX_MESSAGE: Final = 4096
"""Bytes of a client's message: far more than one needs."""
MIN_ROUNDS: Final = 4096
"""[RFC5802 5.1], [RFC7677 4]"""
MAX_ROUNDS: Final = 1_000_000
"""Half a second or so of the processor, at the client as well."""
MAX_NAME: Final = 1024
_NONCE: Final = frozenset(map(chr, range(0x21, 0x7F))) - {","}


class ScramError(ValueError):
    """A client's message is not what it should be."""


@attrs.frozen
class Keys:
    """What a server keeps of a password: enough to check a proof, too little to make one."""

    stored_key: bytes
    server_key: bytes


@attrs.frozen
class ClientFirst:
    """`header` is the part in front of `bare`, which the client says again at the end; `username` is prepared."""

    header: str
    bare: str
    username: str
    nonce: str


@attrs.frozen
class ClientFinal:
    """`without_proof` is the message up to `,p=`."""

    without_proof: str
    header: bytes
    nonce: str
    proof: bytes


def derive(mechanism: str, password: str, salt: bytes, rounds: int) -> Keys:
    """The keys of a prepared password [RFC5802 3]. Takes as long as `rounds` say."""
    name = MECHANISMS[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", name)
    return Keys(hashlib.new(name, client_key).digest(), hmac.digest(salted, b"Server Key", name))


def read_first(data: bytes) -> ClientFirst:
    """Take client-first apart. Raises ScramError."""
    flag, authzid, bare = _parts(data, 3)
    if flag.startswith("p="):
        raise ScramError("channel binding is not offered")
    if flag not in ("n", "y"):  # y: the client could bind, and believes that we cannot; it is right
        raise ScramError("not a client-first message")
    fields = bare.split(",")
    if len(fields) < 2 or not all(map(_is_attribute, fields)):
        raise ScramError("not a client-first message")
    username, nonce = _value(fields[0], "n"), _value(fields[1], "r")  # an extension m= in front is one we must know
    first = ClientFirst(f"{flag},{authzid},", bare, _name(username), _checked(nonce))
    if authzid and _name(_value(authzid, "a")) != first.username:
        raise ScramError("nobody may act for another user")
    return first


def read_final(data: bytes) -> ClientFinal:
    """Take client-final apart. Raises ScramError."""
    text = _text(data)
    without_proof, found, proof = text.rpartition(",p=")
    fields = without_proof.split(",")
    if not found or len(fields) < 2 or not all(map(_is_attribute, fields)):
        raise ScramError("not a client-final message")
    header, nonce = _value(fields[0], "c"), _value(fields[1], "r")
    return ClientFinal(without_proof, _base64(header), _checked(nonce), _base64(proof))


def server_first(nonce: str, salt: bytes, rounds: int) -> str:
    """The challenge; `nonce` is the client's and ours."""
    return f"r={nonce},s={b64encode(salt).decode()},i={rounds}"


def server_final(mechanism: str, keys: Keys, first: ClientFirst, challenge: str, final: ClientFinal) -> bytes | None:
    """Check the proof: the answer for the client, which proves that we know the keys, or None when it is wrong.
    `first.nonce` is the one of the challenge."""
    name = MECHANISMS[mechanism]
    said = f"{first.bare},{challenge},{final.without_proof}".encode()
    signature = hmac.digest(keys.stored_key, said, name)
    if len(final.proof) != len(signature):
        return None
    client_key = bytes(a ^ b for a, b in zip(final.proof, signature, strict=True))
    right = hmac.compare_digest(hashlib.new(name, client_key).digest(), keys.stored_key)
    same = hmac.compare_digest(final.nonce, first.nonce) and final.header == first.header.encode()
    if not (right and same):
        return None
    return b"v=" + b64encode(hmac.digest(keys.server_key, said, name))


# -- pieces ----------------------------------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    if len(data) > MAX_MESSAGE:
        raise ScramError(f"longer than {MAX_MESSAGE} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ScramError("not UTF-8") from None
    if "\0" in text:
        raise ScramError("holds U+0000")
    return text


def _parts(data: bytes, count: int) -> list[str]:
    parts = _text(data).split(",", count - 1)
    if len(parts) != count:
        raise ScramError("too short")
    return parts


def _is_attribute(field: str) -> bool:
    """`letter=value`"""
    return len(field) > 2 and field[1] == "=" and field[0].isascii() and field[0].isalpha()


def _value(field: str, letter: str) -> str:
    if not field.startswith(f"{letter}="):
        raise ScramError(f"{letter}= is missing")
    return field[2:]


def _name(escaped: str) -> str:
    """A user name: `=2C` is a comma and `=3D` an equals sign."""
    pieces = escaped.split("=")
    if not all(piece.startswith(("2C", "3D")) for piece in pieces[1:]):
        raise ScramError("a user name with = that is not =2C or =3D")
    signs = {"2C": ",", "3D": "="}
    name = pieces[0] + "".join(signs[piece[:2]] + piece[2:] for piece in pieces[1:])
    try:
        return saslprep(name, stored=False)
    except NotAllowed as error:
        raise ScramError(f"user name: {error}") from None


def _checked(nonce: str) -> str:
    if not nonce or not _NONCE.issuperset(nonce):
        raise ScramError("not a nonce")
    return nonce


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ScramError("not Base64") from None
