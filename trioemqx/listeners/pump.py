"""The pump: one task that moves the bytes of all connections.

It waits once for all ready sockets, lets `Turn` do a bounded amount of work, writes, and gives way to the rest of the
process at least every few milliseconds. Whoever produces bytes outside a turn (the API, a service) calls `wake`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.listeners.link import READ
from trioemqx.listeners.poller import Poller, make_poller
from trioemqx.listeners.turn import LITTLE, Turn

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker

SLICE: Final = 0.004
"""Seconds the pump may keep the thread before other tasks get their turn."""


def _nothing() -> None:
    """Default for `commit`: nothing is to be stored."""


class Pump:
    """Owns the poller and the turn of one node. `wall` gives seconds since 1970 for message timestamps, `clock` real
    monotonic seconds for the length of a turn."""

    def __init__(
        self,
        broker: Broker,
        wall: Callable[[], float] = time.time,
        poller: Poller | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.broker = broker
        self.wall = wall
        self.clock = clock
        self.poller = poller or make_poller()
        self.turn = Turn(broker, self.poller, clock)
        self.longest = 0.0
        """Longest time between two checkpoints so far, in real seconds."""
        self.commit: Callable[[], None] = _nothing
        """Called each turn before anything is written: has the store take what has changed."""
        self._awake = False
        self._rung = False
        """A byte waits in `_inner`."""
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self.poller.register(self._inner.fileno(), READ)
        broker.wake = self.wake
        broker.tell_time = self.tell_time

    def tell_time(self) -> None:
        """Give the core the present time."""
        self.broker.at(trio.current_time(), int(self.wall() * 1000))

    def wake(self) -> None:
        """Have the pump look at the dirty outboxes soon; cheap when it is awake or has been told."""
        if not self._awake:
            self._awake = True
            self._rung = True
            self._outer.send(b"!")

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move bytes until cancelled."""
        task_status.started()
        turn = self.turn
        began = self.clock()
        while True:
            if self._rung:
                self._answer_bell()
            self.tell_time()
            if len(turn.pauses):
                turn.release_paused()
            if turn.next_ready >= len(turn.ready):
                turn.ready = self.poller.poll()
                turn.next_ready = 0
            self.commit()
            if not turn.busy():  # the poller was asked first: under load that is cheaper than Trio's way of waiting
                self._awake = False
                await self._wait()
                self._awake = True
                began = self.clock()
                continue
            turn.work()
            self.commit()
            began = await self._give_way(began)
            turn.flush(max(LITTLE, began + SLICE - self.clock()))
            began = await self._give_way(began)
            turn.rest()
            began = await self._give_way(began)

    async def _give_way(self, began: float) -> float:
        """A checkpoint if the slice is used up; returns when the new slice began."""
        elapsed = self.clock() - began
        if elapsed < SLICE:
            return began
        self.longest = max(self.longest, elapsed)
        await trio.lowlevel.checkpoint()
        return self.clock()

    async def _wait(self) -> None:
        """Until a socket is ready, `wake` was called, or a rate limit ends."""
        soonest = self.turn.pauses.next()
        if soonest is not None:
            with trio.move_on_at(soonest):
                await trio.lowlevel.wait_readable(self.poller.fileno())
        else:
            await trio.lowlevel.wait_readable(self.poller.fileno())

    def _answer_bell(self) -> None:
        """Take the byte that `wake` sent; it is only there to be waited for."""
        self._rung = False
        self._inner.recv(16)

    def close(self) -> None:
        """Give the descriptors back; all links have been dropped."""
        self.poller.close()
        self._inner.close()
        self._outer.close()
