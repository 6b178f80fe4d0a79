"""One turn of the pump: read the ready sockets, let their channels work, write what that produced.

Nothing here awaits; the module is compiled with the core. One client gets at most one read per turn and all clients
together a bounded amount of work, so that a flood from one is never felt as a pause by another. An exception while a
connection is handled ends that connection and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trioemqx.core.outbox import Outbox
from trioemqx.core.states import NEW
from trioemqx.errors import PacketError
from trioemqx.listeners.link import FIRST_READ, MOST_READ, Link
from trioemqx.listeners.proxy import looks_like_proxy
from trioemqx.listeners.transport import LayerClosed

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel
    from trioemqx.listeners.poller import Poller

READ: Final = 1
WRITE: Final = 4
"""Events as epoll has them. Any other bit is an error or a hang-up, which the next read explains."""

SEND_SIZE: Final = 128 * 1024
"""Bytes joined for one `send`; a long outbox is written in such pieces, so that one client's backlog costs no other."""
SENDS_PER_FLUSH: Final = 4
CLOSE_DEADLINE: Final = 1.0
"""Seconds a closing connection may take to accept its last bytes, and then to close from its side."""
TARGET: Final = 0.003
"""Seconds a turn should work before it writes; `work_limit` follows what the machine manages in that time."""
LEAST_WORK: Final = 100
MOST_WORK: Final = 50000
CLOCK_EVERY: Final = 16

Crashed = Callable[[Link, Exception], None]
Ended = Callable[[Link, str], None]


def _ignore_crash(link: Link, error: Exception) -> None:
    """Default for `crashed`: nobody has been told how to report yet."""


def _ignore_end(link: Link, reason: str) -> None:
    """Default for `ended`."""


