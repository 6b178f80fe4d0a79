"""Clients that do not read: they cost a bounded buffer, and nobody else anything."""

from __future__ import annotations

import socket
import statistics
from collections import Counter

import attrs
import pytest
import trio
from fault_doors import PATIENCE, Doors, opened, rss, until

from trioemqx.codec.control import Pingreq, Subscribe
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import make_publish
from trioemqx.listeners.listener import UNSENT
from trioemqx.listeners.writing import SEND_SIZE
from trioemqx.testing import Client, Closed
from trioemqx.types import Message, SubOpts

MB = 1024 * 1024


@pytest.fixture
def settings():
    return {"zone": {"default": {"max_mqueue_len": 100, "max_inflight": 10}}}


async def pairs(doors: Doors, count: int = 200) -> list[float]:
    """Seconds from PUBLISH to delivery between two clients who do nothing else."""
    receiver = await doors.client("canary-r", subscribe="canary")
    sender = await doors.client("canary-s")
    found = []
    for _ in range(count):
        began = trio.current_time()
        await sender.publish("canary", b"x", qos=1)
        await receiver.message()
        found.append(trio.current_time() - began)
    await receiver.disconnect()
    await sender.disconnect()
    return found


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


async def test_receivers_that_never_read(doors):
    """Thirty of them beside one who reads: he gets everything, they cost a bounded amount, and it is counted."""
    for number in range(30):
        await doors.client(f"slow{number}", subscribe="t", rcvbuf=4096)
    healthy = await doors.client("healthy", subscribe="t")
    publisher = await doors.client("p")
    got = 0

    async def read() -> None:
        nonlocal got
        while got < 3000:
            await healthy.message()
            got += 1

    before = rss()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for batch in range(1, 31):
            frame = encode(make_publish("t", bytes(4000), 0, False, False, 0, None), 5)
            await publisher.send_raw(frame * 100)
            await publisher.ping()
            while got < batch * 100:  # he shares this thread with the broker, which could fill his queue meanwhile
                await trio.sleep(0.001)
    assert got == 3000
    for link in doors.node.pump.turn.links.values():
        assert link.backlog() <= SEND_SIZE + link.out.high + 8192
    queues = [doors.node.find(f"slow{number}").mqueue for number in range(30)]
    assert all(queue is not None and len(queue) <= 100 for queue in queues)
    dropped = doors.node.metrics["delivery.dropped.queue_full"]
    sent = sum(doors.node.find(f"slow{number}").sent.qos0 for number in range(30))
    waiting = sum(len(queue) for queue in queues)
    assert dropped + sent + waiting == 30 * 3000
    assert dropped > 0
    growth = rss() - before
    print(f"\n30 slow receivers of 12 MB each: {growth / MB:.1f} MiB")
    assert growth <= 16 * MB + 30 * 1.5 * MB


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the kernel cannot be told")
async def test_the_kernel_does_not_buffer_megabytes_for_a_receiver_that_never_reads(doors):
    """It would for each of a thousand, until the machine has no memory left for TCP."""
    await doors.client("slow", subscribe="t", rcvbuf=4096)
    [link] = doors.node.pump.turn.links.values()
    publisher = await doors.client("p")
    frame = encode(make_publish("t", bytes(4000), 0, False, False, 0, None), 5)
    for _ in range(20):
        await publisher.send_raw(frame * 100)
        await publisher.ping()
    assert link.out.size > link.out.low
    assert UNSENT // 2 < link.sent_oct < 4 * UNSENT


@pytest.mark.parametrize("slow", [0, 20])
async def test_how_long_a_publisher_takes(doors, slow):
    """With and without stuck receivers; the figures are for reading, the bound is generous."""
    for number in range(slow):
        await doors.client(f"slow{number}", subscribe="t", rcvbuf=4096)
    healthy = await doors.client("healthy", subscribe="t")
    publisher = await doors.client("p")
    frame = encode(make_publish("t", bytes(1000), 0, False, False, 0, None), 5)
    got = 0

    async def read() -> None:
        nonlocal got
        while got < 2000:
            await healthy.message()
            got += 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for batch in range(1, 21):
            await publisher.send_raw(frame * 100)
            await publisher.ping()
            took = trio.current_time() - began
            while got < batch * 100:  # the kernel does not hold megabytes for somebody who is late
                await trio.sleep(0.001)
    print(f"\n2000 messages with {slow} stuck receivers: {took:.2f} s")
    assert took < 10.0


FLOODS = {
    "PINGREQ": encode(Pingreq(), 5) * 5000,
    "QoS 1": encode(make_publish("nobody", b"x", 1, False, False, 1, None), 5) * 1000,
    "QoS 2": encode(make_publish("nobody", b"x", 2, False, False, 1, None), 5) * 1000,
    "SUBSCRIBE": encode(Subscribe(1, [("t", SubOpts())], None), 5) * 1000,
    "SUBSCRIBE to retained messages": encode(Subscribe(1, [("r/#", SubOpts())], None), 5) * 1000,
    "PUBLISH to oneself": encode(make_publish("own", bytes(1000), 0, False, False, 0, None), 5) * 100,
}


