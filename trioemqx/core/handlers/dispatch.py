"""Which handler takes which packet, outside the hot path: before CONNECT, control packets, and answered questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.control import Auth, Connect, Disconnect, Subscribe, Unsubscribe
from trioemqx.codec.decode import decode
from trioemqx.codec.decode_connect import connect_version
from trioemqx.codec.direction import check_from_client
from trioemqx.codec.packets import AUTH, CONNECT, DISCONNECT, Publish
from trioemqx.core.access import AUTHENTICATE, ENHANCED, AuthStep, Question
from trioemqx.core.handlers import connect, leave, publish, subscribe
from trioemqx.core.reasons import PROTOCOL_ERROR
from trioemqx.core.states import AUTHENTICATING, NEW
from trioemqx.errors import MalformedPacket, ProtocolError
from trioemqx.types import PUBLISH, Verdict

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel

CONTROL_WORK: Final = 20
"""What a CONNECT or SUBSCRIBE costs, about, in deliveries."""


def handle_early(channel: Channel, kind: int, frame: bytes) -> None:
    """Before CONNACK only CONNECT is allowed, and AUTH during enhanced authentication [MQTT-3.1.0-1]."""
    if channel.state == NEW and kind == CONNECT:
        channel.version = connect_version(frame) or channel.version
        packet = _decode(channel, frame)
        if isinstance(packet, Connect):
            connect.handle_connect(channel, packet)
        return
    if channel.state == AUTHENTICATING and (kind == AUTH or (kind == DISCONNECT and channel.auth_method)):
        packet = _decode(channel, frame)
        if isinstance(packet, Auth):
            connect.handle_auth(channel, packet)
        elif isinstance(packet, Disconnect):  # [MQTT-3.1.2-30]
            leave.handle_disconnect(channel, packet)
        return
    raise ProtocolError(PROTOCOL_ERROR, f"packet type {kind} before the connection is established")


def handle_control(channel: Channel, frame: bytes) -> None:
    """SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and AUTH of a connected client."""
    packet = _decode(channel, frame)
    if isinstance(packet, Subscribe):
        subscribe.handle_subscribe(channel, packet)
    elif isinstance(packet, Unsubscribe):
        subscribe.handle_unsubscribe(channel, packet)
    elif isinstance(packet, Disconnect):
        leave.handle_disconnect(channel, packet)
    elif isinstance(packet, Auth):
        connect.handle_auth(channel, packet)


def _decode(channel: Channel, frame: bytes) -> object:
    """A control packet a client may send, within the zone's limits on properties."""
    channel.broker.work += CONTROL_WORK
    zone = channel.zone
    packet = decode(frame, channel.version, channel.strict, zone.max_user_properties, zone.max_properties_size)
    check_from_client(packet)
    return packet


def check_pingreq(frame: bytes) -> None:
    """PINGREQ has no flags and no body."""
    if frame != b"\xc0\x00":
        raise MalformedPacket("PINGREQ with flags or a body")


def resume(channel: Channel, question: Question, parked: object, answer: object) -> None:
    """Continue the packet that waited for an answer of `services.access`."""
    if question.kind == AUTHENTICATE and isinstance(answer, Verdict):
        connect.authenticated(channel, answer)
    elif question.kind == ENHANCED and isinstance(answer, AuthStep):
        connect.enhanced_step(channel, answer)
    elif isinstance(answer, list):
        if question.action == PUBLISH and isinstance(parked, Publish):
            publish.resume_publish(channel, parked, question.topics[0], answer == [True])
        elif isinstance(parked, subscribe.Plan):
            subscribe.resume_subscribe(channel, parked, answer)
