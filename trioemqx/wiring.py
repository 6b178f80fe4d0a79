"""What the parts of a node are told: their settings, at the start and at a reload, and where to report crashes."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

import trioemqx
from trioemqx.config.check import needs_certificates
from trioemqx.config.load import from_mapping, load_with_saved
from trioemqx.config.model import Config
from trioemqx.config.saved import FILE
from trioemqx.core.broker import Broker
from trioemqx.core.subscription import Receiver
from trioemqx.core.zone import Zone
from trioemqx.errors import ListenerError, PacketError
from trioemqx.hooks import Hooks
from trioemqx.listeners.gate import Gate
from trioemqx.listeners.link import Link
from trioemqx.listeners.pump import Pump
from trioemqx.services.access import AccessService
from trioemqx.services.alarms import STORE_DAMAGED, STORE_FAILED, STORE_LOG_LARGE, Alarms, AlarmSettings
from trioemqx.services.audit import AuditSettings, changes
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.services.commands import Command, Commands
from trioemqx.services.flapping import FlappingPolicy
from trioemqx.services.lag_guard import LagSettings
from trioemqx.services.log_format import level_number, of_client
from trioemqx.services.memory_guard import MemorySettings
from trioemqx.services.monitor import MonitorSettings
from trioemqx.services.retained_store import RetainedStore
from trioemqx.services.session_store import SessionStore
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.protocol import Store, StoreError
from trioemqx.services.store.sqlite import SqliteStore
from trioemqx.services.zones import build_zone
from trioemqx.types import ClientInfo, Message

log = logging.getLogger("trioemqx.node")

MOST_CONNECTIONS: Final = 65536
DESCRIPTOR_RESERVE: Final = 200
PATIENCE: Final = 30.0
"""Seconds a command waits until what it has changed is written."""
CLOSE_SECONDS: Final = 10.0
"""What writing the last changes may take when the node ends."""


def prepare(config: Config | Mapping[str, object] | Path | None) -> Config:
    """A `Config` from whatever `open_broker` takes, with certificates for listeners that were given none."""
    if isinstance(config, Config):
        settings = config
    elif config is None or isinstance(config, Path):
        settings = load_with_saved(config, os.environ)
    else:
        settings = from_mapping(config)
        if settings.source is not None and (Path(settings.node.data_dir) / FILE).exists():
            settings = settings.source(None)
    return with_certificates(settings)


def with_certificates(config: Config) -> Config:
    """Give TLS listeners without certificate files a self-signed pair under `node.data_dir`. Raises ListenerError."""
    if not any(needs_certificates(listener) for listener in config.listeners):
        return config
    host = config.node.name.partition("@")[2] or "localhost"
    names = list(dict.fromkeys([host, "localhost", "127.0.0.1"]))
    folder = Path(config.node.data_dir) / "certs"
    try:
        key, cert, authority = ensure_self_signed(folder, names)
    except OSError as error:
        raise ListenerError(f"node.data_dir: no certificate can be written to {folder}: {error.strerror}") from None
    log.warning("TLS listeners use a self-signed certificate, %s; give them certfile and keyfile", cert)
    listeners = [
        attrs.evolve(listener, keyfile=str(key), certfile=str(cert), cacertfile=str(authority))
        if needs_certificates(listener)
        else listener
        for listener in config.listeners
    ]
    return attrs.evolve(config, listeners=listeners)


def make_store(config: Config, in_memory: bool) -> Store:
    """The store that `[store]` asks for."""
    settings = config.store
    if in_memory or settings.sync == "memory":
        return MemoryStore()
    return SqliteStore(Path(config.node.data_dir) / settings.file, settings.sync, settings.on_corrupt)


def make_session_store(
    config: Config, broker: Broker, store: Store, retained: RetainedStore, wall: Callable[[], float]
) -> SessionStore:
    """Sessions on disk, with what `[store]` says about them."""
    settings = config.store
    return SessionStore(broker, store, retained, wall, settings.queue_window, settings.max_pending_publishes)


@asynccontextmanager
async def opened(store: Store, save: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """The store, open for the length of a block; `save` closes it. Raises StoreUnusable."""
    await store.open()
    try:
        yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await save()


def watch_store(store: Store, alarms: Alarms, on_crash: Callable[[Exception], object]) -> None:
    """Raise alarms for what is wrong with the store: while it cannot write, and when it had to begin with an empty
    file. `on_crash` is told when its thread has ended."""
    if not isinstance(store, SqliteStore):
        return
    file = str(store.path)
    store.watch(
        lambda error: alarms.activate(STORE_FAILED, {"file": file, "error": str(error)}),
        lambda: alarms.deactivate(STORE_FAILED),
    )
    store.watch_thread(on_crash)
    store.watch_log(
        lambda size: alarms.activate(STORE_LOG_LARGE, {"file": f"{file}-wal", "size": size}),
        lambda: alarms.deactivate(STORE_LOG_LARGE),
    )
    if store.moved_to:
        alarms.activate(STORE_DAMAGED, {"file": file, "moved_to": store.moved_to})


def keep_commands(commands: Commands, store: Store) -> None:
    """Have commands that change something answer when it has been written, as the HTTP API does."""

    async def kept(command: Command, arguments: list[str]) -> str:
        if not (changes(command, arguments) and store.pending()):
            return ""
        try:
            with trio.fail_after(PATIENCE):
                await store.apply(()).wait()
        except StoreError as error:
            return str(error)
        except trio.TooSlowError:
            return f"it has not been written within {PATIENCE:g} s"
        return ""

    commands.kept = kept


def make_broker(config: Config, access: AccessService, hooks: Hooks) -> Broker:
    """The core of a node, with its settings, zones and hooks."""
    broker = Broker(access, node=config.node.name, version=trioemqx.__version__)
    broker.hooks = hooks
    broker.retaining = 0  # until the plugin emqx_retainer wants it
    broker.zones = all_zones(config)
    apply_broker(broker, config)
    return broker


def make_alarms(
    config: Config, store: Store, publish: Callable[[Message], object], wall: Callable[[], float]
) -> Alarms:
    """Alarms that are kept in a store and told to subscribers."""
    return Alarms(config.node.name, store, publish, alarm_settings(config), wall=wall, now=trio.current_time)


def make_gate(config: Config, pump: Pump) -> Gate:
    """The limits on sockets."""
    limits = config.limits
    gate = Gate(pump, max_connections(config), limits.max_unauthenticated, limits.max_connect_packet_size)
    apply_gate(gate, config)
    return gate


def apply_broker(broker: Broker, config: Config) -> None:
    """What the core takes from the configuration, at the start and again at each reload."""
    settings, retainer = config.broker, config.retainer
    broker.router.set_strategies(
        settings.shared_subscription_strategy,
        {name: group.shared_subscription_strategy for name, group in settings.groups.items()},
    )
    broker.dispatch_ack = settings.shared_dispatch_ack_enabled
    broker.stop_publish_clear_msg = retainer.stop_publish_clear_msg
    broker.retained.max_messages = retainer.max_retained_messages
    broker.retained.max_payload = retainer.max_payload_size
    broker.retained.expiry = retainer.expiry_interval
    broker.registry.client_disconnect_discarded = settings.client_disconnect_discarded
    broker.registry.client_disconnect_takeovered = settings.client_disconnect_takeovered


def apply_gate(gate: Gate, config: Config) -> None:
    """`[limits]`, at the start and at a reload."""
    gate.max_connections = max_connections(config)
    gate.descriptor_ceiling = descriptor_ceiling(config)
    gate.max_unauthenticated = config.limits.max_unauthenticated
    gate.max_connect_packet_size = config.limits.max_connect_packet_size


def apply_log_level(before: Config, config: Config) -> None:
    """`log.level`, when it has changed."""
    if config.log.effective_level != before.log.effective_level:
        logging.getLogger("trioemqx").setLevel(level_number(config.log.effective_level))


def changed_services(before: Config, config: Config) -> list[str]:
    """Services that have to be started again to see their new settings."""
    names = ["sys_topics"] if config.broker != before.broker else []
    if config.os_mon != before.os_mon or config.vm_mon != before.vm_mon:
        names += ["monitor_cpu", "monitor_memory", "monitor_processes"]
    if config.overload != before.overload:
        names += ["memory_guard", "lag_guard"]
    return names


def flapping_policy(config: Config) -> FlappingPolicy:
    """`flapping_detect_policy`"""
    policy = config.flapping_detect_policy
    return FlappingPolicy(policy.count, policy.window, policy.ban)


def all_zones(config: Config) -> dict[str, Zone]:
    """Every zone that is defined or used, with all fallbacks taken."""
    names = set(config.zones) | {listener.zone for listener in config.listeners} | {"default"}
    return {name: build_zone(config, name) for name in names}


def alarm_settings(config: Config) -> AlarmSettings:
    """`[alarm]`"""
    alarm = config.alarm
    return AlarmSettings(frozenset(alarm.actions), alarm.size_limit, alarm.validity_period)


def audit_settings(config: Config) -> AuditSettings:
    """`[security] audit`"""
    return AuditSettings(config.security.audit_max_rows, config.security.audit_max_age)


def monitor_settings(config: Config) -> MonitorSettings:
    """`[os_mon]` and `[vm_mon]`"""
    system, process = config.os_mon, config.vm_mon
    return MonitorSettings(
        cpu_check_interval=system.cpu_check_interval,
        cpu_high_watermark=system.cpu_high_watermark,
        cpu_low_watermark=system.cpu_low_watermark,
        mem_check_interval=system.mem_check_interval,
        sysmem_high_watermark=system.sysmem_high_watermark,
        procmem_high_watermark=system.procmem_high_watermark,
        process_check_interval=process.check_interval,
        process_high_watermark=process.process_high_watermark,
        process_low_watermark=process.process_low_watermark,
    )


def max_connections(config: Config) -> int:
    """`limits.max_connections`, or what the process's descriptors allow."""
    wanted = config.limits.max_connections or MOST_CONNECTIONS
    files = descriptor_limit()
    return wanted if files == 0 else max(1, min(wanted, files - DESCRIPTOR_RESERVE))


