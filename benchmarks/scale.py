"""Ten million messages that wait on disk for ten thousand clients: how a broker starts with them, and goes on.

    python benchmarks/scale.py                  some minutes, three gigabytes of disk; prints a table
    python benchmarks/scale.py --python PATH --messages 1000000

The database is written by SQL, as a broker would have left it; one real session is the pattern of all. One client more
has LONG messages. Measured: from the start of the process until it listens, what that takes of processors and memory,
and clients that take their queues while another one sends itself a message every 2 ms.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeVar

import brokers
import load
from brokers import Broker, Unavailable
from client import Client, packet, publish_frame, text
from report import markdown, short

SESSIONS = 10_000
LONG = 100_000
PAUSE = 0.002

Result = TypeVar("Result")


class Keeper(Client):
    """A client whose session is kept (MQTT 3.1.1, clean session 0), and that acknowledges what it gets."""

    def __init__(self, port: int, clientid: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(packet(0x10, text("MQTT") + bytes([4, 0, 0, 0]) + text(clientid)))
        self.exactly(4)

    def leave(self) -> None:
        """DISCONNECT, and wait for the end."""
        self.socket.sendall(b"\xe0\x00")
        self.socket.recv(1)
        self.socket.close()

    def take(self, count: int) -> list[float]:
        """Receive and acknowledge so many short QoS 1 messages; gives when each came."""
        at: list[float] = []
        waiting = bytearray()
        while len(at) < count:
            got = self.socket.recv(1 << 16)
            if not got:
                raise ConnectionError(f"the broker closed the connection after {len(at)} messages")
            waiting += got
            acks = bytearray()
            while len(waiting) > 1 and len(waiting) >= 2 + waiting[1]:
                end = 2 + waiting[1]
                topic = struct.unpack_from("!H", waiting, 2)[0]
                acks += b"\x40\x02" + waiting[4 + topic : 6 + topic]
                del waiting[:end]
                at.append(time.monotonic())
            self.socket.sendall(acks)
        return at


def canary(port: int, ended: Event, results: multiprocessing.Queue[list[float]]) -> None:
    """A client that sends itself a message every now and then; gives how long each took, in milliseconds."""
    client = Client(port, "canary")
    client.subscribe(["canary"])
    frame = publish_frame("canary", b"x" * 16)
    took = []
    while not ended.is_set():
        begin = time.monotonic()
        client.socket.sendall(frame)
        client.exactly(len(frame))
        took.append((time.monotonic() - begin) * 1000)
        time.sleep(PAUSE)
    client.close()
    results.put(took)


def beside(port: int, work: Callable[[], Result]) -> tuple[Result, str]:
    """Do something while a canary, in a process of its own, sings; gives what came of it, and its round trips."""
    results: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    ended = multiprocessing.Event()
    process = multiprocessing.Process(target=canary, args=(port, ended, results))
    process.start()
    time.sleep(0.5)
    try:
        done = work()
    finally:
        ended.set()
        took = results.get()
        process.join()
    return done, _three(took)


def fill(path: Path, messages: int) -> float:
    """Give SESSIONS clients `messages` together, after the pattern of the one that is there. Returns gigabytes."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    [(_, session)] = connection.execute("SELECT key, row FROM rows WHERE tbl = 'sessions'").fetchall()
    [(_, subscription)] = connection.execute("SELECT key, row FROM rows WHERE tbl = 'subscriptions'").fetchall()
    [message] = connection.execute("SELECT row FROM messages").fetchone()
    connection.execute("BEGIN")
    connection.execute("DELETE FROM queue")
    connection.execute("DELETE FROM rows WHERE tbl IN ('sessions', 'subscriptions')")
    rows = []
    for number in range(1, SESSIONS + 2):
        key = f"{number:016x}"
        clone = {**json.loads(session), "clientid": f"keeper-{number}"}
        rows.append(("sessions", key, json.dumps(clone)))
        clone = {**json.loads(subscription), "filter": f"to/{number}", "name": f"to/{number}"}
        rows.append(("subscriptions", f"{key}:{number + SESSIONS + 1:016x}", json.dumps(clone)))
    connection.executemany("INSERT INTO rows (tbl, key, row) VALUES (?, ?, ?)", rows)
    each = messages // SESSIONS
    base = 3 * (SESSIONS + 1)
    count = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
    everything = each * SESSIONS + LONG
    connection.execute(f"{count}INSERT INTO messages SELECT i * 2 + ?, 1, ? FROM n", (everything, base, message))
    queue = f"{count}INSERT INTO queue SELECT ?, 0, (i * ? + ?) * 2 + ?, (i * ? + ?) * 2 + ?, 20, 0, '' FROM n"
    for number in range(SESSIONS):  # they got their messages in turn
        step = SESSIONS, number
        connection.execute(queue, (each, number + 1, *step, base + 1, *step, base))
    step = 1, each * SESSIONS
    connection.execute(queue, (LONG, SESSIONS + 1, *step, base + 1, *step, base))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size / 1e9


