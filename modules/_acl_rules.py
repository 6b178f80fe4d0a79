"""Access rules: what a rule says, and a list of rules made ready to be asked.

From top to bottom the first rule that fits decides. Everything that can be known before a client asks is worked out
here, once: what is left per question is set lookups and, for filters with wildcards, one comparison by level each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final

import attrs

from trioemqx.plugin import ClientInfo, ProtocolError, covers, is_wildcard, overlaps, validate_filter

ACTIONS: Final = ("publish", "subscribe", "pubsub")
MAX_DEPTH: Final = 16
"""Of `and` and `or` inside each other."""
REMEMBERED_HOSTS: Final = 1024
"""Addresses for which each address condition remembers its answer."""
ALIASES: Final = ("%cida", "%cna")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Condition = Callable[[ClientInfo], bool]
Compiled = tuple[int, bool, Condition | None, Callable[[ClientInfo, str], bool] | None]
"""(place in the file, allow, who or None for everybody, topics or None for all)."""


class AclError(ValueError):
    """What is wrong in a file of rules, and where: `line` and `column` from 1."""

    def __init__(self, text: str, line: int, column: int) -> None:
        super().__init__(text)
        self.line = line
        self.column = column


def either(words: Iterable[str]) -> str:
    """`a, b or c`, for messages."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


