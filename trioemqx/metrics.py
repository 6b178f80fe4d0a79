"""Named counters of one node: an attribute increment each, read by name.

The hot path writes `metrics.packets_publish_received += 1`; everybody else reads `metrics.values()`, which is keyed by
EMQX's dotted names. Sums and old spellings are not counted twice: they are worked out when somebody reads.
"""

from __future__ import annotations


class Metrics:
    """All counters of EMQX 4.4's `/metrics`, present from the start with 0 (hence the long constructor), plus named
    ones that plugins add.

    An attribute is the metric's name with underscores for dots: `packets.connect.received` is
    `packets_connect_received`. `messages.retained` and `messages.delayed` are gauges, set by their owners.
    """

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.client_acl_allow = 0
        self.client_acl_cache_hit = 0
        self.client_acl_deny = 0
        self.client_auth_failure = 0
        self.client_auth_success = 0
        self.client_auth_success_anonymous = 0
        self.client_authenticate = 0
        self.client_check_acl = 0
        self.client_connack = 0
        self.client_connect = 0
        self.client_connected = 0
        self.client_disconnected = 0
        self.client_subscribe = 0
        self.client_unsubscribe = 0
        self.delivery_dropped_expired = 0
        self.delivery_dropped_no_local = 0
        self.delivery_dropped_qos0_msg = 0
        self.delivery_dropped_queue_full = 0
        self.delivery_dropped_too_large = 0
        self.messages_acked = 0
        self.messages_delayed = 0
        self.messages_delivered = 0
        self.messages_dropped = 0
        self.messages_dropped_await_pubrel_timeout = 0
        self.messages_dropped_no_subscribers = 0
        self.messages_forward = 0
        self.messages_publish = 0
        self.messages_qos0_received = 0
        self.messages_qos0_sent = 0
        self.messages_qos1_received = 0
        self.messages_qos1_sent = 0
        self.messages_qos2_received = 0
        self.messages_qos2_sent = 0
        self.messages_retained = 0
        self.packets_auth_received = 0
        self.packets_auth_sent = 0
        self.packets_connack_auth_error = 0
        self.packets_connack_error = 0
        self.packets_connack_sent = 0
        self.packets_connect_received = 0
        self.packets_disconnect_received = 0
        self.packets_disconnect_sent = 0
        self.packets_pingreq_received = 0
        self.packets_pingresp_sent = 0
        self.packets_puback_inuse = 0
        self.packets_puback_missed = 0
        self.packets_puback_received = 0
        self.packets_puback_sent = 0
        self.packets_pubcomp_inuse = 0
        self.packets_pubcomp_missed = 0
        self.packets_pubcomp_received = 0
        self.packets_pubcomp_sent = 0
        self.packets_publish_auth_error = 0
        self.packets_publish_dropped = 0
        self.packets_publish_error = 0
        self.packets_publish_inuse = 0
        self.packets_publish_received = 0
        self.packets_publish_sent = 0
        self.packets_pubrec_inuse = 0
        self.packets_pubrec_missed = 0
        self.packets_pubrec_received = 0
        self.packets_pubrec_sent = 0
        self.packets_pubrel_missed = 0
        self.packets_pubrel_received = 0
        self.packets_pubrel_sent = 0
        self.packets_suback_sent = 0
        self.packets_subscribe_auth_error = 0
        self.packets_subscribe_error = 0
        self.packets_subscribe_received = 0
        self.packets_unsuback_sent = 0
        self.packets_unsubscribe_error = 0
        self.packets_unsubscribe_received = 0
        self.session_created = 0
        self.session_discarded = 0
        self.session_resumed = 0
        self.session_takeovered = 0
        self.session_terminated = 0
        # Faults: what a guard caught. Not part of EMQX's list; `faults()` reports them.
        self.connection_crashed = 0
        self.hook_crashed = 0
        self.service_crashed = 0
        self.connection_refused = 0
        self.overload = dict.fromkeys(OVERLOAD, 0)
        """What was refused, dropped or held up because something was short; each is in `values` once it has counted."""
        self.extra: dict[str, int] = {}
        """Counters of plugins, by their full dotted name."""

    def inc(self, name: str, by: int = 1) -> None:
        """Add to a counter by its dotted name; an unknown name becomes a new counter (for plugins)."""
        attribute = name.replace(".", "_")
        if name in PLAIN:
            setattr(self, attribute, getattr(self, attribute) + by)
        else:
            self.extra[name] = self.extra.get(name, 0) + by

    def values(self) -> dict[str, int]:
        """Every metric by its dotted name, the 86 of EMQX first in alphabetical order, then those of overload and
        the faults that are not 0, then those of plugins."""
        found: dict[str, int] = {name: getattr(self, name.replace(".", "_")) for name in PLAIN}
        for name, source in SAME_AS.items():
            found[name] = found[source]
        for name, parts in SUMS.items():
            found[name] = sum(found[part] for part in parts)
        ordered = {name: found[name] for name in sorted(found)}
        ordered.update({name: count for name, count in self.overload.items() if count})
        ordered.update({name: count for name, count in self.faults().items() if count})
        ordered.update(self.extra)
        return ordered

    def faults(self) -> dict[str, int]:
        """What the guards caught: crashes of connections, hooks and services, and sockets refused by a limit."""
        return {
            "connection.crashed": self.connection_crashed,
            "connection.refused": self.connection_refused,
            "hook.crashed": self.hook_crashed,
            "service.crashed": self.service_crashed,
        }


