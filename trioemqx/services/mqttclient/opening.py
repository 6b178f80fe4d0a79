"""A connection as a block: made at its beginning, gone at its end, and its tasks with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from trioemqx.services.mqttclient.client import MqttClient
from trioemqx.services.mqttclient.errors import MqttError, translated
from trioemqx.services.mqttclient.options import ClientOptions
from trioemqx.services.mqttclient.protocol import OnMessage
from trioemqx.services.mqttclient.session import ClientSession

Connect = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens a stream to the server, such as what `dialer` returns; raises MqttError or OSError."""


@asynccontextmanager
async def open_client(
    options: ClientOptions,
    connect: Connect,
    *,
    on_message: OnMessage | None = None,
    session: ClientSession | None = None,
    on_room: Callable[[], object] | None = None,
) -> AsyncIterator[MqttClient]:
    """Connect, and stay connected for the length of the block; leaving it sends DISCONNECT. When the connection ends
    before, the block is cancelled and MqttError raised.

    `on_message` is called with each PUBLISH that comes in and must not wait; a QoS 1 or 2 message is acknowledged when
    it returns. Without it they are for `receive`, and acknowledged when they have come. `session` is for connecting
    again with `clean_start = false`. `on_room` is called when there may be room to send.

    Raises MqttError, MqttRefused for a CONNACK that says no.
    """
    opened: list[trio.abc.Stream] = []
    failure: Exception | None = None
    left = False
    try:
        client = await _accepted(options, connect, opened, session or ClientSession(), on_message, on_room)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.connection.run, nursery.cancel_scope)
                try:
                    yield client
                    left = True
                    await client.connection.close()
                except Exception as error:  # raised again outside of the nursery, which would put it into a group
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            client.finish()
        await client.connection.last_words()
        if failure is not None:
            raise failure
        if client.connection.error is not None and not left:
            raise client.connection.error
    finally:
        for stream in opened:
            await trio.aclose_forcefully(stream)


async def _accepted(
    options: ClientOptions,
    connect: Connect,
    opened: list[trio.abc.Stream],
    session: ClientSession,
    on_message: OnMessage | None,
    on_room: Callable[[], object] | None,
) -> MqttClient:
    """A client whose CONNECT was accepted; `opened` gets its stream as soon as there is one."""
    with trio.move_on_after(options.connect_timeout):
        with translated():
            stream = await connect()
        opened.append(stream)
        client = MqttClient(options, stream, session, on_message, on_room)
        await client.connection.handshake()
        return client
    step = "no answer to CONNECT" if opened else "no connection"
    raise MqttError(f"{step} within {options.connect_timeout:g} s")
