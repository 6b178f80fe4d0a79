"""The node's limits on sockets, over all listeners."""

from __future__ import annotations

import os
import socket
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.states import CONNECTED

if TYPE_CHECKING:
    from trioemqx.listeners.link import Link
    from trioemqx.listeners.pump import Pump

PATIENCE: Final = 0.5
"""Seconds after which a client that has sent no whole CONNECT may have to make room for another."""
LOOK_AT: Final = 32
"""Connections, the oldest first, of which one may have to go."""


class Gate:
    """All connections, and those that have not been accepted by a CONNECT yet.

    At the first limit accepting pauses. At the second the oldest silent connection is closed instead: whoever opens a
    thousand sockets and says nothing must not keep the others out. One that has sent something we have not read, or
    waits for an authentication backend, is not silent.

    Accepting pauses as well while the process is short of descriptors, so that files, the API and plugins find some.
    """

    def __init__(
        self, pump: Pump, max_connections: int, max_unauthenticated: int, max_connect_packet_size: int = 64 * 1024
    ) -> None:
        self._pump = pump
        self.max_connections = max_connections
        self.max_unauthenticated = max_unauthenticated
        self.max_connect_packet_size = max_connect_packet_size
        self.waited = 0
        """How often accepting paused because a limit was reached."""
        self.full = 0
        """How often that was the limit on all connections."""
        self.descriptor_ceiling = 0
        """The number that descriptors of connections must stay below; 0 = any. The system always gives the lowest that
        is free, so the number of a new one tells how many are in use."""
        self.starved = 0
        """How often accepting paused because descriptors were short."""
        self._short = False
        self._fresh: deque[tuple[float, Link]] = deque()
        """Accepted sockets with their time, oldest first; those that got further are sorted out now and then."""

    def open(self) -> bool:
        """True while another socket may be accepted."""
        registry = self._pump.broker.registry
        if self._short and not self._enough():
            self._starve()
            return False
        count = len(registry.channels)
        room = count - registry.connected < self.max_unauthenticated
        if count < self.max_connections and (room or self._make_room()):
            return True
        self.waited += 1
        self.full += count >= self.max_connections
        return False

    def watch(self, link: Link) -> None:
        """A socket has been accepted."""
        self._short = 0 < self.descriptor_ceiling <= link.fd
        fresh = self._fresh
        while fresh and not _unknown(fresh[0][1]):  # else thousands that have ended would be kept for their place here
            fresh.popleft()
        fresh.append((trio.current_time(), link))
        if len(fresh) > 2 * self.max_unauthenticated + LOOK_AT:
            self._fresh = deque(entry for entry in fresh if _unknown(entry[1]))

    def exhausted(self) -> None:
        """The system had no descriptor for a socket."""
        self._short = True
        self._starve()

    def _starve(self) -> None:
        self.starved += 1
        self._pump.broker.metrics.overload["overload.accepting.paused"] += 1

    def _enough(self) -> bool:
        """Whether descriptors are free below the ceiling again."""
        try:
            lowest = os.dup(self._pump.poller.fileno())
        except OSError:
            return False
        os.close(lowest)
        self._short = 0 < self.descriptor_ceiling <= lowest
        return not self._short

    def _make_room(self) -> bool:
        fresh = self._fresh
        while fresh and not _unknown(fresh[0][1]):
            fresh.popleft()
        latest = trio.current_time() - PATIENCE
        for since, link in islice(fresh, LOOK_AT):
            if since > latest:
                return False
            if _unknown(link) and _silent(link):
                self._pump.tell_time()
                self._pump.turn.drop(link, "server_busy")
                return True
        return False


def _unknown(link: Link) -> bool:
    """True before CONNECT has been accepted."""
    return not link.gone and link.channel is not None and link.channel.state != CONNECTED


def _silent(link: Link) -> bool:
    """True when it is the client's turn and nothing has come."""
    if link.channel is None or link.channel.question is not None or not isinstance(link.sock, socket.socket):
        return False
    try:
        return link.sock.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
