"""The framer gives the same frames however the stream was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_table import accepted, framed

from trioemqx.codec.framer import Framer
from trioemqx.errors import MalformedPacket

FRAMES = [frame for _, _, frame, _ in accepted()]
SIZES = [0, 1, 2, 125, 126, 127, 128, 129, 16382, 16383, 16384, 16385]


def drain(framer: Framer) -> list[bytes]:
    frames = []
    while (frame := framer.next_frame()) is not None:
        frames.append(frame)
    return frames


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 100_000])
def test_every_packet_of_the_table_in_chunks_of_one_size(size: int) -> None:
    stream = b"".join(FRAMES)
    framer = Framer(1 << 20)
    got = []
    for at in range(0, len(stream), size):
        framer.feed(stream[at : at + size])
        got += drain(framer)
    assert got == FRAMES
    assert framer.pending() == 0


def test_two_packets_cut_in_two_at_every_byte() -> None:
    frames = [framed(0x30, b"a" * 5), framed(0x32, b"b" * 200)]
    stream = b"".join(frames)
    for cut in range(len(stream) + 1):
        framer = Framer(1000)
        framer.feed(stream[:cut])
        got = drain(framer)
        assert framer.pending() == cut - sum(map(len, got))
        framer.feed(stream[cut:])
        assert got + drain(framer) == frames


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(SIZES), min_size=1, max_size=6),
    st.lists(st.integers(0, 20_000), max_size=12),
)
def test_any_chunking(sizes: list[int], cuts: list[int]) -> None:
    frames = [framed(0x30, bytes([i]) * size) for i, size in enumerate(sizes)]
    stream = b"".join(frames)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    framer = Framer(20_000)
    got = []
    for start, stop in pairwise(places):
        framer.feed(stream[start:stop])
        got += drain(framer)
    assert got == frames
    assert framer.pending() == 0


def test_feeding_twice_before_asking_loses_nothing() -> None:
    framer = Framer(1000)
    for frame in FRAMES[:20]:
        framer.feed(frame[:1])
        framer.feed(frame[1:])
        framer.feed(b"")
    assert drain(framer) == FRAMES[:20]


def test_a_chunk_that_is_one_frame_is_not_copied() -> None:
    frame = framed(0x30, b"x" * 500)
    framer = Framer(1000)
    framer.feed(frame)
    assert framer.next_frame() is frame
    assert framer.next_frame() is None


def test_limit_counts_the_whole_packet() -> None:
    for body in (10, 127, 128, 16383, 16384):
        frame = framed(0x30, b"x" * body)
        framer = Framer(len(frame))
        framer.feed(frame)
        assert framer.next_frame() == frame
        framer = Framer(len(frame) - 1)
        framer.feed(frame)
        with pytest.raises(MalformedPacket):
            framer.next_frame()


@pytest.mark.parametrize(
    "chunks", [["30ffffff7f"], ["30", "ff", "ff", "ff", "7f"], ["30ff", "ffff7f"], ["c000 30ffffff7f"]]
)
def test_too_large_is_known_from_the_fixed_header_alone(chunks: list[str]) -> None:
    framer = Framer(1 << 20)
    with pytest.raises(MalformedPacket) as caught:  # noqa: PT012 - the last chunk of each row raises
        for number, chunk in enumerate(chunks, 1):
            framer.feed(bytes.fromhex(chunk))
            drain(framer)
            assert number < len(chunks)
    assert (caught.value.code, caught.value.name) == (0x95, "frame_too_large")


@pytest.mark.parametrize(
    "chunks", [["3080808080"], ["30", "80", "80", "80", "80"], ["30ff", "ffff", "ff01"], ["1080808080"]]
)
def test_a_fifth_length_byte_is_malformed(chunks: list[str]) -> None:
    framer = Framer(1 << 30)
    with pytest.raises(MalformedPacket) as caught:  # noqa: PT012 - the last chunk of each row raises
        for number, chunk in enumerate(chunks, 1):
            framer.feed(bytes.fromhex(chunk))
            drain(framer)
            assert number < len(chunks)
    assert (caught.value.code, caught.value.name) == (0x81, "malformed_variable_byte_integer")


def test_the_limit_may_be_raised_while_a_packet_is_coming() -> None:
    frame = framed(0x30, b"x" * 500)
    framer = Framer(64)
    framer.feed(frame[:1])
    assert framer.next_frame() is None
    framer.limit = 1000
    framer.feed(frame[1:])
    assert framer.next_frame() == frame


def test_memory_grows_with_what_came_not_with_what_was_announced() -> None:
    framer = Framer(1 << 29)
    framer.feed(bytes.fromhex("30ffffff7f") + b"abc")
    assert framer.next_frame() is None
    assert framer.pending() == 8


def test_a_large_packet_in_very_small_chunks() -> None:
    """Quadratic work would take minutes here."""
    frame = framed(0x30, b"x" * 1_000_000)
    framer = Framer(1 << 21)
    asked = 0
    for at in range(0, len(frame), 10):
        framer.feed(frame[at : at + 10])
        found = framer.next_frame()
        asked += 1
        assert (found is None) == (at + 10 < len(frame))
    assert found == frame
    assert asked > 100_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 20))
def test_garbage_gives_frames_or_a_packet_error_and_every_byte_is_accounted_for(data: bytes, size: int) -> None:
    framer = Framer(100)
    got = []
    refusal = ""
    try:
        for at in range(0, len(data), size):
            framer.feed(data[at : at + size])
            got += drain(framer)
    except MalformedPacket as error:
        refusal = error.name
    assert data.startswith(b"".join(got))
    if refusal:
        assert refusal in ("frame_too_large", "malformed_variable_byte_integer")
    else:
        assert sum(map(len, got)) + framer.pending() == len(data)


def test_a_run_of_frames_with_one_head_is_taken_in_one_piece() -> None:
    like = [framed(0x30, b"\x00\x01t" + bytes([i])) for i in range(5)]
    framer = Framer(1000)
    framer.feed(b"".join([*like, framed(0x30, b"\x00\x01u" + b"x"), like[0]]))
    assert framer.next_frame() == like[0]
    assert framer.take_run(like[0][:5], 6, 2) == like[1] + like[2]
    assert framer.take_run(like[0][:5], 6, 0) == b""
    assert framer.take_run(like[0][:5], 6, 100) == like[3] + like[4]
    assert framer.take_run(like[0][:5], 6, 100) == b"", "the next frame has another topic"
    assert drain(framer) == [framed(0x30, b"\x00\x01u" + b"x"), like[0]]


def test_a_run_ends_before_an_unfinished_frame() -> None:
    frame = framed(0x30, b"\x00\x01tx")
    framer = Framer(1000)
    framer.feed(frame * 3 + frame[:-1])
    assert framer.next_frame() == frame
    assert framer.take_run(frame[:5], 6, 100) == frame * 2
    assert framer.next_frame() is None
    assert framer.take_run(frame[:5], 6, 100) == b"", "the rest waits"
    framer.feed(frame[-1:] + frame)
    assert drain(framer) == [frame, frame]
