"""Messages in segments. In threads: encoding takes time, and files have to be waited for."""

from __future__ import annotations

from pathlib import Path

from trioemqx.errors import PacketError
from trioemqx.services.bridge.item import Item
from trioemqx.services.bridge.segments import append, read


def store(path: Path, size: int, batch: list[Item], fsync: bool) -> tuple[int, list[Item]]:
    """Encode and append; those that no packet can hold are left out. Returns the size afterwards, and what is in the
    file now. Raises OSError."""
    records: list[bytes] = []
    written: list[Item] = []
    for item in batch:
        try:
            records.append(item.encode())
        except (ValueError, OverflowError):
            continue
        written.append(item)
    return (append(path, size, records, fsync) if records else size), written


def load(path: Path, at: int, end: int, limit: int) -> tuple[list[Item | None], int, bool]:
    """Read and decode; None stands for a record that is no message. Returns what `segments.read` does."""
    try:
        records, after, damaged = read(path, at, end, limit)
    except FileNotFoundError:
        return [], at, True
    items: list[Item | None] = []
    for record in records:
        try:
            items.append(Item.decode(record))
        except PacketError:
            items.append(None)
    return items, after, damaged
