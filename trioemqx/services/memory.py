"""Python's cycle collector, kept from stopping the broker.

A full collection looks at every object, and with a million subscriptions that takes the better part of a second. The
broker frees its own objects by reference counts (a connection that ends breaks its cycles), so old objects need no
looking at: they are frozen, and only what is younger than a few seconds is collected. The price: a cycle of somebody
else's, a plugin's for instance, that dies old is only found by `full`.

For a process that is ours; a program that embeds the broker keeps its own settings.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

THRESHOLDS: Final = (2_000, 4, 1_000)
"""Allocations before the youngest generation is collected, and how many of each before the next older one is. A
thousand objects that live cost a collection most of a millisecond, so these take about one and seven at most; the
oldest generation is frozen long before its turn."""
FREEZE_EVERY: Final = 10.0
SMALL: Final = 50_000
"""Objects that a full collection may look at: about 10 ms."""
_settled: Final = threading.Event()


def begin() -> None:
    """Called once, before the broker starts: what a start makes stays, a million retained messages among it, and each
    collection would look at all of it. `settle` ends this."""
    gc.disable()


def settle() -> None:
    """Called once, when the broker is up: what is there now stays."""
    gc.enable()
    gc.set_threshold(*THRESHOLDS)
    full()
    _settled.set()


def full() -> int:
    """Collect everything and freeze what is left; returns the number of objects freed."""
    gc.unfreeze()
    freed = gc.collect()
    gc.freeze()
    return freed


def tidy() -> None:
    """Collect what is young, then stop looking at the rest. Not while collecting is paused."""
    if gc.isenabled():
        gc.collect(1)
        gc.freeze()


@contextmanager
def paused() -> Iterator[None]:
    """No collections while much is made that stays: each would look at all of it, and find nothing. Does nothing in a
    process that is not ours."""
    if not gc.isenabled() or not _settled.is_set():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


async def run(full_interval: float, freeze_interval: float = FREEZE_EVERY) -> None:
    """Tidy for ever. Each `full_interval` seconds (`node.global_gc_interval`) everything is collected, as long as there
    is so little of it that nobody notices."""
    last = trio.current_time()
    while True:
        await trio.sleep(freeze_interval)
        tidy()
        if trio.current_time() - last >= full_interval:
            last = trio.current_time()
            if gc.get_freeze_count() <= SMALL:
                full()
