"""A self-signed certificate for a broker that was given none, so that its TLS listeners work at once.

Clients cannot check such a certificate unless they are given its authority; it is meant for trying things out.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY: Final = "key.pem"
CERT: Final = "cert.pem"
CA: Final = "cacert.pem"

_LIFETIME: Final = datetime.timedelta(days=825)
"""Apple's clients refuse longer ones."""

_RENEW_BEFORE: Final = datetime.timedelta(days=14)

_COMMON_NAME_MAX: Final = 64


def ensure_self_signed(directory: Path, names: list[str]) -> tuple[Path, Path, Path]:
    """(key file, certificate file, authority file) in `directory`, made unless they are there and still good.

    `names` are host names and IP addresses for the certificate; the first is also its common name. The files are
    readable by this user alone. A set that is incomplete, unreadable, lacks one of `names` or ends within two weeks is
    made anew. Raises OSError when the directory cannot be written, ValueError without names.
    """
    if not names:
        raise ValueError("a certificate needs at least one name")
    paths = directory / KEY, directory / CERT, directory / CA
    if _usable(paths, names):
        return paths
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(ca_key)
    certificate = _certificate(key, names, authority, ca_key)
    # The certificate is written last: without it `_usable` refuses what an interrupted run left behind.
    _write(paths[0], _private(key))
    _write(paths[2], authority.public_bytes(serialization.Encoding.PEM))
    _write(paths[1], certificate.public_bytes(serialization.Encoding.PEM))
    return paths


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    """Replace `path` at once by a file that never was readable for others."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
    unfinished.replace(path)


def _usable(paths: tuple[Path, Path, Path], names: list[str]) -> bool:
    try:
        key = serialization.load_pem_private_key(paths[0].read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(paths[1].read_bytes())
        authority = x509.load_pem_x509_certificate(paths[2].read_bytes())
        certificate.verify_directly_issued_by(authority)
        present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return False
    now = datetime.datetime.now(datetime.UTC)
    return (
        key.public_key() == certificate.public_key()
        and now + _RENEW_BEFORE < certificate.not_valid_after_utc
        and all(_alternative(name) in present for name in names)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_MAX])])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # A day back: the clocks of devices are often late.
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFETIME)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _named("trioemqx self-signed authority")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _certificate(
    key: ec.EllipticCurvePrivateKey, names: list[str], authority: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(_named(names[0]), authority.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
    )
    return builder.sign(ca_key, hashes.SHA256())
