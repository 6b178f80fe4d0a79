"""A message that waits to be sent, and how it is written to a disk."""

from __future__ import annotations

import struct
from typing import Final

from trioemqx.codec.decode_publish import decode_publish
from trioemqx.codec.encode_publish import encode_publish
from trioemqx.codec.packets import make_publish
from trioemqx.errors import MalformedPacket
from trioemqx.types import Properties

OVERHEAD: Final = 200
"""Bytes that a message takes beside topic and payload, about."""
_BORN: Final = struct.Struct(">Q")


class Item:
    """`born` is Unix milliseconds, for messages that expire. `seq` is the place in a disk queue, 0 for none; `size` is
    what it counts for."""

    __slots__ = ("born", "payload", "properties", "qos", "retain", "seq", "size", "topic")

    def __init__(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None, born: int
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties
        self.born = born
        self.seq = 0
        self.size = len(topic) + len(payload) + OVERHEAD

    def encode(self) -> bytes:
        """As bytes: its birth, then a PUBLISH of MQTT 5. ValueError when no packet can hold it."""
        packet_id = 1 if self.qos else 0
        packet = make_publish(self.topic, self.payload, self.qos, self.retain, False, packet_id, self.properties)
        return _BORN.pack(self.born) + encode_publish(packet, 5)

    @classmethod
    def decode(cls, data: bytes) -> Item:
        """What `encode` made. Raises PacketError for other bytes."""
        if len(data) < _BORN.size:
            raise MalformedPacket("record without a message")
        packet = decode_publish(data[_BORN.size :], 5)
        (born,) = _BORN.unpack_from(data)
        return cls(packet.topic, packet.payload, packet.qos, packet.retain, packet.properties, born)

    def expired(self, now: int) -> bool:
        """Whether its time has run out; `now` is Unix milliseconds."""
        properties = self.properties
        if properties is None or properties.message_expiry_interval is None:
            return False
        return now - self.born >= properties.message_expiry_interval * 1000

    def left(self, now: int) -> Properties | None:
        """Its properties with the time that is left [MQTT-3.3.2-6]."""
        properties = self.properties
        if properties is None or properties.message_expiry_interval is None or now <= self.born:
            return properties
        properties = properties.copy()
        interval = properties.message_expiry_interval or 0
        properties.message_expiry_interval = max(1, interval - (now - self.born) // 1000)
        return properties


def of_publish(properties: Properties | None) -> Properties | None:
    """The properties that belong to a message and not to one connection."""
    if properties is None:
        return None
    if properties.topic_alias is None and properties.subscription_identifier is None:
        return properties
    kept = properties.copy()
    kept.topic_alias = kept.subscription_identifier = None
    return kept
