"""Fixtures of the process tests: brokers that end with their test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_trio
from broker_process import BrokerProcess, Dialer

sys.path.append(str(Path(__file__).parents[1] / "listeners"))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """`launch(config, folder="...", env={...})` starts a broker and does not wait for anything."""
    launched: list[BrokerProcess] = []

    def launch_one(*arguments, folder: str = "broker", **options) -> BrokerProcess:
        launched.append(BrokerProcess(tmp_path / folder, *arguments, **options))
        return launched[-1]

    yield launch_one
    for process in launched:
        process.kill()
        process.show()


@pytest.fixture
def start(launch: Callable[..., BrokerProcess]) -> Callable[..., BrokerProcess]:
    """`launch`, and wait until the broker is ready."""
    return lambda *arguments, **options: launch(*arguments, **options).wait_ready()


@pytest_trio.trio_fixture
async def dialer():
    """Clients that end with the test; `dialer.port` is for the test to set."""
    found = Dialer(0)
    yield found
    await found.close()
