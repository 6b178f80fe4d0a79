"""A run: PUBLISH frames of one client that follow each other and differ in nothing but their payload.

A client that sends faster than it is read, the one that costs most, sends the same topic again and again. What has
been decided about the first frame (access, caps, route) holds for all that begin with the same bytes, and a receiver
that would get each frame as it came can get them in one piece. Only QoS 0 without properties, and only while no hook
wants to see the messages; everything else takes its ordinary way, and so does every receiver with needs of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.codec.decode_publish import decode_publish
from trioemqx.codec.packets import Publish
from trioemqx.core.handlers import incoming
from trioemqx.core.handlers.topic_grant import TopicGrant
from trioemqx.core.router import Route
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel


def forward(channel: Channel, first: Publish, grant: TopicGrant) -> None:
    """`first` has just been published: hand on the frames behind it that are like it, within this turn's share."""
    broker = channel.broker
    if not grant.allowed or grant.until <= broker.now or not _ordinary(channel, first):
        return
    receivers = _receivers(grant.route)
    if receivers == 0:
        return
    frame = first.frame
    room = (broker.work_limit - broker.work) // (receivers + 1)
    run = channel.framer.take_run(frame[: first.payload_at], len(frame), room)
    if run:
        count = len(run) // len(frame)
        _count(channel, count, grant.cached)
        broker.dispatch_run(
            run, count, channel.version == 5, lambda: _split(channel, run, len(frame), grant), grant.route
        )


def _ordinary(channel: Channel, first: Publish) -> bool:
    """True when nothing has to be done per message: no properties, no mountpoint, no limit, no hook, and the client is
    still here."""
    if first.properties is not None or first.retain or channel.info.mountpoint or channel.session is None:
        return False
    if channel.messages_bucket is not None or channel.quota_bucket is not None or channel.zone_bucket is not None:
        return False
    hooks = channel.broker.hooks
    return not (
        channel.closing
        or hooks.message_publish
        or hooks.message_delivered
        or hooks.delivery_completed
        or hooks.client_check_acl_complete
    )


def _receivers(route: Route) -> int:
    """How many get each message; 0 for nobody, where somebody is chosen per message (share groups, other nodes), and
    where somebody gets it for several subscriptions: he would get the whole run for the first of them, then the run
    again, and whose queue drops some of that would see a late message before an early one [MQTT-4.6.0-6]."""
    count = 0
    for entry in route.entries:
        if entry.groups is not None or entry.remote is not None:
            return 0
        count += len(entry.members)
    if len(route.entries) > 1 and count > 1:
        seen: set[int] = set()
        for entry in route.entries:
            seen.update([id(member.receiver) for member in entry.members])
        if len(seen) < count:
            return 0
    return count


def _count(channel: Channel, count: int, cached: bool) -> None:
    """All that is counted per PUBLISH on its way in."""
    channel.recv_pkt += count
    channel.recv_qos0 += count
    channel.broker.work += count
    metrics = channel.broker.metrics
    metrics.packets_publish_received += count
    metrics.messages_qos0_received += count
    metrics.messages_publish += count
    if cached:
        metrics.client_acl_cache_hit += count
        metrics.client_acl_allow += count


def _split(channel: Channel, run: bytes, size: int, grant: TopicGrant) -> list[Message]:
    """The messages of a run, one by one."""
    return [
        incoming.message(channel, decode_publish(run[at : at + size], channel.version), grant)
        for at in range(0, len(run), size)
    ]
