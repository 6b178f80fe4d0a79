"""`[mqtt]` and `[zone.<name>]`: what clients may do. A zone's None falls back to `mqtt` or to the top level."""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from typing import Final

import attrs

from trioemqx.config.fields import bytesize, choice, duration, flag, integer, number, size_between, text
from trioemqx.config.schema import setting, unused
from trioemqx.config.values import (
    Rate,
    byte_rate,
    keep_alive,
    load,
    priorities,
    rate,
    tcp_keepalive,
    whole_seconds,
)

ANONYMOUS: Final = choice("true", "false", "false_quick_deny")
NOMATCH: Final = choice("allow", "deny")
DENY_ACTION: Final = choice("ignore", "disconnect")

_PACKET: Final = size_between(64, 268_435_455)
_CLIENTID: Final = integer(23, 65535)
_LEVELS: Final = integer(0, 128)
_TOPIC: Final = size_between(1, 65535)
_QOS: Final = integer(0, 2)
_ALIASES: Final = integer(0, 65535)
_USER_PROPERTIES: Final = integer(0, 65535)
_PROPERTIES: Final = size_between(0, 268_435_455)


@attrs.frozen
class MqttConfig:
    """Capabilities for all zones that do not set their own. Sizes are bytes."""

    max_packet_size: int = setting(_PACKET, 1024**2, "Largest packet in, and announced to MQTT 5 clients.")
    max_clientid_len: int = setting(_CLIENTID, 65535, "Longest client identifier, in bytes.", example=65535)
    max_topic_levels: int = setting(_LEVELS, 128, "Most levels of a topic or filter; 0 = unlimited.")
    max_topic_length: int = setting(_TOPIC, 4096, "Longest topic or filter, in bytes.", added=True)
    max_qos_allowed: int = setting(_QOS, 2, "Highest QoS for publishing and subscribing.")
    max_topic_alias: int = setting(_ALIASES, 65535, "Announced to MQTT 5 clients; 0 = no aliases.")
    max_user_properties: int = setting(_USER_PROPERTIES, 100, "Most user properties in one packet.", added=True)
    max_properties_size: int = setting(_PROPERTIES, 16 * 1024, "Largest property block of one packet.", added=True)
    retain_available: bool = setting(flag, True, "Retained messages are allowed.")
    wildcard_subscription: bool = setting(flag, True, "Filters with + and # are allowed.")
    shared_subscription: bool = setting(flag, True, "$share/<group>/<filter> and $queue/<filter> are allowed.")
    exclusive_subscription: bool = setting(flag, False, "$exclusive/<topic> is allowed.")
    ignore_loop_deliver: bool = setting(
        flag, False, "MQTT 3 clients do not get their own messages back; on, this breaks [MQTT-3.3.5-1]."
    )
    strict_mode: bool = setting(flag, False, "Strict packet parsing.")
    response_information: str | None = setting(
        text, None, "Value of the MQTT 5 Response-Information property.", example="response/"
    )


