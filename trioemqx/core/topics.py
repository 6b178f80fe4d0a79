"""Topic names and filters: what is legal, what matches what, what `$share`, `$queue` and `$exclusive` mean.

Everything here works level by level on strings and never builds a regular expression, because both sides come from the
network. Levels are split on `/`; an empty level is a real level [MQTT5 4.7.1.1].
"""

from __future__ import annotations

from typing import Final

from trioemqx.core.reasons import TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID
from trioemqx.errors import ProtocolError

MAX_TOPIC_BYTES: Final = 65535

SHARE: Final = "$share/"
QUEUE: Final = "$queue/"
EXCLUSIVE: Final = "$exclusive/"
QUEUE_GROUP: Final = "$queue"


class ParsedFilter:
    """A filter as a client wrote it, taken apart: the inner `filter`, the share `group` ("" = not shared, `$queue` for
    `$queue/...`), and whether `$exclusive/` stood in front."""

    __slots__ = ("exclusive", "filter", "group")

    def __init__(self, filter: str, group: str = "", exclusive: bool = False) -> None:
        self.filter = filter
        self.group = group
        self.exclusive = exclusive

    def __repr__(self) -> str:
        return f"ParsedFilter({self.filter!r}, group={self.group!r}, exclusive={self.exclusive})"


def _check_size(text: str, code: int, max_levels: int, max_bytes: int) -> None:
    """Raise when a name is empty, too long, too deep or holds U+0000 [MQTT-4.7.3-1..3]."""
    if not text:
        raise ProtocolError(code, "empty topic")
    size = len(text)
    if size <= max_bytes and not text.isascii():
        size = len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise ProtocolError(code, f"topic longer than {max_bytes} bytes")
    levels = text.count("/") + 1
    if 0 < max_levels < levels:
        raise ProtocolError(code, f"{levels} topic levels, at most {max_levels}")
    if "\0" in text:
        raise ProtocolError(code, "U+0000 in topic")


def validate_topic(topic: str, max_levels: int = 0, max_bytes: int = MAX_TOPIC_BYTES) -> None:
    """Check a topic name for publishing. Raises ProtocolError 0x90. `max_levels` 0 = no limit.

    `$share/...` and `$queue/...` are ordinary names here.
    """
    _check_size(topic, TOPIC_NAME_INVALID, max_levels, max_bytes)
    if "+" in topic or "#" in topic:
        raise ProtocolError(TOPIC_NAME_INVALID, "wildcard in topic name")  # [MQTT-3.3.2-2]


def validate_filter(filter: str, max_levels: int = 0, max_bytes: int = MAX_TOPIC_BYTES) -> None:
    """Check an inner filter (prefixes removed). Raises ProtocolError 0x8F. `max_levels` 0 = no limit."""
    _check_size(filter, TOPIC_FILTER_INVALID, max_levels, max_bytes)
    if not is_wildcard(filter):
        return
    words = filter.split("/")
    last = len(words) - 1
    for index, word in enumerate(words):
        if "#" in word and (word != "#" or index != last):
            raise ProtocolError(TOPIC_FILTER_INVALID, "'#' must be the whole last level")  # [MQTT-4.7.1-1]
        if "+" in word and word != "+":
            raise ProtocolError(TOPIC_FILTER_INVALID, "'+' must be a whole level")  # [MQTT-4.7.1-2]


def is_wildcard(filter: str) -> bool:
    """True when a valid filter holds `+` or `#`."""
    return "+" in filter or "#" in filter


def parse_filter(name: str) -> ParsedFilter:
    """Take the prefixes off what a client subscribes to. Raises ProtocolError 0x8F for a bare `$share/group`, an empty
    or wild group, an empty inner filter, and a prefix inside a prefix. The inner filter is not validated further."""
    if not name.startswith("$"):
        return ParsedFilter(name)
    if name.startswith(SHARE):
        group, slash, inner = name[len(SHARE) :].partition("/")
        if not slash or not group:
            raise ProtocolError(TOPIC_FILTER_INVALID, "$share needs a group and a filter")  # [MQTT-4.8.2-1]
        if is_wildcard(group):
            raise ProtocolError(TOPIC_FILTER_INVALID, "wildcard in share group")  # [MQTT-4.8.2-2]
        return ParsedFilter(_inner(inner), group)
    if name.startswith(QUEUE):
        return ParsedFilter(_inner(name[len(QUEUE) :]), QUEUE_GROUP)
    if name.startswith(EXCLUSIVE):
        return ParsedFilter(_inner(name[len(EXCLUSIVE) :]), "", True)
    return ParsedFilter(name)


