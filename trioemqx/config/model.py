"""The schema of `etc/emqx.toml`: every table, key, type, unit, default and meaning.

The defaults are EMQX 4.4's schema defaults, which hold for keys that a file leaves out. What a broker without any
file uses is in `shipped`.
"""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs

from trioemqx.config.fields import bytesize, choice, duration, flag, integer, or_word, path, size_between, words
from trioemqx.config.listener import KINDS, ListenerConfig
from trioemqx.config.management import DashboardConfig, LicenseConfig, ManagementConfig
from trioemqx.config.rules import RuleEngineConfig
from trioemqx.config.schema import Branch, free, listeners, named, section, setting, tree_of, unused
from trioemqx.config.system import (
    AlarmConfig,
    LogConfig,
    NodeConfig,
    OsMonConfig,
    OverloadConfig,
    SysmonConfig,
    VmMonConfig,
)
from trioemqx.config.values import FlappingPolicy, Network, flapping, networks
from trioemqx.config.zone import ANONYMOUS, DENY_ACTION, NOMATCH, MqttConfig, ZoneConfig

STRATEGIES: Final = choice("random", "round_robin", "sticky", "local", "hash", "hash_clientid", "hash_topic")

MAX_UPLOAD: Final = 32 * 1024**2
"""What `plugins.upload_max_size` may be at most."""

DEFAULT_ZONE: Final = "default"
"""Zone of a listener that names none. It needs no table; every setting then falls back."""


@attrs.frozen
class GroupConfig:
    """`[broker.group.<group>]`: one share group."""

    shared_subscription_strategy: str = setting(STRATEGIES, "round_robin", "How this group picks the next receiver.")


@attrs.frozen
class BrokerConfig:
    """`[broker]`"""

    sys_interval: float = setting(duration, 60.0, "Period of the $SYS topics; 0 = never.")
    sys_heartbeat: float = setting(duration, 30.0, "Period of $SYS uptime and datetime; 0 = never.")
    enable_session_registry: bool = setting(flag, True, "Client identifiers are unique in the cluster.", used=False)
    session_locking_strategy: str = setting(
        choice("local", "leader", "quorum", "all"), "quorum", "Lock for take-over in a cluster.", used=False
    )
    shared_subscription_strategy: str = setting(STRATEGIES, "round_robin", "How share groups pick the next receiver.")
    shared_dispatch_ack_enabled: bool = setting(
        flag, False, "Wait for the receiver of a share group and try another one when it refuses."
    )
    route_batch_clean: bool = setting(flag, True, "How routes of a dead node are removed.", used=False)
    route_lock_type: str | None = unused(key="perf.route_lock_type", example="key")
    trie_compaction: bool | None = unused(key="perf.trie_compaction", example=True)
    client_disconnect_discarded: bool = setting(flag, False, "client.disconnected is also called after a discard.")
    client_disconnect_takeovered: bool = setting(flag, False, "client.disconnected is also called after a take-over.")
    groups: dict[str, GroupConfig] = named(GroupConfig, key="group")


@attrs.frozen
class LimitsConfig:
    """`[limits]`: protection of the whole broker, beyond EMQX's per-listener and per-zone limits."""

    max_unauthenticated: int = setting(
        integer(1), 1000, "Sockets on which no CONNECT has been accepted yet, over all listeners.", added=True
    )
    max_connections: int = setting(
        integer(),
        0,
        "Connections over all listeners; 0 = 65536, or fewer when the process may open fewer files.",
        added=True,
    )
    max_connect_packet_size: int = setting(
        bytesize, 64 * 1024, "Largest packet before CONNECT is accepted.", added=True
    )


@attrs.frozen
class RetainerConfig:
    """`[retainer]`"""

    storage_type: str = setting(choice("ram", "disc", "disc_only"), "ram", "Decided by store.sync here.", used=False)
    max_retained_messages: int = setting(integer(), 0, "Retained messages kept; 0 = unlimited.")
    max_payload_size: int = setting(bytesize, 1024**2, "Larger payloads are delivered but not kept.")
    expiry_interval: float = setting(duration, 0.0, "Retained messages are forgotten after that; 0 = never.")
    stop_publish_clear_msg: bool = setting(flag, False, "Do not deliver the empty message that clears a topic.")


