"""A TCP or TLS connection to a server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable

import trio

from trioemqx.services.http.egress import in_force
from trioemqx.services.mqttclient.errors import MqttError
from trioemqx.services.mqttclient.options import MqttTls, ServerAddress


def dialer(address: str, tls: MqttTls | None = None) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A function that connects to `host:port` (port 1883, with TLS 8883, when it is left out). Files are read now, the
    name is resolved each time. Raises ValueError for an address or TLS settings that cannot be used; what it returns
    raises MqttError."""
    server = ServerAddress.parse(address, 1883 if tls is None else 8883)
    context = None if tls is None else tls.context()
    name = server.host if tls is None else tls.server_name_indication or server.host

    async def connect() -> trio.abc.Stream:
        stream = await _open(server)
        if context is None:
            return stream
        return await _secured(stream, context, None if name == "disable" else name)

    return connect


async def _open(server: ServerAddress) -> trio.SocketStream:
    """A connection to the first address that takes one."""
    try:
        found = await trio.socket.getaddrinfo(server.host, server.port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MqttError(f"{server}: the name cannot be resolved: {reason}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    refusal = in_force().refusal_of(addresses)
    if refusal:
        raise MqttError(f"{server}: the server's address {refusal}")
    reason = "the name has no address"
    for address in addresses:
        try:
            return await trio.open_tcp_stream(address, server.port)
        except OSError as error:
            reason = _reason(error)
    raise MqttError(f"{server}: {reason}")


async def _secured(stream: trio.SocketStream, context: ssl.SSLContext, name: str | None) -> trio.abc.Stream:
    secured = trio.SSLStream(stream, context, server_hostname=name)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise MqttError(f"TLS: {error.__cause__ or error}") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


def _reason(error: OSError) -> str:
    """Why a connection could not be made, in the system's words, which Trio puts below its own."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    number = cause.errno if isinstance(cause, OSError) else error.errno
    return (os.strerror(number) if number else str(error)).lower()
