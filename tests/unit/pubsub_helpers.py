"""What the publish and subscribe tests share: properties by keyword, hooks by keyword, and a recorder of hook calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trioemqx.codec.packets import Publish
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Closed, TestBroker
from trioemqx.types import Properties

ALL_VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
BOTH = pytest.mark.parametrize("version", [4, 5])


def config(**tree: object) -> pytest.MarkDecorator:
    """Settings of the broker for one test; `zone={...}` is the default zone's."""
    if "zone" in tree:
        tree["zone"] = {"default": tree["zone"]}
    return pytest.mark.parametrize("broker_config", [tree], ids=[""])


def props(**values: object) -> Properties:
    """MQTT 5 properties by name."""
    found = Properties()
    for name, value in values.items():
        setattr(found, name, value)
    return found


class Plugin:
    """An object whose attributes are hook implementations."""


def plug(broker: TestBroker, name: str = "plugin", **calls: Callable[..., Any]) -> None:
    """Register functions as hooks, by the names of their points."""
    plugin = Plugin()
    for point, call in calls.items():
        setattr(plugin, point, hookimpl(call))
    broker.node.hooks.register(plugin, name)


async def messages(client: Client, count: int) -> list[Publish]:
    """The next messages, and then nothing more."""
    found = [await client.receive_publish() for _ in range(count)]
    assert await client.nothing(), f"more than {count} messages"
    return found


async def last_words(client: Client) -> list[object]:
    """Every packet up to the end of the connection, also those that must not follow a DISCONNECT."""
    found: list[object] = []
    while True:
        try:
            found.append(await client.receive())
        except Closed:
            return found
