"""Subscriptions that clients get by being connected."""

from __future__ import annotations

from typing import Literal

import attrs

from trioemqx.plugin import (
    ClientInfo,
    Numbered,
    Plugin,
    ProtocolError,
    SettingError,
    SubOpts,
    hookimpl,
    is_wildcard,
    parse_filter,
    validate_filter,
)

API = ">=1,<2"
DESCRIPTION = "EMQX Subscription Module"


@attrs.frozen
class Entry:
    """`[module.subscription.<n>]`: a filter, in which the levels `%c` and `%u` stand for client identifier and user
    name, and its options. `nl`, `rap` and `rh` are for MQTT 5 clients."""

    topic: str
    qos: Literal[0, 1, 2] = 1
    nl: Literal[0, 1] = 0
    rap: Literal[0, 1] = 0
    rh: Literal[0, 1, 2] = 0

    def __attrs_post_init__(self) -> None:
        try:
            parsed = parse_filter(self.topic)
            validate_filter(parsed.filter)
        except ProtocolError as error:
            raise SettingError(f"not a topic filter: {error.text}", "topic") from None
        if parsed.group and self.nl:  # [MQTT-3.8.3-4]
            raise SettingError("a shared subscription cannot have No Local", "nl")


@attrs.frozen
class Config:
    """`[module.subscription]`"""

    entries: Numbered[Entry] = ()
    """Filters that every client is subscribed to; `%c` and `%u` are filled in."""


class Subscription(Plugin[Config]):
    """Subscribes each client, when it is accepted, to every entry: without access rule and `client.subscribe` hook, in
    its mountpoint. Sessions that are resumed are subscribed again."""

    prefix = ("module.subscription",)

    def config_changed(self, config: Config) -> bool:
        """New entries are for clients that connect from now on."""
        return True

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """A client was accepted."""
        for entry in self.config.entries:
            try:
                filter = filled(entry.topic, client)
            except ValueError as error:
                self.log.warning("client %.200r was not subscribed to %s: %s", client.clientid, entry.topic, error)
                continue
            if filter is not None:
                self._subscribe(client, filter, entry)

    def _subscribe(self, client: ClientInfo, filter: str, entry: Entry) -> None:
        opts = SubOpts(entry.qos, bool(entry.nl), bool(entry.rap), entry.rh)
        code = self.context.broker.subscribe_client(client.clientid, filter, opts)
        if code >= 0x80:
            self.log.warning("client %.200r was not subscribed to %s: 0x%02x", client.clientid, entry.topic, code)


def filled(filter: str, client: ClientInfo) -> str | None:
    """The filter of one client; None when it asks for a user name that the client does not have.

    Raises ValueError for a name with `+`, `#` or `/` in it: nobody asks the access rules about these subscriptions, and
    such a name would open other clients' topics.
    """
    if "%" not in filter:
        return filter
    levels = filter.split("/")
    for index, level in enumerate(levels):
        if level in ("%c", "%u"):
            value = client.clientid if level == "%c" else client.username
            if value is None:
                return None
            if not value or "/" in value or is_wildcard(value):
                raise ValueError(f"its name cannot stand for {level}")
            levels[index] = value
    return "/".join(levels)


plugin = Subscription
