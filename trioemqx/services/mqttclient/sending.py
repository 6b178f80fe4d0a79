"""What a client says: messages, requests and frames that wait to be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trioemqx.codec.codes import CLIENT_DISCONNECT_CODES
from trioemqx.codec.control import Disconnect, Packet, Subscribe, Unsubscribe
from trioemqx.codec.encode import encode
from trioemqx.codec.encode_publish import encode_publish
from trioemqx.codec.packets import make_publish
from trioemqx.core.topics import validate_topic
from trioemqx.errors import ProtocolError
from trioemqx.services.mqttclient.errors import MqttError, Unsendable
from trioemqx.services.mqttclient.options import ClientOptions
from trioemqx.services.mqttclient.session import ClientSession, Done, Flight
from trioemqx.types import Properties, SubOpts

OUT_LIMIT: Final = 256 * 1024
"""Bytes waiting to be sent at which no more messages are taken."""
READ_LIMIT: Final = 1024 * 1024
"""The same for reading. Only acknowledgements can get it so far, to a server that sends and does not read. It is
higher, since a server that waits for us to read must not be waited for in turn."""
MAX_REQUESTS: Final = 100
"""SUBSCRIBE and UNSUBSCRIBE packets that may wait for their answers."""

Answered = Callable[[list[int]], object]
"""Called with the codes of a SUBACK or UNSUBACK."""


class ServerLimits:
    """What the CONNACK says of the server; what it does not say has MQTT's defaults."""

    __slots__ = ("clientid", "keepalive", "maximum_packet_size", "maximum_qos", "receive_maximum", "retain_available")

    def __init__(self, options: ClientOptions, said: Properties | None) -> None:
        said = said if said is not None else Properties()
        self.clientid: str = said.assigned_client_identifier or options.clientid
        self.keepalive: int = options.keepalive if said.server_keep_alive is None else said.server_keep_alive
        self.maximum_packet_size: int = said.maximum_packet_size or 268_435_460
        self.maximum_qos: int = 2 if said.maximum_qos is None else said.maximum_qos
        self.receive_maximum: int = said.receive_maximum or 65_535
        self.retain_available: bool = said.retain_available != 0


class Sender:
    """The half of a `Protocol` that speaks. `out` are whole frames."""

    def __init__(self, options: ClientOptions, session: ClientSession) -> None:
        self.options = options
        self.version = options.version
        self.session = session
        self.server = ServerLimits(options, None)
        self.window = 0
        """QoS 1 and 2 messages that may be in flight; 0 until the server has accepted us."""
        self.out: list[bytes] = []
        self.out_size = 0
        self.requests: dict[int, tuple[int, Answered]] = {}
        """How many codes are expected, and who wants them, by packet identifier."""
        self.spoke_at = self.acked_at = 0.0
        self._sent: list[Done] = []

    def take(self, limit: int, now: float) -> tuple[bytes, list[Done]]:
        """Frames to be sent in one piece, `limit` bytes or one frame, and who is to be told once they are sent."""
        if not self.out:
            return b"", []
        count = size = 0
        for frame in self.out:
            if count and size + len(frame) > limit:
                break
            count += 1
            size += len(frame)
        batch = b"".join(self.out[:count])
        del self.out[:count]
        self.out_size -= size
        self.spoke_at = now
        sent: list[Done] = []
        if not self.out:
            sent, self._sent = self._sent, sent
        return batch, sent

    def put(self, frame: bytes) -> None:
        """Have a frame sent."""
        self.out.append(frame)
        self.out_size += len(frame)

    def accepts(self, qos: int) -> bool:
        """Whether a message may be sent now: window and buffer have room."""
        if not self.window or self.out_size >= OUT_LIMIT or self.session.unsent:
            return False
        return qos == 0 or len(self.session.flights) < self.window

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        done: Done | None,
        now: float,
    ) -> None:
        """Send a message; `done` is called when it is acknowledged, at QoS 0 when it has been sent. Ask `accepts`
        first. Raises Unsendable."""
        limits = self.server
        if qos > limits.maximum_qos:
            raise Unsendable(0x9B, f"QoS {qos}, and the server takes {limits.maximum_qos} at most")
        if retain and not limits.retain_available:
            raise Unsendable(0x9A, "the server takes no retained messages")
        packet_id = self.session.next_id(self.requests) if qos else 0
        packet = make_publish(topic, payload, qos, retain, False, packet_id, properties)
        try:
            validate_topic(topic)
            frame = encode_publish(packet, self.version)
        except (ProtocolError, ValueError, OverflowError) as error:
            raise Unsendable(0x90, f"no packet can hold this message: {error}") from None
        if len(frame) > limits.maximum_packet_size:
            raise Unsendable(0x95, f"{len(frame)} bytes, and the server takes {limits.maximum_packet_size} at most")
        if qos:
            if not self.session.flights:
                self.acked_at = now
            self.session.flights[packet_id] = Flight(packet, done, now)
        elif done is not None:
            self._sent.append(done)
        self.put(frame)

    def subscribe(self, filters: list[tuple[str, SubOpts]], answered: Answered) -> None:
        """SUBSCRIBE; `answered` gets a code for each filter. Raises MqttError when too many requests wait."""
        packet_id = self._request(len(filters), answered)
        self._put_request(packet_id, Subscribe(packet_id, filters, None))

    def unsubscribe(self, filters: list[str], answered: Answered) -> None:
        """UNSUBSCRIBE; `answered` gets a code for each filter in MQTT 5, none in MQTT 3."""
        packet_id = self._request(len(filters) if self.version == 5 else 0, answered)
        self._put_request(packet_id, Unsubscribe(packet_id, filters, None))

    def _request(self, count: int, answered: Answered) -> int:
        if len(self.requests) >= MAX_REQUESTS:
            raise MqttError(f"{MAX_REQUESTS} requests wait for the server's answer")
        packet_id = self.session.next_id(self.requests)
        self.requests[packet_id] = (count, answered)
        return packet_id

    def _put_request(self, packet_id: int, packet: Packet) -> None:
        try:
            self.put(encode(packet, self.version))
        except (ValueError, OverflowError) as error:
            del self.requests[packet_id]
            raise Unsendable(0x90, f"no packet can hold these filters: {error}") from None

    def disconnect(self, code: int = 0) -> None:
        """The last packet; `code` is only said in MQTT 5."""
        self.put(encode(Disconnect(code if code in CLIENT_DISCONNECT_CODES else 0x82), self.version))
