"""Packs: what goes in comes out, and damaged bytes are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.cluster.pack import decode_pack, encode_pack
from trioemqx.errors import PacketError
from trioemqx.types import Message, Properties

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=30)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    properties = None
    if draw(st.booleans()):
        properties = Properties()
        properties.user_property = [(draw(NAMES), draw(NAMES))]
        properties.message_expiry_interval = draw(st.integers(0, 2**32 - 1))
    message = Message(
        draw(NAMES),
        draw(st.binary(max_size=200)),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
        draw(NAMES),
        properties,
    )
    message.timestamp = draw(st.integers(0, 2**60))
    message.username = draw(st.none() | st.just("") | NAMES)
    message.peerhost = "192.0.2.7"
    message.sys = draw(st.booleans())
    return message


def meaning(message: Message) -> list[object]:
    return [
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.publisher,
        message.properties,
        message.timestamp,
        message.username,
        message.peerhost,
        message.sys,
    ]


@given(st.lists(messages(), max_size=5))
def test_a_pack_carries_everything(sent: list[Message]) -> None:
    assert [meaning(message) for message in decode_pack(encode_pack(sent))] == [meaning(message) for message in sent]


@given(messages(), st.integers(1, 20))
def test_a_cut_pack_is_refused(message: Message, missing: int) -> None:
    pack = encode_pack([message])
    with pytest.raises(PacketError):
        list(decode_pack(pack[:-missing]))


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_nothing_else(pack: bytes) -> None:
    try:
        found = list(decode_pack(pack))
    except PacketError:
        return
    assert all(message.qos in (0, 1, 2) for message in found)
