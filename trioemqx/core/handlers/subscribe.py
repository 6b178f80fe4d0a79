"""SUBSCRIBE and UNSUBSCRIBE: ACL first, then hooks, then caps, then the router [MQTT5 3.8, 3.10]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.control import Suback, Subscribe, Unsuback, Unsubscribe
from trioemqx.codec.encode import encode
from trioemqx.core.access import CHECK_ACL, Question
from trioemqx.core.handlers import retained
from trioemqx.core.reasons import (
    FAILURES,
    NO_SUBSCRIPTION_EXISTED,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    TOPIC_FILTER_INVALID,
    UNSPECIFIED_ERROR,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from trioemqx.core.topics import ParsedFilter, is_wildcard, parse_filter, validate_filter
from trioemqx.errors import ProtocolError
from trioemqx.types import SUBSCRIBE, SubOpts

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel
    from trioemqx.core.session import Session
    from trioemqx.core.subscription import Subscription
    from trioemqx.core.zone import Zone

MAX_FILTERS: Final = 1000
"""Filters in one packet; more is refused as a protocol error."""


class Plan:
    """A SUBSCRIBE on its way: the parsed filters and, per filter, the reason code once it is known (-1 before)."""

    __slots__ = ("codes", "filters", "packet", "parsed")

    def __init__(self, packet: Subscribe, filters: list[tuple[str, SubOpts]], parsed: list[ParsedFilter]) -> None:
        self.packet = packet
        self.filters = filters
        self.parsed = parsed
        self.codes: list[int] = [-1] * len(filters)


def handle_subscribe(channel: Channel, packet: Subscribe) -> None:
    """Check the packet as a whole, then ask the ACL about every filter that the cache does not know."""
    broker = channel.broker
    broker.metrics.packets_subscribe_received += 1
    if len(packet.filters) > MAX_FILTERS:
        raise ProtocolError(QUOTA_EXCEEDED, f"{len(packet.filters)} filters in one SUBSCRIBE, at most {MAX_FILTERS}")
    parsed = [_parse(channel, name, opts) for name, opts in packet.filters]
    plan = Plan(packet, list(packet.filters), parsed)
    if not channel.zone.enable_acl or channel.info.is_superuser:
        _subscribe(channel, plan)
        return
    unknown = [index for index in range(len(parsed)) if not _allowed_now(channel, plan, index)]
    if unknown:
        question = Question(CHECK_ACL, channel.info, channel.zone)
        question.action = SUBSCRIBE
        question.topics = [parsed[index].filter for index in unknown]
        channel.ask(question, plan)
        return
    _decided(channel, plan)


def resume_subscribe(channel: Channel, plan: Plan, allowed: list[bool]) -> None:
    """The ACL has answered for the filters it was asked about, in order."""
    answers = iter(allowed)
    asked = [index for index, code in enumerate(plan.codes) if code == -1]
    for index in asked:
        _record(channel, plan, index, next(answers, False), False)
    _decided(channel, plan)


def _parse(channel: Channel, name: str, opts: SubOpts) -> ParsedFilter:
    """Syntax of one filter; an invalid one ends the connection with 0x8F."""
    parsed = parse_filter(name)
    validate_filter(parsed.filter, 0, channel.zone.max_topic_length)
    if parsed.group and opts.nl:  # [MQTT-3.8.3-4]
        raise ProtocolError(PROTOCOL_ERROR, "No Local on a shared subscription")
    return parsed


def _allowed_now(channel: Channel, plan: Plan, index: int) -> bool:
    """Decide one filter without waiting, from the cache or because nobody has to be asked; False when it cannot be.
    The ACL sees the inner filter, without share prefix and mountpoint."""
    broker = channel.broker
    filter = plan.parsed[index].filter
    cache = channel.acl
    known = cache.get(SUBSCRIBE, filter, broker.now) if cache is not None else None
    if known is not None:
        _record(channel, plan, index, known.allowed, True)
        return True
    allowed = broker.access.check_acl_now(channel.info, channel.zone, SUBSCRIBE, filter)
    if allowed is None:
        return False
    _record(channel, plan, index, allowed, False)
    return True


def _record(channel: Channel, plan: Plan, index: int, allowed: bool, from_cache: bool) -> None:
    broker = channel.broker
    metrics = broker.metrics
    filter = plan.parsed[index].filter
    if from_cache:
        metrics.client_acl_cache_hit += 1
    else:
        metrics.client_check_acl += 1
        channel.remember_decision(SUBSCRIBE, filter, allowed)
    if allowed:
        metrics.client_acl_allow += 1
    else:
        metrics.client_acl_deny += 1
    hooks = broker.hooks
    if hooks.client_check_acl_complete:
        hooks.notify(
            hooks.client_check_acl_complete,
            "client_check_acl_complete",
            channel.info,
            SUBSCRIBE,
            filter,
            allowed,
            from_cache,
        )
    plan.codes[index] = 0 if allowed else NOT_AUTHORIZED


def _decided(channel: Channel, plan: Plan) -> None:
    if channel.zone.acl_deny_action == "disconnect" and NOT_AUTHORIZED in plan.codes:
        raise ProtocolError(NOT_AUTHORIZED, "not authorized to subscribe")
    _subscribe(channel, plan)


def _subscribe(channel: Channel, plan: Plan) -> None:
    """Hooks, caps and router for the allowed filters; one SUBACK; then retained messages."""
    broker = channel.broker
    broker.metrics.client_subscribe += 1
    allowed = [index for index, code in enumerate(plan.codes) if code != NOT_AUTHORIZED]
    if broker.hooks.client_subscribe:
        filters = [plan.filters[index] for index in allowed]
        properties = plan.packet.properties
        changed = broker.hooks.run_filters(
            broker.hooks.client_subscribe, "client_subscribe", channel.info, properties, filters, _check_name
        )
        for index, (name, opts) in zip(allowed, changed, strict=True):
            plan.filters[index] = (name, opts)
    fresh: list[Subscription] = []
    channel.info.said = plan.packet.properties
    for index in allowed:
        name, opts = plan.filters[index]
        session = channel.session  # None once a hook has kicked the client
        plan.codes[index] = (
            UNSPECIFIED_ERROR if opts.deny or session is None else subscribe_one(session, name, opts, fresh)
        )
    channel.info.said = None
    _suback(channel, plan)
    for subscription in fresh:
        retained.start(channel, subscription)
    if fresh:
        retained.walk(channel)


def _check_name(name: str) -> None:
    """Raise ProtocolError for a filter that a hook must not put in the place of another."""
    validate_filter(parse_filter(name).filter)


def _any_name(name: str) -> None:
    """An UNSUBSCRIBE answers each filter by itself: 0x8F for one that a hook made invalid."""


def subscribe_one(session: Session, name: str, opts: SubOpts, fresh: list[Subscription], capped: bool = True) -> int:
    """Caps and registration of one filter; returns its reason code. Those that want retained messages join `fresh`."""
    zone = session.zone
    info = session.info
    try:
        parsed = parse_filter(name)
        validate_filter(parsed.filter, zone.max_topic_levels if capped else 0)
    except ProtocolError:  # renamed by a hook into something invalid, or too many levels
        return TOPIC_FILTER_INVALID
    code = (_cap(zone, parsed) if capped else 0) or _room(session, parsed)
    if session.journal is not None and session.journal.failing:
        code = code or QUOTA_EXCEEDED
    if code == 0 and parsed.exclusive:
        code = _claim(session, parsed)
    if code:
        return code
    if not session.v5:  # MQTT 3 has no such options; a bridge wants RETAIN as it was published
        opts = SubOpts(opts.qos, zone.ignore_loop_deliver and not parsed.group, info.is_bridge)
    subscription, is_new = session.broker.registry.subscribe(session, parsed, name, opts)
    hooks = session.broker.hooks
    if hooks.session_subscribed:
        hooks.notify(hooks.session_subscribed, "session_subscribed", info, subscription.mounted(), opts, is_new)
    if not parsed.group and (opts.rh == 0 or (opts.rh == 1 and is_new)):  # [MQTT-3.3.1-9..11]
        fresh.append(subscription)
    return opts.qos


def subscribe_for(session: Session, name: str, opts: SubOpts) -> int:
    """Subscribe on behalf of a client, which may be away (API, modules): no ACL, no `client.subscribe`, and of the
    zone's limits only `max_subscriptions`."""
    fresh: list[Subscription] = []
    code = subscribe_one(session, name, opts, fresh, False)
    for subscription in fresh:
        if subscription.entry is not None:  # None once a hook has taken it away again
            retained.begin(session, subscription)
    return code


