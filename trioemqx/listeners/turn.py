"""One turn of the pump: read the ready sockets and let their channels work. Writing what that produced is `writing`'s.

Nothing here awaits; the module is compiled with the core. One client gets at most a share of a turn before the next one
has its own, all clients together a bounded amount of work, and who addresses thousands steps back behind the others, so
that a flood from one is never felt as a pause by another. An exception while a connection is handled ends that
connection and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trioemqx.core.states import CONNECTED, NEW
from trioemqx.errors import PacketError
from trioemqx.listeners.link import ENDED, FIRST_READ, FULL, MOST_READ, PAUSED, QUESTION, WRITE, Link
from trioemqx.listeners.proxy import looks_like_proxy
from trioemqx.listeners.transport import LayerClosed
from trioemqx.listeners.writing import CLOCK_EVERY, Writing, close_reason

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel
    from trioemqx.listeners.poller import Poller

TARGET: Final = 0.003
"""Seconds a turn may work before it writes."""
SHARE: Final = 200
"""Packets plus deliveries that a client gets before it is the next one's turn, and about how much is done between two
looks at the clock."""
HEAVY: Final = 2 * SHARE
"""What one piece costs at most that is no heavy one: a share may be exceeded by its last packet. One message to a
thousand receivers is heavy."""
LITTLE: Final = 0.0005
"""Seconds in a turn that those who come and go have at least, and that heavy pieces have, or the writing of what they
produced. They have as much as the others took if that is more, so that neither starves the other."""
FEW: Final = 64
"""So few outboxes are written after each CLOCK_EVERY sockets: their owners can work while we read on. More of them
would cost more writes than that is worth."""
ENDING: Final = 4
"""The weight of a connection that ends, in sockets that are read."""
PAUSES_PER_TURN: Final = 1000


class Turn(Writing):
    """Reading, and sharing out the work. `ready` are the events of the last poll, handled up to `next_ready`."""

    def __init__(self, broker: Broker, poller: Poller, clock: Callable[[], float]) -> None:
        super().__init__(broker, poller, clock)
        self.ready: list[tuple[int, int]] = []
        self.next_ready = 0
        self.passing: deque[Link] = deque()
        """Links with events, of those who are not connected yet, or have closed their side. A connection that begins or
        ends costs as much as dozens of messages, and there may be thousands: they come after those who are here."""
        self.heavy: deque[Link] = deque()
        """Links of `again` whose last piece was a heavy one."""
        self.begun = False
        """The last `work` has met a heavy one that was not known to be one."""
        self.used = 0.0
        """Seconds that the last `work` took."""
        self.spent = 0.0
        """Seconds that heavy pieces have taken since `bulk` was last empty: it is written when there is enough of it to
        be worth a system call for each receiver."""
        broker.work_limit = SHARE

    def busy(self) -> bool:
        """True while there is work that needs no new event."""
        return (
            bool(self.again)
            or bool(self.dirty)
            or bool(self.passing)
            or bool(self.heavy)
            or bool(self.bulk)
            or self.next_ready < len(self.ready)
        )

    # -- a turn ------------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Handle events, and after each of them one piece of what was left over, for about TARGET seconds."""
        began = self.clock()
        waiting = len(self.heavy)
        self._light(began + TARGET)
        self.begun = len(self.heavy) > waiting
        self.used = self.clock() - began

    def rest(self) -> None:
        """What can wait for everybody else, after `flush` has written for them: who comes or goes; and heavy pieces, or
        the writing of what they have produced.

        Who sends one message to thousands costs more in one piece than all others together. So they are served first,
        and then it is a piece's turn, or some of its receivers'."""
        if self.passing:
            self._pass(max(LITTLE, self.used))
        if self.draining:
            self.drain(max(LITTLE, self.used))
            return
        if self.begun:  # one has just begun, with the first of what it sent
            self.spent += LITTLE
        elif self.heavy:
            self._heavy(max(LITTLE, self.used))
        self.draining = len(self.bulk) > 0 and (not self.heavy or self.spent > TARGET)
        if self.draining:
            self.spent = 0.0

    def _light(self, until: float) -> None:
        """The pieces of those who are not known to be heavy."""
        broker = self.broker
        broker.work = 0
        ready = self.ready
        count = len(ready)
        again = self.again
        later: list[Link] = []
        steps = 0
        clock_at = SHARE
        while True:
            index = self.next_ready
            if index < count:
                self.next_ready = index + 1
                fd, events = ready[index]
                found = self.links.get(fd)
                if found is not None:
                    if events & ENDED or found.channel is None or found.channel.state != CONNECTED:
                        if not found.events:
                            self.passing.append(found)
                        found.events |= events
                    else:
                        steps += self._event(found, events)
            elif not again:
                break
            if again:
                before = broker.work
                link = again.popleft()
                self._piece(link)
                if broker.work == before and link.again and again[-1] is link:  # it waits for a flush, not for a share
                    later.append(again.pop())
                steps += 1
            if steps >= CLOCK_EVERY or broker.work >= clock_at:
                if steps >= CLOCK_EVERY and 0 < len(self.dirty) <= FEW:
                    break
                steps = 0
                clock_at = broker.work + SHARE
                if self.clock() > until:
                    break
        again.extend(later)

    def _pass(self, budget: float) -> None:
        """Events of those who come and go, for about `budget` seconds."""
        until = self.clock() + budget
        steps = 0
        while self.passing:
            link = self.passing.popleft()
            events = link.events
            link.events = 0
            if link.gone:
                continue
            steps += self._event(link, events)
            if steps >= ENDING:
                steps = 0
                if self.clock() > until:
                    break

    def _heavy(self, budget: float) -> None:
        """Pieces of heavy ones: one, and as many more as `budget` seconds are likely to be enough for."""
        start = self.clock()
        until = start + budget
        now = start
        took = 0.0
        while self.heavy and now + took <= until:
            self._piece(self.heavy.popleft())
            took = self.clock() - now
            now += took
        self.spent += now - start

    def _piece(self, link: Link) -> None:
        """One share for a link that had not finished with what it has."""
        broker = self.broker
        before = broker.work
        first = len(self.dirty)
        broker.work_limit = before + SHARE
        link.again = False
        self._continue(link)
        if broker.work > before + HEAVY:
            self._set_aside(link, first)

    def _set_aside(self, link: Link, first: int) -> None:
        """A piece was heavy: the next one waits for everybody else, and so do the outboxes it was the first to fill,
        those from number `first` on."""
        self.bulk.extend(self.dirty[first:])
        del self.dirty[first:]
        if link.again and self.again and self.again[-1] is link:
            self.heavy.append(self.again.pop())

    def _event(self, link: Link, events: int) -> int:
        """What the poller saw of one socket; returns its weight until the next look at the clock: a TLS handshake may
        take a millisecond, the end of a session a tenth of it."""
        if events & WRITE:
            self.writable(link)
        if events & ~WRITE and not link.again and not link.gone:
            broker = self.broker
            before = broker.work
            first = len(self.dirty)
            broker.work_limit = before + SHARE
            self._readable(link)
            if broker.work > before + HEAVY:
                self._set_aside(link, first)
        if link.transport is not None:
            return CLOCK_EVERY
        return ENDING if link.gone else 1

    def _readable(self, link: Link) -> None:
        """Read once and let the channel work."""
        try:
            data = link.sock.recv(link.size)
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(link, close_reason(error, link))
            return
        except Exception as error:
            self.crash(link, error)
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
            self.crash(link, error)
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
            end.__traceback__ = (
                None  # the layer keeps it, and its traceback would keep the layer, see `services.memory`
            )
            reason = end.name
        except PacketError as error:
            error.__traceback__ = None
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
        if link.gone or channel is None or channel.closing:
            return
        try:
            channel.go_on()
        except Exception as error:
            self.crash(link, error)
            return
        self._after(link, channel)

    def answered(self, link: Link, answer: object) -> None:
        """The connection's task has the answer to the channel's question."""
        channel = link.channel
        if link.gone or channel is None:
            return
        broker = self.broker
        broker.tell_time()
        broker.work = 0
        broker.work_limit = SHARE
        try:
            channel.answer(answer)
        except Exception as error:
            self.crash(link, error)
            return
        self._after(link, channel)
        if channel.question is None:
            self.release(link, QUESTION)

    def _after(self, link: Link, channel: Channel) -> None:
        """What the channel's state means for its socket."""
        if channel.closing:
            return
        if channel.question is not None:
            self.hold(link, QUESTION)
            if link.bell is not None:
                link.bell()
        elif channel.pause_until > self.broker.now:
            self.hold(link, PAUSED)
            self.pauses.set(link, channel.pause_until)
        elif channel.more and not link.again:
            self._run_again(link)
        out = channel.out
        if out.blocked and out.size > out.high:
            self.hold(link, FULL)

    def release_paused(self) -> None:
        """Let rate-limited links go on whose time has come."""
        now = self.broker.now
        for key in self.pauses.due(now, PAUSES_PER_TURN):
            if not isinstance(key, Link) or key.channel is None:
                continue
            if key.channel.pause_until > now:
                self.pauses.set(key, key.channel.pause_until)
                continue
            self.release(key, PAUSED)
            if not key.again:
                self._run_again(key)
