"""From what is written about a zone to what the core reads."""

from __future__ import annotations

from typing import Final, TypeVar

from trioemqx.config.model import Config
from trioemqx.config.zone import ZoneConfig
from trioemqx.core.zone import Zone

T = TypeVar("T")

MAX_INFLIGHT: Final = 65535
"""What `max_inflight = 0` means."""


def build_zone(config: Config, name: str) -> Zone:
    """The effective settings of zone `name`: its own value, else `mqtt.*` or the top level, else the built-in one.

    KeyError for a zone that the configuration does not have; `default` always exists.
    """
    written = config.zone(name)
    zone = Zone(name)
    _access(zone, config, written)
    _capabilities(zone, config, written)
    _session(zone, written)
    _rates(zone, written)
    zone.enable_stats = written.enable_stats
    zone.tcp_keepalive = written.tcp_keepalive
    zone.conn_congestion_alarm = written.conn_congestion_alarm
    zone.conn_congestion_min_alarm_sustain_duration = written.conn_congestion_min_alarm_sustain_duration
    zone.force_shutdown_queue_len, zone.force_shutdown_bytes = written.force_shutdown_policy
    return zone


def _or(value: T | None, fallback: T) -> T:
    return fallback if value is None else value


def _access(zone: Zone, config: Config, written: ZoneConfig) -> None:
    # EMQX leaves authorization and bans off in a zone whose table does not switch them on; a listener without any zone
    # has authorization.
    guarded = config.security.profile == "hardened"
    zone.allow_anonymous = _or(written.allow_anonymous, config.allow_anonymous)
    zone.acl_nomatch = _or(written.acl_nomatch, config.acl_nomatch)
    zone.acl_deny_action = _or(written.acl_deny_action, config.acl_deny_action)
    zone.enable_acl = _or(written.enable_acl, guarded or zone.name not in config.zones)
    zone.enable_ban = _or(written.enable_ban, guarded)
    zone.enable_acl_cache = config.enable_acl_cache
    zone.acl_cache_max_size = config.acl_cache_max_size
    zone.acl_cache_ttl = config.acl_cache_ttl
    zone.bypass_auth_plugins = written.bypass_auth_plugins
    zone.enable_flapping_detect = written.enable_flapping_detect
    zone.use_username_as_clientid = written.use_username_as_clientid
    zone.mountpoint = written.mountpoint


def _capabilities(zone: Zone, config: Config, written: ZoneConfig) -> None:
    mqtt = config.mqtt
    zone.max_packet_size = _or(written.max_packet_size, mqtt.max_packet_size)
    zone.max_clientid_len = _or(written.max_clientid_len, mqtt.max_clientid_len)
    zone.max_topic_levels = _or(written.max_topic_levels, mqtt.max_topic_levels)
    zone.max_topic_length = _or(written.max_topic_length, mqtt.max_topic_length)
    zone.max_qos_allowed = _or(written.max_qos_allowed, mqtt.max_qos_allowed)
    zone.max_topic_alias = _or(written.max_topic_alias, mqtt.max_topic_alias)
    zone.max_user_properties = _or(written.max_user_properties, mqtt.max_user_properties)
    zone.max_properties_size = _or(written.max_properties_size, mqtt.max_properties_size)
    zone.retain_available = _or(written.retain_available, mqtt.retain_available)
    zone.wildcard_subscription = _or(written.wildcard_subscription, mqtt.wildcard_subscription)
    zone.shared_subscription = _or(written.shared_subscription, mqtt.shared_subscription)
    zone.exclusive_subscription = _or(written.exclusive_subscription, mqtt.exclusive_subscription)
    zone.ignore_loop_deliver = _or(written.ignore_loop_deliver, mqtt.ignore_loop_deliver)
    zone.strict_mode = _or(written.strict_mode, mqtt.strict_mode)
    zone.response_information = _or(written.response_information, mqtt.response_information or "")


def _session(zone: Zone, written: ZoneConfig) -> None:
    zone.idle_timeout = written.idle_timeout
    zone.server_keepalive = _or(written.server_keepalive, 0)
    zone.keepalive_backoff = written.keepalive_backoff
    zone.max_subscriptions = written.max_subscriptions
    zone.upgrade_qos = written.upgrade_qos
    zone.max_inflight = written.max_inflight or MAX_INFLIGHT
    zone.retry_interval = written.retry_interval
    zone.max_awaiting_rel = written.max_awaiting_rel
    zone.await_rel_timeout = written.await_rel_timeout
    zone.session_expiry_interval = written.session_expiry_interval
    zone.max_mqueue_len = written.max_mqueue_len
    zone.max_mqueue_bytes = written.max_mqueue_bytes
    zone.mqueue_priorities = written.mqueue_priorities
    zone.mqueue_default_priority_highest = written.mqueue_default_priority == "highest"
    zone.mqueue_store_qos0 = written.mqueue_store_qos0


def _rates(zone: Zone, written: ZoneConfig) -> None:
    zone.conn_messages_in = written.conn_messages_in or written.publish_limit
    zone.conn_bytes_in = written.conn_bytes_in
    zone.quota_conn_messages_routing = written.quota_conn_messages_routing
    zone.quota_overall_messages_routing = written.quota_overall_messages_routing
