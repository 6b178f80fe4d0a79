"""What the tests of modules share."""

from __future__ import annotations

from typing import Any

from trioemqx.testing import TestBroker


def module(broker: TestBroker, name: str) -> Any:
    """The instance of a loaded module or plugin."""
    return broker.node.plugins.plugin(name)
