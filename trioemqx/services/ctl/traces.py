"""`trace` and `traces`: log files for selected traffic. Both are done by the module emqx_mod_trace.

`traces` are named, are stored, end by themselves and can be read through the HTTP API; a `trace` writes to a file of
the operator's choice until it is stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, shown

MODULE: Final = "emqx_mod_trace"
SECONDS: Final = "900"
"""What a trace takes when nothing else is said."""
MOST_DIGITS: Final = 9
WORDS: Final = {"client": "clientid"}
KINDS: Final = "client|topic|ip_address"


class TraceModule(Protocol):
    """What the commands need of the module."""

    @property
    def Error(self) -> type[Exception]:
        """What its methods raise."""

    async def create(self, params: Mapping[str, object]) -> None:
        """Add a named trace."""

    async def delete(self, name: str) -> None:
        """Remove one and its log."""

    def disable(self, name: str) -> dict[str, object]:
        """Stop one."""

    async def listing(self) -> list[dict[str, Any]]:
        """All of them."""

    async def start_to_file(self, kind: str, value: str, path: str, level: str = "all") -> None:
        """Write to a file."""

    def stop_to_file(self, kind: str, value: str) -> None:
        """End that."""

    def to_files(self) -> list[dict[str, str]]:
        """All of them."""


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Traces(node)
    family = Family(commands, "trace")
    family.add("list", of.to_files, help="List all traces to files", data=of.to_files_data)
    family.add("start", of.start_to_file, f"{KINDS} <Value> <File> [<Level>]", "Trace to a file")
    family.add("stop", of.stop_to_file, f"{KINDS} <Value>", "Stop tracing to a file")
    family = Family(commands, "traces")
    family.add("list", of.lines, help="List all cluster traces started", data=of.data)
    family.add("start", of.start, f"<Name> {KINDS} <Value> [<Seconds>]", "Start a cluster trace")
    family.add("stop", of.stop, "<Name>", "Stop a cluster trace")
    family.add("delete", of.delete, "<Name>", "Delete a cluster trace and its log")


class Traces:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def module(self) -> TraceModule:
        """The live module. Raises CommandError."""
        live = self._node.plugins.live.get(MODULE)
        if live is None:
            raise CommandError(f"[error] {MODULE} is not loaded; trioemqx ctl modules load {MODULE}")
        found: Any = live.instance
        return found  # type: ignore[no-any-return]

    # -- named ones --------------------------------------------------------------------------------------------------

    async def lines(self) -> list[str]:
        """`Trace(t1: clientid=c1, running, LogSize:#{'emqx@127.0.0.1' => 120})`"""
        shapes = []
        for found in await self.data():
            sizes = ", ".join(f"'{node}' => {size}" for node, size in found["log_size"].items())
            value = shown(found[found["type"]])
            shapes.append(f"Trace({found['name']}: {found['type']}={value}, {found['status']}, LogSize:#{{{sizes}}})")
        return shapes or ["Cluster Trace is empty"]

    async def data(self) -> list[dict[str, Any]]:
        """As the HTTP API has them."""
        return await self.module().listing()

    async def start(self, name: str, word: str, value: str, seconds: str = SECONDS) -> str:
        """Begin one, for 900 seconds or as long as said."""
        kind = WORDS.get(word, word)
        what = f"Cluster_trace {kind} {value} {name}"
        if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= MOST_DIGITS and int(seconds)):
            raise CommandError(f"[error] {what}: Seconds is a number above 0, not {seconds!r:.40}")
        end = datetime.fromtimestamp(int(self._node.wall()) + int(seconds), UTC).isoformat()
        module = self.module()
        try:
            await module.create({"name": name, "type": kind, kind: value, "end_at": end})
        except module.Error as error:
            raise CommandError(f"[error] {what}: {error}") from error
        return f"{what} successfully"

    def stop(self, name: str) -> str:
        """End one; its log stays."""
        module = self.module()
        try:
            module.disable(name)
        except module.Error as error:
            raise CommandError(f"[error] Stop cluster_trace {name}: {error}") from error
        return f"Stop cluster_trace {name} successfully"

    async def delete(self, name: str) -> str:
        """Remove one and its log."""
        module = self.module()
        try:
            await module.delete(name)
        except module.Error as error:
            raise CommandError(f"[error] Del cluster_trace {name}: {error}") from error
        return f"Del cluster_trace {name} successfully"

    # -- to a file ---------------------------------------------------------------------------------------------------

    def to_files(self) -> list[str]:
        """`Trace(clientid=c1, level=all, destination=/tmp/c1.log)`"""
        return [
            f"Trace({row['type']}={shown(row[row['type']])}, level={row['level']}, "
            f"destination={shown(row['destination'])})"
            for row in self.to_files_data()
        ]

    def to_files_data(self) -> list[dict[str, str]]:
        """The same for programs."""
        return self.module().to_files()

    async def start_to_file(self, word: str, value: str, path: str, level: str = "all") -> str:
        """Begin one; a relative path is below the broker's working directory."""
        kind = WORDS.get(word, word)
        module = self.module()
        try:
            await module.start_to_file(kind, value, path, level)
        except module.Error as error:
            raise CommandError(f"[error] trace {kind} {value}: {error}") from error
        return f"trace {kind} {value} successfully"

    def stop_to_file(self, word: str, value: str) -> str:
        """End one; the file stays."""
        kind = WORDS.get(word, word)
        module = self.module()
        try:
            module.stop_to_file(kind, value)
        except module.Error as error:
            raise CommandError(f"[error] stop tracing {kind} {value}: {error}") from error
        return f"stop tracing {kind} {value} successfully"
