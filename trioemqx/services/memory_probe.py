"""How much memory this process has, and how much it may have."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psutil
import trio

LIMIT_FILES: Final = {"": "memory.max", "memory": "memory.limit_in_bytes"}
"""Where a control group's limit is, by the controllers of its hierarchy: version 2 has none named, version 1 has."""
LOOK_AGAIN: Final = 60
"""Samples between two looks at the limit, which an operator may change."""


class MemoryProbe(Protocol):
    """Where the guard's figures come from; tests say what they like."""

    def used(self) -> int:
        """Resident bytes of this process."""
        ...

    def limit(self) -> int:
        """Bytes it may have."""
        ...

    async def give_back(self) -> None:
        """Return to the system what is free inside the process."""
        ...


class SystemMemory:
    """The real figures. The limit is the smallest of the machine's memory and the limits of the control groups that the
    process is in, from its own up to the root."""

    def __init__(self, cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> None:
        self._cgroups = cgroups
        self._own = own
        self._process = psutil.Process()
        self._threads = trio.CapacityLimiter(1)
        self._machine = self._limit = psutil.virtual_memory().total
        self._known = 0
        """Resident bytes at the last look."""
        self._age = 0

    def used(self) -> int:
        """Resident bytes; those of the last look while there is no descriptor to look with."""
        with suppress(OSError):
            self._known = self._process.memory_info().rss
        return self._known

    def limit(self) -> int:
        """Bytes; looked up now and then, if there is a descriptor to do so."""
        if self._age % LOOK_AGAIN == 0:
            with suppress(OSError):
                self._limit = min([self._machine, *self._group_limits()])
        self._age += 1
        return self._limit

    def _group_limits(self) -> list[int]:
        found = []
        if not self._own.exists():
            return []
        for line in self._own.read_text("utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers not in LIMIT_FILES:
                continue
            root = self._cgroups / controllers
            folder = root / group.lstrip("/")
            # In a container the group's own path often is not there, and its files are at the root.
            for place in [folder, *folder.parents]:
                if not place.is_relative_to(root):
                    break
                found.append(_number(place / LIMIT_FILES[controllers]))
        return [limit for limit in found if limit]

    async def give_back(self) -> None:
        """The allocator keeps what was freed, and then the process looks as full as it was at its worst. In a thread:
        with gigabytes it takes a while."""
        await trio.to_thread.run_sync(_trim, limiter=self._threads)


def _number(file: Path) -> int:
    """The limit in a file; 0 when there is none ("max", or no such file)."""
    try:
        return int(file.read_text("ascii"))
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return 0


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl and macOS have not
    if trim is not None:
        trim(0)
