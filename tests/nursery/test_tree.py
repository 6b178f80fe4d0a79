"""Who dies with whom: the crash table of docs/architecture.md, row by row."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trioemqx.codec.control import Connack
from trioemqx.core.callback import Callback
from trioemqx.ending import running_below
from trioemqx.hookspecs import hookimpl
from trioemqx.listeners.link import Link
from trioemqx.listeners.listener import Listener
from trioemqx.services.supervise import GaveUp
from trioemqx.testing import Client, Closed, TestBroker, Will, running
from trioemqx.types import SubOpts

Captured = pytest.LogCaptureFixture


class Crash(Exception):
    """The bug of these tests."""


class BrokenSocket:
    """A connection's socket whose reading crashes in our code, not in the network."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def recv(self, size: int) -> bytes:
        raise Crash("recv")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def link_of(broker: TestBroker, clientid: str) -> Link:
    session = broker.node.find(clientid)
    assert session is not None
    assert session.channel is not None
    link = session.channel.owner
    assert isinstance(link, Link)
    return link


def crashes(times: int) -> Callable[..., Any]:
    """A function that raises so many times and then returns None for ever."""
    left = [times]

    def call(*args: object) -> None:
        if left[0]:
            left[0] -= 1
            raise Crash("service")

    return call


async def still_works(broker: TestBroker, *clients: Client) -> None:
    for client in clients:
        await client.ping()
    watcher = await broker.client(subscribe="alive")
    await (await broker.client()).publish("alive", b"yes", qos=1)
    assert await watcher.message() == ("alive", b"yes")


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize(("version", "code"), [(5, 0x81), (4, None)])
async def test_a_packet_that_breaks_the_rules_ends_its_connection_alone(
    broker: TestBroker, caplog: Captured, version: int, code: int | None, connected: bool
) -> None:
    """MQTT 5 clients are told, by DISCONNECT or CONNACK; for older ones the connection closes [MQTT-4.8.0-1]."""
    caplog.set_level(logging.DEBUG, "trioemqx")
    other = await broker.client("other")
    client = await broker.raw(version)
    if connected:
        await client.connect("c")
        await client.send_raw(b"\x32\x03\x00\x05a")  # a topic that is longer than its packet
        assert await client.closed() == code
    else:
        await client.send_raw(b"\x10\x0b\x00\x04MQTT" + bytes([version]) + b"\x03\x00\x00\x00")  # a reserved flag
        if code is not None:
            assert (await client.wait_for(Connack)).code == code
        assert await client.closed() is None
    await client.close()
    await trio.sleep(2)  # it lingers for a moment, so that the last words arrive
    assert broker.node._inside["default"].shutdown_count == {"malformed_packet": 1}
    assert any(record.message.startswith("refused with 0x81") for record in caplog.records)
    assert broker.node.broker.metrics.connection_crashed == 0
    await still_works(broker, other)


async def test_a_crash_in_one_connection_ends_that_connection_alone(broker: TestBroker, caplog: Captured) -> None:
    other = await broker.client("other", subscribe="will")
    victim = await broker.raw()
    await victim.connect("victim", will=Will("will", b"gone", 0, False, None))
    link_of(broker, "victim").sock = BrokenSocket(link_of(broker, "victim").sock)
    await victim.send_raw(b"\xc0\x00")

    assert await victim.closed() is None
    assert await other.message() == ("will", b"gone")
    assert broker.node.find("victim") is None
    assert broker.node.broker.metrics.connection_crashed == 1
    record = next(record for record in caplog.records if "crashed" in record.message)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.__dict__["clientid"] == "victim"
    await still_works(broker, other)


async def test_a_crash_in_a_receiver_costs_neither_publisher_nor_other_receivers(
    broker: TestBroker, caplog: Captured
) -> None:
    def crash(*args: object) -> None:
        raise Crash("receiver")

    for name in ("before", "after"):
        broker.node.broker.listen(Callback(name, crash), "t", SubOpts(1))
    watcher = await broker.client("w", subscribe="t")
    publisher = await broker.client("p")
    assert await publisher.publish("t", b"1", qos=1) == 0
    assert await watcher.message() == ("t", b"1")
    assert broker.node.broker.metrics.connection_crashed == 2
    assert "delivery crashed" in caplog.text


