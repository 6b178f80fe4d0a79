"""What it costs that sessions outlive the broker: QoS 1 into sessions that are kept, by level of `store.sync`.

    python benchmarks/durable.py            about two minutes; prints a table
    python benchmarks/durable.py --python PATH --seconds 2 --rounds 1

50 publishers with 20 messages under way each, every message to one subscriber with a session of its own; beside it the
same traffic among sessions without expiry. mosquitto runs with `persistence true` and its other defaults: it writes its
database now and then, not before it acknowledges. The broker may use both cores, since the store has a thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import brokers
import load
from brokers import Broker, Unavailable
from load import LoadFailed
from report import markdown, short

WORK = "-P 50 -S 50 -T 50 -q 1 -w 20"
LEVELS = ("full", "normal", "memory")


def find_brokers(python: Path) -> list[Broker]:
    """trioemqx once for each level, and mosquitto; what is missing is said."""
    found: list[Broker] = []
    for level in LEVELS:
        broker = brokers.ours(f"store.sync = {level}", python, brokers.free_port(), native=True)
        config = broker.home / "emqx.toml"
        config.write_text(f'{config.read_text()}\n[store]\nsync = "{level}"\n')
        found.append(broker)
    try:
        peer = brokers.mosquitto(brokers.free_port())
    except Unavailable as error:
        print(f"not measured: {error}", file=sys.stderr)
        return found
    config = peer.home / "mosquitto.conf"
    config.write_text(config.read_text().replace("persistence false", "persistence true"))
    return [*found, peer]


def measure(found: list[Broker], rounds: int, seconds: int) -> list[list[str]]:
    """A row for each broker: medians of delivered messages a second and of p99, and what was lost."""
    rows = []
    for broker in found:
        kept, clean = [], []
        broker.start()
        try:
            for _ in range(rounds):
                kept.append(load.run(broker.port, f"{WORK} -K", seconds))
                clean.append(load.run(broker.port, WORK, seconds))
        finally:
            broker.stop()
        rows.append(
            [
                broker.name,
                short(statistics.median(one.delivered_per_s for one in kept)),
                f"{statistics.median(one.p99_ms for one in kept):.1f} ms",
                short(statistics.median(one.delivered_per_s for one in clean)),
                str(sum(one.lost for one in kept + clean)),
            ]
        )
    return rows


def main() -> int:
    """Measure and print; 1 when it cannot be done here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with trioemqx compiled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    load.CORES.broker = None
    try:
        rows = measure(find_brokers(options.python), options.rounds, options.seconds)
    except (Unavailable, LoadFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown(["QoS 1, 50 → 50, window 20", "kept sessions/s", "p99", "without expiry/s", "lost"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
