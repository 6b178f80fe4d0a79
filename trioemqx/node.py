"""One running broker: everything wired together, owned by one nursery.

`open_broker` is the way in, for the command line and for programs that embed a broker:

    async with trioemqx.open_broker({"allow_anonymous": True, "listener": {"tcp": {"mine": "127.0.0.1:0"}}}) as broker:
        ...

What it yields is the facade: publish, subscribe, kick, look at clients, metrics and stats.

What each part is told by the configuration is in `wiring`. Long, because the tree of a node's tasks and the order in
which they start and end are one thing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from trioemqx import ending
from trioemqx.cluster.engine import ClusterEngine
from trioemqx.cluster.local import LocalEngine
from trioemqx.cluster.pack import encode_pack
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.model import Config
from trioemqx.config.show import diff
from trioemqx.core.channel import Channel
from trioemqx.errors import ConfigError, ListenerError
from trioemqx.facade import Facade
from trioemqx.listeners.gate import Gate
from trioemqx.listeners.limits import LimitWatch
from trioemqx.listeners.link import Link
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.manager import ListenerManager
from trioemqx.listeners.overload import Congestion, enforce_shutdown_policy
from trioemqx.listeners.pump import Pump
from trioemqx.listeners.shedding import Shedding
from trioemqx.rules import commands as rule_commands
from trioemqx.rules.engine import RuleEngine
from trioemqx.services import sweeper, systopics
from trioemqx.services.access import AccessService
from trioemqx.services.alarms import Alarms
from trioemqx.services.applications import Applications
from trioemqx.services.audit import AuditLog
from trioemqx.services.backup import Backup
from trioemqx.services.banned import Banned
from trioemqx.services.commands import Commands
from trioemqx.services.ctl import add_all
from trioemqx.services.ctlserver import CtlServer
from trioemqx.services.dashboard_users import DashboardUsers
from trioemqx.services.evict import Evictor
from trioemqx.services.flapping import Flapping
from trioemqx.services.http.egress import egress_of, enforce
from trioemqx.services.lag_guard import LagGuard
from trioemqx.services.loopwatch import LoopWatch
from trioemqx.services.memory_guard import MemoryGuard
from trioemqx.services.memory_probe import SystemMemory
from trioemqx.services.monitor import Monitor, SystemProbe
from trioemqx.services.overrides import Overrides
from trioemqx.services.plugins import HookRegistry
from trioemqx.services.plugins.errors import BadSettings
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.plugins.uploading import Uploading
from trioemqx.services.queue_watch import QueueWatch
from trioemqx.services.retained_store import RetainedStore
from trioemqx.services.stats import StatsKeeper
from trioemqx.services.store.protocol import Store, StoreError
from trioemqx.services.supervise import GaveUp, open_nursery, supervise
from trioemqx.services.web import Routes
from trioemqx.types import ClientInfo
from trioemqx.wiring import (
    alarm_settings,
    all_zones,
    apply_broker,
    apply_gate,
    apply_log_level,
    audit_settings,
    changed_services,
    flapping_policy,
    keep_commands,
    lag_settings,
    log_crash,
    log_receiver_crash,
    log_refused,
    make_broker,
    make_session_store,
    make_store,
    max_connections,
    memory_settings,
    monitor_settings,
    opened,
    prepare,
    watch_store,
    with_certificates,
)

if TYPE_CHECKING:
    from trioemqx.api.service import ApiService

log = logging.getLogger("trioemqx.node")


OF_THE_STORE: Final = frozenset({"session_store", "retained_store", "queue_pager"})
"""Services without which what waits on disk stays there, and nothing is accepted again after the disk has failed."""


class Node(Facade):
    """One running broker, and the way to it for everybody else. Made by `open_broker` only.

    `broker` is the synchronous core; `alarms`, `banned`, `hooks`, `plugins`, `rules`, `commands`, `listeners`, `store`
    and `cluster` are its services. `data_dir` is where it writes.
    """

    def __init__(self, config: Config, wall: Callable[[], float], in_memory: bool) -> None:
        self.config = self.started_config = config
        self.wall = wall
        self.started_at = trio.current_time()
        self.stopping = trio.Event()
        self.store: Store = make_store(config, in_memory)
        self.hooks = HookRegistry()
        self.banned = Banned(self.store, self.kick, wall)
        self.flapping = Flapping(self.banned, flapping_policy(config), wall)
        self.access = AccessService(self.hooks.compiled, self.banned, self.flapping, wall)
        self.broker = make_broker(config, self.access)
        self.evictor = Evictor(self.banned, self.broker)
        self.retained_store = RetainedStore(self.broker, self.store, wall)
        self.session_store = make_session_store(config, self.broker, self.store, self.retained_store, wall)
        self.broker.hooks = self.hooks.compiled
        self.hooks.metrics = self.broker.metrics
        self.alarms = Alarms(
            config.node.name, self.store, self.publish, alarm_settings(config), wall=wall, now=trio.current_time
        )
        self.broker.retaining = 0  # until the plugin emqx_retainer wants it
        self.audit = AuditLog(self.store, audit_settings(config), wall=wall)
        self.applications = Applications(self.store, wall)
        self.dashboard_users = DashboardUsers(self.store)
        self.web_routes = Routes()
        self.api: ApiService | None = None
        self._opening_api = trio.Lock()
        enforce(egress_of(config))
        self.ready = False
        self.gauges: dict[str, Callable[[], int]] = {}
        self.commands = Commands()
        self.commands.on_end = self.audit.record_command
        keep_commands(self.commands, self.store)
        self.data_dir = Path(config.node.data_dir)
        self.rules = RuleEngine(self)
        self.gauges["resources"] = lambda: len(self.rules.resources)
        self.plugins = PluginManager(self, self.hooks, config, inline=in_memory)
        self.uploading = Uploading(self.plugins)
        engine, dashboard = self.plugins.built_in["emqx_rule_engine"], self.plugins.built_in["emqx_dashboard"]
        engine.turn = self.rules.switch
        dashboard.turn, dashboard.renew = self._turn_dashboard, self._renew_dashboard
        for part in self.plugins.built_in.values():
            part.read = self._read_again
        self.overrides = Overrides(self)
        self.backup = Backup(self)
        add_all(self.commands, self)
        rule_commands.add_to(self.commands, self.rules)
        self.stats_keeper = StatsKeeper(self._gauges)
        self.pump = Pump(self.broker, wall)
        self.pump.commit = self.session_store.commit
        self.cluster: ClusterEngine = LocalEngine(config.node.name)
        self.broker.forward = lambda name, message: self.cluster.forward(name, encode_pack([message]))
        limits = config.limits
        self.gate = Gate(self.pump, max_connections(config), limits.max_unauthenticated, limits.max_connect_packet_size)
        apply_gate(self.gate, config)
        self.listeners = ListenerManager(
            [] if in_memory else config.listeners, self.broker.zones, self.pump, self.access, self.gate
        )
        self.monitor = Monitor(self.alarms, SystemProbe(), monitor_settings(config))
        self.loop_watch = LoopWatch(self.publish, config.node.name, config.sysmon.long_schedule)
        self.congestion = Congestion(self.alarms)
        self.limit_watch = LimitWatch(self.alarms, self.gate, self.listeners, config.overload.descriptor_reserve)
        self.memory_guard = MemoryGuard(self.alarms, SystemMemory(), Shedding(self.pump), memory_settings(config))
        self.lag_guard = LagGuard(self.alarms, self.broker.pressure, lag_settings(config))
        self.queue_watch = QueueWatch(self.alarms, self.broker, config.overload.queue_alarms)
        self._in_memory = in_memory
        self._connections: trio.Nursery | None = None
        self._services: trio.Nursery | None = None
        self._runs: dict[str, Callable[[], Awaitable[object]]] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self.failure: BaseException | None = None
        self.pump_lives = True
        self._saving = False
        self._saved = trio.Event()
        self._inside: dict[str, Listener] = {}
        self.pump.turn.crashed = log_crash
        self.broker.on_receiver_crash = log_receiver_crash
        self.broker.on_refused = log_refused
        self.broker.registry.on_session_end = self._count_session_end
        self.pump.tell_time()

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
        problems += self._take(config)
        if self._services is not None:
            self._services.start_soon(self._configure_plugins, config)
        return problems

    def read_config(self, saved: Mapping[str, object]) -> Config:
        """The configuration under other saved overrides. Raises ConfigErrors and ListenerError."""
        if self.config.source is None:
            raise ConfigErrors(
                [ConfigError("was made by a program, which alone can change it", source="configuration")]
            )
        return with_certificates(self.config.source(saved))

    async def _read_again(self) -> None:
        """Have a part of the broker that is reloaded take its settings: they are in one file with all others, so this
        is what SIGHUP does. Raises BadSettings and changes nothing when the file has mistakes."""
        if self.config.source is None:  # made by a program, which alone can change it
            return
        try:
            config = await trio.to_thread.run_sync(self.read_config, self.config.saved)
        except (ConfigErrors, ListenerError) as error:
            raise BadSettings(str(error)) from error
        for line in self.reload(config):
            log.warning("reload: %s", line)

    async def apply(self, config: Config) -> list[str]:
        """As `reload`, and plugins have taken their settings."""
        return [*self._take(config), *await self.plugins.configure(config)]

    def _take(self, config: Config) -> list[str]:
        """A new configuration, but for the plugins' part of it."""
        problems: list[str] = []
        before, self.config = self.config, config
        self.broker.zones = all_zones(config)
        if not self._in_memory:
            problems += self.listeners.update(config.listeners, self.broker.zones)
        for zone, listener in list(self._inside.items()):
            if zone in self.broker.zones:
                listener.update(listener.config, self.broker.zones[zone])
        self._apply(before, config)
        return problems

    async def _configure_plugins(self, config: Config) -> None:
        for line in await self.plugins.configure(config):
            log.warning("reload: %s", line)

    def _apply(self, before: Config, config: Config) -> None:
        """Settings of the whole node that change while it runs."""
        self.flapping.policy = flapping_policy(config)
        apply_gate(self.gate, config)
        self.alarms.settings = alarm_settings(config)
        self.monitor.settings = monitor_settings(config)
        self.loop_watch.threshold = config.sysmon.long_schedule
        self.memory_guard.settings = memory_settings(config)
        self.lag_guard.settings = lag_settings(config)
        self.queue_watch.most = config.overload.queue_alarms
        self.limit_watch.reserve = config.overload.descriptor_reserve
        apply_broker(self.broker, config)
        enforce(egress_of(config))
        self.audit.settings = audit_settings(config)
        self.rules.configure()
        apply_log_level(before, config)
        for name in changed_services(before, config):
            self._restart(name)

    def stop(self) -> None:
        """Ask the node to drain and end; `open_broker`'s block does the rest."""
        self.stopping.set()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """The nursery tree. Reports started once every listener is open. Raises GaveUp, after the drain, when something
        the broker cannot live without crashed too often."""
        try:
            async with opened(self.store, self.save), trio.open_nursery() as root:
                await self.banned.load()
                await self.alarms.load()
                await self.audit.load()
                watch_store(self.store, self.alarms, self._store_crashed)
                await self.retained_store.load()
                await self.session_store.load()
                await self.applications.load()
                await self.dashboard_users.load()
                try:
                    await root.start(self.plugins.run)  # before a socket opens: who may come in is decided there
                    await self.rules.load()
                    self.listeners.open()
                    await self.open_api()
                    await self._start(root)
                    self.ready = True
                    task_status.started()
                    await self.stopping.wait()
                    self.ready = False
                    await ending.in_order(self)
                finally:
                    root.cancel_scope.cancel()
                    self.listeners.close()
        finally:
            self.pump.close()
        if self.failure is not None:
            raise self.failure

    async def open_api(self, always: bool = False) -> None:
        """Make the HTTP API and bind its addresses; without addresses only when it is wanted `always` (tests). Raises
        ListenerError and AppRefused."""
        settings = self.config.management, self.config.dashboard
        wanted = any(door.bind is not None for part in settings for door in (part.http, part.https))
        if not (always or (wanted and not self._in_memory)):
            return
        async with self._opening_api:  # tests open it with their first requests, of which several may come at once
            if self.api is None:
                await self._make_api()

    async def _make_api(self) -> None:
        from trioemqx.api.service import ApiService  # half a second that a broker without API saves

        hardened = self.config.security.profile == "hardened"
        await self.applications.start(self.config.management, self.data_dir, hardened=hardened)
        await self.dashboard_users.start(self.config.dashboard, self.data_dir, hardened=hardened)
        api = ApiService(self)
        if not self._in_memory:
            api.open()
        self.api = api

    def _turn_dashboard(self, on: bool) -> None:
        if self.api is not None:
            self.api.turn_dashboard(on)

    def _renew_dashboard(self) -> None:
        if self.api is not None:
            self.api.renew_dashboard()

    async def _start(self, root: trio.Nursery) -> None:
        self._services = await root.start(open_nursery)
        self._connections = await root.start(open_nursery)
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
            "evictor": self.evictor.run,
            "alarms": self.alarms.run,
            "retained_store": self.retained_store.run,
            "session_store": self.session_store.run,
            "queue_pager": self.session_store.page,
            "sys_topics": lambda: topics.run(self.config.broker.sys_interval, self.config.broker.sys_heartbeat),
            "monitor_cpu": self.monitor.run_cpu,
            "monitor_memory": self.monitor.run_memory,
            "monitor_processes": self.monitor.run_processes,
            "loop_watch": self.loop_watch.run,
            "limit_watch": self.limit_watch.run,
            "memory_guard": self.memory_guard.run,
            "lag_guard": self.lag_guard.run,
            "queue_watch": self.queue_watch.run,
            "rules": self.rules.run,
        }
        if not self._in_memory:
            ctl = CtlServer(self.commands, self.data_dir)
            with suppress(OSError):  # its service says why, and tries again
                ctl.open()
            self._runs["ctl"] = ctl.run
        if self.api is not None and self.api.servers:
            self._runs["api"] = self.api.run
            self._runs["dashboard_samples"] = self.api.dashboard.sampler.run
        for name in self._runs:
            self._services.start_soon(self._service, name)

    async def _vital(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Something the broker cannot live without: when it gives up the node drains and ends."""
        try:
            await run()
        except* GaveUp as group:
            self.pump_lives = self.pump_lives and name != "pump"
            self._end_with(name, group)

    def _end_with(self, name: str, failure: BaseException) -> None:
        log.critical("%s gave up; the broker stops", name)
        self.failure = failure
        self.stop()

    def _store_crashed(self, error: Exception) -> None:
        """Nothing can be acknowledged any more that has to be kept, and nobody knows why; a new process can."""
        self.failure = StoreError(f"the thread that writes the database crashed: {error!r}")
        self.failure.__cause__ = error
        self.stop()

    async def _service(self, name: str) -> None:
        """Something the broker can do without: when it gives up the alarm stays, and the broker lives. But for what
        belongs to the store: a new process goes on from the disk."""
        with trio.CancelScope() as self._scopes[name]:
            try:
                await self._supervised(name, self._runs[name])
            except GaveUp as error:
                if name in OF_THE_STORE:
                    self._end_with(name, error)
                else:
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

    def _gauges(self) -> dict[str, int]:
        return {**self.broker.gauges(), **{name: read() for name, read in self.gauges.items()}}

    def _wanted(self, topic: str) -> bool:
        return bool(self.broker.router.match(topic))

    def end_connections(self) -> None:
        """Cancel the tasks of all connections."""
        if self._connections is not None:
            self._connections.cancel_scope.cancel()

    async def save(self) -> None:
        """Write what is not on disk yet and close the store. Whoever comes second waits for the first."""
        if self._saving:
            await self._saved.wait()
            return
        self._saving = True
        try:
            await self.retained_store.close()
            await self.session_store.close()
            await self.store.close()
        finally:
            self._saved.set()


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

    Raises ConfigErrors, ListenerError and StoreUnusable before anything is open.
    """
    settings = prepare(config)
    node = Node(settings, wall, in_memory)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        try:
            yield node
        finally:
            node.stop()