async def test_a_crash_in_a_hook_is_the_hooks_own(broker: TestBroker) -> None:
    class Plugin:
        @hookimpl
        def message_publish(self, message: object) -> None:
            raise Crash("hook")

    broker.node.hooks.register(Plugin(), "bad")
    await still_works(broker)
    assert broker.node.broker.metrics.hook_crashed > 0


async def test_a_crash_in_a_question_ends_its_connection_alone(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plugin:
        @hookimpl
        async def client_authenticate(self, client: object) -> None:
            await trio.sleep(1)

    other = await broker.client("other")
    broker.node.hooks.register(Plugin(), "slow")

    async def crash(question: object) -> None:
        raise Crash("resolve")

    monkeypatch.setattr(broker.node.access, "resolve", crash)
    victim = await broker.raw()
    with pytest.raises(Closed):
        await victim.connect("victim")
    assert broker.node.broker.metrics.connection_crashed == 1
    await other.ping()


async def test_a_service_that_crashes_is_restarted_under_an_alarm(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch, caplog: Captured
) -> None:
    client = await broker.client("c")
    monkeypatch.setattr(broker.node.stats_keeper, "refresh", crashes(2))
    await trio.sleep(3)
    assert broker.node.alarms.is_active("stats_crashed")
    assert broker.node.broker.metrics.service_crashed == 2
    assert "service stats crashed" in caplog.text
    await trio.sleep(90)
    assert not broker.node.alarms.is_active("stats_crashed"), "it has run for a minute"
    await still_works(broker, client)


async def test_a_service_that_gives_up_stays_off_and_the_broker_lives(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch, caplog: Captured
) -> None:
    client = await broker.client("c")
    monkeypatch.setattr(broker.node.stats_keeper, "refresh", crashes(1000))
    await trio.sleep(50)
    assert broker.node.broker.metrics.service_crashed == 5
    assert caplog.text.count("service stats crashed") == 5
    assert broker.node.alarms.is_active("stats_crashed")
    await still_works(broker, client)


async def test_a_listener_that_crashes_is_opened_again_and_its_clients_stay(
    listening_broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = listening_broker
    client = await broker.client("c")
    listener = next(iter(broker.node.listeners.listeners.values()))
    accept = Listener._accept_ready
    left = [1]

    def crash_once(self: Listener, *args: Any) -> float:
        if left[0]:
            left[0] = 0
            raise Crash("accept")
        return accept(self, *args)

    monkeypatch.setattr(Listener, "_accept_ready", crash_once)
    broker.streams.append(await trio.open_tcp_stream("127.0.0.1", broker.port))
    with trio.fail_after(5):
        while left[0] or listener.port == 0:
            await trio.sleep(0.02)
    broker.port = listener.port
    await client.ping()
    await still_works(broker, client)


@pytest.mark.parametrize("vital", ["pump", "sweeper", "listeners"])
async def test_when_something_vital_gives_up_the_node_ends_and_says_why(
    vital: str, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(GaveUp), flatten_subgroups=True):
        async with running() as broker:
            await broker.client("c")

            async def gone() -> None:
                raise GaveUp(vital, 5, 60.0)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(broker.node._vital, vital, gone)
            await trio.sleep_forever()


async def test_tasks_are_called_by_what_they_do(autojump_clock: object) -> None:
    """A log that names who holds the event loop, or does not end, names no function of ours."""
    async with running():
        await trio.testing.wait_all_tasks_blocked()
        names = set(running_below(trio.lowlevel.current_root_task()))
        assert {"pump", "sweeper", "service stats", "service memory_guard"} <= names


async def test_no_task_and_no_descriptor_outlives_the_node(autojump_clock: object) -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with running() as broker:
        for number in range(50):
            await broker.client(f"c{number}", subscribe="t")
        assert tasks() > before + 50
        links = broker.node.pump.turn.links
        assert len(links) == 50
    assert tasks() == before
    assert not links


async def test_cancelling_the_program_that_embeds_the_broker_ends_it_at_once(autojump_clock: object) -> None:
    start = trio.current_time()
    with trio.move_on_after(1):
        async with running() as broker:
            await broker.client("c", subscribe="t")
            await trio.sleep_forever()
    assert trio.current_time() - start < 10
