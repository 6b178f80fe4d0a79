"""MQTT clients as the specification wants them: a `Device` has memory that outlives its connections.

It sends again what was not acknowledged, with DUP and the same packet identifier, goes on with QoS 2 where it was,
keeps the identifiers it has received until PUBREL, forgets all that when the broker says that there is no session, and
acknowledges in order. What it sees is told to the model.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from simulation.network import Lost
from trioemqx.codec.control import (
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Suback,
    Subscribe,
    Will,
)
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.types import Properties, SubOpts

KEEPALIVE = 20
PATIENCE = 12.0
EXPIRY = 100_000


@attrs.frozen
class Spec:
    """What kind of client. `filters` are (filter, QoS); `ids` is how many packet identifiers it uses, which are few, so
    that they are used again soon; `buffer` is the size of its socket buffers; `lag` seconds until it acknowledges."""

    name: str
    version: int
    durable: bool
    filters: tuple[tuple[str, int], ...]
    ids: int
    receive_maximum: int
    buffer: int
    lag: float
    will_qos: int | None


@attrs.define(eq=False)
class Item:
    """One message. `number` counts within topic and publisher."""

    publisher: str
    topic: str
    number: int
    qos: int
    retain: bool
    payload: bytes
    first_sent: int = 0
    acked: int = 0
    refused: bool = False
    released: bool = False
    again: bool = False
    """It was sent more than once."""

    def __repr__(self):
        return f"{self.topic}#{self.number} (QoS {self.qos})"


class Connection:
    """One connection of a device, and what belongs to it alone."""

    def __init__(self, wire, version):
        self.wire = wire
        wire.version = version
        self.version = version
        self.framer = Framer(268435460)
        self.connack = None
        self.will = None
        self.clean = True
        self.began = 0
        self.troubled = False
        """Somebody ended it: what becomes of its will is not certain."""
        self.open = set()
        """Identifiers of messages received here and not fully acknowledged."""
        self.over = False
        self.scope = trio.CancelScope()

    def send(self, packet):
        """Raises Lost."""
        self.wire.write(encode(packet, self.version))


class Device:
    """A client with its memory. `world` has network, timeline, model, random and trace."""

    def __init__(self, world, spec):
        self.world = world
        self.spec = spec
        self.name = spec.name
        self.online = True
        self.lag = spec.lag
        self.conn = None
        self.paused_until = 0.0
        self.clean_once = False
        self.queue = deque()
        self.inflight = {}
        """Own messages by packet identifier, in the order in which they were sent."""
        self.known = set()
        """QoS 2 identifiers received and not released."""
        self.subscribed = set()
        self.doubt = 0
        """When somebody ended its session, which it may not hear of: the CONNACK that says so can be lost, and the next
        one finds the session that began then. So it subscribes once more."""
        self.asked = {}
        self.wills = 0
        self._next_id = 0
        self._wake = trio.Event()
        self._random = world.fork(f"device {spec.name}")

    # -- commands of the script --------------------------------------------------------------------------------------

    def publish(self, item):
        """Send a message as soon as the window allows."""
        self.queue.append(item)
        self._guarded(self._pump)

    def go_offline(self, rude):
        """End the connection, with DISCONNECT or (`rude`) by a reset, and stay away."""
        self.online = False
        conn = self.conn
        if conn is None:
            return
        if rude:
            conn.wire.reset()
        else:
            self._guarded(lambda: conn.send(Disconnect()))
            self.world.dismissed(conn)
            conn.wire.close()
        self.abandon()

    def go_online(self):
        """Come back."""
        self.online = True
        self.poke()

    def move(self):
        """Connect anew while the broker still believes in the old connection, on which somebody reads on."""
        conn = self.conn
        if conn is not None and conn.connack is not None:
            self.abandon()
            self.world.spawn(self._drain, conn)

    async def _drain(self, conn):
        """An old connection from which everything is taken and nothing is used."""
        try:
            while True:
                await conn.wire.read()
        except Lost:
            conn.wire.close()

    def abandon(self):
        """This connection is not ours any more."""
        if self.conn is not None:
            self.conn.over = True
            self.conn.scope.cancel()
            self.conn = None
        self.poke()

    def poke(self):
        """Have the task look around."""
        self._wake.set()

    def idle(self):
        """Nothing of its own is unfinished."""
        conn = self.conn
        if conn is None or conn.connack is None or conn.wire.client_lost or conn.wire.down.ended:
            return False
        return not (self.queue or self.inflight or self.known or len(self.subscribed) < len(self.spec.filters))

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self):
        """Connect again and again, while online."""
        while True:
            if not self.online:
                await self._nap(1000.0)
                continue
            try:
                wire = self.world.network.dial(self.name, self.spec.buffer)
            except Lost:
                await self._nap(self._random.uniform(0.2, 2.0))
                continue
            conn = self.conn = Connection(wire, self.spec.version)
            try:
                with conn.scope:
                    await self._converse(conn)
            except Lost as lost:
                self.world.trace(self.name, "lost", wire.number, lost.orderly)
                conn.wire.close()
            conn.over = True
            if self.conn is conn:
                self.conn = None
                await self._nap(self._random.uniform(0.05, 1.5))

    async def _nap(self, seconds):
        self._wake = trio.Event()
        with trio.move_on_after(seconds):
            await self._wake.wait()

    async def _converse(self, conn):
        self._hello(conn)
        heard = trio.current_time()
        pinged = heard
        while not conn.over:
            now = trio.current_time()
            if self.paused_until > now:
                await trio.sleep(self.paused_until - now)
                heard = trio.current_time()
                continue
            data = b""
            with trio.move_on_after(5.0):
                data = await conn.wire.read()
            now = trio.current_time()
            if conn.over:
                return
            if data:
                heard = now
                conn.framer.feed(data)
                while not conn.over and (frame := conn.framer.next_frame()) is not None:
                    self._take(conn, decode(frame, self.spec.version))
            elif now - heard > PATIENCE:
                self.world.trace(self.name, "gives up", conn.wire.number)
                conn.wire.reset()
                raise Lost(False)
            if now - pinged >= KEEPALIVE / 4 and conn.connack is not None:
                pinged = now
                conn.send(Pingreq())

    def _hello(self, conn):
        spec = self.spec
        clean = self.clean_once or not spec.durable
        properties = None
        if spec.version == 5:
            properties = Properties()
            properties.receive_maximum = spec.receive_maximum
            if spec.durable:
                properties.session_expiry_interval = EXPIRY
        will = None
        if spec.will_qos is not None:
            self.wills += 1
            conn.will = self.world.model.will(self, self.wills)
            will = Will(conn.will.topic, conn.will.payload, spec.will_qos)
        self.world.model.connecting(self, conn, clean)
        name = "MQIsdp" if spec.version == 3 else "MQTT"
        packet = Connect(name, spec.version, False, clean, KEEPALIVE, spec.name, None, None, will, properties)
        conn.send(packet)

    # -- packets -----------------------------------------------------------------------------------------------------

    def _take(self, conn, packet):
        self.world.trace(self.name, "got", conn.wire.number, _brief(packet))
        if isinstance(packet, Connack):
            self._connected(conn, packet)
        elif isinstance(packet, Publish):
            self._message(conn, packet)
        elif isinstance(packet, Suback):
            self._granted(packet)
        elif isinstance(packet, Ack):
            self._acknowledged(conn, packet)
        elif isinstance(packet, Disconnect):
            raise Lost(True)

    def _connected(self, conn, connack):
        if connack.code:
            raise Lost(True)
        conn.connack = connack
        self.clean_once = False
        if not connack.session_present:
            self.inflight.clear()
            self.known.clear()
        if self.doubt or not connack.session_present:
            self.subscribed.clear()
        if conn.began > self.doubt:
            self.doubt = 0
        self.asked.clear()
        self.world.model.connected(self, conn, connack.session_present)
        if conn.clean and self.spec.durable and self.spec.version == 4:
            self._start_over(conn)
        for filter, qos in self.spec.filters:
            if filter not in self.subscribed:
                self._subscribe(conn, filter, qos)
        for packet_id, item in self.inflight.items():
            if item.released:
                conn.send(Ack(PUBREL, packet_id))
            else:
                item.again = True
                conn.send(make_publish(item.topic, item.payload, item.qos, item.retain, True, packet_id))
        self._pump()

    def _start_over(self, conn):
        """In MQTT 3.1.1 a clean session ends with its connection: to begin anew with one that lasts takes two
        connections [MQTT 3.1.1, 3.1.2.4]."""
        self.world.model.unsure(self)
        self.world.dismissed(conn)
        conn.send(Disconnect())
        raise Lost(True)

    def _subscribe(self, conn, filter, qos):
        packet_id = 60000 + self.spec.filters.index((filter, qos))
        self.asked[packet_id] = filter
        conn.send(Subscribe(packet_id, [(filter, SubOpts(qos))]))

    def _granted(self, suback):
        filter = self.asked.pop(suback.packet_id)
        if suback.codes[0] < 0x80:
            self.subscribed.add(filter)
            self.world.model.subscribed(self, filter, suback.codes[0])
        else:
            self.world.timeline.after(2.0, self._ask_again, self.conn, filter)

    def _ask_again(self, conn, filter):
        if conn is self.conn and conn is not None and filter not in self.subscribed:
            self._guarded(lambda: self._subscribe(conn, filter, dict(self.spec.filters)[filter]))

    def _message(self, conn, packet):
        if packet.qos == 2 and packet.packet_id in self.known:
            self.world.trace(self.name, "knows", packet.packet_id)
        else:
            self.world.model.received(self, packet)
        if packet.qos:
            conn.open.add(packet.packet_id)
            self.world.model.window(self, conn)
            if packet.qos == 2:
                self.known.add(packet.packet_id)
            kind = PUBACK if packet.qos == 1 else PUBREC
            if self.lag:
                self.world.timeline.after(self.lag, self._answer, conn, Ack(kind, packet.packet_id))
            else:
                self._answer(conn, Ack(kind, packet.packet_id))

    def _answer(self, conn, ack):
        if conn.over:
            return
        if ack.kind in (PUBACK, PUBCOMP):
            conn.open.discard(ack.packet_id)
        self._guarded(lambda: conn.send(ack))

    def _acknowledged(self, conn, ack):
        if ack.kind == PUBREL:
            self.known.discard(ack.packet_id)
            self._later(conn, Ack(PUBCOMP, ack.packet_id))
            return
        item = self.inflight.get(ack.packet_id)
        if item is None:
            if ack.kind == PUBREC:
                conn.send(Ack(PUBREL, ack.packet_id, 0x92 if self.spec.version == 5 else 0))
            elif not (ack.kind == PUBCOMP and ack.code == 0x92):
                self.world.model.broken("answer", f"{self.name} got {ack} for nothing it has sent")
            return
        if ack.kind == PUBACK or (ack.kind == PUBREC and ack.code >= 0x80):
            del self.inflight[ack.packet_id]
            self.world.model.acked(self, item, ack)
        elif ack.kind == PUBREC:
            if not item.released:
                self.world.model.acked(self, item, ack)
                item.released = True
                del self.inflight[ack.packet_id]  # PUBRELs are repeated in the order of the PUBRECs
                self.inflight[ack.packet_id] = item
            conn.send(Ack(PUBREL, ack.packet_id))
        else:
            del self.inflight[ack.packet_id]
        self._pump()

    def _later(self, conn, ack):
        if self.lag:
            self.world.timeline.after(self.lag, self._answer, conn, ack)
        else:
            self._answer(conn, ack)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _pump(self):
        """Send what waits, as far as the window goes."""
        conn = self.conn
        if conn is None or conn.connack is None:
            return
        while self.queue and (self.queue[0].qos == 0 or len(self.inflight) < self.spec.ids):
            item = self.queue.popleft()
            packet_id = 0
            if item.qos:
                packet_id = self._packet_id()
                self.inflight[packet_id] = item
            self.world.model.sent(self, item)
            self.world.trace(self.name, "sends", item.topic, item.number, packet_id)
            conn.send(make_publish(item.topic, item.payload, item.qos, item.retain, False, packet_id))

    def _packet_id(self):
        while True:
            self._next_id = self._next_id % (self.spec.ids + 2) + 1
            if self._next_id not in self.inflight:
                return self._next_id

    def _guarded(self, act):
        """From outside the task: a lost connection is the task's business."""
        try:
            act()
        except Lost:
            self.world.trace(self.name, "cannot send")


def _brief(packet):
    """A packet for the trace."""
    if isinstance(packet, Publish):
        flags = f"q{packet.qos} d{packet.dup:d} r{packet.retain:d}"
        return f"PUBLISH {packet.topic} {packet.payload!r} {flags} {packet.packet_id}"
    if isinstance(packet, Connack):
        return f"CONNACK {packet.session_present:d} {packet.code:#x}"
    return repr(packet)
