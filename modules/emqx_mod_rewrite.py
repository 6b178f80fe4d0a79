"""Topic rewriting: what clients publish to, subscribe to and unsubscribe from under one name goes under another.

    [module.rewrite]
    pub.rule.1 = 'x/# ^x/y/(.+)$ z/y/$1'        # published messages
    sub.rule.1 = 'y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2'
    rule.1 = 'old/# ^old/(.+)$ new/%u/$1'       # both

Of the rules for a direction (`rule` first, then `pub.rule` or `sub.rule`, each by number) the first whose filter
matches the topic counts; when its regular expression matches nowhere, the topic stays. `$1` to `$9` are the groups,
`%c` and `%u` the client's identifier and user name. Access has been checked on the topic as the client wrote it.

A result that nobody can publish or subscribe to is not used (below `$SYS/` only the broker publishes), nor one that
would need a user name that is not there, or a name that holds `/`, `+` or `#` and so would reach other clients' topics.
The log tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import re2  # type: ignore[import-untyped]

from trioemqx.plugin import (
    ClientInfo,
    Context,
    Message,
    Plugin,
    Properties,
    ProtocolError,
    SettingError,
    SubOpts,
    hookimpl,
    is_wildcard,
    matches,
    parse_filter,
    validate_filter,
    validate_topic,
)

API = ">=1,<2"
DESCRIPTION = "EMQX Topic Rewrite Module"
DEFAULT_ENABLED = False

SYSTEM: Final = "$SYS/"
"""Where only the broker publishes: a client's text in a result does not change that."""
FIRST: Final = 1000
"""Before every other hook, which see the new topics then."""
HOLES: Final = re.compile(r"(\$[1-9]|%[cu])")
"""What the destination leaves open."""

Numbered = dict[str, str] | str | list[str]
Filters = list[tuple[str, SubOpts]]


@attrs.frozen
class Rule:
    """`destination` alternates between text and what is to be filled in: `$1`, `%c`."""

    filter: str
    regex: Any
    destination: tuple[str, ...]

    def rewritten(self, topic: str, clientid: str, username: str | None) -> str | None:
        """The new topic; None where the regular expression does not match. ValueError for a name that cannot be filled
        in."""
        match = self.regex.search(topic)
        if match is None:
            return None
        parts = list(self.destination)
        for place in range(1, len(parts), 2):
            hole = parts[place]
            if hole[0] == "$":
                parts[place] = match.group(int(hole[1])) or ""
            else:
                parts[place] = _name(hole, clientid if hole == "%c" else username)
        return "".join(parts)


def _name(hole: str, value: str | None) -> str:
    if value is None:
        raise ValueError(f"{hole}: the client has no user name")
    if "/" in value or is_wildcard(value):
        raise ValueError(f"{hole}: {value!r:.80} holds /, + or #")
    return value


def compiled(text: str) -> Rule:
    """A rule from `<filter> <regex> <destination>`. ValueError."""
    words = text.split()
    if len(words) != 3:
        raise ValueError(f"expected <topic filter> <regular expression> <destination>, got {text!r:.200}")
    filter, pattern, destination = words
    try:
        validate_filter(filter)
    except ProtocolError as error:
        raise ValueError(f"{filter!r:.200} is not a topic filter: {error}") from None
    options = re2.Options()
    options.log_errors = False
    try:
        regex = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        hint = "RE2 has no look-around and no back references"
        raise ValueError(f"{pattern!r:.200} is not a regular expression: {reason} ({hint})") from None
    parts = tuple(HOLES.split(destination))
    for hole in parts[1::2]:
        if hole[0] == "$" and int(hole[1]) > regex.groups:
            raise ValueError(f"{hole} in {destination!r:.200}: {pattern!r:.200} has {regex.groups} groups")
    return Rule(filter, regex, parts)


@attrs.frozen
class Direction:
    """`pub` and `sub`"""

    rule: Numbered = attrs.field(factory=dict)
    """Rules: filter, regular expression, new topic."""

    def __attrs_post_init__(self) -> None:
        _check(self.rule)


