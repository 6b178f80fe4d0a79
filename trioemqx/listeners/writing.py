"""The half of a turn that writes: outboxes to sockets, goodbyes, and the end of connections.

Nothing here awaits; the module is compiled with the core. A socket that does not take what is offered is left to the
poller, so a slow receiver costs the others nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trioemqx.core.deadlines import Deadlines
from trioemqx.core.outbox import Outbox
from trioemqx.listeners.link import FULL, PAUSED, READ, WRITE, Link

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel
    from trioemqx.listeners.poller import Poller

SEND_SIZE: Final = 128 * 1024
"""Bytes joined for one `send`; a long outbox is written in such pieces, so that one client's backlog costs no other."""
SENDS_PER_FLUSH: Final = 16
CLOCK_EVERY: Final = 16
CLOCK_BYTES: Final = 1024 * 1024
"""Sockets served, or bytes written, between two looks at the clock."""
CLOSE_DEADLINE: Final = 1.0
"""Seconds a closing connection may take to accept its last bytes, and then to close from its side."""

Crashed = Callable[[Link, Exception], None]
Ended = Callable[[Link, str], None]


def _ignore_crash(link: Link, error: Exception) -> None:
    """Default for `crashed`: nobody has been told how to report yet."""


def _ignore_end(link: Link, reason: str) -> None:
    """Default for `ended`."""


