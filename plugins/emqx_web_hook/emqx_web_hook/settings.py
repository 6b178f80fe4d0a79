"""The settings, `[web.hook]` of etc/emqx.toml, and the rules in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal

import attrs

from trioemqx.plugin import ByteSize, Duration, HttpTls, HttpUrl, ProtocolError, Secret, SettingError, validate_filter

HOOKS: Final = (
    "client.connect",
    "client.connack",
    "client.connected",
    "client.disconnected",
    "client.subscribe",
    "client.unsubscribe",
    "session.subscribed",
    "session.unsubscribed",
    "session.terminated",
    "message.publish",
    "message.delivered",
    "message.acked",
)
OWN_HEADERS: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "upgrade"})
"""What the client itself has to say."""

Filters = tuple[str, ...]
"""Topic filters of an event's rules, one of which has to match; () when a rule has none."""


@attrs.frozen
class Body:
    """`[web.hook.body]`"""

    encoding_of_payload_field: Literal["plain", "base64", "base62"] = "plain"
    """How the payload stands in the JSON."""


@attrs.frozen
class Config:
    """`[web.hook]`. `rules` are the parsed rules: filters by hook point (`client_connect`)."""

    url: str = attrs.field(default="http://127.0.0.1:80", repr=False)
    """Where events are posted to."""
    headers: dict[str, Secret] = attrs.field(factory=dict)
    """Headers of every request; `_` is sent as `-`."""
    body: Body = attrs.field(factory=Body)
    pool_size: int = 32
    """Connections to the server."""
    enable_pipelining: bool | int = True
    """Accepted, without effect."""
    ssl: HttpTls = attrs.field(factory=HttpTls)
    rule: dict[str, Any] = attrs.field(factory=dict)
    """Which events are sent, with topic filters for those that have a topic."""
    timeout: Duration = 5.0
    """How long a request may take."""
    connect_timeout: Duration = 5.0
    """How long making a connection may take."""
    queue_size: int = 10_000
    """Events that may wait."""
    queue_bytes: ByteSize = 64 * 1024 * 1024
    """The same in bytes."""
    queue_full: Literal["drop_oldest", "drop_new"] = "drop_oldest"
    """What goes when the queue is full: the oldest event or the new one."""
    retry_for: Duration = 60.0
    """How long an event is tried again while the server cannot be reached."""
    rules: dict[str, Filters] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            HttpUrl.parse(self.url)
        except ValueError as error:
            raise SettingError(str(error), "url") from None
        if not 1 <= self.pool_size <= 1024:
            raise SettingError("expected 1 to 1024", "pool_size")
        for key in ("timeout", "connect_timeout", "queue_size", "queue_bytes"):
            if getattr(self, key) <= 0:
                raise SettingError("expected more than 0", key)
        for name, value in self.headers.items():
            if _dashed(name) in OWN_HEADERS:
                raise SettingError("this header cannot be set", "headers", name)
            if not value.isprintable() or not value.isascii():
                raise SettingError("a header has printable ASCII characters only", "headers", name)
        object.__setattr__(self, "rules", read_rules(self.rule))

    def sent_headers(self) -> dict[str, str]:
        """With dashes for `_`; the content type is not for choosing."""
        headers = {_dashed(name): str(value) for name, value in self.headers.items()}
        return {**headers, "content-type": "application/json"}


def _dashed(name: str) -> str:
    return name.strip().replace("_", "-").lower()


def read_rules(tree: Mapping[str, Any]) -> dict[str, Filters]:
    """Filters by hook point. `tree` has rules at `client.connect.1`, as tables in tables or as one name with dots.
    Raises SettingError."""
    found: dict[str, list[str | None]] = {}
    for path, written in _leaves(tree, ()):
        hook = _hook(path)
        found.setdefault(hook.replace(".", "_"), []).append(_topic(written, hook, path))
    return {
        point: () if None in topics else tuple(dict.fromkeys(topic for topic in topics if topic is not None))
        for point, topics in found.items()
    }


def _leaves(tree: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in tree.items():
        path = (*at, name)
        if isinstance(value, Mapping) and "action" not in value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _hook(path: tuple[str, ...]) -> str:
    """The hook that a rule's key names: `client.connect` for `client.connect.1`."""
    words = ".".join(path).split(".")
    hook = ".".join(words[:-1] if words[-1].isdigit() else words)
    if hook not in HOOKS:
        close = get_close_matches(hook, HOOKS, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise SettingError(f"there is no event {hook} to be sent{hint}", "rule", *path)
    return hook


def _topic(written: object, hook: str, path: tuple[str, ...]) -> str | None:
    """The topic filter of a rule, None without one."""
    rule = written
    action = f"on_{hook.replace('.', '_')}"
    if isinstance(rule, str):
        try:
            rule = json.loads(rule)
        except (ValueError, RecursionError):
            rule = None
    if not isinstance(rule, Mapping) or rule.get("action") != action:
        raise SettingError(f'expected {{"action": "{action}"}}, with or without a "topic"', "rule", *path)
    for name in rule:
        if name not in ("action", "topic"):
            raise SettingError(f"a rule has action and topic, not {name!r:.40}", "rule", *path)
    topic = rule.get("topic")
    if topic is None:
        return None
    try:
        validate_filter(topic)
    except (ProtocolError, TypeError, AttributeError):
        raise SettingError(f"not a topic filter: {topic!r:.80}", "rule", *path) from None
    return str(topic)
