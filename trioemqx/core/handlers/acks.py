"""PUBREC, PUBREL and PUBCOMP: the three that need an answer or touch both directions of QoS 2 [MQTT5 4.3.3]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.codec.encode import encode_ack
from trioemqx.codec.packets import PUBCOMP, PUBREC, PUBREL, Ack
from trioemqx.core.reasons import PACKET_IDENTIFIER_NOT_FOUND

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel


def handle_ack(channel: Channel, ack: Ack) -> None:
    """PUBREC and PUBCOMP acknowledge what we sent, PUBREL releases what the client sent."""
    session = channel.session
    if session is None:
        return
    metrics = channel.broker.metrics
    if ack.kind == PUBREC:
        metrics.packets_pubrec_received += 1
        code = session.pubrec(ack.packet_id, ack.code, ack.properties)
        if code >= 0:
            if session.journal is not None:
                session.journal.gate(channel)
            channel.send(encode_ack(PUBREL, ack.packet_id, code, channel.version))
            metrics.packets_pubrel_sent += 1
    elif ack.kind == PUBCOMP:
        metrics.packets_pubcomp_received += 1
        session.pubcomp(ack.packet_id)
    else:
        metrics.packets_pubrel_received += 1
        code = 0
        if session.awaiting_rel.pop(ack.packet_id, None) is None:
            metrics.packets_pubrel_missed += 1
            code = PACKET_IDENTIFIER_NOT_FOUND
        elif session.journal is not None:
            session.journal.released(session, ack.packet_id)
        if session.journal is not None:
            session.journal.gate(channel)
        channel.send(encode_ack(PUBCOMP, ack.packet_id, code, channel.version))
        metrics.packets_pubcomp_sent += 1
