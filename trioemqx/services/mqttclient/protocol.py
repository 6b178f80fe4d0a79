"""MQTT from the client's side, without socket, clock or task: bytes and calls in, frames and callbacks out.

A `PacketError` means that the server broke the rules, an `MqttError` that the connection is over for another reason.
After either nothing more is fed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from trioemqx.codec.control import Connack, Disconnect, Packet, Pingreq, Pingresp, Suback, Unsuback
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.encode_publish import encode_ack
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish
from trioemqx.errors import ProtocolError, reason_name
from trioemqx.services.mqttclient.errors import MqttError, MqttRefused
from trioemqx.services.mqttclient.options import ClientOptions
from trioemqx.services.mqttclient.sending import OUT_LIMIT, Sender, ServerLimits
from trioemqx.services.mqttclient.session import ClientSession

log = logging.getLogger("trioemqx.mqttclient")

PING_AT: Final = 0.75
"""Of the keep-alive time without traffic: the server waits for one and a half [MQTT-3.1.2-22]."""
SHORTEST_PATIENCE: Final = 5.0

OnMessage = Callable[[Publish], object]


class Protocol(Sender):
    """One connection. `on_message` gets each message once; what it raises is logged, and the message counts as taken.

    `busy` is set while nothing is read on purpose: the server's silence proves nothing then.
    """

    def __init__(self, options: ClientOptions, session: ClientSession, on_message: OnMessage) -> None:
        super().__init__(options, session)
        self.connack: Connack | None = None
        self.crashed = 0
        """How often `on_message` has raised."""
        self._busy = False
        self._on_message = on_message
        self._framer = Framer(options.max_packet_size)
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    # -- bytes -------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Put CONNECT out."""
        self._heard_at = self.spoke_at = self.acked_at = now
        self.put(encode(self.options.connect_packet(), self.version))

    def feed(self, data: bytes, now: float) -> None:
        """Take what the socket gave; `work` handles it, and has to say that it is done before more is fed."""
        self._heard_at = now
        self._pinged_at = None
        self._framer.feed(data)

    def work(self, limit: int, now: float) -> bool:
        """Handle at most so many packets; False when there are no more. Raises PacketError and MqttError."""
        for _ in range(limit):
            frame = self._framer.next_frame()
            if frame is None:
                return False
            self._handle(decode(frame, self.version), now)
        return True

    # -- what the server says ----------------------------------------------------------------------------------------

    def _handle(self, packet: Packet, now: float) -> None:
        if isinstance(packet, Connack):
            self._connack(packet, now)
        elif isinstance(packet, Disconnect) and self.version == 5:
            reason = packet.properties.reason_string if packet.properties is not None else None
            more = f" ({reason[:200]!r})" if reason else ""
            raise MqttError(f"the server disconnects: {reason_name(packet.code)}{more}", packet.code)
        elif self.connack is None:
            raise ProtocolError(0x82, f"{type(packet).__name__} before CONNACK")
        elif isinstance(packet, Publish):
            self._publish(packet)
        elif isinstance(packet, Ack):
            self._ack(packet, now)
        elif isinstance(packet, (Suback, Unsuback)):
            self._answer(packet)
        elif not isinstance(packet, Pingresp):
            raise ProtocolError(0x82, f"{type(packet).__name__} from a server")

    def _connack(self, packet: Connack, now: float) -> None:
        if self.connack is not None:
            raise ProtocolError(0x82, "a second CONNACK")
        if packet.code:
            reason = packet.properties.reason_string if packet.properties is not None else None
            raise MqttRefused(packet.code, self.version, reason)
        if packet.session_present and self.options.clean_start:
            raise ProtocolError(0x82, "a session after a clean start")  # [MQTT-3.2.2-4]
        self.connack = packet
        self.server = ServerLimits(self.options, packet.properties)
        self.window = min(self.options.max_inflight, self.server.receive_maximum)
        self.acked_at = now
        if packet.session_present:
            self.session.unsent.extend(self.session.flights.values())
            self._resume(now)
        else:
            for done in self.session.restart():
                done(0)

    def _resume(self, now: float) -> None:
        """Send again what the connection before left unfinished, as far as the window goes [MQTT-4.4.0-1]."""
        session = self.session
        while session.unsent and len(session.flights) - len(session.unsent) < self.window:
            flight = session.unsent.popleft()
            flight.sent_at = now
            self.put(flight.frame(self.version))

    def _publish(self, packet: Publish) -> None:
        properties = packet.properties
        if properties is not None and properties.topic_alias is not None:
            raise ProtocolError(0x94, "a topic alias, and we have allowed none")  # [MQTT-3.3.2-9]
        if packet.qos == 2:
            received = self.session.received
            if packet.packet_id in received:  # not a new message [MQTT-4.3.3-10]
                self.put(encode_ack(PUBREC, packet.packet_id, 0, self.version))
                return
            if self.version == 5 and len(received) >= self.options.receive_maximum:
                raise ProtocolError(0x93, f"more than {self.options.receive_maximum} messages in flight")
            received.add(packet.packet_id)
        try:
            self._on_message(packet)
        except Exception:
            self.crashed += 1
            log.exception("a message on %.200s could not be taken", packet.topic)
        if packet.qos:
            self.put(encode_ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_id, 0, self.version))

    def _ack(self, packet: Ack, now: float) -> None:
        kind, packet_id = packet.kind, packet.packet_id
        if kind == PUBREL:
            code = 0 if packet_id in self.session.received else 0x92
            self.session.received.discard(packet_id)
            self.put(encode_ack(PUBCOMP, packet_id, code, self.version))
            return
        flight = self.session.flights.get(packet_id)
        if flight is None or flight.awaits != kind:
            # The second answer to what was sent twice, or one to a packet of an older session.
            if kind == PUBREC:
                known = flight is not None and flight.awaits == PUBCOMP
                self.put(encode_ack(PUBREL, packet_id, 0 if known else 0x92, self.version))
            return
        self.acked_at = now
        if kind == PUBREC and packet.code < 0x80:
            flight.packet = None
            flight.awaits = PUBCOMP
            flight.sent_at = now
            self.put(encode_ack(PUBREL, packet_id, 0, self.version))
            return
        del self.session.flights[packet_id]
        if self.session.unsent:
            self._resume(now)
        if flight.done is not None:
            flight.done(packet.code)

    def _answer(self, packet: Suback | Unsuback) -> None:
        count, answered = self.requests.pop(packet.packet_id, (-1, None))
        if answered is None:
            return
        if len(packet.codes) != count:
            raise ProtocolError(0x82, f"{len(packet.codes)} codes for {count} filters")
        answered(packet.codes)

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def patience(self) -> float:
        """Seconds a server may take to answer PINGREQ."""
        return max(SHORTEST_PATIENCE, self.server.keepalive / 2)

    def tick(self, now: float) -> None:
        """Called about once a second: keep-alive, and what has waited too long. Raises MqttError."""
        keepalive = self.server.keepalive
        if self.connack is None or self._busy:
            return
        if self._pinged_at is not None:
            if now - self._pinged_at >= self.patience:
                raise MqttError(f"the server has not answered PINGREQ for {now - self._pinged_at:.0f} s")
        elif keepalive and now - min(self._heard_at, self.spoke_at) >= PING_AT * keepalive:
            self._pinged_at = now
            self.put(encode(Pingreq(), self.version))
        self._retry(now)

    def busy(self, busy: bool, now: float) -> None:
        """Nothing is read from now on, or again."""
        self._busy = busy
        if not busy:
            self._heard_at = self.acked_at = now
            self._pinged_at = None

    def _retry(self, now: float) -> None:
        interval = self.options.retry_interval
        session = self.session
        if not interval or not session.flights:
            return
        if self.version == 5:
            if now - self.acked_at >= interval:
                raise MqttError(f"the server has not acknowledged a message for {now - self.acked_at:.0f} s")
            return
        waiting = set(session.unsent)
        for flight in session.flights.values():
            if now - flight.sent_at >= interval and self.out_size < OUT_LIMIT and flight not in waiting:
                flight.sent_at = now
                self.put(flight.frame(self.version))