class Writing:
    """The links of a node and what waits to be written to them. `clock` is real monotonic seconds, for the length of a
    turn; `broker.now` is the time that the protocol sees."""

    def __init__(self, broker: Broker, poller: Poller, clock: Callable[[], float]) -> None:
        self.broker = broker
        self.poller = poller
        self.clock = clock
        self.links: dict[int, Link] = {}
        self.dirty: list[Outbox] = []
        self.bulk: deque[Outbox] = deque()
        """Outboxes that are dirty too, but of so many that they are written bit by bit, between the turns of others."""
        self.draining = False
        """`bulk` is being written: nothing is added by heavy pieces until that is done."""
        self.again: deque[Link] = deque()
        """Links whose channel stopped in the middle because its share of a turn was used up."""
        self.pauses = Deadlines()
        """When links may be read again that a rate limit holds."""
        self.crashed: Crashed = _ignore_crash
        self.ended: Ended = _ignore_end
        self.close_deadline = CLOSE_DEADLINE
        """Seconds a closing connection may take for its last bytes; a node that stops gives more."""

    # -- links come and go -------------------------------------------------------------------------------------------

    def add(self, link: Link) -> None:
        """Start to read a connection."""
        self.poller.register(link.fd, READ)
        self.links[link.fd] = link

    def drop(self, link: Link, reason: str) -> None:
        """Close the socket at once and end the channel; `reason` is EMQX's close reason."""
        if link.gone:
            return
        link.gone = reason
        if link.held & PAUSED:
            self.pauses.cancel(link)
        if self.links.get(link.fd) is link:
            del self.links[link.fd]
            self.poller.unregister(link.fd)
        link.sock.close()
        link.pending = b""
        link.at = 0
        channel = link.channel
        if channel is not None:
            channel.out.clear()
            try:
                link.gone = self.broker.registry.closed(channel, reason)
            except Exception as error:
                self.crashed(link, error)
            # Links, channels and sessions are freed by reference counts alone, see `services.memory`.
            channel.owner = None
            channel.out.owner = None
        self.ended(link, link.gone)
        if link.bell is not None:
            link.bell()

    def crash(self, link: Link, error: Exception) -> None:
        """A bug in one connection's code is that connection's end."""
        self.broker.metrics.connection_crashed += 1
        self.crashed(link, error)
        self.drop(link, "internal_error")

    # -- writing -----------------------------------------------------------------------------------------------------

    def flush(self, budget: float) -> None:
        """Write the outboxes that are dirty now; those for which `budget` seconds are too short join `bulk`. What
        becomes dirty meanwhile is for the next round: a client that drains a long queue as fast as it is refilled must
        not keep the others from being read."""
        dirty = self.dirty
        count = len(dirty)
        if count == 0:
            return
        began = self.clock()
        metrics = self.broker.metrics
        mark = metrics.bytes_sent + CLOCK_BYTES
        index = 0
        while index < count:
            self._write_out(dirty[index])
            index += 1
            if index % CLOCK_EVERY == 0 or metrics.bytes_sent > mark:
                mark = metrics.bytes_sent + CLOCK_BYTES
                if self.clock() - began > budget:
                    break
        if index < count:
            self.bulk.extend(dirty[index:count])
            self.draining = True
        del dirty[:count]

    def drain(self, budget: float) -> None:
        """Write of `bulk` for at most about `budget` seconds, once it has been decided that it is to be written."""
        if not self.draining:
            return
        bulk = self.bulk
        began = self.clock()
        metrics = self.broker.metrics
        mark = metrics.bytes_sent + CLOCK_BYTES
        served = 0
        while bulk:
            self._write_out(bulk.popleft())
            served += 1
            if served % CLOCK_EVERY == 0 or metrics.bytes_sent > mark:
                mark = metrics.bytes_sent + CLOCK_BYTES
                if self.clock() - began > budget:
                    break
        self.draining = len(bulk) > 0

    def _write_out(self, out: Outbox) -> None:
        out.dirty = False
        link = out.owner
        if isinstance(link, Link) and not link.gone:
            self.write(link)

    def write(self, link: Link) -> None:
        """Write the outbox of a connection. A socket that is known to take nothing is not tried before the poller says
        otherwise."""
        out = link.out
        if out is not None:
            self._serve(link, out, not link.writing)

    def writable(self, link: Link) -> None:
        """The kernel takes bytes again."""
        if link.out is not None:
            self._serve(link, link.out, True)

    def _serve(self, link: Link, out: Outbox, push: bool) -> None:
        """Hand the kernel what it takes, and see to what follows from that."""
        try:
            if push:
                self._push(link, out)
            channel = link.channel
            if channel is None or link.gone:
                return
            if channel.closing:
                self._close(link, channel)
            elif link.held & PAUSED and channel.pause_until <= self.broker.now:
                self.pauses.set(link, self.broker.now)  # the limit was lifted before its time
            elif channel.more and not link.again and link.held == 0:
                self._run_again(link)  # work that began outside a turn, such as a subscription through the API
        except Exception as error:
            self.crash(link, error)

    def _push(self, link: Link, out: Outbox) -> None:
        """Send; then note what is left, and let what waited for room go on."""
        sends = 0
        taking = True
        while taking and sends < SENDS_PER_FLUSH and (link.pending or self._load(link, out)):
            sends += 1
            taking = self._send(link)
        if link.gone:
            return
        left = link.backlog()
        was = out.blocked
        out.blocked = left > 0
        if left > 0 and not was:
            link.progress_at = self.broker.now
        waits = left > 0 and (link.pending != b"" or out.ready() > 0)  # else it is the store that is waited for
        if waits != link.writing:
            self.interest(link, link.reading, waits)
        if left <= out.low and (was or link.held & FULL):
            self._relieve(link)

    def _load(self, link: Link, out: Outbox) -> bool:
        """Fill `pending` with the next piece, wrapped by the layers; False when there is nothing to send."""
        transport = link.transport
        if transport is None:
            if out.ready() == 0:
                return False
            link.pending = out.take(SEND_SIZE)
            return True
        while out.ready():
            link.pending = transport.write(out.take(SEND_SIZE))
            if link.pending:
                return True
        link.pending = transport.output()
        channel = link.channel
        if not link.pending and out.size == 0 and not link.farewell and channel is not None and channel.closing:
            link.farewell = True
            link.pending = transport.close()
        return len(link.pending) > 0

    def _send(self, link: Link) -> bool:
        """One `send` of what is pending; True when the kernel took all it was offered."""
        data = link.pending
        size = len(data)
        at = link.at
        if size - at > 2 * SEND_SIZE:  # one very large packet
            data = data[at : at + SEND_SIZE]
        elif at:
            data = data[at:]
        try:
            taken = link.sock.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            self.drop(link, close_reason(error, link))
            return False
        self.broker.metrics.bytes_sent += taken
        link.sent_oct += taken
        link.sent_cnt += 1
        link.progress_at = self.broker.now
        if at + taken < size:
            link.at = at + taken
        else:
            link.pending = b""
            link.at = 0
        return taken == len(data)

    def _relieve(self, link: Link) -> None:
        """The outbox is short again: what waited for that goes on, and so does reading."""
        channel = link.channel
        if channel is None or channel.closing:
            return
        channel.drained()
        self.release(link, FULL)

    # -- ending ------------------------------------------------------------------------------------------------------

    def _close(self, link: Link, channel: Channel) -> None:
        """The channel wants to end. `_load` has said goodbye on every layer once all else was sent; then the peer gets
        a moment to close from its side, so that a reset does not destroy our last words."""
        if link.close_at == 0.0:
            link.close_at = self.broker.now + self.close_deadline
            # The protocol is done with this connection: its will goes out now, not when the peer has closed.
            self.broker.registry.leave(channel, channel.closing)
        if channel.closing == "normal" and link.transport is None:  # the client said DISCONNECT and waits for nothing
            self.drop(link, channel.closing)
            return
        if link.lingering or link.backlog() > 0:
            return
        link.lingering = True
        link.close_at = min(link.close_at, self.broker.now + CLOSE_DEADLINE)
        link.shut_down()
        if link.close_at < 0.0:
            self.drop(link, channel.closing)
            return
        link.held = 0
        self.interest(link, True, False)

    def check(self, link: Link) -> None:
        """Deadlines of the socket: a closing one is cut, a receiver that takes nothing for `send_timeout` is ended, and
        so is a peer that is late with a handshake."""
        now = self.broker.now
        channel = link.channel
        if link.gone:
            return
        if link.close_at and now >= link.close_at:
            self.drop(link, channel.closing if channel is not None and channel.closing else "closed")
            return
        if link.writing and link.send_timeout > 0.0:
            if link.moves():
                link.progress_at = now
            elif now - link.progress_at >= link.send_timeout:
                link.abandon()
                self.drop(link, "timeout")
                return
        if link.transport is not None and channel is not None:
            late = link.transport.late(now)
            if late:
                channel.close(0, late)

    # -- what the poller watches -------------------------------------------------------------------------------------

    def _run_again(self, link: Link) -> None:
        link.again = True
        self.again.append(link)

    def hold(self, link: Link, why: int) -> None:
        """Stop reading a client, for one reason more."""
        link.held |= why
        self.interest(link, False, link.writing)

    def pause(self, link: Link, channel: Channel, seconds: float) -> None:
        """Do not read a client for some time; whoever calls this outside a turn wakes the pump."""
        channel.give_way(seconds)
        self.hold(link, PAUSED)
        self.pauses.set(link, channel.pause_until)

    def release(self, link: Link, why: int) -> None:
        """One reason not to read is gone; with the last one reading goes on."""
        if link.held & why:
            link.held &= ~why
            if link.held == 0:
                self.interest(link, True, link.writing)

    def interest(self, link: Link, reading: bool, writing: bool) -> None:
        """Tell the poller what to watch, if that is news."""
        if link.gone or (reading == link.reading and writing == link.writing):
            return
        link.reading = reading
        link.writing = writing
        self.poller.modify(link.fd, (READ if reading else 0) | (WRITE if writing else 0))


def close_reason(error: OSError, link: Link) -> str:
    """EMQX's close reason for a socket error."""
    name = type(error).__name__
    if name == "ConnectionResetError":
        return "econnreset"
    if name == "TimeoutError":
        return "etimedout"
    if name == "BrokenPipeError":
        return "ssl_closed" if link.transport is not None else "tcp_closed"
    return "closed"
