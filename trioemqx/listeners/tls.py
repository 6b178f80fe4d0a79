"""TLS as a synchronous layer: `ssl.SSLObject` between two memory buffers.

Contexts are built in `tlscontext.py`, one per listener; a reload makes a new context for new handshakes and leaves the
connections that exist alone.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from typing import TYPE_CHECKING, Final

from trioemqx.listeners.proxy import refuse_proxy
from trioemqx.listeners.transport import LayerClosed, Peer

if TYPE_CHECKING:
    from trioemqx.listeners.tlscontext import TlsSettings

_RECORD: Final = 16384
"""Content of the largest TLS record. Both buffers see at most about this much at once, because OpenSSL's memory buffers
keep the size they once had: a burst would otherwise cost an idle connection 100 KB for ever."""

_SHORT: Final = {
    "commonName": "CN",
    "surname": "SN",
    "serialNumber": "SERIALNUMBER",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "title": "T",
    "givenName": "GN",
    "domainComponent": "DC",
    "userId": "UID",
    "emailAddress": "EMAIL",
}

Subject = tuple[tuple[tuple[str, str], ...], ...]


class TlsLayer:
    """The server end of one TLS connection. A failed handshake ends with `ssl_error`, a close_notify with `ssl_closed`;
    the alert that tells the client why is in `output()`."""

    __slots__ = ("_fresh", "_incoming", "_outgoing", "_settings", "_ssl", "ended", "established", "peer", "transparent")

    def __init__(self, context: ssl.SSLContext, settings: TlsSettings, peer: Peer) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._settings = settings
        self._fresh = True
        self.peer = peer
        self.ended: Exception | None = None
        self.established = False
        self.transparent = False

    def feed(self, data: bytes) -> bytes:
        """Decrypt; the handshake goes on by itself, its answers come out of `output`."""
        if self.ended is not None:
            return b""
        if self._fresh:
            self._fresh = False
            self.ended = refuse_proxy(data)
            if self.ended is not None:
                return b""
        out: list[bytes] = []
        view = memoryview(data)
        try:
            for at in range(0, len(data), _RECORD):
                self._incoming.write(view[at : at + _RECORD])
                if not self.established and not self._shake_hands():
                    continue
                self._read(out)
        except ssl.SSLZeroReturnError:
            self.ended = LayerClosed("ssl_closed")
            self._say_goodbye()
        except ssl.SSLError as error:
            self.ended = LayerClosed("ssl_error", error.reason or str(error))
        except LayerClosed as error:
            self.ended = error.with_traceback(None)  # which would keep this layer
        return out[0] if len(out) == 1 else b"".join(out)

    def _read(self, out: list[bytes]) -> None:
        read = self._ssl.read
        try:
            while True:
                chunk = read(_RECORD)
                if not chunk:
                    raise ssl.SSLZeroReturnError
                out.append(chunk)
        except ssl.SSLWantReadError:
            return

    def _shake_hands(self) -> bool:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._check_client()
        self.established = True
        return True

    def _check_client(self) -> None:
        """Take over what the client's certificate says; raises LayerClosed when it does not satisfy the listener."""
        der = self._ssl.getpeercert(binary_form=True)
        if der is None:
            return
        depth = self._settings.depth
        chain = _chain_length(self._ssl)
        # `depth` counts what may stand between the client's certificate and the root.
        if chain is not None and chain > depth + 2:
            raise LayerClosed("ssl_error", f"certificate chain of {chain}, depth is {depth}")
        if self._settings.ext_key_usage:
            check_key_usage(der, self._settings.ext_key_usage)
        certificate = self._ssl.getpeercert()
        subject: Subject = certificate.get("subject", ()) if certificate else ()  # type: ignore[assignment]
        peer = self.peer
        peer.cert_der = der
        peer.cn = common_name(subject)
        peer.dn = distinguished_name(subject)
        if peer.dn and not peer.dn.isprintable():
            raise LayerClosed("ssl_error", "control character in the subject of the certificate")

    def write(self, data: bytes) -> bytes:
        """Encrypt; nothing comes out before the handshake or after the end, when nobody could read it."""
        if not self.established or self.ended is not None:
            return b""
        if len(data) <= _RECORD:
            if data:
                self._ssl.write(data)
            return self._outgoing.read()
        out: list[bytes] = []
        view = memoryview(data)
        for at in range(0, len(data), _RECORD):
            self._ssl.write(view[at : at + _RECORD])
            out.append(self._outgoing.read())
        return b"".join(out)

    def output(self) -> bytes:
        """Handshake answers and alerts that wait to be sent."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> bytes:
        """`close_notify`, once, after a handshake."""
        if self.established and self.ended is None:
            self.ended = LayerClosed("closed")
            self._say_goodbye()
        return self.output()

    def _say_goodbye(self) -> None:
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            # Our close_notify is in the buffer; this only says that the client's has not come back yet.
            return


def _chain_length(connection: ssl.SSLObject) -> int | None:
    """Certificates of the verified chain, root included. Public in Python 3.13 only; None where it cannot be known."""
    for owner in (connection, getattr(connection, "_sslobj", None)):
        chain = getattr(owner, "get_verified_chain", None)
        if chain is not None:
            return len(chain() or ())
    return None


def check_key_usage(der: bytes, required: tuple[str, ...]) -> None:
    """Raise LayerClosed unless the certificate lists every required extended key usage (`clientAuth`, `OID:1.2.3`)."""
    from cryptography import x509  # a listener that asks for this needs it, no other does

    names = {
        "serverAuth": "1.3.6.1.5.5.7.3.1",
        "clientAuth": "1.3.6.1.5.5.7.3.2",
        "codeSigning": "1.3.6.1.5.5.7.3.3",
        "emailProtection": "1.3.6.1.5.5.7.3.4",
        "timeStamping": "1.3.6.1.5.5.7.3.8",
        "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    }
    try:
        usages = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        present = {usage.dotted_string for usage in usages}
    except (ValueError, x509.ExtensionNotFound) as error:
        raise LayerClosed("ssl_error", f"client certificate without usable key usage: {error}") from None
    for name in required:
        if names.get(name, name.removeprefix("OID:")) not in present:
            raise LayerClosed("ssl_error", f"client certificate is not for {name}")


def common_name(subject: Subject) -> str | None:
    """The CN of a certificate's subject; the last one, which is the most specific, if there are several."""
    found = None
    for rdn in subject:
        for name, value in rdn:
            if name == "commonName":
                found = value
    return found


