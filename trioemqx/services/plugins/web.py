"""Endpoints of a plugin: in place while it is live, counted while they run, and their crashes are the plugin's."""

from __future__ import annotations

import time
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from attrs import evolve

from trioemqx.errors import TrioemqxError, crash_of
from trioemqx.hooks import SLOW
from trioemqx.services.plugins.handles import Handle, Host, Undo
from trioemqx.services.plugins.implementations import InProgress
from trioemqx.services.web import ApiError, Bare, Call, Endpoint, Page, Routes
from trioemqx.services.web.answers import UNKNOWN_ERROR
from trioemqx.services.web.endpoints import Handler

if TYPE_CHECKING:
    from trioemqx.services.plugins.context import Context

UNWIND: Final = 1.0
"""Seconds that a request has to let go once it is cut off."""


class HandlerCrashed(TrioemqxError):
    """A plugin's handler raised something that is no answer. It has been counted and logged."""


class HttpPart:
    """Endpoints of the plugin's own under `/api/v4`, there for as long as it is live."""

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host
        self._progress = InProgress()
        self._scopes: set[trio.CancelScope] = set()

    def serve(self, *endpoints: Endpoint) -> Handle:
        """Add endpoints (`trioemqx.plugin.get`, `post`, `put`, `delete`). Requests have proven who they are before a
        handler is called. One that raises anything but ApiError is answered with 500, and counts as a crash.

        Raises ValueError, at once when the plugin is live, when there is such an endpoint already: the broker's own, or
        another plugin's."""
        made = [self._owned(endpoint) for endpoint in endpoints]

        def acquire() -> Undo:
            routes = self._host.web_routes
            added: list[Endpoint] = []
            try:
                for endpoint in made:
                    routes.add(endpoint)
                    added.append(endpoint)
            except ValueError:
                _take_out(routes, added)
                raise
            return partial(_take_out, routes, added)

        return self._context.hold(acquire)

    async def finish(self, seconds: float) -> None:
        """Wait for the requests that are under way, at most so long; those that are left are cut off."""
        await self._progress.settle(seconds)
        for scope in self._scopes:
            scope.cancel()
        await self._progress.settle(UNWIND)

    def _owned(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, with a handler whose crashes are the plugin's."""
        handle = self._progress.counted(partial(self._call, endpoint.handle))
        app = endpoint.app if endpoint.app != "emqx_management" else self._context.name
        return evolve(endpoint, handle=handle, app=app, group=endpoint.group or self._context.name)

    async def _call(self, handle: Handler, call: Call) -> object:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                return _encoded(await self._answer(handle, call))
            except ApiError:
                raise
            except BaseException as caught:
                error = crash_of(caught)
                self._context._crashed(error)
                raise HandlerCrashed(f"an endpoint of {self._context.name} crashed") from error
            finally:
                self._scopes.discard(scope)
        raise ApiError(UNKNOWN_ERROR, f"{self._context.name} was stopped meanwhile", 503)

    async def _answer(self, handle: Handler, call: Call) -> object:
        began = time.perf_counter()
        found = handle(call)
        if isawaitable(found):
            return await found
        if (seconds := time.perf_counter() - began) > SLOW:
            self._host.hooks.on_slow(self._context.name, f"{call.method} {call.endpoint.path}", seconds)
        return found


def _encoded(found: object) -> object:
    """An answer with its data as JSON already: what cannot be JSON is the plugin's crash, and not the server's."""
    if isinstance(found, Page):
        rows: Any = msgspec.Raw(msgspec.json.encode(found.rows))
        return evolve(found, rows=rows)
    if isinstance(found, Bare):
        return Bare(msgspec.Raw(msgspec.json.encode(found.body)))
    if isinstance(found, dict | list | tuple | str | int | float):
        return msgspec.Raw(msgspec.json.encode(found))
    return found


def _take_out(routes: Routes, endpoints: list[Endpoint]) -> None:
    for endpoint in endpoints:
        routes.remove(endpoint)
