"""What a broker without a configuration file uses: the values of the file that EMQX 4.4 ships.

`etc/emqx.toml` sets exactly these; a test compares both.
"""

from __future__ import annotations

from typing import Any, Final

KEYFILE: Final = "etc/certs/key.pem"
CERTFILE: Final = "etc/certs/cert.pem"
CACERTFILE: Final = "etc/certs/cacert.pem"

_SUBPROTOCOLS: Final = "mqtt, mqtt-v3, mqtt-v3.1.1, mqtt-v5"

_ACCESS: Final[dict[str, Any]] = {
    "allow_anonymous": True,
    "acl_nomatch": "allow",
    "acl_file": "etc/acl.toml",
    "enable_acl_cache": True,
    "acl_cache_max_size": 32,
    "acl_cache_ttl": "1m",
    "acl_deny_action": "ignore",
    "flapping_detect_policy": "30, 1m, 5m",
    "auth_order": "none",
    "acl_order": "none",
    "crl_cache_http_timeout": "15s",
    "crl_cache_refresh_interval": "15m",
}

_ZONES: Final[dict[str, Any]] = {
    "external": {
        "idle_timeout": "15s",
        "enable_acl": True,
        "acl_deny_action": "ignore",
        "enable_ban": True,
        "enable_stats": True,
        "enable_flapping_detect": False,
        "ignore_loop_deliver": False,
        "strict_mode": False,
        "keepalive_backoff": 0.75,
        "max_subscriptions": 0,
        "upgrade_qos": False,
        "max_inflight": 32,
        "retry_interval": "30s",
        "max_awaiting_rel": 100,
        "await_rel_timeout": "300s",
        "session_expiry_interval": "2h",
        "max_mqueue_len": 1000,
        "mqueue_priorities": "none",
        "mqueue_default_priority": "highest",
        "mqueue_store_qos0": True,
        "use_username_as_clientid": False,
        "force_gc_policy": "16000|16MB",
    },
    "internal": {
        "allow_anonymous": True,
        "enable_acl": False,
        "acl_deny_action": "ignore",
        "enable_stats": True,
        "bypass_auth_plugins": True,
        "enable_flapping_detect": False,
        "ignore_loop_deliver": False,
        "strict_mode": False,
        "max_subscriptions": 0,
        "max_inflight": 128,
        "max_awaiting_rel": 1000,
        "max_mqueue_len": 10000,
        "mqueue_store_qos0": True,
    },
}

_LISTENERS: Final[dict[str, Any]] = {
    "tcp": {
        "external": {
            "bind": "0.0.0.0:1883",
            "zone": "external",
            "acceptors": 8,
            "max_connections": 1024000,
            "max_conn_rate": 1000,
            "active_n": 100,
            "access": ["allow all"],
            "backlog": 1024,
            "send_timeout": "15s",
            "send_timeout_close": True,
            "nodelay": True,
            "reuseaddr": True,
        },
        "internal": {
            "bind": "127.0.0.1:11883",
            "zone": "internal",
            "acceptors": 4,
            "max_connections": 1024000,
            "max_conn_rate": 1000,
            "active_n": 1000,
            "backlog": 512,
            "send_timeout": "5s",
            "send_timeout_close": True,
            "recbuf": "64KB",
            "sndbuf": "64KB",
            "nodelay": False,
            "reuseaddr": True,
        },
    },
    "ssl": {
        "external": {
            "bind": "0.0.0.0:8883",
            "zone": "external",
            "acceptors": 16,
            "max_connections": 102400,
            "max_conn_rate": 500,
            "active_n": 100,
            "access": ["allow all"],
            "recbuf": "4KB",
            "sndbuf": "4KB",
            "reuseaddr": True,
            "keyfile": KEYFILE,
            "certfile": CERTFILE,
            "cacertfile": CACERTFILE,
            "verify": "verify_none",
            "handshake_timeout": "15s",
        },
    },
    "ws": {
        "external": {
            "bind": "0.0.0.0:8083",
            "zone": "external",
            "acceptors": 4,
            "max_connections": 102400,
            "max_conn_rate": 1000,
            "active_n": 100,
            "access": ["allow all"],
            "backlog": 1024,
            "send_timeout": "15s",
            "send_timeout_close": True,
            "nodelay": True,
            "mqtt_path": "/mqtt",
            "fail_if_no_subprotocol": True,
            "supported_subprotocols": _SUBPROTOCOLS,
            "check_origin_enable": False,
            "allow_origin_absence": True,
            "check_origins": "http://localhost:18083, http://127.0.0.1:18083",
        },
    },
    "wss": {
        "external": {
            "bind": "0.0.0.0:8084",
            "zone": "external",
            "acceptors": 4,
            "max_connections": 102400,
            "max_conn_rate": 1000,
            "active_n": 100,
            "access": ["allow all"],
            "backlog": 1024,
            "send_timeout": "15s",
            "send_timeout_close": True,
            "keyfile": KEYFILE,
            "certfile": CERTFILE,
            "verify": "verify_none",
            "mqtt_path": "/mqtt",
            "fail_if_no_subprotocol": True,
            "supported_subprotocols": _SUBPROTOCOLS,
            "check_origin_enable": False,
            "allow_origin_absence": True,
            "check_origins": "https://localhost:8084, https://127.0.0.1:8084",
        },
    },
}

