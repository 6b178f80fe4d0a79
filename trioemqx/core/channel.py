"""One connection's protocol brain: bytes in, frames into an outbox, no waiting.

`feed` takes what the socket gave and handles every complete packet of it. When something has to be asked of the outside
(a password, an access rule), the packet waits as a `Question`; the connection's task answers it and the channel goes on
where it stopped, so packets of one client are never overtaken by later ones. What each packet does is in `handlers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.decode_publish import decode_ack, decode_publish
from trioemqx.codec.framer import Framer
from trioemqx.codec.outgoing import PACKET_ID
from trioemqx.codec.packets import (
    AUTH,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
)
from trioemqx.core.access import AclCache, Question
from trioemqx.core.handlers import acks, dispatch, publish, refuse, retained
from trioemqx.core.handlers.retained import RetainedWalk
from trioemqx.core.handlers.topic_grant import TopicGrant
from trioemqx.core.limiter import TokenBucket
from trioemqx.core.outbox import Outbox
from trioemqx.core.sender import ALIAS_ROOM
from trioemqx.core.states import CONNECTED, NEW
from trioemqx.core.zone import Zone
from trioemqx.errors import MalformedPacket, PacketError, ProtocolError
from trioemqx.types import ClientInfo, Message

if TYPE_CHECKING:
    from trioemqx.codec.control import Connect
    from trioemqx.core.broker import Broker
    from trioemqx.core.session import Session

CONNECT_LIMIT: Final = 64 * 1024
"""Bytes a client may send as its first packet; the zone's max_packet_size applies once CONNECT is accepted."""
CONNECT_HEAD: Final = 0x10
PINGRESP_FRAME: Final = b"\xd0\x00"
QUOTA_EXCEEDED: Final = 0x97
CROWD_PAUSE: Final = 0.01
"""Seconds for which a publisher is not read while the store is far behind."""
HELD: Final = 3600.0
"""Likewise for one that is to wait for the store's answer, which comes before that: yes, or no."""


