"""The socket side of one connection: what the pump has to know to read, write and end it."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioemqx.core.channel import Channel
    from trioemqx.core.outbox import Outbox
    from trioemqx.listeners.transport import Transport

READ: Final = 1
WRITE: Final = 4
"""Events as epoll has them. Any other bit is an error or a hang-up, which the next read explains."""
ENDED: Final = 0x2000
"""The peer has closed its side (EPOLLRDHUP); what it has sent is still there to be read. Not every poller knows."""

FIRST_READ: Final = 2048
"""Bytes asked for until a client shows that it sends more; MOST_READ is a turn's share of one client."""
MOST_READ: Final = 65536

NO_LINGER: Final = struct.pack("ii", 1, 0)

QUESTION: Final = 1
PAUSED: Final = 2
FULL: Final = 4
"""Why a client is not read, as bits of `Link.held`: a packet waits for an answer, a rate limit is exceeded, the client
does not take what it has coming."""


class SocketLike(Protocol):
    """What the pump needs of a non-blocking socket; tests give it one in memory."""

    def recv(self, size: int, /) -> bytes:
        """What has arrived, at most `size` bytes; nothing at the end. BlockingIOError when nothing has."""
        ...

    def send(self, data: bytes, /) -> int:
        """How many bytes the kernel took; BlockingIOError when none."""
        ...

    def fileno(self) -> int:
        """The descriptor for the poller."""
        ...

    def shutdown(self, how: int, /) -> None:
        """End one direction."""
        ...

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """As of a socket."""
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class Link:
    """One connection's socket and its state.

    `reading`/`writing` are what the poller was last told; it is told to read while nothing is in `held`. `pending` is
    what is being sent, from index `at` on. `gone` is the reason once the socket is closed, "" before. `bell` is called
    when the connection's task has something to do.
    """

    __slots__ = (
        "again",
        "at",
        "bell",
        "channel",
        "close_at",
        "events",
        "farewell",
        "fd",
        "gone",
        "held",
        "home",
        "identify",
        "in_kernel",
        "lingering",
        "out",
        "pending",
        "progress_at",
        "reading",
        "send_timeout",
        "sent_cnt",
        "sent_oct",
        "size",
        "sock",
        "transport",
        "writing",
    )

    def __init__(self, sock: SocketLike, fd: int, transport: Transport | None, send_timeout: float) -> None:
        self.sock = sock
        self.fd = fd
        self.transport = transport
        self.send_timeout = send_timeout
        self.home: object = None
        """The listener it came from."""
        self.channel: Channel | None = None
        self.out: Outbox | None = None
        self.pending = b""
        self.at = 0
        self.size = FIRST_READ
        self.held = 0
        self.reading = True
        self.writing = False
        self.again = False
        self.events = 0
        """What the poller saw, while it waits in `Turn.passing`."""
        self.farewell = False
        """The layers have said goodbye."""
        self.lingering = False
        """Our side is closed, and the peer has a moment to close its own."""
        self.close_at = 0.0
        """When to close for good, also with bytes unsent; 0 = not closing."""
        self.progress_at = 0.0
        """When the kernel last took something, while it does not take all."""
        self.in_kernel = 0
        """Bytes the kernel had still to deliver when that was last looked at, while it does not take all."""
        self.gone = ""
        self.sent_oct = 0
        self.sent_cnt = 0
        self.bell: Callable[[], None] | None = None
        self.identify: Callable[[Link], None] | None = None
        """Called once when every layer is established, before the first MQTT byte is handled."""

    def backlog(self) -> int:
        """Bytes waiting for this client: EMQX's send_pend."""
        out = self.out
        return len(self.pending) - self.at + (0 if out is None else out.size)

    def moves(self) -> bool:
        """Whether the peer has taken bytes since this was last asked. The kernel lets us send again only when a good
        part of its buffer is free; over a slow line that may be minutes, in which the peer does read."""
        try:
            left = int.from_bytes(fcntl.ioctl(self.fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, AttributeError):  # a system that does not say
            return False
        before = self.in_kernel
        self.in_kernel = left
        return left < before

    def abandon(self) -> None:
        """Have `close` reset the connection and discard what the peer has not taken, which the kernel would otherwise
        keep, hundreds of kilobytes of it, for as long as it goes on trying."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        except OSError:
            self.close_at = -1.0  # reset by the peer

    def shut_down(self) -> None:
        """Tell the peer that nothing more will come; what is already in the kernel still arrives."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close_at = -1.0  # the peer is gone already: nothing to wait for
