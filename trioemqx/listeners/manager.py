"""All listeners of a node: open together or not at all, stop, restart, renew certificates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from trioemqx.errors import ListenerError, PacketError
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.transport import LayerClosed
from trioemqx.services.supervise import supervise

if TYPE_CHECKING:
    from trioemqx.config.listener import ListenerConfig
    from trioemqx.core.registry import Registry
    from trioemqx.core.zone import Zone
    from trioemqx.listeners.link import Link
    from trioemqx.listeners.pump import Pump
    from trioemqx.services.access import AccessService
    from trioemqx.services.supervise import Crashed

log = logging.getLogger("trioemqx.listeners")


class Gate:
    """The node's limits on sockets: all connections, and those that have not been accepted by a CONNECT yet."""

    def __init__(self, registry: Registry, max_connections: int, max_unauthenticated: int) -> None:
        self._registry = registry
        self.max_connections = max_connections
        self.max_unauthenticated = max_unauthenticated
        self.waited = 0
        """How often accepting paused because a limit was reached."""

    def open(self) -> bool:
        """True while another socket may be accepted."""
        registry = self._registry
        count = len(registry.channels)
        if count < self.max_connections and count - registry.connected < self.max_unauthenticated:
            return True
        self.waited += 1
        return False


class ListenerManager:
    """Owns the listeners by id and the nursery of all connections."""

    def __init__(
        self, configs: Sequence[ListenerConfig], zones: dict[str, Zone], pump: Pump, access: AccessService, gate: Gate
    ) -> None:
        self._zones = zones
        self._pump = pump
        self._access = access
        self._gate = gate
        self.listeners: dict[str, Listener] = {config.id: self.make(config) for config in configs}
        self._scopes: dict[str, trio.CancelScope] = {}
        pump.turn.ended = _tell_listener

    def make(self, config: ListenerConfig) -> Listener:
        """A listener that is not open yet. KeyError for an unknown zone."""
        return Listener(config, self._zones[config.zone], self._pump, self._access, self._gate)

    def open(self) -> None:
        """Bind every listener. When one fails those already open are closed again and ListenerError is raised."""
        try:
            for listener in self.listeners.values():
                listener.open()
        except ListenerError:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening everywhere; connections live on."""
        for scope in self._scopes.values():
            scope.cancel()
        for listener in self.listeners.values():
            listener.close()

    async def run(self, connections: trio.Nursery, on_crash: Crashed) -> None:
        """Accept on all listeners until cancelled. A listener that crashes is opened again."""
        async with trio.open_nursery() as nursery:
            for listener in self.listeners.values():
                nursery.start_soon(self._run_one, listener, connections, on_crash)

    async def _run_one(self, listener: Listener, connections: trio.Nursery, on_crash: Crashed) -> None:
        with trio.CancelScope() as scope:
            self._scopes[listener.id] = scope
            await supervise(
                f"listener {listener.id}",
                partial(_reopen_and_run, listener, connections),
                metrics=self._pump.broker.metrics,
                on_crash=on_crash,
            )

    def update(self, configs: Sequence[ListenerConfig], zones: dict[str, Zone]) -> list[str]:
        """Take new settings and certificates for connections made from now on; returns a line per listener that would
        have to be opened, closed or bound elsewhere, or that could not use them."""
        self._zones = zones
        wanted = {config.id: config for config in configs}
        problems = [
            f"{name}: needs a restart to be {'opened' if name in wanted else 'closed'}"
            for name in wanted.keys() ^ self.listeners.keys()
        ]
        for name, listener in self.listeners.items():
            config = wanted.get(name)
            if config is None:
                continue
            if config.bind != listener.config.bind:
                problems.append(f"{name}: needs a restart to listen on {config.bind}")
            try:
                listener.update(config, zones[config.zone])
            except ListenerError as error:
                problems.append(f"{error}; the listener keeps its old settings and certificates")
        return problems

    def reload_certificates(self) -> list[str]:
        """Read every listener's certificates again; returns one line per listener that had to keep its old ones."""
        problems = []
        for listener in self.listeners.values():
            try:
                listener.reload_certificates()
            except ListenerError as error:
                problems.append(str(error))
                log.error("certificates not reloaded: %s", error)
        return problems


async def _reopen_and_run(listener: Listener, connections: trio.Nursery) -> None:
    """A listener whose last run crashed has closed its socket."""
    if not listener.address or listener.port == 0:
        listener.open()
    await listener.run(connections)


def _tell_listener(link: Link, reason: str) -> None:
    home = link.home
    if isinstance(home, Listener):
        home.ended(reason, link.channel is not None and link.channel.kept)
    if log.isEnabledFor(logging.INFO):
        _log_end(link, reason)


def _log_end(link: Link, reason: str) -> None:
    """One line per connection; that of somebody who only looked whether the port is open is for debug."""
    client = link.channel.info if link.channel is not None else None
    ended = link.transport.ended if link.transport is not None else None
    detail = ""
    if isinstance(ended, LayerClosed | PacketError) and ended.text != ended.name:
        detail = f": {ended.text}"
    log.log(
        logging.INFO if detail or (client is not None and client.clientid) else logging.DEBUG,
        "connection closed: %s%s",
        reason,
        detail,
        extra={} if client is None else {"clientid": client.clientid, "peername": client.peername},
    )
