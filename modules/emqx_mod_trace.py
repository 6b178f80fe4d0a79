"""Log files for selected traffic: of a client, of an address, or of the topics of a filter.

While no trace is running there is no hook, so the broker works as if the module were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from trioemqx.plugin import ByteSize, Handle, Plugin, PluginError, SettingError

from . import _trace_files as files
from ._trace_api import Api
from ._trace_lines import Selection, Watcher
from ._trace_model import RUNNING, STOPPED, Trace, TraceError, checked_value, from_params, from_row, rfc3339, to_file
from ._trace_writer import TraceWriter

API = ">=1,<2"
DESCRIPTION = "EMQX Trace Module"

LOOK: Final = 10.0
"""Seconds after which the wall clock is looked at again, since it may be set."""
MOST_READ: Final = 10 * 1024 * 1024


@attrs.frozen
class Config:
    """`[module.trace]`. `max_payload` is what is shown of a payload; 0 = nothing."""

    max_traces: int = 30
    """Most traces at a time."""
    max_file_size: ByteSize = 128 * 1024 * 1024
    """Largest log of one trace."""
    max_payload: ByteSize = 1024
    """Bytes that are shown of a payload; 0 = nothing."""
    queue_size: int = 5000
    """Lines that may wait to be written."""

    def __attrs_post_init__(self) -> None:
        for name, least in (("max_traces", 1), ("max_file_size", 1024), ("max_payload", 0), ("queue_size", 1)):
            if getattr(self, name) < least:
                raise SettingError(f"expected {least} or more", name)


class TraceLogs(Plugin[Config]):
    """The traces of this node. Definitions are in the store, logs in `<node.data_dir>/trace`.

    A trace stops at its end, when it is told to, and when its log is full (`max_file_size`).
    """

    prefix = ("module.trace",)
    Error = TraceError
    """What the methods for the API raise."""

    async def start(self) -> None:
        """Read the definitions. Raises PluginError when the folder cannot be used."""
        context, config = self.context, self.config
        self._folder = context.node_data_dir / "trace"
        try:
            await trio.to_thread.run_sync(files.prepare, self._folder)
        except OSError as error:
            raise PluginError(f"{self._folder} cannot be used for logs of traces: {error.strerror or error}") from None
        self._traces: dict[str, Trace] = {}
        self._to_files: dict[tuple[str, str], Trace] = {}
        """Traces to files of the operator's choice, by type and value; they end with the broker."""
        self._running: list[Trace] = []
        self._hooks: Handle | None = None
        self._changed = trio.Event()
        limits = (config.queue_size, config.max_file_size)
        self._writer = TraceWriter(context, self._folder, *limits, self._alive, self._end)
        self._watcher = Watcher(self._writer.put, context.wall, config.max_payload)
        self._table = context.table("traces")
        async for name, row in self._table.rows():
            self._take(name, row)
        context.http.serve(*Api(self, context.broker.node).endpoints())
        self._settle()

    def _take(self, name: str, row: Mapping[str, Any]) -> None:
        try:
            self._traces[name] = from_row(name, row)
        except (TraceError, TypeError, ValueError) as error:
            self.log.error("a stored trace cannot be read and is left out: %.200r: %s", name, error)

    def export_state(self) -> object:
        """The definitions as they are now."""
        to_files = [(trace.type, trace.value, trace.path, trace.level) for trace in self._to_files.values()]
        return {"traces": {name: trace.row() for name, trace in self._traces.items()}, "to_files": to_files}

    def import_state(self, state: Any) -> None:
        """Instead of what `start` has read."""
        self._traces.clear()
        for name, row in state["traces"].items():
            self._take(name, row)
        for kind, value, path, level in state["to_files"]:
            trace = to_file(kind, value, path, level, self.context.wall())
            self._to_files[trace.type, trace.value] = trace
        self._settle()

    async def run(self) -> None:
        """Write, and start and stop traces in time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run)
            while True:
                self._changed = trio.Event()
                self._settle()
                with trio.move_on_after(self._pause()):
                    await self._changed.wait()

    async def stop(self) -> None:
        """Write what is left."""
        await self._writer.finish()

    # -- for the API -------------------------------------------------------------------------------------------------

    async def create(self, params: Mapping[str, object]) -> None:
        """Add a trace: `name`, `type` (`clientid`, `topic`, `ip_address`), the value under the name of the type,
        optional `start_at`, `end_at` (RFC 3339) and `enable`. Raises TraceError, with EMQX's codes and texts."""
        async with self._writer.lock:
            trace = from_params(params, self.context.wall())
            if trace.name in self._traces:
                raise TraceError("ALREADY_EXISTED", f"{trace.name}Already Exists")
            most = self.config.max_traces
            if len(self._traces) >= most:
                raise TraceError(
                    "INCORRECT_PARAMS", f"there are {most} traces already, no more are possible: delete one"
                )
            if trace.enable:
                self._check_single(trace)
            await self._writer.remove([trace.file])  # of an earlier trace of that name
            self._traces[trace.name] = trace
            self._save(trace)

    async def delete(self, name: str) -> None:
        """Remove a trace and its log. Raises TraceError NOT_FOUND."""
        trace = self._find(name)
        del self._traces[name]
        self._table.delete(name)
        self._tell()
        async with self._writer.lock:
            after = self._traces.get(name)  # somebody may have made another one meanwhile
            if after is None or after.file != trace.file:
                await self._writer.remove([trace.file])
            if after is None:
                await self._writer.remove([files.zip_of(name)])

    async def clear(self) -> None:
        """Remove all traces and their logs."""
        for name in list(self._traces):
            with suppress(TraceError):
                await self.delete(name)

    def disable(self, name: str) -> dict[str, object]:
        """Stop a trace; its log stays. Raises TraceError NOT_FOUND."""
        self._end(self._find(name))
        return {"name": name, "enable": False}

    def enable(self, name: str) -> dict[str, object]:
        """Have a trace that was stopped go on until its end. Raises TraceError NOT_FOUND, DUPLICATE_CONDITION, or
        INCORRECT_PARAMS when its end has passed."""
        trace = self._find(name)
        if self.context.wall() >= trace.end_at:
            raise TraceError("INCORRECT_PARAMS", f"{name} has finished")
        if not trace.enable:
            self._check_single(trace)
        trace.enable, trace.full = True, False
        self._save(trace)
        return {"name": name, "enable": True}

    async def listing(self) -> list[dict[str, Any]]:
        """All traces as EMQX shows them, the latest start first; `log_size` is in bytes, by node."""
        now, node = self.context.wall(), self.context.broker.node
        traces = sorted(self._traces.values(), key=lambda trace: -trace.start_at)
        found = await trio.to_thread.run_sync(files.look, self._folder, [trace.file for trace in traces])
        return [
            {
                "name": trace.name,
                "type": trace.type,
                trace.type: trace.value,
                "start_at": rfc3339(trace.start_at),
                "end_at": rfc3339(trace.end_at),
                "status": trace.status(now),
                "log_size": {node: found.get(trace.file, (0, 0))[0]},
            }
            for trace in traces
        ]

    async def detail(self, name: str) -> list[dict[str, object]]:
        """`node`, `size` in bytes and `mtime` in Unix seconds of a trace's log. Raises TraceError NOT_FOUND."""
        trace = self._find(name, "not_found")
        found = await trio.to_thread.run_sync(files.look, self._folder, [trace.file])
        size, changed = found.get(trace.file, (0, trace.start_at))
        return [{"node": self.context.broker.node, "size": size, "mtime": int(changed)}]

    async def read(self, name: str, position: int = 0, length: int = 1000) -> dict[str, object]:
        """A part of a trace's log: `items` is the text from `position` on, at most `length` bytes of it, "" at the end
        of the log; `meta.position` is where to go on. Raises TraceError."""
        trace = self._find(name, "not_found")
        if not (0 <= position < 1 << 62 and 1 <= length <= MOST_READ):
            raise TraceError("INCORRECT_PARAMS", f"position must be 0 or more, bytes a number from 1 to {MOST_READ}")
        try:
            data = await trio.to_thread.run_sync(files.read, self._folder / trace.file, position, length)
        except OSError as error:
            raise TraceError("NOT_FOUND", error.strerror or str(error)) from error
        text = data.decode("utf-8", "replace")
        return {"meta": {"position": position + len(data), "bytes": length}, "items": text}

    async def download(self, name: str) -> Path:
        """A zip of a trace's log; the file is replaced by the next download and goes with the trace. Raises
        TraceError."""
        trace = self._find(name, "not_found")
        inside = f"{self.context.broker.node}-{trace.file}"
        try:
            path = await trio.to_thread.run_sync(files.make_zip, self._folder, name, trace.file, inside)
        except OSError as error:
            raise TraceError("NOT_FOUND", error.strerror or str(error)) from error
        if not self._alive(trace):
            await trio.to_thread.run_sync(partial(path.unlink, missing_ok=True))
            raise TraceError("NOT_FOUND", "not_found")
        return path

    # -- to a file of the operator's choice --------------------------------------------------------------------------

    async def start_to_file(self, kind: str, value: str, path: str, level: str = "all") -> None:
        """Have lines of a level and above written to a file, until `stop_to_file`, the end of the broker, or
        `max_file_size`. Raises TraceError ALREADY_EXISTED, INCORRECT_PARAMS."""
        trace = to_file(kind, value, path, level, self.context.wall())
        if (trace.type, trace.value) in self._to_files:
            raise TraceError("ALREADY_EXISTED", "already_existed")
        if any(other.path == trace.path for other in self._to_files.values()):
            raise TraceError("INCORRECT_PARAMS", f"{trace.path} is that of another trace")
        if len(self._to_files) >= self.config.max_traces:
            raise TraceError("INCORRECT_PARAMS", f"there are {len(self._to_files)} traces already: stop one")
        self._to_files[trace.type, trace.value] = trace
        async with self._writer.lock:
            tried = await trio.to_thread.run_sync(files.append, self._folder, {trace.file: []}, 1 << 62)
        if tried[trace.file].error:
            del self._to_files[trace.type, trace.value]
            raise TraceError("INCORRECT_PARAMS", f"{trace.path} cannot be written: {tried[trace.file].error}")
        self._tell()

    def stop_to_file(self, kind: str, value: str) -> None:
        """End it; the file stays. Raises TraceError NOT_FOUND, INCORRECT_PARAMS."""
        if self._to_files.pop((kind, checked_value(kind, value)), None) is None:
            raise TraceError("NOT_FOUND", "not_found")
        self._tell()

    def to_files(self) -> list[dict[str, str]]:
        """`type`, the value under the name of the type, `level` and `destination` of each."""
        return [
            {"type": trace.type, trace.type: trace.value, "level": trace.level, "destination": trace.path}
            for trace in self._to_files.values()
        ]

    # -- which are running -------------------------------------------------------------------------------------------

    def _find(self, name: str, text: str = "") -> Trace:
        trace = self._traces.get(name)
        if trace is None:
            raise TraceError("NOT_FOUND", text or f"{name} NOT FOUND")
        return trace

    def _alive(self, trace: Trace) -> bool:
        return trace is (self._to_files.get((trace.type, trace.value)) if trace.path else self._traces.get(trace.name))

    def _check_single(self, trace: Trace) -> None:
        """No other one that is not over is about the same."""
        now = self.context.wall()
        for other in self._traces.values():
            if (other.type, other.value) == (trace.type, trace.value) and other.status(now) != STOPPED:
                raise TraceError("DUPLICATE_CONDITION", f"{other.name}Duplication Condition")

    def _end(self, trace: Trace) -> None:
        trace.enable = False
        if self._alive(trace):
            self._save(trace)

    def _save(self, trace: Trace) -> None:
        if not trace.path:
            self._table.put(trace.name, trace.row())
        self._tell()

    def _tell(self) -> None:
        self._settle()
        self._changed.set()

    def _settle(self) -> None:
        """Have hooks for what is running now, and none for nothing."""
        now = self.context.wall()
        everything = (*self._traces.values(), *self._to_files.values())
        running = [trace for trace in everything if trace.status(now) == RUNNING]
        if running == self._running:
            return
        self._running = running
        self._watcher.selection = Selection(running)
        if running and self._hooks is None:
            self._hooks = self.context.hooks(self._watcher)
        elif not running and self._hooks is not None:
            self._hooks.close()
            self._hooks = None

    def _pause(self) -> float:
        """Seconds until a trace starts or ends."""
        now = self.context.wall()
        times = [at for trace in self._traces.values() if trace.enable for at in (trace.start_at, trace.end_at)]
        return min([LOOK, *(at - now for at in times if at > now)]) if any(at > now for at in times) else float("inf")


plugin = TraceLogs
