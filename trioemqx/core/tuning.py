"""What an operator changes about one client while it is here: keep-alive, rates and quota; and its access decisions.

All of it belongs to a connection. For a session whose client is away limits are accepted and have nothing to act on:
the next connection begins with those of its zone and listener, as every connection does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.core.limiter import TokenBucket

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker

LONGEST_KEEPALIVE: Final = 65535


def set_keepalive(broker: Broker, clientid: str, seconds: int) -> bool:
    """`Broker.set_keepalive`"""
    if not 0 <= seconds <= LONGEST_KEEPALIVE:
        raise ValueError(f"a keep-alive is 0 to {LONGEST_KEEPALIVE} seconds, not {seconds}")
    session = broker.find(clientid)
    if session is None:
        return False
    broker.tell_time()
    session.info.keepalive = seconds
    channel = session.channel
    if channel is not None:
        channel.set_keepalive(seconds)
        channel.last_packet = max(channel.last_packet, broker.now)  # the new interval begins now
    return True


def set_rate(
    broker: Broker, clientid: str, bytes_in: tuple[float, float] | None, messages_in: tuple[float, float] | None
) -> bool:
    """`Broker.set_rate`"""
    by_bytes = bucket(bytes_in)
    by_messages = bucket(messages_in)
    session = broker.find(clientid)
    if session is None:
        return False
    channel = session.channel
    if channel is not None:
        broker.tell_time()
        channel.bytes_bucket = by_bytes
        channel.messages_bucket = by_messages
        channel.unpause()
        broker.wake()
    return True


def set_quota(broker: Broker, clientid: str, messages_routing: tuple[float, float] | None) -> bool:
    """`Broker.set_quota`"""
    routed = bucket(messages_routing)
    session = broker.find(clientid)
    if session is None:
        return False
    channel = session.channel
    if channel is not None:
        channel.quota_bucket = routed
        channel.quota_until = 0.0
    return True


def bucket(rate: tuple[float, float] | None) -> TokenBucket | None:
    """The bucket of a (count, seconds) pair; None = no limit. Raises ValueError unless both are above 0."""
    return None if rate is None else TokenBucket(rate[0], rate[1])


def acl_cache(broker: Broker, clientid: str) -> list[tuple[str, str, bool, int]] | None:
    """`Broker.acl_cache`"""
    session = broker.find(clientid)
    if session is None:
        return None
    channel = session.channel
    if channel is None or channel.acl is None:
        return []
    broker.tell_time()
    return [
        (action, topic, allowed, broker.now_ms - round(age * 1000))
        for action, topic, allowed, age in channel.acl.entries(broker.now)
    ]


def clean_acl_cache(broker: Broker, clientid: str) -> bool:
    """`Broker.clean_acl_cache`"""
    session = broker.find(clientid)
    if session is None:
        return False
    if session.channel is not None:
        session.channel.forget_grants()
    return True
