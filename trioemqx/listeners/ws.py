"""MQTT over WebSocket [MQTT5 section 6] as a synchronous layer: `wshandshake` opens it, `wsframes` carries it."""

from __future__ import annotations

from typing import Final

from trioemqx.codec.framer import Framer
from trioemqx.errors import MalformedPacket
from trioemqx.listeners import wsframes
from trioemqx.listeners.proxy import refuse_proxy
from trioemqx.listeners.transport import LayerClosed, Peer
from trioemqx.listeners.wsdeflate import Deflate
from trioemqx.listeners.wsframes import FrameReader, binary_header, header
from trioemqx.listeners.wshandshake import Accepted, Handshake, Refused, WsSettings, refusal

_ANY_PACKET: Final = 5 + 268_435_455
"""Limit for our own packets: whatever the core encoded is sent."""


class WsLayer:
    """The server end of one WebSocket.

    Ends with `ws_upgrade_refused` when the HTTP request was not for us, `closed` when the client said goodbye, and
    MalformedPacket (`unexpected_ws_frame` for text, `frame_too_large`, `ws_protocol_error`) when it broke a rule; the
    response or close frame is in `output()`.

    Pings are answered with one pong per `output()`, for the latest ping only [RFC 6455 5.5.3]: however fast they come,
    a peer that does not read makes us keep one answer.
    """

    __slots__ = (
        "_deflate",
        "_framer",
        "_handshake",
        "_pending",
        "_reader",
        "_settings",
        "ended",
        "established",
        "peer",
        "transparent",
    )

    def __init__(self, settings: WsSettings, peer: Peer) -> None:
        self._settings = settings
        self.peer = peer
        self.ended: Exception | None = None
        self.established = False
        self.transparent = False
        self._handshake: Handshake | None = Handshake(settings, peer)
        self._reader: FrameReader | None = None
        self._deflate: Deflate | None = None
        self._framer = None if settings.piggyback_single else Framer(_ANY_PACKET)
        self._pending = b""  # the answer to the upgrade, then the close frame

    def feed(self, data: bytes) -> bytes:
        """Answer the upgrade, then unwrap the payload of data frames as it comes."""
        if self.ended is not None:
            return b""
        reader = self._reader
        if reader is None:
            opened = self._open(data)
            if opened is None:
                return b""
            reader, data = opened
        data = reader.feed(data)
        if reader.error is not None:
            error = reader.error
            code = 0x95 if error.name == "frame_too_large" else 0x81
            self._end(MalformedPacket(f"WebSocket: {error.text}", error.name, code), error.code, error.text)
        elif reader.closed is not None:
            self._end(LayerClosed("closed", f"WebSocket close {reader.closed}"), reader.closed or wsframes.NORMAL)
        return data

    def _open(self, data: bytes) -> tuple[FrameReader, bytes] | None:
        """Go on with the handshake; when it is over, the reader for all that follows and what follows already."""
        handshake = self._handshake
        if handshake is None:
            return None
        if handshake.fresh:
            self.ended = refuse_proxy(data)
            if self.ended is not None:
                self._handshake = None
                return None
        try:
            accepted = handshake.feed(data)
        except Refused as refused:
            self._handshake = None
            self._pending = refusal(refused)
            self.ended = LayerClosed("ws_upgrade_refused", f"HTTP {refused.status}: {refused.text}")
            return None
        if accepted is None:
            return None
        return self._start(accepted), accepted.rest

    def _start(self, accepted: Accepted) -> FrameReader:
        settings = self._settings
        self._handshake = None
        self._pending = accepted.answer
        if accepted.deflate is not None and settings.deflate is not None:
            self._deflate = Deflate(accepted.deflate, settings.deflate)
        self._reader = FrameReader(settings.max_frame_size, settings.max_message_size, self._deflate)
        self.established = True
        return self._reader

    def _end(self, error: Exception, code: int, reason: str = "") -> None:
        self.ended = error
        self._pending += wsframes.close_frame(code, reason)

    def write(self, data: bytes) -> bytes:
        """Wrap: one frame per MQTT packet, or (`mqtt_piggyback = single`) one for all."""
        if not self.established or self.ended is not None or not data:
            return b""
        framer = self._framer
        if framer is None:
            return self._frame(data)
        framer.feed(data)
        out: list[bytes] = []
        deflate = self._deflate
        while (packet := framer.next_frame()) is not None:
            if deflate is not None:
                packet = deflate.compress(packet)
                out.append(header(wsframes.BINARY, len(packet), compressed=True))
            else:
                out.append(binary_header(len(packet)))
            out.append(packet)
        return b"".join(out)

    def _frame(self, data: bytes) -> bytes:
        if self._deflate is None:
            return binary_header(len(data)) + data
        data = self._deflate.compress(data)
        return header(wsframes.BINARY, len(data), compressed=True) + data

    def output(self) -> bytes:
        """The answer to the upgrade, a pong, or the close frame."""
        out = self._pending
        if out:
            self._pending = b""
        reader = self._reader
        if reader is not None and reader.ping is not None:
            if self.ended is None:  # nothing may follow a close frame
                out += header(wsframes.PONG, len(reader.ping)) + reader.ping
            reader.ping = None
        return out

    def close(self) -> bytes:
        """A close frame, once, after an upgrade."""
        if self.established and self.ended is None:
            self._end(LayerClosed("closed"), wsframes.NORMAL)
        self._handshake = None
        return self.output()
