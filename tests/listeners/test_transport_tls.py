"""TLS listeners: who gets in, what is known about them, and what garbage does."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import warnings
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from layer_peers import CLIENT_AUTH, SERVER_AUTH, Authority, Identity, TlsClient, Wire, client_context

from trioemqx.errors import ListenerError, MalformedPacket
from trioemqx.listeners.build import TransportPlan
from trioemqx.listeners.tls import certificate_field, distinguished_name
from trioemqx.listeners.tlscontext import TlsSettings, build_context
from trioemqx.listeners.transport import LayerClosed, Peer, Transport

PINGREQ = b"\xc0\x00"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"), "ca")


@pytest.fixture(scope="module")
def server(authority: Authority) -> TlsSettings:
    return TlsSettings(certfile=str(authority.issue("broker.test").file))


@pytest.fixture(scope="module")
def strict(server: TlsSettings, authority: Authority) -> TlsSettings:
    """Client certificates required."""
    return attrs.evolve(server, cacertfile=authority.file, verify=True, fail_if_no_peer_cert=True)


def transport(settings: TlsSettings) -> Transport:
    made = TransportPlan(tls=settings, context=build_context(settings)).transport(Peer("203.0.113.9", 5))
    assert made is not None
    return made


def meet(settings: TlsSettings, context: ssl.SSLContext, cut: int = 1 << 20) -> Wire:
    wire = Wire(transport(settings), [TlsClient(context)], cut)
    wire.connect()
    return wire


def assert_refused(wire: Wire) -> None:
    """Nothing got through, and the client was told."""
    assert wire.end() == "ssl_error"
    assert isinstance(wire.ended, LayerClosed)
    assert not wire.transport.established
    assert wire.plain == b""
    assert wire.transport.write(PINGREQ) == b""
    assert wire.transport.peer.cn is None


def test_modern_client_gets_tls_1_3(server: TlsSettings, authority: Authority) -> None:
    wire = meet(server, client_context(authority))
    client = wire.clients[0]
    assert isinstance(client, TlsClient)
    assert client.ssl.version() == "TLSv1.3"
    assert client.ssl.selected_alpn_protocol() is None
    assert wire.transport.peer == Peer("203.0.113.9", 5)


def test_handshake_in_single_bytes(strict: TlsSettings, authority: Authority) -> None:
    wire = meet(strict, client_context(authority, authority.issue("pump-1")), cut=1)
    assert wire.transport.established
    assert wire.transport.peer.cn == "pump-1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(server: TlsSettings, version: ssl.TLSVersion) -> None:
    assert_refused(meet(server, old_client(version)))


def old_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


def test_old_versions_work_when_named(server: TlsSettings) -> None:
    settings = attrs.evolve(server, tls_versions=("tlsv1.2", "tlsv1"))
    wire = meet(settings, old_client(ssl.TLSVersion.TLSv1))
    assert wire.transport.established
    assert_refused(meet(settings, old_client(ssl.TLSVersion.TLSv1_1)))


def test_only_tls_1_3_when_told(server: TlsSettings) -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert_refused(meet(attrs.evolve(server, tls_versions=("tlsv1.3",)), context))


def test_chosen_ciphers_are_used(server: TlsSettings) -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    settings = attrs.evolve(server, ciphers=("TLS_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"))
    client = meet(settings, context).clients[0]
    assert isinstance(client, TlsClient)
    cipher = client.ssl.cipher()
    assert cipher is not None
    assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_ciphers_of_tls_1_3_alone_leave_no_older_version(server: TlsSettings) -> None:
    """They are not in OpenSSL's list, which stayed at its default: TLS 1.2 with suites that nobody had named."""
    settings = attrs.evolve(server, ciphers=("TLS_AES_256_GCM_SHA384",))
    assert meet(settings, client_context()).transport.established
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert_refused(meet(settings, old))
    with pytest.raises(ListenerError, match=r"ciphers: all are of TLS 1\.3"):
        build_context(attrs.evolve(settings, tls_versions=("tlsv1.2",)))


