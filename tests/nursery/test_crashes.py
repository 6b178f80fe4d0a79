"""Crashes on real sockets and in the places nobody guards; the rest of the crash table is in test_tree.py."""

from __future__ import annotations

import logging

import pytest
import trio
from fault_doors import KINDS, PATIENCE, opened, until

from trioemqx import supervisor
from trioemqx.codec.packets import PUBACK, make_publish
from trioemqx.config.load import from_mapping
from trioemqx.hookspecs import hookimpl
from trioemqx.listeners.listener import Listener
from trioemqx.listeners.pump import Pump
from trioemqx.node import open_broker
from trioemqx.services import sweeper
from trioemqx.services.retained_store import RetainedStore
from trioemqx.services.session_store import SessionStore
from trioemqx.services.store.database import Database
from trioemqx.services.store.protocol import StoreError
from trioemqx.services.supervise import GaveUp
from trioemqx.testing import OPEN_CONFIG
from trioemqx.types import Properties


class Bug(Exception):
    """What nobody expects."""


def traceback_of(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether a record with this text carries the traceback of a Bug."""
    return any(
        text in record.getMessage() and record.exc_info is not None and isinstance(record.exc_info[1], Bug)
        for record in caplog.records
    )


def active(broker) -> set[str]:
    return {alarm.name for alarm in broker.node.alarms.active()}


class TestOneOfMany:
    async def test_one_is_swept_and_crashes(self, broker, caplog):
        """The others still get their deadlines: the sweep goes on with the next one."""
        clients = [await broker.client(f"c{number}", keepalive=5) for number in range(3)]
        check = broker.node.pump.turn.check

        def crash(channel) -> None:
            if channel.info.clientid == "c0":
                raise Bug
            check(channel.owner)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweeper.run, broker.node.broker, crash, lambda: None)
            assert await clients[0].closed() == 0x80
            await trio.sleep(8)
            assert await clients[1].closed() == 0x8D
            nursery.cancel_scope.cancel()
        assert traceback_of(caplog, "sweep crashed")
        assert broker.node.broker.metrics.service_crashed == 0

    async def test_an_access_hook_that_never_answers_denies(self, broker):
        class Stuck:
            @hookimpl
            async def client_check_acl(self, client, action, topic):
                await trio.sleep_forever()

        client = await broker.client("me")
        other = await broker.client("other")
        broker.node.hooks.register(Stuck(), "stuck")
        await client.send(make_publish("t", b"x", 1, False, False, 7, None))
        await other.ping()  # nobody waits for it but its own client
        await trio.sleep(5.5)
        assert (await client.ack(PUBACK, 7)).code == 0x87


async def test_the_sweeper_is_vital(autojump_clock, monkeypatch):
    def broken(*arguments) -> None:
        raise Bug

    monkeypatch.setattr(sweeper, "sweep", broken)
    with pytest.RaisesGroup(GaveUp, allow_unwrapped=False, flatten_subgroups=True):
        async with open_broker({**OPEN_CONFIG}, in_memory=True):
            await trio.sleep(60)


@pytest.mark.parametrize(
    ("service", "run"), [(SessionStore, "run"), (SessionStore, "page"), (RetainedStore, "run")], ids=str
)
async def test_what_belongs_to_the_store_is_vital(autojump_clock, monkeypatch, caplog, service, run):
    """Without it clients would wait for ever for what is on disk, and nobody would know."""

    async def broken(*arguments) -> None:
        raise Bug

    monkeypatch.setattr(service, run, broken)
    with pytest.RaisesGroup(GaveUp, allow_unwrapped=False, flatten_subgroups=True):
        async with open_broker({**OPEN_CONFIG}, in_memory=True):
            await trio.sleep(60)
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


async def test_a_listener_crashes_and_is_opened_again(doors, caplog, monkeypatch):
    """On the same port, though it was chosen by the system; connections and the other listeners are not touched."""
    clients = [await doors.client(f"c{kind}", kind) for kind in KINDS]
    listener = doors.listener()
    accept = Listener._accept_ready
    crashes = 1

    def broken(self, listening, connections):
        nonlocal crashes
        if self is listener and crashes:
            crashes -= 1
            raise Bug
        return accept(self, listening, connections)

    monkeypatch.setattr(Listener, "_accept_ready", broken)
    waiting = await doors.socket()
    await doors.client("elsewhere", "ws")
    for client in clients:
        await client.ping()
    await until(lambda: listener.port == doors.ports["tcp"])
    await doors.client("again")
    await waiting.aclose()
    assert traceback_of(caplog, "service listener mqtt:tcp:tcp crashed")
    assert "listener mqtt:tcp:tcp_crashed" in active(doors)


async def test_the_pump_crashes_and_runs_again(doors, caplog):
    """What happened in the turn is lost for the one it happened to; the bytes of the others are moved on."""
    clients = [await doors.client(f"c{kind}", kind) for kind in KINDS]
    doomed = await doors.client("doomed")
    ended = doors.node.pump.turn.ended

    def broken(link, reason) -> None:
        doors.node.pump.turn.ended = ended
        ended(link, reason)
        raise Bug

    doors.node.pump.turn.ended = broken
    await doomed.close()
    await until(lambda: doors.node.broker.metrics.service_crashed == 1)
    for client in clients:
        await client.ping()
    assert traceback_of(caplog, "service pump crashed")
    assert "pump_crashed" in active(doors)
    await until(lambda: doors.node.find("doomed") is None)


@pytest.mark.parametrize("what", ["pump", "listener"])
def test_what_cannot_be_kept_running_ends_the_process_with_70(tmp_path, monkeypatch, capsys, caplog, what):
    """After an orderly drain; systemd starts it again."""

    async def broken(*arguments, **named) -> None:
        raise Bug

    monkeypatch.setattr(Pump if what == "pump" else Listener, "run", broken)
    monkeypatch.setattr("trioemqx.services.supervise.RestartPolicy.__init__.__defaults__", (0.01, 0.02, 5, 60.0))
    config = from_mapping(
        {
            **OPEN_CONFIG,
            "node": {"data_dir": str(tmp_path)},
            "listener": {"tcp": {"a": {"bind": "127.0.0.1:0", "zone": "default"}}},
        }
    )
    assert supervisor.serve(config, lambda: config) == supervisor.GAVE_UP == 70
    assert "crashed 5 times" in capsys.readouterr().err
    assert traceback_of(caplog, f"service {what}")
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


async def test_the_thread_of_the_store_crashes(tmp_path, monkeypatch, caplog):
    """What waits for the disk is not acknowledged, and the node ends, so that a new process can go on."""

    def bug(*changes: object) -> None:
        raise Bug

    with pytest.RaisesGroup(pytest.RaisesExc(StoreError, match="crashed"), flatten_subgroups=True):
        async with opened({}, tmp_path) as doors:
            subscriber = await doors.raw()
            properties = Properties()
            properties.session_expiry_interval = 100
            await subscriber.connect("sub", properties=properties)
            await subscriber.subscribe("t", qos=1)
            publisher = await doors.client("pub")
            await doors.node.store.counts()  # everything so far has been written
            monkeypatch.setattr(Database, "remember", bug)
            await publisher.send(make_publish("t", b"x", 1, False, False, 7, None))
            with trio.fail_after(PATIENCE):
                assert await publisher.closed() in (0x80, 0x8B, 0x97)
            await trio.sleep_forever()
    assert traceback_of(caplog, "the thread that writes it crashed")
