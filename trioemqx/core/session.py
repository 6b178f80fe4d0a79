"""One client's session: its subscriptions, its outgoing QoS flows, and what waits while it is away.

A session outlives its connection. While a channel is attached, `out` is that connection's outbox and deliveries become
bytes at once; without one they are queued. Nothing here waits: a slow or absent client costs its publishers an append.

How a message becomes bytes is in `sender`. Long, because the QoS flows share the state that they change: one class.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from trioemqx.codec.outgoing import PACKET_ID, shared_qos0
from trioemqx.core.delivery import RELEASED, SENT, Delivery
from trioemqx.core.expiry import expired
from trioemqx.core.outbox import Outbox
from trioemqx.core.paging import want
from trioemqx.core.queue import HERE, MQueue
from trioemqx.core.reasons import FAILURES, PACKET_IDENTIFIER_NOT_FOUND
from trioemqx.core.sender import SendCounters, Sender
from trioemqx.core.subscription import Subscription
from trioemqx.core.traffic import Traffic
from trioemqx.core.zone import Zone
from trioemqx.types import ClientInfo, Message, Properties

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel
    from trioemqx.core.handlers.retained import RetainedWalk
    from trioemqx.core.journal import Journal

PUBREL_HEAD: Final = b"\x62\x02"


class Session(Sender):
    """The state of [MQTT5 4.1]: kept by `Registry`, driven by a `Channel`, fed by `Broker.publish`.

    `window` is the number of QoS 1 and 2 messages that may be unfinished at the client at once. `expiry_interval` is
    seconds to live without a connection; 0xFFFFFFFF means for ever. `created_at` is wall time in milliseconds.
    """

    __slots__ = (
        "awaiting_rel",
        "backlog",
        "channel",
        "disconnected_at",
        "ended",
        "expires_at",
        "expiry_interval",
        "inflight",
        "journal",
        "last_traffic",
        "mqueue",
        "next_id",
        "overflowed",
        "paging",
        "sid",
        "subscriptions",
        "waiting",
        "walks",
        "will",
        "will_at",
        "window",
    )

    def __init__(self, broker: Broker, info: ClientInfo, zone: Zone) -> None:
        super().__init__(broker, info, zone)
        self.window = info.receive_maximum
        self.subscriptions: dict[str, Subscription] = {}
        """Keyed by what was subscribed: the mounted filter, `$share/<group>/<filter>` for shared ones."""
        self.inflight: dict[int, Delivery] = {}
        self.backlog: OrderedDict[int, None] | None = None
        """Packet ids still to be sent again after a resume, oldest first; None when there is none."""
        self.mqueue: MQueue | None = None
        self.awaiting_rel: dict[int, float] = {}
        """QoS 2 packet ids received and not released, with the time of reception."""
        self.next_id = 1
        self.expiry_interval = info.expiry_interval
        self.expires_at = 0.0
        self.disconnected_at = 0
        self.channel: Channel | None = None
        self.ended = False
        """The session is over for good; hooks that hear of it cannot end it once more."""
        self.waiting = False
        """The session has outlived its connection."""
        self.last_traffic: Traffic | None = None
        """Counters of the connection that it has outlived."""
        self.walks: dict[str, RetainedWalk] | None = None
        """Retained messages, per filter, that the queue had no room for when the absent client was subscribed; the next
        connection goes on with them."""
        self.will: Message | None = None
        """A will whose delay is running; the channel holds the one of a live connection."""
        self.will_at = 0.0
        self.journal: Journal | None = None
        """Where its changes are written down; None while it ends with the process."""
        self.sid = ""
        self.overflowed = False
        """`Broker.overflowed` holds it: its queue was full and has lost a message."""
        self.paging = False
        """More of the queue is being read from the disk."""
        self._find_plain()

    # -- connection comes and goes -----------------------------------------------------------------------------------

    def attach(self, channel: Channel, info: ClientInfo) -> None:
        """A connection takes the session. Deliveries still go to the queue: nothing may come before the CONNACK
        [MQTT-3.2.0-1], after which `start` opens the way."""
        self.channel = channel
        self.waiting = False
        self.last_traffic = None
        self.out = None
        self.info = info
        self.zone = channel.zone
        self.expiry_interval = info.expiry_interval
        self.expires_at = 0.0
        self.sent = SendCounters()
        self.backlog = OrderedDict.fromkeys(self.inflight) if self.inflight else None
        self.window = info.receive_maximum
        if self.mqueue is not None and self.journal is not None:
            self.mqueue.window = max(self.journal.window, HERE)
        self.fit(info)
        self._find_plain()

    def start(self, out: Outbox) -> None:
        """The CONNACK is written: send again what was in flight, then what has been waiting, then what comes."""
        self.out = out
        self.pull()

    def detach(self) -> None:
        """The connection is gone. Topic aliases die with it [MQTT-3.3.2-7]; QoS flows stay as they are."""
        self.channel = None
        self.out = None
        self.aliases = None
        if self.mqueue is not None and self.journal is not None:
            self.mqueue.window = self.journal.window
            self.mqueue.close_window()

    def connected(self) -> bool:
        """True while a connection is attached."""
        return self.out is not None

    def lasts(self) -> bool:
        """True for a session that outlives the process."""
        return self.journal is not None

    def accepts(self) -> bool:
        """True when the client is here and its window has room."""
        return self.out is not None and len(self.inflight) < self.window

    def has_room(self) -> bool:
        """True while more retained messages may be handed over: the client reads, its queue is less than half full."""
        out = self.out
        if out is None or (out.blocked and out.size >= out.low):
            return False
        return self.queue_has_room()

    def queue_has_room(self) -> bool:
        """True while the queue is less than half full: retained messages leave the other half to what is published.
        While memory is short they leave it more."""
        queue = self.mqueue
        limit = self.zone.max_mqueue_len
        return queue is None or limit == 0 or len(queue) * 2 * self.broker.pressure.retained_share < limit

    def _find_plain(self) -> None:
        """`plain` = a QoS 0 message may go out at once, in the encoding all receivers share: nothing of this receiver's
        own has to be put in, and no earlier one waits in the queue [MQTT-4.6.0-6]."""
        queue = self.mqueue
        waits = queue is not None and queue.holds_qos0()
        self.plain = self.max_alias == 0 and self.mount_length == 0 and not waits

    # -- deliveries --------------------------------------------------------------------------------------------------

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """Take one message for one subscription: send it, queue it, or drop it by rule and count it."""
        if subscription.nl and message.publisher == self.clientid:  # [MQTT-3.8.3-3]
            self._dropped(message, "no_local")
            return
        qos = message.qos
        if self.zone.upgrade_qos:
            if subscription.qos > qos:
                qos = subscription.qos
        elif subscription.qos < qos:
            qos = subscription.qos
        retain = message.retain and (subscription.rap or message.retained)
        out = self.out
        if out is None or (out.blocked and out.size > out.high):
            if qos == 0 and self.mqueue is not None and self._swap(message, retain, subscription):
                return
            waiting = Delivery(message, qos, retain, subscription.identifier, subscription.group, subscription.filter)
            if self.journal is not None and qos:
                self.journal.queued(self, waiting)
            self.enqueue(waiting)
        elif qos == 0:
            if retain or subscription.identifier or not self.plain or self.broker.hooks.message_delivered:
                self._deliver_special(message, retain, subscription)
                return
            frame = shared_qos0(message, self.v5)
            if len(frame) > self.max_out:
                self._dropped(message, "too_large")
                return
            out.put(frame)
            self._count_sent(message, 0)
            self._completed(message, self.broker.now)
        else:
            delivery = Delivery(message, qos, retain, subscription.identifier, subscription.group, subscription.filter)
            if self.journal is not None:
                self.journal.queued(self, delivery)
            if len(self.inflight) >= self.window or self.backlog or self.mqueue:
                self.enqueue(delivery)
            else:
                self._send_new(delivery)

    def deliver_run(self, run: bytes, count: int, v5: bool, subscription: Subscription) -> bool:
        """As `deliver` for many messages at once, where it would put each frame into the outbox as it came."""
        out = self.out
        if (
            out is None
            or out.blocked
            or self.v5 != v5
            or not self.plain
            or subscription.nl
            or subscription.identifier
            or (subscription.qos > 0 and self.zone.upgrade_qos)
            or len(run) > self.max_out * count
        ):
            return False
        out.put(run)
        self._count_run(count)
        return True

    def _deliver_special(self, message: Message, retain: bool, subscription: Subscription) -> None:
        """QoS 0 that cannot use the shared encoding, or has to stand in line."""
        queue = self.mqueue
        if queue is not None and queue.holds_qos0():
            self.enqueue(Delivery(message, 0, retain, subscription.identifier, subscription.group, subscription.filter))
        else:
            self._send_special(message, 0, retain, subscription.identifier, 0, False)

    def _swap(self, message: Message, retain: bool, subscription: Subscription) -> bool:
        """QoS 0 for a queue that is full of it; False when that is not so."""
        queue = self.mqueue
        if queue is None or self.broker.pressure.refuse_qos0:
            return False
        lost = queue.swap(message, retain, subscription.identifier, subscription.group, subscription.filter)
        if lost is None:
            return False
        self._dropped(lost, "queue_full")
        if not self.overflowed:
            self.broker.note_overflow(self)
        return True

    def enqueue(self, delivery: Delivery) -> None:
        """Keep a delivery until the window or the client is open again; the queue decides what a full one drops."""
        if delivery.qos == 0 and self.broker.pressure.refuse_qos0:
            self._shed(delivery.message)
            return
        queue = self.mqueue
        if queue is None:
            zone = self.zone
            queue = self.mqueue = MQueue(
                zone.max_mqueue_len,
                zone.max_mqueue_bytes,
                zone.mqueue_priorities,
                zone.mqueue_default_priority_highest,
                zone.mqueue_store_qos0,
            )
            if self.journal is not None:
                queue.window = self.journal.window if self.channel is None else max(self.journal.window, HERE)
        if delivery.qos == 0:
            self.plain = False
        dropped = queue.put(delivery)
        while dropped is not None:
            if dropped.key and self.journal is not None:
                self.journal.finished(dropped)
            refused = dropped is delivery and delivery.qos == 0 and not self.zone.mqueue_store_qos0
            self._dropped(dropped.message, "qos0_msg" if refused else "queue_full")
            if not refused:
                self.broker.note_overflow(self)
            dropped = queue.overflow()
        if queue.owing:
            want(self)

    def lose(self, delivery: Delivery) -> None:
        """A full queue had lost this one before it was read from the disk."""
        if self.journal is not None:
            self.journal.finished(delivery)
        self._dropped(delivery.message, "queue_full")

    def shed_qos0(self) -> None:
        """Drop what waits at QoS 0: memory is short, and nobody was promised these messages."""
        queue = self.mqueue
        while queue:
            delivery = queue.get(self.broker.now, only_qos0=True)
            self.drop_expired(queue)
            if delivery is None:
                break
            self._shed(delivery.message)
        if not queue:
            self.mqueue = None
        self._find_plain()

    def _shed(self, message: Message) -> None:
        self.broker.metrics.overload["overload.qos0.dropped"] += 1
        self._dropped(message, "queue_full")

    def pull(self) -> None:
        """Send from the backlog of a resume and then from the queue, as far as window and outbox allow."""
        out = self.out
        if out is None:
            return
        backlog = self.backlog
        while backlog and len(self.inflight) - len(backlog) < self.window and out.size < out.high:
            self._send_again(backlog.popitem(last=False)[0])
        if not backlog:
            self.backlog = None
        if self.mqueue is not None:
            self._pull_queue(out)
        if (
            (self.backlog or self.mqueue)
            and out.size >= out.high
            and not out.blocked
            and out.marks is None
            and self.channel
        ):
            self.channel.more = True  # the kernel may take it all, and then nobody tells us: another turn asks again

    def _pull_queue(self, out: Outbox) -> None:
        """The second half of `pull`. While the window is full, or older messages come first, only QoS 0 can go."""
        queue = self.mqueue
        while queue and out.size < out.high:
            closed = self.backlog is not None or len(self.inflight) >= self.window
            delivery = queue.get(self.broker.now, only_qos0=closed)
            self.drop_expired(queue)
            if delivery is None:
                break
            if delivery.qos:
                self._send_new(delivery)
            else:
                self._send_special(delivery.message, 0, delivery.retain, delivery.identifier, 0, False)
        if queue is not None and queue.on_disk():
            want(self)
        elif not queue:
            self.mqueue = None
        self._find_plain()

    def drop_expired(self, queue: MQueue) -> None:
        """Count what the queue skipped because it had expired."""
        for stale in queue.drain_expired():
            if self.journal is not None:
                self.journal.finished(stale)
            self._dropped(stale.message, "expired")

    # -- acknowledgements of the client ------------------------------------------------------------------------------

    def puback(self, packet_id: int, properties: Properties | None = None) -> None:
        """PUBACK: the QoS 1 message has arrived; its slot is free [MQTT-4.3.2-3]."""
        metrics = self.broker.metrics
        delivery = self.inflight.get(packet_id)
        if delivery is None:
            metrics.packets_puback_missed += 1
            return
        if delivery.qos != 1 or delivery.state != SENT:
            metrics.packets_puback_inuse += 1
            return
        self._finish(packet_id)
        self._acked(delivery, properties)
        self._completed(delivery.message, delivery.first_at)
        if self.backlog or self.mqueue:
            self.pull()

    def pubrec(self, packet_id: int, code: int, properties: Properties | None = None) -> int:
        """PUBREC: the QoS 2 message has arrived. Returns the reason code of the PUBREL to send, or -1 for none.

        A refusal (code >= 0x80) ends the exchange [MQTT5 4.3.3] without a PUBREL.
        """
        metrics = self.broker.metrics
        delivery = self.inflight.get(packet_id)
        if delivery is None:
            metrics.packets_pubrec_missed += 1
            return PACKET_IDENTIFIER_NOT_FOUND
        if delivery.qos != 2:  # EMQX says 0x91, which PUBREL may not carry [MQTT-3.6.2-1]
            metrics.packets_pubrec_inuse += 1
            return PACKET_IDENTIFIER_NOT_FOUND
        if delivery.state == RELEASED:  # our PUBREL may have been lost with the old connection
            metrics.packets_pubrec_inuse += 1
            return 0
        self._acked(delivery, properties)
        if self.inflight.get(packet_id) is not delivery:  # a hook has kicked the client
            return -1
        if code >= FAILURES:
            self._finish(packet_id)
            self.pull()
            return -1
        delivery.state = RELEASED
        delivery.sent_at = self.broker.now
        del self.inflight[packet_id]  # to the end: PUBRELs keep the order of their PUBRECs [MQTT-4.6.0-4]
        self.inflight[packet_id] = delivery
        if self.journal is not None:
            self.journal.received(delivery)
        if self.backlog:
            self.backlog.pop(packet_id, None)
        return 0

    def pubcomp(self, packet_id: int) -> None:
        """PUBCOMP: the QoS 2 exchange is over; its slot is free."""
        metrics = self.broker.metrics
        delivery = self.inflight.get(packet_id)
        if delivery is None:
            metrics.packets_pubcomp_missed += 1
            return
        if delivery.state != RELEASED:
            metrics.packets_pubcomp_inuse += 1
            return
        self._finish(packet_id)
        self._completed(delivery.message, delivery.first_at)
        if self.backlog or self.mqueue:
            self.pull()

    # -- timers ------------------------------------------------------------------------------------------------------

    def retry(self, now: float, interval: float) -> None:
        """Send again what the client has not acknowledged for `interval` seconds (MQTT 3 only [MQTT5 4.4])."""
        out = self.out
        if out is None or out.blocked:  # what was sent before has not even left us
            return
        backlog = self.backlog
        for packet_id, delivery in list(self.inflight.items()):
            if now - delivery.sent_at >= interval and (backlog is None or packet_id not in backlog):
                self._send_again(packet_id)

    def forget_unreleased(self, now: float, timeout: float) -> int:
        """Drop QoS 2 packet ids whose PUBREL has not come for `timeout` seconds; returns how many."""
        late = [packet_id for packet_id, since in self.awaiting_rel.items() if now - since >= timeout]
        for packet_id in late:
            del self.awaiting_rel[packet_id]
            if self.journal is not None:
                self.journal.released(self, packet_id)
        return len(late)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _send_new(self, delivery: Delivery) -> None:
        """First transmission of a QoS 1 or 2 message, under a fresh packet identifier [MQTT-2.2.1-4]."""
        packet_id = self._free_packet_id()
        journal = self.journal
        if journal is not None:
            delivery.packet_id = packet_id
            journal.sending(self, delivery)
        delivery.state = SENT
        delivery.sent_at = delivery.first_at = self.broker.now
        # Before it is sent: hooks of the transmission may publish to this client [MQTT-4.9.0-2].
        self.inflight[packet_id] = delivery
        if not self._transmit(delivery, packet_id, False):
            self.inflight.pop(packet_id, None)
            if journal is not None:
                journal.finished(delivery)

    def _send_again(self, packet_id: int) -> None:
        """Repeat the PUBLISH with DUP=1 [MQTT-3.3.1-1], or the PUBREL, of an unfinished exchange."""
        out = self.out
        delivery = self.inflight.get(packet_id)
        if out is None or delivery is None:
            return
        delivery.sent_at = self.broker.now
        if delivery.state == RELEASED:
            out.put(PUBREL_HEAD + PACKET_ID[packet_id])
            self.broker.metrics.packets_pubrel_sent += 1
            self.sent.pkt += 1
        elif expired(delivery.message, self.broker.now):
            self._finish(packet_id)
            self._dropped(delivery.message, "expired")
        elif not self._transmit(delivery, packet_id, True):
            self._finish(packet_id)

    def _free_packet_id(self) -> int:
        """The next identifier not in use; there is one, since the window is at most 65535 and one slot is free."""
        packet_id = self.next_id
        while packet_id in self.inflight:
            packet_id = packet_id + 1 if packet_id < 65535 else 1
        self.next_id = packet_id + 1 if packet_id < 65535 else 1
        return packet_id

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def _finish(self, packet_id: int) -> None:
        delivery = self.inflight.pop(packet_id, None)
        if delivery is not None and delivery.key and self.journal is not None:
            self.journal.finished(delivery)
        if self.backlog:
            self.backlog.pop(packet_id, None)

    def _acked(self, delivery: Delivery, properties: Properties | None) -> None:
        """Count, and tell of, an acknowledgement with these properties."""
        self.broker.metrics.messages_acked += 1
        hooks = self.broker.hooks
        if hooks.message_acked:
            self.info.said = properties
            hooks.notify(hooks.message_acked, "message_acked", self.info, delivery.message.with_qos(delivery.qos))
            self.info.said = None
