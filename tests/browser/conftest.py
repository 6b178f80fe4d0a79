"""A broker with real clients on real ports, and a real browser on its dashboard."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_trio

sys.path.append(str(Path(__file__).parents[1] / "interop"))

from browser_page import PASSWORD, Browser, Page
from interop_peers import need, node_modules

from trioemqx.services import secrets as secret_hashes
from trioemqx.testing import TestBroker, running

EVERYTHING = {
    "modules": {
        "load": [
            "emqx_mod_delayed",
            "emqx_mod_presence",
            "emqx_mod_slow_subs",
            "emqx_mod_topic_metrics",
            "emqx_mod_trace",
        ]
    },
    "module": {"slow_subs": {"threshold": 0}},
    "plugins": {"load": ["emqx_retainer", "emqx_auth_mnesia"]},
}
"""What the pages of the dashboard are about."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", action="store_true", help="make the pictures in docs/images anew")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    wanted = config.getoption("--screenshots", default=False)
    return True if collection_path.name == "test_browser_pictures.py" and not wanted else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = Browser(need("node"), need("chromium"), node_modules("playwright-core"))
    yield found
    found.close()


@pytest.fixture
def broker_config() -> dict[str, object]:
    return EVERYTHING


@pytest_trio.trio_fixture
async def broker(broker_config: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestBroker]:
    """On real ports and in real time: MQTT over TCP and WebSocket, and the dashboard."""
    monkeypatch.setattr(secret_hashes, "COST", 4)  # nobody guesses here
    doors = {
        "listener": {"tcp": {"main": "127.0.0.1:0"}, "ws": {"main": "127.0.0.1:0"}},
        "dashboard": {"default_user": {"password": PASSWORD}, "listener": {"http": "127.0.0.1:0"}},
        "management": {"listener": {"http": "none"}},
        "store": {"sync": "memory"},  # a disk that others keep busy may take half a minute for a commit
    }
    async with running({**doors, **broker_config}, listen=True) as found:
        yield found


@pytest_trio.trio_fixture
async def page(broker: TestBroker, browser: Browser) -> AsyncIterator[Page]:
    """A window of its own on the dashboard. Whatever a test does with it, nothing may be wrong on its console."""
    assert broker.node.api is not None
    found = Page(browser, broker, f"http://{broker.node.api.servers[0].address}/")
    await found.do("open")
    yield found
    complaints = await found.complaints()
    await found.do("leave")  # a broker waits for the connections of its browsers
    assert complaints == []


@pytest_trio.trio_fixture
async def dashboard(page: Page) -> Page:
    """The page of somebody who is logged in."""
    await page.login()
    return page
