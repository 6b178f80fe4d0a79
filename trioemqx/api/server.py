"""Where the HTTP API listens: hypercorn's connections, each behind a guard, with limits and an end.

hypercorn's own server would end as a whole when one connection raises, and waits for ever for a client that does not
read (its sends are shielded). Here a connection that crashes is logged and closed, a send that makes no progress is cut
off, and what is left after the grace period is aborted.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from trioemqx.api.connection import Connection, TimedStream
from trioemqx.config.management import HttpListenerConfig, HttpsListenerConfig
from trioemqx.errors import ListenerError
from trioemqx.listeners.tlscontext import TlsSettings, build_context

log = logging.getLogger("trioemqx.api")

MAX_HEAD: Final = 16 * 1024
HANDSHAKE: Final = 15.0
GRACE: Final = 3.0
"""Seconds that requests have to end when the server does."""


@attrs.define(eq=False)
class HttpServer:
    """One listening address with its connections. `id` is EMQX's, `http:management`."""

    id: str
    config: HttpListenerConfig
    app: Any
    on_crash: Callable[[str, BaseException], None]
    sockets: list[socket.socket] = attrs.field(factory=list)
    streams: set[TimedStream] = attrs.field(factory=set)
    refused: int = 0
    """Connections beyond `max_clients`."""
    crashed: int = 0
    _tls: ssl.SSLContext | None = None
    _stop: trio.Event = attrs.field(factory=trio.Event)
    _again: trio.Event = attrs.field(factory=trio.Event)
    _ended: bool = False
    _accepting: bool = False

    def open(self) -> None:
        """Bind. Raises ListenerError with one line that names the setting."""
        bind = self.config.bind
        if bind is None or self.sockets:
            return
        self._tls = _context(self.id, self.config) if isinstance(self.config, HttpsListenerConfig) else None
        host = bind.host or ("::" if self.config.inet6 else "0.0.0.0")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self.config.ipv6_v6only))
            sock.bind((host, bind.port))
            sock.listen(self.config.backlog)
        except OSError as error:
            sock.close()
            raise ListenerError(f"{self.id}: cannot listen on {host}:{bind.port}: {error.strerror}") from None
        self.sockets = [sock]

    @property
    def port(self) -> int:
        """The port that is open; 0 when none is."""
        return int(self.sockets[0].getsockname()[1]) if self.sockets else 0

    @property
    def address(self) -> str:
        """`host:port` that is open."""
        host, port = self.sockets[0].getsockname()[:2] if self.sockets else ("", 0)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        """Stop listening until `restart`; requests under way have `GRACE` seconds."""
        self._again = trio.Event()
        self._stop.set()

    def restart(self) -> None:
        """End all connections, and listen again; also after `stop`."""
        self._stop.set()
        self._again.set()

    @property
    def stopped(self) -> bool:
        """True between `stop` and `restart`."""
        return self._stop.is_set() and not self._again.is_set()

    def close(self) -> None:
        """Stop listening for good; requests under way have `GRACE` seconds."""
        self._ended = True
        self._stop.set()
        self._again.set()
        if not self._accepting:  # else the task that accepts closes them, since nobody else may while it waits
            self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    async def run(self) -> None:
        """Serve until `close` is called or the task is cancelled."""
        while not self._ended and self.config.bind is not None:
            if not self.stopped:
                await self._serve()
            await self._again.wait()
            self._again, self._stop = trio.Event(), trio.Event()

    async def _serve(self) -> None:
        """Until somebody says stop."""
        self.open()
        settings = _hypercorn(self.config)
        app = ASGIWrapper(self.app)
        state: LifespanState = {}
        lifespan = Lifespan(app, settings, state)
        async with trio.open_nursery() as lives:
            await lives.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            context = WorkerContext(None)
            handler = partial(self._connection, app, settings, context, state)
            try:
                async with trio.open_nursery() as connections:
                    try:
                        await self._accept(handler, connections)
                        await context.terminated.set()
                        await self._drain()
                    finally:  # hypercorn shields what it sends: only a closed socket ends that
                        for stream in list(self.streams):
                            stream.abort()
                    connections.cancel_scope.cancel()
            finally:
                self._close_sockets()
            await lifespan.wait_for_shutdown()
            lives.cancel_scope.cancel()

    async def _accept(self, handler: Callable[[trio.SocketStream], Awaitable[None]], to: trio.Nursery) -> None:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self.sockets]
        self._accepting = True
        try:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=to))
                await self._stop.wait()
                accepting.cancel_scope.cancel()
        finally:
            self._accepting = False
            self._close_sockets()

    async def _drain(self) -> None:
        """Wait until the requests under way have been answered, `GRACE` seconds at most."""
        with trio.move_on_after(GRACE):
            while self.streams:  # noqa: ASYNC110 - at most a few seconds, once
                await trio.sleep(0.02)

    async def _connection(
        self,
        app: Any,
        settings: HypercornConfig,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        """One connection; nothing that happens here reaches another one."""
        timed = TimedStream(stream, self.config.send_timeout)
        if len(self.streams) >= self.config.max_clients:
            self.refused += 1
            timed.abort()
            return
        self.streams.add(timed)
        try:
            spoken: Any = timed
            if self._tls is not None:
                spoken = trio.SSLStream(timed, self._tls, server_side=True, https_compatible=True)
            await Connection(app, settings, context, ConnectionState(state.copy()), spoken)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            log.debug("%s: a client went away", self.id)
        except* Exception as group:
            self.crashed += 1
            log.error("%s: a connection crashed", self.id, exc_info=group)
            self.on_crash(self.id, group)
        finally:
            self.streams.discard(timed)
            timed.abort()


def _hypercorn(config: HttpListenerConfig) -> HypercornConfig:
    settings = HypercornConfig()
    settings.accesslog = None
    settings.errorlog = log
    settings.include_server_header = False
    settings.h11_max_incomplete_size = MAX_HEAD
    settings.keep_alive_max_requests = 1_000_000
    settings.ssl_handshake_timeout = HANDSHAKE
    settings.websocket_max_message_size = 1024**2
    settings.max_app_queue_size = 10
    return settings


def _context(name: str, config: HttpsListenerConfig) -> ssl.SSLContext:
    if not config.certfile or not config.keyfile:
        raise ListenerError(f"{name}: certfile and keyfile have to be set")
    settings = TlsSettings(
        certfile=config.certfile,
        keyfile=config.keyfile,
        key_password=config.key_password or "",
        cacertfile=config.cacertfile or "",
        verify=config.verify == "verify_peer",
        fail_if_no_peer_cert=config.fail_if_no_peer_cert,
        tls_versions=config.tls_versions,
        ciphers=config.ciphers,
    )
    try:
        context = build_context(settings)
    except ListenerError as error:
        raise ListenerError(f"{name}: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
