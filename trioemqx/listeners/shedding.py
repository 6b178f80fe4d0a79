"""What gives way when memory runs short: the hands of `services.memory_guard`."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from trioemqx.core.states import CONNECTED
from trioemqx.services.memory_guard import Rung

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel
    from trioemqx.listeners.link import Link
    from trioemqx.listeners.pump import Pump

SLICE: Final = 500
"""Connections or sessions between two checkpoints."""
MOST_CUT: Final = 64
"""Connections ended per sample: what they free shows in the next one."""
LARGE: Final = 16 * 1024
"""Bytes; who has less waiting is no slow client."""

Item = TypeVar("Item")


class Shedding:
    """Sets the switches of `Broker.pressure` and acts on the connections of one pump."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._routes = 0
        """The size that the cache of routes may have when memory is not short; 0 while that holds."""
        self._published: dict[Channel, int] = {}
        """What each connection had published at the last look."""
        self._resting: set[Link] = set()
        """Who was paused at the last look, and has its turn to be read now."""

    def set_rung(self, rung: Rung) -> None:
        """Set the switches."""
        broker = self._pump.broker
        pressure = broker.pressure
        pressure.spare_caches = pressure.refuse_retained = rung >= Rung.FRUGAL
        pressure.refuse_anonymous = rung >= Rung.NO_ANONYMOUS
        pressure.refuse_connections = rung >= Rung.NO_CONNECTIONS
        pressure.retained_share = 2 if rung >= Rung.SLOWLY else 1
        pressure.refuse_qos0 = rung >= Rung.NO_QOS0
        if rung < Rung.SLOWLY:
            self._published = {}
            self._resting = set()
        router = broker.router
        if rung >= Rung.FRUGAL and not self._routes:
            self._routes = router.cache_size
            router.cache_size = max(1, router.cached)
        elif rung < Rung.FRUGAL and self._routes:
            router.cache_size = self._routes
            self._routes = 0

    async def pause_publishers(self, seconds: float) -> None:
        """Do not read one half of those who published since the last look, and the other half after the next: each has
        its turn to be read before it is paused again, its PINGREQ included."""
        before, self._published = self._published, {}
        active: list[Link] = []
        async for link in _in_slices(list(self._pump.turn.links.values())):
            channel = link.channel
            if channel is None or channel.state != CONNECTED or channel.closing:
                continue
            count = channel.recv_qos0 + channel.recv_qos1 + channel.recv_qos2
            self._published[channel] = count
            if count > before.get(channel, count) and link not in self._resting:
                active.append(link)
        chosen = active if self._resting else active[::2]
        self._resting = set(chosen)
        self._pump.tell_time()
        for link in chosen:
            channel = link.channel
            if channel is not None and not link.gone and not channel.closing:
                self._pump.turn.pause(link, channel, seconds)
                self._pump.broker.metrics.overload["overload.publishers.paused"] += 1
        self._pump.wake()

    async def drop_qos0(self) -> None:
        """Empty the queues of what nobody was promised."""
        broker = self._pump.broker
        self._pump.tell_time()
        async for session in _in_slices(broker.clients()):
            if session.mqueue:
                session.shed_qos0()

    async def cut_largest(self, excess: int) -> None:
        """End the connections with the largest out-buffers until `excess` bytes are free. A session with an expiry goes
        on, and what it has not acknowledged is sent again when its client is back."""
        turn = self._pump.turn
        self._pump.tell_time()
        for link in heapq.nlargest(MOST_CUT, turn.links.values(), key=_backlog):
            size = link.backlog()
            if excess <= 0 or size < LARGE:
                break
            turn.drop(link, "overload")  # a client that does not read would not hear a DISCONNECT
            self._pump.broker.metrics.overload["overload.connections.closed"] += 1
            excess -= size
        self._pump.wake()
        await trio.lowlevel.checkpoint()


def _backlog(link: Link) -> int:
    return link.backlog()


async def _in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """All of them, with a checkpoint now and then."""
    rest = iter(items)
    while part := list(islice(rest, SLICE)):
        for item in part:
            yield item
        await trio.lowlevel.checkpoint()
