"""The tasks of a connection: one reads, one writes, one looks at the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from trioemqx.services.mqttclient.errors import MqttError, ProtocolBroken, translated
from trioemqx.services.mqttclient.options import ClientOptions
from trioemqx.services.mqttclient.protocol import OnMessage, Protocol
from trioemqx.services.mqttclient.sending import READ_LIMIT
from trioemqx.services.mqttclient.session import ClientSession

CHUNK: Final = 65536
BATCH: Final = 65536
"""Bytes of one send."""
SLICE: Final = 50
"""Packets handled before other tasks have a turn."""
SEND_SECONDS: Final = 30.0
"""How long a server may take no data at all; longer with a longer keep-alive time."""
CLOSE_SECONDS: Final = 2.0
"""For sending what is left and DISCONNECT."""


class Connection:
    """A stream and the protocol on it. `full` says that nothing more should be read now; whoever changes that unparks
    `more`. `error` is why the connection has ended."""

    def __init__(
        self,
        options: ClientOptions,
        stream: trio.abc.Stream,
        session: ClientSession,
        on_message: OnMessage,
        on_room: Callable[[], object] | None,
        full: Callable[[], bool],
    ) -> None:
        self.protocol = Protocol(options, session, on_message)
        self.error: MqttError | None = None
        self.closing = False
        self.room = trio.lowlevel.ParkingLot()
        """Unparked when window or buffer may have got room, and at the end."""
        self.more = trio.lowlevel.ParkingLot()
        self._stream = stream
        self._on_room = on_room
        self._full = full
        self._dirty = trio.lowlevel.ParkingLot()
        self._clean = trio.lowlevel.ParkingLot()
        self._scope: trio.CancelScope | None = None
        self._sending = False

    def wake(self) -> None:
        """Something was put out."""
        self._dirty.unpark_all()

    def _tell_room(self) -> None:
        """Window or buffer may have got room."""
        self.room.unpark_all()
        if self._on_room is not None:
            self._on_room()

    # -- tasks -------------------------------------------------------------------------------------------------------

    async def handshake(self) -> None:
        """CONNECT and CONNACK. Raises MqttError."""
        protocol = self.protocol
        protocol.start(trio.current_time())
        data, _ = protocol.take(BATCH, trio.current_time())
        with translated():
            await self._stream.send_all(data)
            while protocol.connack is None:
                chunk = await self._receive()
                protocol.feed(chunk, trio.current_time())
                while protocol.connack is None and protocol.work(1, trio.current_time()):
                    await trio.lowlevel.checkpoint()

    async def run(self, scope: trio.CancelScope) -> None:
        """The tasks; ends with the scope that is cancelled when the connection ends."""
        self._scope = scope
        async with trio.open_nursery() as nursery:
            for task in (self._read, self._write, self._tick):
                nursery.start_soon(self._guard, task)

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            with translated():
                await task()
        except MqttError as error:
            if self.error is None:
                self.error = error
            if self._scope is not None:
                self._scope.cancel()

    async def _receive(self) -> bytes:
        chunk = await self._stream.receive_some(CHUNK)
        if not chunk:
            raise MqttError("the server closed the connection")
        return bytes(chunk)

    async def _read(self) -> None:
        protocol = self.protocol
        while True:
            now = trio.current_time()
            while protocol.work(SLICE, now):
                self._handled()
                await trio.lowlevel.checkpoint()
                await self._pause()
            self._handled()
            await self._pause()
            protocol.feed(await self._receive(), trio.current_time())

    def _handled(self) -> None:
        """A slice of packets has been handled: one send for what it has put out."""
        self.wake()
        self._tell_room()

    async def _pause(self) -> None:
        """Wait while nobody takes the messages, or the server does not take acknowledgements."""
        protocol = self.protocol
        if not self._full() and protocol.out_size < READ_LIMIT:
            return
        protocol.busy(True, trio.current_time())
        while self._full():
            await self.more.park()
        while protocol.out_size >= READ_LIMIT:
            await self._clean.park()
        protocol.busy(False, trio.current_time())

    async def _write(self) -> None:
        protocol = self.protocol
        while True:
            batch, sent = protocol.take(BATCH, trio.current_time())
            if not batch:
                self._clean.unpark_all()
                await self._dirty.park()
                continue
            await self._send(batch)
            for done in sent:
                done(0)
            self._clean.unpark_all()
            self._tell_room()

    async def _send(self, data: bytes) -> None:
        seconds = max(SEND_SECONDS, float(self.protocol.server.keepalive))
        self._sending = True
        with trio.move_on_after(seconds):
            await self._stream.send_all(data)
            self._sending = False
        if self._sending:
            raise MqttError(f"the server has taken no data for {seconds:.0f} s")

    async def _tick(self) -> None:
        seconds = min(1.0, max(0.1, self.protocol.server.keepalive / 8 or 1.0))
        while True:
            await trio.sleep(seconds)
            self.protocol.tick(trio.current_time())
            if self.protocol.out:
                self.wake()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Send what is left and DISCONNECT, as far as that is possible within CLOSE_SECONDS."""
        if self.closing:
            return
        self.closing = True
        self.protocol.disconnect()
        self.wake()
        with trio.move_on_after(CLOSE_SECONDS):
            while self.protocol.out or self._sending:
                await self._clean.park()

    async def last_words(self) -> None:
        """Tell an MQTT 5 server that broke the rules which ones."""
        protocol, error = self.protocol, self.error
        if not isinstance(error, ProtocolBroken) or self._sending or protocol.version < 5:
            return
        protocol.out.clear()
        protocol.disconnect(error.code or 0x82)
        with trio.move_on_after(1), suppress(MqttError), translated():
            await self._stream.send_all(b"".join(protocol.out))