@attrs.frozen
class Who:
    """Whom a rule is for. `kind` is `all`, `user`, `client` or `ipaddr` (one of `names`), `and` or `or` (of `parts`).
    Raises ValueError for an address that is none, and for no parts at all."""

    kind: str = "all"
    names: tuple[str, ...] = ()
    parts: tuple[Who, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.kind == "ipaddr":
            _networks(self.names)
        if self.kind in ("and", "or") and not self.parts:
            raise ValueError(f"'{self.kind}' needs at least one condition")
        if self.kind in ("user", "client", "ipaddr") and not self.names:
            raise ValueError(f"'{self.kind}' needs a value")


@attrs.frozen
class Topic:
    """A filter of a rule; `literal`: its wildcards are ordinary characters. `%c` and `%u` as whole levels stand for the
    client's identifier and user name. Raises ValueError for a filter that could never match."""

    filter: str
    literal: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.filter:
            raise ValueError("empty topic")
        if self.literal:
            return
        try:
            validate_filter(self.filter)
        except ProtocolError as error:
            raise ValueError(f"{self.filter!r:.80} is not a topic filter: {error}") from None
        for level in self.filter.split("/"):
            if level in ALIASES:
                raise ValueError(f"{level}: there are no client aliases here")


@attrs.frozen
class Rule:
    """One rule; no `topics` means every topic."""

    allow: bool
    who: Who = Who()
    action: str = "pubsub"
    topics: tuple[Topic, ...] = ()


class Acl:
    """Rules that can be asked.

    A rule for one user or one client (there may be thousands of these) is found by that name and costs the others
    nothing.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._publish = _Chain(rules, "publish")
        self._subscribe = _Chain(rules, "subscribe")

    def check(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """What the first rule that fits says: True allow, False deny; None when none fits. `topic` is a topic name, or
        the filter of a subscription without share prefix."""
        chain = self._publish if action == "publish" else self._subscribe
        for _, allow, who, topics in chain.rules_for(client):
            if (who is None or who(client)) and (topics is None or topics(client, topic)):
                return allow
        return None


class _Chain:
    """The rules for one action."""

    def __init__(self, rules: Iterable[Rule], action: str) -> None:
        self._common: tuple[Compiled, ...] = ()
        self._users: dict[str | None, tuple[Compiled, ...]] = {}
        self._clients: dict[str | None, tuple[Compiled, ...]] = {}
        common = []
        for place, rule in enumerate(rules):
            if rule.action not in (action, "pubsub"):
                continue
            topics = _topics(rule, action)
            if rule.who.kind in ("user", "client"):
                index = self._users if rule.who.kind == "user" else self._clients
                for name in rule.who.names:
                    index[name] = (*index.get(name, ()), (place, rule.allow, None, topics))
            else:
                common.append((place, rule.allow, _condition(rule.who), topics))
        self._common = tuple(common)

    def rules_for(self, client: ClientInfo) -> Sequence[Compiled]:
        """Those that could fit a client, in the order of the file."""
        own = self._users.get(client.username, ()) + self._clients.get(client.clientid, ())
        return sorted(self._common + own, key=_place) if own else self._common


def _place(rule: Compiled) -> int:
    return rule[0]


# -- who ---------------------------------------------------------------------------------------------------------------


def _condition(who: Who) -> Condition | None:
    """A function that tells whether a client is meant; None for everybody."""
    if who.kind == "all":
        return None
    names = frozenset(who.names)
    if who.kind == "user":
        return lambda client: client.username in names
    if who.kind == "client":
        return lambda client: client.clientid in names
    if who.kind == "ipaddr":
        inside = _inside(_networks(who.names))
        return lambda client: inside(client.peerhost)
    parts = [_condition(part) for part in who.parts]
    real = tuple(part for part in parts if part is not None)
    if who.kind == "and":
        return (lambda client: all(part(client) for part in real)) if real else None
    return (lambda client: any(part(client) for part in real)) if len(real) == len(parts) else None


def _networks(names: Iterable[str]) -> list[Network]:
    """Addresses (`127.0.0.1`) and networks (`10.0.0.0/8`). ValueError."""
    found = []
    for name in names:
        try:
            found.append(ipaddress.ip_network(name, strict=False))
        except ValueError:
            raise ValueError(f"{name!r:.80} is neither an address nor a network such as 10.0.0.0/8") from None
    return found


def _inside(networks: list[Network]) -> Callable[[str], bool]:
    @lru_cache(REMEMBERED_HOSTS)
    def inside(host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:  # a client without an address, such as one inside the broker's process
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in networks)

    return inside


# -- topics ------------------------------------------------------------------------------------------------------------


def _topics(rule: Rule, action: str) -> Callable[[ClientInfo, str], bool] | None:
    """A function that tells whether a client's topic is meant; None for every topic.

    An allowed subscription must lie inside the rule as a whole. A denied one must not touch it: otherwise a wider
    filter would get round the rule.
    """
    without_username = _without_username(rule)
    if not rule.topics or Topic("#") in without_username:
        return None
    named = _Filters(rule.topics)
    nameless = named if without_username == rule.topics else _Filters(without_username)
    touching = action == "subscribe" and not rule.allow

    def fits(client: ClientInfo, topic: str) -> bool:
        filters = nameless if client.username is None else named
        if touching and is_wildcard(topic):
            return filters.touch(client, topic)
        return filters.cover(client, topic, rule.allow)

    return fits


def _without_username(rule: Rule) -> tuple[Topic, ...]:
    """What a rule means for a client without user name: in an allowing rule the first topic with `%u` ends the list, as
    in EMQX; in a denying one only the topic itself goes, so that the rest stays closed."""
    has_name = ["%u" in topic.filter.split("/") and not topic.literal for topic in rule.topics]
    if rule.allow and True in has_name:
        return rule.topics[: has_name.index(True)]
    return tuple(topic for topic, named in zip(rule.topics, has_name, strict=True) if not named)


class _Filters:
    """The topics of a rule, sorted by what it takes to compare them."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        plain, own = set(), []
        self._literal = frozenset(topic.filter for topic in topics if topic.literal)
        for topic in topics:
            if not topic.literal and {"%c", "%u"} & set(topic.filter.split("/")):
                own.append(_Own(topic.filter))
            elif not topic.literal:
                plain.add(topic.filter)
        below = {filter.removesuffix("/#") for filter in plain if filter.endswith("/#")}
        below = {filter for filter in below if not is_wildcard(filter)}
        self._plain = tuple(sorted(plain))
        self._own = tuple(own)
        self._exact = self._literal | below | {filter for filter in plain if not is_wildcard(filter)}
        self._prefixes = tuple(sorted(f"{filter}/" for filter in below))
        self._wild = tuple(
            filter for filter in self._plain if is_wildcard(filter) and filter.removesuffix("/#") not in below
        )
        self._depth = max((topic.filter.count("/") for topic in topics if not topic.literal), default=0)

    def cover(self, client: ClientInfo, topic: str, allow: bool) -> bool:
        """True when everything that `topic` stands for is inside one of the filters."""
        if topic in self._exact or topic.startswith(self._prefixes):
            return True
        if not self._wild and not self._own:
            return False
        topic = self._shortened(topic)
        for filter in self._wild:
            if covers(filter, topic):
                return True
        for own in self._own:
            if topic.startswith(own.head) and not (allow and own.strange(client)) and covers(own.filled(client), topic):
                return True
        return False

    def touch(self, client: ClientInfo, topic: str) -> bool:
        """True when a subscription to `topic` could get something that is inside one of the filters."""
        if topic in self._literal:
            return True
        topic = self._shortened(topic)
        for filter in self._plain:
            if overlaps(filter, topic):
                return True
        return any(overlaps(own.filled(client), topic) for own in self._own)

    def _shortened(self, topic: str) -> str:
        """A topic without the levels behind those that decide: clients may send thousands of them."""
        depth = self._depth + 1
        return topic if topic.count("/") <= depth else "/".join(topic.split("/", depth + 1)[: depth + 1])


class _Own:
    """A filter with `%c` or `%u`, each a level of its own. `head` is what stands before these and any wildcard."""

    def __init__(self, filter: str) -> None:
        self._levels = tuple(filter.split("/"))
        self._has_clientid = "%c" in self._levels
        self._has_username = "%u" in self._levels
        fixed = takewhile(lambda level: level not in ("%c", "%u", "+", "#"), self._levels)
        self.head = "".join(f"{level}/" for level in fixed)

    def strange(self, client: ClientInfo) -> bool:
        """True when the name that would be filled in holds wildcards or `/`. It must open nothing (CVE-2017-7650); in
        a denying rule it may well close more."""
        return (self._has_clientid and not _is_level(client.clientid)) or (
            self._has_username and not _is_level(client.username or "")
        )

    def filled(self, client: ClientInfo) -> str:
        """The filter for one client."""
        names = {"%c": client.clientid, "%u": client.username or ""}
        return "/".join([names.get(level, level) for level in self._levels])


def _is_level(name: str) -> bool:
    return "/" not in name and not is_wildcard(name)
