"""PUBLISH and the PUBACK family to bytes. Compiled."""

from __future__ import annotations

from trioemqx.codec.packets import PUBREL, Ack, Publish
from trioemqx.codec.properties import encode_properties
from trioemqx.codec.wire import write_u16, write_utf8, write_varint


def encode_publish(packet: Publish, version: int) -> bytes:
    """The whole frame, made anew from the fields; properties are left out below MQTT 5."""
    first = 0x30 | (8 if packet.dup else 0) | packet.qos << 1 | (1 if packet.retain else 0)
    head = write_utf8(packet.topic)
    if packet.qos:
        head += write_u16(packet.packet_id)
    if version >= 5:
        head += encode_properties(packet.properties)
    payload = packet.payload
    return bytes([first]) + write_varint(len(head) + len(payload)) + head + payload


def encode_ack(kind: int, packet_id: int, code: int, version: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP without properties; the two-byte form when `code` is 0 or below MQTT 5."""
    first = kind << 4 | 2 if kind == PUBREL else kind << 4
    if code == 0 or version < 5:
        return (first << 24 | 0x2_0000 | packet_id).to_bytes(4, "big")
    return (first << 32 | 0x300_0000 | packet_id << 8 | code).to_bytes(5, "big")


def encode_ack_packet(packet: Ack, version: int) -> bytes:
    """Like `encode_ack`, with the packet's properties."""
    if packet.properties is None or version < 5:
        return encode_ack(packet.kind, packet.packet_id, packet.code, version)
    block = encode_properties(packet.properties)
    first = packet.kind << 4 | 2 if packet.kind == PUBREL else packet.kind << 4
    body = write_u16(packet.packet_id) + bytes([packet.code]) + block
    return bytes([first]) + write_varint(len(body)) + body
