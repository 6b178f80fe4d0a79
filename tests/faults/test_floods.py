"""More connections than the broker wants, or than the system has descriptors for."""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import time

import pytest
import trio
from fault_doors import KINDS, PATIENCE, Doors, descriptors, gone, until

from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Closed, Refused
from trioemqx.types import Verdict


@contextlib.contextmanager
def few_descriptors(spare: int):
    """Let this process (broker and clients) open only so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors(doors, caplog):
    """The reserve descriptor turns the waiting away, accepting pauses, and nothing spins; later all is well again."""
    honest = await doors.client("honest")
    sockets = [trio.socket.socket() for _ in range(30)]
    with few_descriptors(5), caplog.at_level(logging.ERROR, "trioemqx"):
        for sock in sockets:
            await sock.connect(("127.0.0.1", doors.ports["tcp"]))
        await until(lambda: doors.node.broker.metrics.connection_refused > 0)
        used = time.process_time()
        await trio.sleep(1.0)
        assert time.process_time() - used < 0.5
        await honest.ping()
    assert "out of file descriptors" in caplog.text
    for sock in sockets:
        sock.close()
    await until(lambda: doors.links() == 1)
    for number in range(30):
        await doors.client(f"c{number}")
    assert doors.node.broker.metrics.service_crashed == 0


async def test_an_error_of_the_peer_is_not_one_of_the_listener(doors):
    """`accept` reports what happened to a connection that died in the queue; the listener goes on."""
    listener = doors.listener()
    errors = [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH]

    class Unlucky:
        def accept(self):
            if errors:
                raise OSError(errors.pop(), "unlucky")
            raise BlockingIOError

    assert listener._accept_ready(Unlucky(), doors.node._connections) == 0.0
    assert errors == []


class TestMaxConnections:
    @pytest.fixture
    def settings(self):
        return {"listener": {"max_connections": 3}}

    @pytest.mark.parametrize("kind", ["tcp", "ssl", "proxy"])
    async def test_one_too_many_is_closed_at_once(self, doors, kind):
        clients = [await doors.client(f"c{number}", kind) for number in range(3)]
        assert await gone(await doors.socket(kind)) < 1.0
        assert doors.listener(kind).refused == 1
        assert doors.node.broker.metrics.connection_refused == 1
        await clients[0].disconnect()
        await doors.quiet(2)
        await doors.client("again", kind)

    @pytest.mark.parametrize("kind", ["ws", "wss"])
    async def test_over_websocket_it_waits(self, doors, nursery, kind):
        """EMQX's limit is a soft one there."""
        clients = [await doors.client(f"c{number}", kind) for number in range(3)]
        nursery.start_soon(doors.client, "waiting", kind)
        await trio.sleep(0.3)
        assert doors.listener(kind).current == 3
        await clients[0].disconnect()
        await until(lambda: doors.node.find("waiting") is not None)


class TestRate:
    @pytest.fixture
    def settings(self):
        return {"listener": {"max_conn_rate": 20}}

    @pytest.mark.parametrize("kind", ["tcp", "ws"])
    async def test_accepting_keeps_to_the_rate(self, doors, kind):
        await doors.client("first", kind)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(39):
                nursery.start_soon(doors.client, f"c{number}", kind)
        assert 0.8 <= trio.current_time() - began <= 5.0
        assert doors.listener(kind).refused == 0


class TestAccess:
    @pytest.fixture
    def settings(self):
        return {"listener": {"access": ["allow 127.0.0.2/32", "deny 127.0.0.0/8"]}}

    @pytest.mark.parametrize("kind", KINDS)
    async def test_whom_the_rules_deny_is_closed_at_once(self, doors, kind):
        assert await gone(await doors.socket(kind)) < 1.0
        assert doors.listener(kind).current == 0
        allowed = trio.socket.socket()
        await allowed.bind(("127.0.0.2", 0))
        await allowed.connect(("127.0.0.1", doors.ports[kind]))
        await until(lambda: doors.listener(kind).current == 1)
        allowed.close()


