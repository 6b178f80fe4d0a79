"""How a message becomes bytes for one client: the encoding everybody shares, or one of this client's own.

Most receivers of a message get the same bytes. A client with a mountpoint, topic aliases, a subscription identifier or
a RETAIN flag of its own gets them encoded for it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.outgoing import PACKET_ID, publish_frame, shared_head, shared_tail_v5
from trioemqx.core.delivery import Delivery
from trioemqx.core.expiry import remaining
from trioemqx.core.outbox import Outbox
from trioemqx.core.subscription import Receiver
from trioemqx.core.topics import unmount, validate_topic
from trioemqx.core.zone import Zone
from trioemqx.types import ClientInfo, Message, Properties

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker

ALIAS_ROOM: Final = 1024 * 1024
"""Characters of topics one connection may keep under aliases in each direction; 65535 long topics would be 268 MB."""
LARGEST_PACKET: Final = 268435460


class SendCounters:
    """What EMQX reports per client about its outgoing side; starts at 0 with every connection."""

    __slots__ = ("dropped", "dropped_expired", "dropped_queue_full", "dropped_too_large", "pkt", "qos0", "qos1", "qos2")

    def __init__(self) -> None:
        self.pkt = 0
        self.qos0 = 0
        self.qos1 = 0
        self.qos2 = 0
        self.dropped = 0
        self.dropped_expired = 0
        self.dropped_queue_full = 0
        self.dropped_too_large = 0


class Sender(Receiver):
    """The sending half of a session. `out` is the outbox of the connection, None while there is none.

    `v5`, `max_out` (largest packet the client takes), `max_alias` and `mount_length` describe the present connection.
    `plain` = a message may go out at once in the encoding that all receivers share.
    """

    __slots__ = (
        "alias_room",
        "aliases",
        "broker",
        "created_at",
        "info",
        "max_alias",
        "max_out",
        "mount_length",
        "out",
        "plain",
        "queue_dropped",
        "sent",
        "v5",
        "zone",
    )

    def __init__(self, broker: Broker, info: ClientInfo, zone: Zone) -> None:
        super().__init__(info.clientid)
        self.broker = broker
        self.info = info
        self.zone = zone
        self.created_at = broker.now_ms
        self.out: Outbox | None = None
        self.aliases: dict[str, int] | None = None
        """Topic aliases we have handed out on this connection."""
        self.alias_room = ALIAS_ROOM
        self.sent = SendCounters()
        self.queue_dropped = 0
        """Messages a full queue has lost since the session began."""
        self.plain = True
        self.fit(info)

    def fit(self, info: ClientInfo) -> None:
        """Take over what depends on the connection: version, packet size, aliases, mountpoint."""
        properties = info.properties
        self.v5 = info.proto_ver == 5
        self.max_out = LARGEST_PACKET
        self.max_alias = 0
        self.aliases = None
        self.alias_room = ALIAS_ROOM
        if self.v5 and properties is not None:
            self.max_out = properties.maximum_packet_size or LARGEST_PACKET
            self.max_alias = properties.topic_alias_maximum or 0
        self.mount_length = len(info.mountpoint)

    def _transmit(self, delivery: Delivery, packet_id: int, dup: bool) -> bool:
        """Put the frame of a QoS 1 or 2 message into the outbox; False when it was dropped as too large."""
        message = delivery.message
        out = self.out
        if (
            out is None
            or dup
            or delivery.retain
            or delivery.identifier
            or delivery.qos != message.qos
            or not self.plain
            or self.broker.hooks.message_delivered
            or (message.properties is not None and message.properties.message_expiry_interval is not None)
        ):
            return self._send_special(message, delivery.qos, delivery.retain, delivery.identifier, packet_id, dup)
        head = shared_head(message, self.v5)
        tail = shared_tail_v5(message) if self.v5 else message.payload
        if len(head) + 2 + len(tail) > self.max_out:
            self._dropped(message, "too_large")
            return False
        out.put3(head, PACKET_ID[packet_id], tail)
        self._count_sent(message, delivery.qos)
        return True

    def _send_special(
        self, message: Message, qos: int, retain: bool, identifier: int, packet_id: int, dup: bool
    ) -> bool:
        """Encode for this receiver alone: hooks, mountpoint, alias, identifier and running expiry applied."""
        out = self.out
        if out is None:
            return False
        if not dup and self.broker.hooks.message_delivered:
            seen = message.with_qos(qos)
            changed = self.broker.hooks.run_message_delivered(self.info, seen, validate_topic)
            if changed is not seen:
                message = changed
            if self.out is not out:  # a hook has kicked this client
                return False
        topic = message.topic
        if self.mount_length:
            inner = unmount(self.info.mountpoint, topic)
            if inner is None:
                return False
            topic = inner
        properties = message.properties
        if self.v5:
            properties = self._own_properties(message, identifier)
            topic, properties = self._alias(topic, properties)
        frame = publish_frame(message, self.v5, qos, retain, dup, packet_id, topic, properties)
        if len(frame) > self.max_out:
            self._forget_alias(topic, properties)
            self._dropped(message, "too_large")
            return False
        out.put(frame)
        self._count_sent(message, qos)
        if qos == 0:
            self._completed(message, self.broker.now)
        return True

    def _own_properties(self, message: Message, identifier: int) -> Properties | None:
        """The message's properties with what this receiver adds: its identifier, and the expiry that is left."""
        properties = message.properties
        left = remaining(message, self.broker.now)
        if identifier == 0 and left is None:
            return properties
        own = Properties() if properties is None else properties.copy()
        if identifier:
            own.subscription_identifier = [identifier]  # [MQTT-3.3.4-3]
        if left is not None:
            own.message_expiry_interval = left  # [MQTT-3.3.2-6]
        return own

    def _alias(self, topic: str, properties: Properties | None) -> tuple[str, Properties | None]:
        """Use or hand out a topic alias, in order of first use, while the client's maximum allows [MQTT-3.3.2-9]."""
        if self.max_alias == 0:
            return topic, properties
        aliases = self.aliases
        if aliases is None:
            aliases = self.aliases = {}
        alias = aliases.get(topic, 0)
        known = alias != 0
        if not known:
            if len(aliases) >= self.max_alias or len(topic) > self.alias_room:
                return topic, properties
            self.alias_room -= len(topic)
            alias = len(aliases) + 1
            aliases[topic] = alias
        own = Properties() if properties is None else properties.copy()
        own.topic_alias = alias
        return ("" if known else topic), own

    def _forget_alias(self, topic: str, properties: Properties | None) -> None:
        """A frame that introduced an alias was not sent after all: the client does not know the alias."""
        aliases = self.aliases
        if topic and properties is not None and properties.topic_alias is not None and aliases is not None:
            self.alias_room += len(topic) if aliases.pop(topic, 0) else 0

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def _completed(self, message: Message, first_sent: float) -> None:
        hooks = self.broker.hooks
        if hooks.delivery_completed:
            point = hooks.delivery_completed
            hooks.notify(point, "delivery_completed", self.info, message, self.created_at, first_sent)

    def _count_run(self, count: int) -> None:
        """`_count_sent` for QoS 0 messages of clients."""
        metrics = self.broker.metrics
        metrics.messages_delivered += count
        metrics.packets_publish_sent += count
        metrics.messages_qos0_sent += count
        self.sent.pkt += count
        self.sent.qos0 += count

    def _count_sent(self, message: Message, qos: int) -> None:
        metrics = self.broker.metrics
        metrics.messages_delivered += 1
        sent = self.sent
        sent.pkt += 1
        if qos == 0:
            sent.qos0 += 1
        elif qos == 1:
            sent.qos1 += 1
        else:
            sent.qos2 += 1
        if message.sys:  # EMQX leaves $SYS out of everything that counts sent packets
            return
        metrics.packets_publish_sent += 1
        if qos == 0:
            metrics.messages_qos0_sent += 1
        elif qos == 1:
            metrics.messages_qos1_sent += 1
        else:
            metrics.messages_qos2_sent += 1

    def _dropped(self, message: Message, reason: str) -> None:
        """A delivery to this client ends here: count it under its reason and tell `delivery.dropped`."""
        metrics = self.broker.metrics
        sent = self.sent
        sent.dropped += 1
        if reason == "no_local":
            metrics.delivery_dropped_no_local += 1
        elif reason == "queue_full":
            metrics.delivery_dropped_queue_full += 1
            sent.dropped_queue_full += 1
            self.queue_dropped += 1
        elif reason == "qos0_msg":
            metrics.delivery_dropped_qos0_msg += 1
        elif reason == "expired":
            metrics.delivery_dropped_expired += 1
            sent.dropped_expired += 1
        else:
            metrics.delivery_dropped_too_large += 1
            sent.dropped_too_large += 1
        hooks = self.broker.hooks
        if hooks.delivery_dropped:
            hooks.notify(hooks.delivery_dropped, "delivery_dropped", self.info, message, reason)
