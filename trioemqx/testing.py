"""A whole broker for tests: in memory with virtual time, or on real sockets. A pytest plugin, also for other projects.

    async def test_hello(broker):                       # no port, no sleep: time jumps when everybody waits
        watcher = await broker.client("watcher", subscribe="greetings/#")
        await (await broker.client("me")).publish("greetings/world", b"hello")
        assert await watcher.message() == ("greetings/world", b"hello")

Override the fixture `broker_config` to change settings. `listening_broker` is the same on a real TCP port with real
time. The fixtures need pytest-trio.
"""

from __future__ import annotations

import math
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import attrs
import trio
import trio.testing

from trioemqx.apitest import ApiAnswer, ask
from trioemqx.codec.control import Auth, Connack, Connect, Will
from trioemqx.codec.packets import Publish, make_publish
from trioemqx.node import Node, open_broker
from trioemqx.services import secrets as secret_hashes
from trioemqx.services.http.testserver import WebRequest, WebServer, web_server
from trioemqx.services.plugins.discovery import Found, project_above
from trioemqx.testclient import Client, Closed, Refused
from trioemqx.types import Properties

OPEN_CONFIG: Final[Mapping[str, object]] = {
    "allow_anonymous": True,
    "acl_nomatch": "allow",
    "plugins": {"loaded_file": "none", "etc_dir": "none"},
    "modules": {"loaded_file": "none"},
    "os_mon": {"cpu_check_interval": 0, "mem_check_interval": 0},
    "overload": {"memory_check_interval": 0, "lag_threshold": 0},
    "store": {"sync": "memory"},
}
"""Everybody may do everything, which plugins are loaded is neither read nor written, nothing outlives the broker, and a
busy machine raises no alarm."""

__all__ = [
    "ApiAnswer",
    "Auth",
    "Client",
    "Closed",
    "Connack",
    "Connect",
    "Refused",
    "TestBroker",
    "WebRequest",
    "WebServer",
    "Will",
    "make_publish",
    "running",
    "web_server",
]


@attrs.define
class TestBroker:
    """A running broker and a way to connect to it. `node` is the facade."""

    __test__ = False

    node: Node
    port: int = 0
    """The TCP port of `listening_broker`; 0 in memory."""
    streams: list[trio.abc.Stream] = attrs.field(factory=list)
    """Every connection made here; closed at the end of the test."""

    async def stream(self, zone: str = "default") -> trio.abc.Stream:
        """A connection on which nothing has been sent yet."""
        stream: trio.abc.Stream
        if self.port:
            stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        else:
            stream = self.node.dial(zone)
        self.streams.append(stream)
        return stream

    async def ctl(self, *words: str) -> list[str]:
        """The output of a `trioemqx ctl` command, by line; its words in one text or in several."""
        lines: list[str] = []

        async def write(line: str) -> None:
            lines.append(line)
            await trio.lowlevel.checkpoint()

        await self.node.commands.execute(words[0].split() if len(words) == 1 else list(words), write)
        return lines

    async def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        auth: str | None = "admin:public",
        raw: bytes | None = None,
        listener: str = "management",
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
    ) -> ApiAnswer:
        """A request to the HTTP API, without a port. `path` is below `/api/v4` (or a whole one that begins with `//`),
        with its query, percent-encoded as it would be sent; `body` is sent as JSON, `raw` as it is."""
        secret_hashes.COST = 4  # a test that has nothing to guess need not wait for what makes guessing slow
        await self.node.open_api(always=True)
        api = self.node.api
        assert api is not None
        return await ask(api.apps[listener], method, path, body, auth, raw, headers or {}, peer)

    async def reload_plugin(self, name: str) -> None:
        """Take a plugin's files and settings as they are now. Raises PluginError."""
        await self.node.plugins.reload(name)

    def alarms(self) -> dict[str, Mapping[str, object]]:
        """The active alarms: details by name."""
        return {alarm.name: alarm.details for alarm in self.node.alarms.active()}

    @property
    def metrics(self) -> dict[str, int]:
        """Every counter by EMQX's name."""
        return self.node.metrics

    async def raw(self, version: int = 5, zone: str = "default") -> Client:
        """A client that has not sent CONNECT."""
        return Client(await self.stream(zone), version)

    async def client(
        self,
        clientid: str = "",
        *,
        version: int = 5,
        subscribe: str | None = None,
        qos: int = 0,
        zone: str = "default",
        clean_start: bool = True,
        keepalive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | Publish | None = None,
        expiry: int | None = None,
        properties: Properties | None = None,
    ) -> Client:
        """A connected client, subscribed to a filter if one is given. `expiry` is its session's. Raises Refused."""
        client = await self.raw(version, zone)
        if expiry is not None:
            properties = properties.copy() if properties is not None else Properties()
            properties.session_expiry_interval = expiry
        await client.connect(
            clientid,
            clean_start=clean_start,
            keepalive=keepalive,
            username=username,
            password=password,
            will=will,
            properties=properties,
        )
        if subscribe is not None:
            await client.subscribe(subscribe, qos=qos)
        return client


