"""A network in memory: connections that deliver late, in pieces, and that break at any byte.

One `Wire` is a TCP connection. The broker's end is a `BrokerSocket`, which the pump drives like a kernel's socket; the
client's end is awaited. A `SimPoller` says what is ready, and `SimPump` is the broker's own pump with another way to
wait. Nothing here asks the kernel, so the order of everything is the seed's.
"""

from __future__ import annotations

import math

import trio

from trioemqx.listeners.link import ENDED, READ, WRITE
from trioemqx.listeners.pump import Pump

HANG_UP = 0x10
FIRST_FD = 1_000_000
"""No descriptor of the process, so that asking the kernel about one fails instead of telling about something else."""


class Lost(Exception):
    """The connection is gone; `orderly` when the other side has closed it."""

    def __init__(self, orderly):
        super().__init__("closed" if orderly else "reset")
        self.orderly = orderly


class Pipe:
    """One direction. It holds at most `capacity` bytes that were written and not read, as socket buffers do."""

    def __init__(self, network, capacity):
        self._network = network
        self.capacity = capacity
        self.inbox = bytearray()
        self.held = 0
        self.arrived_total = 0
        self.cut_at = None
        """Break the connection when so many bytes have arrived."""
        self.ended = False
        """The writer has closed, and all it wrote has arrived."""
        self.dead = False
        """A black hole: what is written never arrives."""
        self.on_arrival = self.on_room = self.on_cut = lambda: None
        self._last = 0.0

    def write(self, data):
        """How many bytes were taken."""
        taken = min(len(data), self.capacity - self.held)
        if taken > 0:
            self.held += taken
            self._send(bytes(data[:taken]))
        return taken

    def _send(self, data):
        """Cut the bytes into pieces with an arrival time each."""
        random = self._network.random
        while data:
            size = len(data) if random.random() < 0.6 else random.randint(1, len(data))
            piece, data = data[:size], data[size:]
            self._network.timeline.at(self._next_time(), self._arrive, piece)

    def _next_time(self):
        now = trio.current_time()
        self._last = max(self._last, now + self._network.latency())
        return self._last

    def finish(self):
        """No more will be written."""
        self._network.timeline.at(self._next_time(), self._end)

    def _arrive(self, piece):
        if self.dead:
            return
        left = math.inf if self.cut_at is None else self.cut_at - self.arrived_total
        piece = piece[: min(len(piece), max(0, left))]
        self.inbox += piece
        self.arrived_total += len(piece)
        if piece:
            self.on_arrival()
        if self.cut_at is not None and self.arrived_total >= self.cut_at:
            self.dead = True
            self.on_cut()

    def _end(self):
        if not self.dead:
            self.ended = True
            self.on_arrival()

    def read(self, size):
        """What has arrived, at most so many bytes."""
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        full = self.held >= self.capacity
        self.held -= len(data)
        if full:
            self.on_room()
        return data

    def kill(self):
        """Whatever is under way is lost."""
        self.dead = True
        self.inbox.clear()


class Wire:
    """A connection: `up` goes to the broker, `down` to the client. `tap` sees what the broker reads and sends."""

    def __init__(self, network, number, name, capacity):
        self.number = number
        self.name = name
        self.network = network
        self.up = Pipe(network, 65536)
        self.down = Pipe(network, capacity)
        self.up.on_cut = self.down.on_cut = self.reset
        self.down.on_arrival = self._client_news
        self.client_lost = False
        self.broker_lost = False
        self.closed_by_client = False
        self.closed_by_broker = False
        self._news = trio.Event()

    # -- the client's end --------------------------------------------------------------------------------------------

    def _client_news(self):
        self._news.set()

    def write(self, data):
        """Write all; a client has memory enough for what the network does not take yet, except that it is lost with the
        connection."""
        if self.client_lost:
            raise Lost(False)
        self.up.capacity = max(self.up.capacity, self.up.held + len(data))
        self.up.write(data)

    async def read(self):
        """The next bytes. Raises Lost."""
        while True:
            if self.client_lost:
                await trio.lowlevel.checkpoint()
                raise Lost(False)
            if self.down.inbox:
                await trio.lowlevel.checkpoint()
                return self.down.read(65536)
            if self.down.ended:
                await trio.lowlevel.checkpoint()
                raise Lost(True)
            self._news = trio.Event()
            await self._news.wait()

    def close(self):
        """The client closes in good order: all it has written arrives."""
        if not self.client_lost:
            self.closed_by_client = self.client_lost = True
            self.up.finish()
            self._news.set()

    # -- faults ------------------------------------------------------------------------------------------------------

    def reset(self):
        """Both sides lose the connection, and whatever is under way."""
        self.drop_client()
        self.drop_broker()

    def drop_client(self):
        """The client's side only (half open: the broker hears nothing more, not even an end)."""
        self.client_lost = True
        self.down.dead = self.up.dead = True
        self._news.set()

    def drop_broker(self):
        """The broker's side."""
        self.broker_lost = True
        self.up.kill()
        self.up.on_arrival()


