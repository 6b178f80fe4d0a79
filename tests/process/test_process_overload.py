"""A broker that is short of files, and one that meets all its clients at once: processes of their own."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from broker_process import OPEN, PATIENCE, TCP, BrokerProcess, Dialer, command, dialing

from trioemqx.testing import Client

FILES = 260
"""Files that a broker may open."""
ROOM = 60
"""Connections it has room for then."""
CLIENTS = 200


@contextmanager
def few_files() -> Iterator[None]:
    """What is started in here may open FILES of them: `ulimit -n`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def files(broker: BrokerProcess) -> int:
    """Files that a broker has open."""
    return len(list(Path(f"/proc/{broker.pid}/fd").iterdir()))


def test_the_start_says_how_many_connections_there_can_be(start) -> None:
    with few_files():
        broker = start(OPEN + TCP + "[limits]\nmax_connections = 5000\n")
    assert f"limit          {ROOM} connections" in broker.output
    assert f"max_connections is 5000, but {ROOM} connections is all that {FILES} open files allow" in broker.output


async def test_a_flood_of_connections_leaves_files_for_others(start, tmp_path) -> None:
    """Connections take what `limits.max_connections` allows and not a file more; the command line still gets in, and
    whoever was connected is served."""
    with few_files():
        broker = start(OPEN + TCP)
    async with dialing(broker.port()) as dialer:
        client = await dialer.client("c", subscribe="t")
        for _ in range(CLIENTS):  # they are in the kernel's queue as soon as they are made
            dialer.streams.append(await trio.open_tcp_stream("127.0.0.1", dialer.port))
        await client.publish("t", b"1", qos=1)
        assert await client.message() == ("t", b"1")
        assert files(broker) < FILES - 50
        done = await trio.to_thread.run_sync(lambda: command("ctl", "status", cwd=broker.folder))
        assert "is started" in done.stdout
        await client.ping()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
async def test_a_reconnect_storm_settles(start, launch, number) -> None:
    """All clients come back at once after a restart; those that had a session find it, with what was queued."""
    broker = start(OPEN + TCP)
    async with dialing(broker.port()) as dialer:
        await connect_all(dialer, present=0)
        await dialer.close()
        publisher = await dialer.client("publisher")
        for at in range(0, CLIENTS, 4):
            assert await publisher.publish(f"to/{at}", b"queued", qos=1) == 0
        broker.signal(number)
        await broker.ended()
    again = start(OPEN + TCP)
    async with dialing(again.port()) as dialer:
        with trio.fail_after(PATIENCE):
            clients = await connect_all(dialer, present=CLIENTS // 4)
            for at in range(0, CLIENTS, 4):
                assert await clients[at].message() == (f"to/{at}", b"queued")


async def connect_all(dialer: Dialer, present: int) -> list[Client]:
    """CLIENTS at once, a fourth of them with sessions that last; as many of their sessions are there as `present`."""
    clients: dict[int, Client] = {}
    found = 0

    async def connect(at: int) -> None:
        nonlocal found
        lasts = at % 4 == 0
        clients[at] = client = await dialer.client(f"c{at}", expiry=600 if lasts else 0, clean_start=False)
        found += client.connack.session_present
        if lasts and not client.connack.session_present:
            await client.subscribe(f"to/{at}", qos=1)

    async with trio.open_nursery() as nursery:
        for at in range(CLIENTS):
            nursery.start_soon(connect, at)
    assert found == present
    return [clients[at] for at in range(CLIENTS)]
