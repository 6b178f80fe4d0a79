"""A broker as its operator has it: a process of its own, started by the command line, seen through what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trioemqx.testing import Client
from trioemqx.types import Properties

PATIENCE = 20.0
"""Seconds until something that must happen counts as not happening; the machine may be busy."""
STARTED = "is started successfully!"
OPEN = 'allow_anonymous = true\nacl_nomatch = "allow"\n'
TCP = '[listener.tcp]\nmain = "127.0.0.1:0"\n'
_LISTENING = re.compile(r"^ +listening +mqtt:(\w+):(\w+) +(?:[\d.]+|\[.*\]):(\d+) ")


PYTHONPATH = os.pathsep.join(str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(":") if path)
"""This process's, so that a relative one means the same place in another working directory."""


def environment(**more: str) -> dict[str, str]:
    """This process's variables without settings of a broker."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("EMQX_", "NOTIFY_"))}
    return {**found, "PYTHONPATH": PYTHONPATH, **more}


def command(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run `trioemqx` to its end; its exit code must be `code` (None: any)."""
    done = subprocess.run(
        [sys.executable, "-m", "trioemqx", *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    print(f"$ trioemqx {' '.join(arguments)}\n{done.stdout}{done.stderr}[exit code {done.returncode}]")
    if code is not None:
        assert done.returncode == code
    return done


class BrokerProcess:
    """`trioemqx start` in `folder`. Its output is collected in `lines`, standard error included.

    `config` is the text of a configuration file, or None to give none. Listeners should be bound to port 0: `port`
    tells which one the system chose.
    """

    def __init__(
        self,
        folder: Path,
        config: str | None = OPEN + TCP,
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._shown = self._shown_log = 0
        folder.mkdir(parents=True, exist_ok=True)
        if config is not None:
            self.file.write_text(config, "utf-8")
            arguments = ("-c", self.file.name, *arguments)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trioemqx", "start", *arguments],
            cwd=folder,
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def file(self) -> Path:
        """Its configuration file."""
        return self.folder / "broker.toml"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything it has printed so far."""
        with self._news:
            return "\n".join(self.lines)

    def log(self) -> str:
        """What is in its log file."""
        file = self.folder / "log" / "emqx.log"
        return file.read_text("utf-8") if file.exists() else ""

    def port(self, kind: str = "tcp", name: str = "main") -> int:
        """The port of a listener, as the broker prints it; what it has printed may take a moment to get here."""
        with self._news:
            self._news.wait_for(lambda: self._printed_port(kind, name) or self.process.poll() is not None, PATIENCE)
            port = self._printed_port(kind, name)
        if port:
            return port
        raise AssertionError(f"no listener {kind}.{name} in:\n{self.output}")

    def _printed_port(self, kind: str, name: str) -> int:
        for line in self.lines:
            found = _LISTENING.match(line)
            if found and found.group(1, 2) == (kind, name):
                return int(found[3])
        return 0

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wait_ready(self) -> BrokerProcess:
        """Until all listeners are open."""
        self.wait_line(STARTED)
        return self

    def wait_line(self, text: str, after: int = 0) -> str:
        """The first line with `text` in it, from line number `after` on; fails when the process ends without."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                for line in self.lines[after:]:
                    if text in line:
                        return line
                after = max(after, len(self.lines))
                left = deadline - time.monotonic()
                if self._ended or not self._news.wait(max(0.0, left)):
                    why = "ended" if self._ended else "is silent"
                    raise AssertionError(f"no {text!r}; the broker {why}:\n" + "\n".join(self.lines))

    async def line(self, text: str, after: int = 0) -> str:
        """`wait_line` for a test that talks to the broker meanwhile."""
        return await trio.to_thread.run_sync(self.wait_line, text, after, abandon_on_cancel=True)

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Its exit code, once it has ended by itself and everything it printed has been read."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    async def ended(self, seconds: float = PATIENCE) -> int:
        """`wait_end` for a test that talks to the broker meanwhile."""
        return await trio.to_thread.run_sync(self.wait_end, seconds, abandon_on_cancel=True)

    # -- ending ------------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_end()

    def kill(self) -> None:
        """Make sure that nothing stays behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait_end()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def show(self) -> None:
        """Print what is new in its output and its log; pytest shows that when the test fails."""
        print(f"--- output of broker {self.pid} ---")
        with self._news:
            print("\n".join(self.lines[self._shown :]))
            self._shown = len(self.lines)
        if text := self.log()[self._shown_log :]:
            self._shown_log += len(text)
            print(f"--- log ---\n{text[-20000:]}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@attrs.define
class Dialer:
    """Connects test clients to a port, one stream each; `close` drops those that are left."""

    port: int
    wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda stream: stream
    streams: list[trio.abc.Stream] = attrs.field(factory=list)

    async def raw(self, version: int = 5, port: int = 0) -> Client:
        """A client that has not sent CONNECT."""
        stream = self.wrap(await trio.open_tcp_stream("127.0.0.1", port or self.port))
        self.streams.append(stream)
        return Client(stream, version)

    async def client(
        self,
        clientid: str = "",
        *,
        version: int = 5,
        subscribe: str | None = None,
        qos: int = 0,
        expiry: int | None = None,
        port: int = 0,
        properties: Properties | None = None,
        **connect: object,
    ) -> Client:
        """A connected client, subscribed to a filter if one is given. Raises Refused."""
        if expiry is not None:
            properties = properties.copy() if properties is not None else Properties()
            properties.session_expiry_interval = expiry
        client = await self.raw(version, port)
        await client.connect(clientid, properties=properties, **connect)
        if subscribe is not None:
            await client.subscribe(subscribe, qos=qos)
        return client

    async def close(self) -> None:
        for stream in self.streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def dialing(port: int):
    """A Dialer whose connections end with the block."""
    dialer = Dialer(port)
    try:
        yield dialer
    finally:
        await dialer.close()
