"""Values made of several parts: addresses, rates, policies, access rules, topic priorities."""

from __future__ import annotations

import ipaddress
from typing import Final

import attrs

from trioemqx.config.fields import (
    MAX_SECONDS,
    Kind,
    parse_bytesize,
    parse_duration,
    refuse,
    show_bytesize,
    show_duration,
)

Rate = tuple[float, float]
"""(count or bytes, seconds)"""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Address:
    """Where a listener listens. `host` is "" when only a port was written; IPv6 hosts have no brackets here."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if host else str(self.port)


def _port(written: str) -> int:
    # str.isdigit is true for other scripts' digits as well, which nobody means in a port.
    if written.isascii() and written.isdigit() and len(written) <= 5 and 0 <= int(written) <= 65535:
        return int(written)
    return -1


def _address(value: object) -> Address:
    expected = 'a port 0..65535 or "host:port", IPv6 as "[::1]:1883"'
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return Address("", value)
    if not isinstance(value, str):
        raise refuse(expected, value)
    host, _, written = value.strip().rpartition(":")
    port = _port(written)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    spaced = any(letter.isspace() or letter in "[]/\0" for letter in host)
    if port < 0 or spaced or (":" in value and not host):
        raise refuse(expected, value)
    return Address(host, port)


address: Final = Kind("address", _address, str)


def _parts(value: object, separator: str, count: int) -> list[object]:
    """The parts of `"a, b"` or of a TOML list; too many or too few raise ValueError without words."""
    parts: list[object]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(separator)]
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        parts = []
    if len(parts) != count:
        raise ValueError
    return parts


def _count(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:19])
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError
    return seconds


def _rate(value: object) -> Rate:
    try:
        count, period = _parts(value, ",", 2)
        return _positive(_count(count)), _positive(parse_duration(period))
    except ValueError:
        raise refuse('"COUNT,PERIOD" such as "100,10s"', value) from None


def _byte_rate(value: object) -> Rate:
    try:
        size, period = _parts(value, ",", 2)
        return _positive(parse_bytesize(size)), _positive(parse_duration(period))
    except ValueError:
        raise refuse('"SIZE,PERIOD" such as "100KB,10s"', value) from None


rate: Final = Kind("rate", _rate, lambda pair: f"{pair[0]:g},{show_duration(pair[1])}", unit="count, seconds")
byte_rate: Final = Kind(
    "byte rate",
    _byte_rate,
    lambda pair: f"{show_bytesize(int(pair[0]))},{show_duration(pair[1])}",
    unit="bytes, seconds",
)


def _load(value: object) -> tuple[int, int]:
    try:
        count, size = _parts(value, "|", 2)
        return _count(count), parse_bytesize(size)
    except ValueError:
        raise refuse('"COUNT|SIZE" such as "16000|16MB"', value) from None


load: Final = Kind("load", _load, lambda pair: f"{pair[0]}|{show_bytesize(pair[1])}", unit="count, bytes")


@attrs.frozen
class FlappingPolicy:
    """Ban a client for `ban` seconds when it disconnects `count` times within `window` seconds."""

    count: int
    window: float
    ban: float

    def __str__(self) -> str:
        return f"{self.count}, {show_duration(self.window)}, {show_duration(self.ban)}"


def _flapping(value: object) -> FlappingPolicy:
    try:
        count, window, ban = _parts(value, ",", 3)
        if _count(count) < 1:
            raise ValueError
        return FlappingPolicy(_count(count), _positive(parse_duration(window)), _positive(parse_duration(ban)))
    except ValueError:
        raise refuse('"COUNT, WINDOW, BAN" such as "30, 1m, 5m"', value) from None


flapping: Final = Kind("flapping policy", _flapping, str, unit="count, seconds, seconds")


def _keepalive(value: object) -> tuple[int, int, int]:
    try:
        idle, interval, probes = (_count(part) for part in _parts(value, ",", 3))
        # The kernel refuses more, and zero means nothing there.
        if not (1 <= idle <= 32767 and 1 <= interval <= 32767 and 1 <= probes <= 127):
            raise ValueError
        return idle, interval, probes
    except ValueError:
        raise refuse('"IDLE,INTERVAL,PROBES" such as "240,30,5"', value) from None


tcp_keepalive: Final = Kind("tcp keepalive", _keepalive, lambda three: ",".join(map(str, three)), unit="s, s, count")


@attrs.frozen
class AccessRule:
    """One `allow|deny all|<CIDR>` line of a listener; `network` None means everybody."""

    allow: bool
    network: Network | None

    def matches(self, host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """True when the rule speaks about this peer. IPv4 peers of a dual-stack socket match IPv4 rules."""
        if self.network is None:
            return True
        mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
        return (mapped or host) in self.network

    def __str__(self) -> str:
        return f"{'allow' if self.allow else 'deny'} {self.network or 'all'}"


def _rule(line: object) -> AccessRule:
    verb, _, who = line.strip().partition(" ") if isinstance(line, str) else ("", "", "")
    who = who.strip()
    if verb not in ("allow", "deny") or not who:
        raise refuse('"allow" or "deny" with "all" or a network such as "10.0.0.0/8"', line)
    if who == "all":
        return AccessRule(verb == "allow", None)
    try:
        return AccessRule(verb == "allow", ipaddress.ip_network(who, strict=False))
    except ValueError:
        raise refuse('a network such as "10.0.0.0/8"', who) from None


def _access(value: object) -> tuple[AccessRule, ...]:
    lines: object = value
    if isinstance(value, str):
        lines = [line for line in value.split(",") if line.strip()]
    elif isinstance(value, dict):
        # `access.1 = "..."`, `access.2 = "..."`, the numbered spelling of emqx.conf.
        try:
            lines = [value[number] for number in sorted(value, key=int)]
        except ValueError:
            lines = None
    if not isinstance(lines, list | tuple):
        raise refuse('a list of rules such as ["allow 10.0.0.0/8", "deny all"]', value)
    return tuple(_rule(line) for line in lines)


access: Final = Kind("access rules", _access, lambda rules: [str(rule) for rule in rules])


def _networks(value: object) -> tuple[Network, ...]:
    lines: object = [line for line in value.split(",") if line.strip()] if isinstance(value, str) else value
    expected = 'a list of networks such as ["10.0.0.0/8"]'
    if not isinstance(lines, list | tuple):
        raise refuse(expected, value)
    try:
        return tuple(ipaddress.ip_network(str(line).strip(), strict=False) for line in lines)
    except ValueError:
        raise refuse(expected, value) from None


networks: Final = Kind("list of networks", _networks, lambda found: [str(network) for network in found])


def _priorities(value: object) -> dict[str, int] | None:
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    expected = '"none" or "topic=0..255" pairs with commas between'
    pairs: dict[str, object] = dict(value) if isinstance(value, dict) else {}
    if isinstance(value, str):
        for item in value.split(","):
            name, equals, level = item.strip().rpartition("=")
            if not equals:
                raise refuse(expected, value)
            pairs[name.strip()] = level.strip()
    found: dict[str, int] = {}
    for topic, priority in pairs.items():
        try:
            found[topic] = _count(priority)
        except ValueError:
            raise refuse(expected, value) from None
    if not found or any(not topic or priority > 255 for topic, priority in found.items()):
        raise refuse(expected, value)
    return found


def _show_priorities(pairs: dict[str, int] | None) -> str:
    return "none" if pairs is None else ", ".join(f"{topic}={priority}" for topic, priority in pairs.items())


priorities: Final = Kind("topic priorities", _priorities, _show_priorities, optional=True)


def _keep_alive_seconds(value: object) -> int:
    seconds = parse_duration(value)
    if seconds != int(seconds) or not 0 <= seconds <= 65535:
        raise refuse("whole seconds 0..65535", value)
    return int(seconds)


keep_alive: Final = Kind("duration", _keep_alive_seconds, show_duration, unit="seconds, at most 65535")


def _whole_seconds(value: object) -> int:
    seconds = parse_duration(value)
    if seconds > MAX_SECONDS or seconds != int(seconds):
        raise refuse("a duration in whole seconds", value)
    return int(seconds)


whole_seconds: Final = Kind("duration", _whole_seconds, show_duration, unit="whole seconds")
