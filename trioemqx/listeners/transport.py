"""What lies between a socket and the MQTT codec: a stack of synchronous byte transformers.

A listener's connection may have a PROXY header in front, TLS around it and WebSocket frames inside. Each is a layer
that is fed bytes and asked for bytes; nothing here reads a socket, waits or looks at a clock. Plain TCP has none.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from trioemqx.errors import TrioemqxError


@attrs.define
class Peer:
    """Who is at the other end, as far as the layers below MQTT know.

    `host` and `port` start as the socket's and are replaced by a PROXY header or by X-Forwarded-For. `cn`, `dn` and
    `cert_der` come from a verified client certificate (`cn` also from a PROXY v2 header), `ws_cookie` from the upgrade.
    """

    host: str
    port: int
    cn: str | None = None
    dn: str | None = None
    cert_der: bytes | None = None
    ws_cookie: str | None = None


class LayerClosed(TrioemqxError):
    """A layer has ended and nothing can be said to the peer any more, except what `output()` still holds.

    `name` is the close reason (`closed`, `ssl_closed`, `ssl_error`, `ws_upgrade_refused`), the text is for logs.
    """

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text or name)
        self.name = name
        self.text = text or name


class Layer(Protocol):
    """One transformer. What the peer does wrong never raises here: it sets `ended`, and bytes that were good before it
    are still returned, because an MQTT DISCONNECT often shares its segment with the close of the layer below."""

    ended: Exception | None
    """LayerClosed or MalformedPacket once the peer closed this layer or broke its rules; then `feed` gives nothing."""
    established: bool
    """True when the handshake is over and `write` may be used."""
    transparent: bool
    """True when the layer has done its work and would only pass bytes on: the stack then drops it."""

    def feed(self, data: bytes) -> bytes:
        """Bytes from below in, bytes for the layer above out."""
        ...

    def write(self, data: bytes) -> bytes:
        """Bytes from above in, bytes for the layer below out. Empty after the end."""
        ...

    def output(self) -> bytes:
        """What the layer itself has to say since last asked: handshake answers, pongs, alerts, its farewell."""
        ...

    def close(self) -> bytes:
        """The orderly farewell of this layer; empty when it was said already."""
        ...


class Transport:
    """The whole stack of one connection, lowest layer first."""

    __slots__ = ("_fed", "_quiet_since", "_seen", "ended", "idle", "layers", "limits", "peer")

    def __init__(self, layers: list[Layer], peer: Peer) -> None:
        self.layers = layers
        self.peer = peer
        self.ended: Exception | None = None
        """The end of the stack, see `feed`."""
        self.limits: list[tuple[Layer, float, str]] = []
        """By when (monotonic) a layer must be established, and the close reason if it is not."""
        self.idle = 0.0
        """Seconds without any byte of the peer's after which the connection ends; 0 = never."""
        self._fed = 0
        self._seen = -1
        self._quiet_since = 0.0

    @property
    def established(self) -> bool:
        """True when every handshake is over and MQTT bytes can flow in both directions."""
        return all(layer.established for layer in self.layers)

    @property
    def passthrough(self) -> bool:
        """True when no layer is left (a PROXY header on plain TCP has been read): the caller may forget the stack."""
        return not self.layers and self.ended is None

    def late(self, now: float) -> str:
        """The close reason when a handshake has taken too long or the peer has been silent for too long, else "". Asked
        about once a second."""
        for layer, deadline, reason in self.limits:
            if now >= deadline and not layer.established:
                return reason
        if self.idle:
            if self._fed != self._seen:
                self._seen = self._fed
                self._quiet_since = now
            elif now - self._quiet_since >= self.idle:
                return "timeout"
        return ""

    def feed(self, data: bytes) -> bytes:
        """Bytes of the socket in, MQTT bytes out; ask `output()` afterwards, also when this raises.

        Raises LayerClosed when a layer ended in good order and MalformedPacket when the peer broke its rules. If MQTT
        bytes came before that end they are returned first: the end is then in `ended` and raised by the next call.
        """
        if self.ended is not None:
            raise self.ended
        self._fed += 1
        spent = False
        for layer in self.layers:
            data = layer.feed(data)
            spent = spent or layer.transparent
            if layer.ended is not None:
                self.ended = layer.ended
            if not data:
                break
        if spent:
            self.layers = [layer for layer in self.layers if not layer.transparent]
        if self.ended is not None and not data:
            raise self.ended
        return data

    def write(self, data: bytes) -> bytes:
        """MQTT bytes (whole packets) in, bytes for the socket out."""
        for layer in reversed(self.layers):
            data = layer.write(data)
        return data

    def output(self) -> bytes:
        """Bytes for the socket that the layers produced by themselves since last asked."""
        above = b""
        for layer in reversed(self.layers):
            above = layer.output() + layer.write(above) if above else layer.output()
        return above

    def close(self) -> bytes:
        """Everything still to be sent and the farewell of each layer, top first, each wrapped by those below it."""
        above = b""
        for layer in reversed(self.layers):
            own = layer.output()
            wrapped = layer.write(above) if above else b""
            above = own + wrapped + layer.close()
        return above