@attrs.frozen
class StoreConfig:
    """`[store]`: what survives a restart."""

    sync: str = setting(
        choice("full", "normal", "memory"),
        "full",
        "What is committed survives full: a power cut; normal: the end of the process. memory: no disk, nothing does.",
        apply="restart",
        added=True,
    )
    file: str = setting(path, "trioemqx.db", "Database file, relative to node.data_dir.", apply="restart", added=True)
    queue_window: int = setting(
        integer(1, 100000),
        32,
        "Messages of an absent client's queue kept in memory, by priority; those behind them are on disk only.",
        apply="restart",
        added=True,
    )
    max_pending_publishes: int = setting(
        integer(1, 65535),
        100,
        "Messages of one client that may wait for their commit; until it is done no more are read from that client.",
        apply="restart",
        added=True,
    )
    on_corrupt: str = setting(
        choice("refuse", "rename"),
        "rename",
        "A damaged database is renamed and the broker starts with an empty one, or it stops the start.",
        apply="restart",
        added=True,
    )


@attrs.frozen
class SecurityConfig:
    """`[security]`"""

    profile: str = setting(
        choice("emqx44", "hardened"),
        "emqx44",
        "emqx44: EMQX 4.4's values; hardened: nobody anonymous, no match denies, loopback unless an address is given.",
        apply="restart",
        added=True,
    )
    allow_default_credentials: bool = setting(
        flag, False, "Accept admin/public from other than loopback addresses.", added=True
    )
    outbound_policy: str | None = setting(
        choice("open", "metadata", "private"),
        None,
        "Addresses that web hooks, bridges and their like may not reach. metadata: link-local, multicast and those of "
        "cloud metadata; private: every one that is not public as well. Unset means metadata (hardened profile: "
        "private).",
        key="outbound.policy",
        added=True,
        example="private",
    )
    outbound_allow: tuple[Network, ...] = setting(
        networks,
        (),
        "Networks that they may reach all the same.",
        key="outbound.allow",
        added=True,
        example=["10.1.2.0/24"],
    )
    outbound_deny: tuple[Network, ...] = setting(
        networks,
        (),
        "Networks that they may not reach in any case.",
        key="outbound.deny",
        added=True,
        example=["192.0.2.0/24"],
    )

    audit_max_rows: int = setting(
        integer(0, 1_000_000),
        10_000,
        "Changes by the HTTP API and by ctl that are remembered; 0: they are only logged.",
        key="audit.max_rows",
        added=True,
    )
    audit_max_age: float = setting(
        duration, 90 * 86400.0, "How long they are remembered.", key="audit.max_age", added=True
    )


@attrs.frozen
class PluginsConfig:
    """`[plugins]`; every other table `[plugins.<name>]` belongs to that plugin, which checks it."""

    etc_dir: str | None = setting(
        or_word(path, "none"), "etc/plugins", "Configuration files of plugins.", apply="restart"
    )
    loaded_file: str | None = setting(
        or_word(path, "none"), "data/loaded_plugins", "Which plugins are loaded; none: not remembered.", apply="restart"
    )
    expand_plugins_dir: str = setting(path, "plugins", "A folder with plugins.", apply="restart")
    dirs: tuple[str, ...] = setting(
        words(), (), "More folders with plugins.", apply="restart", added=True, example=["/opt/my-plugins"]
    )
    load: tuple[str, ...] | None = setting(
        words(),
        None,
        "Plugins to load at start, in place of loaded_file.",
        apply="restart",
        added=True,
        example=["emqx_retainer"],
    )
    start_timeout: float = setting(duration, 30.0, "How long a plugin may take to start.", added=True)
    max_crashes: int = setting(
        integer(1), 10, "Crashes of a plugin's hooks and tasks within a minute that switch it off.", added=True
    )
    upload: bool = setting(
        flag,
        False,
        "Users of the dashboard may upload plugins: code that runs with all rights of the broker. "
        "Only the file and the environment can say it.",
        added=True,
    )
    upload_max_size: int = setting(
        size_between(1024, MAX_UPLOAD), 8 * 1024**2, "Largest archive that may be uploaded.", added=True
    )


@attrs.frozen
class ModulesConfig:
    """`[modules]`; every other table `[modules.<name>]` belongs to that module."""

    loaded_file: str | None = setting(
        or_word(path, "none"), "data/loaded_modules", "Which modules are loaded; none: not remembered.", apply="restart"
    )
    load: tuple[str, ...] | None = setting(
        words(),
        None,
        "Modules to load at start, in place of loaded_file.",
        apply="restart",
        added=True,
        example=["emqx_mod_presence"],
    )