_HTTP_LIMITS: Final[dict[str, Any]] = {
    "max_clients": 512,
    "backlog": 512,
    "send_timeout": "15s",
    "send_timeout_close": True,
    "inet6": False,
    "ipv6_v6only": False,
}

_API: Final[dict[str, Any]] = {
    "management": {
        "listener": {"http": {"bind": 8081, "acceptors": 2, **_HTTP_LIMITS}},
        "max_row_limit": 10_000,
        "default_application": {"id": "admin", "secret": "public"},
    },
    "dashboard": {
        "listener": {"http": {"bind": 18083, "acceptors": 4, **_HTTP_LIMITS}},
        "default_user": {"login": "admin", "password": "public"},
    },
    "license": {"file": "etc/emqx.lic"},
}

SHIPPED: Final[dict[str, Any]] = {
    **_ACCESS,
    "node": {"name": "emqx@127.0.0.1", "data_dir": "data"},
    "log": {
        "to": "file",
        "level": "warning",
        "dir": "log",
        "file": "emqx.log",
        "formatter": {"type": "text"},
        "rotation": {"enable": True, "size": "10MB", "count": 5},
    },
    "mqtt": {
        "max_packet_size": "1MB",
        "max_clientid_len": 65535,
        "max_topic_levels": 128,
        "max_qos_allowed": 2,
        "max_topic_alias": 65535,
        "retain_available": True,
        "wildcard_subscription": True,
        "shared_subscription": True,
        "exclusive_subscription": False,
        "ignore_loop_deliver": False,
        "strict_mode": False,
    },
    "zone": _ZONES,
    "listener": _LISTENERS,
    "broker": {
        "sys_interval": "1m",
        "sys_heartbeat": "30s",
        "session_locking_strategy": "quorum",
        "shared_subscription_strategy": "random",
        "shared_dispatch_ack_enabled": False,
        "route_batch_clean": False,
    },
    "retainer": {
        "storage_type": "ram",
        "max_retained_messages": 0,
        "max_payload_size": "1MB",
        "expiry_interval": "0s",
    },
    "limits": {},
    "overload": {},
    "store": {"sync": "full"},
    "security": {"profile": "emqx44", "allow_default_credentials": False},
    "sysmon": {
        "long_gc": 0,
        "long_schedule": "240ms",
        "large_heap": "8MB",
        "busy_port": False,
        "busy_dist_port": True,
    },
    "os_mon": {
        "cpu_check_interval": "60s",
        "cpu_high_watermark": "80%",
        "cpu_low_watermark": "60%",
        "mem_check_interval": "60s",
        "sysmem_high_watermark": "70%",
        "procmem_high_watermark": "5%",
    },
    "vm_mon": {"check_interval": "30s", "process_high_watermark": "80%", "process_low_watermark": "60%"},
    **_API,
    "rule_engine": {"ignore_sys_message": True},
    "alarm": {"actions": "log,publish", "size_limit": 1000, "validity_period": "24h"},
    "plugins": {
        "etc_dir": "etc/plugins",
        "loaded_file": "data/loaded_plugins",
        "expand_plugins_dir": "plugins",
    },
    "modules": {"loaded_file": "data/loaded_modules"},
    "module": {"presence": {"qos": 1}},
}


def shipped(profile: str) -> dict[str, Any]:
    """The shipped values; for the `hardened` profile without those that open a door.

    There nobody comes in anonymously, no match denies, there are no access rules (the shipped ones end in "allow all"),
    and addresses that nobody chose are loopback ones.
    """
    if profile != "hardened":
        return SHIPPED
    zones = {
        name: {key: value for key, value in zone.items() if key != "allow_anonymous"}
        for name, zone in SHIPPED["zone"].items()
    }
    opened_api: dict[str, Any] = {}
    opened = {
        kind: {
            name: {**listener, "bind": f"127.0.0.1:{listener['bind'].rpartition(':')[2]}"}
            for name, listener in by_name.items()
        }
        for kind, by_name in SHIPPED["listener"].items()
    }
    for api in ("management", "dashboard"):
        http = SHIPPED[api]["listener"]["http"]
        opened_api[api] = {**SHIPPED[api], "listener": {"http": {**http, "bind": f"127.0.0.1:{http['bind']}"}}}
    closed = {"allow_anonymous": False, "acl_nomatch": "deny", "zone": zones, "listener": opened, **opened_api}
    access = {**SHIPPED, **closed}
    del access["acl_file"]
    return {**access, "security": {**SHIPPED["security"], "profile": profile}}
