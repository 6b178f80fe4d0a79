"""A look inside the running broker: memory, the longest queues, the slowest hooks, tasks, the garbage collector.

Nothing is measured unless a command asks for it.
"""

from __future__ import annotations

import gc
import heapq
import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import trio

from trioemqx.plugin import CommandError, NoConfig, Plugin

STATUS: Final = Path("/proc/self/status")
MOST_LINES: Final = 1000
MOST_SECONDS: Final = 60
TASKS_AT_ONCE: Final = 2000
INSTEAD: Final = {
    "bin_leak": "recon gc, recon allocated",
    "node_stats": "recon memory, recon hooks, vm, broker stats",
    "proc_count": "recon queues, recon tasks",
    "remote_load": "plugins reload <Plugin>",
}
"""What is about the Erlang VM, and what to look at here."""


@attrs.define
class HookTime:
    """The calls of one plugin's hook at one point; times in seconds."""

    calls: int = 0
    total: float = 0.0
    longest: float = 0.0


class Recon(Plugin[NoConfig]):
    """The commands `recon ...`."""

    async def start(self) -> None:
        """Add the commands."""
        self._tracing = False
        for words, run, arguments, help in (
            ("memory", memory_lines, "", "Memory of the process"),
            ("allocated", self._allocated, "[<N>] [<Seconds>]", "Where memory is allocated in the next seconds"),
            ("queues", self._queues, "[<N>]", "Sessions with most messages waiting"),
            ("hooks", self._hooks, "[<N>] [<Seconds>]", "Slowest hooks of the next seconds"),
            ("tasks", self._tasks, "", "Number of Trio tasks by name"),
            ("gc", gc_lines, "", "State of the garbage collector"),
            ("gc collect", collect, "", "Collect all garbage now; everybody waits"),
        ):
            self.context.command(f"recon {words}", run, usage=f"recon {words} {arguments}".strip(), help=help)
        for word, other in INSTEAD.items():
            self.context.command(f"recon {word}", Instead(word, other), help=f"Of the Erlang VM; see {other}")

    def _queues(self, n: str = "10") -> list[str]:
        most = number(n, "N", MOST_LINES)
        waiting = (session for session in self.context.broker.queues() if session[1] or session[2])
        longest = heapq.nlargest(most, waiting, key=lambda session: (session[1], session[2]))
        lines = [f"{shown(name)}: queued={queued}, inflight={inflight}" for name, queued, inflight in longest]
        return lines or ["No messages are waiting"]

    async def _hooks(self, n: str = "10", seconds: str = "3") -> list[str]:
        most, length = number(n, "N", MOST_LINES), number(seconds, "Seconds", MOST_SECONDS)
        times: dict[tuple[str, str], HookTime] = {}

        def told(plugin: str, point: str, took: float) -> None:
            known = times.get((plugin, point))
            if known is None:
                known = times[plugin, point] = HookTime()
            known.calls += 1
            known.total += took
            known.longest = max(known.longest, took)

        handle = self.context.measure_hooks(told)
        try:
            await trio.sleep(length)
        finally:
            handle.close()
        slowest = sorted(times.items(), key=lambda item: -item[1].total)[:most]
        lines = [
            f"{plugin}.{point}: calls={found.calls}, total={found.total * 1000:.3f} ms, "
            f"mean={found.total / found.calls * 1000:.3f} ms, longest={found.longest * 1000:.3f} ms"
            for (plugin, point), found in slowest
        ]
        return lines or [f"No hook was called within {length} s"]

    async def _tasks(self) -> list[str]:
        names = await count_tasks()
        ranked = sorted(names.items(), key=lambda item: (-item[1], item[0]))
        return [f"tasks: {names.total()}", *(f"{name}: {count}" for name, count in ranked)]

    async def _allocated(self, n: str = "10", seconds: str = "3") -> list[str]:
        most, length = number(n, "N", MOST_LINES), number(seconds, "Seconds", MOST_SECONDS)
        if self._tracing or tracemalloc.is_tracing():
            raise CommandError("Error: allocations are being traced already")
        self._tracing = True
        tracemalloc.start()
        try:
            await trio.sleep(length)
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
            self._tracing = False
        found = await trio.to_thread.run_sync(snapshot.statistics, "lineno")
        lines = [f"{stat.traceback[0]}: size={stat.size}, count={stat.count}" for stat in found[:most]]
        total = f"allocated in {length} s and not freed: {sum(stat.size for stat in found)} bytes"
        return [total, *lines]


