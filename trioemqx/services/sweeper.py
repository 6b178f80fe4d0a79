"""Everything that depends on time alone, once a second: keep-alive, deadlines, retries, expiry, delayed wills.

One sweep replaces a timer per connection. It takes its work in slices, so that a hundred thousand connections do not
stop the messages.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel

SLICE: Final = 500


async def run(broker: Broker, check: Callable[[Channel], None], interval: float = 1.0) -> None:
    """Sweep for ever. `check` looks at what the transport knows of a channel (deadlines of its socket)."""
    while True:
        await trio.sleep(interval)
        await sweep(broker, check)
        await settle_wills(broker)


async def sweep(broker: Broker, check: Callable[[Channel], None]) -> None:
    """One round over all channels, sessions and retained messages that are due."""
    broker.tell_time()
    registry = broker.registry
    channels = iter(list(registry.channels))
    while part := list(islice(channels, SLICE)):
        for channel in part:
            registry.check(channel, broker.now)
            check(channel)
        broker.wake()
        await trio.lowlevel.checkpoint()
        broker.tell_time()
    while registry.run_timers(broker.now):
        broker.wake()
        await trio.lowlevel.checkpoint()
    while broker.retained.sweep(broker.now, SLICE) >= SLICE:
        await trio.lowlevel.checkpoint()
    broker.metrics.messages_retained = len(broker.retained)
    broker.wake()


async def settle_wills(broker: Broker) -> None:
    """Publish the wills whose access rule had to be asked of a backend (`Broker.pending_wills`)."""
    pending, broker.pending_wills = broker.pending_wills, []
    for client, will in pending:
        zone = broker.zones.get(client.zone)
        if zone is not None and await broker.access.check_acl(client, zone, "publish", will.topic):
            broker.publish_will(client, will)
