"""What one value alone cannot show: rules between settings, and files that must be there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.listener import ListenerConfig
from trioemqx.config.model import DEFAULT_ZONE, Config
from trioemqx.config.shipped import CERTFILE, KEYFILE
from trioemqx.config.zone import ZoneConfig
from trioemqx.errors import ConfigError

Problem = tuple[str, str]
"""(dotted key, what is wrong)"""

_OLD_TLS = ("tlsv1.1", "tlsv1")
_FILES = ("keyfile", "certfile", "cacertfile", "dhfile")
_ABOUT_CLIENTS = ("enable_crl_check", "partial_chain", "verify_peer_ext_key_usage")
_ANY_HOST = ("0.0.0.0", "::")


def check(config: Config) -> tuple[list[ConfigError], list[str]]:
    """(errors, warnings) about settings that do not fit together."""
    problems = [*_process(config), *_addresses(config)]
    warnings = [] if config.listeners else ["no listener is configured: nobody can connect"]
    for listener in config.listeners:
        key = f"listener.{listener.kind}.{listener.name}"
        problems += _listener(config, listener, key)
        if listener.tls:
            problems += _tls(listener, key)
        if listener.websocket:
            problems += _websocket(listener, key)
        warnings += _doubts(listener, key)
    for name, zone in config.zones.items():
        problems += _zone(zone, f"zone.{name}")
        warnings += _zone_doubts(config, zone, f"zone.{name}")
    return [error(config, key, text) for key, text in problems], warnings


def error(config: Config, key: str, text: str) -> ConfigError:
    """A ConfigError about `key`, pointing to where it was set (or to what made its table, when it was left out)."""
    origin = config.origins.get(key)
    return ConfigError(text, key, origin.source if origin is not None else _source_of_table(config, key))


def _source_of_table(config: Config, key: str) -> str:
    """Where the table of a key that was left out was made: a listener may be in no file."""
    table = key.rpartition(".")[0]
    around = [origin for name, origin in config.origins.items() if table and name.startswith(f"{table}.")]
    if not around or any(origin.layer == "file" for origin in around):
        return str(config.path or "")
    return str(around[0].source)


def _process(config: Config) -> Iterator[Problem]:
    name, at, host = config.node.name.partition("@")
    if not (name and at and host) or any(letter.isspace() or letter in "+#/@\0" for letter in name + host):
        yield "node.name", 'must look like "name@host", without + # / (it is part of $SYS topics)'
    if config.os_mon.cpu_high_watermark <= config.os_mon.cpu_low_watermark:
        yield "os_mon.cpu_high_watermark", "must be greater than os_mon.cpu_low_watermark"
    if config.vm_mon.process_high_watermark <= config.vm_mon.process_low_watermark:
        yield "vm_mon.process_high_watermark", "must be greater than vm_mon.process_low_watermark"
    overload = config.overload
    if overload.memory_refuse_watermark <= overload.memory_alarm_watermark:
        yield "overload.memory_refuse_watermark", "must be greater than overload.memory_alarm_watermark"
    if overload.memory_shed_watermark <= overload.memory_refuse_watermark:
        yield "overload.memory_shed_watermark", "must be greater than overload.memory_refuse_watermark"
    if overload.memory_margin >= overload.memory_alarm_watermark:
        yield "overload.memory_margin", "must be less than overload.memory_alarm_watermark"


def _addresses(config: Config) -> Iterator[Problem]:
    """Two listeners on one port; the second would fail to open long after the start looked fine."""
    seen: list[ListenerConfig] = []
    for listener in config.listeners:
        for other in seen:
            same_port = listener.port == other.port != 0
            wide = [one.host for one in (listener, other) if one.host in _ANY_HOST]
            same_family = (":" in listener.host) == (":" in other.host)
            if same_port and (listener.host == other.host or (wide and same_family)):
                key = f"listener.{listener.kind}.{listener.name}.bind"
                yield key, f"port {listener.port} is taken by listener.{other.kind}.{other.name}"
        seen.append(listener)


def _listener(config: Config, listener: ListenerConfig, key: str) -> Iterator[Problem]:
    if listener.port == 0 and f"{key}.bind" not in config.origins:
        yield f"{key}.bind", "is missing: the address to listen on"
    if listener.zone != DEFAULT_ZONE and listener.zone not in config.zones:
        known = ", ".join(config.zones) or "none"
        yield f"{key}.zone", f"there is no zone {listener.zone!r:.80} (zones: {known})"
    if listener.outbox_high_watermark <= listener.outbox_low_watermark:
        yield f"{key}.outbox_high_watermark", "must be greater than outbox_low_watermark"
    for setting in ("peer_cert_as_username", "peer_cert_as_clientid"):
        if not listener.tls and getattr(listener, setting) not in (None, "cn"):
            yield f"{key}.{setting}", f"only cn is known to a {listener.kind} listener (from PROXY protocol version 2)"
    if listener.send_timeout <= 0:
        yield f"{key}.send_timeout", "must be greater than 0"


def _tls(listener: ListenerConfig, key: str) -> Iterator[Problem]:
    psk = bool(listener.psk_ciphers)
    if psk and listener.ciphers:
        yield f"{key}.psk_ciphers", "excludes ciphers: set one of the two"
    if psk and "tlsv1.3" in listener.tls_versions:
        yield f"{key}.psk_ciphers", 'needs tls_versions without tlsv1.3, such as "tlsv1.2"'
    if not listener.tls_versions:
        yield f"{key}.tls_versions", "must name at least one version"
    for setting in ("keyfile", "certfile"):
        if getattr(listener, setting) is None and not psk:
            yield f"{key}.{setting}", f"is missing: a {listener.kind} listener needs a certificate and its key"
    if listener.verify == "verify_peer" and listener.cacertfile is None:
        yield f"{key}.cacertfile", "is missing: verify_peer needs authorities to check against"
    if listener.fail_if_no_peer_cert and listener.verify != "verify_peer":
        yield f"{key}.fail_if_no_peer_cert", 'needs verify = "verify_peer"'
    if listener.enable_crl_check and not listener.crl_cache_urls:
        yield f"{key}.crl_cache_urls", "is missing: enable_crl_check needs to know where the lists are"


def _websocket(listener: ListenerConfig, key: str) -> Iterator[Problem]:
    path = listener.mqtt_path
    if not path.startswith("/") or any(letter.isspace() or letter in "?#" for letter in path):
        yield f"{key}.mqtt_path", 'must start with "/", without spaces, ? and #'
    if not listener.supported_subprotocols:
        yield f"{key}.supported_subprotocols", "must name at least one protocol"
    if listener.check_origin_enable and not listener.check_origins:
        yield f"{key}.check_origins", "is missing: check_origin_enable would refuse every browser"


def _doubts(listener: ListenerConfig, key: str) -> Iterator[str]:
    old = [version for version in listener.tls_versions if version in _OLD_TLS]
    if listener.tls and old:
        yield f"{key}.tls_versions: {', '.join(old)} is broken and no longer safe"
    if listener.enable_ocsp_stapling:
        yield f"{key}.enable_ocsp_stapling: has no effect, clients get no stapled answer"
    if listener.tls and not listener.reuse_sessions and any(name != "tlsv1.3" for name in listener.tls_versions):
        yield f"{key}.reuse_sessions: holds for tlsv1.3 only, clients of older versions can resume sessions"
    if listener.tls and listener.verify == "verify_none":
        for setting in _ABOUT_CLIENTS:
            if getattr(listener, setting) not in (False, "false", ()):
                yield f'{key}.{setting}: has no effect without verify = "verify_peer"'
    if not listener.tls and not listener.proxy_protocol:
        for setting in ("peer_cert_as_username", "peer_cert_as_clientid"):
            if getattr(listener, setting):
                yield f"{key}.{setting}: has no effect without proxy_protocol"


def _zone_doubts(config: Config, zone: ZoneConfig, key: str) -> Iterator[str]:
    banning = config.security.profile == "hardened" if zone.enable_ban is None else zone.enable_ban
    if zone.enable_flapping_detect and not banning:
        yield f"{key}.enable_flapping_detect: has no effect without enable_ban"


def _zone(zone: ZoneConfig, key: str) -> Iterator[Problem]:
    if zone.keepalive_backoff <= 0.5:
        yield f"{key}.keepalive_backoff", "must be greater than 0.5, or clients that keep time are cut off"
    if any(letter in "+#\0" for letter in zone.mountpoint):
        yield f"{key}.mountpoint", "must not hold + or #"
    if len(zone.mountpoint.encode("utf-8", "replace")) > 1024:
        yield f"{key}.mountpoint", "must not be longer than 1024 bytes"
    for topic in zone.mqueue_priorities or ():
        if "+" in topic or "#" in topic:
            yield f"{key}.mqueue_priorities", f"{topic!r:.80} is a filter; only exact topics have a priority"
    if zone.idle_timeout <= 0:
        yield f"{key}.idle_timeout", "must be greater than 0, or a silent socket would stay for ever"


def needs_certificates(listener: ListenerConfig) -> bool:
    """True when a TLS listener names the shipped certificate files and neither exists: a self-signed pair stands in."""
    shipped = (listener.keyfile, listener.certfile) == (KEYFILE, CERTFILE)
    return listener.tls and shipped and not Path(KEYFILE).exists() and not Path(CERTFILE).exists()


def check_files(config: Config) -> None:
    """Raise ConfigErrors when a certificate file cannot be read or anybody may write the configuration file.

    This looks at the disk, so it is apart from `check`: `config check` on another machine may want to leave it out.
    """
    errors = []
    if config.path is not None and config.path.exists() and config.path.stat().st_mode & stat.S_IWOTH:
        errors.append(ConfigError("may be written by anybody on this machine; use chmod o-w", source=str(config.path)))
    for listener in config.listeners:
        if not listener.tls or needs_certificates(listener):
            continue
        for setting in _FILES:
            file = getattr(listener, setting)
            if file is not None and not (Path(file).is_file() and os.access(file, os.R_OK)):
                reason = "cannot be read" if Path(file).is_file() else "does not exist"
                key = f"listener.{listener.kind}.{listener.name}.{setting}"
                errors.append(error(config, key, f"{file} {reason}"))
    if errors:
        raise ConfigErrors(errors)
