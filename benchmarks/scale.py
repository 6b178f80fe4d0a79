"""Ten million messages that wait on disk for ten thousand clients: how a broker starts with them, and goes on.

    python benchmarks/scale.py                  some minutes, three gigabytes of disk; prints a table
    python benchmarks/scale.py --python PATH --messages 1000000

The database is written by SQL, as a broker would have left it; one real session is the pattern of all. Measured: from
the start of the process until it is ready, its memory then, and one client that takes its queue, while another pair of
clients exchanges messages.
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
from pathlib import Path

import brokers
from brokers import Broker, Unavailable
from client import Client, packet, publish_frame, text
from report import markdown, short

SESSIONS = 10_000
PAUSE = 0.002


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


def canary(port: int, seconds: float, results: multiprocessing.Queue[list[float]]) -> None:
    """A client that sends itself a message every now and then; gives how long each took, in milliseconds."""
    client = Client(port, "canary")
    client.subscribe(["canary"])
    frame = publish_frame("canary", b"x" * 16)
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        client.socket.sendall(frame)
        client.exactly(len(frame))
        took.append((time.monotonic() - begin) * 1000)
        time.sleep(PAUSE)
    results.put(took)


def during(port: int, seconds: float) -> tuple[multiprocessing.Process, multiprocessing.Queue[list[float]]]:
    """A canary in a process of its own."""
    results: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    process = multiprocessing.Process(target=canary, args=(port, seconds, results))
    process.start()
    time.sleep(0.5)
    return process, results


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
    for number in range(1, SESSIONS + 1):
        key = f"{number:016x}"
        clone = {**json.loads(session), "clientid": f"keeper-{number}"}
        rows.append(("sessions", key, json.dumps(clone)))
        clone = {**json.loads(subscription), "filter": f"to/{number}", "name": f"to/{number}"}
        rows.append(("subscriptions", f"{key}:{number + SESSIONS:016x}", json.dumps(clone)))
    connection.executemany("INSERT INTO rows (tbl, key, row) VALUES (?, ?, ?)", rows)
    each = messages // SESSIONS
    base = 3 * SESSIONS
    count = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
    connection.execute(f"{count}INSERT INTO messages SELECT i * 2 + ?, 1, ? FROM n", (each * SESSIONS, base, message))
    for session_number in range(SESSIONS):
        connection.execute(
            f"{count}INSERT INTO queue SELECT ?, 0, (i * {SESSIONS} + ?) * 2 + ?, (i * {SESSIONS} + ?) * 2 + ?, 20, 0, "
            "'' FROM n",
            (each, session_number + 1, session_number, base + 1, session_number, base),
        )
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
    database = broker.home / "data" / "trioemqx.db"
    pattern(broker)
    size = fill(database, messages)
    each = messages // SESSIONS
    begin = time.monotonic()
    broker.start()
    started = time.monotonic() - begin - 0.5  # what `start` waits itself
    try:
        memory = broker.rss()
        process, results = during(broker.port, 2)
        quiet = results.get()
        process.join()
        process, results = during(broker.port, 6)
        begin = time.monotonic()
        keeper = Keeper(broker.port, "keeper-7")
        came = keeper.take(each)
        resumed = time.monotonic() - begin
        for number in range(100, 140):
            Keeper(broker.port, f"keeper-{number}").take(each)
        busy = results.get()
        process.join()
        after = broker.rss()
    finally:
        broker.stop()
    return [
        ["messages on disk", short(messages)],
        ["database", f"{size:.2f} GB"],
        ["start until it is ready", f"{started:.1f} s"],
        ["memory then", f"{memory / 1e6:.0f} MB"],
        [f"one client gets its {each}: first / all", f"{(came[0] - begin) * 1000:.0f} / {resumed * 1000:.0f} ms"],
        ["memory after 41 clients", f"{after / 1e6:.0f} MB"],
        ["others' round trip, p50 / p99 / max, before", _three(quiet)],
        ["meanwhile", _three(busy)],
    ]


def _three(took: list[float]) -> str:
    return f"{percentile(took, 0.5):.2f} / {percentile(took, 0.99):.2f} / {max(took):.1f} ms"


def main() -> int:
    """Measure and print; 1 when it cannot be done here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with trioemqx compiled")
    parser.add_argument("--messages", type=int, default=10_000_000)
    options = parser.parse_args()
    setattr(brokers, "BROKER_CORE", -1)  # no core has this number, so it is tied to none  # noqa: B010
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
