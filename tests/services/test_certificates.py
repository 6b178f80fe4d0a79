"""The self-signed pair: good enough for a TLS client that trusts its authority, private, and made only once."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from trioemqx.services import certificates
from trioemqx.services.certificates import ensure_self_signed

NAMES = ["broker.test", "localhost", "127.0.0.1", "::1"]


def handshake(key: Path, cert: Path, ca: Path, name: str) -> str | None:
    """A handshake in memory; gives the negotiated version. Raises ssl.SSLError when the client does not trust."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key)
    client_context = ssl.create_default_context(cafile=str(ca))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.version()


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_accepts_every_name(tmp_path: Path, name: str) -> None:
    assert handshake(*ensure_self_signed(tmp_path / "certs", NAMES), name) == "TLSv1.3"


def test_another_name_is_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(*ensure_self_signed(tmp_path, NAMES), "evil.test")


def test_files_are_private(tmp_path: Path) -> None:
    paths = ensure_self_signed(tmp_path / "data/certs", NAMES)
    assert [path.name for path in paths] == ["key.pem", "cert.pem", "cacert.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE((tmp_path / "data/certs").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "data/certs").iterdir()) == ["cacert.pem", "cert.pem", "key.pem"]


def contents(paths: tuple[Path, Path, Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def test_a_good_set_is_kept(tmp_path: Path) -> None:
    before = contents(ensure_self_signed(tmp_path, NAMES))
    assert contents(ensure_self_signed(tmp_path, NAMES[:2])) == before


def test_a_new_name_makes_a_new_certificate(tmp_path: Path) -> None:
    before = contents(ensure_self_signed(tmp_path, NAMES))
    assert contents(ensure_self_signed(tmp_path, [*NAMES, "other.test"])) != before


@pytest.mark.parametrize("file", ["key.pem", "cert.pem", "cacert.pem"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "foreign"])
def test_a_damaged_set_is_made_anew(tmp_path: Path, file: str, damage: str) -> None:
    paths = ensure_self_signed(tmp_path / "a", NAMES)
    broken = tmp_path / "a" / file
    if damage == "missing":
        broken.unlink()
    elif damage == "garbage":
        broken.write_bytes(b"-----BEGIN nothing")
    else:
        ensure_self_signed(tmp_path / "b", NAMES)
        broken.write_bytes((tmp_path / "b" / file).read_bytes())
    assert handshake(*ensure_self_signed(tmp_path / "a", NAMES), "broker.test") == "TLSv1.3"
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600


def test_a_certificate_near_its_end_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_LIFETIME", datetime.timedelta(days=10))
    before = contents(ensure_self_signed(tmp_path, NAMES))
    monkeypatch.undo()
    paths = ensure_self_signed(tmp_path, NAMES)
    assert contents(paths) != before
    left = x509.load_pem_x509_certificate(paths[1].read_bytes()).not_valid_after_utc - datetime.datetime.now(
        datetime.UTC
    )
    assert left > datetime.timedelta(days=800)


def test_a_long_host_name_fits(tmp_path: Path) -> None:
    name = f"{'a' * 60}.{'b' * 60}.test"
    assert handshake(*ensure_self_signed(tmp_path, [name]), name) == "TLSv1.3"


def test_no_name_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        ensure_self_signed(tmp_path, [])
