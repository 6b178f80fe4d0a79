"""What throughput does not show: connecting, memory, latency, many subscriptions, a stuck receiver, long turns.

Each probe starts a fresh broker, measures it alone and stops it.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import api
import load
from brokers import Broker, Unavailable
from client import Client, publish_frame, relay_rate

PACED = "-P 50 -S 50 -T 50 -r 100 -w 100 -q 0"
"""50 publishers, each 100 messages a second to a subscriber of its own."""

HOT = b'{"temp": 25.5, "unit": "C", "seq": 17}'
COLD = b'{"temp": 15.5, "unit": "C", "seq": 17}'
RULE = {
    "rawsql": 'SELECT payload, topic(2) AS n FROM "t/#" WHERE payload.temp > 20',
    "actions": [{"name": "republish", "params": {"target_topic": "o/${n}", "target_qos": 0}}],
}
"""Its messages are as long as those it sees."""

MEGABYTE = 1 << 20


@contextmanager
def running(broker: Broker, prompt: bool = False, environment: dict[str, str] | None = None) -> Iterator[Broker]:
    """The broker, started for one probe."""
    broker.start(prompt, environment)
    try:
        yield broker
        broker.check()
    finally:
        broker.stop()


@dataclass
class Connections:
    """Connects a second, and bytes of resident memory per idle connection."""

    per_s: float
    bytes_each: float


def connections(broker: Broker, count: int) -> Connections:
    """Connect `count` clients that stay idle."""
    with running(broker):
        Client(broker.port, "warm-up").close()
        before, peak = broker.rss(), 0

        def weigh() -> None:
            nonlocal peak
            time.sleep(1)
            peak = broker.rss()

        result = load.run(broker.port, f"-c {count}", 2, weigh)
    if result.refused:  # then nothing was weighed, and the rate is that of refusals
        raise load.LoadFailed(f"{result.refused} of {count} connections refused")
    return Connections(result.connects_per_s, (peak - before) / count)


def latency(broker: Broker, seconds: int) -> load.Load:
    """Publish to delivery at 5000 messages a second, far below what any of the brokers can do."""
    with running(broker, prompt=True):
        load.run(broker.port, PACED, 1)
        return load.run(broker.port, PACED, seconds)


@dataclass
class Subscriptions:
    """With so many filters in place: deliveries a second over all topics and over few, bytes each, SUBSCRIBE rate."""

    kind: str
    count: int
    spread_per_s: float = 0.0
    beside_per_s: float = 0.0
    bytes_each: float = 0.0
    subscribed_per_s: float = 0.0
    failure: str = ""


HOLDERS = 10
"""Clients that share the subscriptions."""


def subscriptions(broker: Broker, kind: str, count: int, messages: int, seconds: int) -> Subscriptions:
    """Subscribe to `count` different filters (`kind` is exact or wildcard), then measure twice.

    Spread: `messages` messages over all of the topics in random order, each to its one subscriber, so that a cache of
    recent topics is of little help. Beside: ten busy topics that none of these filters match.
    """
    ending = "/+/end" if kind == "wildcard" else "/data"
    filters = [f"bench/{number % 1000:03d}/{number:07d}{ending}" for number in range(count)]
    result = Subscriptions(kind, count)
    with running(broker):
        clients = [Client(broker.port, f"holder-{number}") for number in range(min(HOLDERS, count))]
        before, begin = broker.rss(), time.monotonic()
        try:
            for number, client in enumerate(clients):
                client.subscribe(filters[number :: len(clients)], deadline=begin + 180)
            result.subscribed_per_s = count / (time.monotonic() - begin)
            result.bytes_each = (broker.rss() - before) / count
            topics = [random.choice(filters).replace("+", "x") for _ in range(messages)]
            frames = [publish_frame(topic, b"x" * 64) for topic in topics]
            result.spread_per_s = relay_rate(Client(broker.port, "publisher"), clients, frames)
            result.beside_per_s = load.run(broker.port, "-P 10 -S 10 -T 10 -q 0 -w 100", seconds).delivered_per_s
        except (OSError, load.LoadFailed) as error:
            result.failure = str(error)
        for client in clients:
            client.close()
    return result


@dataclass
class Stuck:
    """Latency of the others before and behind a backlog, how far memory grew, how much of the backlog was really there
    (`held` bytes, read from the stuck client at the end), and whether that client was kept."""

    before: load.Load
    behind: load.Load
    grown: int
    kept: bool
    held: int


def stuck_receiver(broker: Broker, megabytes: int, seconds: int) -> Stuck:
    """One subscriber never reads while `megabytes` are published to it at QoS 1; then the others are timed again."""
    payload = b"x" * (64 * 1024)
    with running(broker, prompt=True):
        stuck = Client(broker.port, "stuck", receive_buffer=4096)
        stuck.subscribe(["stuck/topic"], qos=1)
        load.run(broker.port, PACED, 1)
        before = load.run(broker.port, PACED, seconds)
        rss = broker.rss()
        filler = Client(broker.port, "filler")
        filler.publish_acknowledged("stuck/topic", payload, megabytes * MEGABYTE // len(payload))
        behind = load.run(broker.port, PACED, seconds)
        grown, kept = broker.rss() - rss, stuck.connected()
        held = stuck.read_all(megabytes * MEGABYTE)
        filler.close()
        stuck.close()
    return Stuck(before, behind, grown, kept, held)


LONGEST_TURN = re.compile(r"longest turn: ([\d.]+) ms")
UNDER_FULL_LOAD = {
    "10 → 10, QoS 0": "-P 10 -S 10 -T 10 -q 0 -w 100",
    "1 → 1000, QoS 0": "-P 1 -S 1000 -T 1 -q 0 -w 100",
    "100 → 100, QoS 1": "-P 100 -S 100 -T 100 -q 1 -w 100",
}


def longest_turn(broker: Broker, options: str, seconds: int) -> float | None:
    """The longest time, in milliseconds, that our broker kept its event loop to itself; None when it did not say."""
    with running(broker, environment={"TRIOEMQX_REPORT_GAP": "1"}):
        load.run(broker.port, options, seconds)
    found = LONGEST_TURN.search(broker.log())
    return float(found[1]) if found else None


def http_api(broker: Broker, clients: int, seconds: int) -> api.Api:
    """The HTTP API with `clients` connected, ten subscriptions each."""
    with running(broker):
        return api.measure(broker, clients, 10, seconds)


def hooks(broker: Broker) -> dict[str, float]:
    """What hooks cost in one of our variants: `hooks.measure`, in its Python, on the broker's core."""
    return in_process(broker, "hooks.py")