OVERLOAD = (
    "overload.accepting.paused",
    "overload.connections.closed",
    "overload.connections.refused.anonymous",
    "overload.connections.refused.lag",
    "overload.connections.refused.memory",
    "overload.publishers.paused",
    "overload.qos0.dropped",
    "overload.queues.unreported",
    "overload.retained.refused",
)

PLAIN = frozenset(
    """
    bytes.received bytes.sent client.acl.allow client.acl.cache_hit client.acl.deny client.auth.failure
    client.auth.success client.auth.success.anonymous client.authenticate client.check_acl client.connack
    client.connect client.connected client.disconnected client.subscribe client.unsubscribe delivery.dropped.expired
    delivery.dropped.no_local delivery.dropped.qos0_msg delivery.dropped.queue_full delivery.dropped.too_large
    messages.acked messages.delayed messages.delivered messages.dropped messages.dropped.await_pubrel_timeout
    messages.dropped.no_subscribers messages.forward messages.publish messages.qos0.received messages.qos0.sent
    messages.qos1.received messages.qos1.sent messages.qos2.received messages.qos2.sent messages.retained
    packets.auth.received packets.auth.sent packets.connack.auth_error packets.connack.error packets.connack.sent
    packets.connect.received packets.disconnect.received packets.disconnect.sent packets.pingreq.received
    packets.pingresp.sent packets.puback.inuse packets.puback.missed packets.puback.received packets.puback.sent
    packets.pubcomp.inuse packets.pubcomp.missed packets.pubcomp.received packets.pubcomp.sent
    packets.publish.auth_error packets.publish.dropped packets.publish.error packets.publish.inuse
    packets.publish.received packets.publish.sent packets.pubrec.inuse packets.pubrec.missed packets.pubrec.received
    packets.pubrec.sent packets.pubrel.missed packets.pubrel.received packets.pubrel.sent packets.suback.sent
    packets.subscribe.auth_error packets.subscribe.error packets.subscribe.received packets.unsuback.sent
    packets.unsubscribe.error packets.unsubscribe.received session.created session.discarded session.resumed
    session.takeovered session.terminated
    """.split()
)

SAME_AS = {
    "client.auth.anonymous": "client.auth.success.anonymous",
    "messages.dropped.expired": "messages.dropped.await_pubrel_timeout",
}

_RECEIVED = "connect publish puback pubrec pubrel pubcomp subscribe unsubscribe pingreq disconnect auth"
_SENT = "connack publish puback pubrec pubrel pubcomp suback unsuback pingresp disconnect auth"
SUMS = {
    "packets.received": [f"packets.{kind}.received" for kind in _RECEIVED.split()],
    "packets.sent": [f"packets.{kind}.sent" for kind in _SENT.split()],
    "messages.received": [f"messages.qos{qos}.received" for qos in range(3)],
    "messages.sent": [f"messages.qos{qos}.sent" for qos in range(3)],
    "delivery.dropped": [
        f"delivery.dropped.{why}" for why in ("no_local", "too_large", "qos0_msg", "queue_full", "expired")
    ],
}