class Turn:
    """The links of a node, and the work that is waiting. `clock` is real monotonic seconds, for the length of a turn;
    `broker.now` is the time that the protocol sees."""

    def __init__(self, broker: Broker, poller: Poller, clock: Callable[[], float]) -> None:
        self.broker = broker
        self.poller = poller
        self.clock = clock
        self.links: dict[int, Link] = {}
        self.dirty: list[Outbox] = []
        self.ready: list[tuple[int, int]] = []
        """Events of the last poll that have not been handled."""
        self.next_ready = 0
        self.again: list[Link] = []
        """Links whose channel stopped in the middle because the turn's work was done."""
        self.paused: list[Link] = []
        """Links that a rate limit keeps from reading."""
        self.crashed: Crashed = _ignore_crash
        self.ended: Ended = _ignore_end
        self.next_dirty = 0
        self.close_deadline = CLOSE_DEADLINE
        """Seconds a closing connection may take for its last bytes; a node that stops gives more."""

    # -- links come and go -------------------------------------------------------------------------------------------

    def add(self, link: Link) -> None:
        """Start to read a connection."""
        self.links[link.fd] = link
        self.poller.register(link.fd, READ)

    def drop(self, link: Link, reason: str) -> None:
        """Close the socket at once and end the channel; `reason` is EMQX's close reason."""
        if link.gone:
            return
        link.gone = reason
        if self.links.get(link.fd) is link:
            del self.links[link.fd]
            self.poller.unregister(link.fd)
        link.sock.close()
        link.pending = b""
        channel = link.channel
        if channel is not None:
            channel.out.clear()
            try:
                link.gone = self.broker.registry.closed(channel, reason)
            except Exception as error:
                self.crashed(link, error)
        self.ended(link, link.gone)
        if link.bell is not None:
            link.bell()

    def busy(self) -> bool:
        """True while there is work that needs no new event."""
        return bool(self.again) or bool(self.dirty) or self.next_ready < len(self.ready)

    # -- a turn ------------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Handle what was left over, then events, until the turn's share is done. Writing is `flush`'s."""
        broker = self.broker
        broker.work = 0
        began = self.clock()
        again = self.again
        self.again = []
        for link in again:
            link.again = False
            self._continue(link)
        ready = self.ready
        index = self.next_ready
        count = len(ready)
        while index < count and broker.work < broker.work_limit:
            fd, events = ready[index]
            index += 1
            link_or_none = self.links.get(fd)
            if link_or_none is None:
                continue
            link = link_or_none
            if events & WRITE:
                self._writable(link)
            if events & ~WRITE and not link.again and not link.gone:
                self._readable(link)
            if index % CLOCK_EVERY == 0 and self.clock() - began > TARGET:
                break
        self.next_ready = index
        self._adapt(self.clock() - began)

    def _adapt(self, elapsed: float) -> None:
        """Let the work limit follow the machine: compiled or not, fast or busy, a turn should take about TARGET."""
        broker = self.broker
        if elapsed > TARGET:
            broker.work_limit = max(LEAST_WORK, broker.work_limit * 3 // 4)
        elif broker.work >= broker.work_limit and elapsed < TARGET / 2:
            broker.work_limit = min(MOST_WORK, broker.work_limit * 5 // 4)

    def _readable(self, link: Link) -> None:
        """Read once and let the channel work."""
        try:
            data = link.sock.recv(link.size)
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(link, _reason(error, link))
            return
        if not data:
            self.drop(link, "ssl_closed" if link.transport is not None else "tcp_closed")
            return
        size = len(data)
        if size == link.size:
            link.size = min(MOST_READ, size * 4)
        elif size < FIRST_READ:
            link.size = FIRST_READ
        channel = link.channel
        if link.lingering or channel is None or channel.closing:
            return
        try:
            if link.transport is None:
                if channel.state == NEW and channel.recv_cnt == 0 and looks_like_proxy(data):
                    channel.close(0, "proxy_protocol_config_disabled")
                else:
                    channel.feed(data)
            else:
                self._through(link, channel, data)
        except Exception as error:
            self._crash(link, error)
            return
        self._after(link, channel)

    def _through(self, link: Link, channel: Channel, data: bytes) -> None:
        """Bytes of a connection that has layers (PROXY, TLS, WebSocket)."""
        transport = link.transport
        if transport is None:
            return
        plain = b""
        reason = ""
        try:
            plain = transport.feed(data)
        except LayerClosed as end:
            reason = end.name
        except PacketError as error:
            reason = error.name
        if not link.pending:  # else a peer that never reads could make us collect pongs; `_write` asks again
            link.pending = transport.output()
            if link.pending:
                channel.out.touch()
        if link.identify is not None and transport.established:
            link.identify(link)
            link.identify = None
        if plain:
            channel.feed(plain)
        if transport.ended is not None and not reason:
            reason = getattr(transport.ended, "name", "closed")
        if reason:
            channel.close(0, reason)

    def _continue(self, link: Link) -> None:
        """Go on with packets that did not fit into the last turn."""
        channel = link.channel
        if link.gone or channel is None:
            return
        try:
            channel.go_on()
        except Exception as error:
            self._crash(link, error)
            return
        self._after(link, channel)

    def answered(self, link: Link, answer: object) -> None:
        """The connection's task has the answer to the channel's question."""
        channel = link.channel
        if link.gone or channel is None:
            return
        self.broker.work = 0
        self.broker.tell_time()
        try:
            channel.answer(answer)
        except Exception as error:
            self._crash(link, error)
            return
        if channel.question is None:
            self._interest(link, True, link.writing)
        self._after(link, channel)

    def _after(self, link: Link, channel: Channel) -> None:
        """What the channel's state means for its socket."""
        if channel.question is not None:
            self._interest(link, False, link.writing)
            if link.bell is not None:
                link.bell()
        elif channel.pause_until > self.broker.now:
            self._interest(link, False, link.writing)
            self.paused.append(link)
        elif channel.more and not link.again:
            link.again = True
            self.again.append(link)
        elif channel.out.blocked and channel.out.size > channel.out.high:
            self._interest(link, False, link.writing)

    def release_paused(self) -> float:
        """Let rate-limited links go on when their time has come; returns when the next one is due (0 = none)."""
        now = self.broker.now
        waiting = self.paused
        self.paused = []
        soonest = 0.0
        for link in waiting:
            channel = link.channel
            if link.gone or channel is None:
                continue
            if channel.pause_until > now:
                self.paused.append(link)
                if soonest == 0.0 or channel.pause_until < soonest:
                    soonest = channel.pause_until
                continue
            self._interest(link, True, link.writing)
            if not link.again:
                link.again = True
                self.again.append(link)
        return soonest

    def _crash(self, link: Link, error: Exception) -> None:
        """A bug in one connection's code is that connection's end."""
        self.broker.metrics.connection_crashed += 1
        self.crashed(link, error)
        self.drop(link, "internal_error")

    # -- writing -----------------------------------------------------------------------------------------------------

    def flush(self, budget: float) -> bool:
        """Write the dirty outboxes for at most about `budget` seconds; False when some are left for the next call."""
        dirty = self.dirty
        index = self.next_dirty
        if index >= len(dirty):
            return True
        began = self.clock()
        while index < len(dirty):
            out = dirty[index]
            index += 1
            out.dirty = False
            link = out.owner
            if isinstance(link, Link) and not link.gone:
                self._write(link)
            if index % CLOCK_EVERY == 0 and self.clock() - began > budget:
                break
        if index < len(dirty):
            self.next_dirty = index
            return False
        self.next_dirty = 0
        dirty.clear()
        return True

    def _writable(self, link: Link) -> None:
        """The kernel takes bytes again."""
        self._write(link)
        channel = link.channel
        if link.gone or channel is None:
            return
        out = channel.out
        if out.blocked and len(link.pending) + out.size <= out.low:  # else `_write` has seen to it
            self._relieved(link, channel)

    def _relieved(self, link: Link, channel: Channel) -> None:
        """The outbox is short again: what waited for that goes on, and so does reading."""
        try:
            channel.drained()
        except Exception as error:
            self._crash(link, error)
            return
        if not link.reading and channel.question is None and channel.pause_until <= self.broker.now:
            self._interest(link, True, link.writing)
        if channel.more and not link.again:
            link.again = True
            self.again.append(link)

    def _write(self, link: Link) -> None:
        """Hand the kernel what it takes; what it does not take waits for `_writable`."""
        out = link.out
        if out is None:
            return
        sends = 0
        while link.pending or out.size:
            if sends == SENDS_PER_FLUSH:
                break
            data = link.pending
            if not data:
                data = out.take(SEND_SIZE)
                if link.transport is not None:
                    data = link.transport.write(data)
                    if not data:
                        continue
            sends += 1
            try:
                taken = link.sock.send(data)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self.drop(link, _reason(error, link))
                return
            self.broker.metrics.bytes_sent += taken
            link.sent_oct += taken
            link.sent_cnt += 1
            if taken:
                link.progress_at = self.broker.now
            if taken < len(data):
                link.pending = data[taken:]
                break
            link.pending = b""
        if link.transport is not None and not link.pending and not channel_closing(link):
            link.pending = link.transport.output()
        waiting = bool(link.pending) or out.size > 0
        if waiting and not out.blocked:
            link.progress_at = self.broker.now
        relieved = out.blocked and not waiting
        out.blocked = waiting
        if waiting != link.writing:
            self._interest(link, link.reading, waiting)
        channel = link.channel
        if channel is None:
            return
        if channel.closing:
            self._close(link, channel, waiting)
        elif relieved:
            self._relieved(link, channel)
        elif (  # work that began outside a turn, such as a subscription through the API
            channel.more and not link.again and channel.question is None and channel.pause_until <= self.broker.now
        ):
            link.again = True
            self.again.append(link)

    def _close(self, link: Link, channel: Channel, waiting: bool) -> None:
        """The channel wants to end: say goodbye on every layer, then wait a moment for the peer to do the same, so that
        a reset does not destroy our last words."""
        if channel.closing == "normal":  # the client said DISCONNECT and waits for nothing
            self.drop(link, channel.closing)
            return
        if link.close_at == 0.0:
            link.close_at = self.broker.now + self.close_deadline
            if link.transport is not None:
                link.pending += link.transport.close()
                if link.pending:
                    channel.out.touch()
                    return
        if waiting or link.lingering:
            return
        link.lingering = True
        link.close_at = min(link.close_at, self.broker.now + CLOSE_DEADLINE)
        link.shut_down()
        if link.close_at < 0.0:
            self.drop(link, channel.closing)
            return
        self._interest(link, True, False)

    def check(self, link: Link) -> None:
        """Deadlines of the socket: a closing one is cut, a receiver that takes nothing for `send_timeout` is ended, and
        so is a peer that is late with a handshake."""
        now = self.broker.now
        channel = link.channel
        if link.close_at and now >= link.close_at:
            self.drop(link, channel.closing if channel is not None and channel.closing else "closed")
            return
        if link.out is not None and link.out.blocked and link.send_timeout > 0.0:
            if now - link.progress_at >= link.send_timeout:
                self.drop(link, "timeout")
                return
        if link.transport is not None and channel is not None:
            late = link.transport.late(now)
            if late:
                channel.close(0, late)

    def _interest(self, link: Link, reading: bool, writing: bool) -> None:
        """Tell the poller what to watch, if that is news."""
        if link.gone or (reading == link.reading and writing == link.writing):
            return
        link.reading = reading
        link.writing = writing
        self.poller.modify(link.fd, (READ if reading else 0) | (WRITE if writing else 0))


def channel_closing(link: Link) -> bool:
    """True when the channel has asked for the end of its connection."""
    return link.channel is not None and link.channel.closing != ""


def _reason(error: OSError, link: Link) -> str:
    """EMQX's close reason for a socket error."""
    name = type(error).__name__
    if name == "ConnectionResetError":
        return "econnreset"
    if name == "TimeoutError":
        return "etimedout"
    if name == "BrokenPipeError":
        return "ssl_closed" if link.transport is not None else "tcp_closed"
    return "closed"
