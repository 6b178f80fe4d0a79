"""A turn on a bench: connections whose sockets and poller are in memory, moved by hand, on a clock that is set."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from trioemqx.codec.control import Connect, Subscribe
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import make_publish
from trioemqx.core.broker import Broker
from trioemqx.core.channel import Channel
from trioemqx.core.outbox import Outbox
from trioemqx.core.zone import Zone
from trioemqx.listeners.link import ENDED, NO_LINGER, READ, WRITE, Link
from trioemqx.listeners.transport import Layer, Peer, Transport
from trioemqx.listeners.turn import Turn
from trioemqx.types import ClientInfo, SubOpts, Verdict

LARGE = 268_435_460


class Socket:
    """`incoming` is what `recv` gives, one piece at a time; b"" is the end and an exception is raised. The kernel takes
    `room` bytes more."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.incoming: deque[bytes | OSError] = deque()
        self.sent = bytearray()
        self.offered: list[int] = []
        """Sizes of what `send` was given."""
        self.room = LARGE
        self.closed = False
        self.shut = False
        self.reset = False
        """Closing resets the connection."""

    def recv(self, size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.popleft()
        if isinstance(data, OSError):
            raise data
        if len(data) > size:
            self.incoming.appendleft(data[size:])
        return data[:size]

    def send(self, data: bytes) -> int:
        self.offered.append(len(data))
        if self.room == 0:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def fileno(self) -> int:
        return self.fd

    def shutdown(self, how: int) -> None:
        self.shut = True

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.reset = value == NO_LINGER

    def close(self) -> None:
        self.closed = True


class Poller:
    """Level-triggered, like the real one."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}
        self.sockets: dict[int, Socket] = {}

    def register(self, fd: int, events: int) -> None:
        assert fd not in self.watched
        self.watched[fd] = events

    def modify(self, fd: int, events: int) -> None:
        assert fd in self.watched
        self.watched[fd] = events

    def unregister(self, fd: int) -> None:
        del self.watched[fd]

    def poll(self) -> list[tuple[int, int]]:
        found = []
        for fd, events in self.watched.items():
            socket = self.sockets[fd]
            seen = (events & READ if socket.incoming else 0) | (events & WRITE if socket.room else 0)
            if seen & READ and socket.incoming[-1] == b"":
                seen |= ENDED
            if seen:
                found.append((fd, seen))
        return found

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.watched.clear()


class Doorman:
    """Access control that lets everybody do everything, at once, unless `asks` is set: then it has to be asked."""

    def __init__(self) -> None:
        self.asks = False

    def admit(self, client: ClientInfo, zone: Zone, now: float) -> int:
        return 0

    def authenticate_now(self, client: ClientInfo, zone: Zone, password: bytes | None) -> Verdict | None:
        return Verdict(0)

    def check_acl_now(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool | None:
        return None if self.asks else True

    def source_banned(self, clientid: str) -> bool:
        return False

    async def check_acl(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool:
        return True


class Bench:
    """A broker without a pump: `round` is what the pump does between two waits."""

    def __init__(self) -> None:
        self.door = Doorman()
        self.broker = Broker(self.door)
        self.zone = Zone()
        self.broker.zones = {"default": self.zone}
        self.poller = Poller()
        self.real = 0.0
        """What the turn's own clock says; each look costs nothing."""
        self.turn = Turn(self.broker, self.poller, lambda: self.real)
        self.crashes: list[Exception] = []
        self.ends: list[str] = []
        self.turn.crashed = lambda link, error: self.crashes.append(error)
        self.turn.ended = lambda link, reason: self.ends.append(reason)
        self.broker.at(100.0, 1_000_000)

    def later(self, seconds: float) -> None:
        self.broker.at(self.broker.now + seconds, self.broker.now_ms + int(seconds * 1000))

    def poll(self) -> None:
        """What the next `work` is about, if all events of the last poll have been handled."""
        turn = self.turn
        if turn.next_ready >= len(turn.ready):
            turn.ready = self.poller.poll()
            turn.next_ready = 0

    def round(self, *, flush: bool = True) -> None:
        """Poll, work, write."""
        turn = self.turn
        self.poll()
        if len(turn.pauses):
            turn.release_paused()
        turn.work()
        if flush:
            turn.flush(1.0)
            turn.rest()

    def settle(self, rounds: int = 1000) -> int:
        """Rounds until nothing is left to do without a new event; how many it took. Fails when there is no end."""
        for count in range(rounds):
            self.round()
            if not self.turn.busy() and not self.poller.poll():
                return count
        raise AssertionError("the turn never comes to rest")

    def accept(self, layers: Callable[[Peer], list[Layer]] | None = None, *, high: int = 1000, low: int = 250) -> Tap:
        """A connection on which nothing has been sent."""
        fd = 10 + len(self.poller.sockets)
        socket = self.poller.sockets[fd] = Socket(fd)
        peer = Peer("192.0.2.1", 1000 + fd)
        transport = Transport(layers(peer), peer) if layers is not None else None
        link = Link(socket, fd, transport, 15.0)
        out = Outbox(self.turn.dirty, link, high, low)
        info = ClientInfo(peerhost=peer.host, peerport=peer.port, zone="default")
        link.channel = Channel(self.broker, self.zone, info, out, self.broker.now + 15.0)
        link.out = out
        self.broker.registry.channels[link.channel] = None
        self.turn.add(link)
        return Tap(self, link, socket)

    def client(self, clientid: str, *filters: str, version: int = 5, qos: int = 0, high: int = 1000) -> Tap:
        """A connected client."""
        tap = self.accept(high=high)
        tap.version = version
        tap.feed(connect(clientid, version))
        if filters:
            subscribe = Subscribe(1, [(name, SubOpts(qos)) for name in filters], None)
            tap.feed(encode(subscribe, version))
        self.settle()
        tap.sent()
        return tap


class Tap:
    """One connection of the bench, seen from the client."""

    def __init__(self, bench: Bench, link: Link, socket: Socket) -> None:
        self.bench = bench
        self.link = link
        self.socket = socket
        self.version = 5

    @property
    def channel(self) -> Channel:
        assert self.link.channel is not None
        return self.link.channel

    def feed(self, data: bytes | OSError) -> None:
        """The client sends this."""
        self.socket.incoming.append(data)

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, packet_id: int = 0) -> None:
        self.feed(encode(make_publish(topic, payload, qos, False, False, packet_id, None), self.version))

    def sent(self) -> bytes:
        """What the client has received since last asked."""
        data = bytes(self.socket.sent)
        self.socket.sent.clear()
        return data

    def packets(self) -> list[object]:
        """The same, decoded."""
        framer = Framer(LARGE)
        framer.feed(self.sent())
        found: list[object] = []
        while (frame := framer.next_frame()) is not None:
            found.append(decode(frame, self.version))
        assert framer.pending() == 0
        return found

    def watched(self) -> int:
        """What the poller watches for."""
        return self.bench.poller.watched.get(self.link.fd, 0)

    def reading(self) -> bool:
        return bool(self.watched() & READ)


def connect(clientid: str, version: int = 5) -> bytes:
    """A CONNECT frame."""
    return encode(Connect("MQTT", version, False, True, 0, clientid, None, None, None, None), version)
