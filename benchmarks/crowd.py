"""Many MQTT 3.1.1 clients in one loop that all want to connect now, and try again when they are turned away."""

from __future__ import annotations

import errno
import heapq
import selectors
import socket
import time
from dataclasses import dataclass

from client import packet, text

AGAIN = 0.5
"""Seconds until a client that was turned away comes again."""
SUBSCRIBED = 5
"""Bytes of a SUBACK for one filter."""


@dataclass
class Arrival:
    """How many got in, how many of these found their session, seconds until half of them and all of them were in, and
    attempts that failed."""

    connected: int = 0
    present: int = 0
    half: float = 0.0
    last: float = 0.0
    repeated: int = 0


class Crowd:
    """`count` clients whose names begin with `name`; `kept`: their sessions outlive the connection."""

    def __init__(self, port: int, name: str, count: int, kept: bool = False) -> None:
        self.opened = 0
        self._address = ("127.0.0.1", port)
        flags = 0 if kept else 2
        self._hello = [
            packet(0x10, text("MQTT") + bytes([4, flags, 0, 0]) + text(f"{name}-{number}")) for number in range(count)
        ]
        self._sockets: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._say = True

    def open(self, say: bool = True) -> None:
        """Begin to connect all of them; without `say` nobody sends a CONNECT."""
        self._say = say
        for number in range(len(self._hello)):
            self._begin(number)

    def connect(self, patience: float) -> Arrival:
        """All of them at once, until everybody is in or patience is over."""
        begin = time.monotonic()
        self.open()
        arrival = Arrival()
        again: list[tuple[float, int]] = []
        while arrival.connected < len(self._hello) and time.monotonic() < begin + patience:
            for key, events in self._selector.select(0.05):
                answer = self._step(key.data, events)
                if answer is None:
                    continue
                if len(answer) == 4 and not answer[3]:
                    self._selector.unregister(self._sockets[key.data])
                    arrival.connected += 1
                    arrival.present += answer[2] & 1
                    arrival.last = time.monotonic() - begin
                    if arrival.connected == (len(self._hello) + 1) // 2:
                        arrival.half = arrival.last
                else:
                    arrival.repeated += 1
                    self._drop(key.data)
                    heapq.heappush(again, (time.monotonic() + AGAIN, key.data))
            while again and again[0][0] < time.monotonic():
                self._begin(heapq.heappop(again)[1])
        return arrival

    def subscribe(self) -> None:
        """Each of those who are in to a topic of its own."""
        for number, one in self._sockets.items():
            one.setblocking(True)
            one.settimeout(30)
            one.sendall(packet(0x82, b"\0\1" + text(f"crowd/{number}") + b"\1"))
        for one in self._sockets.values():
            left = SUBSCRIBED
            while left:
                got = len(one.recv(left))
                if not got:
                    raise ConnectionError("the broker closed the connection of one who subscribed")
                left -= got

    def close(self) -> None:
        """Leave without a word."""
        for number in list(self._sockets):
            self._drop(number)

    def _begin(self, number: int) -> None:
        one = socket.socket()
        one.setblocking(False)
        code = one.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            one.close()
            raise OSError(code, "cannot connect")
        self._sockets[number] = one
        self._selector.register(one, selectors.EVENT_WRITE, number)
        self.opened += 1

    def _step(self, number: int, events: int) -> bytes | None:
        """What a client can do now; gives the answer to its CONNECT, b"" when it was turned away."""
        one = self._sockets[number]
        try:
            if events & selectors.EVENT_WRITE:
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    return b""
                if self._say:
                    one.sendall(self._hello[number])
                self._selector.modify(one, selectors.EVENT_READ, number)
                return None
            return one.recv(4)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _drop(self, number: int) -> None:
        one = self._sockets.pop(number)
        try:
            self._selector.unregister(one)
        except KeyError:
            one.close()
            return
        one.close()