class BrokerSocket:
    """The broker's end of a wire: a non-blocking socket for the pump."""

    def __init__(self, wire, fd, poller, tap):
        self.wire = wire
        self._fd = fd
        self._poller = poller
        self._tap = tap
        self._shut = False
        self._abandoned = False
        self._closed = False
        wire.up.on_arrival = wire.down.on_room = lambda: poller.changed(fd)

    def events(self):
        """READ, WRITE, ENDED and HANG_UP, as they are now."""
        wire = self.wire
        if wire.broker_lost:
            return READ | WRITE | HANG_UP
        readable = (READ if wire.up.inbox or wire.up.ended else 0) | (ENDED if wire.up.ended else 0)
        return readable | (WRITE if wire.down.held < wire.down.capacity else 0)

    def recv(self, size, /):
        """As a socket's."""
        wire = self.wire
        if wire.broker_lost:
            raise ConnectionResetError(104, "reset")
        if wire.up.inbox:
            data = wire.up.read(size)
            self._tap.was_read(wire, data)
            return data
        if wire.up.ended:
            return b""
        raise BlockingIOError(11, "nothing has arrived")

    def send(self, data, /):
        """As a socket's."""
        wire = self.wire
        if wire.broker_lost:
            raise ConnectionResetError(104, "reset")
        if wire.closed_by_client and wire.up.ended:
            wire.broker_lost = True
            raise BrokenPipeError(32, "the peer has closed")
        taken = wire.down.write(data)
        if taken <= 0:
            raise BlockingIOError(11, "no room")
        self._tap.was_sent(wire, bytes(data[:taken]))
        return taken

    def fileno(self):
        """The number the poller knows it by."""
        return self._fd

    def shutdown(self, how, /):
        """No more will be sent."""
        if self.wire.broker_lost:
            raise OSError(107, "not connected")
        self._shut = True
        self.wire.down.finish()

    def setsockopt(self, level, option, value, /):
        """Only said to have the close be a reset."""
        self._abandoned = True

    def close(self):
        """Unread bytes mean a reset, as with TCP, and so does being abandoned; else what was sent still arrives."""
        wire = self.wire
        if self._closed:
            return
        self._closed = wire.closed_by_broker = True
        unread = bool(wire.up.inbox) or self._abandoned
        wire.up.kill()
        if wire.broker_lost:
            return
        wire.broker_lost = True
        if unread:
            wire.drop_client()
        elif not self._shut:
            wire.down.finish()


class SimPoller:
    """Which sockets are ready, level-triggered, in an order that the seed decides."""

    def __init__(self, random):
        self._random = random
        self.sockets = {}
        self._interest = {}
        self._bell = trio.Event()

    def register(self, fd, events):
        """Start to watch a socket. Others (the pump's own pair of real sockets) are not ours."""
        if fd >= FIRST_FD:
            self._interest[fd] = events
            self.changed(fd)

    def modify(self, fd, events):
        """Watch for other events, or for none."""
        self._interest[fd] = events
        self.changed(fd)

    def unregister(self, fd):
        """Stop to watch a socket."""
        del self._interest[fd]
        del self.sockets[fd]

    def poll(self):
        """What is ready now."""
        found = [(fd, events) for fd in self._interest if (events := self._ready(fd))]
        self._random.shuffle(found)
        return found

    def _ready(self, fd):
        wanted = self._interest[fd]
        told = wanted | HANG_UP | (ENDED if wanted & READ else 0)
        return self.sockets[fd].events() & told if wanted else 0

    def changed(self, fd):
        """Something has happened to a socket."""
        if fd in self._interest and self._ready(fd):
            self._bell.set()

    def ring(self):
        """End the wait though nothing is ready."""
        self._bell.set()

    async def wait(self):
        """Until something is ready or the bell rings."""
        if not any(self._ready(fd) for fd in self._interest):
            await self._bell.wait()
        self._bell = trio.Event()

    def fileno(self):
        """There is none."""
        raise AttributeError("a simulated poller has no descriptor")

    def close(self):
        """Nothing to give back."""


class Ticks:
    """A clock for the length of turns. Each look takes a little, now and then so long that a slice is over."""

    def __init__(self, random):
        self._random = random
        self._now = 0.0

    def __call__(self):
        self._now += 0.005 if self._random.random() < 0.03 else 0.00001
        return self._now


class SimPump(Pump):
    """The pump, waiting for the simulated poller."""

    def wake(self):
        """As the pump's, without the kernel."""
        if not self._awake:
            self._awake = True
            self.poller.ring()

    async def _wait(self):
        soonest = self.turn.pauses.next()
        with trio.move_on_at(math.inf if soonest is None else soonest):
            await self.poller.wait()


class Network:
    """Makes wires. `slowness` scales all delays; a broker that is down is not reachable (`node` is None)."""

    def __init__(self, timeline, random, tap):
        self.timeline = timeline
        self.random = random
        self.tap = tap
        self.slowness = 1.0
        self.wires = []
        self.node = None
        self._listener = None
        self._fds = FIRST_FD

    def latency(self):
        """Seconds for one piece of bytes: mostly a millisecond, sometimes half a second."""
        random = self.random
        base = 0.001 if random.random() < 0.8 else random.expovariate(20.0)
        return min(0.5, base) * self.slowness

    def serve(self, node, listener):
        """This broker answers from now on."""
        self.node = node
        self._listener = listener

    def dial(self, name, capacity):
        """A new connection. Raises Lost when nobody listens."""
        node = self.node
        if node is None or node.stopping.is_set() or node._connections is None:
            raise Lost(False)
        wire = Wire(self, len(self.wires), name, capacity)
        self.wires.append(wire)
        self._fds += 1
        sock = BrokerSocket(wire, self._fds, node.pump.poller, self.tap)
        node.pump.poller.sockets[self._fds] = sock
        self._listener.adopt(sock, self._fds, "10.0.0.1", 1024 + wire.number, "inside", 0, node._connections)
        node.broker.wake()
        return wire

    def crash(self):
        """The broker's process is gone: its kernel resets every connection."""
        self.node = None
        for wire in self.wires:
            if not wire.broker_lost:
                wire.reset()