def _cap(zone: Zone, parsed: ParsedFilter) -> int:
    """What the zone does not offer its clients, as a reason code; 0 when nothing is wrong."""
    if is_wildcard(parsed.filter) and not zone.wildcard_subscription:
        return WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
    if parsed.group and not zone.shared_subscription:
        return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if parsed.exclusive and not zone.exclusive_subscription:
        return TOPIC_FILTER_INVALID
    return 0


def _room(session: Session, parsed: ParsedFilter) -> int:
    """0x97 when the session has as many subscriptions as it may have, whoever makes them."""
    limit = session.zone.max_subscriptions
    if not limit or len(session.subscriptions) < limit:
        return 0
    key = session.broker.registry.key(parsed, session.info.mountpoint + parsed.filter)
    return 0 if key in session.subscriptions else QUOTA_EXCEEDED


def _claim(session: Session, parsed: ParsedFilter) -> int:
    """Make an exclusive topic the session's; 0x97 when somebody has it."""
    exclusive = session.broker.exclusive
    mounted = session.info.mountpoint + parsed.filter
    if exclusive.holder(mounted) is not None:
        return QUOTA_EXCEEDED
    exclusive.claim(mounted, session.clientid)
    return 0


def _suback(channel: Channel, plan: Plan) -> None:
    metrics = channel.broker.metrics
    codes = plan.codes
    failed = [code for code in codes if code >= FAILURES]
    if failed:
        metrics.packets_subscribe_error += 1
        if NOT_AUTHORIZED in failed:
            metrics.packets_subscribe_auth_error += 1
    if channel.version != 5:
        codes = [code if code < FAILURES else UNSPECIFIED_ERROR for code in codes]
    _answer(channel, encode(Suback(plan.packet.packet_id, codes, None), channel.version))
    metrics.packets_suback_sent += 1


