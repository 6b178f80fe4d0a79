"""A broker with a listener of every kind on real sockets, and clients that may misbehave on them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio
from layer_peers import PlainClient, ProxyClient, TlsClient, WsClient, client_context

from trioemqx.node import Node, open_broker
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.testing import Client, Closed

KINDS = ("tcp", "ssl", "ws", "wss", "proxy")
PATIENCE = 30.0


def layers(kind: str) -> list[PlainClient]:
    """What a client of this kind puts around its bytes, lowest first."""
    made: dict[str, Callable[[], list[PlainClient]]] = {
        "tcp": list,
        "ssl": lambda: [TlsClient(client_context())],
        "ws": lambda: [WsClient()],
        "wss": lambda: [TlsClient(client_context()), WsClient()],
        "proxy": lambda: [ProxyClient()],
    }
    return made[kind]()


class Stream(trio.abc.Stream):
    """A client's connection with its layers. `raw` is the socket below them."""

    def __init__(self, raw: trio.SocketStream, stack: list[PlainClient]) -> None:
        self.raw = raw
        self.stack = stack

    async def open(self) -> None:
        """All handshakes, one after the other."""
        for at, layer in enumerate(self.stack):
            await self.raw.send_all(self._down(layer.start(), at))
            while not layer.open:
                data = await self.raw.receive_some(65536)
                if not data:
                    raise trio.BrokenResourceError
                await self._up(data)

    def _down(self, data: bytes, below: int) -> bytes:
        for layer in reversed(self.stack[:below]):
            data = layer.send(data)
        return data

    async def _up(self, data: bytes) -> bytes:
        """Bytes of the socket in; answers of the layers are sent, what the application sees is returned."""
        answer = b""
        for at, layer in enumerate(self.stack):
            before = len(layer.received)
            answer += self._down(layer.feed(data), at)
            data = layer.received[before:]
        if answer:
            with suppress(trio.BrokenResourceError):
                await self.raw.send_all(answer)
        return data

    async def send_all(self, data: bytes) -> None:
        await self.raw.send_all(self._down(bytes(data), len(self.stack)))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not any(layer.goodbye for layer in self.stack):
            data = bytes(await self.raw.receive_some(65536))
            plain = await self._up(data) if data else b""
            if plain or not data:
                return plain
        return b""

    async def wait_send_all_might_not_block(self) -> None:
        await self.raw.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.raw)


@attrs.define
class Doors:
    """A running broker and its ports by kind."""

    node: Node
    ports: dict[str, int]
    streams: list[Stream] = attrs.field(factory=list)

    async def socket(self, kind: str = "tcp", **options: int) -> trio.SocketStream:
        """A TCP connection on which nothing was sent. `rcvbuf` and `sndbuf` are the client's buffers."""
        sock = trio.socket.socket()
        for name, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, f"SO_{name.upper()}"), value)
        await sock.connect(("127.0.0.1", self.ports[kind]))
        raw = trio.SocketStream(sock)
        self.streams.append(Stream(raw, []))
        return raw

    async def raw(self, kind: str = "tcp", version: int = 5, **options: int) -> Client:
        """A client whose layers are up and that has not sent CONNECT."""
        stream = Stream(await self.socket(kind, **options), layers(kind))
        self.streams[-1] = stream
        await stream.open()
        return Client(stream, version)

    async def client(
        self, clientid: str, kind: str = "tcp", version: int = 5, subscribe: str = "", qos: int = 0, **options: int
    ) -> Client:
        """A connected client."""
        client = await self.raw(kind, version, **options)
        await client.connect(clientid)
        if subscribe:
            await client.subscribe(subscribe, qos=qos)
        return client

    def listener(self, kind: str = "tcp"):
        """The broker's side of a port."""
        return self.node.listeners.listeners[f"mqtt:{'tcp' if kind == 'proxy' else kind}:{kind}"]

    def links(self) -> int:
        """Connections that the broker still has."""
        return len(self.node.pump.turn.links)

    async def quiet(self, links: int = 0) -> None:
        """Wait until so many connections are left."""
        await until(lambda: self.links() == links, lambda: f"{self.links()} connections, not {links}")


async def until(true: Callable[[], bool], otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait for something that the broker does by itself."""
    with trio.move_on_after(PATIENCE):
        while not true():
            await trio.sleep(0.01)
        return
    raise AssertionError(otherwise())


async def gone(stream: trio.SocketStream) -> float:
    """Wait until the broker has ended this connection, reading what comes; returns the seconds that took."""
    began = trio.current_time()
    with trio.fail_after(PATIENCE):
        try:
            while await stream.receive_some(65536):
                continue
        except trio.BrokenResourceError:
            return trio.current_time() - began
    return trio.current_time() - began


async def ended(client: Client) -> int | None:
    """Wait for the broker's end; the code of its DISCONNECT or None."""
    with trio.fail_after(PATIENCE):
        try:
            while True:
                await client.receive_other()
        except Closed as end:
            return end.code


def reset(stream: trio.SocketStream) -> None:
    """Close with RST instead of FIN."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def rss() -> int:
    """Resident bytes of this process, broker and test together."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def with_listeners(settings: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Settings for a listener of every kind; what a test gives under `listener` is laid over each of them."""
    each = {"bind": "127.0.0.1:0", "zone": "default", "max_connections": 5000, **settings.get("listener", {})}
    key, cert, _ = ensure_self_signed(folder / "certs", ["localhost"])
    tls = {**each, "keyfile": str(key), "certfile": str(cert)}
    return {
        "allow_anonymous": True,
        "acl_nomatch": "allow",
        "node": {"data_dir": str(folder / "data")},
        **{key: value for key, value in settings.items() if key != "listener"},
        "listener": {
            "tcp": {"tcp": each, "proxy": {**each, "proxy_protocol": True}},
            "ssl": {"ssl": tls},
            "ws": {"ws": each},
            "wss": {"wss": tls},
        },
    }


@asynccontextmanager
async def opened(settings: Mapping[str, object], folder: Path) -> AsyncIterator[Doors]:
    """A broker for the length of a block."""
    async with open_broker(with_listeners(settings, folder)) as node:
        doors = Doors(node, {listener.config.name: listener.port for listener in node.listeners.listeners.values()})
        try:
            yield doors
        finally:
            for stream in doors.streams:
                await trio.aclose_forcefully(stream.raw)