class TestFloods:
    """Bytes without end from somebody who does not read the answers."""

    @pytest.fixture
    def settings(self):
        return {"listener": {"send_timeout": "1s"}}

    @pytest.mark.parametrize("what", FLOODS)
    async def test_the_sender_is_not_read_any_more_and_then_closed(self, doors, what):
        for number in range(50):
            doors.node.publish(Message(f"r/{number}", bytes(50_000), 0, True))
        client = await doors.client("flood", subscribe="own", rcvbuf=4096)
        canary = await doors.client("canary")
        link = next(link for link in doors.node.pump.turn.links.values() if link.channel.info.clientid == "flood")
        before = rss()
        waits = []

        async def flood() -> None:
            try:
                while True:
                    await client.send_raw(FLOODS[what])
            except Closed:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            while not link.gone:
                began = trio.current_time()
                await canary.ping()
                waits.append(trio.current_time() - began)
                assert link.backlog() <= SEND_SIZE + link.out.high + 8 * 65536
                assert link.channel.framer.pending() <= 2 * 65536
                await trio.sleep(0.01)
        assert link.gone == "timeout"
        growth = rss() - before
        print(f"\n{what}: {growth / MB:.1f} MiB, the canary waited {max(waits) * 1000:.0f} ms at most")
        assert growth <= 32 * MB
        assert max(waits) < 1.0

    @pytest.mark.parametrize("close", [True, False])
    async def test_send_timeout_close(self, doors, close):
        listener = doors.listener()
        listener.update(attrs.evolve(listener.config, send_timeout=1.0, send_timeout_close=close), listener.zone)
        await doors.client("slow", subscribe="t", rcvbuf=4096)
        for _ in range(20):
            doors.node.publish(Message("t", bytes(MB)))
            await trio.lowlevel.checkpoint()
        await until(lambda: any(link.out.blocked for link in doors.node.pump.turn.links.values()))
        await trio.sleep(3.2)
        assert doors.links() == (0 if close else 1)

    async def test_who_reads_slowly_but_reads_stays(self, doors):
        """Progress counts, however little; PINGREQs that we do not read meanwhile are no missing keep-alive."""
        client = await doors.raw(rcvbuf=4096)
        await client.connect("slow", keepalive=1)
        await client.subscribe("t")
        for _ in range(8):
            doors.node.publish(Message("t", bytes(MB)))
            await trio.lowlevel.checkpoint()
        link = next(iter(doors.node.pump.turn.links.values()))
        await until(lambda: link.out.blocked)
        raw = client._stream.raw
        end = trio.current_time() + 5.0
        while trio.current_time() < end:
            await raw.receive_some(200_000)
            await client.send(Pingreq())
            await trio.sleep(0.3)
        assert not link.gone


async def test_a_backlog_of_200_mb_to_one_client_moves_nobody_else(tmp_path):
    """The queue has no bound here, on purpose; only the one who does not read has it."""
    zone = {
        "max_mqueue_len": 0,
        "max_mqueue_bytes": 0,
        "max_inflight": 10,
        "force_shutdown_policy": "0|0",
    }
    async with opened({"zone": {"default": zone}, "listener": {"send_timeout": "300s"}}, tmp_path) as doors:
        alone = await pairs(doors)
        stuck = await doors.client("stuck", subscribe="big", qos=1, rcvbuf=4096)
        stuck.auto_ack = False
        for number in range(200):
            doors.node.publish(Message("big", number.to_bytes(4, "big") + bytes(MB - 4), 1))
            await trio.lowlevel.checkpoint()
        session = doors.node.find("stuck")
        assert session.mqueue.bytes > 180 * MB
        beside = await pairs(doors)
        print(f"\np99 alone {p99(alone) * 1000:.2f} ms, beside 200 MB of backlog {p99(beside) * 1000:.2f} ms")
        assert p99(beside) <= 20 * p99(alone) + 0.05

        draining: list[float] = []
        async with trio.open_nursery() as nursery:  # and now he reads it all, as fast as he can
            nursery.start_soon(_read_numbers, stuck, 200)
            draining += await pairs(doors, 100)
        print(f"p99 while it is being read {p99(draining) * 1000:.2f} ms")
        assert p99(draining) <= 0.5


async def _read_numbers(client: Client, count: int) -> None:
    client.auto_ack = True
    with trio.fail_after(PATIENCE):
        for number in range(count):
            _, payload = await client.message()
            assert int.from_bytes(payload[:4], "big") == number


async def test_one_sender_with_a_flood_and_a_canary(doors):
    """A publisher that fills every turn, with a fan-out to fifty: the canary's round trips stay short."""
    alone = await pairs(doors)
    watchers = [await doors.client(f"w{number}", subscribe="t") for number in range(50)]
    flood = await doors.client("flood")
    doors.node.pump.longest = 0.0
    counts: Counter[int] = Counter()

    async def drink(number: int, client: Client) -> None:
        raw = client._stream.raw
        while True:
            counts[number] += len(await raw.receive_some(1 << 20))

    async def pour() -> None:
        frame = encode(make_publish("t", b"x" * 20, 0, False, False, 0, None), 5)
        while True:
            await flood.send_raw(frame * 1000)

    async with trio.open_nursery() as nursery:
        for number, client in enumerate(watchers):
            nursery.start_soon(drink, number, client)
        nursery.start_soon(pour)
        await trio.sleep(0.2)
        beside = await pairs(doors, 50)
        nursery.cancel_scope.cancel()
    print(
        f"\ncanary p99 alone {p99(alone) * 1000:.1f} ms, beside a flood {p99(beside) * 1000:.1f} ms;"
        f" the pump held the loop for {doors.node.pump.longest * 1000:.1f} ms at most"
    )
    assert p99(beside) < 1.0
    assert doors.node.pump.longest < 0.25
    assert min(counts.values()) > 0
