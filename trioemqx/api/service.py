"""The HTTP API as a part of the node: its doors, opened before READY and closed last."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
import trio

from trioemqx.api.app import JSON, Answer, ApiApp
from trioemqx.api.auth import Doorkeeper
from trioemqx.api.front import Dashboard
from trioemqx.api.host import ApiHost
from trioemqx.api.pages import add_pages
from trioemqx.api.server import GRACE, HttpServer
from trioemqx.api.v4 import all_endpoints
from trioemqx.api.v4.shipped import SHIPPED
from trioemqx.services.alarms import API_CRASHING
from trioemqx.services.web import Routes

log = logging.getLogger("trioemqx.api")

CRASHES: Final = 5
"""Requests and connections that failed by a bug within a minute that raise the alarm `api_crashing`."""
WINDOW: Final = 60.0
"""Seconds without another one after which it is cleared."""


class ApiService:
    """All servers of the API."""

    def __init__(self, host: ApiHost) -> None:
        self.host = host
        self._crashes: list[float] = []
        routes = Routes(all_endpoints())
        _put_above(host.web_routes, routes)
        self.doors = doors = {
            "management": Doorkeeper(host.applications, trio.current_time, self._anywhere),
            "dashboard": Doorkeeper(host.dashboard_users, trio.current_time, self._anywhere),
        }
        self.dashboard = Dashboard(host)
        self.apps = {name: self._app(name, routes, door) for name, door in doors.items()}
        settings = host.config
        self.servers = [
            HttpServer(f"{scheme}:{name}", config, self._app(name, routes, doors[name]), self._crashed)
            for name, pair in (
                ("management", (settings.management.http, settings.management.https)),
                ("dashboard", (settings.dashboard.http, settings.dashboard.https)),
            )
            for scheme, config in zip(("http", "https"), pair, strict=True)
            if config.bind is not None
        ]
        if not host.plugins.built_in["emqx_dashboard"].active:
            self.turn_dashboard(False)

    def _app(self, listener: str, routes: Routes, door: Doorkeeper) -> ApiApp:
        app = ApiApp(self.host, listener, routes, door)
        app.on_crash = self._crashed
        app.absent = SHIPPED
        app.outside = {
            (b"status",): partial(status, self.host),
            (b"ready",): partial(ready, self.host),
        }
        add_pages(app)
        if listener == "dashboard":
            self.dashboard.put_on(app)
        return app

    def open(self) -> None:
        """Bind every address. Raises ListenerError, and nothing is left open then."""
        try:
            for server in self.servers:
                if not server.stopped:
                    server.open()
        except BaseException:
            self.close()
            raise

    def turn_dashboard(self, on: bool) -> None:
        """Open or close the dashboard's addresses. Raises ListenerError when one cannot be opened."""
        for server in self._of_dashboard():
            if on:
                server.open()
                server.restart()
            else:
                server.stop()

    def renew_dashboard(self) -> None:
        """Open the dashboard's addresses anew; requests under way may end."""
        for server in self._of_dashboard():
            server.restart()

    def _of_dashboard(self) -> list[HttpServer]:
        return [server for server in self.servers if server.id.endswith(":dashboard")]

    async def run(self) -> None:
        """Serve until `close` is called or the task is cancelled."""
        async with trio.open_nursery() as around:
            around.start_soon(self._watch)
            async with trio.open_nursery() as nursery:
                for server in self.servers:
                    nursery.start_soon(server.run)
            around.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await trio.sleep(1.0)
            self.settle()

    def settle(self) -> None:
        """Clear the alarm when nothing has failed for a while."""
        if self._crashes and trio.current_time() - self._crashes[-1] >= WINDOW:
            self._crashes.clear()
            self.host.alarms.deactivate(API_CRASHING)

    async def end(self) -> None:
        """Stop listening and wait until the requests under way have ended or been cut off."""
        self.close()
        with trio.move_on_after(GRACE + 2):
            while any(server.streams for server in self.servers):  # noqa: ASYNC110 - at most a few seconds, once
                await trio.sleep(0.02)

    def close(self) -> None:
        """Stop listening; requests under way may end."""
        for server in self.servers:
            server.close()

    def _anywhere(self) -> bool:
        return self.host.config.security.allow_default_credentials

    def _crashed(self, what: str, error: BaseException) -> None:
        """A bug in an endpoint or in a connection's code; several of them are an operator's business."""
        now = trio.current_time()
        self._crashes = [at for at in [*self._crashes, now] if now - at < WINDOW][-CRASHES:]
        self.host.broker.metrics.inc("api.request_crashed", 1)
        if len(self._crashes) >= CRASHES:
            self.host.alarms.activate(API_CRASHING, {"error": f"{what}: {type(error).__name__}: {error}"})


def _put_above(of_plugins: Routes, routes: Routes) -> None:
    """From now on no plugin can add what the broker has; those loaded before are told of in the log."""
    of_plugins.above = routes
    for endpoint in of_plugins.endpoints:
        if routes.find(endpoint.method, endpoint.parts) is not None:
            what = "%s %s of %s is never reached: the broker has such an endpoint"
            log.warning(what, endpoint.method, endpoint.path, endpoint.app)


def status(host: ApiHost, scope: Mapping[str, Any]) -> Answer:
    """`GET /status`: EMQX's two lines, or with `format=json` the same as JSON. 503 unless the broker serves."""
    code = 200 if host.ready else 503
    if b"format=json" in scope["query_string"].split(b"&"):
        body = {
            "node": host.node,
            "status": "started",
            "broker": "running" if host.ready else "not_running",
            "version": host.version,
            "uptime": int(host.uptime()),
        }
        return Answer(code, msgspec.json.encode(body), JSON)
    text = f"Node {host.node} is started\nemqx is {'running' if host.ready else 'not_running'}"
    return Answer(code, text.encode("utf-8"), "text/plain")


def ready(host: ApiHost, scope: Mapping[str, Any]) -> Answer:
    """`GET /ready`: 200 while clients are served, 503 while the broker starts or drains."""
    return Answer(200, b"ready", "text/plain") if host.ready else Answer(503, b"not ready", "text/plain")