class Instead:
    """The command that stands for one of the Erlang VM."""

    def __init__(self, word: str, other: str) -> None:
        self._text = f"Error: recon {word} is about the Erlang VM, which is not here; see: {other}"

    def __call__(self, *arguments: str) -> None:
        """Fail."""
        raise CommandError(self._text)


def number(text: str, name: str, most: int) -> int:
    """An argument as a number from 1 to `most`. Raises CommandError."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise CommandError(f"Error: {name} is a number from 1 to {most}, not {text!r:.40}")
    return int(text)


def shown(name: str) -> str:
    """A client id as it is, or escaped when a terminal would take it for something else."""
    return name if name.isprintable() and name else repr(name)


def memory_lines() -> Iterator[str]:
    """`used` is what is resident, `allocated` the address space, each in bytes now and at its height; `usage` is their
    quotient and `unused` their difference."""
    used, allocated = resident(), address_space()
    rows: dict[str, list[int] | list[str]] = {
        "usage": [f"{part / whole if whole else 0:.4f}" for part, whole in zip(used, allocated, strict=True)],
        "used": used,
        "allocated": allocated,
        "unused": [max(0, whole - part) for part, whole in zip(used, allocated, strict=True)],
    }
    for name, values in rows.items():
        for moment, value in zip(("current", "max"), values, strict=True):
            yield f"{name + '/' + moment:<20}: {value}"


def resident() -> list[int]:
    """Bytes of resident memory, now and at its height."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return status("VmRSS", "VmHWM") or [peak, peak]


def address_space() -> list[int]:
    """Bytes of address space, now and at its height; 0 where the system does not tell."""
    return status("VmSize", "VmPeak") or [0, 0]


def status(*names: str) -> list[int]:
    """Values that Linux tells of this process, in bytes; empty elsewhere."""
    try:
        rows = dict(line.partition(":")[::2] for line in STATUS.read_text("ascii", "replace").splitlines())
        return [int(rows[name].split()[0]) * 1024 for name in names]
    except (OSError, KeyError, ValueError, IndexError):
        return []


def gc_lines() -> Iterator[str]:
    """How often each generation was collected, what was found, and what waits."""
    waiting, limits = gc.get_count(), gc.get_threshold()
    for generation, stats in enumerate(gc.get_stats()):
        yield (
            f"generation {generation}: waiting={waiting[generation]}, threshold={limits[generation]}, "
            f"collections={stats['collections']}, collected={stats['collected']}, "
            f"uncollectable={stats['uncollectable']}"
        )
    yield f"frozen: {gc.get_freeze_count()}"
    yield f"enabled: {'true' if gc.isenabled() else 'false'}"


def collect() -> str:
    """Collect everything, also what the broker keeps from being looked at."""
    began = time.perf_counter()
    frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    freed = gc.collect()
    if frozen:
        gc.freeze()
    return f"{freed} objects collected in {(time.perf_counter() - began) * 1000:.1f} ms"


async def count_tasks() -> Counter[str]:
    """The tasks of this run by name. Others run meanwhile when there are many, so it need not be true of one moment."""
    names: Counter[str] = Counter()
    root = trio.lowlevel.current_root_task()
    left = [root] if root is not None else []
    seen = 0
    while left:
        task = left.pop()
        names[task.name] += 1
        for nursery in task.child_nurseries:
            left.extend(nursery.child_tasks)
        seen += 1
        if seen % TASKS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return names


plugin = Recon
