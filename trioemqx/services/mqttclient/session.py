"""A client's half of a session: what is on its way, and has to be finished on the next connection when the server keeps
its half."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container

from trioemqx.codec.encode_publish import encode_ack, encode_publish
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish

Done = Callable[[int], object]
"""Called with the reason code once a message is settled: 0 for success, 0x80 and more for a refusal."""


class Flight:
    """A QoS 1 or 2 message on its way. `awaits` is the kind of packet that comes next; `packet` is None once PUBREC has
    come. `done` is None when nobody wants to know."""

    __slots__ = ("awaits", "done", "packet", "packet_id", "sent_at")

    def __init__(self, packet: Publish, done: Done | None, sent_at: float) -> None:
        self.packet: Publish | None = packet
        self.packet_id = packet.packet_id
        self.awaits = PUBACK if packet.qos == 1 else PUBREC
        self.done = done
        self.sent_at = sent_at

    def frame(self, version: int) -> bytes:
        """What is sent when there was no answer: the message with DUP, or PUBREL once more."""
        packet = self.packet
        if packet is None:
            return encode_ack(PUBREL, self.packet_id, 0, version)
        packet.dup = True
        return encode_publish(packet, version)


class ClientSession:
    """`flights` are outgoing messages by packet identifier, in the order in which they were first sent; `received` the
    identifiers of QoS 2 messages that came in and are not released. Kept by whoever connects again with
    `clean_start = false`."""

    __slots__ = ("_last_id", "flights", "received", "unsent")

    def __init__(self) -> None:
        self.flights: dict[int, Flight] = {}
        self.received: set[int] = set()
        self.unsent: deque[Flight] = deque()
        """Flights that a new connection has not sent yet, because its window is full."""
        self._last_id = 0

    def next_id(self, taken: Container[int]) -> int:
        """An identifier that neither a flight nor a request in `taken` has. There is always one: both are bounded."""
        number = self._last_id
        while True:
            number = number % 65535 + 1
            if number not in self.flights and number not in taken:
                self._last_id = number
                return number

    def restart(self) -> list[Done]:
        """The server has no session: forget everything. Returns who is to be told that a message has arrived, because
        the server had taken it over (PUBREC); what it had not is for its owner to send again."""
        arrived = [f.done for f in self.flights.values() if f.awaits == PUBCOMP and f.done is not None]
        self.flights.clear()
        self.unsent.clear()
        self.received.clear()
        return arrived
