"""Listeners: where they are, who uses them, why connections ended, and a restart."""

from __future__ import annotations

import socket

import pytest
import trio

from trioemqx.api.v4.listeners import atom
from trioemqx.testing import Client, TestBroker

TCP = {"bind": "127.0.0.1:0", "zone": "default", "max_connections": 100, "acceptors": 4}
WS = {"bind": "127.0.0.1:0", "zone": "default", "max_connections": 50}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {
        "listener": {"tcp": {"external": TCP}, "ws": {"external": WS}},
        "management": {"listener": {"http": {"bind": "127.0.0.1:0", "max_clients": 7}}},
    }


@pytest.fixture
def broker(listening_broker: TestBroker) -> TestBroker:
    return listening_broker


async def rows(broker: TestBroker) -> dict[str, dict[str, object]]:
    found = (await broker.api("GET", f"/nodes/{broker.node.node}/listeners")).data
    return {row["protocol"]: row for row in found}


async def ended(broker: TestBroker, count: int) -> object:
    """`shutdown_count` of the TCP listener once that many connections have ended."""
    with trio.fail_after(5):
        while True:
            counts = (await rows(broker))["mqtt:tcp"]["shutdown_count"]
            if sum(sum(part.values()) for part in counts) >= count:
                return counts
            await trio.sleep(0.01)


async def test_list(broker: TestBroker) -> None:
    """GET /listeners and GET /nodes/{node}/listeners"""
    await broker.client("c")
    (entry,) = (await broker.api("GET", "/listeners")).data
    assert entry["node"] == broker.node.node
    tcp, http, ws = entry["listeners"]
    listeners = broker.node.listeners.listeners
    assert tcp == {
        "protocol": "mqtt:tcp",
        "listen_on": f"127.0.0.1:{listeners['mqtt:tcp:external'].port}",
        "identifier": "mqtt:tcp:external",
        "acceptors": 4,
        "max_conns": 100,
        "current_conns": 1,
        "shutdown_count": [],
    }
    assert (http["protocol"], http["max_conns"], http["shutdown_count"]) == ("http:management", 7, [])
    assert "identifier" not in http
    port = listeners["mqtt:ws:external"].port
    assert (ws["protocol"], ws["listen_on"]) == (f"mqtt:ws:{port}", f"127.0.0.1:{port}")
    assert "identifier" not in ws
    assert list(await rows(broker)) == ["mqtt:tcp", "http:management", f"mqtt:ws:{port}"]


async def test_connections_of_the_api_are_counted(broker: TestBroker) -> None:
    assert broker.node.api is not None
    port = broker.node.api.servers[0].port
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        request = f"GET /api/v4/nodes/{broker.node.node}/listeners HTTP/1.1\r\nhost: x\r\nauthorization: Basic "
        await stream.send_all(request.encode() + b"YWRtaW46cHVibGlj\r\nconnection: close\r\n\r\n")
        answer = b"".join([part async for part in stream])
    assert b'"protocol":"http:management"' in answer
    assert b'"max_conns":7,"current_conns":1' in answer


async def test_why_connections_ended(broker: TestBroker) -> None:
    await (await broker.client("a")).disconnect()
    kicked = await broker.client("b")
    broker.node.kick("b")
    assert await kicked.closed() == 0x98
    assert await ended(broker, 2) == [{"normal": 1, "kicked": 1}]


async def test_a_bare_port_is_shown_as_it_was_written(broker: TestBroker) -> None:
    from trioemqx.config.listener import ListenerConfig
    from trioemqx.config.values import Address

    listener = broker.node.listeners.make(ListenerConfig(kind="tcp", name="bare", bind=Address("", 18899)))
    broker.node.listeners.listeners["mqtt:tcp:bare"] = listener
    found = (await broker.api("GET", "/listeners")).data[0]["listeners"]
    assert [row["listen_on"] for row in found if row.get("identifier") == "mqtt:tcp:bare"] == ["18899"]
    del broker.node.listeners.listeners["mqtt:tcp:bare"]


@pytest.mark.parametrize("path", ["/listeners/{name}/restart", "/nodes/{node}/listeners/{name}/restart"])
async def test_restart(broker: TestBroker, path: str) -> None:
    """PUT /listeners/{identifier}/restart and PUT /nodes/{node}/listeners/{identifier}/restart"""
    client = await broker.client("c")
    path = path.format(node=broker.node.node, name="mqtt:tcp:external")
    answer = await broker.api("PUT", path)
    expected = {"code": 0, "data": list(b"Listener restarted.")} if "nodes" in path else {"code": 0}
    assert (answer.status, answer.json()) == (200, expected)
    assert await client.closed() == 0x98
    with trio.fail_after(5):
        while (await rows(broker))["mqtt:tcp"]["current_conns"] != 0:
            await trio.sleep(0.01)
    await broker.client("again")
    assert broker.node.find("again") is not None


async def test_a_stopped_listener_is_not_listed_and_can_be_restarted(broker: TestBroker) -> None:
    broker.node.listeners.stop("mqtt:tcp:external")
    assert "mqtt:tcp" not in await rows(broker)
    assert (await broker.api("PUT", "/listeners/mqtt:tcp:external/restart")).code == 0
    assert (await rows(broker))["mqtt:tcp"]["current_conns"] == 0


