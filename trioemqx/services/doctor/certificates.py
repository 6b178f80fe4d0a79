"""Certificates and keys that a door shows: when they end, who signed them, how strong they are, who can read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trioemqx.services.doctor.finding import HIGH, LOW, MEDIUM, Finding

SOON: Final = timedelta(days=30)
OLD_TLS: Final = ("tlsv1.1", "tlsv1")
_RSA_BITS: Final = 2048
_CURVE_BITS: Final = 224
_MOST: Final = 1024 * 1024


def tls_findings(key: str, versions: tuple[str, ...], certfile: str | None, now: datetime) -> Iterator[Finding]:
    """What is weak about a TLS door; `key` is the part of its keys before the last."""
    old = [version for version in versions if version in OLD_TLS]
    if old:
        proposal = '"tlsv1.3,tlsv1.2"'
        yield Finding(HIGH, f"{key}.tls_versions", ", ".join(versions), f"{', '.join(old)} is broken", proposal)
    if certfile is not None:
        yield from _certificate(f"{key}.certfile", Path(certfile), now)


def _certificate(key: str, file: Path, now: datetime) -> Iterator[Finding]:
    if file.exists() and not file.is_file():  # a pipe would be waited for
        yield Finding(MEDIUM, key, str(file), "it is not a file", "a certificate in PEM")
        return
    try:
        with file.open("rb") as opened:
            certificate = x509.load_pem_x509_certificate(opened.read(_MOST))
    except FileNotFoundError:
        return  # `config check` says so
    except (OSError, ValueError) as error:
        yield Finding(MEDIUM, key, str(file), f"it cannot be read: {type(error).__name__}", "a certificate in PEM")
        return
    ends = certificate.not_valid_after_utc
    if ends <= now:
        yield Finding(HIGH, key, str(file), f"it ended on {ends:%Y-%m-%d}", "a new certificate, then SIGHUP")
    elif ends - now < SOON:
        reason = f"it ends on {ends:%Y-%m-%d}, in {(ends - now).days} days"
        yield Finding(MEDIUM, key, str(file), reason, "a new certificate, then SIGHUP")
    if certificate.issuer == certificate.subject:
        reason = "it is self-signed: clients cannot tell it from an attacker's"
        yield Finding(LOW, key, str(file), reason, "a certificate of an authority that the clients know")
    weak = _weakness(certificate)
    if weak:
        yield Finding(HIGH, key, str(file), weak, "a certificate with a key of 2048 bits or more, signed with SHA-256")


def _weakness(certificate: x509.Certificate) -> str:
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS:
        return f"its RSA key has {public.key_size} bits"
    if isinstance(public, ec.EllipticCurvePublicKey) and public.key_size < _CURVE_BITS:
        return f"its key has {public.key_size} bits"
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name in ("md5", "sha1") and certificate.issuer != certificate.subject:
        return f"it is signed with {algorithm.name}"
    return ""
