"""Keys, each with the algorithms that it may be used for and no others.

That is what makes algorithm confusion impossible: a token chooses its algorithm, but only among those of a key that is
of that very kind. A public key is never the secret of an HMAC, and there is no key for `none`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from trioemqx.plugin import PluginError

from .tokens import Token

HMAC: Final = frozenset({"HS256", "HS384", "HS512"})
RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES: Final = {"secp256r1": ("ES256", 32), "secp384r1": ("ES384", 48), "secp521r1": ("ES512", 66)}
"""Algorithm, and bytes of half a signature, by OpenSSL's name of the curve."""
RSA_BITS: Final = (2048, 8192)
"""RFC 7518 asks for 2048; a larger key than this would cost every login milliseconds."""
MAX_EXPONENT: Final = 2**33
MAX_NUMBER: Final = 1400
"""Characters of a number in a key set: 8192 bits have 1366."""
COMPLAINTS: Final = 10

_REGISTRY: Final = JWSRegistry(algorithms=sorted(HMAC | RSA | {name for name, _ in CURVES.values()}))


class JwksError(Exception):
    """What came is no usable set of keys; one line says why."""


@attrs.frozen
class VerifyKey:
    """A key and what it may verify. `half` are the bytes of half an ECDSA signature, 0 for other keys."""

    key: Key = attrs.field(repr=False)
    algorithms: frozenset[str]
    half: int = 0

    def verifies(self, token: Token, der: bool) -> bool:
        """True when the token's signature is by this key. With `der` an ECDSA signature may be in ASN.1 form."""
        if token.alg not in self.algorithms:
            return False
        try:
            signature = self._raw(token.signature) if der and self.half else token.signature
            return _REGISTRY.get_alg(token.alg).verify(token.signed, signature, self.key)
        except Exception:  # whatever a signature does to the libraries: a crash would count against the plugin
            return False

    def _raw(self, signature: bytes) -> bytes:
        """The form of JOSE: both numbers with all their bytes. What is not ASN.1 has it already."""
        try:
            r, s = decode_dss_signature(signature)
        except ValueError:
            return signature
        return r.to_bytes(self.half, "big") + s.to_bytes(self.half, "big")


def secret_key(secret: str) -> VerifyKey:
    """The key of HS256, HS384 and HS512. Raises PluginError for the text of a public key."""
    try:
        with warnings.catch_warnings():  # that it is short: the plugin says so itself
            warnings.simplefilter("ignore", SecurityWarning)
            return VerifyKey(OctKey.import_key(secret.encode()), HMAC)
    except (ValueError, JoseError):
        raise PluginError("auth.jwt.secret: is a public key; name its file in auth.jwt.pubkey") from None


