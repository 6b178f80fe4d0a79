"""`listeners` of `trioemqx ctl`, and what stopping and restarting a listener does to its clients."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from ctl_helpers import ctl, data

from trioemqx.listeners.listener import Listener
from trioemqx.testing import Client, TestBroker, running

ONE = {"bind": "127.0.0.1:0", "zone": "default", "max_connections": 77, "acceptors": 3}
CONFIG: dict[str, Any] = {"listener": {"ws": {"w": ONE}, "tcp": {"one": ONE, "two": ONE}}}
ONE_ID = "mqtt:tcp:one"


@pytest.fixture
async def open_broker() -> AsyncIterator[TestBroker]:
    """Two TCP listeners and one of WebSocket, on real time."""
    async with running(CONFIG, listen=True) as broker:
        yield broker


def listener(broker: TestBroker, name: str = ONE_ID) -> Listener:
    return broker.node.listeners.listeners[name]


async def client(broker: TestBroker, clientid: str, name: str = ONE_ID) -> Client:
    stream = await trio.open_tcp_stream("127.0.0.1", listener(broker, name).port)
    broker.streams.append(stream)
    found = Client(stream)
    await found.connect(clientid)
    return found


async def refused(port: int) -> bool:
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return True
    return False


async def test_the_block_of_a_listener(open_broker: TestBroker) -> None:
    await client(open_broker, "c1")
    await (await client(open_broker, "c2")).disconnect()
    await (await client(open_broker, "c3")).disconnect()
    with trio.fail_after(5):
        while listener(open_broker).current != 1:
            await trio.sleep(0.01)
    code, lines = await ctl(open_broker, "listeners")
    assert code == 0
    assert lines[:6] == [
        ONE_ID,
        f"  listen_on       : 127.0.0.1:{listener(open_broker).port}",
        "  acceptors       : 3",
        "  max_conns       : 77",
        "  current_conn    : 1",
        "  shutdown_count  : [{normal,2}]",
    ]
    assert lines[::6] == [ONE_ID, "mqtt:tcp:two", "mqtt:ws:w"], "those of TCP first"
    assert lines[17] == "  shutdown_count  : []"
    rows = await data(open_broker, "listeners")
    assert rows[0] == {
        "protocol": "mqtt:tcp",
        "listen_on": f"127.0.0.1:{listener(open_broker).port}",
        "identifier": ONE_ID,
        "acceptors": 3,
        "max_conns": 77,
        "current_conns": 1,
        "shutdown_count": [{"normal": 2}],
    }
    assert rows[2]["protocol"] == f"mqtt:ws:{listener(open_broker, 'mqtt:ws:w').port}"
    assert rows[2]["shutdown_count"] == []


async def test_a_stopped_listener_keeps_its_clients(open_broker: TestBroker) -> None:
    staying = await client(open_broker, "c1")
    port = listener(open_broker).port
    done = f"Stop {ONE_ID} listener on 127.0.0.1:{port} successfully."
    assert await ctl(open_broker, f"listeners stop {ONE_ID}") == (0, [done])
    assert await refused(port)
    await staying.ping()
    assert (await ctl(open_broker, "listeners"))[1][::6] == ["mqtt:tcp:two", "mqtt:ws:w"]
    failure = f"Failed to stop {ONE_ID} listener on 127.0.0.1:{port}: it is stopped already"
    assert await ctl(open_broker, f"listeners stop {ONE_ID}") == (1, [failure])


@pytest.mark.parametrize("address", ["{port}", "127.0.0.1:{port}"])
async def test_a_listener_is_stopped_by_its_port(open_broker: TestBroker, address: str) -> None:
    port = listener(open_broker, "mqtt:tcp:two").port
    code, lines = await ctl(open_broker, f"listeners stop whatever {address.format(port=port)}")
    assert (code, lines) == (0, [f"Stop mqtt:tcp:two listener on 127.0.0.1:{port} successfully."])
    assert await refused(port)


async def test_a_reload_does_not_open_a_stopped_listener(open_broker: TestBroker) -> None:
    port = listener(open_broker).port
    await ctl(open_broker, f"listeners stop {ONE_ID}")
    assert open_broker.node.reload(open_broker.node.config) == []
    assert await refused(port)


async def test_restart_drops_the_clients_and_accepts_again(open_broker: TestBroker) -> None:
    leaving, staying = await client(open_broker, "c1"), await client(open_broker, "c2", "mqtt:tcp:two")
    assert await ctl(open_broker, f"listeners restart {ONE_ID}") == (0, [f"Restarted {ONE_ID} listener successfully."])
    assert await leaving.closed() == 0x98
    await staying.ping()
    await (await client(open_broker, "c3")).ping()


@pytest.mark.parametrize("pause", [0, 1, 20])
async def test_restart_opens_a_stopped_listener(open_broker: TestBroker, pause: int) -> None:
    """At any moment of the end of the old accepting task, there is exactly one new one."""
    staying = await client(open_broker, "c1")
    await ctl(open_broker, f"listeners stop {ONE_ID}")
    for _ in range(pause):
        await trio.lowlevel.checkpoint()
    assert (await ctl(open_broker, f"listeners restart {ONE_ID}"))[0] == 0
    assert await staying.closed() == 0x98, "it was one of this listener's"
    for number in range(3):
        await (await client(open_broker, f"n{number}")).ping()
    assert (await ctl(open_broker, f"listeners restart {ONE_ID}"))[0] == 0
    await (await client(open_broker, "again")).ping()


async def test_a_listener_that_cannot_be_opened_again_is_stopped(open_broker: TestBroker) -> None:
    port = listener(open_broker).port
    await ctl(open_broker, f"listeners stop {ONE_ID}")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        failure = f"Failed to restart {ONE_ID} listener: listener.tcp.one: 127.0.0.1:{port} is in use"
        assert await ctl(open_broker, f"listeners restart {ONE_ID}") == (1, [failure])
    assert open_broker.node.listeners.stopped(ONE_ID)
    assert (await ctl(open_broker, f"listeners restart {ONE_ID}"))[0] == 0
    await (await client(open_broker, "c1")).ping()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("stop mqtt:tcp:on", ["No such listener mqtt:tcp:on", f"Did you mean {ONE_ID}?"]),
        ("stop x", ["No such listener x"]),
        ("stop mqtt:tcp 1", ["No such listener mqtt:tcp 1"]),
        ("restart x", ["Failed to restart x listener: no_such_listener"]),
        (
            "restart mqtt:tcp:tow",
            ["Failed to restart mqtt:tcp:tow listener: no_such_listener", "Did you mean mqtt:tcp:two?"],
        ),
    ],
)
async def test_listeners_that_are_not_there(open_broker: TestBroker, words: str, lines: list[str]) -> None:
    code, found = await ctl(open_broker, f"listeners {words}")
    assert (code, found[: len(lines)]) == (1, lines)


async def test_a_broker_in_memory_has_none(broker: TestBroker) -> None:
    assert await ctl(broker, "listeners") == (0, [])
    assert await data(broker, "listeners") == []


async def test_addresses_of_the_http_api_come_last() -> None:
    config = {**CONFIG, "management": {"listener": {"http": {"bind": "127.0.0.1:0", "max_clients": 9}}}}
    async with running(config, listen=True) as broker:
        assert broker.node.api is not None
        (server,) = broker.node.api.servers
        _, lines = await ctl(broker, "listeners")
        assert lines[-6:] == [
            "http:management",
            f"  listen_on       : 127.0.0.1:{server.port}",
            "  acceptors       : 2",
            "  max_conns       : 9",
            "  current_conn    : 0",
            "  shutdown_count  : []",
        ]
        row = (await data(broker, "listeners"))[-1]
        assert (row["protocol"], row["identifier"]) == ("http:management", "http:management")
        stopped = "Stop http:management listener successfully."
        assert await ctl(broker, "listeners stop http:management") == (0, [stopped])
        await trio.sleep(0.2)
        assert server.port == 0
        assert "http:management" not in (await ctl(broker, "listeners"))[1]
        for _ in range(2):
            restarted = "Restarted http:management listener successfully."
            assert await ctl(broker, "listeners restart http:management") == (0, [restarted])
            with trio.fail_after(5):
                while not server.port:
                    await trio.sleep(0.02)
        assert await ctl(broker, f"listeners stop http:management {server.port}") == (0, [stopped])
