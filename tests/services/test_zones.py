"""Every fallback of a zone: its own value, the global one, the built-in one."""

from __future__ import annotations

from typing import Any

import pytest

from trioemqx.config.load import from_mapping, load
from trioemqx.core.zone import Zone
from trioemqx.services.zones import build_zone


def settings_of(zone: Zone) -> dict[str, object]:
    """Every attribute; a compiled object has no `__dict__`."""
    return {name: getattr(zone, name) for name in dir(zone) if not name.startswith("_")}


def zone_of(zone: dict[str, Any], **top: object) -> Zone:
    return build_zone(from_mapping({"zone": {"z": zone}, **top}), "z")


def test_the_shipped_external_zone() -> None:
    zone = build_zone(load(None, {}), "external")
    assert (zone.name, zone.allow_anonymous, zone.acl_nomatch) == ("external", "true", "allow")
    assert (zone.enable_acl, zone.enable_ban, zone.enable_stats) == (True, True, True)
    assert (zone.max_inflight, zone.max_awaiting_rel, zone.max_mqueue_len) == (32, 100, 1000)
    assert zone.mqueue_default_priority_highest
    assert (zone.session_expiry_interval, zone.idle_timeout, zone.acl_cache_ttl) == (7200, 15.0, 60.0)
    assert isinstance(zone.session_expiry_interval, int)
    assert (zone.force_shutdown_queue_len, zone.force_shutdown_bytes) == (10_000, 64 * 1024**2)
    assert (zone.max_mqueue_bytes, zone.max_topic_length) == (16 * 1024**2, 4096)
    assert (zone.max_user_properties, zone.max_properties_size) == (100, 16 * 1024)
    assert zone.ignore_loop_deliver is False


def test_the_shipped_internal_zone() -> None:
    zone = build_zone(load(None, {}), "internal")
    assert (zone.enable_acl, zone.bypass_auth_plugins, zone.allow_anonymous) == (False, True, "true")
    assert (zone.max_inflight, zone.max_awaiting_rel, zone.max_mqueue_len) == (128, 1000, 10_000)


MQTT: dict[str, tuple[object, object]] = {
    "max_packet_size": (2048, 4096),
    "max_clientid_len": (100, 200),
    "max_topic_levels": (3, 0),
    "max_topic_length": (100, 200),
    "max_qos_allowed": (1, 0),
    "max_topic_alias": (5, 0),
    "max_user_properties": (5, 0),
    "max_properties_size": (100, 0),
    "retain_available": (False, True),
    "wildcard_subscription": (False, True),
    "shared_subscription": (False, True),
    "exclusive_subscription": (True, False),
    "ignore_loop_deliver": (False, True),
    "strict_mode": (True, False),
    "response_information": ("a/", "b/"),
}


@pytest.mark.parametrize("key", MQTT)
def test_capabilities_fall_back_to_mqtt(key: str) -> None:
    globally, locally = MQTT[key]
    assert getattr(zone_of({}, mqtt={key: globally}), key) == globally
    assert getattr(zone_of({key: locally}, mqtt={key: globally}), key) == locally


@pytest.mark.parametrize(
    ("key", "globally", "locally"),
    [
        ("allow_anonymous", "true", "false"),
        ("acl_nomatch", "allow", "deny"),
        ("acl_deny_action", "disconnect", "ignore"),
    ],
)
def test_access_falls_back_to_the_top_level(key: str, globally: str, locally: str) -> None:
    assert getattr(zone_of({}, **{key: globally}), key) == globally
    assert getattr(zone_of({key: locally}, **{key: globally}), key) == locally


def test_a_zone_that_sets_nothing_has_the_schema_defaults() -> None:
    zone = zone_of({})
    assert zone.max_inflight == 65535
    assert (zone.max_awaiting_rel, zone.max_subscriptions, zone.max_mqueue_len) == (0, 0, 1000)
    assert (zone.enable_acl, zone.enable_ban, zone.enable_stats) == (False, False, False)
    assert (zone.allow_anonymous, zone.acl_nomatch) == ("false", "deny")
    assert not zone.mqueue_default_priority_highest
    assert (zone.server_keepalive, zone.response_information, zone.mountpoint) == (0, "", "")
    assert (zone.conn_messages_in, zone.conn_bytes_in, zone.mqueue_priorities) == (None, None, None)


