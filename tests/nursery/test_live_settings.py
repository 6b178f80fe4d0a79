"""What changes while clients stay connected: listeners come, go and move, and limits are those of the last reload."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from fault_doors import KINDS, Doors, ended, gone, until, with_listeners

from trioemqx.config.load import from_mapping
from trioemqx.config.model import Config
from trioemqx.testing import Client, Closed, Refused
from trioemqx.types import Message


def config_of(doors: Doors, folder, **settings: object) -> Config:
    """The configuration of `doors` with the ports it has, and these settings on top."""
    tree = with_listeners({key: value for key, value in settings.items() if key != "listeners"}, folder)
    for kind in ("tcp", "ssl", "ws", "wss"):
        for name, table in tree["listener"][kind].items():
            table["bind"] = f"127.0.0.1:{doors.ports[name]}"
            tree["listener"][kind][name] = dict(table)
    for path, change in settings.get("listeners", {}).items():
        kind, name = path.split(".")
        if change is None:
            del tree["listener"][kind][name]
        else:
            tree["listener"][kind][name] = {**tree["listener"][kind].get(name, {"zone": "default"}), **change}
    return from_mapping(tree)


def reload(doors: Doors, folder, **settings: object) -> list[str]:
    return doors.node.reload(config_of(doors, folder, **settings))


async def client_at(port: int, clientid: str) -> Client:
    client = Client(await trio.open_tcp_stream("127.0.0.1", port))
    await client.connect(clientid)
    return client


@pytest.fixture
async def start(doors, tmp_path):
    """As a process that was started with these ports."""
    doors.node.config = config_of(doors, tmp_path)
    for listener in doors.node.config.listeners:
        running = doors.node.listeners.listeners[listener.id]
        running.config = listener
    return doors


async def test_nothing_new_is_no_problem(start, tmp_path):
    clients = [await start.client(f"c{kind}", kind) for kind in KINDS]
    assert reload(start, tmp_path) == []
    for client in clients:
        await client.ping()


async def test_a_new_listener_is_opened(start, tmp_path):
    assert reload(start, tmp_path, listeners={"tcp.second": {"bind": "127.0.0.1:0"}}) == []
    port = start.node.listeners.listeners["mqtt:tcp:second"].port
    client = await client_at(port, "new")
    await client.ping()
    await client.close()


async def test_a_listener_that_is_gone_takes_its_clients_along(start, tmp_path):
    clients = {kind: await start.client(f"c{kind}", kind) for kind in KINDS}
    assert reload(start, tmp_path, listeners={"ws.ws": None}) == []
    assert await ended(clients.pop("ws")) == 0x98
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", start.ports["ws"])
    for client in clients.values():
        await client.ping()
    assert "mqtt:ws:ws" not in start.node.listeners.listeners


async def test_a_listener_moves_and_its_clients_stay(start, tmp_path):
    client = await start.client("before")
    assert reload(start, tmp_path, listeners={"tcp.tcp": {"bind": "127.0.0.2:0"}}) == []
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", start.ports["tcp"])
    await client.ping()
    listener = start.listener()
    stream = await trio.open_tcp_stream("127.0.0.2", listener.port)
    after = Client(stream)
    await after.connect("after")
    await after.ping()
    await after.close()
    assert listener.address.startswith("127.0.0.2:")


async def test_a_listener_changes_its_host_only(start, tmp_path):
    """The port has to be given up first."""
    port = start.ports["tcp"]
    client = await start.client("before")
    assert reload(start, tmp_path, listeners={"tcp.tcp": {"bind": f"0.0.0.0:{port}"}}) == []
    await client.ping()
    await (await client_at(port, "after")).close()
    assert start.listener().address == f"0.0.0.0:{port}"


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


async def test_a_port_in_use_is_told_and_nothing_is_lost(start, tmp_path, taken):
    client = await start.client("before")
    [problem] = reload(start, tmp_path, listeners={"tcp.tcp": {"bind": f"127.0.0.1:{taken}"}})
    assert "is in use" in problem
    assert "keeps its old settings" in problem
    await client.ping()
    await start.client("after")


async def test_a_new_listener_that_cannot_be_opened_is_told(start, tmp_path, taken):
    [problem] = reload(start, tmp_path, listeners={"tcp.second": {"bind": f"127.0.0.1:{taken}"}})
    assert "is in use; it was not opened" in problem
    assert "mqtt:tcp:second" not in start.node.listeners.listeners


async def test_limits_of_a_listener(start, tmp_path):
    assert reload(start, tmp_path, listener={"max_connections": 1, "backlog": 7, "sndbuf": "64KB"}) == []
    await start.client("one")
    assert await gone(await start.socket()) < 1.0
    assert reload(start, tmp_path, listener={"access": ["deny all"]}) == []
    assert await gone(await start.socket("ws")) < 1.0


async def test_limits_of_the_node(start, tmp_path):
    assert reload(start, tmp_path, limits={"max_connect_packet_size": "1KB", "max_unauthenticated": 3}) == []
    assert start.node.gate.max_unauthenticated == 3
    client = await start.raw()
    with pytest.raises((Refused, Closed), match=r"DISCONNECT|closed|CONNACK"):
        await client.connect("c" * 1100)


async def test_broker_retainer_alarm_and_monitors(start, tmp_path):
    node = start.node
    problems = reload(
        start,
        tmp_path,
        broker={"shared_subscription_strategy": "sticky", "sys_interval": "1s", "client_disconnect_discarded": True},
        retainer={"max_retained_messages": 1, "stop_publish_clear_msg": True, "expiry_interval": "1h"},
        alarm={"actions": "log", "size_limit": 3},
        sysmon={"long_schedule": "1s"},
        os_mon={"cpu_check_interval": "5s"},
        flapping_detect_policy="3, 1m, 5m",
    )
    assert problems == []
    assert node.broker.registry.client_disconnect_discarded
    assert node.broker.stop_publish_clear_msg
    assert node.alarms.settings.size_limit == 3
    assert node.loop_watch.threshold == 1.0
    assert node.flapping.policy.count == 3
    node.publish(Message("a", b"1", 0, True))
    node.publish(Message("b", b"2", 0, True))
    assert len(node.broker.retained) == 1
    watcher = await start.client("w", subscribe="$SYS/brokers")
    with trio.fail_after(5):
        assert (await watcher.message())[0] == "$SYS/brokers"  # a second's period, where it was a minute's
    assert node.broker.metrics.service_crashed == 0


async def test_share_groups_that_exist_take_the_new_strategy(start, tmp_path):
    first, second = [await start.client(name, subscribe="$share/g/t") for name in ("a", "b")]
    assert reload(start, tmp_path, broker={"group": {"g": {"shared_subscription_strategy": "sticky"}}}) == []
    publisher = await start.client("p")
    for _ in range(6):
        await publisher.publish("t", b"x", qos=1)
    await first.ping()
    await second.ping()
    assert {len(first.inbox), len(second.inbox)} == {0, 6}


async def test_the_log_level(start, tmp_path):
    logger = logging.getLogger("trioemqx")
    before = logger.level
    try:
        assert reload(start, tmp_path, log={"level": "debug"}) == []
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


async def test_what_needs_a_restart_is_named(start, tmp_path):
    assert reload(start, tmp_path, store={"file": "other.db"}) == ["store.file: needs a restart"]


class TestRateOfAListener:
    @pytest.fixture
    def settings(self):
        return {"listener": {"rate_limit": "1KB,1s"}}

    async def test_bytes_beyond_it_wait(self, doors):
        """EMQX's older spelling of rate_limit.conn_bytes_in."""
        client = await doors.client("c", subscribe="t")
        began = trio.current_time()
        await client.publish("t", bytes(2500), qos=1)
        assert 1.0 <= trio.current_time() - began <= 4.0
        await until(lambda: len(doors.node.pump.turn.pauses) == 0)


class TestRateOfTheZoneFirst:
    @pytest.fixture
    def settings(self):
        return {
            "listener": {"rate_limit": "1KB,1s"},
            "zone": {"default": {"rate_limit": {"conn_bytes_in": "1MB,1s"}}},
        }

    async def test_the_newer_spelling_wins(self, doors):
        client = await doors.client("c", subscribe="t")
        began = trio.current_time()
        await client.publish("t", bytes(10_000), qos=1)
        assert trio.current_time() - began < 0.9
