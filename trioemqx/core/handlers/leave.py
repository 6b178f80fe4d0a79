"""DISCONNECT from the client [MQTT5 3.14]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.codec.control import Disconnect
from trioemqx.core.reasons import PROTOCOL_ERROR
from trioemqx.errors import ProtocolError, reason_name

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel


def handle_disconnect(channel: Channel, packet: Disconnect) -> None:
    """Code 0 drops the will [MQTT-3.14.4-3]; any other keeps it. A new expiry replaces the session's."""
    channel.broker.metrics.packets_disconnect_received += 1
    session = channel.session
    properties = channel.info.said = packet.properties
    if session is not None and properties is not None and properties.session_expiry_interval is not None:
        if channel.info.expiry_interval == 0 and properties.session_expiry_interval > 0:  # [MQTT5 3.14.2.2.2]
            raise ProtocolError(PROTOCOL_ERROR, "DISCONNECT cannot give an expiry to a session that had none")
        session.expiry_interval = channel.info.expiry_interval = properties.session_expiry_interval
    if packet.code == 0:
        channel.will = None
    channel.close(0, "normal" if packet.code == 0 else reason_name(packet.code))
