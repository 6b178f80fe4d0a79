"""Packet type numbers [MQTT5 2.1.2] and the two packets of the hot path.

`Publish` and `Ack` are plain classes because this module is compiled: the decoder makes one per message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trioemqx.types import Properties

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15

PACKET_NAMES: Final = (
    "reserved",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)


class Publish:
    """PUBLISH [MQTT5 3.3]. `topic` is "" when MQTT 5 leaves it to a topic alias; `packet_id` is 0 at QoS 0; an empty
    property block gives `properties` None.

    `frame` is the packet as it came, fixed header included, and its payload starts at `payload_at`, so it can be
    forwarded without being encoded again. A packet from `make_publish` has no frame.
    """

    __slots__ = ("_payload", "dup", "frame", "packet_id", "payload_at", "properties", "qos", "retain", "topic")

    def __init__(
        self,
        topic: str,
        qos: int,
        retain: bool,
        dup: bool,
        packet_id: int,
        properties: Properties | None,
        frame: bytes,
        payload_at: int,
    ) -> None:
        self.topic = topic
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.packet_id = packet_id
        self.properties: Properties | None = properties
        self.frame = frame
        self.payload_at = payload_at
        self._payload: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The application bytes, cut from the frame on first use."""
        payload = self._payload
        if payload is None:
            payload = self._payload = self.frame[self.payload_at :]
        return payload

    @property
    def plain(self) -> bool:
        """True without properties: a QoS 0 frame can then be forwarded as it came."""
        return self.properties is None

    def __eq__(self, other: object) -> bool:
        """Same meaning; the frame itself is not compared."""
        return (
            isinstance(other, Publish)
            and self.topic == other.topic
            and self.qos == other.qos
            and self.retain == other.retain
            and self.dup == other.dup
            and self.packet_id == other.packet_id
            and self.properties == other.properties
            and self.payload == other.payload
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return (
            f"Publish({self.topic!r}, qos={self.qos}, retain={self.retain}, dup={self.dup}, "
            f"packet_id={self.packet_id}, properties={self.properties!r}, {len(self.payload)} bytes)"
        )


def make_publish(
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_id: int = 0,
    properties: Properties | None = None,
) -> Publish:
    """A PUBLISH to be encoded, for clients and tests; `frame` is empty."""
    publish = Publish(topic, qos, retain, dup, packet_id, properties, b"", 0)
    publish._payload = payload
    return publish


class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, by `kind` [MQTT5 3.4-3.7]. `code` is always 0 in MQTT 3."""

    __slots__ = ("code", "kind", "packet_id", "properties")

    def __init__(self, kind: int, packet_id: int, code: int = 0, properties: Properties | None = None) -> None:
        self.kind = kind
        self.packet_id = packet_id
        self.code = code
        self.properties: Properties | None = properties

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Ack)
            and self.kind == other.kind
            and self.packet_id == other.packet_id
            and self.code == other.code
            and self.properties == other.properties
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Ack({PACKET_NAMES[self.kind]}, {self.packet_id}, code={self.code:#x}, properties={self.properties!r})"
