"""An incoming PUBLISH: alias, access, caps, QoS 2 identity, then the broker [broker behaviour of MQTT5 3.3.4].

The hot path is the first half of `handle_publish`: one dictionary lookup tells whether this connection may publish to
the topic and where the topic goes. Everything else happens once per topic and connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.encode import encode_ack
from trioemqx.codec.packets import PUBACK, PUBREC, Publish
from trioemqx.core.access import CHECK_ACL, Question
from trioemqx.core.handlers import incoming, runs
from trioemqx.core.handlers.topic_grant import TopicGrant
from trioemqx.core.journal import Journal
from trioemqx.core.router import FilterEntry
from trioemqx.core.topics import validate_topic
from trioemqx.errors import MalformedPacket, ProtocolError
from trioemqx.types import PUBLISH

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel

FOREVER: Final = float("inf")
MAX_GRANTS: Final = 1024
"""Topics remembered per connection when no ACL cache size says otherwise."""
LONGEST_REMEMBERED: Final = 256
"""Characters; a client that makes up longer topics costs time, not memory."""
PUBACK_HEAD: Final = b"\x40\x02"
PUBREC_HEAD: Final = b"\x50\x02"
NOT_AUTHORIZED: Final = 0x87
QUOTA_EXCEEDED: Final = 0x97


def handle_publish(channel: Channel, packet: Publish) -> None:
    """Take one PUBLISH of a connected client. Raises PacketError for what must end the connection."""
    broker = channel.broker
    metrics = broker.metrics
    qos = packet.qos
    if qos == 0:
        channel.recv_qos0 += 1
        metrics.messages_qos0_received += 1
    elif qos == 1:
        channel.recv_qos1 += 1
        metrics.messages_qos1_received += 1
    else:
        channel.recv_qos2 += 1
        metrics.messages_qos2_received += 1
    topic = packet.topic
    if packet.properties is not None:  # before the quota: a refused PUBLISH still sets its topic alias
        topic = _check_properties(channel, packet)
    if channel.quota_until > broker.now:
        _answer_error(channel, packet, QUOTA_EXCEEDED)
        return
    grant = channel.grants.get(topic)
    if grant is None or grant.until <= broker.now:
        grant = _find_grant(channel, packet, topic)
        if grant is None:
            return
    elif grant.cached:
        metrics.client_acl_cache_hit += 1
        if grant.allowed:
            metrics.client_acl_allow += 1
        else:
            metrics.client_acl_deny += 1
        if broker.hooks.client_check_acl_complete:
            _tell_complete(channel, topic, grant.allowed, True)
    accept(channel, packet, topic, grant)
    if qos == 0 and channel.framer.pending() > 0:
        runs.forward(channel, packet, grant)


def accept(channel: Channel, packet: Publish, topic: str, grant: TopicGrant) -> None:
    """The second half: the access decision is known."""
    broker = channel.broker
    qos = packet.qos
    if not grant.allowed:
        _denied(channel, packet)
        return
    if qos > channel.zone.max_qos_allowed:  # [MQTT-3.2.2-11]
        raise ProtocolError(0x9B, f"QoS {qos} is above max_qos_allowed")
    if packet.retain and not channel.zone.retain_available:  # [MQTT-3.2.2-14]
        raise ProtocolError(0x9A, "retained messages are not available")
    journal = broker.journal
    before = 0 if journal is None else journal.count
    if qos and journal is not None and journal.failing and not _may_pass(channel, packet, grant):
        return
    if qos == 2 and not _remember_id(channel, packet, grant):
        return
    message = incoming.message(channel, packet, grant)
    if not broker.router.fresh(grant.route):
        grant.route = broker.router.route(grant.mounted)
    receivers = broker.publish_on(message, grant.route, channel.picks)
    if qos and journal is not None and (journal.count != before or packet.retain):
        _wait_for_store(channel, journal, packet.retain)
    if qos == 1:
        metrics = broker.metrics
        metrics.packets_puback_sent += 1
        _ack(channel, PUBACK, PUBACK_HEAD, packet.packet_id, receivers)
    elif qos == 2:
        metrics = broker.metrics
        metrics.packets_pubrec_sent += 1
        _ack(channel, PUBREC, PUBREC_HEAD, packet.packet_id, receivers)
    if channel.quota_bucket is not None or channel.zone_bucket is not None:
        _debit_quota(channel, 1 + receivers)


def _wait_for_store(channel: Channel, journal: Journal, retain: bool) -> None:
    """The acknowledgement promises what the store has yet to write."""
    journal.gate(channel)
    if channel.out.promise() >= journal.most_pending:
        channel.hold()
    journal.retained = journal.retained or retain
    if journal.crowded:
        channel.give_way()


def _may_pass(channel: Channel, packet: Publish, grant: TopicGrant) -> bool:
    """While the store fails, only what need not be written is taken. MQTT 3 has no way to refuse one message."""
    session = channel.session
    if not packet.retain and (packet.qos == 1 or session is None or session.journal is None):
        route = channel.broker.router.route(grant.mounted)
        if not any(_lasts(entry) for entry in route.entries):
            return True
    known = session is not None and packet.qos == 2 and packet.packet_id in session.awaiting_rel
    if channel.version != 5 or known:  # what the client knows as taken must not be refused
        raise ProtocolError(QUOTA_EXCEEDED, "the store cannot write")
    channel.recv_dropped += 1
    _answer_error(channel, packet, QUOTA_EXCEEDED)
    return False


def _lasts(entry: FilterEntry) -> bool:
    """Whether any receiver of a filter outlives the process."""
    if any(member.receiver.lasts() for member in entry.members):
        return True
    return any(member.receiver.lasts() for group in entry.groups or () for member in group.members)


def _ack(channel: Channel, kind: int, head: bytes, packet_id: int, receivers: int) -> None:
    if channel.session is None:  # a hook has kicked the publisher: nothing follows our DISCONNECT
        return
    if receivers or channel.version != 5:
        channel.send_ack(head, packet_id)
    else:  # EMQX tells MQTT 5 publishers when nobody was listening
        channel.send(encode_ack(kind, packet_id, 0x10, 5))


def _check_properties(channel: Channel, packet: Publish) -> str:
    """MQTT 5 rules about PUBLISH properties; returns the topic with its alias resolved."""
    properties = packet.properties
    topic = packet.topic
    if properties is None:
        return topic
    if properties.subscription_identifier is not None:  # [MQTT-3.3.4-6]
        raise ProtocolError(0x82, "a client's PUBLISH carries a subscription identifier")
    if properties.response_topic is not None:
        try:
            validate_topic(properties.response_topic, 0)
        except ProtocolError as error:  # [MQTT-3.3.2-14]
            raise ProtocolError(0x82, f"response topic: {error.text}") from None
    alias = properties.topic_alias
    if alias is None:
        return topic
    if alias == 0 or alias > channel.zone.max_topic_alias:  # [MQTT-3.3.2-8] [MQTT-3.3.2-9]
        raise ProtocolError(0x94, f"topic alias {alias} is outside 1..{channel.zone.max_topic_alias}")
    aliases = channel.aliases
    if topic:
        validate_topic(topic, 0, channel.zone.max_topic_length)  # before it costs memory
        if aliases is None:
            aliases = channel.aliases = {}
        channel.alias_room -= len(topic) - len(aliases.get(alias, ""))
        if channel.alias_room < 0:
            raise ProtocolError(QUOTA_EXCEEDED, "the topics under aliases are too long together")
        aliases[alias] = topic
    else:
        known = None if aliases is None else aliases.get(alias)
        if known is None:  # [MQTT-3.3.2-7]
            raise ProtocolError(0x82, f"topic alias {alias} has not been set")
        topic = known
    # The alias is between the publisher and us. The property object stays, even when it is empty now: it marks a frame
    # that cannot be forwarded as it came.
    properties.topic_alias = None
    return topic


def _find_grant(channel: Channel, packet: Publish, topic: str) -> TopicGrant | None:
    """Cold path, once per topic: levels, ACL, mountpoint, route. None when the ACL has to be asked (packet parked)."""
    if not topic:
        raise ProtocolError(0x82, "empty topic without a topic alias")
    broker = channel.broker
    client = channel.info
    if topic.startswith("$SYS/"):  # only the broker itself speaks there
        return TopicGrant(topic, broker.router.route(topic), False, False, 0.0)
    if not channel.zone.enable_acl or client.is_superuser:
        return remember_grant(channel, topic, True, False, FOREVER)
    cache = channel.acl
    known = cache.get(PUBLISH, topic, broker.now) if cache is not None else None
    if known is not None:
        count_check(channel, topic, known.allowed, True)
        return remember_grant(channel, topic, known.allowed, True, known.until)
    allowed = broker.access.check_acl_now(client, channel.zone, PUBLISH, topic)
    if allowed is None:
        question = Question(CHECK_ACL, client, channel.zone)
        question.action = PUBLISH
        question.topics = [topic]
        channel.ask(question, packet)
        return None
    return decide(channel, topic, allowed)


def decide(channel: Channel, topic: str, allowed: bool) -> TopicGrant:
    """A fresh ACL decision: count it, cache it, and remember where the topic goes."""
    now = channel.broker.now
    channel.broker.metrics.client_check_acl += 1
    count_check(channel, topic, allowed, False)
    if channel.acl is None:
        return remember_grant(channel, topic, allowed, False, 0.0)
    channel.remember_decision(PUBLISH, topic, allowed)
    return remember_grant(channel, topic, allowed, True, now + channel.acl.ttl)


def resume_publish(channel: Channel, packet: Publish, topic: str, allowed: bool) -> None:
    """The ACL has answered for a parked PUBLISH."""
    accept(channel, packet, topic, decide(channel, topic, allowed))


def remember_grant(channel: Channel, topic: str, allowed: bool, cached: bool, until: float) -> TopicGrant:
    """Build the per-topic record; topics that break a cap are refused here, after the ACL as in EMQX."""
    zone = channel.zone
    if allowed:
        validate_topic(topic, zone.max_topic_levels, zone.max_topic_length)
    mounted = channel.info.mountpoint + topic
    grant = TopicGrant(mounted, channel.broker.router.route(mounted), allowed, cached, until)
    if until > 0.0 and len(topic) <= LONGEST_REMEMBERED:
        grants = channel.grants
        if channel.acl is not None:  # whatever that forgets is forgotten here
            limit = channel.acl.size
        else:
            limit = max(len(grants), 1) if channel.broker.pressure.spare_caches else MAX_GRANTS
        if len(grants) >= limit and grants:
            del grants[next(iter(grants))]
        grants[topic] = grant
    return grant


def count_check(channel: Channel, topic: str, allowed: bool, from_cache: bool) -> None:
    """Counters and `client.check_acl_complete` for one decision about a publish."""
    metrics = channel.broker.metrics
    if from_cache:
        metrics.client_acl_cache_hit += 1
    if allowed:
        metrics.client_acl_allow += 1
    else:
        metrics.client_acl_deny += 1
    if channel.broker.hooks.client_check_acl_complete:
        _tell_complete(channel, topic, allowed, from_cache)


def _tell_complete(channel: Channel, topic: str, allowed: bool, from_cache: bool) -> None:
    hooks = channel.broker.hooks
    hooks.notify(
        hooks.client_check_acl_complete,
        "client_check_acl_complete",
        channel.info,
        PUBLISH,
        topic,
        allowed,
        from_cache,
    )


def _remember_id(channel: Channel, packet: Publish, grant: TopicGrant) -> bool:
    """QoS 2: the packet id is new and there is room for it. A known id is a repetition and is not routed again."""
    session = channel.session
    if session is None:
        raise MalformedPacket("PUBLISH without a session")
    metrics = channel.broker.metrics
    packet_id = packet.packet_id
    if packet_id in session.awaiting_rel:  # [MQTT-4.3.3-10]
        metrics.packets_publish_inuse += 1
        metrics.messages_dropped += 1
        _tell_dropped(channel, packet, grant, "packet_identifier_inuse")
        code = 0 if packet.dup else 0x91
        if code:
            metrics.packets_publish_error += 1
        metrics.packets_pubrec_sent += 1
        channel.send(encode_ack(PUBREC, packet_id, code, channel.version))
        return False
    limit = channel.zone.max_awaiting_rel
    if limit and len(session.awaiting_rel) >= limit:  # [MQTT-3.3.4-8]
        metrics.packets_publish_dropped += 1
        metrics.messages_dropped += 1
        channel.recv_dropped += 1
        _tell_dropped(channel, packet, grant, "receive_maximum_exceeded")
        raise ProtocolError(0x93, f"more than {limit} QoS 2 messages are waiting for PUBREL")
    session.awaiting_rel[packet_id] = channel.broker.now
    if session.journal is not None:
        session.journal.awaits(session, packet_id)
    return True


def _tell_dropped(channel: Channel, packet: Publish, grant: TopicGrant, reason: str) -> None:
    hooks = channel.broker.hooks
    if hooks.message_dropped:
        message = incoming.message(channel, packet, grant)
        hooks.notify(hooks.message_dropped, "message_dropped", message, channel.broker.node, reason)


def _denied(channel: Channel, packet: Publish) -> None:
    """The ACL said no: `ignore` answers with 0x87 where there is an answer, `disconnect` ends the connection."""
    if channel.zone.acl_deny_action == "disconnect":
        raise ProtocolError(NOT_AUTHORIZED, f"not authorized to publish to {packet.topic}")
    channel.recv_dropped += 1
    _answer_error(channel, packet, NOT_AUTHORIZED)


def _answer_error(channel: Channel, packet: Publish, code: int) -> None:
    """Refuse one PUBLISH and keep the connection. An MQTT 3 client gets the usual acknowledgement, having no other."""
    metrics = channel.broker.metrics
    if packet.qos == 0:
        if code == QUOTA_EXCEEDED:
            metrics.packets_publish_dropped += 1
        return
    metrics.packets_publish_error += 1
    if code == NOT_AUTHORIZED:
        metrics.packets_publish_auth_error += 1
    kind = PUBACK if packet.qos == 1 else PUBREC
    if kind == PUBACK:
        metrics.packets_puback_sent += 1
    else:
        metrics.packets_pubrec_sent += 1
    channel.send(encode_ack(kind, packet.packet_id, code, channel.version))


def _debit_quota(channel: Channel, cost: int) -> None:
    """After routing: when a bucket runs dry, further PUBLISHes are refused until it has refilled."""
    broker = channel.broker
    wait = 0.0
    if channel.quota_bucket is not None:
        wait = channel.quota_bucket.take(cost, broker.now)
    if channel.zone_bucket is not None:
        wait = max(wait, channel.zone_bucket.take(cost, broker.now))
    if wait > 0.0:
        channel.quota_until = broker.now + wait
