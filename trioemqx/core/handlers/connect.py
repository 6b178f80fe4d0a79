"""CONNECT: checks, bans, authentication, enhanced authentication, session, CONNACK; in EMQX's order [MQTT5 3.1.4]."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from trioemqx.codec.control import Auth, Connect, Will
from trioemqx.codec.encode import encode
from trioemqx.core.access import AUTHENTICATE, ENHANCED, AuthStep, Question
from trioemqx.core.handlers.refuse import refuse_connect, send_connack
from trioemqx.core.reasons import (
    BAD_AUTHENTICATION_METHOD,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONTINUE_AUTHENTICATION,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RE_AUTHENTICATE,
    RETAIN_NOT_SUPPORTED,
    SUCCESS,
    TOPIC_NAME_INVALID,
)
from trioemqx.core.states import AUTHENTICATING, CONNECTED
from trioemqx.core.topics import feed_mountpoint, validate_topic
from trioemqx.errors import ProtocolError
from trioemqx.hooks import Refuse
from trioemqx.types import Message, Properties, Verdict

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel

FOREVER: Final = 0xFFFFFFFF
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def handle_connect(channel: Channel, packet: Connect) -> None:
    """The first packet. Refusals are CONNACKs with the reason of the first check that fails."""
    broker = channel.broker
    broker.metrics.packets_connect_received += 1
    broker.metrics.client_connect += 1
    channel.connect = packet
    channel.version = packet.proto_ver
    channel.state = AUTHENTICATING
    _describe(channel, packet)
    busy = broker.pressure.refusal()
    if busy:  # before hooks and passwords: it is their cost that is to be saved
        why = "memory" if broker.pressure.refuse_connections else "lag"
        broker.metrics.overload[f"overload.connections.refused.{why}"] += 1
        refuse_connect(channel, busy)
        return
    if broker.hooks.client_connect:
        try:
            packet.properties = broker.hooks.run_client_connect(channel.info, packet.properties)
        except Refuse as refusal:
            refuse_connect(channel, refusal.code)
            return
        channel.info.properties = packet.properties
    code = _check_packet(channel, packet) or _identify(channel, packet)
    if code == 0:
        code = broker.access.admit(channel.info, channel.zone, broker.now)
    if code:
        refuse_connect(channel, code)
        return
    broker.metrics.client_authenticate += 1
    verdict = broker.access.authenticate_now(channel.info, channel.zone, packet.password)
    if verdict is None:
        question = Question(AUTHENTICATE, channel.info, channel.zone)
        question.password = packet.password
        channel.ask(question, packet)
        return
    authenticated(channel, verdict)


def authenticated(channel: Channel, verdict: Verdict) -> None:
    """The chain has decided: refuse, or go on to enhanced authentication and the session."""
    metrics = channel.broker.metrics
    packet = channel.connect
    if packet is None:
        return
    packet.password = None  # not needed any more, and nobody should find it
    if not verdict.allowed:
        metrics.client_auth_failure += 1
        refuse_connect(channel, verdict.code)
        return
    metrics.client_auth_success += 1
    if verdict.anonymous:
        metrics.client_auth_success_anonymous += 1
        if channel.broker.pressure.refuse_anonymous:
            metrics.overload["overload.connections.refused.anonymous"] += 1
            refuse_connect(channel, QUOTA_EXCEEDED)
            return
    info = channel.info
    info.anonymous = verdict.anonymous
    info.is_superuser = verdict.is_superuser
    info.extra = verdict.extra
    code = _set_mountpoint(channel, verdict.mountpoint)
    if code:
        refuse_connect(channel, code)
        return
    properties = packet.properties
    method = properties.authentication_method if properties is not None else None
    data = properties.authentication_data if properties is not None else None
    if method is None and data is None:
        _open(channel, None)
    elif method is None or not channel.broker.hooks.client_enhanced_authenticate:
        # Data without a method is a protocol error; a method nobody implements is not ours [MQTT-4.12.0-1].
        refuse_connect(channel, PROTOCOL_ERROR if method is None else BAD_AUTHENTICATION_METHOD)
    else:
        channel.auth_method = method
        _ask_enhanced(channel, data, packet)


def handle_auth(channel: Channel, packet: Auth) -> None:
    """AUTH: the next step of an exchange, or re-authentication of a connected client [MQTT5 4.12]."""
    channel.broker.metrics.packets_auth_received += 1
    properties = packet.properties
    method = properties.authentication_method if properties is not None else None
    if not channel.auth_method:
        raise ProtocolError(PROTOCOL_ERROR, "AUTH without an authentication method in CONNECT")
    if method != channel.auth_method:  # [MQTT-4.12.0-5]
        raise ProtocolError(BAD_AUTHENTICATION_METHOD, "the authentication method differs from CONNECT's")
    wanted = (CONTINUE_AUTHENTICATION, RE_AUTHENTICATE) if channel.state == CONNECTED else (CONTINUE_AUTHENTICATION,)
    if packet.code not in wanted:
        raise ProtocolError(PROTOCOL_ERROR, f"AUTH with reason code 0x{packet.code:02x}")
    _ask_enhanced(channel, properties.authentication_data if properties is not None else None, packet)


def _ask_enhanced(channel: Channel, data: bytes | None, packet: object) -> None:
    question = Question(ENHANCED, channel.info, channel.zone)
    question.method = channel.auth_method
    question.data = data
    question.cache = channel.auth_cache
    channel.ask(question, packet)


def enhanced_step(channel: Channel, step: AuthStep) -> None:
    """The answer of `client.enhanced_authenticate`: AUTH, CONNACK, or the end."""
    connected = channel.state == CONNECTED
    if step.result not in ("ok", "continue"):
        channel.auth_cache = None
        if connected:  # [MQTT-4.12.1-2]
            raise ProtocolError(step.code, "re-authentication failed")
        channel.broker.metrics.client_auth_failure += 1
        refuse_connect(channel, step.code)
        return
    properties = Properties()
    properties.authentication_method = channel.auth_method
    properties.authentication_data = step.data
    if step.result == "continue":
        channel.auth_cache = step.cache
        _send_auth(channel, CONTINUE_AUTHENTICATION, properties)
        return
    channel.auth_cache = None
    if connected:
        _send_auth(channel, SUCCESS, properties)
    else:
        _open(channel, properties)


def _send_auth(channel: Channel, code: int, properties: Properties) -> None:
    channel.send(encode(Auth(code, properties), 5))
    channel.broker.metrics.packets_auth_sent += 1


def _describe(channel: Channel, packet: Connect) -> None:
    """Fill the client info with what CONNECT says, before anything is checked; hooks see it like this."""
    info = channel.info
    info.proto_name = packet.proto_name
    info.proto_ver = packet.proto_ver
    info.is_bridge = packet.is_bridge
    info.clean_start = packet.clean_start
    info.keepalive = packet.keepalive
    info.clientid = packet.clientid
    info.username = packet.username
    info.properties = packet.properties


def _check_packet(channel: Channel, packet: Connect) -> int:
    """Packet checks of EMQX's step 3; the reason code of the first failure or 0."""
    zone = channel.zone
    if not packet.clientid and not packet.clean_start and packet.proto_ver != 5:  # [MQTT-3.1.3-8]
        return CLIENT_IDENTIFIER_NOT_VALID
    if not packet.clientid and packet.proto_ver == 3:  # MQTT 3.1 has no empty identifiers
        return CLIENT_IDENTIFIER_NOT_VALID
    if len(packet.clientid.encode("utf-8", "surrogatepass")) > zone.max_clientid_len:
        return CLIENT_IDENTIFIER_NOT_VALID
    properties = packet.properties
    if properties is not None:
        if properties.receive_maximum == 0 or properties.maximum_packet_size == 0:
            return PROTOCOL_ERROR
        if (properties.request_response_information or 0) > 1 or (properties.request_problem_information or 0) > 1:
            return PROTOCOL_ERROR
    return 0 if packet.will is None else _check_will(channel, packet.will)


