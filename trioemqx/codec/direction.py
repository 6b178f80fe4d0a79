"""What a packet format allows, but only from a server."""

from __future__ import annotations

from trioemqx.codec.codes import CLIENT_AUTH_CODES, CLIENT_DISCONNECT_CODES
from trioemqx.codec.control import Auth, Connack, Disconnect, Packet, Pingresp, Suback, Unsuback
from trioemqx.codec.packets import Publish
from trioemqx.errors import ProtocolError


def check_from_client(packet: Packet) -> None:
    """ProtocolError 0x82 for a packet that a client may not send [MQTT5 2.1.2]: a server's packet type, a Subscription
    Identifier in PUBLISH [MQTT-3.3.4-6], a server's reason code or a Server Reference in DISCONNECT [MQTT5 3.14.2],
    AUTH with "success" [MQTT5 3.15.2.1]."""
    if isinstance(packet, Publish):
        wrong = packet.properties is not None and packet.properties.subscription_identifier is not None
    elif isinstance(packet, Disconnect):
        refers = packet.properties is not None and packet.properties.server_reference is not None
        wrong = refers or packet.code not in CLIENT_DISCONNECT_CODES
    elif isinstance(packet, Auth):
        wrong = packet.code not in CLIENT_AUTH_CODES
    else:
        wrong = isinstance(packet, (Connack, Suback, Unsuback, Pingresp))
    if wrong:
        raise ProtocolError(0x82, f"{packet!r} may only come from a server")
