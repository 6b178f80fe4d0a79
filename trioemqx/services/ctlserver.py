"""Where `trioemqx ctl` reaches a running broker: a Unix socket in the data directory, for its owner only.

The client sends one line of JSON, `{"argv": ["plugins", "list"]}`. The answer is lines of JSON: `{"out": "a line"}` for
each line of output, and at the end `{"exit": 0}`. Closing the connection ends a command that goes on printing.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from trioemqx.services.commands import FAILED, Commands

log = logging.getLogger("trioemqx.ctl")

SOCKET: Final = "trioemqx.sock"
MAX_REQUEST: Final = 64 * 1024
MAX_CONNECTIONS: Final = 64
REQUEST_SECONDS: Final = 5.0
PAUSE: Final = 0.5
"""Seconds between two attempts to let somebody in."""
_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group, as Linux has them (unix(7))."""


class CtlServer:
    """Serves commands on `<data_dir>/trioemqx.sock`."""

    def __init__(self, commands: Commands, data_dir: Path) -> None:
        self._commands = commands
        self._path = data_dir / SOCKET
        self._room = trio.CapacityLimiter(MAX_CONNECTIONS)
        self._listener: trio.socket.SocketType | None = None

    def open(self) -> None:
        """Make the socket, so that who connects from now on is served. Raises OSError."""
        if self._listener is None:
            self._listener = self._open()

    async def run(self) -> None:
        """Serve for ever; at the end the socket's file is removed. Raises OSError."""
        self.open()
        listener = self._listener
        assert listener is not None
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    stream = await _accepted(listener)
                    nursery.start_soon(self._guarded, trio.SocketStream(stream))
        finally:
            self.close()

    def close(self) -> None:
        """Give the socket back."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(OSError):  # on a disk that has become read-only it stays, and leads nowhere
                self._path.unlink(missing_ok=True)

    def _open(self) -> trio.socket.SocketType:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)  # the file must never be open to others, not even for a moment
        try:
            _bind(found, self._path)
        finally:
            os.umask(before)
        found.listen(16)
        return trio.socket.from_stdlib_socket(found)

    async def _guarded(self, stream: trio.SocketStream) -> None:
        try:
            async with stream, self._room:
                await self._serve(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            log.debug("the client of a ctl command has gone")
        except* Exception as group:
            log.error("ctl crashed", exc_info=group)

    async def _serve(self, stream: trio.SocketStream) -> None:
        argv = await _request(stream)
        if argv is None:
            await _send(stream, {"out": "Error: bad request"})
            await _send(stream, {"exit": FAILED})
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_closed, stream, nursery.cancel_scope)
            code = await self._commands.execute(argv, lambda line: _send(stream, {"out": line}), _user(stream))
            await _send(stream, {"exit": code})
            nursery.cancel_scope.cancel()


async def _accepted(listener: trio.socket.SocketType) -> trio.socket.SocketType:
    """The next client. While there is no descriptor for one it waits in the kernel: that is when an operator wants to
    know what is going on, and must find this here afterwards."""
    while True:
        try:
            stream, _ = await listener.accept()
        except OSError as error:
            log.error("ctl: nobody can be let in: %s", error.strerror)
            await trio.sleep(PAUSE)
        else:
            return stream


def _bind(found: socket.socket, path: Path) -> None:
    """Bind to a path of any length: the system allows about 100 bytes; a long one goes by its folder's descriptor."""
    if len(os.fsencode(path)) < 100:
        found.bind(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _user(stream: trio.SocketStream) -> str:
    """The user of the operating system at the other end; empty where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    _, uid, _ = _CREDENTIALS.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def _request(stream: trio.SocketStream) -> list[str] | None:
    """The words of one request; None when it is none."""
    data = b""
    with trio.fail_after(REQUEST_SECONDS):
        while b"\n" not in data and len(data) <= MAX_REQUEST:
            more = await stream.receive_some(MAX_REQUEST)
            if not more:
                break
            data += more
    try:
        argv = json.loads(data.partition(b"\n")[0])["argv"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return argv if isinstance(argv, list) and all(isinstance(word, str) for word in argv) else None


async def _send(stream: trio.SocketStream, part: dict[str, object]) -> None:
    data = json.dumps(part, ensure_ascii=False).encode(errors="backslashreplace")  # a lone surrogate stays JSON
    await stream.send_all(data + b"\n")


async def _until_closed(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """End the command when its client goes away."""
    while await stream.receive_some(1024):
        continue
    scope.cancel()
