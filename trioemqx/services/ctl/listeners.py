"""`listeners`: where clients connect, and how many have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trioemqx.errors import ListenerError
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, HttpServerLike, ListenerLike, shown
from trioemqx.services.plugins.commands import nearest

ORDER: Final = ("tcp", "ssl", "ws", "wss")


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Listeners(node)
    family = Family(commands, "listeners")
    family.add("", of.lines, help="List listeners", data=of.rows)
    family.add("stop", of.stop, "<Identifier>|<Proto> <Port>", "Stop a listener; its clients stay")
    family.add("restart", of.restart, "<Identifier>", "Restart a listener; its clients are disconnected")


class Listeners:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def open(self) -> list[ListenerLike]:
        """Those that have not been stopped, those of TCP and TLS first."""
        manager = self._node.listeners
        running = [listener for name, listener in manager.listeners.items() if not manager.stopped(name)]
        return sorted(running, key=lambda listener: ORDER.index(listener.config.kind))

    def lines(self) -> Iterator[str]:
        """The identifier, and five lines about each."""
        for listener in self.open():
            counts = ",".join(f"{{{reason},{count}}}" for reason, count in ended(listener).items())
            config = listener.config
            figures = (config.acceptors, config.max_connections, listener.current)
            yield from _block(listener.id, listener.address, *figures, counts)
        for server in self._http():
            figures = (server.config.acceptors, server.config.max_clients, len(server.streams))
            yield from _block(server.id, server.address, *figures, "")

    def rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them, all with their identifiers."""
        rows = [{**listener_row(listener), "identifier": listener.id} for listener in self.open()]
        return [*rows, *({**http_row(server), "identifier": server.id} for server in self._http())]

    def stop(self, word: str, port: str | None = None) -> str:
        """Stop one, by its identifier, or by its port or address after a word that does not matter."""
        name = word if port is None else self._at(port)
        listener = self._node.listeners.listeners.get(name)
        for server in self._http(word if port is None else f"{word}:{port}"):
            server.stop()
            return f"Stop {server.id} listener successfully."
        if listener is None:
            what = word if port is None else f"{word} {port}"
            raise CommandError(self._unknown(f"No such listener {shown(what)}", word))
        address = listener.address
        try:
            self._node.listeners.stop(name)
        except ListenerError as error:
            raise CommandError(f"Failed to stop {name} listener on {address}: {error}") from error
        return f"Stop {name} listener on {address} successfully."

    def restart(self, name: str) -> str:
        """Restart one."""
        for server in self._servers():
            if server.id == name:
                server.restart()
                return f"Restarted {name} listener successfully."
        if name not in self._node.listeners.listeners:
            raise CommandError(self._unknown(f"Failed to restart {shown(name)} listener: no_such_listener", name))
        try:
            self._node.listeners.restart(name)
        except ListenerError as error:
            raise CommandError(f"Failed to restart {name} listener: {error}") from error
        return f"Restarted {name} listener successfully."

    def _servers(self) -> Sequence[HttpServerLike]:
        return self._node.api.servers if self._node.api is not None else ()

    def _http(self, name: str = "") -> list[HttpServerLike]:
        """Those of the HTTP API that are open; with a name, or a name and a port, that one."""
        running = [server for server in self._servers() if not server.stopped]
        wanted = (name, name.rpartition(":")[0])
        return [server for server in running if not name or server.id in wanted]

    def _at(self, port: str) -> str:
        """The identifier of the listener on a port or address; "" when there is none."""
        for listener in self.open():
            if port in (str(listener.port), listener.address, str(listener.config.bind)):
                return listener.id
        return ""

    def _unknown(self, failure: str, name: str) -> str:
        hints = [f"Did you mean {close}?" for close in nearest(name, self._node.listeners.listeners)]
        return "\n".join([failure, *hints])


def ended(listener: ListenerLike) -> dict[str, int]:
    """How many connections ended for which reason. EMQX does not count those of WebSocket listeners here."""
    return {} if listener.config.websocket else dict(listener.shutdown_count)


def _block(name: str, address: str, acceptors: int, most: int, current: int, counts: str) -> Iterator[str]:
    yield name
    yield f"  listen_on       : {address}"
    yield f"  acceptors       : {acceptors}"
    yield f"  max_conns       : {most}"
    yield f"  current_conn    : {current}"
    yield f"  shutdown_count  : [{counts}]"


def http_row(server: HttpServerLike) -> dict[str, object]:
    """An address of the HTTP API as the HTTP API has it."""
    config = server.config
    return {
        "protocol": server.id,
        "listen_on": str(config.bind) if config.bind is not None and config.bind.port else server.address,
        "acceptors": config.acceptors,
        "max_conns": config.max_clients,
        "current_conns": len(server.streams),
        "shutdown_count": [],
    }


def listener_row(listener: ListenerLike) -> dict[str, object]:
    """A listener as the HTTP API has it."""
    config = listener.config
    row: dict[str, object] = {
        "protocol": f"mqtt:{config.kind}" + (f":{listener.port}" if config.websocket else ""),
        "listen_on": str(config.bind) if config.port else listener.address,
        "acceptors": config.acceptors,
        "max_conns": config.max_connections,
        "current_conns": listener.current,
        "shutdown_count": [ended(listener)] if ended(listener) else [],
    }
    return row if config.websocket else {**row, "identifier": listener.id}
