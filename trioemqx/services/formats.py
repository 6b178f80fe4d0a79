"""How EMQX's API writes times and sizes."""

from __future__ import annotations

import time
from typing import Final

_UNITS: Final = ((1024**3, "G"), (1024**2, "M"), (1024, "K"))


def local_time(seconds: float) -> str:
    """`2020-02-19 15:27:24`, local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def uptime(seconds: float) -> str:
    """`1 days, 4 hours, 21 minutes, 19 seconds`, without leading zeros."""
    left = int(seconds)
    parts: list[str] = []
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return ", ".join(parts)


def memory(size: int) -> str | int:
    """`1.50G`, `96.75M`, `12.00K`, or the bare number of bytes."""
    for unit, letter in _UNITS:
        if size > unit:
            return f"{size / unit:.2f}{letter}"
    return size