@pytest.mark.parametrize("tls", ["tlsv1.2", "tlsv1.3"])
def test_client_certificate_required(strict: TlsSettings, authority: Authority, tls: str) -> None:
    settings = attrs.evolve(strict, tls_versions=(tls,))
    wire = meet(settings, client_context(authority, authority.issue("pump-1")))
    assert wire.transport.established
    assert_refused(meet(settings, client_context(authority)))


def test_client_certificate_optional(strict: TlsSettings, authority: Authority, stranger: Authority) -> None:
    settings = attrs.evolve(strict, fail_if_no_peer_cert=False)
    assert meet(settings, client_context(authority)).transport.peer.cn is None
    assert meet(settings, client_context(authority, authority.issue("pump-1"))).transport.peer.cn == "pump-1"
    assert_refused(meet(settings, client_context(authority, stranger.issue("pump-1"))))


def test_wrong_authority_is_refused_again_and_again(
    strict: TlsSettings, authority: Authority, stranger: Authority
) -> None:
    """The second try must not get in through a resumed session."""
    plan = TransportPlan(tls=strict, context=build_context(strict))
    context = client_context(authority, stranger.issue("pump-1"))
    session = None
    for _ in range(3):
        made = plan.transport(Peer("203.0.113.9", 5))
        assert made is not None
        client = TlsClient(context, session)
        wire = Wire(made, [client])
        wire.connect()
        assert_refused(wire)
        session = client.ssl.session


def test_resumed_session_keeps_the_identity(strict: TlsSettings, authority: Authority) -> None:
    plan = TransportPlan(tls=strict, context=build_context(strict))
    context = client_context(authority, authority.issue("pump-1"))
    session = None
    for resumed in (False, True):
        made = plan.transport(Peer("203.0.113.9", 5))
        assert made is not None
        client = TlsClient(context, session)
        wire = Wire(made, [client])
        wire.connect()
        assert client.ssl.session_reused is resumed
        assert made.peer.cn == "pump-1"
        session = client.ssl.session


def test_expired_certificate_is_refused(strict: TlsSettings, authority: Authority) -> None:
    assert_refused(meet(strict, client_context(authority, authority.issue("late", days=-1))))


def test_certificate_is_not_asked_for_without_verify(server: TlsSettings, authority: Authority) -> None:
    wire = meet(server, client_context(authority, authority.issue("pump-1")))
    assert wire.transport.established
    assert wire.transport.peer.cert_der is None


def test_extended_key_usage(strict: TlsSettings, authority: Authority) -> None:
    settings = attrs.evolve(strict, ext_key_usage=("clientAuth", "OID:1.2.3.4"))
    wanted = [CLIENT_AUTH, x509.ObjectIdentifier("1.2.3.4")]
    good = authority.issue("pump-1", usages=wanted)
    assert meet(settings, client_context(authority, good)).transport.established
    for usages in ([CLIENT_AUTH], None):
        assert_refused(meet(settings, client_context(authority, authority.issue("other", usages=usages))))


def test_server_certificate_is_no_client_certificate(strict: TlsSettings, authority: Authority) -> None:
    assert_refused(meet(strict, client_context(authority, authority.issue("other", usages=[SERVER_AUTH]))))


def test_depth_counts_intermediates(strict: TlsSettings, authority: Authority, tmp_path: Path) -> None:
    middle = Authority(tmp_path, "middle", under=authority)
    leaf = middle.issue("pump-1", chain=[middle.identity])
    assert meet(attrs.evolve(strict, depth=1), client_context(authority, leaf)).transport.established
    assert_refused(meet(attrs.evolve(strict, depth=0), client_context(authority, leaf)))
    direct = authority.issue("pump-2")
    assert meet(attrs.evolve(strict, depth=0), client_context(authority, direct)).transport.established


def test_partial_chain(strict: TlsSettings, authority: Authority, tmp_path: Path) -> None:
    middle = Authority(tmp_path, "middle", under=authority)
    settings = attrs.evolve(strict, cacertfile=middle.file)
    context = client_context(authority, middle.issue("pump-1"))
    assert_refused(meet(settings, context))
    assert meet(attrs.evolve(settings, partial_chain=True), context).transport.peer.cn == "pump-1"