def _check_will(channel: Channel, will: Will) -> int:
    zone = channel.zone
    if will.qos > zone.max_qos_allowed:  # [MQTT-3.2.2-12]
        return QOS_NOT_SUPPORTED
    if will.retain and not zone.retain_available:  # [MQTT-3.2.2-13]
        return RETAIN_NOT_SUPPORTED
    try:
        validate_topic(will.topic, zone.max_topic_levels, zone.max_topic_length)
    except ProtocolError:
        return TOPIC_NAME_INVALID
    properties = will.properties
    if properties is not None and properties.response_topic is not None:
        try:
            validate_topic(properties.response_topic)
        except ProtocolError:  # [MQTT-3.3.2-14]
            return PROTOCOL_ERROR
    return NOT_AUTHORIZED if will.topic.startswith("$SYS/") else 0


def _identify(channel: Channel, packet: Connect) -> int:
    """Who the client is: certificate before CONNECT, user name as client id where configured, or a generated id."""
    info = channel.info
    if channel.cert_username is not None:
        info.username = channel.cert_username
    if channel.zone.use_username_as_clientid:
        if not info.username:
            return CLIENT_IDENTIFIER_NOT_VALID
        info.clientid = info.username
    if channel.cert_clientid is not None:
        info.clientid = channel.cert_clientid
    if not info.clientid:
        info.clientid = "".join(secrets.choice(_BASE62) for _ in range(22))
    return 0


