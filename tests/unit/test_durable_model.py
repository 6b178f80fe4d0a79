"""Made-up histories of a sender and a receiver with durable sessions: connections that break, commits that take their
time or fail, crashes. Whatever happens: what was acknowledged arrives, QoS 2 arrives once, and in order."""

from __future__ import annotations

import attrs
import pytest
import trio
from durable_helpers import HeldStore, broker_on, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.testing import Closed, Refused

STEPS = ("publish 1", "publish 2", "send", "receive", "hold", "settle", "fail", "break sender", "break receiver")


@attrs.define
class History:
    """Both clients and what they know; `store` is what the disk holds."""

    store: HeldStore = attrs.field(factory=HeldStore)
    broker: object = None
    sender: object = None
    receiver: object = None
    number: int = 0
    open: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    """(number, QoS) by packet identifier, until PUBACK or PUBREC."""
    releasing: list[int] = attrs.field(factory=list)
    accepted: set[int] = attrs.field(factory=set)
    subscribed: bool = False
    known: set[int] = attrs.field(factory=set)
    """QoS 2 identifiers that the receiver has and that are not released."""
    seen: list[tuple[int, int]] = attrs.field(factory=list)

    async def step(self, name):
        """One thing that happens. Whoever has no connection tries to get one first."""
        if name.startswith("publish"):
            await self.publish(int(name[-1]))
        elif name == "send":
            await self.with_sender(self.nothing)
        elif name == "receive":
            await self.with_receiver()
        elif name == "break sender":
            await self.drop("sender")
        elif name == "break receiver":
            await self.drop("receiver")
        elif name == "hold":
            self.store.held = True
        elif name == "settle":
            self.store.held = False
            self.store.settle()
        elif name == "fail":
            self.store.held = True
            self.store.fail()
        await turns()

    async def nothing(self):
        pass

    async def drop(self, name):
        client = getattr(self, name)
        setattr(self, name, None)
        if client is not None:
            await client.close()

    async def connected(self, name):
        """A client with its session; None when the broker does not answer or says no."""
        if getattr(self, name) is None:
            client = None
            with trio.move_on_after(0.1):
                try:
                    client = await self.broker.client(name, clean_start=False, expiry=3600)
                except (Refused, Closed):
                    return None
            if client is None:
                return None
            client.auto_ack = False
            setattr(self, name, client)
            await (self.resume_sender() if name == "sender" else self.resume_receiver())
        return getattr(self, name)

    # -- the sender --------------------------------------------------------------------------------------------------

    async def resume_sender(self):
        for packet_id, (number, qos) in self.open.items():
            await self.sender.send(make_publish("t", b"%d" % number, qos, False, True, packet_id))
        for packet_id in self.releasing:
            await self.sender.send(Ack(PUBREL, packet_id))

    async def publish(self, qos):
        async def one():
            packet_id = next(i for i in range(1, 1000) if i not in self.open and i not in self.releasing)
            self.open[packet_id] = (self.number, qos)
            self.number += 1
            await self.sender.send(make_publish("t", b"%d" % (self.number - 1), qos, False, False, packet_id))

        await self.with_sender(one)

    async def with_sender(self, act):
        """Do something, then take the answers there are."""
        if self.subscribed and await self.connected("sender") is not None:
            try:
                await act()
                with trio.move_on_after(0.05):
                    while True:
                        await self.take_ack(await self.sender.receive_other())
            except Closed:
                self.sender = None

    async def take_ack(self, ack):
        if ack.kind == PUBCOMP:
            self.releasing.remove(ack.packet_id)
            return
        number, qos = self.open.pop(ack.packet_id)
        assert ack.kind == (PUBACK if qos == 1 else PUBREC)
        if ack.code >= 0x80:
            return
        self.accepted.add(number)
        if qos == 2:
            self.releasing.append(ack.packet_id)
            await self.sender.send(Ack(PUBREL, ack.packet_id))

    # -- the receiver ------------------------------------------------------------------------------------------------

    async def resume_receiver(self):
        if self.subscribed:
            assert self.receiver.connack.session_present, "the session is lost"
            return
        try:
            self.subscribed = await self.receiver.subscribe("t", qos=2) == [2]
        except (Closed, trio.TooSlowError):
            await self.drop("receiver")

    async def with_receiver(self, wait=0.05):
        if await self.connected("receiver") is not None:
            try:
                with trio.move_on_after(wait):
                    while True:
                        await self.take_message(await self.receiver.receive_other(keep=False))
            except Closed:
                self.receiver = None

    async def take_message(self, packet):
        if isinstance(packet, Publish):
            if packet.packet_id not in self.known or packet.qos == 1:
                self.seen.append((int(packet.payload), packet.qos))
            if packet.qos == 2:
                self.known.add(packet.packet_id)
            await self.receiver.send(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_id))
        elif packet.kind == PUBREL:
            self.known.discard(packet.packet_id)
            await self.receiver.send(Ack(PUBCOMP, packet.packet_id))

    # -- the end -----------------------------------------------------------------------------------------------------

    async def finish(self):
        """The disk recovers, both clients are there until nothing is left to do."""
        await self.step("settle")
        await trio.sleep(3)
        for _ in range(5):
            await self.with_sender(self.nothing)
            await self.with_receiver()
        assert not self.open
        assert not self.releasing
        assert not self.known

    def check(self):
        numbers = [number for number, _ in self.seen]
        assert self.accepted <= set(numbers), "lost"
        twice = [number for number, qos in self.seen if qos == 2]
        assert len(set(twice)) == len(twice), "QoS 2 twice"
        for qos in (1, 2):
            firsts = list(dict.fromkeys(number for number, of in self.seen if of == qos))
            assert firsts == sorted(firsts), "reordered"
        rest = {name: rows for name in ("messages", "queue", "awaiting") if (rows := self.store.table(name))}
        assert not rest, "rows that nobody needs"


async def live(history, lives, monkeypatch):
    """Each life but the last ends in a crash."""
    for steps in lives:
        history.store.held = False
        async with broker_on(history.store, monkeypatch) as broker:
            history.broker = broker
            history.sender = history.receiver = None
            for name in ("receive", *steps):
                await history.step(name)
            if steps is lives[-1]:
                await history.finish()
            else:
                after = history.store.crashed()
        if steps is not lives[-1]:
            history.store = after
    history.check()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(STEPS), max_size=15), min_size=1, max_size=3))
def test_nothing_is_lost_doubled_or_reordered(lives):
    with pytest.MonkeyPatch.context() as monkeypatch:
        trio.run(live, History(), lives, monkeypatch, clock=trio.testing.MockClock(autojump_threshold=0))
