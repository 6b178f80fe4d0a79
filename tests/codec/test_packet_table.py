"""Every row of the packet table, each row cut short at every byte, and each with a byte too many."""

from __future__ import annotations

import pytest
from packet_table import CANONICAL, REFUSED, accepted, framed, refused

from trioemqx.codec import control, packets
from trioemqx.codec.control import Packet
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.errors import MalformedPacket, PacketError

# These end in bytes of any length, so no byte is one too many.
OPEN_ENDED = (packets.Publish, control.Suback, control.Unsuback)


def body_of(frame: bytes) -> bytes:
    at = 1
    while frame[at] & 0x80:
        at += 1
    return frame[at + 1 :]


def outcome_of(frame: bytes, version: int) -> Packet | int:
    """The packet, or the reason code of its refusal."""
    try:
        return decode(frame, version)
    except PacketError as error:
        return error.code


def test_the_table_is_there() -> None:
    assert len(REFUSED) > 1000
    assert len(list(refused())) > 3000
    kinds = {type(packet) for _, _, _, packet in CANONICAL}
    assert len(kinds) == 12, "one row at least for every packet class"


def test_refused_rows_are_refused_with_the_code_of_their_clause() -> None:
    wrong = []
    for clause, version, frame, code in refused():
        try:
            outcome: object = decode(frame, version)
        except PacketError as error:
            if error.code == code and isinstance(error, MalformedPacket) == (code == 0x81):
                continue
            outcome = error.code
        wrong.append((clause, version, frame.hex(" "), outcome, code))
    assert wrong == []


@pytest.mark.parametrize(
    ("version", "frame", "packet"), [pytest.param(v, f, p, id=f"{c} v{v}") for c, v, f, p in accepted()]
)
def test_legal_rows_are_read(version: int, frame: bytes, packet: Packet) -> None:
    assert decode(frame, version) == packet


def test_canonical_rows_are_written_the_same() -> None:
    for clause, version, frame, packet in accepted(canonical_only=True):
        assert encode(packet, version).hex(" ") == frame.hex(" "), clause


def test_legal_rows_cut_short_are_refused_or_a_shorter_legal_packet() -> None:
    """With the remaining length corrected, so that the frame is whole but its contents are not."""
    refusals = 0
    for clause, version, frame, _ in accepted(canonical_only=True):
        body = body_of(frame)
        for size in range(len(body)):
            cut = framed(frame[0], body[:size])
            outcome = outcome_of(cut, version)
            if isinstance(outcome, int):
                refusals += 1
                assert outcome in (0x81, 0x82), (clause, cut.hex(" "))
            elif isinstance(outcome, (packets.Ack, control.Disconnect)) and outcome.code == 0:
                assert len(cut) <= 5, "code 0 written out"
            else:
                # A PUBLISH stops in its payload, an acknowledgement after its code, a list after an item.
                assert encode(outcome, version) == cut, (clause, cut.hex(" "))
    assert refusals > 700


def test_legal_rows_whose_frame_is_incomplete_are_malformed() -> None:
    for clause, version, frame, _ in accepted():
        for size in range(len(frame)):
            with pytest.raises(MalformedPacket):
                decode(frame[:size], version)
            assert frame, clause


def test_legal_rows_with_a_byte_too_many_are_refused() -> None:
    tried = 0
    for clause, version, frame, packet in accepted(canonical_only=True):
        if isinstance(packet, OPEN_ENDED) or len(body_of(frame)) == 0 or (version == 5 and len(body_of(frame)) < 4):
            continue
        for extra in (b"\x00", b"\x7f", b"\xff"):
            tried += 1
            with pytest.raises(PacketError) as caught:
                decode(framed(frame[0], body_of(frame) + extra), version)
            assert caught.value.code in (0x81, 0x82), clause
    assert tried > 50


def test_every_version_reads_its_own_connect_whatever_it_is_told() -> None:
    for _, version, frame, packet in accepted():
        if isinstance(packet, control.Connect):
            assert all(decode(frame, other) == packet for other in (3, 4, 5))
            assert packet.proto_ver == version