class Channel:
    """State of one connection [MQTT5 4.1]. Its `Link` reads `closing`, `question`, `more` and `pause_until`.

    `closing` is EMQX's close reason once the channel wants the socket closed (after the outbox is written); `more` says
    that complete packets are waiting for another turn; `pause_until` (monotonic) that a rate limit is exceeded. The
    constructor is long, because it names every attribute with what it is.
    """

    __slots__ = (
        "acl",
        "alias_room",
        "aliases",
        "auth_cache",
        "auth_method",
        "began",
        "broker",
        "bytes_bucket",
        "cert_clientid",
        "cert_username",
        "closing",
        "connect",
        "connect_deadline",
        "framer",
        "grants",
        "held",
        "info",
        "keepalive",
        "kept",
        "last_packet",
        "messages_bucket",
        "more",
        "out",
        "owner",
        "parked",
        "pause_until",
        "picks",
        "question",
        "quota_bucket",
        "quota_until",
        "recv_cnt",
        "recv_dropped",
        "recv_oct",
        "recv_pkt",
        "recv_qos0",
        "recv_qos1",
        "recv_qos2",
        "session",
        "state",
        "strict",
        "unconfirmed",
        "version",
        "walks",
        "will",
        "zone",
        "zone_bucket",
    )

    def __init__(self, broker: Broker, zone: Zone, info: ClientInfo, out: Outbox, connect_deadline: float) -> None:
        self.broker = broker
        self.zone = zone
        self.info = info
        self.out = out
        self.owner: object = out.owner
        self.framer = Framer(min(CONNECT_LIMIT, zone.max_packet_size))
        self.state = NEW
        self.version = 4
        self.strict = zone.strict_mode
        self.session: Session | None = None
        self.question: Question | None = None
        self.parked: object = None
        """The packet that waits for `question`'s answer."""
        self.connect: Connect | None = None
        self.cert_username: str | None = None
        self.cert_clientid: str | None = None
        self.auth_method = ""
        self.auth_cache: object = None
        self.closing = ""
        self.began = False
        """Its session is new with it."""
        self.kept = False
        """The connection has ended and its session goes on; the end that counts is the session's."""
        self.more = False
        self.unconfirmed = 0
        """The batch that the CONNACK waits for; 0 once it may leave."""
        self.connect_deadline = connect_deadline
        self.last_packet = broker.now
        self.keepalive = 0.0
        """Seconds without a packet after which the client is gone; 0 = never."""
        self.acl: AclCache | None = None
        self.grants: dict[str, TopicGrant] = {}
        self.aliases: dict[int, str] | None = None
        self.alias_room = ALIAS_ROOM
        self.picks: dict[object, object] = {}
        """Where this publisher stands in each share group (round robin, sticky)."""
        self.walks: dict[str, RetainedWalk] | None = None
        """Retained messages still to be sent, per filter."""
        self.will: Message | None = None
        self.messages_bucket: TokenBucket | None = None
        self.bytes_bucket: TokenBucket | None = None
        self.quota_bucket: TokenBucket | None = None
        self.zone_bucket: TokenBucket | None = None
        self.quota_until = 0.0
        self.pause_until = 0.0
        self.held = -1.0
        """The `pause_until` that a pause for the disk has covered up; -1 when there is none."""
        self.recv_oct = 0
        self.recv_cnt = 0
        self.recv_pkt = 0
        self.recv_qos0 = 0
        self.recv_qos1 = 0
        self.recv_qos2 = 0
        self.recv_dropped = 0

    # -- bytes in ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what the transport gave and handle every complete packet, as far as this turn's work allows."""
        size = len(data)
        self.recv_oct += size
        self.recv_cnt += 1
        self.broker.metrics.bytes_received += size
        if self.bytes_bucket is not None:
            self._pause(self.bytes_bucket.take(size, self.broker.now))
        self.framer.feed(data)
        if self.recv_cnt == 1 and data[0] != CONNECT_HEAD:  # not worth waiting for the rest of it [MQTT-3.1.0-1]
            refuse.refuse(self, ProtocolError(0x82, f"the first byte is {data[0]:#04x}, not a CONNECT's"))
            return
        self.run()

    def run(self) -> None:
        """Handle waiting frames until there is none, a question stands in the way, or the turn's work is done."""
        broker = self.broker
        framer = self.framer
        self.more = False
        try:
            while self.question is None and not self.closing:
                if broker.work >= broker.work_limit:
                    self.more = self.more or framer.pending() > 0
                    break
                if self.pause_until > broker.now:
                    break
                frame = framer.next_frame()
                if frame is None:
                    break
                broker.work += 1
                self.recv_pkt += 1
                self.last_packet = broker.now
                self.handle(frame)
            if self.walks:
                retained.walk(self)
        except PacketError as error:
            refuse.refuse(self, error)

    def go_on(self) -> None:
        """Another turn for what the last one left: packets, and messages that had no room in the outbox."""
        self.run()
        session = self.session
        if session is not None:
            session.pull()

    def handle(self, frame: bytes) -> None:
        """One frame. Raises PacketError when the client broke a rule."""
        kind = frame[0] >> 4
        if self.state != CONNECTED:
            dispatch.handle_early(self, kind, frame)
            return
        session = self.session
        if kind == PUBLISH:
            packet = decode_publish(
                frame, self.version, self.strict, self.zone.max_user_properties, self.zone.max_properties_size
            )
            self.broker.metrics.packets_publish_received += 1
            if self.messages_bucket is not None:
                self._pause(self.messages_bucket.take(1, self.broker.now))
            publish.handle_publish(self, packet)
        elif kind == PUBACK and session is not None:
            ack = decode_ack(frame, self.version)
            self.broker.metrics.packets_puback_received += 1
            session.puback(ack.packet_id, ack.properties)
        elif kind == PUBREC or kind == PUBREL or kind == PUBCOMP:  # noqa: SIM109 - a tuple would be built each time
            acks.handle_ack(self, decode_ack(frame, self.version))
        elif kind == PINGREQ:
            dispatch.check_pingreq(frame)
            self.broker.metrics.packets_pingreq_received += 1
            self.broker.metrics.packets_pingresp_sent += 1
            self.send(PINGRESP_FRAME)
        elif kind == SUBSCRIBE or kind == UNSUBSCRIBE or kind == DISCONNECT or kind == AUTH:  # noqa: SIM109
            dispatch.handle_control(self, frame)
        elif kind == 0:  # [MQTT5 2.1.2]
            raise MalformedPacket("packet type 0 is reserved", "bad_frame_header")
        else:  # a second CONNECT [MQTT-3.1.0-2], or a packet only servers send
            raise ProtocolError(0x82, f"packet type {kind} is not allowed here")

    def answer(self, answer: object) -> None:
        """Go on with the packet that waited for the question's answer, then with those behind it."""
        question = self.question
        parked = self.parked
        self.question = None
        self.parked = None
        if question is None or self.closing:
            return
        try:
            dispatch.resume(self, question, parked, answer)
        except PacketError as error:
            refuse.refuse(self, error)
            return
        self.run()

    def ask(self, question: Question, packet: object) -> None:
        """Park a packet until the connection's task has the answer."""
        self.question = question
        self.parked = packet

    # -- bytes out ---------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Put one packet of ours into the outbox; messages go there through the session. After a DISCONNECT nothing
        goes any more, though a hook caused it halfway through a packet [MQTT-3.14.4-1]."""
        if self.closing:
            return
        self.out.put(frame)
        session = self.session
        if session is not None:
            session.sent.pkt += 1

    def send_ack(self, head: bytes, packet_id: int) -> None:
        """A two-byte-body acknowledgement: `head` is fixed header and length."""
        self.send(head + PACKET_ID[packet_id])

    def drained(self) -> None:
        """The outbox fell below its low mark: go on with what waited for that."""
        session = self.session
        if session is not None:
            session.pull()
        if self.walks:
            retained.walk(self)

    def written(self, ticket: int) -> None:
        """The store holds everything up to a batch: what waited for it may leave."""
        out = self.out
        out.open_gate(ticket)
        if ticket >= self.unconfirmed:
            self.unconfirmed = 0
        if self.held >= 0.0 and out.promised() * 2 <= self.broker.most_pending():
            self.pause_until = self.held
            self.held = -1.0
            self.last_packet = self.broker.now
        if not self.closing:
            self.drained()
        out.touch()

    def unwritten(self) -> None:
        """A batch that something here waits for could not be written. Nothing of that may be said, so the connection
        ends; its client comes back and asks again."""
        out = self.out
        out.discard()
        if self.unconfirmed and not self.closing:
            refuse.send_connack(self, QUOTA_EXCEEDED, False, None)
            self.broker.registry.revoke(self)
            self.close(0, "store_failed")
        else:
            self.close(QUOTA_EXCEEDED, "store_failed")
        out.touch()

    def close(self, code: int, reason: str) -> None:
        """End the connection: DISCONNECT with `code` for a connected MQTT 5 client, then close. `reason` is EMQX's."""
        if self.closing:
            return
        if self.state == CONNECTED and self.version == 5 and code and self.connect is None:  # CONNACK comes first
            self.send(bytes((0xE0, 0x01, code)))
            self.broker.metrics.packets_disconnect_sent += 1
        session = self.session
        if session is not None:
            session.out = None  # what comes now is queued: nothing may follow the DISCONNECT [MQTT-3.14.4-1]
        self.closing = reason
        self.out.touch()

    # -- helpers of the handlers -------------------------------------------------------------------------------------

    def open_gates(self) -> None:
        """CONNECT was accepted: full packet size, limits, caches and counters of the zone apply from here."""
        zone = self.zone
        self.framer.limit = zone.max_packet_size
        if zone.enable_acl_cache and zone.enable_acl:
            self.acl = AclCache(zone.acl_cache_max_size, zone.acl_cache_ttl)
        if zone.conn_messages_in is not None:
            self.messages_bucket = TokenBucket(zone.conn_messages_in[0], zone.conn_messages_in[1])
        if zone.conn_bytes_in is not None:
            self.bytes_bucket = TokenBucket(zone.conn_bytes_in[0], zone.conn_bytes_in[1])
        if zone.quota_conn_messages_routing is not None:
            quota = zone.quota_conn_messages_routing
            self.quota_bucket = TokenBucket(quota[0], quota[1])
        self.zone_bucket = self.broker.zone_bucket(zone)

    def set_keepalive(self, interval: int) -> None:
        """The interval in force, in seconds, 0 = none; with the default backoff of 0.75 a client is gone after 1.5
        times it [MQTT-3.1.2-22]."""
        self.info.keepalive = interval
        self.keepalive = interval * self.zone.keepalive_backoff * 2

    def unpause(self) -> None:
        """The rate limit that stopped reading does not apply any more: the pump goes on with what waits."""
        if self.pause_until > self.broker.now:
            self.pause_until = 0.0
            self.last_packet = self.broker.now
            self.out.touch()

    def give_way(self, seconds: float = CROWD_PAUSE) -> None:
        """The store is far behind with what clients publish, or memory is short: this one is read again later."""
        self._pause(seconds)

    def hold(self) -> None:
        """Too many of its messages wait for the disk: this one is read again when half of them are there."""
        if self.held < 0.0:
            self.held = self.pause_until
            self._pause(HELD)

    def remember_decision(self, action: str, topic: str, allowed: bool) -> None:
        """Put an access decision into the cache. What that pushes out of it must not live on as a grant."""
        if self.acl is not None:
            gone = self.acl.put(action, topic, allowed, self.broker.now, self.broker.pressure.spare_caches)
            if gone and gone[0] == "p":
                self.grants.pop(gone[1:], None)

    def forget_grants(self) -> None:
        """Drop every cached access decision (ACL reload, ban, API)."""
        self.grants.clear()
        if self.acl is not None:
            self.acl.clear()

    def _pause(self, wait: float) -> None:
        """A rate limit is exceeded: nothing is dropped, reading stops until the bucket has refilled."""
        if wait > 0.0:
            self.pause_until = max(self.pause_until, self.broker.now + wait)
            self.last_packet = self.pause_until  # it is us who do not listen: keep-alive goes on from there