async def test_what_cannot_be_restarted(broker: TestBroker) -> None:
    node = broker.node.node
    answer = await broker.api("PUT", "/listeners/http:management/restart")
    assert (answer.status, answer.body) == (403, b'"http_listener_restart_unsupported"')
    assert answer.headers["content-type"] == "application/json"
    for name, printed in (
        ("mqtt:tcp:x", '<<"mqtt:tcp:x">>'),
        ("mqtt%3Atcp%3Aexternal", '<<"mqtt%3Atcp%3Aexternal">>'),
        ("%00", '<<"%00">>'),
        ("x" * 3000, f'<<"{"x" * 3000}">>'),
    ):
        answer = await broker.api("PUT", f"/nodes/{node}/listeners/{name}/restart")
        assert (answer.status, answer.code, answer.message) == (200, 102, f"{{no_such_listener,{printed}}}")
        answer = await broker.api("PUT", f"/listeners/{name}/restart")
        expected = f"{{restart,[{{'{node}',{{error,{{no_such_listener,{printed}}}}}}}]}}"
        assert (answer.status, answer.code, answer.message) == (200, 102, expected)
    answer = await broker.api("PUT", f"/nodes/{node}/listeners/http:management/restart")
    assert (answer.status, answer.code) == (200, 102)
    assert (await broker.api("PUT", "/nodes/x@y/listeners/mqtt:tcp:external/restart")).status == 404
    assert broker.node.listeners.listeners["mqtt:tcp:external"].port > 0


async def test_an_address_that_is_taken_meanwhile(broker: TestBroker) -> None:
    listener = broker.node.listeners.listeners["mqtt:tcp:external"]
    port = listener.port
    broker.node.listeners.stop("mqtt:tcp:external")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        answer = await broker.api("PUT", f"/nodes/{broker.node.node}/listeners/mqtt:tcp:external/restart")
        assert answer.code == 102
        assert f"127.0.0.1:{port} is in use" in str(answer.message)
        assert "mqtt:tcp" not in await rows(broker)
    assert (await broker.api("PUT", "/listeners/mqtt:tcp:external/restart")).code == 0


def test_names_as_erlang_prints_them() -> None:
    assert atom("emqx@localhost") == "emqx@localhost"
    assert atom("emqx@127.0.0.1") == "'emqx@127.0.0.1'"
    assert atom("Node@x") == "'Node@x'"
    assert atom("a'b") == "'a\\'b'"


# -- limits ------------------------------------------------------------------------------------------------------------


class TestLimits:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"listener": {"tcp": {"small": {**TCP, "max_connections": 2}}}, "limits": {"max_connections": 1000}}

    async def test_too_many_connections_of_a_listener_are_an_alarm(self, broker: TestBroker) -> None:
        watch = broker.node.guards.limit_watch
        for name in ("a", "b"):
            await broker.client(name)
        watch.check(0.0)
        assert broker.alarms() == {}, "a full listener alone keeps nobody out"
        third = await broker.stream()
        assert await third.receive_some(1) == b""
        watch.check(100.0)
        assert broker.alarms() == {"too_many_connections/mqtt:tcp:small": {"limit": 2, "kept_out": 1}}
        (alarm,) = broker.node.alarms.active()
        assert alarm.message == "Clients are kept out: the limit of 2 connections is reached"
        watch.check(159.0)
        assert broker.alarms() != {}
        watch.check(160.0)
        assert broker.alarms() == {}

    async def test_an_alarm_that_was_cleared_by_hand_comes_again(self, broker: TestBroker) -> None:
        listener = broker.node.listeners.listeners["mqtt:tcp:small"]
        for now in (1.0, 2.0):
            listener.full += 3
            broker.node.guards.limit_watch.check(now)
            assert broker.node.alarms.deactivate("too_many_connections/mqtt:tcp:small")
        broker.node.guards.limit_watch.check(3.0)
        assert broker.alarms() == {}

    async def test_the_alarm_of_a_listener_that_is_gone_is_cleared(self, broker: TestBroker) -> None:
        listener = broker.node.listeners.listeners["mqtt:tcp:small"]
        listener.full += 1
        broker.node.guards.limit_watch.check(1.0)
        assert broker.alarms() != {}
        broker.node.listeners.update([], broker.node.broker.zones)
        broker.node.guards.limit_watch.check(2.0)
        assert broker.alarms() == {}


class TestNodeLimit:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"listener": {"tcp": {"external": TCP}}, "limits": {"max_connections": 1}}

    async def test_too_many_connections_of_the_node_are_an_alarm(self, broker: TestBroker) -> None:
        first = await broker.client("a")
        waiting = await broker.stream()
        with trio.fail_after(5):
            while not broker.alarms():
                await trio.sleep(0.05)
        assert list(broker.alarms()) == ["too_many_connections"]
        assert broker.alarms()["too_many_connections"]["limit"] == 1
        await first.disconnect()
        client = Client(waiting, 5)
        with trio.fail_after(5):
            await client.connect("b")
        now = trio.current_time()
        broker.node.guards.limit_watch.check(now + 1)
        assert list(broker.alarms()) == ["too_many_connections"]
        broker.node.guards.limit_watch.check(now + 61)
        assert broker.alarms() == {}
