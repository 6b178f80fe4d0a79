"""What overload does to a broker and to clients that behave, with the limits of `etc/emqx.toml`.

    python benchmarks/overload.py               about four minutes; prints a table
    python benchmarks/overload.py --python PATH --slow 200 --crowd 2000

Three kinds: receivers that never read beside a fast publisher; a flood of connections; everybody who comes back at once
after a restart. Meanwhile 50 pairs of clients exchange 5000 messages a second, as they did before. The publisher
and the flood run only when neither the broker nor those 50 pairs want to (SCHED_IDLE), as if they ran on another
machine: what is measured is what the broker does to them, not who else wants the processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import brokers
import load
import psutil
from brokers import Broker, Unavailable
from client import Client, publish_frame
from crowd import Crowd
from load import LoadFailed
from report import markdown, short

ROUNDS = 3
PACED = "-P 50 -S 50 -T 50 -r 100 -w 100 -q 0"
MEGABYTE = 1e6
FAST = 1500
"""Messages a second of the one fast publisher; each of them is for all slow receivers."""
BATCH = 0.02
"""Seconds between its writes."""
FLOOD = 500
"""Sockets that the flood has open at a time; half of them never say anything."""
NEWCOMER = 0.1
"""Seconds between clients who just want to connect, during the flood."""

APART = load.Cores()
ANYWHERE = load.Cores(load=None, broker=None)


def publish(port: int, seconds: float, results: multiprocessing.Queue[float]) -> None:
    """FAST messages of a kilobyte a second, if the broker reads them so fast; gives how many it took."""
    give_way()
    client = Client(port, "publisher")
    frame = publish_frame("news", b"x" * 1024)
    begin = time.monotonic()
    sent = 0
    while (past := time.monotonic() - begin) < seconds:
        due = int(past * FAST) - sent
        client.socket.sendall(frame * due)
        sent += due
        time.sleep(BATCH)
    results.put(sent / (time.monotonic() - begin))
    client.close()


def give_way() -> None:
    """Run only when nobody else wants to. A nice value does not do that: who has just woken up waits for the slice of
    the one who runs."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def latency(*measured: load.Load) -> str:
    """p50, p99 and what was lost; of several measurements the medians, and all that was lost."""
    p50 = statistics.median(one.p50_ms for one in measured)
    p99 = statistics.median(one.p99_ms for one in measured)
    return f"{p50:.2f} / {p99:.2f} ms, {sum(one.lost for one in measured)} lost"


@dataclass
class Beside:
    """What the others measured beside slow receivers, several times."""

    before: list[load.Load] = field(default_factory=list)
    meanwhile: list[load.Load] = field(default_factory=list)
    ending: list[load.Load] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    kernel: int = 0
    left: int = 0


def slow_receivers(broker: Broker, count: int, seconds: int) -> list[list[str]]:
    """Receivers that never read, one fast publisher, and the others; the medians of ROUNDS times all that. Broker and
    load have a core each."""
    found = Beside()
    load.run(broker.port, PACED, 1)
    for _ in range(ROUNDS):
        beside_slow(broker, count, seconds, found)
    ratio = statistics.median(one.p99_ms for one in found.meanwhile) / statistics.median(
        one.p99_ms for one in found.before
    )
    return [
        [f"{count:,} slow receivers: others' p50 / p99, before", latency(*found.before)],
        [f"meanwhile (p99 x {ratio:.1f})", latency(*found.meanwhile)],
        ["while all slow ones are cut by `send_timeout`", latency(*found.ending)],
        ["messages a second taken from the publisher", f"{statistics.median(found.rates):,.0f} of {FAST:,}"],
        ["memory: connected / half way / before they are cut", mega(*found.memory)],
        ["memory of the kernel for them", mega(found.kernel)],
        ["connections of slow ones that are left afterwards", f"{found.left:,}"],
    ]


def beside_slow(broker: Broker, count: int, seconds: int, found: Beside) -> None:
    """Once. The slow ones are full at once and are cut 15 s (`send_timeout`) later, in the third measurement."""
    files = open_files(broker)
    found.before.append(load.run(broker.port, PACED, seconds))
    kernel = tcp_memory()
    slow = [Client(broker.port, f"slow-{number}", receive_buffer=4096) for number in range(count)]
    for client in slow:
        client.subscribe(["news"])
    memory = [broker.rss()]
    results: multiprocessing.Queue[float] = multiprocessing.Queue()
    publisher = multiprocessing.Process(target=publish, args=(broker.port, 3 * seconds + 4, results))
    publisher.start()
    time.sleep(1)
    for _ in range(2):
        found.meanwhile.append(load.run(broker.port, PACED, seconds))
        memory.append(broker.rss())
    found.kernel = tcp_memory() - kernel
    found.ending.append(load.run(broker.port, PACED, seconds))
    found.rates.append(results.get())
    publisher.join()
    wait(lambda: open_files(broker) <= files + 5)
    found.left = open_files(broker) - files
    found.memory = memory
    for client in slow:
        client.close()


