"""MQTT over WebSocket as a stream, for `trioemqx.testing.Client`."""

from __future__ import annotations

import ssl

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, connect_websocket_url


class WsStream(trio.abc.Stream):
    """One binary message per `send_all`; what comes is handed on as it comes."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def send_all(self, data: bytes) -> None:
        try:
            await self.connection.send_message(bytes(data))
        except ConnectionClosed:
            raise trio.BrokenResourceError from None

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return await self.connection.get_message()
        except ConnectionClosed:
            return b""

    async def aclose(self) -> None:
        await self.connection.aclose()


async def open_ws(nursery: trio.Nursery, url: str, context: ssl.SSLContext | None = None) -> WsStream:
    """Upgrade to the subprotocol `mqtt`. Raises BrokenResourceError when the server does not want us."""
    try:
        return WsStream(await connect_websocket_url(nursery, url, ssl_context=context, subprotocols=["mqtt"]))
    except HandshakeError as error:
        raise trio.BrokenResourceError from error
