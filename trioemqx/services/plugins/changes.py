"""Changes of plugins, one at a time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.generation import sentence

log = logging.getLogger("trioemqx.plugins")


class Changes:
    """Does what it is asked to, each change whole and in a task of `nursery`, until it is closed."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        """None before the start."""
        self._lock = trio.Lock()
        self._current = trio.CancelScope()
        self._closing = False

    async def do(self, change: Callable[[str], Awaitable[None]], name: str) -> None:
        """Do one change of a plugin, and no other one meanwhile. Whoever asks for it may be cancelled in the middle, it
        is still done whole. Raises PluginError, also for a bug in `change`, which is logged."""
        if self.nursery is None or self._closing:
            raise PluginError(f"{name}: the broker is not running")
        done = trio.Event()
        failures: list[PluginError] = []

        async def run() -> None:
            try:
                await self._alone(change, name)
            except PluginError as error:
                failures.append(error)
            except Exception as error:
                log.error("%s: the change failed", name, exc_info=error)
                failures.append(PluginError(sentence(name, error)))
            finally:
                done.set()

        self.nursery.start_soon(run)
        await done.wait()
        if failures:
            raise failures[0]

    async def _alone(self, change: Callable[[str], Awaitable[None]], name: str) -> None:
        async with self._lock:
            with trio.CancelScope() as self._current:
                if self._closing:  # while this one waited for its turn
                    self._current.cancel()
                await change(name)
            if self._current.cancelled_caught:
                raise PluginError(f"{name}: the broker is stopping")

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Take no more changes, give up the one that is under way, and be alone for the length of the block."""
        self._closing = True
        self._current.cancel()
        async with self._lock:
            yield
