"""A byte stream cut into whole packets. Feed what the socket gave, then ask for frames until None."""

from __future__ import annotations

from trioemqx.errors import MalformedPacket


class Framer:
    """Cuts frames (whole packets, fixed header included) out of chunks of any size.

    `limit` is the largest frame in bytes; it may be changed at any time. A frame is refused as soon as its fixed header
    is known, so memory grows with the bytes received, never with the length announced. After an error the stream has
    no known position any more: close the connection.

    Frames that lie whole in one chunk are sliced from it; the start of an unfinished one waits in `_rest` and is
    completed from the next chunks, each byte copied twice at most.
    """

    __slots__ = ("_at", "_data", "_rest", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = b""
        self._at = 0
        self._rest: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Add received bytes. Ask `next_frame` until None first; feeding again before that costs a copy."""
        if self._at < len(self._data):
            self._data = self._data[self._at :] + data
        else:
            self._data = data
        self._at = 0

    def pending(self) -> int:
        """Bytes fed and not returned yet."""
        held = len(self._data) - self._at
        rest = self._rest
        return held if rest is None else held + len(rest)

    def next_frame(self) -> bytes | None:
        """One whole frame, or None when more bytes are needed.

        Raises MalformedPacket `frame_too_large` (0x95) or `malformed_variable_byte_integer` (0x81).
        """
        if self._rest is not None:
            return self._resume(self._rest)
        data = self._data
        at = self._at
        size = len(data)
        if at + 2 > size:
            self._hold()
            return None
        stop = at + 2 + data[at + 1]
        if data[at + 1] >= 0x80:
            total = _frame_size(data, at, size)
            if total == 0:
                self._hold()
                return None
            stop = at + total
        if stop - at > self.limit:
            raise _too_large(stop - at, self.limit)
        if stop > size:
            self._hold()
            return None
        self._at = stop
        if at == 0 and stop == size:
            return data
        return data[at:stop]

    def take_run(self, head: bytes, size: int, limit: int) -> bytes:
        """The next frames in one piece, at most `limit`, that all begin with `head` and have `size` bytes; empty when
        the next one differs or is not complete."""
        if self._rest is not None:
            return b""
        data = self._data
        at = self._at
        last = len(data) - size
        stop = at
        while limit > 0 and stop <= last and data.startswith(head, stop):
            stop += size
            limit -= 1
        self._at = stop
        return data[at:stop]

    def _hold(self) -> None:
        """Put the unfinished frame aside and let go of the chunk."""
        if self._at < len(self._data):
            self._rest = bytearray(self._data[self._at :])
        self._data = b""
        self._at = 0

    def _resume(self, rest: bytearray) -> bytes | None:
        """Complete the frame whose start is in `rest` from the newest chunk."""
        data = self._data
        at = self._at
        size = len(data)
        total = _frame_size(rest, 0, len(rest))
        while total == 0 and at < size:
            rest.append(data[at])
            at += 1
            total = _frame_size(rest, 0, len(rest))
        if total > self.limit:
            raise _too_large(total, self.limit)
        if total == 0 or len(rest) + size - at < total:
            rest += data[at:]
            self._data = b""
            self._at = 0
            return None
        stop = at + total - len(rest)
        rest += data[at:stop]
        self._at = stop
        self._rest = None
        return bytes(rest)


def _frame_size(data: bytes | bytearray, at: int, size: int) -> int:
    """Size of the frame at `at`, fixed header included; 0 while its remaining length is not complete."""
    remaining = 0
    shift = 0
    for i in range(at + 1, size):
        byte = data[i]
        remaining |= (byte & 0x7F) << shift
        if byte < 0x80:
            return i + 1 - at + remaining
        shift += 7
        if shift == 28:
            raise MalformedPacket("remaining length of five bytes", "malformed_variable_byte_integer")
    return 0


def _too_large(size: int, limit: int) -> MalformedPacket:
    return MalformedPacket(f"packet of {size} bytes, at most {limit}", "frame_too_large", 0x95)
