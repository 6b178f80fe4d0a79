"""permessage-deflate [RFC 7692]: negotiation, and compression with a bound on what a message may unpack to.

Off unless the listener says `compress = on`. A connection that keeps its context needs up to 300 KB for it, which is
why both sides can be told not to (`*_context_takeover = no_takeover`).
"""

from __future__ import annotations

import zlib
from typing import Final

import attrs

from trioemqx.listeners.wsframes import INVALID_PAYLOAD, MESSAGE_TOO_BIG, WsError

LEVELS: Final = {"none": 0, "default": -1, "best_compression": 9, "best_speed": 1}
STRATEGIES: Final = {
    "default": zlib.Z_DEFAULT_STRATEGY,
    "filtered": zlib.Z_FILTERED,
    "huffman_only": zlib.Z_HUFFMAN_ONLY,
    "rle": zlib.Z_RLE,
}
_TAIL: Final = b"\x00\x00\xff\xff"
_BITS: Final = {str(bits): bits for bits in range(8, 16)}


@attrs.frozen
class DeflateSettings:
    """`deflate_opts` of a listener. Window sizes are bits (8-15); a takeover is True where the context may be kept."""

    level: str = "default"
    mem_level: int = 8
    strategy: str = "default"
    server_takeover: bool = True
    client_takeover: bool = True
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15


@attrs.frozen
class Agreement:
    """What both sides settled on; `answer` is the value of our Sec-WebSocket-Extensions header."""

    server_takeover: bool
    client_takeover: bool
    server_bits: int
    client_bits: int
    answer: str


def negotiate(offers: list[str], settings: DeflateSettings) -> Agreement | None:
    """The first acceptable offer among the elements of Sec-WebSocket-Extensions, or None: then no compression."""
    for offer in offers:
        name, *rest = (part.strip() for part in offer.split(";"))
        if name != "permessage-deflate":
            continue
        parameters = _parameters(rest)
        agreement = None if parameters is None else _agree(parameters, settings)
        if agreement is not None:
            return agreement
    return None


def _parameters(parts: list[str]) -> dict[str, int | None] | None:
    """Parameters by name, None for those without a value; None instead of all when one is not allowed [7.1]."""
    found: dict[str, int | None] = {}
    for part in parts:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name in found:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover") and not equals:
            found[name] = None
        elif name in ("server_max_window_bits", "client_max_window_bits") and equals:
            bits = _BITS.get(value.strip('"'))
            if bits is None:
                return None
            found[name] = bits
        elif name == "client_max_window_bits":
            found[name] = None
        else:
            return None
    return found


def _agree(parameters: dict[str, int | None], settings: DeflateSettings) -> Agreement | None:
    server_bits = min(parameters.get("server_max_window_bits") or 15, settings.server_max_window_bits)
    if server_bits == 8:  # zlib cannot make raw streams with such a window
        if "server_max_window_bits" in parameters and parameters["server_max_window_bits"] == 8:
            return None
        server_bits = 9
    server_takeover = settings.server_takeover and "server_no_context_takeover" not in parameters
    client_takeover = settings.client_takeover and "client_no_context_takeover" not in parameters
    answer = ["permessage-deflate"]
    if not server_takeover:
        answer.append("server_no_context_takeover")
    if not client_takeover:
        answer.append("client_no_context_takeover")
    if server_bits < 15 or "server_max_window_bits" in parameters:
        answer.append(f"server_max_window_bits={server_bits}")
    client_bits = 15
    if "client_max_window_bits" in parameters:  # only then may we ask for a smaller window [7.1.2.2]
        client_bits = min(parameters["client_max_window_bits"] or 15, settings.client_max_window_bits)
        answer.append(f"client_max_window_bits={client_bits}")
    return Agreement(server_takeover, client_takeover, server_bits, client_bits, "; ".join(answer))


class Deflate:
    """Both directions of one connection; the zlib objects are made when first needed."""

    __slots__ = ("_agreement", "_compressor", "_decompressor", "_settings")

    def __init__(self, agreement: Agreement, settings: DeflateSettings) -> None:
        self._agreement = agreement
        self._settings = settings
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None

    def inflate(self, data: bytes, room: int) -> bytes:
        """Part of a message; raises WsError above `room` bytes (the bomb is never unpacked) or for damaged data."""
        unpacker = self._decompressor
        if unpacker is None:
            unpacker = self._decompressor = zlib.decompressobj(-max(self._agreement.client_bits, 9))
        try:
            # One byte more than allowed tells "exactly full" from "too much"; 0 would mean "no limit" to zlib.
            out = unpacker.decompress(data, room + 1)
        except zlib.error as error:
            raise WsError(INVALID_PAYLOAD, f"damaged compressed data: {error}") from None
        if len(out) > room:
            raise WsError(MESSAGE_TOO_BIG, "message unpacks to more than allowed", "frame_too_large")
        if unpacker.eof and unpacker.unused_data.strip(b"\x00") not in (b"", b"\xff\xff"):
            raise WsError(INVALID_PAYLOAD, "data after the last compressed block")
        return out

    def finish(self, room: int) -> bytes:
        """The rest of a message, whose last four bytes are never sent [7.2.2]."""
        out = self.inflate(_TAIL, room)
        if not self._agreement.client_takeover or (self._decompressor is not None and self._decompressor.eof):
            self._decompressor = None
        return out

    def compress(self, data: bytes) -> bytes:
        """The content of one compressed frame."""
        packer = self._compressor
        if packer is None:
            settings = self._settings
            packer = self._compressor = zlib.compressobj(
                LEVELS[settings.level],
                zlib.DEFLATED,
                -self._agreement.server_bits,
                settings.mem_level,
                STRATEGIES[settings.strategy],
            )
        out = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        if not self._agreement.server_takeover:
            self._compressor = None
        return out[:-4]
