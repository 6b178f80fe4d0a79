"""What everybody may ask of a node: publish, subscribe, kick, look at clients and figures, connect from inside."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from trioemqx.config.listener import ListenerConfig
from trioemqx.types import Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.cluster.engine import ClusterEngine
    from trioemqx.core.broker import Broker
    from trioemqx.core.session import Session
    from trioemqx.listeners.listener import Listener
    from trioemqx.listeners.manager import ListenerManager
    from trioemqx.services.stats import StatsKeeper


class Facade:
    """The node's own part of it is in `node`; what is here needs no more than these."""

    broker: Broker
    cluster: ClusterEngine
    listeners: ListenerManager
    stats_keeper: StatsKeeper
    started_at: float
    _connections: trio.Nursery | None
    _inside: dict[str, Listener]

    @property
    def node(self) -> str:
        """The node's name, `name@host`."""
        return self.broker.node

    @property
    def version(self) -> str:
        """The version of trioemqx."""
        return self.broker.version

    def now(self) -> float:
        """The broker's monotonic clock, in seconds."""
        return trio.current_time()

    def uptime(self) -> float:
        """Seconds since the node started."""
        return trio.current_time() - self.started_at

    def publish(self, message: Message) -> int:
        """Publish a message; returns the number of receivers. Raises ProtocolError for an invalid topic."""
        return self.broker.publish(message)

    def subscribe(self, clientid: str, filter: str, opts: SubOpts | None = None) -> int:
        """Subscribe a client on its behalf, also one whose session waits for it; returns the reason code."""
        return self.broker.subscribe(clientid, filter, opts or SubOpts())

    def unsubscribe(self, clientid: str, filter: str) -> int:
        """Remove a subscription of a client; returns the reason code."""
        return self.broker.unsubscribe(clientid, filter)

    def kick(self, clientid: str) -> bool:
        """End a client and its session; False when there is none."""
        return self.broker.kick(clientid)

    def clients(self) -> list[Session]:
        """All sessions, connected or waiting for their client."""
        return self.broker.clients()

    def find(self, clientid: str) -> Session | None:
        """One session."""
        return self.broker.find(clientid)

    @property
    def metrics(self) -> dict[str, int]:
        """Every counter by EMQX's name."""
        return self.broker.metrics.values()

    def stats(self) -> dict[str, int]:
        """Every gauge by EMQX's name, `.count` and `.max`."""
        return self.stats_keeper.snapshot()

    def nodes(self) -> dict[str, bool]:
        """The members of the cluster, and which of them run: this one."""
        return {self.node: True}

    async def members(self) -> AsyncGenerator[tuple[str, bool], None]:
        """(node, up) of the cluster's nodes, this one too, then of every change; never ends."""
        async with aclosing(self.cluster.members()) as events:
            async for event in events:
                yield event.node, event.up

    def dial(self, zone: str = "default", peer: str = "127.0.0.1") -> trio.SocketStream:
        """A connection to this broker from inside the process, without a port: speak MQTT on the stream. `peer` is the
        address the broker believes it comes from. KeyError for an unknown zone."""
        if self._connections is None:
            raise RuntimeError("the broker is not running")
        listener = self._inside.get(zone)
        if listener is None:
            listener = self._inside[zone] = self.listeners.make(
                ListenerConfig(kind="tcp", name="inside", zone=zone, max_connections=1_000_000)
            )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        listener.adopt(ours, ours.fileno(), peer, 0, "inside", 0, self._connections)
        self.broker.wake()
        return trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
