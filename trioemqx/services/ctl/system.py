"""`vm` and `mnesia`: the process and its storage, under the names that EMQX has for them.

What only the Erlang VM has (atoms, ETS tables, ...) is there, as 0, for whoever looks for it.
"""

from __future__ import annotations

import os
import resource
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import trio

from trioemqx.services.commands import Commands
from trioemqx.services.ctl.facade import CtlNode, Family
from trioemqx.services.monitor import TASK_LIMIT
from trioemqx.services.store.sqlite import SqliteStore

WIDTHS: Final = {"load": 20, "memory": 17, "process": 16, "io": 21, "ports": 16}
"""Groups of figures, in EMQX's order, and how wide it prints their names."""
PREFIXES: Final = {"load": "cpu"}
MEMORY: Final = ("total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets")

Figures = Mapping[str, int | float]


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    family = Family(commands, "vm")
    of = Machine(node)
    family.add("", of.all, help="Show info of the process, all of it", data=of.all_data)
    family.add("all", of.all, help="Show info of the process, all of it", data=of.all_data)
    for group, help in (
        ("load", "Show load of the machine"),
        ("memory", "Show memory of the process"),
        ("process", "Show number of tasks"),
        ("io", "Show file descriptors"),
        ("ports", "Show number of connections"),
    ):
        one = Group(of, group)
        family.add(group, one.lines, help=help, data=one.data)
    store = Storage(node)
    Family(commands, "mnesia").add("", store.lines, help="Show tables of the store", data=store.data)


class Machine:
    """Reads the figures."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node
        self._process = psutil.Process()

    async def all(self) -> list[str]:
        """The groups one after the other."""
        return [line for group in WIDTHS for line in lines(group, await self.figures(group))]

    async def all_data(self) -> dict[str, Figures]:
        """The same for programs, by group."""
        return {group: await self.figures(group) for group in WIDTHS}

    async def figures(self, group: str) -> Figures:
        """One group."""
        if group == "load":
            return dict(zip(("load1", "load5", "load15"), os.getloadavg(), strict=True))
        if group == "memory":
            traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
            known = {"total": self._process.memory_info().rss, "processes": traced, "processes_used": traced}
            return {name: known.get(name, 0) for name in MEMORY}
        if group == "process":
            return {"limit": TASK_LIMIT, "count": trio.lowlevel.current_statistics().tasks_living}
        if group == "ports":
            return {"count": len(self._node.broker.registry.channels), "limit": self._node.gate.max_connections}
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # In a thread: counting descriptors reads a directory with an entry for each.
        return {"max_fds": limit, "active_fds": await trio.to_thread.run_sync(self._process.num_fds)}


class Group:
    """One group of figures."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._name = name

    async def lines(self) -> list[str]:
        """As EMQX prints them."""
        return list(lines(self._name, await self._machine.figures(self._name)))

    async def data(self) -> Figures:
        """The same for programs."""
        return await self._machine.figures(self._name)


def lines(group: str, figures: Figures) -> Iterator[str]:
    """`memory/total            : 52428800`"""
    for name, value in figures.items():
        text = f"{value:.2f}" if isinstance(value, float) else str(value)
        yield f"{PREFIXES.get(group, group)}/{name:<{WIDTHS[group]}}: {text}"


class Storage:
    """What is in the store."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def lines(self) -> list[str]:
        """Rows by table, changes that wait for the disk, and the sizes of the files."""
        found = await self.data()
        return [
            *(f"table/{name:<30}: {count}" for name, count in found["tables"].items()),
            f"{'pending':<36}: {found['pending']}",
            *(f"file/{name:<31}: {size}" for name, size in found["files"].items()),
        ]

    async def data(self) -> dict[str, Any]:
        """The same for programs; sizes are bytes."""
        store = self._node.store
        path = store.path if isinstance(store, SqliteStore) else None
        files = {} if path is None else await trio.to_thread.run_sync(file_sizes, path)
        return {"tables": await store.counts(), "pending": store.pending(), "files": files}


def file_sizes(path: Path) -> dict[str, int]:
    """Bytes of a database and of what SQLite puts beside it, by name. Waits for the disk."""
    found = {}
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            found[path.name + suffix] = Path(f"{path}{suffix}").stat().st_size
    return found
