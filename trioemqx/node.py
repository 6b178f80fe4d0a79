"""One running broker: everything wired together, owned by one nursery.

`open_broker` is the way in, for the command line and for programs that embed a broker:

    async with trioemqx.open_broker({"allow_anonymous": True, "listener": {"tcp": {"mine": "127.0.0.1:0"}}}) as broker:
        ...

What it yields is the facade: publish, subscribe, kick, look at clients, metrics and stats.

What each part is told by the configuration is in `wiring`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from trioemqx.cluster.engine import ClusterEngine
from trioemqx.cluster.local import LocalEngine
from trioemqx.cluster.pack import encode_pack
from trioemqx.config.listener import ListenerConfig
from trioemqx.config.model import Config
from trioemqx.config.show import diff
from trioemqx.core.channel import Channel
from trioemqx.core.session import Session
from trioemqx.listeners.gate import Gate
from trioemqx.listeners.link import Link
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.manager import ListenerManager
from trioemqx.listeners.overload import Congestion, enforce_shutdown_policy
from trioemqx.listeners.pump import Pump
from trioemqx.services import sweeper, systopics
from trioemqx.services.access import AccessService
from trioemqx.services.alarms import Alarms
from trioemqx.services.banned import Banned
from trioemqx.services.flapping import Flapping, FlappingPolicy
from trioemqx.services.log_format import level_number
from trioemqx.services.loopwatch import LoopWatch
from trioemqx.services.monitor import Monitor, SystemProbe
from trioemqx.services.plugins import HookRegistry
from trioemqx.services.presence import NAME as PRESENCE
from trioemqx.services.presence import Presence
from trioemqx.services.stats import StatsKeeper
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.supervise import GaveUp, supervise
from trioemqx.types import ClientInfo, Message, SubOpts
from trioemqx.wiring import (
    alarm_settings,
    all_zones,
    apply_broker,
    log_crash,
    log_receiver_crash,
    log_refused,
    make_broker,
    max_connections,
    monitor_settings,
    prepare,
    presence_qos,
)

log = logging.getLogger("trioemqx.node")

DRAIN: Final = 5.0
"""Seconds connected clients get to take what is queued for their sockets when the node stops."""
SHUTTING_DOWN: Final = 0x8B


class Node:
    """The facade of one running broker. Made by `open_broker` only.

    `broker` is the synchronous core; `alarms`, `banned`, `hooks`, `listeners`, `store` and `cluster` are its services.
    """

    def __init__(self, config: Config, wall: Callable[[], float], in_memory: bool) -> None:
        self.config = config
        self.wall = wall
        self.started_at = trio.current_time()
        self.stopping = trio.Event()
        self.store = MemoryStore()
        self.hooks = HookRegistry()
        self.banned = Banned(self.store, self.kick, wall)
        policy = config.flapping_detect_policy
        self.flapping = Flapping(self.banned, FlappingPolicy(policy.count, policy.window, policy.ban), wall)
        self.access = AccessService(self.hooks.compiled, self.banned, self.flapping, wall)
        self.broker = make_broker(config, self.access)
        self.broker.hooks = self.hooks.compiled
        self.hooks.metrics = self.broker.metrics
        self.alarms = Alarms(
            config.node.name, self.store, self.publish, alarm_settings(config), wall=wall, now=trio.current_time
        )
        self.hooks.register(
            Presence(config.node.name, self.publish, self._wanted, presence_qos(config), wall), PRESENCE
        )
        self.stats_keeper = StatsKeeper(self.broker.gauges)
        self.pump = Pump(self.broker, wall)
        self.cluster: ClusterEngine = LocalEngine(config.node.name)
        self.broker.forward = lambda name, message: self.cluster.forward(name, encode_pack([message]))
        limits = config.limits
        self.gate = Gate(self.pump, max_connections(config), limits.max_unauthenticated, limits.max_connect_packet_size)
        self.listeners = ListenerManager(
            [] if in_memory else config.listeners, self.broker.zones, self.pump, self.access, self.gate
        )
        self.monitor = Monitor(self.alarms, SystemProbe(), monitor_settings(config))
        self.loop_watch = LoopWatch(self.publish, config.node.name, config.sysmon.long_schedule)
        self.congestion = Congestion(self.alarms)
        self._in_memory = in_memory
        self._connections: trio.Nursery | None = None
        self._services: trio.Nursery | None = None
        self._runs: dict[str, Callable[[], Awaitable[object]]] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._failure: BaseException | None = None
        self._pump_lives = True
        self._inside: dict[str, Listener] = {}
        self.pump.turn.crashed = log_crash
        self.broker.on_receiver_crash = log_receiver_crash
        self.broker.on_refused = log_refused
        self.broker.registry.on_session_end = self._count_session_end
        self.pump.tell_time()

    # -- what everybody may ask --------------------------------------------------------------------------------------

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
        """Subscribe a connected client on its behalf; returns the reason code."""
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

    # -- life --------------------------------------------------------------------------------------------------------

    def reload(self, config: Config | None = None) -> list[str]:
        """What SIGHUP does. Certificates are read again; with a new configuration, what can change while clients stay
        connected does: listeners are opened, closed and moved, zones and listener settings apply to connections made
        from now on, the rest at once.

        Returns a line for everything that could not be applied.
        """
        if config is None:
            return self.listeners.reload_certificates()
        changes = diff(self.config, config)
        problems = [f"{change.key}: needs a restart" for change in changes if not change.live]
        before, self.config = self.config, config
        self.broker.zones = all_zones(config)
        if not self._in_memory:
            problems += self.listeners.update(config.listeners, self.broker.zones)
        for zone, listener in list(self._inside.items()):
            if zone in self.broker.zones:
                listener.update(listener.config, self.broker.zones[zone])
        self._apply(before, config)
        return problems

    def _apply(self, before: Config, config: Config) -> None:
        """Settings of the whole node that change while it runs."""
        policy, limits = config.flapping_detect_policy, config.limits
        self.flapping.policy = FlappingPolicy(policy.count, policy.window, policy.ban)
        self.gate.max_connections = max_connections(config)
        self.gate.max_unauthenticated = limits.max_unauthenticated
        self.gate.max_connect_packet_size = limits.max_connect_packet_size
        self.alarms.settings = alarm_settings(config)
        self.monitor.settings = monitor_settings(config)
        self.loop_watch.threshold = config.sysmon.long_schedule
        apply_broker(self.broker, config)
        if config.log.effective_level != before.log.effective_level:
            logging.getLogger("trioemqx").setLevel(level_number(config.log.effective_level))
        if config.broker != before.broker:
            self._restart("sys_topics")
        if config.os_mon != before.os_mon or config.vm_mon != before.vm_mon:
            for name in ("monitor_cpu", "monitor_memory", "monitor_processes"):
                self._restart(name)

    def stop(self) -> None:
        """Ask the node to drain and end; `open_broker`'s block does the rest."""
        self.stopping.set()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """The nursery tree. Reports started once every listener is open. Raises GaveUp, after the drain, when something
        the broker cannot live without crashed too often."""
        try:
            async with trio.open_nursery() as root:
                await self.store.open()
                await self.banned.load()
                await self.alarms.load()
                try:
                    self.listeners.open()
                    await self._start(root)
                    task_status.started()
                    await self.stopping.wait()
                    await self._drain()
                finally:
                    root.cancel_scope.cancel()
                    self.listeners.close()
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                        await self.store.close()
        finally:
            self.pump.close()
        if self._failure is not None:
            raise self._failure

    async def _start(self, root: trio.Nursery) -> None:
        self._services = await root.start(_open_nursery)
        self._connections = await root.start(_open_nursery)
        root.start_soon(self._vital, "pump", partial(self._supervised, "pump", self.pump.run))
        accept = partial(self.listeners.run, self._connections, self._service_crashed)
        root.start_soon(self._vital, "listeners", accept)
        sweep = partial(sweeper.run, self.broker, self._check_link, self.congestion.settle)
        root.start_soon(self._vital, "sweeper", partial(self._supervised, "sweeper", sweep))
        topics = systopics.SysTopics(self, self.started_at, wall=self.wall, wanted=self._wanted)
        self._runs = {
            "wills": partial(sweeper.settle_wills, self.broker),
            "stats": self.stats_keeper.run,
            "banned": self.banned.run,
            "alarms": self.alarms.run,
            "sys_topics": lambda: topics.run(self.config.broker.sys_interval, self.config.broker.sys_heartbeat),
            "monitor_cpu": self.monitor.run_cpu,
            "monitor_memory": self.monitor.run_memory,
            "monitor_processes": self.monitor.run_processes,
            "loop_watch": self.loop_watch.run,
        }
        for name in self._runs:
            self._services.start_soon(self._service, name)

    async def _vital(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Something the broker cannot live without: when it gives up the node drains and ends."""
        try:
            await run()
        except* GaveUp as group:
            log.critical("%s gave up; the broker stops", name)
            self._failure = group
            self._pump_lives = self._pump_lives and name != "pump"
            self.stop()

    async def _service(self, name: str) -> None:
        """Something the broker can do without: when it gives up the alarm stays, and the broker lives."""
        with trio.CancelScope() as self._scopes[name]:
            try:
                await self._supervised(name, self._runs[name])
            except GaveUp as error:
                log.critical("%s; it stays off", error)

    def _restart(self, name: str) -> None:
        """End a service and start it with its new settings."""
        if self._services is not None and name in self._scopes:
            self._scopes[name].cancel()
            self._services.start_soon(self._service, name)

    async def _supervised(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        await supervise(
            name,
            run,
            metrics=self.broker.metrics,
            on_crash=self._service_crashed,
            on_recovered=self._service_recovered,
        )

    def _service_crashed(self, name: str, error: BaseException) -> None:
        self.alarms.activate(f"{name}_crashed", {"error": f"{type(error).__name__}: {error}"})

    def _service_recovered(self, name: str) -> None:
        if self.alarms.is_active(f"{name}_crashed"):
            self.alarms.deactivate(f"{name}_crashed")

    def _count_session_end(self, client: ClientInfo, reason: str) -> None:
        """The `shutdown_count` of a session that had outlived its connection."""
        listener = self.listeners.listeners.get(client.listener) or self._inside.get(client.zone)
        if listener is not None:
            listener.count_end(reason)

    def _check_link(self, channel: Channel) -> None:
        """The transport's part of the sweep."""
        link = channel.owner
        if not isinstance(link, Link):
            return
        self.pump.turn.check(link)
        if channel.zone.conn_congestion_alarm:
            self.congestion.check(link)
        if not channel.closing:
            enforce_shutdown_policy(link)

    def _wanted(self, topic: str) -> bool:
        return bool(self.broker.router.match(topic))

    async def _drain(self) -> None:
        """Stop accepting, tell MQTT 5 clients, let sockets take what is queued, then end every connection."""
        self.listeners.close()
        self.pump.tell_time()
        registry = self.broker.registry
        self.pump.turn.close_deadline = DRAIN
        for channel in list(registry.channels):
            channel.close(SHUTTING_DOWN, "shutdown")
        self.broker.wake()
        with trio.move_on_after(DRAIN if self._pump_lives else 0):
            while registry.channels:  # noqa: ASYNC110 - the core that empties it knows no events
                await trio.sleep(0.02)
        if self._connections is not None:
            self._connections.cancel_scope.cancel()


@asynccontextmanager
async def open_broker(
    config: Config | Mapping[str, object] | Path | None = None,
    *,
    wall: Callable[[], float] = time.time,
    in_memory: bool = False,
) -> AsyncIterator[Node]:
    """A running broker for the length of the block.

    `config` is a loaded `Config`, a nested mapping with the keys of `etc/emqx.toml`, a path to such a file, or None for
    EMQX's shipped values. `wall` gives seconds since 1970. With `in_memory` no listener is opened: clients connect
    through `trioemqx.testing`. Leaving the block drains: MQTT 5 clients get 0x8B and what is queued for them.

    Raises ConfigErrors and ListenerError before anything is open.
    """
    settings = prepare(config)
    node = Node(settings, wall, in_memory)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        try:
            yield node
        finally:
            node.stop()


async def _open_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A branch of the tree that others put tasks into."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        task_status.started(nursery)
