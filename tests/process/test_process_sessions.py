"""Brokers killed in the middle of the traffic of clients that keep their own side of QoS 1 and 2: nothing that was
acknowledged is lost, nothing of QoS 2 comes twice, and everything comes in order."""

from __future__ import annotations

import random
import resource
import signal

import attrs
import pytest
import trio
from broker_process import OPEN, PATIENCE, TCP, dialing

from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.testing import Closed, Refused

WINDOW = 20
ROUNDS = 4


@attrs.define
class Sender:
    """Publishes numbers, WINDOW of them unfinished at most; what is unfinished is sent again after a reconnect."""

    qos: int
    next: int = 0
    open: dict[int, int] = attrs.field(factory=dict)
    """Number by packet identifier, until PUBACK or PUBREC."""
    releasing: list[int] = attrs.field(factory=list)
    accepted: set[int] = attrs.field(factory=set)

    async def run(self, dialer) -> None:
        client = await dialer.client(f"sender{self.qos}", clean_start=self.next == 0, expiry=3600)
        for packet_id, number in self.open.items():
            await client.send(make_publish("t", b"%d" % number, self.qos, False, True, packet_id))
        for packet_id in self.releasing:
            await client.send(Ack(PUBREL, packet_id))
        while True:
            while len(self.open) + len(self.releasing) < WINDOW:
                packet_id = next(i for i in range(1, 100) if i not in self.open and i not in self.releasing)
                number = self.next
                self.open[packet_id] = number
                self.next += 1  # before the send, which may fail: a number under two identifiers would come twice
                await client.send(make_publish("t", b"%d" % number, self.qos, False, False, packet_id))
            await self.take(client, await client.receive_other())

    async def take(self, client, ack) -> None:
        assert isinstance(ack, Ack), ack
        assert ack.code in (0, 0x10) or (ack.kind == PUBCOMP and ack.code == 0x92)
        if ack.kind == PUBCOMP:
            self.releasing.remove(ack.packet_id)
            return
        assert ack.kind == (PUBACK if self.qos == 1 else PUBREC)
        self.accepted.add(self.open.pop(ack.packet_id))
        if self.qos == 2:
            self.releasing.append(ack.packet_id)
            await client.send(Ack(PUBREL, ack.packet_id))


@attrs.define
class Receiver:
    """Takes numbers; of QoS 2 it knows which identifiers have not been released."""

    qos: int
    first: bool = True
    known: set[int] = attrs.field(factory=set)
    seen: list[int] = attrs.field(factory=list)

    async def connect(self, dialer):
        client = await dialer.client(f"receiver{self.qos}", clean_start=self.first, expiry=3600)
        if self.first:
            await client.subscribe("t", qos=self.qos)
        else:
            assert client.connack.session_present
        self.first = False
        client.auto_ack = False
        return client

    async def run(self, dialer) -> None:
        client = await self.connect(dialer)
        while True:
            await self.take(client, await client.receive_other(keep=False))

    async def take(self, client, packet) -> None:
        if isinstance(packet, Publish):
            if packet.packet_id not in self.known:
                self.seen.append(int(packet.payload))
            if self.qos == 2:
                self.known.add(packet.packet_id)
            await client.send(Ack(PUBACK if self.qos == 1 else PUBREC, packet.packet_id))
        elif packet.kind == PUBREL:
            self.known.discard(packet.packet_id)
            await client.send(Ack(PUBCOMP, packet.packet_id))


async def until_killed(run, dialer) -> None:
    try:
        await run(dialer)
    except (Closed, OSError, trio.BrokenResourceError, trio.TooSlowError):
        return


async def a_round(process, sender, receiver, online) -> None:
    """Traffic, and the end of it without notice."""
    async with dialing(process.port()) as dialer, trio.open_nursery() as nursery:
        if receiver.first:
            await (await receiver.connect(dialer)).close()
        if online:
            nursery.start_soon(until_killed, receiver.run, dialer)
        nursery.start_soon(until_killed, sender.run, dialer)
        await trio.sleep(random.uniform(0.05, 0.5))
        process.signal(signal.SIGKILL)
        await process.ended()


async def the_rest(process, receiver, wanted) -> None:
    """Everything that is still to come."""
    async with dialing(process.port()) as dialer:
        client = await receiver.connect(dialer)
        with trio.fail_after(PATIENCE):
            while not wanted <= set(receiver.seen) or receiver.known:
                await receiver.take(client, await client.receive_other(keep=False))
            with trio.move_on_after(0.3):
                while True:
                    await receiver.take(client, await client.receive_other(keep=False))