def test_the_hardened_profile_guards_zones_that_say_nothing() -> None:
    zone = zone_of({}, security={"profile": "hardened"})
    assert (zone.enable_acl, zone.enable_ban) == (True, True)
    assert zone_of({"enable_acl": False}, security={"profile": "hardened"}).enable_acl is False


def test_the_default_zone_needs_no_table_and_has_authorization() -> None:
    zone = build_zone(from_mapping({"mqtt": {"max_qos_allowed": 1}}), "default")
    assert (zone.name, zone.enable_acl, zone.max_qos_allowed) == ("default", True, 1)
    with pytest.raises(KeyError):
        build_zone(from_mapping({}), "nowhere")


def test_rates_quotas_and_policies() -> None:
    zone = zone_of(
        {
            "rate_limit": {"conn_messages_in": "100,10s", "conn_bytes_in": "1KB,1s"},
            "quota": {"conn_messages_routing": "5,1s", "overall_messages_routing": "7,1s"},
            "force_shutdown_policy": "0|1MB",
            "tcp_keepalive": "240,30,5",
            "mqueue_priorities": "a=1,b=2",
            "server_keepalive": "60s",
            "conn_congestion": {"alarm": True, "min_alarm_sustain_duration": "2m"},
        }
    )
    assert (zone.conn_messages_in, zone.conn_bytes_in) == ((100, 10.0), (1024, 1.0))
    assert (zone.quota_conn_messages_routing, zone.quota_overall_messages_routing) == ((5, 1.0), (7, 1.0))
    assert (zone.force_shutdown_queue_len, zone.force_shutdown_bytes) == (0, 1024**2)
    assert zone.tcp_keepalive == (240, 30, 5)
    assert zone.mqueue_priorities == {"a": 1, "b": 2}
    assert zone.server_keepalive == 60
    assert (zone.conn_congestion_alarm, zone.conn_congestion_min_alarm_sustain_duration) == (True, 120.0)


def test_the_older_spelling_of_the_message_rate() -> None:
    assert zone_of({"publish_limit": "3,1s"}).conn_messages_in == (3, 1.0)
    assert zone_of({"publish_limit": "3,1s", "rate_limit": {"conn_messages_in": "4,1s"}}).conn_messages_in == (4, 1.0)


def test_every_attribute_of_a_zone_is_reached() -> None:
    """A setting that is added to the core and forgotten here would silently keep its built-in value."""
    before = settings_of(Zone("z"))
    settings: dict[str, Any] = {key: values[1] for key, values in MQTT.items()}
    changed = zone_of(
        {
            **settings,
            "max_topic_levels": 9,
            "max_topic_alias": 9,
            "retain_available": False,
            "wildcard_subscription": False,
            "shared_subscription": False,
            "exclusive_subscription": True,
            "strict_mode": True,
            "idle_timeout": 1,
            "allow_anonymous": "false_quick_deny",
            "acl_nomatch": "deny",
            "enable_acl": False,
            "acl_deny_action": "disconnect",
            "enable_ban": False,
            "enable_stats": False,
            "bypass_auth_plugins": True,
            "enable_flapping_detect": True,
            "use_username_as_clientid": True,
            "mountpoint": "m/",
            "server_keepalive": 9,
            "keepalive_backoff": 0.9,
            "max_subscriptions": 9,
            "upgrade_qos": True,
            "max_inflight": 9,
            "retry_interval": 9,
            "max_awaiting_rel": 9,
            "await_rel_timeout": 9,
            "session_expiry_interval": 9,
            "max_mqueue_len": 9,
            "max_mqueue_bytes": 9,
            "mqueue_priorities": "a=1",
            "mqueue_default_priority": "lowest",
            "mqueue_store_qos0": False,
            "rate_limit": {"conn_messages_in": "1,1s", "conn_bytes_in": "1,1s"},
            "quota": {"conn_messages_routing": "1,1s", "overall_messages_routing": "1,1s"},
            "conn_congestion": {"alarm": True, "min_alarm_sustain_duration": 9},
            "tcp_keepalive": "9,9,9",
            "force_shutdown_policy": "9|9",
        },
        enable_acl_cache=False,
        acl_cache_max_size=9,
        acl_cache_ttl=9,
    )
    kept = {name for name, value in settings_of(changed).items() if value == before[name]}
    assert kept == {"name"}