def test_revoked_certificate_is_refused(strict: TlsSettings, authority: Authority) -> None:
    lost, good = authority.issue("lost"), authority.issue("good")
    settings = attrs.evolve(strict, crl_files=(str(authority.revoke(lost)),))
    assert meet(settings, client_context(authority, good)).transport.peer.cn == "good"
    assert_refused(meet(settings, client_context(authority, lost)))


@pytest.fixture(scope="module")
def pump(authority: Authority) -> Identity:
    names = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Müller, Söhne + Co"),
        (NameOID.COMMON_NAME, "pump-1"),
    ]
    return authority.issue("pump", subject=[x509.NameAttribute(oid, value) for oid, value in names])


def test_certificate_fields(strict: TlsSettings, authority: Authority, pump: Identity) -> None:
    peer = meet(strict, client_context(authority, pump)).transport.peer
    der = pump.der
    assert certificate_field(peer, "cn") == "pump-1"
    assert certificate_field(peer, "dn") == r"CN=pump-1,O=Müller\, Söhne \+ Co,C=DE"
    assert certificate_field(peer, "dn") == pump.certificate.subject.rfc4514_string()
    assert certificate_field(peer, "crt") == der.decode("latin-1")
    assert certificate_field(peer, "pem") == base64.b64encode(der).decode()
    assert certificate_field(peer, "md5") == hashlib.md5(der).hexdigest()
    with pytest.raises(ValueError, match="sha1"):
        certificate_field(peer, "sha1")


def test_fields_are_absent_without_certificate() -> None:
    peer = Peer("203.0.113.9", 5)
    assert [certificate_field(peer, which) for which in ("cn", "dn", "crt", "pem", "md5")] == [None] * 5


def test_dn_escapes_what_rfc_2253_names() -> None:
    assert distinguished_name(((("commonName", " #a;b "),), (("organizationName", "#x"),))) == r"O=\#x,CN=\ #a\;b\ "
    assert distinguished_name(()) is None


def test_control_characters_in_a_subject_are_refused(strict: TlsSettings, authority: Authority) -> None:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "pump\n-1")]
    wire = meet(strict, client_context(authority, authority.issue("odd", subject=subject)))
    assert wire.end() == "ssl_error"
    assert not wire.transport.established


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 100,
        b"\x16\x03\x01\xff\xff" * 9,
    ],
)
@pytest.mark.parametrize("cut", [1, 1000])
def test_garbage_instead_of_a_handshake(server: TlsSettings, garbage: bytes, cut: int) -> None:
    wire = Wire(transport(server), [], cut)
    wire.to_server(garbage)
    assert_refused(wire)


