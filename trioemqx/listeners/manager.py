"""All listeners of a node: open together or not at all, stop, restart, renew certificates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.errors import ListenerError, PacketError, ReasonCode
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.transport import LayerClosed
from trioemqx.services.log_format import of_client
from trioemqx.services.supervise import supervise

if TYPE_CHECKING:
    from trioemqx.config.listener import ListenerConfig
    from trioemqx.core.zone import Zone
    from trioemqx.listeners.gate import Gate
    from trioemqx.listeners.link import Link
    from trioemqx.listeners.pump import Pump
    from trioemqx.services.access import AccessService
    from trioemqx.services.supervise import Crashed

log = logging.getLogger("trioemqx.listeners")

ADMINISTRATIVE_ACTION: Final = ReasonCode.ADMINISTRATIVE_ACTION.value


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
        self._accepting: trio.Nursery | None = None
        self._connections: trio.Nursery | None = None
        self._on_crash: Crashed | None = None
        self._running: set[Listener] = set()
        """Listeners whose task lives; it goes on with the socket that a listener has got meanwhile."""
        self._stopped: set[str] = set()
        """Ids of listeners that an operator stopped: neither a crash nor a reload opens them again."""
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
        if self._accepting is not None:
            self._accepting.cancel_scope.cancel()
        for listener in self.listeners.values():
            listener.close()

    async def run(self, connections: trio.Nursery, on_crash: Crashed) -> None:
        """Accept on all listeners until cancelled. A listener that crashes is opened again; GaveUp when that does not
        help."""
        self._connections = connections
        self._on_crash = on_crash
        async with trio.open_nursery() as self._accepting:
            self._accepting.start_soon(trio.sleep_forever)
            for listener in self.listeners.values():
                self._start(listener)

    def _start(self, listener: Listener) -> None:
        """Have a task accept for a listener that is open. The one it has goes on with the new socket by itself."""
        if self._accepting is not None and listener not in self._running:
            self._running.add(listener)
            self._accepting.start_soon(self._run_one, listener)

    async def _run_one(self, listener: Listener) -> None:
        """Until the listener is closed; it then has no address."""
        connections, on_crash = self._connections, self._on_crash
        if connections is not None and on_crash is not None:
            await supervise(
                f"listener {listener.id}",
                partial(self._reopen_and_run, listener, connections),
                metrics=self._pump.broker.metrics,
                on_crash=on_crash,
            )

    async def _reopen_and_run(self, listener: Listener, connections: trio.Nursery) -> None:
        """A listener whose last run crashed has closed its socket."""
        wanted = self.listeners.get(listener.id) is listener and listener.id not in self._stopped
        if listener.port == 0 and wanted:
            listener.open()
        await listener.run(connections)
        self._running.discard(listener)  # in the step in which it ended: from here on a new task is needed

    def stop(self, name: str) -> None:
        """Stop listening until `restart`; the clients of the listener stay connected. KeyError for an unknown id,
        ListenerError when it is stopped already."""
        listener = self.listeners[name]
        if name in self._stopped:
            raise ListenerError("it is stopped already")
        self._stopped.add(name)
        listener.close()
        log.warning("%s: stopped", name)

    def restart(self, name: str) -> None:
        """Drop the connections of a listener and listen anew, with its certificates read again. KeyError for an unknown
        id; ListenerError when it cannot be opened: it is stopped then."""
        listener = self.listeners[name]
        self._stopped.discard(name)
        listener.close()
        self._drop_connections(listener)
        try:
            listener.open()
        except ListenerError:
            self._stopped.add(name)
            raise
        self._start(listener)
        log.warning("%s: restarted, listening on %s", name, listener.address)

    def stopped(self, name: str) -> bool:
        """True for a listener that `stop` has closed, or that `restart` could not open."""
        return name in self._stopped

    def update(self, configs: Sequence[ListenerConfig], zones: dict[str, Zone]) -> list[str]:
        """Have the listeners that are configured, with the settings and certificates that are: new ones are opened,
        those that are gone closed (with their clients), changed ones take their settings for connections made from now
        on. Returns a line per listener for which that failed; it stays as it was."""
        self._zones = zones
        wanted = {config.id: config for config in configs}
        problems = []
        for name in self.listeners.keys() - wanted.keys():
            self._remove(self.listeners.pop(name))
        for name, config in wanted.items():
            listener = self.listeners.get(name)
            try:
                if listener is None:
                    self._add(config)
                else:
                    listener.update(config, zones[config.zone])
            except ListenerError as error:
                kept = "it was not opened" if listener is None else "it keeps its old settings and certificates"
                problems.append(f"{error}; {kept}")
        return problems

    def _add(self, config: ListenerConfig) -> None:
        listener = self.make(config)
        listener.open()
        self.listeners[config.id] = listener
        self._start(listener)
        log.warning("%s: listening on %s", listener.id, listener.address)

    def _remove(self, listener: Listener) -> None:
        self._stopped.discard(listener.id)
        listener.close()
        self._drop_connections(listener)
        log.warning("%s: closed", listener.id)

    def _drop_connections(self, listener: Listener) -> None:
        self._pump.tell_time()
        for link in list(self._pump.turn.links.values()):
            if link.home is listener and link.channel is not None:
                link.channel.close(ADMINISTRATIVE_ACTION, "shutdown")
        self._pump.wake()

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
        extra=of_client(client),
    )
