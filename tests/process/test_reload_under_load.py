"""A plugin is reloaded two hundred times while 20 000 messages a second pass through its hooks, and nobody notices."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from broker_process import PATIENCE, BrokerProcess

from trioemqx.codec.control import Connect, Subscribe
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.types import SubOpts

CYCLES = 200
RATE = 20_000
"""Messages per second over all publishers. It is aimed at, not demanded: the machine may be slow."""
WINDOW = 500
"""Messages of one publisher that are not acknowledged yet."""
PLUGIN = """
from trioemqx.plugin import Message, Plugin, get, hookimpl

class Busy(Plugin):
    async def start(self):
        self.count = 0
        self.context.broker.subscribe("elsewhere/#", lambda message: None)
        self.context.command("busy count", lambda: str(self.count))
        self.context.http.serve(get("/busy/count", lambda call: self.count))
        self.context.metrics.counter("busy.reloads").inc()
        self.context.every(0.05, self.tick)
        self.context.spawn(self.context.queue().get)
        self.file = open(__file__)

    async def stop(self):
        self.file.close()

    def tick(self):
        self.ticked = True

    @hookimpl
    def message_publish(self, message: Message):
        if message.topic != "qos1" and message.topic != "qos2":
            return None
        self.count += 1
        changed = message.copy()
        changed.headers = {"generation": NUMBER}
        return changed

    @hookimpl
    def message_acked(self, message: Message):
        self.acked = True

    def export_state(self):
        return self.count

    def import_state(self, state):
        self.count = state

plugin = Busy
"""
PYPROJECT = '[project]\nname = "busy"\nversion = "1"\n[tool.trioemqx]\napi = ">=1,<2"\n'


class Peer:
    """A client on a plain socket, in a thread of its own."""

    def __init__(self, port: int, clientid: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.framer = Framer(1 << 20)
        self.sock.sendall(encode(Connect("MQTT", 4, False, True, 0, clientid, None, None, None, None), 4))
        self.frames()

    def frames(self) -> list[bytes]:
        """What comes next, one frame at least."""
        found: list[bytes] = []
        while not found:
            data = self.sock.recv(65536)
            assert data, "the broker closed the connection"
            self.framer.feed(data)
            while (frame := self.framer.next_frame()) is not None:
                found.append(frame)
        return found


class Subscriber(Peer):
    """Acknowledges everything and notes the numbers it got, in order."""

    def __init__(self, port: int, topic: str, qos: int) -> None:
        super().__init__(port, f"to-{topic}")
        self.got: list[int] = []
        self.last = -1
        self.failure: BaseException | None = None
        self.sock.sendall(encode(Subscribe(1, [(topic, SubOpts(qos))], None), 4))
        self.frames()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self.got or self.got[-1] != self.last:
                answers = b"".join(self._answer(decode(frame, 4)) for frame in self.frames())
                self.sock.sendall(answers)
        except BaseException as error:
            self.failure = error

    def _answer(self, packet: object) -> bytes:
        if isinstance(packet, Publish):
            self.got.append(int(packet.payload))
            return encode(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_id), 4)
        assert isinstance(packet, Ack)
        assert packet.kind == PUBREL
        return encode(Ack(PUBCOMP, packet.packet_id), 4)


class Publisher(Peer):
    """Sends numbers with a pace until it is told to stop; each must be acknowledged."""

    def __init__(self, port: int, topic: str, qos: int, rate: float) -> None:
        super().__init__(port, f"from-{topic}")
        self.topic, self.qos, self.rate = topic, qos, rate
        self.sent = 0
        self.done = 0
        self.stop = False
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            while not self.stop or self.done < self.sent:
                due = int((time.monotonic() - began) * self.rate)
                count = 0 if self.stop else min(WINDOW - (self.sent - self.done), due - self.sent)
                if count > 0:
                    self.sock.sendall(b"".join(self._frame(self.sent + i) for i in range(count)))
                    self.sent += count
                elif self.done == self.sent:
                    time.sleep(0.001)
                if self.done < self.sent:
                    self._collect()
        except BaseException as error:
            self.failure = error

    def _frame(self, number: int) -> bytes:
        return encode(make_publish(self.topic, b"%d" % number, self.qos, False, False, number % 65535 + 1, None), 4)

    def _collect(self) -> None:
        releases = b""
        for frame in self.frames():
            packet = decode(frame, 4)
            assert isinstance(packet, Ack)
            if packet.kind == PUBREC:
                releases += encode(Ack(PUBREL, packet.packet_id), 4)
            else:
                self.done += 1
        if releases:
            self.sock.sendall(releases)


def ctl(folder: Path, *argv: str) -> list[str]:
    """Ask the broker through its control socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(os.path.relpath(folder / "data" / "trioemqx.sock"))
        sock.sendall(json.dumps({"argv": argv}).encode() + b"\n")
        with sock.makefile("rb") as answer:
            parts = [json.loads(line) for line in answer]
    assert parts[-1] == {"exit": 0}, parts
    return [part["out"] for part in parts[:-1]]