def distinguished_name(subject: Subject) -> str | None:
    """The subject as RFC 2253 writes it, most specific part first: `CN=pump-1,O=Works,C=DE`."""
    parts = ["+".join(f"{_SHORT.get(name, name)}={_escape(value)}" for name, value in rdn) for rdn in reversed(subject)]
    return ",".join(parts) or None


def _escape(value: str) -> str:
    escaped = "".join(f"\\{char}" if char in ',+"\\<>;' else char for char in value)
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped


def certificate_field(peer: Peer, which: str) -> str | None:
    """The value `peer_cert_as_username` or `peer_cert_as_clientid` asks for, None when the client has none.

    `cn` (also from a PROXY header), `dn`, `crt` (the DER bytes, one character per byte), `pem` (base64 of the DER, no
    armour lines), `md5` (hexadecimal). Raises ValueError for any other name.
    """
    if which == "cn":
        return peer.cn
    if which == "dn":
        return peer.dn
    if which not in ("crt", "pem", "md5"):
        raise ValueError(f"no certificate field {which!r}")
    der = peer.cert_der
    if der is None:
        return None
    if which == "crt":
        return der.decode("latin-1")
    if which == "pem":
        return base64.b64encode(der).decode("ascii")
    return hashlib.md5(der, usedforsecurity=False).hexdigest()