def _inner(filter: str) -> str:
    if not filter:
        raise ProtocolError(TOPIC_FILTER_INVALID, "nothing after the prefix")
    if filter.startswith((SHARE, QUEUE, EXCLUSIVE)):
        raise ProtocolError(TOPIC_FILTER_INVALID, "prefix inside a prefix")
    return filter


def matches(filter: str, topic: str) -> bool:
    """True when a valid filter matches a valid topic name. A filter that starts with a wildcard does not match topics
    that start with `$` [MQTT-4.7.2-1]; `a/#` matches `a`."""
    if not is_wildcard(filter):
        return filter == topic
    if topic.startswith("$") and filter.startswith(("+", "#")):
        return False
    names = topic.split("/")
    count = len(names)
    index = 0
    for word in filter.split("/"):
        if word == "#":
            return True
        if index == count or (word != "+" and word != names[index]):
            return False
        index += 1
    return index == count


def covers(rule: str, filter: str) -> bool:
    """True when everything a subscription to `filter` can receive is matched by the rule, as an *allow* rule needs.

    The wildcards of the subscription count as levels: `+` is covered by `+` and `#`, `#` only by `#`. Rule topics know
    no `$` exception: rule `#` covers `$SYS/...`. A topic name may stand for `filter`.
    """
    words = filter.split("/")
    count = len(words)
    index = 0
    for level in rule.split("/"):
        if level == "#":
            return True
        if index == count:
            return False
        word = words[index]
        if level == "+":
            if word == "#":
                return False
        elif level != word:
            return False
        index += 1
    return index == count


def overlaps(rule: str, filter: str) -> bool:
    """True when a subscription to `filter` can receive at least one topic of the rule, as a *deny* rule needs.

    A subscription that starts with a wildcard never receives `$` topics, so a rule on `$SYS/#` does not touch it. The
    rule's own wildcards do reach `$` topics, as in `covers`.
    """
    if rule.startswith("$") and filter.startswith(("+", "#")):
        return False
    levels = rule.split("/")
    words = filter.split("/")
    shorter = min(len(levels), len(words))
    for index in range(shorter):
        level = levels[index]
        word = words[index]
        if level == "#" or word == "#":
            return True
        if level != word and level != "+" and word != "+":
            return False
    if len(levels) == len(words):
        return True
    # `a/#` includes its parent `a`.
    return (levels[shorter] if len(levels) > shorter else words[shorter]) == "#"


def feed_mountpoint(mountpoint: str, clientid: str, username: str | None) -> str:
    """Fill `%c` and `%u` where they form a whole level; without a username `%u` stays as it is.

    Raises ValueError when the value that would go in holds `+`, `#`, `/` or U+0000, because it would open other
    clients' topics (CVE-2017-7650).
    """
    if "%" not in mountpoint:
        return mountpoint
    words = mountpoint.split("/")
    for index, word in enumerate(words):
        if word == "%c":
            words[index] = _literal(clientid, "client identifier")
        elif word == "%u" and username is not None:
            words[index] = _literal(username, "username")
    return "/".join(words)


def _literal(value: str, what: str) -> str:
    if is_wildcard(value) or "/" in value or "\0" in value:
        raise ValueError(f"the {what} cannot stand in a mountpoint")
    return value


def mount(mountpoint: str, filter: str) -> str:
    """The topic or inner filter a client means, inside its mountpoint."""
    return mountpoint + filter


def unmount(mountpoint: str, topic: str) -> str | None:
    """The topic as the client knows it, or None when it lies outside the mountpoint and must not be delivered.

    That happens: a mounted `#` is `tenant/#`, which also matches the parent `tenant` [MQTT5 4.7.1.2].
    """
    if not topic.startswith(mountpoint) or (mountpoint and len(topic) == len(mountpoint)):
        return None
    return topic[len(mountpoint) :]
