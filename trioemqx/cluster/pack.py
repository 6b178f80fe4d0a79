"""Packs of messages, as one node sends them to another.

A message travels as an MQTT 5 PUBLISH behind a small header with what PUBLISH has no field for: who published it, from
where, and when. The layout is fixed and says nothing about the sender's Python.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from trioemqx.codec.decode_publish import decode_publish
from trioemqx.codec.outgoing import publish_frame
from trioemqx.errors import MalformedPacket
from trioemqx.types import Message

_HEAD: Final = struct.Struct("!IBqHHH")
"""Size of what follows, flags, timestamp in ms, and the sizes of publisher, user name and peer host."""
_SYS: Final = 1
_HAS_USERNAME: Final = 2
MAX_MESSAGE: Final = 268435460 + 3 * 65535


def encode_pack(messages: Iterable[Message]) -> bytes:
    """Messages as one block of bytes."""
    return b"".join(part for message in messages for part in _encode(message))


def decode_pack(pack: bytes) -> Iterator[Message]:
    """The messages of a pack. Raises MalformedPacket when it is not one; the messages before that are good."""
    at = 0
    while at < len(pack):
        if at + _HEAD.size > len(pack):
            raise MalformedPacket("pack ends in a header")
        size, flags, timestamp, *sizes = _HEAD.unpack_from(pack, at)
        at += _HEAD.size
        if size > MAX_MESSAGE or at + size > len(pack) or sum(sizes) > size:
            raise MalformedPacket("pack ends in a message")
        yield _decode(pack[at : at + size], flags, timestamp, sizes)
        at += size


def _encode(message: Message) -> tuple[bytes, bytes]:
    names = [message.publisher.encode(), (message.username or "").encode(), message.peerhost.encode()]
    packet_id = 1 if message.qos else 0
    frame = publish_frame(
        message, True, message.qos, message.retain, False, packet_id, message.topic, message.properties
    )
    body = b"".join(names) + frame
    flags = (_SYS if message.sys else 0) | (_HAS_USERNAME if message.username is not None else 0)
    return _HEAD.pack(len(body), flags, message.timestamp, *map(len, names)), body


def _decode(body: bytes, flags: int, timestamp: int, sizes: list[int]) -> Message:
    names: list[str] = []
    at = 0
    try:
        for size in sizes:
            names.append(body[at : at + size].decode())
            at += size
    except UnicodeDecodeError as error:
        raise MalformedPacket(f"pack: {error}") from None
    packet = decode_publish(body[at:], 5)
    message = Message(packet.topic, packet.payload, packet.qos, packet.retain, names[0], packet.properties)
    message.timestamp = timestamp
    message.sys = bool(flags & _SYS)
    message.username = names[1] if flags & _HAS_USERNAME else None
    message.peerhost = names[2]
    return message
