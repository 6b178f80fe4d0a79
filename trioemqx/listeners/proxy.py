"""The PROXY protocol of HAProxy, version 1 (a text line) and 2 (binary), as the lowest layer of a transport.

The header is believed: whoever can reach the port can claim any address, so such a listener belongs behind a load
balancer (`access` rules see the socket's own address). Parsing is strict because the values end up in logs, bans and
access rules.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from trioemqx.errors import MalformedPacket

if TYPE_CHECKING:
    from trioemqx.listeners.transport import Peer

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
TEXT_START: Final = b"PROXY "
MAX_TEXT: Final = 107
"""Longest version 1 line with its CRLF, as the protocol itself says."""
MAX_BINARY: Final = 536
"""Longest version 2 header: what every path carries in one segment."""

_ADDRESS_SIZE: Final = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""Bytes of the address block by (family, stream): unspecified, IPv4, IPv6, UNIX. Datagrams make no sense here."""
_TLV_SSL: Final = 0x20
_TLV_SSL_CN: Final = 0x22
_CLIENT_SHOWED_CERTIFICATE: Final = 0x06


def looks_like_proxy(data: bytes) -> bool:
    """True when the first bytes of a connection are, or may become, a PROXY header of either version.

    No MQTT connection and no TLS record begins like that, so on those even a single byte is enough to refuse it.
    """
    return data != b"" and (TEXT_START.startswith(data[:6]) or SIGNATURE.startswith(data[:12]))


def refuse_proxy(data: bytes) -> MalformedPacket | None:
    """The error for a connection that begins with a PROXY header although its listener did not ask for one.

    Six bytes decide here, because an HTTP request may begin with a P or an empty line.
    """
    if len(data) < len(TEXT_START) or not looks_like_proxy(data):
        return None
    return MalformedPacket("PROXY header, but proxy_protocol is off", "proxy_protocol_config_disabled")


class ProxyLayer:
    """Reads one header, corrects the peer, then gets out of the way (`transparent`). The deadline is the caller's."""

    __slots__ = ("_held", "ended", "established", "peer", "transparent")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.ended: Exception | None = None
        self.established = False
        self.transparent = False
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Nothing until the header is complete, then what came behind it."""
        if self.established:
            return data
        if self.ended is not None:
            return b""
        data = self._held + data
        try:
            used = read_header(data, self.peer)
        except MalformedPacket as error:
            self.ended = error.with_traceback(None)  # which would keep this layer
            self._held = b""
            return b""
        if used == 0:
            self._held = data
            return b""
        self._held = b""
        self.established = self.transparent = True
        return data[used:]

    def write(self, data: bytes) -> bytes:
        """The header exists in one direction only: bytes out stay as they are."""
        return data

    def output(self) -> bytes:
        """A PROXY header is not answered."""
        return b""

    def close(self) -> bytes:
        """There is no farewell."""
        return b""


def read_header(data: bytes, peer: Peer) -> int:
    """Take the header at the start of `data` into `peer`; returns its length, 0 when more bytes are needed.

    Raises MalformedPacket (`proxy_protocol_error`) as soon as it cannot become a valid header within its cap.
    """
    if data.startswith(SIGNATURE):
        return _read_binary(data, peer)
    if data.startswith(TEXT_START):
        return _read_text(data, peer)
    if not data or looks_like_proxy(data):
        return 0
    raise _bad("no PROXY header at the start")


def _bad(text: str) -> MalformedPacket:
    return MalformedPacket(f"PROXY header: {text}", "proxy_protocol_error")


def _read_text(data: bytes, peer: Peer) -> int:
    end = data.find(b"\n", 0, MAX_TEXT)
    line = data[:MAX_TEXT] if end < 0 else data[: end - 1]
    # A carriage return may be the last byte so far, the line feed being still under way.
    printable = line[:-1] if end < 0 and line.endswith(b"\r") else line
    if not all(0x20 <= byte < 0x7F for byte in printable):
        raise _bad("control character in the line")
    if end < 0:
        if len(data) >= MAX_TEXT:
            raise _bad(f"line longer than {MAX_TEXT} bytes")
        return 0
    if data[end - 1] != 0x0D:
        raise _bad("line does not end with CRLF")
    words = line.decode("ascii").split(" ")
    if words[1] != "UNKNOWN":
        _set_text_address(words, peer)
    return end + 1


def _set_text_address(words: list[str], peer: Peer) -> None:
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise _bad("not `PROXY TCP4|TCP6 source destination port port`")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        source, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise _bad("bad address") from None
    if "%" in words[2]:
        raise _bad("bad address")
    port, _ = _port(words[4]), _port(words[5])
    peer.host, peer.port = _plain(source), port


def _port(word: str) -> int:
    canonical = word.isdigit() and len(word) <= 5 and (word == "0" or not word.startswith("0"))
    if not canonical or int(word) > 0xFFFF:
        raise _bad("bad port")
    return int(word)


def _plain(address: IPv4Address | IPv6Address) -> str:
    """One spelling per host, or a ban on 192.0.2.1 would miss ::ffff:192.0.2.1."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _read_binary(data: bytes, peer: Peer) -> int:
    if len(data) < 16:
        return 0
    command, family = data[12], data[13]
    end = 16 + int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21):
        raise _bad("unknown version or command")
    if end > MAX_BINARY:
        raise _bad(f"{end} bytes, at most {MAX_BINARY}")
    if len(data) < end:
        return 0
    if command == 0x21:  # LOCAL (0x20) is the balancer's own health check: the socket's address stays
        _set_binary_address(data[16:end], family, peer)
    return end


def _set_binary_address(body: bytes, family: int, peer: Peer) -> None:
    size = _ADDRESS_SIZE.get(family)
    if size is None:
        raise _bad(f"unsupported address family 0x{family:02x}")
    if len(body) < size:
        raise _bad("address does not fit")
    name = _certificate_name(body[size:])
    if family == 0x11:
        peer.host, peer.port = str(IPv4Address(body[:4])), int.from_bytes(body[8:10], "big")
    elif family == 0x21:
        peer.host, peer.port = _plain(IPv6Address(body[:16])), int.from_bytes(body[32:34], "big")
    if name is not None:
        peer.cn = name


def _fields(data: bytes, what: str) -> list[tuple[int, bytes]]:
    """Type-length-value records that must fill `data` exactly."""
    found = []
    at = 0
    while at < len(data):
        if at + 3 > len(data):
            raise _bad(f"truncated {what}")
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
        if end > len(data):
            raise _bad(f"{what} 0x{data[at]:02x} runs over the end")
        found.append((data[at], data[at + 3 : end]))
        at = end
    return found


def _certificate_name(data: bytes) -> str | None:
    """The client certificate's common name from the SSL record, when the balancer verified that certificate."""
    name = None
    for kind, value in _fields(data, "record"):
        if kind != _TLV_SSL:
            continue
        if len(value) < 5:
            raise _bad("truncated SSL record")
        verified = value[0] & _CLIENT_SHOWED_CERTIFICATE and value[1:5] == b"\0\0\0\0"
        for sub, text in _fields(value[5:], "SSL record"):
            if sub == _TLV_SSL_CN:
                decoded = _text(text)
                name = decoded if verified else name
    return name


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("common name is not UTF-8") from None
    if not text.isprintable():
        raise _bad("control character in the common name")
    return text
