"""The HTTP request that opens a WebSocket [RFC 6455 section 4.2], and what a listener demands of it.

h11 parses; this module decides. The answer to a bad request is a short HTTP response, after which the connection ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

import attrs
import h11

from trioemqx.listeners.wsdeflate import Agreement, DeflateSettings, negotiate

if TYPE_CHECKING:
    from trioemqx.listeners.transport import Peer

MAX_REQUEST: Final = 16 * 1024
"""Bytes of request line and headers."""
MAX_ELEMENTS: Final = 64
"""Elements read of a comma-separated header."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
}


@attrs.frozen
class WsSettings:
    """WebSocket part of one listener (`listener.ws.*`). Sizes are bytes, 0 = no limit.

    `max_message_size` bounds one message over all its fragments and after decompression. Header names are matched
    without regard to case; an empty one means that the header is not believed. `deflate` None is `compress = off`.
    `piggyback_single` puts all pending packets into one frame instead of one frame per packet.
    """

    path: str = "/mqtt"
    fail_if_no_subprotocol: bool = True
    subprotocols: tuple[str, ...] = ("mqtt", "mqtt-v3", "mqtt-v3.1.1", "mqtt-v5")
    address_header: str = "X-Forwarded-For"
    port_header: str = "X-Forwarded-Port"
    deflate: DeflateSettings | None = None
    max_frame_size: int = 0
    max_message_size: int = 1024 * 1024
    piggyback_single: bool = False
    check_origin: bool = False
    origins: tuple[str, ...] = ()
    allow_origin_absence: bool = True


class Refused(Exception):
    """The request is answered with this HTTP status and no upgrade."""

    def __init__(self, status: int, text: str, headers: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


@attrs.frozen
class Accepted:
    """A good request: our answer, the compression agreed on, and bytes that came behind the request."""

    answer: bytes
    deflate: Agreement | None
    rest: bytes


class Handshake:
    """Collects one request; thrown away with all of h11's state when it has been answered."""

    __slots__ = ("_fed", "_http", "_peer", "_settings")

    def __init__(self, settings: WsSettings, peer: Peer) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
        self._settings = settings
        self._peer = peer
        self._fed = 0

    @property
    def fresh(self) -> bool:
        """True until the first byte has come."""
        return self._fed == 0

    def feed(self, data: bytes) -> Accepted | None:
        """None while the request is incomplete. Raises Refused."""
        self._fed += len(data)
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # it holds the error itself, and us with it
            status = 431 if error.error_status_hint == 431 else 400
            raise Refused(status, f"unreadable request: {error}") from None
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Request):
            raise Refused(400, "not a request")
        rest = self._http.trailing_data[0]
        if self._fed - len(rest) > MAX_REQUEST:
            raise Refused(431, f"request longer than {MAX_REQUEST} bytes")
        return self._judge(event, rest)

    def _judge(self, request: h11.Request, rest: bytes) -> Accepted:
        settings = self._settings
        headers: dict[str, list[str]] = {}
        for name, value in request.headers:
            headers.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
        if request.target.decode("ascii").partition("?")[0] != settings.path:
            raise Refused(404, "path unknown")
        key = _check_upgrade(request, headers)
        _check_origin(settings, headers)
        protocol = _choose_protocol(settings, headers)
        deflate = None
        if settings.deflate is not None:
            deflate = negotiate(_elements(headers, "sec-websocket-extensions"), settings.deflate)
        self._correct_peer(headers)
        return Accepted(_answer(key, protocol, deflate), deflate, rest)

    def _correct_peer(self, headers: dict[str, list[str]]) -> None:
        peer = self._peer
        port = _first(headers, self._settings.port_header)
        # Nonsense in either header leaves what the socket said, as in EMQX.
        peer.host = _address(_first(headers, self._settings.address_header)) or peer.host
        if port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF:
            peer.port = int(port)
        cookies = headers.get("cookie")
        if cookies:
            peer.ws_cookie = "; ".join(cookies)


def _address(text: str) -> str | None:
    """An IP address in its one spelling, None if it is none; IPv4 inside IPv6 comes out as IPv4, as bans expect."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else str(address.ipv4_mapped or address)
    return str(address)


def _first(headers: dict[str, list[str]], name: str) -> str:
    """The first element of a comma-separated header, empty when there is none."""
    values = headers.get(name.lower()) if name else None
    return values[0].partition(",")[0].strip() if values else ""


def _elements(headers: dict[str, list[str]], name: str) -> list[str]:
    """All elements of a comma-separated header that may come several times."""
    values = ",".join(headers.get(name, ()))
    return [element.strip() for element in values.split(",", MAX_ELEMENTS)[:MAX_ELEMENTS] if element.strip()]


def _check_upgrade(request: h11.Request, headers: dict[str, list[str]]) -> bytes:
    """The client's key, if this is an upgrade to WebSocket 13 [RFC 6455 4.2.1]."""
    wanted = "websocket" in (element.lower() for element in _elements(headers, "upgrade"))
    if not wanted or "upgrade" not in (element.lower() for element in _elements(headers, "connection")):
        raise Refused(426, "no upgrade to websocket", ("Upgrade: websocket",))
    if request.method != b"GET" or request.http_version < b"1.1":
        raise Refused(400, "an upgrade is a GET of HTTP/1.1")
    if "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]:
        raise Refused(400, "an upgrade has no body")
    if headers.get("sec-websocket-version") != ["13"]:
        raise Refused(426, "not WebSocket version 13", ("Upgrade: websocket", "Sec-WebSocket-Version: 13"))
    keys = headers.get("sec-websocket-key", [])
    try:
        key = keys[0].encode("ascii") if len(keys) == 1 else b""
        sound = len(base64.b64decode(key, validate=True)) == 16
    except (UnicodeEncodeError, binascii.Error):
        sound = False
    if not sound:
        raise Refused(400, "bad Sec-WebSocket-Key")
    return key


def _check_origin(settings: WsSettings, headers: dict[str, list[str]]) -> None:
    if not settings.check_origin:
        return
    origins = headers.get("origin", [])
    if not origins and settings.allow_origin_absence:
        return
    allowed = {origin.lower() for origin in settings.origins}
    if len(origins) != 1 or origins[0].lower() not in allowed:
        raise Refused(403, "origin not allowed")


def _choose_protocol(settings: WsSettings, headers: dict[str, list[str]]) -> str | None:
    """The first of the client's sub-protocols that we speak [MQTT-6.0.0-3]; None only if it may name none."""
    offered = _elements(headers, "sec-websocket-protocol")
    if not offered and not settings.fail_if_no_subprotocol:
        return None
    for name in offered:
        if name in settings.subprotocols:
            return name
    raise Refused(400, "no sub-protocol in common")


def _answer(key: bytes, protocol: str | None, deflate: Agreement | None) -> bytes:
    # RFC 6455 prescribes SHA-1 here; it proves that we speak WebSocket, nothing more.
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode("ascii")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {proof}",
    ]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    if deflate is not None:
        lines.append(f"Sec-WebSocket-Extensions: {deflate.answer}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def refusal(refused: Refused) -> bytes:
    """The HTTP response for a request that was refused."""
    lines = [
        f"HTTP/1.1 {refused.status} {_REASONS[refused.status]}",
        *refused.headers,
        "Connection: close, Upgrade" if refused.status == 426 else "Connection: close",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
