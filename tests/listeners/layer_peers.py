"""The other end of a transport in memory: clients that speak PROXY, TLS and WebSocket, and certificates for them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import wsproto
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, RejectConnection, Request

from trioemqx.listeners.transport import LayerClosed, Transport


@attrs.frozen
class Identity:
    """A certificate with its key; `file` holds both, PEM."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


@attrs.define
class Authority:
    """Signs certificates and writes them to `folder`; `under` makes an intermediate authority."""

    folder: Path
    name: str
    under: Authority | None = None
    identity: Identity = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.identity = self._make(self.name, [x509.NameAttribute(NameOID.COMMON_NAME, self.name)], authority=True)

    @property
    def file(self) -> str:
        return str(self.identity.file)

    def issue(
        self,
        name: str,
        subject: list[x509.NameAttribute] | None = None,
        days: int = 30,
        usages: list[x509.ObjectIdentifier] | None = None,
        chain: list[Identity] | None = None,
    ) -> Identity:
        """A certificate for `name`; negative `days` have passed already."""
        subject = subject or [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        return self._make(name, subject, days=days, usages=usages, chain=chain, signer=self.identity)

    def _make(self, name, subject, *, authority=False, days=30, usages=None, chain=None, signer=None) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        if authority and self.under is not None:
            signer = self.under.identity
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(signer.certificate.subject if signer else x509.Name(subject))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("broker.test")]), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(signer.key if signer else key, hashes.SHA256())
        file = self.folder / f"{self.name}-{name}.pem"
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        for other in chain or ():
            pem += other.certificate.public_bytes(serialization.Encoding.PEM)
        pem += key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(pem)
        return Identity(certificate, key, file)

    def revoke(self, *identities: Identity) -> Path:
        """A revocation list with these certificates."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.identity.certificate.subject)
            .last_update(now - timedelta(days=1))
            .next_update(now + timedelta(days=1))
        )
        for identity in identities:
            revoked = x509.RevokedCertificateBuilder().serial_number(identity.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(now - timedelta(hours=1)).build())
        file = self.folder / f"{self.name}.crl"
        signed = builder.sign(self.identity.key, hashes.SHA256())
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return file


CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH


class PlainClient:
    """A client without any layer. `received` collects what the layer's user would see."""

    def __init__(self) -> None:
        self.received = b""
        self.goodbye = False

    def start(self) -> bytes:
        return b""

    @property
    def open(self) -> bool:
        return True

    def feed(self, data: bytes) -> bytes:
        """Bytes of the server in; an answer out, content goes to `received`."""
        self.received += data
        return b""

    def send(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


class ProxyClient(PlainClient):
    """Sends a header first."""

    def __init__(self, header: bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n") -> None:
        super().__init__()
        self.header = header

    def start(self) -> bytes:
        return self.header


def client_context(authority: Authority | None = None, identity: Identity | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(authority.file)
    if identity is not None:
        context.load_cert_chain(identity.file)
    return context


class TlsClient(PlainClient):
    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        super().__init__()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname="broker.test", session=session)
        self.shaken = False
        self.error: ssl.SSLError | None = None

    @property
    def open(self) -> bool:
        return self.shaken

    def start(self) -> bytes:
        return self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        self.incoming.write(data)
        try:
            if not self.shaken:
                self.ssl.do_handshake()
                self.shaken = True
            while not self.goodbye:
                chunk = self.ssl.read(65536)
                self.goodbye = not chunk
                self.received += chunk
        except ssl.SSLWantReadError:
            return self.outgoing.read()
        except ssl.SSLZeroReturnError:
            self.goodbye = True
        except ssl.SSLError as error:
            self.error = error
        return self.outgoing.read()

    def send(self, data: bytes) -> bytes:
        if data:
            self.ssl.write(data)
        return self.outgoing.read()

    def close(self) -> bytes:
        try:
            self.ssl.unwrap()
        except ssl.SSLError:
            return self.outgoing.read()
        return self.outgoing.read()


class WsClient(PlainClient):
    """A WebSocket client made of wsproto. Every element of `messages` was one message."""

    def __init__(self, request: Request | None = None, fragment: int = 0) -> None:
        super().__init__()
        self.ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.request = request or Request(host="broker.test", target="/mqtt", subprotocols=["mqtt"])
        self.fragment = fragment
        self.events: list[Event] = []
        self.messages: list[bytes] = []
        self.accepted: AcceptConnection | None = None
        self.rejected: RejectConnection | None = None
        self.close_code: int | None = None
        self._part = b""

    @property
    def open(self) -> bool:
        return self.accepted is not None

    def start(self) -> bytes:
        return self.ws.send(self.request)

    def feed(self, data: bytes) -> bytes:
        if data:
            self.ws.receive_data(data)
        answer = b""
        for event in self.ws.events():
            self.events.append(event)
            if isinstance(event, AcceptConnection):
                self.accepted = event
            elif isinstance(event, RejectConnection):
                self.rejected = event
            elif isinstance(event, BytesMessage):
                self.received += event.data
                self._part += event.data
                if event.message_finished:
                    self.messages.append(self._part)
                    self._part = b""
            elif isinstance(event, CloseConnection):
                self.goodbye = True
                self.close_code = event.code
                if self.ws.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                    answer += self.ws.send(event.response())
        return answer

    def send(self, data: bytes) -> bytes:
        size = self.fragment or max(len(data), 1)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        last = len(parts) - 1
        return b"".join(
            self.ws.send(BytesMessage(data=part, message_finished=at == last)) for at, part in enumerate(parts)
        )

    def close(self) -> bytes:
        return self.ws.send(CloseConnection(code=1000))


@attrs.define
class Wire:
    """A transport and the clients that mirror its layers (lowest first), joined without sockets.

    `cut` is the size of the pieces in which the client's bytes arrive. `plain` collects what the broker would read.
    """

    transport: Transport
    clients: list[PlainClient]
    cut: int = 1 << 20
    plain: bytes = b""
    ended: Exception | None = None
    raw: bytes = b""

    def connect(self) -> None:
        """Run the handshakes of all layers, one after the other as a real client does."""
        for at, client in enumerate(self.clients):
            self.to_server(self._down(client.start(), at))

    def send(self, data: bytes) -> None:
        """The client's application sends."""
        self.to_server(self._down(data, len(self.clients)))

    def _down(self, data: bytes, below: int) -> bytes:
        for client in reversed(self.clients[:below]):
            data = client.send(data)
        return data

    def to_server(self, data: bytes) -> None:
        """Bytes arrive at the server's socket; its answers go back until both are silent."""
        while data:
            answers = [self._piece(data[at : at + self.cut]) for at in range(0, len(data), self.cut)]
            data = self.to_client(b"".join(answers))

    def _piece(self, data: bytes) -> bytes:
        if self.ended is None:
            try:
                self.plain += self.transport.feed(data)
                self.ended = self.transport.ended
            except Exception as error:
                self.ended = error
        return self.transport.output()

    def to_client(self, data: bytes) -> bytes:
        """Bytes arrive at the client's socket; returns what its layers answer."""
        self.raw += data
        answer = b""
        for at, client in enumerate(self.clients):
            before = len(client.received)
            answer += self._down(client.feed(data), at)
            data = client.received[before:]
        return answer

    def write(self, data: bytes) -> None:
        """The broker sends."""
        self.to_server(self.to_client(self.transport.write(data)))

    def close(self) -> None:
        """The broker says goodbye."""
        self.to_server(self.to_client(self.transport.close()))

    @property
    def received(self) -> bytes:
        """What the client's application has read."""
        return self.clients[-1].received if self.clients else b""

    def end(self) -> str:
        """The close reason; fails when the transport is still open."""
        assert self.ended is not None
        assert isinstance(self.ended, LayerClosed) or hasattr(self.ended, "code")
        return self.ended.name