@attrs.frozen
class Config:
    """`[module.rewrite]`"""

    rule: Numbered = attrs.field(factory=dict)
    """Rules for both directions: filter, regular expression, new topic."""
    pub: Direction = attrs.field(factory=Direction)
    sub: Direction = attrs.field(factory=Direction)

    def __attrs_post_init__(self) -> None:
        _check(self.rule)


def _check(rules: Numbered) -> None:
    for key, text in _in_order(rules):
        try:
            compiled(text)
        except ValueError as error:
            if isinstance(rules, Mapping):
                raise SettingError(str(error), "rule", key) from None
            raise SettingError(f"rule {key}: {error}", "rule") from None


def _in_order(rules: Numbered) -> Iterator[tuple[str, str]]:
    """(number, text) of every rule."""
    if isinstance(rules, Mapping):
        yield from sorted(rules.items(), key=lambda rule: (len(rule[0]), rule[0]))
    else:
        listed = [rules] if isinstance(rules, str) else rules
        yield from ((str(number), text) for number, text in enumerate(listed, 1))


class Rewrite(Plugin[Config]):
    """Takes part only in the directions that have rules."""

    prefix = ("module.rewrite",)

    async def start(self) -> None:
        """Make the rules ready."""
        publishing = _rules(self.config.rule, self.config.pub.rule)
        subscribing = _rules(self.config.rule, self.config.sub.rule)
        if publishing:
            self.context.hooks(Publishing(publishing, self.context))
        if subscribing:
            self.context.hooks(Subscribing(subscribing, self.context))


def _rules(*several: Numbered) -> tuple[Rule, ...]:
    return tuple(compiled(text) for rules in several for _, text in _in_order(rules))


def _found(rules: Sequence[Rule], topic: str) -> Rule | None:
    return next((rule for rule in rules if matches(rule.filter, topic)), None)


class Publishing:
    """The hook for messages. `%c` and `%u` are those of the publisher."""

    def __init__(self, rules: Sequence[Rule], context: Context) -> None:
        self._rules = rules
        self._log = context.log

    @hookimpl(priority=FIRST)
    def message_publish(self, message: Message) -> Message | None:
        """The message under its new topic."""
        rule = _found(self._rules, message.topic)
        if rule is None:
            return None
        try:
            topic = rule.rewritten(message.topic, message.publisher, message.username)
            if topic is None or topic == message.topic:
                return None
            validate_topic(topic)
            if topic.startswith(SYSTEM) and not message.topic.startswith(SYSTEM):
                raise ValueError(f"nothing can be published to {topic!r:.80}")
        except (ValueError, ProtocolError) as error:
            self._log.warning("%r from %r is not rewritten: %s", message.topic, message.publisher, error)
            return None
        changed = message.copy()
        changed.topic = topic
        return changed


class Subscribing:
    """The hooks for filters. `$share/<group>/`, `$queue/` and `$exclusive/` stay in front of the new one."""

    def __init__(self, rules: Sequence[Rule], context: Context) -> None:
        self._rules = rules
        self._log = context.log

    @hookimpl(priority=FIRST)
    def client_subscribe(self, client: ClientInfo, properties: Properties | None, filters: Filters) -> Filters:
        """The filters under their new names."""
        return [(self._rewritten(client, name), opts) for name, opts in filters]

    @hookimpl(priority=FIRST)
    def client_unsubscribe(self, client: ClientInfo, properties: Properties | None, filters: Filters) -> Filters:
        """The same, so that a client unsubscribes by the names it subscribed with."""
        return [(self._rewritten(client, name), opts) for name, opts in filters]

    def _rewritten(self, client: ClientInfo, name: str) -> str:
        try:
            inner = parse_filter(name).filter
            rule = _found(self._rules, inner)
            changed = rule.rewritten(inner, client.clientid, client.username) if rule is not None else None
            if changed is None:
                return name
            whole = name.removesuffix(inner) + changed
            validate_filter(parse_filter(whole).filter)
        except (ValueError, ProtocolError) as error:
            self._log.warning("%r of %r is not rewritten: %s", name, client.clientid, error)
            return name
        return whole


plugin = Rewrite
