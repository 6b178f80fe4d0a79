"""What the user of a connection has: publish, subscribe, receive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from trioemqx.codec.packets import Publish
from trioemqx.services.mqttclient.connection import Connection
from trioemqx.services.mqttclient.errors import MqttError
from trioemqx.services.mqttclient.options import ClientOptions
from trioemqx.services.mqttclient.protocol import OnMessage
from trioemqx.services.mqttclient.session import ClientSession, Done
from trioemqx.types import Properties, SubOpts

INBOX: Final = 1000
"""Messages waiting for `receive`; with as many, or `INBOX_BYTES`, nothing more is read."""
INBOX_BYTES: Final = 4 * 1024 * 1024


class _Answer:
    """What one caller waits for; the end of the connection is an answer too."""

    __slots__ = ("codes", "event")

    def __init__(self) -> None:
        self.codes: list[int] | None = None
        self.event = trio.Event()

    def set(self, codes: list[int] | None) -> None:
        """Wake the caller with the answer's codes, or with None when there will be none."""
        self.codes = codes
        self.event.set()


class MqttClient:
    """A connection that a server has accepted, made by `open_client`."""

    def __init__(
        self,
        options: ClientOptions,
        stream: trio.abc.Stream,
        session: ClientSession,
        on_message: OnMessage | None,
        on_room: Callable[[], object] | None,
    ) -> None:
        self._inbox: deque[Publish] = deque()
        self._inbox_bytes = 0
        self._arrival = trio.lowlevel.ParkingLot()
        self._waiting: set[_Answer] = set()
        taken = self._arrived if on_message is None else on_message
        self.connection = Connection(options, stream, session, taken, on_room, self._full)
        self._protocol = self.connection.protocol

    @property
    def session_present(self) -> bool:
        """Whether the server has gone on with an earlier session."""
        return self._protocol.connack is not None and self._protocol.connack.session_present

    @property
    def clientid(self) -> str:
        """Ours, or the one the server has given us."""
        return self._protocol.server.clientid

    @property
    def maximum_qos(self) -> int:
        """The highest QoS that the server takes."""
        return self._protocol.server.maximum_qos

    @property
    def retain_available(self) -> bool:
        """Whether the server takes retained messages."""
        return self._protocol.server.retain_available

    @property
    def in_flight(self) -> int:
        """QoS 1 and 2 messages that are not acknowledged yet."""
        return len(self._protocol.session.flights)

    # -- publishing --------------------------------------------------------------------------------------------------

    def accepts(self, qos: int) -> bool:
        """Whether `send` may be called now."""
        return self.connection.error is None and not self.connection.closing and self._protocol.accepts(qos)

    def send(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        done: Done | None = None,
    ) -> None:
        """Publish without waiting. `done` is called with the reason code when the message is settled, at QoS 0 when it
        has been sent; never when the connection ends before. Ask `accepts` first. Raises Unsendable."""
        self._protocol.publish(topic, payload, qos, retain, properties, done, trio.current_time())
        self.connection.wake()

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int:
        """Publish and wait for the acknowledgement, at QoS 0 until it has been sent. Returns the reason code. Raises
        Unsendable and MqttError."""
        await self.room(qos)
        answer = self._answer()
        self.send(topic, payload, qos, retain, properties, lambda code: answer.set([code]))
        return (await self._wait(answer))[0]

    async def room(self, qos: int) -> None:
        """Wait until a message of a QoS can be sent. Raises MqttError when the connection ends."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.accepts(qos):
            self._check()
            await self.connection.room.park()

    # -- subscribing -------------------------------------------------------------------------------------------------

    async def subscribe(self, *filters: str, qos: int = 0, opts: SubOpts | None = None) -> list[int]:
        """SUBSCRIBE to filters with the same options; returns the codes of the SUBACK. Raises MqttError."""
        wanted = opts if opts is not None else SubOpts(qos)
        answer = self._answer()
        self._protocol.subscribe([(name, wanted) for name in filters], answer.set)
        self.connection.wake()
        return await self._wait(answer)

    async def unsubscribe(self, *filters: str) -> list[int]:
        """UNSUBSCRIBE; returns the codes of the UNSUBACK, none in MQTT 3. Raises MqttError."""
        answer = self._answer()
        self._protocol.unsubscribe(list(filters), answer.set)
        self.connection.wake()
        return await self._wait(answer)

    async def receive(self) -> Publish:
        """The next message, where `open_client` was given no `on_message`. Raises MqttError."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._inbox:
            self._check()
            await self._arrival.park()
        packet = self._inbox.popleft()
        self._inbox_bytes -= len(packet.frame)
        self.connection.more.unpark_all()
        return packet

    def _arrived(self, packet: Publish) -> None:
        self._inbox.append(packet)
        self._inbox_bytes += len(packet.frame)
        self._arrival.unpark()

    def _full(self) -> bool:
        return len(self._inbox) >= INBOX or self._inbox_bytes >= INBOX_BYTES

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.connection.error is not None:
            raise self.connection.error
        if self.connection.closing:
            raise MqttError("the connection is closed")

    def _answer(self) -> _Answer:
        self._check()
        return _Answer()

    async def _wait(self, answer: _Answer) -> list[int]:
        self._waiting.add(answer)
        try:
            await answer.event.wait()
        finally:
            self._waiting.discard(answer)
        if answer.codes is None:
            self._check()
            raise MqttError("the connection is closed")
        return answer.codes

    def finish(self) -> None:
        """The connection has ended: whoever still waits gets an error."""
        self.connection.closing = True
        for answer in self._waiting:
            answer.set(None)
        self.connection.room.unpark_all()
        self._arrival.unpark_all()
