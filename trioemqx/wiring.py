"""What the parts of a node are told: their settings, at the start and at a reload, and where to report crashes."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

import trioemqx
from trioemqx.config.check import needs_certificates
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import from_mapping, load
from trioemqx.config.model import Config
from trioemqx.core.broker import Broker
from trioemqx.core.subscription import Receiver
from trioemqx.core.zone import Zone
from trioemqx.errors import ConfigError, ListenerError, PacketError
from trioemqx.listeners.link import Link
from trioemqx.services.access import AccessService
from trioemqx.services.alarms import AlarmSettings
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.services.monitor import MonitorSettings
from trioemqx.services.zones import build_zone
from trioemqx.types import ClientInfo

log = logging.getLogger("trioemqx.node")

MOST_CONNECTIONS: Final = 65536
DESCRIPTOR_RESERVE: Final = 200


def prepare(config: Config | Mapping[str, object] | Path | None) -> Config:
    """A `Config` from whatever `open_broker` takes, with certificates for listeners that were given none."""
    if isinstance(config, Config):
        settings = config
    elif config is None or isinstance(config, Path):
        settings = load(config, os.environ)
    else:
        settings = from_mapping(config)
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


def make_broker(config: Config, access: AccessService) -> Broker:
    """The core of a node, with its settings and zones."""
    broker = Broker(
        access,
        node=config.node.name,
        version=trioemqx.__version__,
    )
    apply_broker(broker, config)
    broker.zones = all_zones(config)
    return broker


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


def presence_qos(config: Config) -> int:
    """`module.presence.qos`. Raises ConfigErrors."""
    table = config.module.get("presence", {})
    qos = table.get("qos", 1) if isinstance(table, dict) else None
    if qos not in (0, 1, 2):
        raise ConfigErrors([ConfigError("must be 0, 1 or 2", "module.presence.qos")])
    return int(qos)


def all_zones(config: Config) -> dict[str, Zone]:
    """Every zone that is defined or used, with all fallbacks taken."""
    names = set(config.zones) | {listener.zone for listener in config.listeners} | {"default"}
    return {name: build_zone(config, name) for name in names}


def alarm_settings(config: Config) -> AlarmSettings:
    """`[alarm]`"""
    alarm = config.alarm
    return AlarmSettings(frozenset(alarm.actions), alarm.size_limit, alarm.validity_period)


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
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - DESCRIPTOR_RESERVE
    wanted = config.limits.max_connections or MOST_CONNECTIONS
    return max(1, min(wanted, allowed))


def log_crash(link: Link, error: Exception) -> None:
    """A bug ended one connection."""
    channel = link.channel
    extra = {} if channel is None else {"clientid": channel.info.clientid, "peername": channel.info.peername}
    log.error("connection crashed", exc_info=error, extra=extra)


def log_refused(client: ClientInfo, error: PacketError) -> None:
    """A client broke a rule."""
    extra = {"clientid": client.clientid, "peername": client.peername}
    log.debug("refused with 0x%02x: %s", error.code, error.text, extra=extra)


def log_receiver_crash(receiver: Receiver, error: Exception) -> None:
    """A bug cost one receiver a message."""
    log.error("delivery crashed", exc_info=error, extra={"clientid": receiver.clientid})
