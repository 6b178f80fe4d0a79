"""Whatever bytes come, the decoder answers with a packet or a PacketError."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from packet_table import accepted, framed, refused

from trioemqx.codec.decode import decode
from trioemqx.codec.decode_connect import connect_version
from trioemqx.codec.encode import encode
from trioemqx.errors import PacketError

SEEDS = [frame for _, _, frame, _ in accepted()] + [frame for _, _, frame, _ in list(refused())[::20]]
CODES = {0x81, 0x82, 0x84, 0x90, 0x94, 0x97, 0xA1}


def try_to_decode(frame: bytes) -> int:
    """How many of the readings (version, strict) gave a packet; each packet can be written and read again."""
    read = 0
    for version in (3, 4, 5):
        for strict in (False, True):
            code = 0
            try:
                packet = decode(frame, version, strict)
            except PacketError as error:
                code = error.code
            if code:
                assert code in CODES, frame.hex()
            else:
                read += 1
                assert decode(encode(packet, version), version, strict) == packet
    return read


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes(data: bytes) -> None:
    try_to_decode(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 255), st.binary(max_size=80))
def test_random_bodies(first: int, body: bytes) -> None:
    try_to_decode(framed(first, body))


def test_mutated_packets() -> None:
    """Seeded: one to three bytes of a packet changed, removed or added, with a right remaining length or not."""
    chance = random.Random(20)
    read = 0
    for _ in range(8000):
        frame = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(frame))
            what = chance.randrange(4)
            if what == 0 and len(frame) > 1:
                del frame[at]
            elif what == 1:
                frame.insert(at, chance.choice((0, 1, 0x7F, 0x80, 0xFF)))
            elif what == 2:
                frame[at] ^= 1 << chance.randrange(8)
            else:
                frame[at] = chance.randrange(256)
        if len(frame) >= 2 and chance.random() < 0.7:
            frame = bytearray(framed(frame[0], bytes(frame[2:])))
        read += try_to_decode(bytes(frame))
        assert connect_version(bytes(frame)) in (0, 3, 4, 5)
    assert read > 1000, "some mutants are still packets, or nothing was tested"