def _over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Two trees of settings, one laid over the other."""
    tree = dict(below)
    for key, value in above.items():
        under = tree.get(key)
        tree[key] = _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return tree


@asynccontextmanager
async def running(
    config: Mapping[str, object] | None = None, *, listen: bool = False, project: Path | None = None
) -> AsyncIterator[TestBroker]:
    """A broker for the length of a block, in memory or (`listen`) on a free port of 127.0.0.1.

    `config` has the keys of `etc/emqx.toml` and is laid over settings that let everybody in. Time is Trio's clock, so
    virtual time works. `project` is a file in the folder of a plugin: that plugin is found, and loaded unless `config`
    has `plugins.load`. Raises PluginError when it cannot be.
    """
    plugin = None if project is None else project_above(project)
    start = time.time() - trio.current_time()
    with _settings(config or {}, listen, plugin) as tree:
        async with open_broker(tree, wall=lambda: start + trio.current_time(), in_memory=not listen) as node:
            port = next(iter(node.listeners.listeners.values())).port if listen else 0
            broker = TestBroker(node, port)
            try:
                if plugin is not None and node.config.plugins.load is None and plugin.name not in node.plugins.live:
                    await node.plugins.load(plugin.name)
                yield broker
            finally:
                for stream in broker.streams:
                    await trio.aclose_forcefully(stream)


@contextmanager
def _settings(config: Mapping[str, object], listen: bool, plugin: Found | None) -> Iterator[dict[str, object]]:
    """`config` over what a test wants; data go into a folder that is made when somebody writes, and removed."""
    folder = Path(tempfile.gettempdir()) / f"trioemqx-test-{secrets.token_hex(8)}"
    tree = _over({**OPEN_CONFIG, "node": {"data_dir": str(folder)}}, config)
    if listen and "listener" not in tree:
        tree["listener"] = {"tcp": {"test": {"bind": "127.0.0.1:0", "zone": "default", "max_connections": 10000}}}
    if plugin is not None:
        plugins: Any = tree["plugins"]
        tree["plugins"] = {**plugins, "dirs": [*plugins.get("dirs", ()), str(plugin.folder)]}
    try:
        yield tree
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _ThreadsTakeNoTime(trio.abc.Instrument):
    """Holds virtual time while a thread works (`trio.Path`, `trio.to_thread`): a task that waits for it would count as
    idle, and deadlines would be over before the thread has begun."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._threshold = clock.autojump_threshold
        self._busy = False
        self._count: Callable[[], int] = getattr(trio.testing, "active_thread_count", int)  # trio before 0.30: none

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        busy = self._count() > 0
        if busy != self._busy:
            self._busy = busy
            self._clock.autojump_threshold = math.inf if busy else self._threshold


try:
    import pytest
    import pytest_trio  # type: ignore[import-untyped]
except ImportError:  # a project that has no pytest-trio gets no fixtures, and its pytest still starts
    pytest_trio = None
else:

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Run tests on their virtual clock, which threads hold. pytest-trio itself does not look at what a test's
        fixtures use."""
        for item in items:
            if isinstance(item, pytest.Function) and "autojump_clock" in item.fixturenames:
                item.add_marker(pytest.mark.trio(run=partial(_run_on_clock, item)), append=False)

    def _run_on_clock(item: pytest.Function, main: Callable[[], Awaitable[object]], **settings: Any) -> object:
        clock = cast("trio.testing.MockClock", item.funcargs["autojump_clock"])
        instruments = [*settings.pop("instruments", ()), _ThreadsTakeNoTime(clock)]
        return trio.run(main, **{**settings, "clock": clock, "instruments": instruments})

    @pytest.fixture
    def broker_config() -> dict[str, object]:
        """Settings of the broker under test, by the keys of `etc/emqx.toml`; override it in your own tests."""
        return {}

    @pytest_trio.trio_fixture  # type: ignore[untyped-decorator]
    async def broker(
        broker_config: dict[str, object], autojump_clock: trio.testing.MockClock, request: pytest.FixtureRequest
    ) -> AsyncIterator[TestBroker]:
        """A broker in memory, on virtual time. In the tests of a plugin it has that plugin loaded."""
        async with running(broker_config, project=request.path) as found:
            yield found

    @pytest_trio.trio_fixture  # type: ignore[untyped-decorator]
    async def listening_broker(
        broker_config: dict[str, object], request: pytest.FixtureRequest
    ) -> AsyncIterator[TestBroker]:
        """The same on a free TCP port, on real time."""
        async with running(broker_config, listen=True, project=request.path) as found:
            yield found