@attrs.frozen
class Config:
    """A whole, checked configuration. `load` makes it; `Config()` alone is EMQX's schema defaults without listeners.

    `warnings` are lines for the operator. `path` is the file it came from. `origins` says where each set key was set.
    """

    # Access, top level
    allow_anonymous: str = setting(
        ANONYMOUS, "false", "Who comes in when no backend decided: true, false, false_quick_deny."
    )
    acl_nomatch: str = setting(NOMATCH, "deny", "What holds when no access rule matched.")
    acl_file: str | None = setting(path, None, "Access rules of the built-in ACL module.", example="etc/acl.toml")
    enable_acl_cache: bool = setting(flag, True, "Remember access decisions per connection.")
    acl_cache_max_size: int = setting(integer(1), 32, "Decisions remembered per connection.")
    acl_cache_ttl: float = setting(duration, 60.0, "How long a decision is remembered.")
    acl_deny_action: str = setting(DENY_ACTION, "ignore", "What a refusal does: ignore, or disconnect.")
    flapping_detect_policy: FlappingPolicy = setting(
        flapping, FlappingPolicy(30, 60.0, 300.0), "Disconnects, window, and how long the client is banned then."
    )
    auth_order: tuple[str, ...] | None = setting(
        or_word(words(), "none"), None, "Authentication backends in this order; the others follow."
    )
    acl_order: tuple[str, ...] | None = setting(
        or_word(words(), "none"), None, "Access-rule backends in this order; the others follow."
    )
    crl_cache_http_timeout: float = setting(duration, 15.0, "Deadline for fetching a revocation list.", used=False)
    crl_cache_refresh_interval: float = setting(
        duration, 900.0, "How often revocation lists are fetched; here they are read at start and reload.", used=False
    )

    node: NodeConfig = section(NodeConfig)
    log: LogConfig = section(LogConfig)
    mqtt: MqttConfig = section(MqttConfig)
    zones: dict[str, ZoneConfig] = named(ZoneConfig, key="zone")
    listeners: list[ListenerConfig] = listeners(ListenerConfig)
    broker: BrokerConfig = section(BrokerConfig)
    limits: LimitsConfig = section(LimitsConfig)
    overload: OverloadConfig = section(OverloadConfig)
    retainer: RetainerConfig = section(RetainerConfig)
    store: StoreConfig = section(StoreConfig)
    security: SecurityConfig = section(SecurityConfig)
    sysmon: SysmonConfig = section(SysmonConfig)
    os_mon: OsMonConfig = section(OsMonConfig)
    vm_mon: VmMonConfig = section(VmMonConfig)
    alarm: AlarmConfig = section(AlarmConfig)
    management: ManagementConfig = section(ManagementConfig)
    dashboard: DashboardConfig = section(DashboardConfig)
    license: LicenseConfig = section(LicenseConfig)
    rule_engine: RuleEngineConfig = section(RuleEngineConfig)
    plugins: PluginsConfig = section(PluginsConfig)
    modules: ModulesConfig = section(ModulesConfig)
    plugin_tables: dict[str, Any] = free("plugins")
    module_tables: dict[str, Any] = free("modules")
    module: dict[str, Any] = free()
    auth: dict[str, Any] = free()
    web: dict[str, Any] = free()
    prometheus: dict[str, Any] = free()
    psk: dict[str, Any] = free()
    telemetry: dict[str, Any] = free()
    bridge: dict[str, Any] = free()
    cluster: dict[str, Any] = free()
    rpc: dict[str, Any] = free()

    warnings: list[str] = attrs.field(factory=list)
    path: Path | None = None
    origins: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    saved: dict[str, object] = attrs.field(factory=dict, repr=False, eq=False)
    """The saved overrides by dotted key."""
    source: Callable[[Mapping[str, object] | None], Config] | None = attrs.field(default=None, repr=False, eq=False)
    """Puts it together again from the same file and environment, under other saved overrides (None: those on disk).
    Raises ConfigErrors."""

    def zone(self, name: str) -> ZoneConfig:
        """The settings written for a zone; an empty set for `default`. KeyError for a zone nobody defined."""
        if name == DEFAULT_ZONE and name not in self.zones:
            return ZoneConfig()
        return self.zones[name]


@cache
def schema() -> Branch:
    """The tree of all keys."""
    return tree_of(Config, KINDS)