def descriptor_limit() -> int:
    """Files this process may open; 0 = as many as it likes."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def descriptor_ceiling(config: Config) -> int:
    """Descriptors of connections stay below this number, so that `overload.descriptor_reserve` are left; 0 = no limit.
    Where there are hardly any at all, half of them is left."""
    files, reserve = descriptor_limit(), config.overload.descriptor_reserve
    return 0 if files == 0 or reserve == 0 else max(files - reserve, files // 2)


def too_few_descriptors(config: Config) -> str:
    """What to tell an operator whose `limits.max_connections` cannot be had; "" when it can."""
    wanted, possible = config.limits.max_connections, max_connections(config)
    if wanted <= possible:
        return ""
    return (
        f"limits.max_connections is {wanted}, but {possible} connections is all that {descriptor_limit()} open files "
        f"allow; raise the limit (ulimit -n, LimitNOFILE)"
    )


def memory_settings(config: Config) -> MemorySettings:
    """`overload.memory_*`"""
    overload = config.overload
    return MemorySettings(
        check_interval=overload.memory_check_interval,
        limit=overload.memory_limit,
        watermarks=(
            overload.memory_alarm_watermark,
            overload.memory_refuse_watermark,
            overload.memory_shed_watermark,
        ),
        margin=overload.memory_margin,
    )


def lag_settings(config: Config) -> LagSettings:
    """`overload.lag_*`"""
    return LagSettings(config.overload.lag_threshold, config.overload.lag_period)


def log_crash(link: Link, error: Exception) -> None:
    """A bug ended one connection."""
    channel = link.channel
    client = None if channel is None else channel.info
    log.error("connection crashed", exc_info=error, extra=of_client(client))


def log_refused(client: ClientInfo, error: PacketError) -> None:
    """A client broke a rule."""
    log.debug("refused with 0x%02x: %s", error.code, error.text, extra=of_client(client))


def log_receiver_crash(receiver: Receiver, error: Exception) -> None:
    """A bug cost one receiver a message."""
    log.error("delivery crashed", exc_info=error, extra={"clientid": receiver.clientid})
