"""The tasks of a bridge, from `start` to `stop`, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio

from trioemqx.services.bridge.backoff import Backoff
from trioemqx.services.bridge.config import BridgeError
from trioemqx.services.bridge.folder import QueueFolder
from trioemqx.services.bridge.lane import Lane

log = logging.getLogger("trioemqx.bridge")

DRAIN_SECONDS: Final = 2.0
"""For what is queued when a connected bridge is stopped."""
HANDED_OVER: Final = 1.0
"""Seconds in which a bridge that has handed its messages over is stopped, and leaves them to the other."""


class Runner:
    """`folder` has to be opened before the lanes work, where there is one. `backoff` is for tries to do so, `changed`
    is called when something has begun or ended. `error` is why the folder cannot be used, after so many `failures`."""

    def __init__(
        self,
        title: str,
        lanes: Sequence[Lane],
        folder: QueueFolder | None,
        backoff: Callable[[], Backoff],
        changed: Callable[[], object],
    ) -> None:
        self.error = ""
        self.failures = 0
        self.wanted = self.serving = False
        self.handed_over_at = float("-inf")
        self._title = title
        self._lanes = lanes
        self._folder = folder
        self._backoff = backoff
        self._changed = changed
        self._change = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    def want(self, wanted: bool) -> None:
        """Begin, or end."""
        self.wanted = wanted
        if not wanted:
            self._scope.cancel()
        self._change.unpark_all()

    async def run(self) -> None:
        """Serve while it is wanted, until cancelled."""
        while True:
            while not self.wanted:
                await self._change.park()
            self.serving = True
            try:
                await self._serve()
            finally:
                self.serving = False
                self._changed()

    async def _serve(self) -> None:
        with trio.CancelScope() as self._scope:
            await self._open()
            try:
                await self._live()
            finally:
                with trio.CancelScope(shield=True):
                    for lane in self._lanes:
                        await lane.queue.close()
                if self._folder is not None:
                    self._folder.unlock()

    async def _open(self) -> None:
        """A folder that cannot be used is tried again: its last owner may just be ending."""
        backoff = self._backoff()
        while self._folder is not None:
            try:
                await self._folder.open()
                break
            except (OSError, BridgeError) as error:
                if str(error) != self.error:
                    log.error("%s: %s; it will be tried again", self._title, error)
                self.error = str(error)
                self.failures += 1
            self._changed()
            await trio.sleep(backoff.next())
        self.error, self.failures = "", 0

    async def _live(self) -> None:
        """The lanes work in a shielded scope, so that they can still send what is queued when we are cancelled."""
        scope = trio.CancelScope(shield=True)
        for lane in self._lanes:
            lane.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, scope)
            try:
                await trio.sleep_forever()
            finally:
                now = trio.current_time()
                handed_over = now - self.handed_over_at < HANDED_OVER
                scope.deadline = now if handed_over else now + DRAIN_SECONDS
                for lane in self._lanes:
                    lane.end()

    async def _work(self, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as beside:
                for lane in self._lanes:
                    beside.start_soon(lane.queue.run)
                async with trio.open_nursery() as lanes:
                    for lane in self._lanes:
                        lanes.start_soon(lane.run)
                beside.cancel_scope.cancel()