class TestUnauthenticated:
    @pytest.fixture
    def settings(self):
        return {"limits": {"max_unauthenticated": 20}}

    async def test_the_silent_have_to_make_room(self, doors):
        """Twice as many silent sockets as may be: a client that speaks gets in all the same."""
        honest = [await doors.client(f"c{number}") for number in range(30)]  # these do not count
        silent = [await doors.socket() for _ in range(40)]
        began = trio.current_time()
        await doors.client("late")
        assert trio.current_time() - began < 4.0
        assert doors.listener().shutdown_count["server_busy"] >= 1
        assert len(doors.node.pump.turn.links) <= 20 + 31
        for client in honest:
            await client.ping()
        for raw in silent:
            await raw.aclose()
        await doors.quiet(31)

    async def test_who_has_just_come_or_spoken_is_left_alone(self, doors):
        """While they are new, accepting pauses instead."""
        raws = [await doors.socket() for _ in range(25)]
        await trio.sleep(0.3)
        assert doors.listener().current == 20
        assert doors.listener().shutdown_count == {}
        assert doors.node.gate.waited > 0
        for raw in raws:
            await raw.aclose()


class TestTotal:
    @pytest.fixture
    def settings(self):
        return {"limits": {"max_connections": 5}}

    async def test_the_limit_of_all_listeners_together(self, doors):
        clients = [await doors.client(f"c{kind}", kind) for kind in KINDS]
        waiting = await doors.socket()
        await trio.sleep(0.3)
        assert doors.links() == 5
        await clients[0].disconnect()
        await until(lambda: doors.links() == 5)
        await waiting.aclose()


class Guard:
    """No password is right."""

    @hookimpl
    async def client_authenticate(self, client, credentials):
        return Verdict(0 if credentials.password == b"right" else 0x86)


async def test_a_flood_of_wrong_passwords(doors: Doors):
    """Each is answered and closed, and somebody who knows the password does not wait long."""
    doors.node.hooks.register(Guard(), "guard")
    refused = 0

    async def attacker(end: float) -> None:
        nonlocal refused
        while trio.current_time() < end:
            client = await doors.raw()
            with pytest.raises((Refused, Closed)):
                await client.connect("x", username="u", password=b"wrong")
            await client.close()
            refused += 1

    waits = []
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(attacker, trio.current_time() + 1.5)
        while len(waits) < 10:
            client = await doors.raw()
            began = trio.current_time()
            await client.connect(f"c{len(waits)}", username="u", password=b"right")
            waits.append(trio.current_time() - began)
            await trio.sleep(0.1)
    assert refused > 100
    assert sorted(waits)[-2] < 1.0
    await doors.quiet(10)
    assert doors.node.broker.metrics.packets_connack_auth_error == refused


class TestReserve:
    """Connections leave descriptors to files, the API and plugins."""

    async def test_accepting_pauses_before_the_last_descriptors_are_used(self, doors, caplog):
        honest = await doors.client("honest")
        gate = doors.node.gate
        sockets = [trio.socket.socket() for _ in range(30)]
        ends = max(sock.fileno() for sock in sockets)
        gate.descriptor_ceiling = ends + 1 + 10
        with caplog.at_level(logging.ERROR, "trioemqx"):
            for sock in sockets:
                await sock.connect(("127.0.0.1", doors.ports["tcp"]))
            await until(lambda: gate.starved > 0)
            doors.node.guards.limit_watch.check(trio.current_time())
            assert doors.node.alarms.is_active("too_few_descriptors")
            started = gate.starved, time.process_time(), trio.current_time()
            await until(lambda: gate.starved >= started[0] + 5)
            assert gate.starved - started[0] <= 20 * (trio.current_time() - started[2]) + 10, "it does not spin"
            assert time.process_time() - started[1] < trio.current_time() - started[2] + 0.5
            links = doors.links()
            assert links < 31
            await honest.ping()
        assert "out of file descriptors" not in caplog.text
        assert doors.node.metrics["overload.accepting.paused"] == gate.starved
        for sock in sockets[:25]:
            sock.close()
        await until(lambda: doors.links() == 6, lambda: f"{doors.links()} links")
        await doors.client("again")
        for sock in sockets:
            sock.close()
        await doors.quiet(2)
        starved = gate.starved
        await doors.client("free")
        assert gate.starved == starved


class TestMemoryIsShort:
    """On real sockets: who is here is served, who comes is told why not."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_connect_is_answered_and_closed(self, doors, kind):
        here = await doors.client("here", kind)
        doors.node.broker.pressure.refuse_connections = True
        newcomer = await doors.raw(kind)
        with pytest.raises(Refused, match="QUOTA_EXCEEDED"):
            await newcomer.connect("newcomer")
        assert await gone(newcomer._stream.raw) < PATIENCE
        await here.ping()
        await doors.quiet(1)
