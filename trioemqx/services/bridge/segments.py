"""Files of a disk queue. Everything here waits for the disk, and runs in threads.

A segment is called `<number of its first record>.seg`. It begins with `MAGIC`; a record is its length, the CRC-32 of
its bytes, and its bytes. Records are numbered one by one across segments, so a record's number follows from its place.
The file `acked` holds the number of the last record that is settled, and its CRC-32.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

MAGIC: Final = b"tqueue1\n"
_HEAD: Final = struct.Struct(">II")
_ACK: Final = struct.Struct(">QI")
MAX_RECORD: Final = 268_500_000
"""A little more than the largest MQTT packet; a length above it is none."""
ACKED: Final = "acked"
_SCAN: Final = 1024 * 1024


@attrs.define(eq=False)
class Segment:
    """A file: the number of its first record, how many there are, and up to which byte it is good."""

    path: Path
    first: int
    count: int
    size: int

    @property
    def end(self) -> int:
        """The number after its last record."""
        return self.first + self.count


@attrs.frozen
class Recovered:
    """What `recover` found: segments that have unsettled records, oldest first; the last settled record; the number of
    the next one; bytes cut off."""

    segments: list[Segment]
    acked: int
    next_seq: int
    cut: int


def segment_path(folder: Path, first: int) -> Path:
    """The file whose first record has a number."""
    return folder / f"{first:020d}.seg"


def append(path: Path, size: int, records: Sequence[bytes], fsync: bool) -> int:
    """Write records behind byte `size` (0: a new file); returns the size afterwards. What an earlier, failed write left
    there is cut off first. Raises OSError; the file is good up to `size` then."""
    parts = [] if size else [MAGIC]
    for record in records:
        parts += [_HEAD.pack(len(record), zlib.crc32(record)), record]
    data = memoryview(b"".join(parts))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(handle, size)
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], size + written)
        if fsync:
            os.fsync(handle)
    finally:
        os.close(handle)
    if fsync and not size:
        _sync_folder(path.parent)
    return size + len(data)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path, at: int, end: int, limit: int) -> tuple[list[bytes], int, bool]:
    """Records from byte `at` on (0: from the beginning), about `limit` bytes and at least one. Returns them, the byte
    after them, and whether what follows, before `end`, is damaged. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if at == 0:
            if os.pread(handle, len(MAGIC), 0) != MAGIC:
                return [], 0, True
            at = len(MAGIC)
        data = os.pread(handle, min(limit, end - at), at)
        records, used, damaged = _records(data, end - at)
        if not records and not damaged and at < end:  # one that is longer than the limit
            length = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else 0
            records, used, damaged = _records(_pread(handle, _HEAD.size + length, at), end - at)
            damaged = damaged or not records
        return records, at + used, damaged
    finally:
        os.close(handle)


def _pread(handle: int, size: int, at: int) -> bytes:
    """All of it, also where the system gives pieces."""
    parts: list[bytes] = []
    while size > 0 and (part := os.pread(handle, min(size, _SCAN), at)):
        parts.append(part)
        size -= len(part)
        at += len(part)
    return b"".join(parts)


def _records(data: bytes, left: int) -> tuple[list[bytes], int, bool]:
    """Whole records at the beginning of `data`, the bytes they take, and whether the next one is damaged. `left` are
    the bytes there are in the file."""
    found: list[bytes] = []
    at = 0
    while at + _HEAD.size <= len(data):
        length, check = _HEAD.unpack_from(data, at)
        stop = at + _HEAD.size + length
        if length > MAX_RECORD or stop > left:
            return found, at, True
        if stop > len(data):
            break
        record = data[at + _HEAD.size : stop]
        if zlib.crc32(record) != check:
            return found, at, True
        found.append(record)
        at = stop
    return found, at, left - at < _HEAD.size and left != at


def recover(folder: Path) -> Recovered:
    """Look at a folder after a start, whatever end came before. The last segment is read through and cut at the first
    record that is not whole; settled segments are deleted. Raises OSError."""
    acked = read_acked(folder)
    names = (path.stem for path in folder.glob("*.seg"))
    firsts = sorted(int(name) for name in names if len(name) == 20 and name.isascii() and name.isdigit())
    segments: list[Segment] = []
    cut = 0
    for number, first in enumerate(firsts):
        path = segment_path(folder, first)
        size = path.stat().st_size
        if number + 1 < len(firsts):
            segments.append(Segment(path, first, firsts[number + 1] - first, size))
            continue
        count, good = _scan(path, size)
        cut = size - good
        segments.append(Segment(path, first, count, good))
    next_seq = max(acked + 1, segments[-1].end if segments else 1)
    kept = [segment for segment in segments if segment.count and segment.end > acked + 1]
    for segment in segments:
        if segment not in kept:
            segment.path.unlink()
        elif segment.size != segment.path.stat().st_size:
            os.truncate(segment.path, segment.size)
    return Recovered(kept, acked, next_seq, cut)


def _scan(path: Path, size: int) -> tuple[int, int]:
    """How many whole records a file begins with, and where they end."""
    count = at = 0
    while True:
        records, after, damaged = read(path, at, size, _SCAN)
        count += len(records)
        if damaged or not records or after == size:
            return count, after
        at = after


def write_acked(folder: Path, seq: int, fsync: bool) -> None:
    """Note the last settled record. Raises OSError."""
    number = _ACK.pack(seq, zlib.crc32(seq.to_bytes(8, "big")))
    handle = os.open(folder / ACKED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, number, 0)
        if fsync:
            os.fsync(handle)
    finally:
        os.close(handle)


def read_acked(folder: Path) -> int:
    """The last settled record; 0 when nobody knows, so that what there is is sent once more."""
    try:
        data = (folder / ACKED).read_bytes()
        seq, check = _ACK.unpack(data)
    except (OSError, struct.error):
        return 0
    return int(seq) if zlib.crc32(data[:8]) == check else 0


def remove_queue(folder: Path) -> None:
    """Remove the files of a queue, and its folder. Raises OSError when there is something else in it."""
    for path in folder.glob("*.seg"):
        if path.stem.isascii() and path.stem.isdigit():
            path.unlink()
    (folder / ACKED).unlink(missing_ok=True)
    folder.rmdir()


def unlink(paths: Sequence[Path]) -> None:
    """Delete files; one that is gone is."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