def test_garbage_after_the_handshake(server: TlsSettings, authority: Authority) -> None:
    wire = meet(server, client_context(authority))
    wire.to_server(wire.clients[0].send(PINGREQ) + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert wire.plain == PINGREQ
    assert wire.end() == "ssl_error"


def test_proxy_header_without_proxy_protocol(server: TlsSettings) -> None:
    wire = Wire(transport(server), [])
    wire.to_server(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n\x16\x03\x01")
    assert wire.end() == "proxy_protocol_config_disabled"
    assert isinstance(wire.ended, MalformedPacket)


def test_goodbye_is_answered(server: TlsSettings, authority: Authority) -> None:
    wire = meet(server, client_context(authority))
    wire.to_server(wire.clients[0].send(b"\xe0\x00") + wire.clients[0].close())
    assert wire.plain == b"\xe0\x00"
    assert wire.end() == "ssl_closed"
    assert wire.clients[0].goodbye


def test_renegotiation_is_refused(server: TlsSettings) -> None:
    """No public way to ask for one exists in `ssl`; that the option is set is what can be checked."""
    context = build_context(server)
    assert context.options & ssl.Options.OP_NO_RENEGOTIATION
    assert context.options & ssl.Options.OP_NO_COMPRESSION


def test_closing_and_writing_before_the_handshake_are_quiet(server: TlsSettings) -> None:
    made = transport(server)
    assert made.write(PINGREQ) == b""
    assert made.close() == b""


def test_buffers_are_not_left_large_by_a_burst(server: TlsSettings, authority: Authority) -> None:
    """Records go through the memory buffers one at a time, in both directions."""
    wire = meet(server, client_context(authority), cut=65536)
    wire.send(bytes(300_000))
    assert wire.plain == bytes(300_000)
    out = wire.transport.write(bytes(300_000))
    assert 300_000 < len(out) < 302_000


def test_reload_reads_the_files_again(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(authority.issue("broker.test").file.read_bytes())
    settings = TlsSettings(certfile=str(file))
    plan = TransportPlan(tls=settings, context=build_context(settings))
    made = plan.transport(Peer("203.0.113.9", 5))
    assert made is not None
    old = Wire(made, [TlsClient(client_context(authority))])
    old.connect()

    file.write_bytes(stranger.issue("broker.test").file.read_bytes())
    renewed = plan.renewed().transport(Peer("203.0.113.9", 5))
    assert renewed is not None
    new = Wire(renewed, [TlsClient(client_context(stranger))])
    new.connect()
    assert new.transport.established
    old.send(PINGREQ)
    assert old.plain == PINGREQ

    file.write_bytes(b"no certificate")
    with pytest.raises(ListenerError, match=r"server\.pem"):
        plan.renewed()


def test_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    identity = authority.issue("broker.test")
    key = tmp_path / "key.pem"
    secret = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(identity.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(identity.certificate.public_bytes(serialization.Encoding.PEM))
    settings = TlsSettings(certfile=str(certificate), keyfile=str(key), key_password="secret")
    assert meet(settings, client_context(authority)).transport.established
    for password in ("", "wrong"):
        with pytest.raises(ListenerError, match=r"key\.pem"):
            build_context(attrs.evolve(settings, key_password=password))
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"certfile": ""}, "certfile is not set"),
        ({"certfile": "missing.pem"}, "missing.pem: No such file"),
        ({"cacertfile": "missing.pem"}, "cacertfile missing.pem: No such file"),
        ({"cacertfile": ""}, "verify_peer needs cacertfile"),
        ({"verify": False}, "fail_if_no_peer_cert needs"),
        ({"tls_versions": ("sslv3",)}, "tls_versions: sslv3"),
        ({"tls_versions": ()}, "tls_versions: empty"),
        ({"ciphers": ("NONSENSE",)}, "ciphers: none of NONSENSE"),
        ({"ciphers": ("A",), "psk_ciphers": ("B",)}, "exclude each other"),
        ({"psk_ciphers": ("PSK-AES128-CBC-SHA",)}, "without tlsv1.3"),
        ({"dhfile": "missing.pem"}, "dhfile missing.pem: No such file"),
        ({"crl_files": ("missing.pem",)}, "crl file missing.pem: No such file"),
    ],
)
def test_bad_settings_give_one_line(strict: TlsSettings, change: dict[str, object], message: str) -> None:
    with pytest.raises(ListenerError, match=message):
        build_context(attrs.evolve(strict, **change))


@pytest.mark.parametrize("key", ["certfile", "keyfile", "cacertfile", "dhfile", "crl_files"])
def test_a_pipe_is_not_waited_for(strict: TlsSettings, tmp_path: Path, key: str) -> None:
    """The event loop would wait with it: certificates are read again while the broker runs."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with pytest.raises(ListenerError, match="pipe: not a file"):
        build_context(attrs.evolve(strict, **{key: (pipe,) if key == "crl_files" else pipe}))


def test_the_other_file_is_no_key(server: TlsSettings, authority: Authority) -> None:
    other = authority.issue("other").file
    with pytest.raises(ListenerError, match=r"key values mismatch"):
        build_context(attrs.evolve(server, keyfile=str(other)))


def test_honor_cipher_order_and_sessions_can_be_switched_off(server: TlsSettings) -> None:
    context = build_context(attrs.evolve(server, honor_cipher_order=False, reuse_sessions=False))
    assert not context.options & ssl.Options.OP_CIPHER_SERVER_PREFERENCE
    assert context.options & ssl.Options.OP_NO_TICKET
    assert context.num_tickets == 0
