"""The smallest MQTT 3.1.1 client that the probes need: blocking, for what `mqttload` has no option for."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence


def remaining_length(value: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)


def text(value: str) -> bytes:
    """MQTT's UTF-8 string."""
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    """A whole packet from its first byte and its body."""
    return bytes([first]) + remaining_length(len(body)) + body


def publish_frame(topic: str, payload: bytes, packet_id: int = 0) -> bytes:
    """A PUBLISH: QoS 1 with a packet identifier, QoS 0 without."""
    if packet_id:
        return packet(0x32, text(topic) + struct.pack("!H", packet_id) + payload)
    return packet(0x30, text(topic) + payload)


class Client:
    """One connection. `receive_buffer` limits what the kernel takes in for a client that does not read."""

    def __init__(self, port: int, clientid: str, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(packet(0x10, text("MQTT") + bytes([4, 2, 0, 0]) + text(clientid)))
        answer = self.exactly(4)
        if answer[3]:
            raise ConnectionError(f"CONNACK {answer[3]}")

    def exactly(self, count: int) -> bytes:
        """So many bytes, whatever they are."""
        parts = bytearray()
        while len(parts) < count:
            got = self.socket.recv(count - len(parts))
            if not got:
                raise ConnectionError("the broker closed the connection")
            parts += got
        return bytes(parts)

    def subscribe(self, filters: Sequence[str], qos: int = 0, deadline: float = float("inf")) -> None:
        """Subscribe to any number of filters, 500 a packet. Raises TimeoutError past `deadline` (monotonic)."""
        for start in range(0, len(filters), 500):
            some = filters[start : start + 500]
            body = b"\0\1" + b"".join(text(name) + bytes([qos]) for name in some)
            self.socket.sendall(packet(0x82, body))
            codes = len(some)
            answer = self.exactly(1 + len(remaining_length(2 + codes)) + 2 + codes)
            if answer[0] != 0x90 or max(answer[-codes:]) > 2:
                raise ConnectionError(f"SUBACK {answer[:1].hex()} with code {max(answer[-codes:])}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{start + codes} of {len(filters)} subscriptions in time")

    def publish_acknowledged(self, topic: str, payload: bytes, count: int, window: int = 50) -> None:
        """Publish at QoS 1, at most `window` unacknowledged."""
        under_way = 0
        for number in range(count):
            self.socket.sendall(publish_frame(topic, payload, number % 60000 + 1))
            under_way += 1
            if under_way == window:
                self.exactly(4)
                under_way -= 1
        self.exactly(4 * under_way)

    def read_all(self, at_least: int) -> int:
        """Read until `at_least` bytes came, or nothing for three seconds; gives how many. Nothing is acknowledged."""
        self.socket.settimeout(3)
        got = 0
        try:
            while got < at_least:
                data = self.socket.recv(1 << 18)
                if not data:
                    break
                got += len(data)
        except (TimeoutError, ConnectionError):
            return got
        return got

    def connected(self) -> bool:
        """Whether the broker still holds the connection, asked from the kernel so that nothing has to be read."""
        established = 1
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == established

    def close(self) -> None:
        """Leave without a word."""
        self.socket.close()


def relay_rate(publisher: Client, subscribers: Sequence[Client], frames: Sequence[bytes], window: int = 500) -> float:
    """Publish `frames` (all of one size) and count their deliveries; gives deliveries a second.

    Each frame must reach one of `subscribers` just as it was sent, so counting bytes is counting messages. At most two
    windows are under way. Raises TimeoutError when deliveries stop coming.
    """
    size = len(frames[0])
    chunks = [b"".join(frames[at : at + window]) for at in range(0, len(frames), window)]
    readable = {client.socket: client for client in subscribers}
    sent = received = 0
    begin = time.monotonic()
    for chunk in chunks:
        publisher.socket.sendall(chunk)
        sent += len(chunk)
        received += _read(list(readable), max(0, sent - window * size - received))
    received += _read(list(readable), sent - received)
    return received / size / (time.monotonic() - begin)


def _read(sockets: list[socket.socket], at_least: int) -> int:
    got = 0
    while got < at_least:
        ready, _, _ = select.select(sockets, [], [], 30)
        if not ready:
            raise TimeoutError(f"no delivery for 30 s, {at_least - got} bytes missing")
        for one in ready:
            got += len(one.recv(1 << 18))
    return got
