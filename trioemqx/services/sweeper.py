"""Everything that depends on time alone, once a second: keep-alive, deadlines, retries, expiry, delayed wills.

One sweep replaces a timer per connection. It takes its work in slices of time, so that a hundred thousand connections,
or a thousand that end at once, do not stop the messages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.errors import ReasonCode
from trioemqx.services.log_format import of_client

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel

log = logging.getLogger("trioemqx.sweeper")

UNSPECIFIED_ERROR: Final = ReasonCode.UNSPECIFIED_ERROR.value
SLICE: Final = 0.001
"""Seconds between two checkpoints."""
LOOK: Final = 8
"""Channels between two looks at the clock, if all they need is to be looked at."""
TIMERS: Final = 10
RETAINED: Final = 100
"""Sessions, and retained messages, whose time has come, between two checkpoints."""


async def run(
    broker: Broker, check: Callable[[Channel], None], settle: Callable[[], None], interval: float = 1.0
) -> None:
    """Sweep for ever. `check` looks at what the transport knows of a channel (deadlines of its socket), `settle` is
    called once after each round."""
    while True:
        await trio.sleep(interval)
        await sweep(broker, check)
        settle()


async def sweep(
    broker: Broker, check: Callable[[Channel], None], clock: Callable[[], float] = time.perf_counter
) -> None:
    """One round over all channels, sessions and retained messages that are due. `clock` is real seconds."""
    broker.tell_time()
    registry = broker.registry
    until = clock() + SLICE
    unseen = 0
    for channel in list(registry.channels):
        before = len(registry.channels)
        _check(broker, channel, check)
        unseen += 1
        ended = len(registry.channels) < before  # with a full queue that takes half a millisecond
        if unseen < LOOK and not ended:
            continue
        unseen = 0
        if clock() > until:
            broker.wake()
            await trio.lowlevel.checkpoint()
            broker.tell_time()
            until = clock() + SLICE
    broker.wake()
    while registry.run_timers(broker.now, TIMERS):
        broker.wake()
        await trio.lowlevel.checkpoint()
    while broker.retained.sweep(broker.now, RETAINED) >= RETAINED:
        await trio.lowlevel.checkpoint()
    broker.metrics.messages_retained = len(broker.retained)
    broker.wake()


def _check(broker: Broker, channel: Channel, check: Callable[[Channel], None]) -> None:
    """A bug met with one channel must not keep the deadlines of all others from being looked at."""
    try:
        broker.registry.check(channel, broker.now)
        check(channel)
    except Exception as error:
        broker.metrics.connection_crashed += 1
        log.error("sweep crashed", exc_info=error, extra=of_client(channel.info))
        channel.close(UNSPECIFIED_ERROR, "internal_error")


async def settle_wills(broker: Broker, interval: float = 1.0) -> None:
    """Publish, for ever, the wills whose access rule had to be asked of a backend (`Broker.pending_wills`). A task of
    its own: a backend that takes its time must not delay the sweep."""
    while True:
        await trio.sleep(interval)
        while broker.pending_wills:
            client, will = broker.pending_wills.pop(0)
            zone = broker.zones.get(client.zone)
            if zone is not None and await broker.access.check_acl(client, zone, "publish", will.topic):
                broker.publish_will(client, will)
