"""Servers for tests of the MQTT client and of bridges: a scripted one, and the broker in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio
import trio.testing

from trioemqx.codec.control import Connack, Connect, Packet, Suback, Subscribe, Unsuback, Unsubscribe
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish
from trioemqx.services.mqttclient import MqttError
from trioemqx.testclient import Client, Closed
from trioemqx.testing import TestBroker

P = TypeVar("P", bound=Packet)
PATIENCE = 5000.0
"""Virtual seconds: a test that needs them is wrong, but hours of silence are what some are about."""


class Session(Client):
    """The server's end of one connection: every packet that comes can be looked at, and every one can be sent."""

    connect_packet: Connect

    def __init__(self, stream: trio.abc.Stream, version: int) -> None:
        super().__init__(stream, version)
        self.auto_ack = False

    async def receive(self) -> Packet:
        """The next packet, however long it takes."""
        while True:
            with suppress(trio.TooSlowError):
                return await super().receive()

    async def next(self, kind: type[P]) -> P:
        """The next packet, which has to be of a kind."""
        with trio.fail_after(PATIENCE):
            packet = await self.receive()
        assert isinstance(packet, kind), packet
        return packet

    async def accept(self, **connack: Any) -> Connect:
        """Read CONNECT, send CONNACK."""
        packet = await self.next(Connect)
        self.version = packet.proto_ver
        await self.send(Connack(**connack))
        return packet

    async def publishes(self, count: int) -> list[Publish]:
        """The next messages, not acknowledged."""
        return [await self.next(Publish) for _ in range(count)]

    async def ack(self, kind: int, packet_id: int, code: int = 0) -> None:  # type: ignore[override]
        await self.send(Ack(kind, packet_id, code))

    async def serve(self) -> None:
        """Answer everything as a server does, until the connection ends."""
        try:
            while True:
                packet = await self.receive()
                if isinstance(packet, Publish):
                    self.inbox.append(packet)
                    if packet.qos:
                        await self.ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_id)
                elif isinstance(packet, Ack) and packet.kind == PUBREL:
                    await self.ack(PUBCOMP, packet.packet_id)
                elif isinstance(packet, Subscribe):
                    await self.send(Suback(packet.packet_id, [opts.qos for _, opts in packet.filters]))
                elif isinstance(packet, Unsubscribe):
                    await self.send(Unsuback(packet.packet_id, [0 for _ in packet.filters]))
        except Closed:
            return


class Server:
    """A server of which a test is every move. Each `connect` makes a connection that `session` returns."""

    def __init__(self, version: int = 4) -> None:
        self.version = version
        self.reachable = True
        self.tries = 0
        self._send, self._receive = trio.open_memory_channel[Session](100)

    async def connect(self) -> trio.abc.Stream:
        """What a client is given to connect with."""
        await trio.lowlevel.checkpoint()
        self.tries += 1
        if not self.reachable:
            raise MqttError("nobody listens")
        ours, theirs = trio.testing.memory_stream_pair()
        self._send.send_nowait(Session(ours, self.version))
        return theirs

    async def session(self) -> Session:
        """The next connection."""
        with trio.fail_after(PATIENCE):
            return await self._receive.receive()

    async def accepted(self, **connack: Any) -> Session:
        """The next connection, with CONNECT answered; `connect_packet` is what it said."""
        session = await self.session()
        session.connect_packet = await session.accept(**connack)
        return session


def into(broker: TestBroker) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A `connect` that leads into a broker of the same process."""

    async def connect() -> trio.abc.Stream:
        return await broker.stream()

    return connect


async def until(condition: Callable[[], object]) -> None:
    """Wait, in virtual time."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.01)
