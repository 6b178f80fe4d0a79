"""An incoming PUBLISH as a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.codec.packets import Publish
from trioemqx.core.handlers.topic_grant import TopicGrant
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel


def message(channel: Channel, packet: Publish, grant: TopicGrant) -> Message:
    """The message as the rest of the broker sees it; a frame that can be forwarded as it came is kept."""
    broker = channel.broker
    info = channel.info
    qos = packet.qos
    found = Message(
        grant.mounted,
        None,
        qos,
        packet.retain,
        info.clientid,
        packet.properties,
        broker.now,
        broker.now_ms,
    )
    frame = packet.frame
    at = packet.payload_at
    found.raw = frame
    found.raw_at = at
    found.username = info.username
    found.peerhost = info.peerhost
    found.proto_ver = channel.version
    if packet.retain or packet.dup or packet.properties is not None or info.mountpoint:
        return found
    if qos == 0:
        if channel.version == 5:
            found.frame_v5 = frame
        else:
            found.frame_v3 = frame
    elif channel.version == 5:
        found.head_v5 = frame[: at - 3]
        found.tail_v5 = frame[at - 1 :]
    else:
        found.head_v3 = frame[: at - 2]
    return found