def _answer(channel: Channel, frame: bytes) -> None:
    """Send an acknowledgement. One that the client cannot take ends the connection, since no shorter one would be true
    [MQTT-3.1.2-24]."""
    session = channel.session
    if session is not None and len(frame) > session.max_out:
        raise ProtocolError(PACKET_TOO_LARGE, f"an answer of {len(frame)} bytes, the client takes {session.max_out}")
    if session is not None and session.journal is not None:
        session.journal.gate(channel)
    channel.send(frame)


def handle_unsubscribe(channel: Channel, packet: Unsubscribe) -> None:
    """Remove filters; no ACL. Unknown ones are answered 0x11 in MQTT 5 and nothing at all in MQTT 3."""
    broker = channel.broker
    metrics = broker.metrics
    metrics.packets_unsubscribe_received += 1
    metrics.client_unsubscribe += 1
    if len(packet.filters) > MAX_FILTERS:
        raise ProtocolError(QUOTA_EXCEEDED, f"{len(packet.filters)} filters in one UNSUBSCRIBE, at most {MAX_FILTERS}")
    filters = [(name, SubOpts()) for name in packet.filters]
    for name in packet.filters:
        _parse(channel, name, SubOpts())
    if broker.hooks.client_unsubscribe:
        filters = broker.hooks.run_filters(
            broker.hooks.client_unsubscribe, "client_unsubscribe", channel.info, packet.properties, filters, _any_name
        )
    codes = []
    channel.info.said = packet.properties
    for name, _ in filters:
        session = channel.session  # None once a hook has kicked the client
        codes.append(UNSPECIFIED_ERROR if session is None else unsubscribe_one(session, name))
    channel.info.said = None
    if any(code >= FAILURES for code in codes):
        metrics.packets_unsubscribe_error += 1
    _answer(channel, encode(Unsuback(packet.packet_id, codes, None), channel.version))
    metrics.packets_unsuback_sent += 1


def unsubscribe_one(session: Session, name: str) -> int:
    """Remove one filter as the client wrote it; 0x00, 0x11 (did not exist) or 0x8F."""
    try:
        parsed = parse_filter(name)
    except ProtocolError:
        return TOPIC_FILTER_INVALID
    subscription = session.broker.registry.unsubscribe(session, parsed)
    if subscription is None:
        return NO_SUBSCRIPTION_EXISTED
    if not subscription.group:
        retained.stop(session, subscription.filter)
    hooks = session.broker.hooks
    if hooks.session_unsubscribed:
        hooks.notify(
            hooks.session_unsubscribed, "session_unsubscribed", session.info, subscription.mounted(), subscription.opts
        )
    return 0