@dataclass
class Rules:
    """`each` is what `rules.measure` gives, nothing for a broker without rules; the others are messages a second from
    one client to another: as they are, as they are while a rule looks into each of them in vain, and by a rule that
    looks into each and republishes it."""

    each: dict[str, float]
    plain_per_s: float
    judged_per_s: float = 0.0
    by_rule_per_s: float = 0.0


def rules(broker: Broker, messages: int) -> Rules:
    """What rules cost in one of our variants; of another broker, what forwarding costs."""
    plain = _relayed(broker, messages, None, HOT)
    if not broker.http_port:
        return Rules({}, plain)
    in_vain = {"rawsql": RULE["rawsql"], "actions": [{"name": "do_nothing"}]}
    judged = _relayed(broker, messages, in_vain, COLD)
    return Rules(in_process(broker, "rules.py"), plain, judged, _relayed(broker, messages, RULE, HOT, "o/#"))


def _relayed(broker: Broker, messages: int, rule: dict[str, Any] | None, payload: bytes, arrive: str = "t/#") -> float:
    with running(broker):
        if rule is not None:
            api.Http(broker.http_port).request("POST", "/rules", json.dumps(rule).encode())
        subscriber, publisher = Client(broker.port, "subscriber"), Client(broker.port, "publisher")
        subscriber.subscribe([arrive], deadline=time.monotonic() + 30)
        frames = [publish_frame(f"t/{number % 1000:03}", payload) for number in range(messages)]
        rate = relay_rate(publisher, [subscriber], frames)
        publisher.close()
        subscriber.close()
    return rate


def in_process(broker: Broker, script: str) -> dict[str, float]:
    """What a script of this folder measures, in the Python of a variant and on the broker's core."""
    path = str(Path(__file__).resolve().with_name(script))
    environment = {**os.environ, **broker.environment}
    done = subprocess.run(
        load.pinned(load.CORES.broker, [broker.command[0], path]),
        env=environment,
        capture_output=True,
        text=True,
        cwd="/",
    )
    if done.returncode:
        raise Unavailable(done.stderr.strip().splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found
