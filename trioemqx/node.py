"""One running broker: everything wired together, owned by one nursery.

`open_broker` is the way in, for the command line and for programs that embed a broker:

    async with trioemqx.open_broker({"allow_anonymous": True, "listener": {"tcp": {"mine": "127.0.0.1:0"}}}) as broker:
        ...

What it yields is the facade: publish, subscribe, kick, look at clients, metrics and stats.

What each part is told by the configuration is in `wiring` and `guards`. Long, because here is the one place where all
parts meet: how they are made, in which order they start, and what a reload tells them.
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
from trioemqx.guards import Guards
from trioemqx.listeners.link import Link
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.manager import ListenerManager
from trioemqx.listeners.overload import enforce_shutdown_policy
from trioemqx.listeners.pump import Pump
from trioemqx.rules import commands as rule_commands
from trioemqx.rules.engine import RuleEngine
from trioemqx.services import sweeper, systopics
from trioemqx.services.access import AccessService
from trioemqx.services.applications import Applications
from trioemqx.services.audit import AuditLog
from trioemqx.services.backup import Backup
from trioemqx.services.banned import Banned
from trioemqx.services.branch import Services
from trioemqx.services.commands import Commands
from trioemqx.services.ctl import add_all
from trioemqx.services.ctlserver import CtlServer
from trioemqx.services.dashboard_users import DashboardUsers
from trioemqx.services.evict import Evictor
from trioemqx.services.flapping import Flapping
from trioemqx.services.http.egress import egress_of, enforce
from trioemqx.services.overrides import Overrides
from trioemqx.services.plugins import HookRegistry
from trioemqx.services.plugins.errors import BadSettings
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.plugins.uploading import Uploading
from trioemqx.services.retained_store import RetainedStore
from trioemqx.services.stats import StatsKeeper
from trioemqx.services.store.protocol import Store, StoreError
from trioemqx.services.supervise import GaveUp, open_nursery
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
    log_crash,
    log_receiver_crash,
    log_refused,
    make_alarms,
    make_broker,
    make_gate,
    make_session_store,
    make_store,
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

    `broker` is the synchronous core; `alarms`, `banned`, `hooks`, `plugins`, `rules`, `commands`, `listeners`, `store`,
    `cluster` and others are around it; `services` are what runs in the background. `data_dir` is where it writes.
    `wall` gives seconds since 1970; with `in_memory` it opens no sockets and no files.
    """

    def __init__(self, config: Config, wall: Callable[[], float], in_memory: bool) -> None:
        self.config = self.started_config = config
        self.wall = wall
        self.started_at = trio.current_time()
        self.stopping = trio.Event()
        self.ready = False
        self.failure: BaseException | None = None
        self.data_dir = Path(config.node.data_dir)
        self._in_memory = in_memory

        self.store: Store = make_store(config, in_memory)
        self.hooks = HookRegistry()
        self.banned = Banned(self.store, self.kick, wall)
        self.flapping = Flapping(self.banned, flapping_policy(config), wall)
        self.access = AccessService(self.hooks.compiled, self.banned, self.flapping, wall)
        self.broker = make_broker(config, self.access, self.hooks.compiled)
        self.evictor = Evictor(self.banned, self.broker)
        self.retained_store = RetainedStore(self.broker, self.store, wall)
        self.session_store = make_session_store(config, self.broker, self.store, self.retained_store, wall)
        self.alarms = make_alarms(config, self.store, self.publish, wall)
        self.audit = AuditLog(self.store, audit_settings(config), wall=wall)
        self.services = Services(self.alarms, self.broker.metrics, self._gave_up)

        self.pump = Pump(self.broker, wall)
        self.pump_lives = True
        self.gate = make_gate(config, self.pump)
        listeners = [] if in_memory else config.listeners
        self.listeners = ListenerManager(listeners, self.broker.zones, self.pump, self.access, self.gate)
        self.guards = Guards(config, self.alarms, self.broker, self.pump, self.gate, self.listeners, self.publish)
        self.loop_watch = self.guards.loop_watch
        self.cluster: ClusterEngine = LocalEngine(config.node.name)
        self._connections: trio.Nursery | None = None
        self._inside: dict[str, Listener] = {}

        self.applications = Applications(self.store, wall)
        self.dashboard_users = DashboardUsers(self.store)
        self.web_routes = Routes()
        self.api: ApiService | None = None
        self._opening_api = trio.Lock()

        self.commands = Commands()
        self.gauges: dict[str, Callable[[], int]] = {}
        self.stats_keeper = StatsKeeper(self._gauges)
        self.rules = RuleEngine(self)
        self.plugins = PluginManager(self, self.hooks, config, inline=in_memory)
        self.uploading = Uploading(self.plugins)
        self.overrides = Overrides(self)
        self.backup = Backup(self)
        self._saved: trio.Event | None = None
        self._join()

    def _join(self) -> None:
        """Tell the parts of each other, where one is called by another that knows nothing of it."""
        enforce(egress_of(self.config))
        self.hooks.metrics = self.broker.metrics
        self.broker.forward = lambda name, message: self.cluster.forward(name, encode_pack([message]))
        self.broker.on_receiver_crash = log_receiver_crash
        self.broker.on_refused = log_refused
        self.broker.registry.on_session_end = self._count_session_end
        self.pump.commit = self.session_store.commit
        self.pump.turn.crashed = log_crash
        self.pump.tell_time()
        self.gauges["resources"] = lambda: len(self.rules.resources)
        self.commands.on_end = self.audit.record_command
        keep_commands(self.commands, self.store)
        add_all(self.commands, self)
        rule_commands.add_to(self.commands, self.rules)
        engine, dashboard = self.plugins.built_in["emqx_rule_engine"], self.plugins.built_in["emqx_dashboard"]
        engine.turn = self.rules.switch
        dashboard.turn, dashboard.renew = self._turn_dashboard, self._renew_dashboard
        for part in self.plugins.built_in.values():
            part.read = self._read_again

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
        if self.services.nursery is not None:
            self.services.nursery.start_soon(self._configure_plugins, config)
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
        self.guards.configure(config)
        apply_broker(self.broker, config)
        enforce(egress_of(config))
        self.audit.settings = audit_settings(config)
        self.rules.configure()
        apply_log_level(before, config)
        for name in changed_services(before, config):
            self.services.restart(name)

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
        """Start everything that runs beside `run` itself."""
        services = await root.start(open_nursery)
        self._connections = await root.start(open_nursery)
        supervised = self.services.supervised
        root.start_soon(self._vital, "pump", partial(supervised, "pump", self.pump.run), name="pump")
        accept = partial(self.listeners.run, self._connections, self.services.crashed)
        root.start_soon(self._vital, "listeners", accept, name="listeners")
        sweep = partial(sweeper.run, self.broker, self._check_link, self.guards.congestion.settle)
        root.start_soon(self._vital, "sweeper", partial(supervised, "sweeper", sweep), name="sweeper")
        self.services.start(services, self._what_runs())

    def _what_runs(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """The services, by name; all of them the broker can do without for a while."""
        topics = systopics.SysTopics(self, self.started_at, wall=self.wall, wanted=self._wanted)
        runs: dict[str, Callable[[], Awaitable[object]]] = {
            "wills": partial(sweeper.settle_wills, self.broker),
            "stats": self.stats_keeper.run,
            "banned": self.banned.run,
            "evictor": self.evictor.run,
            "alarms": self.alarms.run,
            "retained_store": self.retained_store.run,
            "session_store": self.session_store.run,
            "queue_pager": self.session_store.page,
            "sys_topics": lambda: topics.run(self.config.broker.sys_interval, self.config.broker.sys_heartbeat),
            **self.guards.services(),
            "rules": self.rules.run,
        }
        if not self._in_memory:
            ctl = CtlServer(self.commands, self.data_dir)
            with suppress(OSError):  # its service says why, and tries again
                ctl.open()
            runs["ctl"] = ctl.run
        if self.api is not None and self.api.servers:
            runs["api"] = self.api.run
            runs["dashboard_samples"] = self.api.dashboard.sampler.run
        return runs

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

    def _gave_up(self, name: str, error: GaveUp) -> None:
        """A service has crashed too often: the broker lives, without it. But for what belongs to the store: a new
        process goes on from the disk."""
        if name in OF_THE_STORE:
            self._end_with(name, error)
        else:
            log.critical("%s; it stays off", error)

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
            self.guards.congestion.check(link)
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
        if self._saved is not None:
            await self._saved.wait()
            return
        self._saved = trio.Event()
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