def _write(folder: Path, number: int) -> None:
    plugin = folder / "mine" / "busy"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "pyproject.toml").write_text(PYPROJECT)
    (plugin / "busy.py").write_text(PLUGIN.replace("NUMBER", str(number)))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


CONFIG = """
allow_anonymous = true
acl_nomatch = "allow"
[listener.tcp]
main = "127.0.0.1:0"
[plugins]
dirs = ["mine"]
load = ["emqx_retainer"]
[modules]
load = []
[zone.default]
max_inflight = 0
max_mqueue_len = 0
"""


def _end(publishers: list[Publisher], subscribers: list[Subscriber]) -> int:
    """End both, and check that each subscriber has all that its publisher sent, in order; returns how much that was."""
    for publisher in publishers:
        publisher.stop = True
    for publisher, subscriber in zip(publishers, subscribers, strict=True):
        publisher.thread.join(PATIENCE)
        assert publisher.failure is None
        assert publisher.done == publisher.sent > 0
        subscriber.last = publisher.sent
        publisher.sock.sendall(publisher._frame(publisher.sent))  # one more, for it to end with
        subscriber.thread.join(PATIENCE)
        assert subscriber.failure is None
        assert subscriber.got == list(range(publisher.sent + 1)), "lost, doubled or out of order"
    return sum(publisher.sent for publisher in publishers)


@pytest.mark.parametrize("unload", [False, True], ids=["reload", "unload_and_load"])
def test_two_hundred_cycles_under_load(tmp_path: Path, unload: bool) -> None:
    _write(tmp_path, 0)
    broker = BrokerProcess(tmp_path, CONFIG)
    subscribers: list[Subscriber] = []
    publishers: list[Publisher] = []
    try:
        broker.wait_ready()
        port = broker.port()
        ctl(tmp_path, "plugins", "load", "busy")
        hooks = ctl(tmp_path, "hooks")
        subscribers = [Subscriber(port, f"qos{qos}", qos) for qos in (1, 2)]
        publishers = [Publisher(port, f"qos{qos}", qos, RATE / 2) for qos in (1, 2)]
        files = resident = 0
        began = time.monotonic()
        for number in range(CYCLES):
            if number == CYCLES // 4:  # caches are full, and whatever is made once is made
                files, resident = _open_files(broker.pid), _resident(broker.pid)
            _write(tmp_path, number)
            if unload:
                ctl(tmp_path, "plugins", "unload", "busy")
                ctl(tmp_path, "plugins", "load", "busy")
            else:
                ctl(tmp_path, "plugins", "reload", "busy")
        seconds = time.monotonic() - began
        total = _end(publishers, subscribers)
        print(f"{CYCLES} cycles, {total} messages in {seconds:.1f} s: {total / seconds:.0f}/s")
        assert ctl(tmp_path, "hooks") == hooks
        assert "busy" in " ".join(hooks)
        if not unload:
            assert ctl(tmp_path, "busy", "count") == [str(total + 2)], "the state went along, each time"
        assert _open_files(broker.pid) <= files + 1
        assert _resident(broker.pid) < resident + 12 * 1024 * 1024
        ctl(tmp_path, "plugins", "unload", "busy")
        assert not any("busy" in line for line in ctl(tmp_path, "hooks"))
        assert "error" not in broker.log()
    finally:
        broker.kill()
        broker.show()
        for peer in (*subscribers, *publishers):
            peer.sock.close()