def _set_mountpoint(channel: Channel, from_backend: str | None) -> int:
    """Placeholders of the zone's (or the backend's) mountpoint; a name that would widen it is refused."""
    info = channel.info
    mountpoint = channel.zone.mountpoint if from_backend is None else from_backend
    if mountpoint:
        try:
            info.mountpoint = feed_mountpoint(mountpoint, info.clientid, info.username)
        except ValueError:
            return NOT_AUTHORIZED
    return 0


def _open(channel: Channel, auth: Properties | None) -> None:
    """Everything is allowed: take or create the session, answer, and send what was waiting."""
    broker = channel.broker
    packet = channel.connect
    if packet is None:
        return
    info = channel.info
    journal = broker.journal
    before = 0 if journal is None else journal.count
    info.connected_at = broker.now_ms
    info.expiry_interval = _expiry(channel, packet)
    info.receive_maximum = _window(channel, packet)
    if journal is not None and journal.failing and info.expiry_interval > 0:
        refuse_connect(channel, QUOTA_EXCEEDED)
        return
    channel.set_keepalive(_keepalive(channel, packet))
    channel.will = _will(channel, packet.will)
    channel.open_gates()
    session, present = broker.registry.open(channel, info)
    if session.ended:  # a hook has kicked the client
        channel.close(0, "kicked")
        return
    channel.session = session
    channel.began = not present
    channel.state = CONNECTED
    broker.registry.connected += 1
    broker.metrics.client_connected += 1
    hooks = broker.hooks
    if hooks.client_connected:
        hooks.notify(hooks.client_connected, "client_connected", info)
    if channel.session is not session:  # a hook has kicked the client
        return
    if journal is not None and (
        session.journal is not None or journal.count != before or info.clientid in journal.ending
    ):
        journal.gate(channel)
        channel.unconfirmed = journal.ticket
    send_connack(channel, 0, present, _connack_properties(channel, packet, auth) if channel.version == 5 else None)
    channel.connect = None
    if channel.closing:  # the client takes only packets smaller than our CONNACK
        return
    session.start(channel.out)


def _expiry(channel: Channel, packet: Connect) -> int:
    """Seconds the session lives without a connection. The zone's setting is for MQTT 3 clients only."""
    if packet.proto_ver == 5:
        properties = packet.properties
        return (properties.session_expiry_interval or 0) if properties is not None else 0
    return 0 if packet.clean_start else channel.zone.session_expiry_interval


def _window(channel: Channel, packet: Connect) -> int:
    """QoS 1 and 2 messages in flight: the smaller of the client's Receive Maximum and the zone's max_inflight."""
    limit = channel.zone.max_inflight or 65535
    properties = packet.properties
    if packet.proto_ver == 5 and properties is not None and properties.receive_maximum:
        return min(properties.receive_maximum, limit)
    return limit


def _keepalive(channel: Channel, packet: Connect) -> int:
    """Seconds the client may be silent: what it asked for, unless the zone sets another interval for MQTT 5."""
    if packet.proto_ver == 5 and channel.zone.server_keepalive:
        return channel.zone.server_keepalive
    return packet.keepalive


def _will(channel: Channel, will: Will | None) -> Message | None:
    """The will as a message, ready but for its time of publication."""
    if will is None:
        return None
    info = channel.info
    message = Message(will.topic, will.payload, will.qos, will.retain, info.clientid, will.properties)
    message.username = info.username
    message.peerhost = info.peerhost
    message.proto_ver = info.proto_ver
    return message


def _connack_properties(channel: Channel, packet: Connect, auth: Properties | None) -> Properties:
    """What MQTT 5 clients are told about this server [MQTT5 3.2.2.3]."""
    zone = channel.zone
    answer = auth if auth is not None else Properties()
    answer.retain_available = int(zone.retain_available)
    answer.maximum_packet_size = zone.max_packet_size
    answer.topic_alias_maximum = zone.max_topic_alias
    answer.wildcard_subscription_available = int(zone.wildcard_subscription)
    answer.subscription_identifier_available = 1
    answer.shared_subscription_available = int(zone.shared_subscription)
    if zone.max_awaiting_rel:
        answer.receive_maximum = min(zone.max_awaiting_rel, 65535)
    if zone.max_qos_allowed < 2:
        answer.maximum_qos = zone.max_qos_allowed
    if zone.server_keepalive:
        answer.server_keep_alive = zone.server_keepalive
    wants_response = packet.properties is not None and packet.properties.request_response_information
    if wants_response and zone.response_information:
        answer.response_information = zone.response_information
    if not packet.clientid:
        answer.assigned_client_identifier = channel.info.clientid
    return answer