def public_key(file: Path) -> VerifyKey:
    """The key in a PEM file: a public key or a certificate, RSA or of one of ECDSA's curves. Raises PluginError."""
    try:
        if file.exists() and not file.is_file():  # a pipe or a device could go on for ever
            raise PluginError(f"auth.jwt.pubkey: {file} is not a file")
        pem = file.read_bytes()
    except OSError as error:
        raise PluginError(f"auth.jwt.pubkey: {file}: {error.strerror or error}") from None
    if b"PRIVATE KEY" in pem:
        advice = f"openssl pkey -in {file} -pubout"
        raise PluginError(f"auth.jwt.pubkey: {file} is a private key; the broker needs the public one: {advice}")
    try:
        if b"BEGIN CERTIFICATE" in pem:
            return _asymmetric(load_pem_x509_certificate(pem).public_key())
        return _asymmetric(load_pem_public_key(pem))
    except JwksError as error:
        raise PluginError(f"auth.jwt.pubkey: {file}: {error}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PluginError(f"auth.jwt.pubkey: {file} is not a public key or certificate in PEM form") from None


def _asymmetric(found: object) -> VerifyKey:
    if isinstance(found, RSAPublicKey):
        if not RSA_BITS[0] <= found.key_size <= RSA_BITS[1]:
            raise JwksError(f"an RSA key of {found.key_size} bits; {RSA_BITS[0]} to {RSA_BITS[1]} can be used")
        if found.public_numbers().e > MAX_EXPONENT:
            raise JwksError("an RSA key with a very large exponent")
        return VerifyKey(RSAKey.import_key(found), RSA)
    if isinstance(found, EllipticCurvePublicKey) and found.curve.name in CURVES:
        name, half = CURVES[found.curve.name]
        return VerifyKey(ECKey.import_key(found), frozenset({name}), half)
    raise JwksError("neither an RSA key nor one of the curves P-256, P-384, P-521")


# -- a key set -----------------------------------------------------------------------------------------------------


def key_set(body: bytes, max_keys: int) -> tuple[dict[str, tuple[VerifyKey, ...]], list[str]]:
    """The keys of a JWK set (RFC 7517) by id, and a line for each that is not used. Raises JwksError when there is not
    one to use."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise JwksError("the answer is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise JwksError('the answer is not a key set: it has no list "keys"')
    found: dict[str, tuple[VerifyKey, ...]] = {}
    complaints = []
    for number, jwk in enumerate(listed[:max_keys], 1):
        try:
            kid, key = _from_jwk(jwk)
            if any(type(key.key) is type(other.key) for other in found.get(kid, ())):
                raise JwksError("another key before it has the same kid")
            found[kid] = (*found.get(kid, ()), key)
        except JwksError as error:
            complaints.append(f"key {number}{_named(jwk)} is not used: {error}")
    if len(complaints) > COMPLAINTS:
        complaints[COMPLAINTS:] = [f"{len(complaints) - COMPLAINTS} more keys are not used"]
    if len(listed) > max_keys:
        complaints.append(f"{len(listed) - max_keys} keys above jwks.max_keys = {max_keys} are not used")
    if not found:
        raise JwksError("; ".join(["no key that can be used", *complaints[:1]]))
    return found, complaints


def _named(jwk: object) -> str:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return f" (kid {kid[:60]!r})" if isinstance(kid, str) else ""


def _from_jwk(jwk: Any) -> tuple[str, VerifyKey]:
    """A member of the set. Raises JwksError when it is not to be used."""
    if not isinstance(jwk, dict):
        raise JwksError("it is not an object")
    kind, kid = jwk.get("kty"), jwk.get("kid")
    if kind == "oct":
        raise JwksError("it is a secret (kty oct), which nobody may publish")
    if kind not in ("RSA", "EC"):
        raise JwksError("its kty is neither RSA nor EC")
    if "d" in jwk:
        raise JwksError("it has its private part with it, so anybody can sign")
    if not isinstance(kid, str) or not kid:
        raise JwksError("it has no kid, by which tokens name their key")
    purposes = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not (isinstance(purposes, list) and "verify" in purposes):
        raise JwksError("it is not for signatures (use, key_ops)")
    key = _asymmetric(_imported(jwk, RSAKey if kind == "RSA" else ECKey))
    if "alg" in jwk:
        chosen = jwk["alg"]
        if not isinstance(chosen, str) or chosen not in key.algorithms:
            raise JwksError(f"its alg is not one of a key of its kind ({', '.join(sorted(key.algorithms))})")
        key = attrs.evolve(key, algorithms=frozenset({chosen}))
    return kid, key


def _imported(jwk: Mapping[str, object], cls: type[RSAKey] | type[ECKey]) -> object:
    """The key itself, from the members that say it."""
    names = ("n", "e") if cls is RSAKey else ("crv", "x", "y")
    values = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) and 0 < len(value) <= MAX_NUMBER for value in values.values()):
        raise JwksError(f"its {', '.join(names)} are not what they should be")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            return cls.import_key({"kty": cls.key_type, **values}).public_key  # type: ignore[dict-item]
    except Exception:  # joserfc and cryptography have no common error for numbers that make no key
        raise JwksError("its numbers make no key") from None
