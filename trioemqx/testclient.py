"""An MQTT client for tests: every packet can be sent as it is, and every packet that comes can be looked at."""

from __future__ import annotations

from typing import Final, TypeVar

import trio

from trioemqx.codec.control import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.errors import ReasonCode, TrioemqxError
from trioemqx.types import Properties, SubOpts

P = TypeVar("P", bound=Packet)

PATIENCE: Final = 5.0
"""Seconds (virtual ones with the fixture `broker`) a client waits for an answer before the test fails."""


class Refused(TrioemqxError):
    """The broker answered CONNECT with an error; `connack` holds it and the text names the reason code."""

    def __init__(self, connack: Connack, version: int) -> None:
        name = ReasonCode(connack.code).name if version == 5 else f"return code {connack.code}"
        super().__init__(f"CONNACK {name}")
        self.connack = connack


class Closed(TrioemqxError):
    """The broker closed the connection; `code` is the reason code of its DISCONNECT, None without one."""

    def __init__(self, code: int | None) -> None:
        super().__init__("closed without DISCONNECT" if code is None else f"DISCONNECT {ReasonCode(code).name}")
        self.code = code


class Client:
    """An MQTT client for tests: every packet can be sent as it is, and every packet that comes can be looked at.

    By default it acknowledges what it receives; set `auto_ack` to False to hold acknowledgements back.
    """

    def __init__(self, stream: trio.abc.Stream, version: int = 5) -> None:
        self.version = version
        self.auto_ack = True
        self.connack: Connack | None = None
        self.inbox: list[Publish] = []
        """PUBLISH packets that came while something else was waited for."""
        self._stream = stream
        self._framer = Framer(268435460)
        self._next_id = 0

    # -- raw ---------------------------------------------------------------------------------------------------------

    async def send(self, packet: Packet) -> None:
        """Write one packet."""
        await self.send_raw(encode(packet, self.version))

    async def send_raw(self, data: bytes) -> None:
        """Write bytes as they are. Raises Closed when the broker has closed the connection."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(None) from None

    async def receive(self) -> Packet:
        """The next packet, whatever it is. Raises Closed at the end of the stream and TooSlowError after PATIENCE."""
        with trio.fail_after(PATIENCE):
            while (frame := self._framer.next_frame()) is None:
                try:
                    data = await self._stream.receive_some(65536)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise Closed(None) from None
                if not data:
                    raise Closed(None)
                self._framer.feed(bytes(data))
        return decode(frame, self.version)

    async def close(self) -> None:
        """Drop the connection without DISCONNECT."""
        await self._stream.aclose()

    # -- the usual flows ---------------------------------------------------------------------------------------------

    async def connect(
        self,
        clientid: str = "",
        *,
        clean_start: bool = True,
        keepalive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | Publish | None = None,
        properties: Properties | None = None,
    ) -> Connack:
        """CONNECT and its CONNACK. Raises Refused."""
        names = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
        if isinstance(will, Publish):
            will = Will(will.topic, will.payload, will.qos, will.retain, will.properties)
        packet = Connect(
            names[self.version],
            self.version,
            False,
            clean_start,
            keepalive,
            clientid,
            username,
            password,
            will,
            properties,
        )
        await self.send(packet)
        answer = await self.wait_for(Connack)
        self.connack = answer
        if answer.code:
            raise Refused(answer, self.version)
        return answer

    async def subscribe(
        self, *filters: str, qos: int = 0, opts: SubOpts | None = None, identifier: int = 0
    ) -> list[int]:
        """SUBSCRIBE to filters with the same options; returns the SUBACK's codes."""
        properties = None
        if identifier:
            properties = Properties()
            properties.subscription_identifier = [identifier]
        wanted = opts or SubOpts(qos)
        await self.send(Subscribe(self._packet_id(), [(name, wanted) for name in filters], properties))
        return (await self.wait_for(Suback)).codes

    async def unsubscribe(self, *filters: str) -> list[int]:
        """UNSUBSCRIBE; returns the UNSUBACK's codes (none in MQTT 3)."""
        await self.send(Unsubscribe(self._packet_id(), list(filters), None))
        return (await self.wait_for(Unsuback)).codes

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int:
        """PUBLISH and wait for what its QoS promises; returns the reason code of PUBACK or PUBREC (0 for QoS 0)."""
        packet_id = self._packet_id() if qos else 0
        await self.send(make_publish(topic, payload, qos, retain, False, packet_id, properties))
        if qos == 0:
            return 0
        if qos == 1:
            return (await self.ack(PUBACK, packet_id)).code
        received = await self.ack(PUBREC, packet_id)
        if received.code < 0x80:
            await self.send(Ack(PUBREL, packet_id))
            await self.ack(PUBCOMP, packet_id)
        return received.code

    async def message(self) -> tuple[str, bytes]:
        """Topic and payload of the next message."""
        packet = await self.receive_publish()
        return packet.topic, packet.payload

    async def receive_publish(self) -> Publish:
        """The next PUBLISH, with everything it carries."""
        if self.inbox:
            return self.inbox.pop(0)
        return await self.wait_for(Publish)

    async def nothing(self, seconds: float = 1.0) -> bool:
        """True when no message comes for so long."""
        if self.inbox:
            return False
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            with trio.move_on_after(min(left, PATIENCE / 2)):
                await self.receive_publish()
                return False
        return True

    async def ping(self) -> None:
        """PINGREQ and PINGRESP: everything sent before has been handled."""
        await self.send(Pingreq())
        await self.wait_for(Pingresp)

    async def disconnect(self, code: int = 0, properties: Properties | None = None) -> None:
        """DISCONNECT and close."""
        await self.send(Disconnect(code, properties))
        await self.close()

    async def closed(self) -> int | None:
        """Wait until the broker closes; returns the code of its DISCONNECT, None without one."""
        try:
            while True:
                await self.receive_other()
        except Closed as end:
            return end.code

    async def ack(self, kind: int, packet_id: int) -> Ack:
        """The acknowledgement of one kind and id."""
        while True:
            found = await self.wait_for(Ack)
            if found.kind == kind and found.packet_id == packet_id:
                return found

    async def wait_for(self, kind: type[P]) -> P:
        """The next packet of a class; messages that come before it stay in `inbox`."""
        while True:
            packet = await self.receive_other(keep=kind is not Publish)
            if isinstance(packet, kind):
                return packet

    async def receive_other(self, keep: bool = True) -> Packet:
        """The next packet, messages acknowledged; a DISCONNECT raises Closed."""
        packet = await self.receive()
        if isinstance(packet, Disconnect):
            await self.close()
            raise Closed(packet.code)
        if isinstance(packet, Publish):
            if self.auto_ack and packet.qos:
                await self.send(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_id))
            if keep:
                self.inbox.append(packet)
        elif isinstance(packet, Ack) and packet.kind == PUBREL and self.auto_ack:
            await self.send(Ack(PUBCOMP, packet.packet_id))
        return packet

    def _packet_id(self) -> int:
        self._next_id = self._next_id % 65535 + 1
        return self._next_id
