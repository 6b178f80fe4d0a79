"""PUBLISH frames for receivers: encoded once per message and version, shared by everybody who gets the same bytes.

A QoS 0 frame is shared whole. At QoS 1 and 2 only the two bytes of the packet identifier differ, so the parts before
(`head`) and after (`tail`) are shared and the outbox joins the three. What differs per receiver (a subscription
identifier, a topic alias, an expiry that has run down, the RETAIN flag) is encoded for that receiver alone.
"""

from __future__ import annotations

from typing import Final

from trioemqx.codec.properties import encode_properties
from trioemqx.types import Message, Properties

PACKET_ID: Final = [number.to_bytes(2, "big") for number in range(65536)]
"""Every packet identifier as it goes on the wire; a lookup is cheaper than making the two bytes anew."""


def varint(value: int) -> bytes:
    """A variable byte integer [MQTT5 1.5.5]."""
    if value < 128:
        return bytes((value,))
    if value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    if value < 2097152:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21))


def publish_frame(
    message: Message,
    v5: bool,
    qos: int,
    retain: bool,
    dup: bool,
    packet_id: int,
    topic: str,
    properties: Properties | None,
) -> bytes:
    """One PUBLISH from its parts; nothing is shared. `topic` may differ from the message's (mountpoint, alias)."""
    name = topic.encode()
    body = PACKET_ID[len(name)] + name
    if qos:
        body += PACKET_ID[packet_id]
    if v5:
        body += encode_properties(properties) if properties is not None else b"\x00"
    payload = message.payload
    first = 0x30 | qos << 1
    if retain:
        first |= 1
    if dup:
        first |= 8
    return bytes((first,)) + varint(len(body) + len(payload)) + body + payload


def shared_qos0(message: Message, v5: bool) -> bytes:
    """The frame every plain QoS 0 receiver of this version gets: RETAIN 0, no subscription identifier."""
    if v5:
        frame = message.frame_v5
        if frame is None:
            frame = message.frame_v5 = publish_frame(
                message, True, 0, False, False, 0, message.topic, message.properties
            )
        return frame
    frame = message.frame_v3
    if frame is None:
        frame = message.frame_v3 = publish_frame(message, False, 0, False, False, 0, message.topic, None)
    return frame


def shared_head(message: Message, v5: bool) -> bytes:
    """Fixed header and topic of the message at its own QoS (1 or 2), RETAIN 0 and DUP 0: all before the packet id."""
    head = message.head_v5 if v5 else message.head_v3
    if head is None:
        name = message.topic.encode()
        rest = 2 + len(name) + 2 + len(message.payload)
        if v5:
            rest += len(shared_tail_v5(message)) - len(message.payload)
        head = bytes((0x30 | message.qos << 1,)) + varint(rest) + PACKET_ID[len(name)] + name
        if v5:
            message.head_v5 = head
        else:
            message.head_v3 = head
    return head


def shared_tail_v5(message: Message) -> bytes:
    """Property block and payload of the message: all after the packet id for an MQTT 5 receiver."""
    tail = message.tail_v5
    if tail is None:
        properties = message.properties
        block = encode_properties(properties) if properties is not None else b"\x00"
        tail = message.tail_v5 = block + message.payload
    return tail