@pytest.mark.parametrize("sync", ["full", "normal"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_kill_9_loses_nothing_that_was_acknowledged(start, qos, sync):
    config = OPEN + TCP + f'[store]\nsync = "{sync}"\n[zone.default]\nmax_mqueue_len = 0\n'
    sender, receiver = Sender(qos), Receiver(qos)
    for number in range(ROUNDS):
        await a_round(start(config), sender, receiver, number % 2 == 0)
    await the_rest(start(config), receiver, sender.accepted)
    firsts = list(dict.fromkeys(receiver.seen))
    assert sender.accepted
    assert sender.accepted <= set(receiver.seen), "lost"
    if qos == 2:
        assert len(firsts) == len(receiver.seen), "twice"
    assert firsts == sorted(firsts), "reordered"


async def test_a_subscription_is_there_after_its_suback_and_gone_after_its_unsuback(start):
    for number in range(ROUNDS):
        process = start()
        async with dialing(process.port()) as dialer:
            client = await dialer.client("c", clean_start=False, expiry=3600)
            assert client.connack.session_present == (number > 0)
            assert await client.subscribe(f"t{number}", qos=1) == [1]
            if number:
                assert await client.unsubscribe(f"t{number - 1}") == [0]
            process.signal(signal.SIGKILL)
            await process.ended()
    process = start()
    async with dialing(process.port()) as dialer:
        publisher = await dialer.client("p")
        for number in range(ROUNDS):
            assert await publisher.publish(f"t{number}", qos=1) == (0 if number == ROUNDS - 1 else 0x10)


async def test_a_full_disk_says_no_and_costs_nothing_that_was_accepted(start):
    """The disk is full for this process: no file of its may grow beyond what the database has now."""
    process = start()
    async with dialing(process.port()) as dialer:
        await (await dialer.client("receiver", subscribe="t", qos=1, expiry=3600)).close()
        watcher = await dialer.client("watcher", subscribe="free")
        accepted = []
        refused = 0
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (512 * 1024, limits[1]))
        with trio.fail_after(PATIENCE):
            while refused < 20:
                try:
                    publisher = await dialer.client("publisher")
                    while refused < 20:
                        number = b"%d" % len(accepted)
                        if await publisher.publish("t", number + bytes(8192), qos=1) == 0:
                            accepted.append(number)
                        else:
                            refused += 1
                except (Closed, Refused, trio.BrokenResourceError):
                    refused += 1
        assert await publisher.publish("free", b"x", qos=1) == 0
        assert await watcher.message() == ("free", b"x")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
        with trio.fail_after(PATIENCE):
            while await publisher.publish("t", b"end", qos=1):
                await trio.sleep(0.1)
        process.signal(signal.SIGKILL)
        await process.ended()
    process = start()
    async with dialing(process.port()) as dialer:
        client = await dialer.client("receiver", clean_start=False, expiry=3600)
        found = []
        while not found or found[-1] != b"end":
            found.append((await client.message())[1].rstrip(b"\0"))
        assert len(accepted) > 5
        assert set(accepted) <= set(found)


async def test_what_the_disk_does_not_take_until_the_end_is_told_by_the_exit_code(start):
    """Nobody was told that it is safe; that something is missing is no orderly end all the same. Nothing that wants to
    write at the end, the log among it, keeps the process from getting there."""
    process = start()
    async with dialing(process.port()) as dialer:
        await (await dialer.client("receiver", subscribe="t", qos=1, expiry=3600)).close()
        publisher = await dialer.client("publisher")
        assert await publisher.publish("t", b"safe", qos=1) == 0
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        with pytest.raises(Closed, match="QUOTA_EXCEEDED"):
            await publisher.publish("t", b"lost", qos=1)
        process.signal(signal.SIGTERM)
        assert await process.ended() == 75
    assert "Traceback" not in process.output
    process = start()
    async with dialing(process.port()) as dialer:
        client = await dialer.client("receiver", clean_start=False, expiry=3600)
        assert await client.message() == ("t", b"safe")


async def test_without_a_disk_nothing_is_promised_and_nothing_is_written(start):
    """`store.sync = "memory"`: CONNACK says that the session is gone."""
    config = OPEN + TCP + '[store]\nsync = "memory"\n'
    process = start(config)
    async with dialing(process.port()) as dialer:
        await (await dialer.client("receiver", subscribe="t", qos=1, expiry=3600)).close()
        publisher = await dialer.client("publisher")
        assert await publisher.publish("t", b"x", qos=1) == 0
        await publisher.publish("kept", b"x", qos=1, retain=True)
        resumed = await dialer.client("receiver", clean_start=False, expiry=3600)
        assert resumed.connack.session_present
        assert await resumed.message() == ("t", b"x")
    assert not list((process.folder / "data").glob("*.db*"))
    process.signal(signal.SIGKILL)
    await process.ended()
    process = start(config)
    async with dialing(process.port()) as dialer:
        client = await dialer.client("receiver", clean_start=False, expiry=3600)
        assert not client.connack.session_present
        await client.subscribe("kept", "t", qos=1)
        await client.ping()
        assert not client.inbox
