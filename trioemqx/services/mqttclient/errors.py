"""What can go wrong with a connection to a server, and with a message that is to be sent over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from trioemqx.errors import PacketError, TrioemqxError, reason_name

_RETURN_CODES: Final = {
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
"""Of CONNACK in MQTT 3 [MQTT 3.1.1, 3.2.2.3]."""


class MqttError(TrioemqxError):
    """There is no connection, or none any more: one line that says why. `code` is the reason code that the server sent,
    or that we would send it; None when there is none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class MqttRefused(MqttError):
    """The server answered CONNECT with an error; `code` is its reason code, in MQTT 3 its return code."""

    def __init__(self, code: int, version: int, reason: str | None = None) -> None:
        name = reason_name(code) if version >= 5 else _RETURN_CODES.get(code, f"return code {code}")
        super().__init__(f"the server refuses the connection: {name}{f' ({reason[:200]!r})' if reason else ''}", code)


class ProtocolBroken(MqttError):
    """The server sent what MQTT does not allow."""


class Unsendable(TrioemqxError):
    """A message that this server does not take, whatever is tried: `code` is 0x90 (topic), 0x95 (too large), 0x9A
    (retained) or 0x9B (QoS). The connection goes on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the codec and a stream raise into MqttError."""
    try:
        yield
    except PacketError as error:
        raise ProtocolBroken(f"the server broke the protocol: {error.text}", error.code) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        raise MqttError(f"the connection was lost: {error.__cause__ or error or 'reset'}") from None
