"""What is found, and questions that several checks ask."""

from __future__ import annotations

import ipaddress
from typing import Final

import attrs

from trioemqx.config.listener import ListenerConfig

HIGH: Final = "high"
MEDIUM: Final = "medium"
LOW: Final = "low"
SEVERITIES: Final = (HIGH, MEDIUM, LOW)
"""high: strangers get in, or secrets out. medium: one more mistake and they do. low: less than it could be."""


@attrs.frozen
class Finding:
    """One weakness. `key` is the setting to change, or a file; `value` what it is now, without secrets; `proposal` a
    value for the key, or what to do."""

    severity: str
    key: str
    value: str
    reason: str
    proposal: str
    at: tuple[str, ...] = ()
    """The doors that it is about, by the address they listen on."""


def key_of(listener: ListenerConfig, setting: str) -> str:
    """`listener.tcp.external.bind`"""
    return f"listener.{listener.kind}.{listener.name}.{setting}"


def is_public(host: str) -> bool:
    """Whether others than this machine can reach an address to listen on; "" and names but localhost count."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True


def is_restricted(listener: ListenerConfig) -> bool:
    """Whether `access` keeps anybody out: it ends in a rule that denies all."""
    return any(not rule.allow and rule.network is None for rule in listener.access)


def guessable(secret: str) -> bool:
    """Whether a secret is one that people try first, or short enough to be tried."""
    return len(secret) < 12 or len(set(secret)) < 5
