"""Tells systemd how the service is: ready, stopping, reloading, alive (`Type=notify`, `WatchdogSec=`)."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("trioemqx.sdnotify")


class Notifier:
    """Sends states to the socket named in `environ["NOTIFY_SOCKET"]`; without one every call does nothing.

    A name starting with `@` is an abstract socket. Nothing here waits or raises: a manager that does not listen is not
    the broker's problem. Calls return True when the state was sent.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval = _watchdog_interval(environ)
        """Seconds between signs of life, half of what systemd allows; None when it wants none."""

    def notify(self, state: str) -> bool:
        """Send `NAME=value` lines."""
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.connect(self._address)
                channel.send(state.encode())
        except OSError as error:
            log.debug("systemd was not told %s: %s", state.partition("=")[0], error)
            return False
        return True

    def ready(self, status: str = "") -> bool:
        """All listeners are open (also: a reload has ended)."""
        return self.notify(f"READY=1\nSTATUS={_line(status)}" if status else "READY=1")

    def reloading(self, clock: Callable[[], int] = time.monotonic_ns) -> bool:
        """A reload begins; `ready` must follow."""
        return self.notify(f"RELOADING=1\nMONOTONIC_USEC={clock() // 1000}")

    def stopping(self) -> bool:
        """The shutdown has begun."""
        return self.notify("STOPPING=1")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self.notify(f"STATUS={_line(text)}")

    def watchdog(self) -> bool:
        """A sign of life."""
        return self.notify("WATCHDOG=1")

    async def run(self, healthy: Callable[[], bool] = lambda: True) -> None:
        """Give signs of life as long as `healthy` says so, for ever; when it does not, systemd restarts the service."""
        while True:
            if self.watchdog_interval is None:
                await trio.sleep_forever()
            else:
                if healthy():
                    self.watchdog()
                await trio.sleep(self.watchdog_interval)


def _address(name: str) -> str | None:
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC halved, if WATCHDOG_PID is absent or this process."""
    limit = environ.get("WATCHDOG_USEC", "")
    owner = environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(limit) / 2_000_000


def _line(text: str) -> str:
    return " ".join(text.split())
