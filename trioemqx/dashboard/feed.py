"""The samples on their way to browsers: one WebSocket each, every message encoded once for all.

Spoken in ASGI, for hypercorn. A viewer that does not keep up is dropped; it may come again, and gets the history then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
import msgspec
import trio

from trioemqx.dashboard.sampler import Sampler

WAITING: Final = 5
"""Samples that may wait for a viewer."""
NOT_ALLOWED: Final = 1008
"""The session has ended."""
TRY_LATER: Final = 1013
"""There are as many viewers as there may be, or this one was too slow."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@attrs.define(eq=False)
class Viewer:
    """One browser."""

    to: trio.MemorySendChannel[str]
    slow: bool = False


class Feed:
    """All viewers. `limit()` is how many there may be."""

    def __init__(self, sampler: Sampler, limit: Callable[[], int]) -> None:
        self._sampler = sampler
        self._limit = limit
        self.viewers: set[Viewer] = set()
        self.dropped = 0
        """Viewers that were too slow."""
        self.refused = 0
        """Viewers beyond the limit."""
        sampler.on_sample = self.publish

    def publish(self, t: float, values: Mapping[str, float]) -> None:
        """Hand a sample to everybody; nothing is done for nobody."""
        if not self.viewers:
            return
        text = msgspec.json.encode({"type": "sample", "t": t, "values": values}).decode("ascii")
        for viewer in list(self.viewers):
            try:
                viewer.to.send_nowait(text)
            except trio.WouldBlock:
                viewer.slow = True
                self.dropped += 1
                self._leave(viewer)

    def _leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        viewer.to.close()

    async def serve(self, receive: Receive, send: Send, holds: Callable[[], bool]) -> None:
        """A WebSocket that may see the figures, until it or its session ends (`holds()` is asked each second)."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        if len(self.viewers) >= self._limit():
            self.refused += 1
            await _close(send, TRY_LATER, "too many viewers: dashboard.max_viewers")
            return
        channel, samples = trio.open_memory_channel[str](WAITING)
        viewer = Viewer(channel)
        self.viewers.add(viewer)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await send({"type": "websocket.send", "text": self._sampler.history().decode("ascii")})
                await _pass_on(samples, send, holds, viewer)
                nursery.cancel_scope.cancel()
        finally:
            self._leave(viewer)


async def _pass_on(
    samples: trio.MemoryReceiveChannel[str], send: Send, holds: Callable[[], bool], viewer: Viewer
) -> None:
    async for text in samples:
        if viewer.slow:
            break
        if not holds():
            await _close(send, NOT_ALLOWED, "the session has ended")
            return
        await send({"type": "websocket.send", "text": text})
    await _close(send, TRY_LATER, "too slow")


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """A viewer has nothing to say; what it says is not looked at."""
    while (await receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
