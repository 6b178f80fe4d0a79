"""Listens at the broker's sockets: counts what really went over them, and knows who owns a client identifier."""

from __future__ import annotations

from collections import Counter

from trioemqx.codec.decode import decode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import CONNACK, CONNECT, DISCONNECT, PACKET_NAMES, PUBLISH

MOST = 268435460


class Tap:
    """`received` and `sent` count packets by type, `bytes_sent` all bytes, since `begin`."""

    def __init__(self, model, trace):
        self._model = model
        self._trace = trace
        self.begin()

    def begin(self):
        """A broker starts: count from zero."""
        self.received = Counter()
        self.sent = Counter()
        self.bytes_sent = 0
        self.disconnected = set()
        """Wires on which the broker has read a DISCONNECT, before a CONNECT of the same client on another one: that
        takes the session over, and the DISCONNECT comes too late."""
        self._asked = {}
        self._in = {}
        self._out = {}
        self._owner = {}
        self._old = {}

    def was_read(self, wire, data):
        """The broker has taken bytes from a socket."""
        for frame in _frames(self._in, wire, data):
            kind = frame[0] >> 4
            self.received[kind] += 1
            self._trace("broker reads", wire.name, wire.number, PACKET_NAMES[kind], len(frame))
            if kind == CONNECT:
                self._asked[wire.name] = wire
            elif kind == DISCONNECT and self._asked.get(wire.name) is wire:
                self.disconnected.add(wire)

    def was_sent(self, wire, data):
        """A socket has taken bytes from the broker."""
        self.bytes_sent += len(data)
        for frame in _frames(self._out, wire, data):
            kind = frame[0] >> 4
            self.sent[kind] += 1
            self._trace("broker sends", wire.name, wire.number, PACKET_NAMES[kind], len(frame))
            if kind == CONNACK and frame[3] == 0:
                self._own(wire)
            elif kind == PUBLISH and wire in self._old:
                self._check_old(wire, frame)

    def _own(self, wire):
        """[MQTT-3.1.4-3]: from the CONNACK on, this connection is the client."""
        before = self._owner.get(wire.name)
        if before is not None and not before.broker_lost:
            self._old[before] = self._model.tick()
        self._owner[wire.name] = wire

    def _check_old(self, wire, frame):
        """What was under way at the takeover may still leave, nothing that came later."""
        item = self._model.items.get(decode(frame, wire.version).payload)
        if item is not None and item.first_sent > self._old[wire]:
            self._model.broken("owner", f"{item} went to connection {wire.number} of {wire.name}, which was taken over")


def _frames(framers, wire, data):
    framer = framers.setdefault(wire, Framer(MOST))
    framer.feed(data)
    while (frame := framer.next_frame()) is not None:
        yield frame
