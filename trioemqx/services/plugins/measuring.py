"""How long hooks take: stopwatches that are put around their calls while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

Stopwatch = Callable[[str, str, float], None]
"""Told (plugin, point, seconds) of each call while hooks are measured. It must not raise."""


def measured(
    call: Callable[..., Any], plugin: str, point: str, stopwatches: Iterable[Stopwatch], waits: bool
) -> Callable[..., Any]:
    """A hook's function that tells the stopwatches of each call, whatever comes of it. `waits` is true for an async
    one; its time has its waiting in it."""
    clock = time.perf_counter

    def tell(began: float) -> None:
        seconds = clock() - began
        for told in tuple(stopwatches):
            told(plugin, point, seconds)

    def plain(*args: object) -> object:
        began = clock()
        try:
            return call(*args)
        finally:
            tell(began)

    async def waiting(*args: object) -> object:
        began = clock()
        try:
            return await call(*args)
        finally:
            tell(began)

    return waiting if waits else plain