def pattern(broker: Broker) -> None:
    """One session that has one message, in the database."""
    broker.start()
    keeper = Keeper(broker.port, "keeper-1")
    keeper.subscribe(["to/1"], 1)
    keeper.leave()
    sender = Client(broker.port, "sender")
    sender.publish_acknowledged("to/1", b"x" * 16, 1)
    sender.close()
    broker.stop()


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of them lies."""
    return sorted(values)[int((len(values) - 1) * share)]


def measure(broker: Broker, messages: int) -> list[list[str]]:
    """Rows of the table."""
    pattern(broker)
    size = fill(broker.home / "data" / "trioemqx.db", messages)
    each = messages // SESSIONS
    broker.start()
    try:
        rows = [
            ["messages on disk", short(messages + LONG)],
            ["database", f"{size:.2f} GB"],
            ["start until it listens", f"{broker.started_in:.1f} s"],
            ["processor time of that", f"{broker.processor_time():.1f} s"],
            ["memory then", f"{broker.rss() / 1e6:.0f} MB"],
            ["others' round trip, p50 / p99 / max, before", beside(broker.port, lambda: time.sleep(3))[1]],
        ]
        for what, keepers in (
            (f"one client gets its {each:,}", [7]),
            (f"40 more, one after the other, {each:,} each", range(100, 140)),
            (f"one client gets its {LONG:,}", [SESSIONS + 1]),
        ):
            count = LONG if keepers == [SESSIONS + 1] else each
            taken, others = beside(broker.port, partial(take, broker.port, keepers, count))
            rows += [[f"{what}: first / all", taken], ["others meanwhile", others]]
        rows.append(["memory after that", f"{broker.rss() / 1e6:.0f} MB"])
    finally:
        broker.stop()
    return rows


def take(port: int, keepers: Iterable[int], count: int) -> str:
    """Clients come back for their queues; when the first message was there, and the last."""
    begin = time.monotonic()
    first = 0.0
    for number in keepers:
        keeper = Keeper(port, f"keeper-{number}")
        came = keeper.take(count)
        first = first or came[0] - begin
        keeper.leave()
    return f"{first * 1000:.0f} ms / {time.monotonic() - begin:.2f} s"


def _three(took: list[float]) -> str:
    return f"{percentile(took, 0.5):.2f} / {percentile(took, 0.99):.2f} / {max(took):.1f} ms"


def main() -> int:
    """Measure and print; 1 when it cannot be done here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with trioemqx compiled")
    parser.add_argument("--messages", type=int, default=10_000_000)
    options = parser.parse_args()
    load.CORES.broker = None
    try:
        broker = brokers.ours("scale", options.python, brokers.free_port(), native=True)
        config = broker.home / "emqx.toml"
        config.write_text(config.read_text().replace("max_inflight = 0\n", ""))
        rows = measure(broker, options.messages)
        (broker.home / "data" / "trioemqx.db").unlink()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown([f"{SESSIONS:,} absent clients", "compiled"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