@attrs.frozen
class ZoneConfig:
    """Settings of one zone. Durations are seconds, sizes bytes; None = not set here.

    `trioemqx.services.zones.build_zone` takes all fallbacks and gives what the core reads.
    """

    # Access
    idle_timeout: float = setting(duration, 15.0, "Time from accept to a valid CONNECT.")
    allow_anonymous: str | None = setting(ANONYMOUS, None, "Falls back to the top-level allow_anonymous.", example=True)
    acl_nomatch: str | None = setting(NOMATCH, None, "Falls back to the top-level acl_nomatch.", example="allow")
    enable_acl: bool | None = setting(
        flag, None, "Authorize publish and subscribe. Unset means off (hardened profile: on).", example=True
    )
    acl_deny_action: str | None = setting(
        DENY_ACTION, None, "What a refusal does: ignore, or disconnect. Falls back to the top level.", example="ignore"
    )
    enable_ban: bool | None = setting(
        flag, None, "Consult the banned table. Unset means off (hardened profile: on).", example=True
    )
    enable_stats: bool = setting(
        flag, False, "Collect statistics per client; here that costs nothing and is always done.", used=False
    )
    bypass_auth_plugins: bool = setting(flag, False, "Skip the authentication chain; the anonymous rule decides.")
    enable_flapping_detect: bool = setting(flag, False, "Ban clients that reconnect all the time.")
    use_username_as_clientid: bool = setting(flag, False, "The user name replaces the client identifier.")
    mountpoint: str = setting(
        text, "", "Put in front of topics; %c and %u are filled in as whole levels.", example="tenant/%u/"
    )

    # Capabilities, over [mqtt]
    max_packet_size: int | None = setting(_PACKET, None, "Falls back to mqtt.max_packet_size.", example="1MB")
    max_clientid_len: int | None = setting(_CLIENTID, None, "Falls back to mqtt.max_clientid_len.", example=1024)
    max_topic_levels: int | None = setting(_LEVELS, None, "Falls back to mqtt.max_topic_levels.", example=7)
    max_topic_length: int | None = setting(
        _TOPIC, None, "Falls back to mqtt.max_topic_length.", example=4096, added=True
    )
    max_qos_allowed: int | None = setting(_QOS, None, "Falls back to mqtt.max_qos_allowed.", example=2)
    max_topic_alias: int | None = setting(_ALIASES, None, "Falls back to mqtt.max_topic_alias.", example=64)
    max_user_properties: int | None = setting(
        _USER_PROPERTIES, None, "Falls back to mqtt.max_user_properties.", example=100, added=True
    )
    max_properties_size: int | None = setting(
        _PROPERTIES, None, "Falls back to mqtt.max_properties_size.", example="16KB", added=True
    )
    retain_available: bool | None = setting(flag, None, "Falls back to mqtt.retain_available.", example=True)
    wildcard_subscription: bool | None = setting(flag, None, "Falls back to mqtt.wildcard_subscription.", example=True)
    shared_subscription: bool | None = setting(flag, None, "Falls back to mqtt.shared_subscription.", example=True)
    exclusive_subscription: bool | None = setting(
        flag, None, "Falls back to mqtt.exclusive_subscription.", example=False
    )
    ignore_loop_deliver: bool | None = setting(flag, None, "Falls back to mqtt.ignore_loop_deliver.", example=False)
    strict_mode: bool | None = setting(flag, None, "Falls back to mqtt.strict_mode.", example=False)
    response_information: str | None = setting(
        text, None, "Falls back to mqtt.response_information.", example="response/"
    )

    # Session
    server_keepalive: int | None = setting(
        keep_alive, None, "Keep-alive announced to and enforced on MQTT 5 clients.", example=60
    )
    keepalive_backoff: float = setting(
        number(0, 10), 0.75, "A client is cut off after keep-alive x 2 x this factor; above 0.5."
    )
    max_subscriptions: int = setting(integer(), 0, "Subscriptions of one client; 0 = unlimited.")
    upgrade_qos: bool = setting(flag, False, "Deliver with the higher of both QoS instead of the lower.")
    max_inflight: int = setting(integer(0, 65535), 0, "Unacknowledged QoS 1 and 2 messages to one client; 0 = 65535.")
    retry_interval: float = setting(duration, 30.0, "Delay before a message is sent again; 0 = never.")
    max_awaiting_rel: int = setting(integer(), 0, "QoS 2 messages of one client that wait for PUBREL; 0 = unlimited.")
    await_rel_timeout: float = setting(duration, 300.0, "A QoS 2 message without PUBREL is forgotten after that.")
    session_expiry_interval: int = setting(
        whole_seconds, 7200, "How long a session of an MQTT 3 client with clean_session=0 is kept."
    )
    max_mqueue_len: int = setting(integer(), 1000, "Messages that wait for one client, per priority; 0 = unlimited.")
    max_mqueue_bytes: int = setting(
        bytesize, 16 * 1024**2, "Bytes of messages that wait for one client; 0 = unlimited.", added=True
    )
    mqueue_priorities: dict[str, int] | None = setting(priorities, None, "Topics with priority 0..255, or none.")
    mqueue_default_priority: str = setting(
        choice("highest", "lowest"), "lowest", "Priority of topics that mqueue_priorities does not list."
    )
    mqueue_store_qos0: bool = setting(flag, True, "Keep QoS 0 messages for a client that is away.")

    # Rates and quotas
    conn_messages_in: Rate | None = setting(
        rate,
        None,
        "PUBLISH packets per period and client; beyond it reading pauses.",
        key="rate_limit.conn_messages_in",
        example="100,10s",
    )
    conn_bytes_in: Rate | None = setting(
        byte_rate,
        None,
        "Bytes per period and client; beyond it reading pauses.",
        key="rate_limit.conn_bytes_in",
        example="100KB,10s",
    )
    publish_limit: Rate | None = setting(
        rate, None, "Older spelling of rate_limit.conn_messages_in.", example="100,10s"
    )
    quota_conn_messages_routing: Rate | None = setting(
        rate,
        None,
        "Routed messages per period and client; beyond it PUBLISH is refused with 0x97.",
        key="quota.conn_messages_routing",
        example="100,1s",
    )
    quota_overall_messages_routing: Rate | None = setting(
        rate,
        None,
        "Routed messages per period, shared by the zone.",
        key="quota.overall_messages_routing",
        example="200000,1s",
    )

    # Socket and memory
    conn_congestion_alarm: bool = setting(
        flag, False, "Raise an alarm for a client that does not read.", key="conn_congestion.alarm"
    )
    conn_congestion_min_alarm_sustain_duration: float = setting(
        duration, 60.0, "The alarm stays for at least that long.", key="conn_congestion.min_alarm_sustain_duration"
    )
    tcp_keepalive: tuple[int, int, int] | None = setting(
        tcp_keepalive, None, "TCP keep-alive: idle, interval, probes.", example="240,30,5"
    )
    force_shutdown_policy: tuple[int, int] = setting(
        load,
        (10_000, 64 * 1024**2),
        "End a client that has more messages in a queue without max_mqueue_len, or more bytes without a limit of their "
        "own, waiting in memory; its session ends with it, unless it is on disk. 0 switches a half off.",
    )
    force_gc_policy: tuple[int, int] | None = setting(
        load, None, "Memory collection of an Erlang process.", example="16000|16MB", used=False
    )
    latency_samples: int | None = unused(example=10)
