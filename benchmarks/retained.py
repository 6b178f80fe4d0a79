"""A million retained messages: filling, starting with them, and what a wildcard subscription costs the others.

Part of `run.py` (`--only retained`); the figures are of one broker that is started for it. Every frame is as long as
the others, so counting bytes is counting messages.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

import load
from brokers import Broker
from client import Client, packet, text

PACED = "-P 50 -S 50 -T 50 -r 100 -w 100 -q 0"
"""What the others do: 50 publishers, each 100 messages a second to a subscriber of its own."""
BATCH = 500
PAYLOAD = b"x" * 64
LONGEST_TURN = re.compile(r"longest turn: ([\d.]+) ms")
DEAF = 10
"""Receivers that subscribe to everything and never read."""


@dataclass
class Retained:
    """`fill_per_s` acknowledged messages a second. `start` seconds until a broker that has them on disk listens, 0
    where nothing is kept. `bytes_each` of resident memory. Seconds from SUBSCRIBE `#` to the `first` and the `last`
    message. The others `alone` and `beside` somebody who subscribes again and again. Memory that DEAF receivers cost.
    The `longest` turn of the event loop meanwhile, in ms (ours only)."""

    count: int
    fill_per_s: float
    start: float
    bytes_each: float
    first: float
    last: float
    alone: load.Load
    beside: load.Load
    walks: float
    deaf_bytes: int
    longest: float | None


def frame(number: int, packet_id: int) -> bytes:
    """One retained message of QoS 1; a thousand branches of a thousand topics."""
    topic = text(f"retained/{number % 1000:03d}/{number:07d}/state")
    return packet(0x33, topic + packet_id.to_bytes(2, "big") + PAYLOAD)


DELIVERED = len(frame(0, 1)) - 2
"""The same at QoS 0, as a subscriber gets it."""


def fill(port: int, count: int) -> float:
    """Publish them; gives acknowledged messages a second."""
    client = Client(port, "fill")
    begin = time.monotonic()
    for start in range(0, count, BATCH):
        some = range(start, min(start + BATCH, count))
        client.socket.sendall(b"".join(frame(number, number % BATCH + 1) for number in some))
        client.exactly(4 * len(some))
    client.close()
    return count / (time.monotonic() - begin)


def walk(port: int, filter: str, count: int) -> tuple[float, float]:
    """Subscribe and read everything; seconds until the first and the last message."""
    client = Client(port, f"walk-{filter}")
    begin = time.monotonic()
    client.subscribe([filter])
    client.exactly(DELIVERED)
    first = time.monotonic() - begin
    left = DELIVERED * (count - 1)
    while left > 0:
        left -= len(client.socket.recv(1 << 18))
    client.close()
    return first, time.monotonic() - begin


def beside(port: int, count: int, seconds: int) -> tuple[load.Load, float]:
    """The others, and how often somebody else got everything meanwhile."""
    ended = threading.Event()
    walks = 0.0

    def read() -> None:
        nonlocal walks
        while not ended.is_set():
            client = Client(port, "walk-again")
            client.subscribe(["retained/#"])
            left = DELIVERED * count
            while left > 0 and not ended.is_set():
                left -= len(client.socket.recv(1 << 18))
            walks += 1 - left / (DELIVERED * count)
            client.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        return load.run(port, PACED, seconds), walks
    finally:
        ended.set()
        reader.join()


def deaf(broker: Broker) -> int:
    """How far memory grows while receivers that never read have subscribed to everything."""
    before = broker.rss()
    clients = [Client(broker.port, f"deaf-{number}", receive_buffer=4096) for number in range(DEAF)]
    for client in clients:
        client.subscribe(["retained/#"])
    time.sleep(2)
    grown = broker.rss() - before
    for client in clients:
        client.close()
    return grown


def measure(broker: Broker, count: int, seconds: int, kept: bool) -> Retained:
    """`kept`: the broker has them again after a restart."""
    broker.start()
    try:
        empty = broker.rss()
        rate = fill(broker.port, count)
        start = 0.0
        if kept:
            broker.stop()
            broker.start(environment={"TRIOEMQX_REPORT_GAP": "1"})
            start = broker.started_in
        each = (broker.rss() - empty) / count
        first, last = walk(broker.port, "#", count)
        load.run(broker.port, PACED, 1)
        alone = load.run(broker.port, PACED, seconds)
        busy, walks = beside(broker.port, count, seconds)
        grown = deaf(broker)
        broker.check()
    finally:
        broker.stop()
    found = LONGEST_TURN.search(broker.log())
    longest = float(found[1]) if found else None
    return Retained(count, rate, start, each, first, last, alone, busy, walks, grown, longest)
