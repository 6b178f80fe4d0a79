"""`/trace`, as EMQX has it. Errors have words for codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from trioemqx.plugin import ApiError, Call, Download, Endpoint, Param, delete, get, post, put, schema

from ._trace_files import zip_of
from ._trace_model import TYPES, TraceError

if TYPE_CHECKING:
    from .emqx_mod_trace import TraceLogs

OF: Final = {"app": "emqx_modules", "group": "trace"}
LISTED: Final = {**OF, "listed": "/trace/"}
MOST: Final = 1024 * 1024
"""Bytes of a log in one answer, whatever is asked for: making JSON of them holds everybody up."""
PARAMS: Final = ("name", "type", *TYPES, "start_at", "end_at", "enable")
TRACE: Final = schema.record(
    {
        **schema.texts("name"),
        "type": schema.some(*TYPES),
        **schema.texts(*TYPES, "start_at", "end_at"),
        "status": schema.some("waiting", "running", "stopped"),
        "log_size": schema.table(schema.WHOLE),
    },
    optional=TYPES,
)
CREATED: Final = (
    Param("name", doc="Letters, digits, `-` and `_`, the first neither `-` nor `_`.", required=True),
    Param("type", enum=TYPES, doc="What the trace is about.", required=True),
    Param("clientid", doc="The client, when that is the type."),
    Param("topic", doc="The topic filter, when that is the type."),
    Param("ip_address", doc="The client's address, when that is the type."),
    Param("start_at", doc="RFC 3339; without it now."),
    Param("end_at", doc="RFC 3339; without it ten minutes after the start."),
    Param("enable", "boolean", "false: the trace does not run.", default=True),
)
LOG: Final = (
    Param("node", doc="Whose log; without it this node's."),
    Param("position", "integer", "Where to begin, in bytes: 0, or `position` of the last answer.", default=0),
    Param("bytes", "integer", f"How many to read; {MOST} at most come at once.", default=1000),
)
STOPPED: Final = schema.record({"enable": schema.FLAG, "name": schema.TEXT})
FILES: Final = schema.rows(schema.record({"node": schema.NODE, **schema.wholes("size", "mtime")}))
PIECE: Final = schema.record({"meta": schema.record(schema.wholes("position", "bytes")), "items": schema.TEXT})


class Api:
    """Translates requests for the module."""

    def __init__(self, traces: TraceLogs, node: str) -> None:
        self._traces = traces
        self._node = node

    def endpoints(self) -> tuple[Endpoint, ...]:
        """In EMQX's order."""
        lost, wrong = ("NOT_FOUND",), ("INCORRECT_PARAMS", "ALREADY_EXISTED", "DUPLICATE_CONDITION")
        return (
            get("/trace", self.listing, name="list_trace", descr="list all traces", data=schema.rows(TRACE), **LISTED),
            post("/trace", self.create, name="create_trace", descr="create trace", body=CREATED, codes=wrong, **LISTED),
            delete("/trace/{name}", self.delete, name="delete_trace", descr="delete trace", codes=lost, **OF),
            delete("/trace", self.clear, name="clear_trace", descr="clear all traces", **LISTED),
            put("/trace/{name}/stop", self.stop, name="disable_trace", descr="stop trace", data=STOPPED, codes=lost,
                **OF),
            get("/trace/{name}/detail", self.detail, name="trace_file_detail", descr="view trace file's detail",
                data=FILES, codes=lost, **OF),
            get("/trace/{name}/download", self.download, name="download_zip_log", descr="download trace's log",
                media="application/octet-stream", codes=lost, roles=(), **OF),
            get("/trace/{name}/log", self.log, name="stream_log_file", descr="download trace's log", query=LOG,
                data=PIECE, codes=(108, "INCORRECT_PARAMS", *lost), roles=(), **OF),
        )  # fmt: skip

    async def listing(self, call: Call) -> object:
        """All traces, the latest start first."""
        return await self._traces.listing()

    async def create(self, call: Call) -> None:
        """Add one."""
        await _in_words(self._traces.create)({name: call.get(name) for name in PARAMS if call.has(name)})

    async def delete(self, call: Call) -> None:
        """Remove one, and its log."""
        await _in_words(self._traces.delete)(call.args["name"])

    async def clear(self, call: Call) -> None:
        """Remove all."""
        await self._traces.clear()

    def stop(self, call: Call) -> object:
        """End one; its log stays."""
        try:
            return self._traces.disable(call.args["name"])
        except TraceError as error:
            raise _words(error) from None

    async def detail(self, call: Call) -> object:
        """Size and time of its log."""
        return await _in_words(self._traces.detail)(call.args["name"])

    async def download(self, call: Call) -> Download:
        """Its log in a zip."""
        name = call.args["name"]
        path = await _in_words(self._traces.download)(name)
        return Download(path, zip_of(name).rpartition("/")[2])

    async def log(self, call: Call) -> object:
        """A part of its log."""
        position, size = call.integer("position", 0), min(call.integer("bytes", 1000), MOST)
        if call.get("node", self._node) != self._node:
            raise ApiError("NOT_FOUND", "node not found")
        return await _in_words(self._traces.read)(call.args["name"], position, size)


def _words(error: TraceError) -> ApiError:
    return ApiError(error.code, str(error))


def _in_words(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose TraceError becomes an answer."""

    @wraps(method)
    async def call(*args: Any) -> Any:
        try:
            return await method(*args)
        except TraceError as error:
            raise _words(error) from None

    return call
