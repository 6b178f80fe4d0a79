"""What the tests of connections and sessions share: zone settings, recorded hooks, counters."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trioemqx.errors import reason_name
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import TestBroker
from trioemqx.types import ClientInfo, Message, Properties

every_version = pytest.mark.parametrize("version", [3, 4, 5], ids=["v3.1", "v3.1.1", "v5"])
both_families = pytest.mark.parametrize("version", [4, 5], ids=["v3.1.1", "v5"])


def zone(**settings: object) -> pytest.MarkDecorator:
    """Run a test with these settings of the zone that the `broker` fixture uses. Dots in key names: `a__b`."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split("__")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return config(zone={"default": tree})


def config(**tree: object) -> pytest.MarkDecorator:
    """Run a test with these top-level settings."""
    return pytest.mark.parametrize("broker_config", [tree], ids=[""])


def props(**fields: object) -> Properties:
    """MQTT 5 properties by name."""
    made = Properties()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def shutdown_count(broker: TestBroker, name: str = "default") -> dict[str, int]:
    """Why connections of a zone have ended, as its listener counts them, once those that are closing are closed."""
    await trio.sleep(2.1)
    return dict(broker.node._inside[name].shutdown_count)


class Counted:
    """Differences of metrics since this was made: `counted["session.created"]`."""

    def __init__(self, broker: TestBroker) -> None:
        self._broker = broker
        self._before = broker.node.metrics

    def __getitem__(self, name: str) -> int:
        return self._broker.node.metrics[name] - self._before[name]

    def __call__(self, *names: str) -> list[int]:
        return [self[name] for name in names]


class Recorder:
    """A plugin that writes down the life of clients and sessions: `events` holds (hook, clientid[, reason])."""

    def __init__(self, broker: TestBroker) -> None:
        self.events: list[tuple[str, ...]] = []
        self.dropped: list[tuple[str, bytes, str]] = []
        """(client or "", payload, reason) of deliveries and messages that were dropped."""
        self.acked: list[bytes] = []
        self.completed: list[bytes] = []
        broker.node.hooks.register(self, "recorder")

    def of(self, clientid: str) -> list[tuple[str, ...]]:
        """The events of one client, without its id."""
        return [(name, *rest) for name, who, *rest in self.events if who == clientid]

    @hookimpl
    def client_connect(self, client: ClientInfo) -> None:
        self.events.append(("client.connect", client.clientid))

    @hookimpl
    def client_connack(self, client: ClientInfo, reason: str) -> None:
        self.events.append(("client.connack", client.clientid, reason))

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        self.events.append(("client.connected", client.clientid))

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        self.events.append(("client.disconnected", client.clientid, reason))

    @hookimpl
    def session_created(self, client: ClientInfo) -> None:
        self.events.append(("session.created", client.clientid))

    @hookimpl
    def session_resumed(self, client: ClientInfo) -> None:
        self.events.append(("session.resumed", client.clientid))

    @hookimpl
    def session_discarded(self, client: ClientInfo) -> None:
        self.events.append(("session.discarded", client.clientid))

    @hookimpl
    def session_takeovered(self, client: ClientInfo) -> None:
        self.events.append(("session.takeovered", client.clientid))

    @hookimpl
    def session_terminated(self, client: ClientInfo, reason: str) -> None:
        self.events.append(("session.terminated", client.clientid, reason))

    @hookimpl
    def message_acked(self, message: Message) -> None:
        self.acked.append(message.payload)

    @hookimpl
    def delivery_completed(self, message: Message) -> None:
        self.completed.append(message.payload)

    @hookimpl
    def message_dropped(self, message: Message, reason: str) -> None:
        self.dropped.append(("", message.payload, reason))

    @hookimpl
    def delivery_dropped(self, client: ClientInfo, message: Message, reason: str) -> None:
        self.dropped.append((client.clientid, message.payload, reason))


def names(*codes: int) -> list[str]:
    """EMQX's names of reason codes."""
    return [reason_name(code) for code in codes]
