"""What one client may take: limits of the zones that can be reached from outside, and of the whole broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trioemqx.config.fields import show_bytesize
from trioemqx.config.model import Config
from trioemqx.core.zone import Zone
from trioemqx.services.doctor.finding import LOW, MEDIUM, Finding, is_public
from trioemqx.services.zones import build_zone

LARGE_PACKET: Final = 16 * 1024**2
UNBOUNDED: Final = (
    ("max_subscriptions", "the subscriptions of one client", "10000"),
    ("max_awaiting_rel", "the QoS 2 messages of one client that are half received", "100"),
    ("max_mqueue_bytes", "the bytes that wait for one client", '"16MB"'),
)
"""(setting, what it bounds, proposal) where 0 means without bound."""


def findings(config: Config) -> Iterator[Finding]:
    """What is weak in the zones of public listeners, and in the broker's own limits."""
    public = [listener for listener in config.listeners if is_public(listener.host)]
    limited = {listener.zone for listener in public if listener.rate_limit is not None}
    for name in dict.fromkeys(listener.zone for listener in public):
        zone = build_zone(config, name)
        yield from _packets(name, zone)
        for setting, what, proposal in UNBOUNDED:
            if not getattr(zone, setting):
                yield Finding(LOW, f"zone.{name}.{setting}", "0", f"{what} have no bound", proposal)
        if zone.conn_messages_in is None and zone.conn_bytes_in is None and name not in limited:
            key, reason = f"zone.{name}.rate_limit.conn_messages_in", "one client may send as much as it can"
            yield Finding(LOW, key, "none", reason, '"1000,1s"')
        if not zone.enable_flapping_detect:
            key, reason = f"zone.{name}.enable_flapping_detect", "who reconnects all the time is not kept out"
            yield Finding(LOW, key, "false", reason, "true")
    if public and not config.retainer.max_retained_messages:
        reason = "retained messages are kept without bound, in memory and on disk"
        yield Finding(LOW, "retainer.max_retained_messages", "0", reason, "100000")
    if config.limits.max_unauthenticated > 100_000:
        value = str(config.limits.max_unauthenticated)
        reason = "so many sockets may be held open by who never sends CONNECT"
        yield Finding(LOW, "limits.max_unauthenticated", value, reason, "1000")


def _packets(name: str, zone: Zone) -> Iterator[Finding]:
    if zone.max_packet_size > LARGE_PACKET:
        value = str(show_bytesize(zone.max_packet_size))
        reason = "so much memory is held for each packet that is on its way"
        yield Finding(MEDIUM, f"zone.{name}.max_packet_size", value, reason, '"1MB"')
    if not zone.max_topic_levels:
        reason = "a topic may have thousands of levels, each of which is stored and walked"
        yield Finding(MEDIUM, f"zone.{name}.max_topic_levels", "0", reason, "128")
    if zone.max_user_properties > 1000:
        value, reason = str(zone.max_user_properties), "each is an object of its own until the packet is gone"
        yield Finding(LOW, f"zone.{name}.max_user_properties", value, reason, "100")