def flood(port: int, ended: Event, results: multiprocessing.Queue[float]) -> None:
    """Connect as fast as the broker accepts, and leave at once; gives connections a second."""
    give_way()
    begin = time.monotonic()
    done = number = 0
    while not ended.is_set():
        silent = Crowd(port, f"silent-{number}", FLOOD // 2)
        silent.open(say=False)
        crowd = Crowd(port, f"flood-{number}", FLOOD // 2)
        done += crowd.connect(30).connected + silent.opened
        crowd.close()
        silent.close()
        number += 1
    results.put(done / (time.monotonic() - begin))


def connections(broker: Broker, seconds: int) -> list[list[str]]:
    """A flood of connections, those who want to come in beside it, and the others."""
    files = open_files(broker)
    before, memory = load.run(broker.port, PACED, seconds), broker.rss()
    ended = multiprocessing.Event()
    results: multiprocessing.Queue[float] = multiprocessing.Queue()
    flooding = multiprocessing.Process(target=flood, args=(broker.port, ended, results))
    flooding.start()
    time.sleep(1)
    newcomers: list[float] = []
    over = threading.Event()
    thread = threading.Thread(target=come, args=(broker.port, over, newcomers))
    thread.start()
    during = load.run(broker.port, PACED, 2 * seconds)
    over.set()
    thread.join()
    grown = broker.rss() - memory
    ended.set()
    rate = results.get()
    flooding.join()
    wait(lambda: open_files(broker) <= files + 5)
    return [
        ["flood of connections: others' p50 / p99, before", latency(before)],
        ["meanwhile", latency(during)],
        ["connections a second", f"{rate:,.0f} (`max_conn_rate` 1,000)"],
        [f"CONNECT of {len(newcomers)} who behave, p50 / p95", millis(newcomers, 0.5, 0.95)],
        ["memory grown", f"{grown / MEGABYTE:.0f} MB"],
        ["files open more than before, afterwards", str(open_files(broker) - files)],
    ]


def come(port: int, over: threading.Event, took: list[float]) -> None:
    """Connect and leave, in peace, again and again."""
    while not over.is_set():
        begin = time.monotonic()
        Client(port, f"newcomer-{len(took)}").close()
        took.append(time.monotonic() - begin)
        time.sleep(NEWCOMER)


def storm(broker: Broker, count: int, seconds: int) -> list[list[str]]:
    """Clients with sessions on disk, a restart, and all of them at once."""
    crowd = Crowd(broker.port, "crowd", count, kept=True)
    joined = crowd.connect(120)
    if joined.connected < count:
        raise LoadFailed(f"{joined.connected:,} of {count:,} clients were connected within two minutes")
    crowd.subscribe()
    before, memory = load.run(broker.port, PACED, seconds), broker.rss()
    broker.stop()
    crowd.close()
    broker.start()
    others: list[load.Load] = []
    thread = threading.Thread(target=lambda: others.append(load.run(broker.port, PACED, 3 * seconds)))
    thread.start()
    time.sleep(1)
    back = crowd.connect(120)
    thread.join()
    after, again = load.run(broker.port, PACED, seconds), broker.rss()
    crowd.close()
    what = f"{count:,} clients come back after a restart"
    return [
        [f"{what}: others' p50 / p99, before", latency(before)],
        ["meanwhile", latency(others[0])],
        ["afterwards", latency(after)],
        ["connected, with their sessions", f"{back.connected:,}, {back.present:,}"],
        [
            "half of them / all of them after",
            f"{back.half:.1f} / {back.last:.1f} s (the first time {joined.last:.1f} s)",
        ],
        ["attempts that failed and were repeated", f"{back.repeated:,}"],
        ["memory before / afterwards", mega(memory, again)],
    ]


def tcp_memory() -> int:
    """Bytes that the kernel holds for TCP, on the whole machine."""
    found = re.search(r"TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text())
    return int(found[1]) * resource.getpagesize() if found else 0


def open_files(broker: Broker) -> int:
    """Descriptors of its process."""
    assert broker.process is not None
    return int(psutil.Process(broker.process.pid).num_fds())


def wait(until: Callable[[], bool], patience: float = 20) -> None:
    """Until something is so, or patience is over."""
    end = time.monotonic() + patience
    while not until() and time.monotonic() < end:
        time.sleep(0.1)


def mega(*sizes: int) -> str:
    """Sizes in megabytes."""
    return " / ".join(f"{size / MEGABYTE:.0f}" for size in sizes) + " MB"


def millis(seconds: list[float], *shares: float) -> str:
    """Percentiles."""
    ordered = sorted(seconds)
    return " / ".join(f"{ordered[int((len(ordered) - 1) * share)] * 1000:.0f}" for share in shares) + " ms"


def use(cores: load.Cores) -> None:
    """Tie what is started from now on, and this process, to these cores."""
    load.CORES.broker, load.CORES.load = cores.broker, cores.load
    os.sched_setaffinity(0, range(os.cpu_count() or 1) if cores.load is None else {cores.load})


def measure(broker: Broker, options: argparse.Namespace) -> list[list[str]]:
    """Rows of the table; each kind has a broker of its own."""
    rows = []
    for kind, cores in (
        (partial(slow_receivers, broker, options.slow, options.seconds), APART),
        (partial(connections, broker, options.seconds), ANYWHERE),
        (partial(storm, broker, options.crowd, options.seconds), ANYWHERE),
    ):
        use(cores)
        broker.start()
        try:
            rows += kind()
            broker.check()
        finally:
            broker.stop()
    return rows


def main() -> int:
    """Measure and print; 1 when it cannot be done here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with trioemqx compiled")
    parser.add_argument("--slow", type=int, default=1000, help="receivers that never read")
    parser.add_argument("--crowd", type=int, default=10_000, help="clients that come back")
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement")
    options = parser.parse_args()
    brokers.raise_file_limit()
    options.crowd = min(options.crowd, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    try:
        broker = brokers.ours("overload", options.python, brokers.free_port(), native=True, config=brokers.SHIPPED)
        rows = measure(broker, options)
    except (Unavailable, LoadFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown([f"others: 50 pairs, {short(5000)} messages/s", "compiled"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
