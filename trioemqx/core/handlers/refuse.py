"""How a connection that broke a rule is ended: what the client hears depends on its version and how far it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.codec.codes import CONNACK_CODES
from trioemqx.codec.control import Connack
from trioemqx.codec.encode import encode
from trioemqx.core.reasons import BAD_USERNAME_OR_PASSWORD, NOT_AUTHORIZED, UNSUPPORTED_PROTOCOL_VERSION
from trioemqx.core.states import CONNECTED
from trioemqx.errors import PacketError, connack_return_code, reason_name
from trioemqx.types import Properties

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel

LARGEST_PACKET: Final = 268_435_460


def refuse(channel: Channel, error: PacketError) -> None:
    """Answer an error of the client's and close: nothing before CONNECT, CONNACK while connecting, DISCONNECT after.

    An MQTT 3 client that breaks the protocol only sees the connection close [MQTT-4.8.0-1], except for the return
    codes CONNACK has.
    """
    told = channel.broker.on_refused
    if told is not None:
        told(channel.info, error)
    if channel.state == CONNECTED:
        channel.close(error.code, error.name)
        return
    if error.name == "unsupported_protocol_version":
        # The version of the answer is unknown to us; every client can read this one [MQTT-3.1.2-2].
        channel.send(b"\x20\x02\x00\x01")
        count_connack(channel, UNSUPPORTED_PROTOCOL_VERSION)
    elif channel.connect is not None or channel.version == 5:
        send_connack(channel, error.code, False, None)
    channel.close(0, error.name)


def refuse_connect(channel: Channel, code: int) -> None:
    """Refuse a well-formed CONNECT with a reason code. One that CONNACK may not carry, which is a hook's mistake, is
    sent as "not authorized"."""
    if code == 0 or code not in CONNACK_CODES:
        code = NOT_AUTHORIZED
    send_connack(channel, code, False, None)
    channel.close(0, reason_name(code))


def send_connack(channel: Channel, code: int, session_present: bool, properties: Properties | None) -> None:
    """Write the CONNACK after `client.connack` has seen it. MQTT 3 gets the return code that stands for `code`."""
    broker = channel.broker
    broker.metrics.client_connack += 1
    if broker.hooks.client_connack:
        properties = broker.hooks.run_client_connack(channel.info, reason_name(code), properties or Properties())
    v5 = channel.version == 5
    answer = Connack(session_present, code if v5 else connack_return_code(code), properties if v5 else None)
    frame = encode(answer, channel.version)
    limit = _largest(channel)
    if len(frame) > limit:
        frame = _without_defaults(answer)
        if len(frame) > limit:  # nothing may be sent that the client cannot take [MQTT-3.1.2-24]
            channel.close(0, "packet_too_large")
            return
    channel.send(frame)
    count_connack(channel, code)


def _largest(channel: Channel) -> int:
    """The client's Maximum Packet Size."""
    packet = channel.connect
    if packet is None or packet.properties is None or not packet.properties.maximum_packet_size:
        return LARGEST_PACKET
    return packet.properties.maximum_packet_size


def _without_defaults(answer: Connack) -> bytes:
    """The CONNACK without topic aliases and without what a client assumes anyway [MQTT5 3.2.2.3]."""
    properties = answer.properties
    if properties is not None:
        properties.topic_alias_maximum = None
        properties.subscription_identifier_available = None
        if properties.retain_available:
            properties.retain_available = None
        if properties.wildcard_subscription_available:
            properties.wildcard_subscription_available = None
        if properties.shared_subscription_available:
            properties.shared_subscription_available = None
    return encode(answer, 5)


def count_connack(channel: Channel, code: int) -> None:
    """CONNACK counters: sent, error, auth_error (bad credentials or not authorized)."""
    metrics = channel.broker.metrics
    metrics.packets_connack_sent += 1
    if code == 0:
        return
    metrics.packets_connack_error += 1
    if code in (BAD_USERNAME_OR_PASSWORD, NOT_AUTHORIZED) or (
        channel.version != 5 and connack_return_code(code) in (4, 5)
    ):
        metrics.packets_connack_auth_error += 1
