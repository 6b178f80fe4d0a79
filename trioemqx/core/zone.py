"""A zone with every fallback already taken: what one group of listeners allows its clients.

`config` describes what a user may write; this class is what the core reads, per message, so it is plain and compiled.
Names are EMQX's zone settings. Durations are seconds, sizes bytes, 0 means "no limit" where EMQX says so.
"""

from __future__ import annotations


class Zone:
    """Effective settings of one zone (`zone.<name>.*` over `mqtt.*` over the built-in value); one attribute for each,
    which makes the constructor long."""

    def __init__(self, name: str = "default") -> None:
        self.name = name
        # Access
        self.allow_anonymous = "true"
        """`true`, `false` or `false_quick_deny`."""
        self.acl_nomatch = "allow"
        self.enable_acl = True
        self.acl_deny_action = "ignore"
        self.enable_acl_cache = True
        self.acl_cache_max_size = 32
        self.acl_cache_ttl = 60.0
        self.enable_ban = True
        self.bypass_auth_plugins = False
        self.enable_flapping_detect = False
        self.use_username_as_clientid = False
        self.mountpoint = ""
        # Capabilities
        self.max_packet_size = 1024 * 1024
        self.max_clientid_len = 65535
        self.max_topic_levels = 128
        self.max_topic_length = 4096
        self.max_qos_allowed = 2
        self.max_topic_alias = 65535
        self.retain_available = True
        self.wildcard_subscription = True
        self.shared_subscription = True
        self.exclusive_subscription = False
        self.ignore_loop_deliver = False
        self.strict_mode = False
        self.response_information = ""
        self.max_user_properties = 100
        self.max_properties_size = 16 * 1024
        # Session
        self.idle_timeout = 15.0
        self.server_keepalive = 0
        self.keepalive_backoff = 0.75
        self.max_subscriptions = 0
        self.upgrade_qos = False
        self.max_inflight = 32
        self.retry_interval = 30.0
        self.max_awaiting_rel = 100
        self.await_rel_timeout = 300.0
        self.session_expiry_interval = 7200
        self.max_mqueue_len = 1000
        self.max_mqueue_bytes = 16 * 1024 * 1024
        self.mqueue_priorities: dict[str, int] | None = None
        self.mqueue_default_priority_highest = True
        self.mqueue_store_qos0 = True
        # Rates and quotas: (count, seconds), None = no limit
        self.conn_messages_in: tuple[float, float] | None = None
        self.conn_bytes_in: tuple[float, float] | None = None
        self.quota_conn_messages_routing: tuple[float, float] | None = None
        self.quota_overall_messages_routing: tuple[float, float] | None = None
        # Socket
        self.enable_stats = True
        self.tcp_keepalive: tuple[int, int, int] | None = None
        self.conn_congestion_alarm = False
        self.conn_congestion_min_alarm_sustain_duration = 60.0
        self.force_shutdown_queue_len = 10000
        """Half of `force_shutdown_policy`: messages one connection may have queued for its socket; 0 = off."""
        self.force_shutdown_bytes = 64 * 1024 * 1024
