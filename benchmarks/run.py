"""Measures trioemqx beside other brokers on this machine and writes RESULTS.md.

    python benchmarks/run.py                      all of it: compiled, interpreted, mosquitto; about 25 minutes
    python benchmarks/run.py --quick              a smoke run of two minutes; RESULTS.md stays as it is
    python benchmarks/run.py --aedes --amqtt      more peers (from npm and PyPI, into benchmarks/.build)
    python benchmarks/run.py --only throughput,latency --brokers compiled,mosquitto

Needs a C compiler for the load generator, psutil, and two cores that are otherwise idle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import brokers
import probes
import report
import retained
import workloads
from brokers import CHECKOUT, Broker, Unavailable
from load import HERE, LoadFailed

SECTIONS = [
    "throughput",
    "connections",
    "latency",
    "subscriptions",
    "stuck",
    "turns",
    "hooks",
    "rules",
    "api",
    "retained",
]
OURS = ["compiled", "interpreted"]


def arguments() -> argparse.Namespace:
    """The command line."""
    venv = CHECKOUT / ".venv/bin/python"
    python = venv if venv.exists() else Path(sys.executable)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, small counts, no RESULTS.md")
    parser.add_argument("--rounds", type=int, help="rounds of the throughput table (3)")
    parser.add_argument("--seconds", type=int, help="length of one measurement (4)")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections, of {','.join(SECTIONS)}")
    parser.add_argument("--brokers", help="names, of compiled,interpreted,mosquitto,aedes,amqtt")
    parser.add_argument("--aedes", action="store_true", help="measure aedes too")
    parser.add_argument("--amqtt", action="store_true", help="measure amqtt too")
    parser.add_argument("--compiled-python", type=Path, default=python, help="interpreter with trioemqx installed")
    parser.add_argument("--interpreted-python", type=Path, default=python, help="interpreter with its dependencies")
    parser.add_argument("--output", type=Path, help="where the report goes (benchmarks/RESULTS.md)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.sections = options.only.split(",")
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}")
    return options


def find_brokers(options: argparse.Namespace) -> list[Broker]:
    """Every broker that was asked for and that this machine has; what is missing is said."""
    makers: dict[str, Callable[[int], Broker]] = {
        "mosquitto": brokers.mosquitto,
        "compiled": lambda port: brokers.ours("compiled", options.compiled_python, port, native=True),
        "interpreted": lambda port: brokers.ours("interpreted", options.interpreted_python, port, native=False),
        "aedes": brokers.aedes,
        "amqtt": brokers.amqtt,
    }
    wanted = options.brokers.split(",") if options.brokers else ["mosquitto", *OURS]
    wanted += [name for name in ("aedes", "amqtt") if getattr(options, name) and name not in wanted]
    found = []
    for name in wanted:
        try:
            broker = makers[name](brokers.free_port())
            broker.start()
            broker.stop()
            found.append(broker)
        except Unavailable as error:
            print(f"not measured: {error}", file=sys.stderr)
    return found


Result = TypeVar("Result")


def each(found: list[Broker], what: str, probe: Callable[[Broker], Result]) -> dict[str, Result]:
    """Run one probe on every broker; one that fails is left out, and said."""
    results = {}
    for broker in found:
        print(f"  {what}: {broker.name}", flush=True)
        try:
            results[broker.name] = probe(broker)
        except (Unavailable, LoadFailed, OSError) as error:
            print(f"  {what}: {broker.name} failed: {error}", file=sys.stderr)
    return results


def subscription_steps(broker: Broker, options: argparse.Namespace) -> list[probes.Subscriptions]:
    """The steps of the subscription probe; a broker that failed one is spared the larger ones of that kind."""
    steps = [("exact", 1), ("exact", 1000), ("exact", 1_000_000), ("wildcard", 1000), ("wildcard", 100_000)]
    messages = 20_000 if options.quick else 200_000
    done: list[probes.Subscriptions] = []
    for kind, count in steps:
        if any(one.failure and one.kind == kind for one in done):
            continue
        count = min(count, 20_000) if options.quick else count
        done.append(probes.subscriptions(broker, kind, count, messages, options.seconds))
    return done


def measure(found: list[Broker], options: argparse.Namespace) -> list[str]:
    """All sections asked for, as Markdown."""
    connections, backlog = (500, 20) if options.quick else (5000, 200)
    seconds = options.seconds
    mine = [broker for broker in found if broker.name in OURS]
    sections: dict[str, Callable[[], str]] = {
        "throughput": lambda: report.throughput(workloads.measure(found, options.rounds, seconds), found),
        "connections": lambda: report.connections(
            each(found, "connections", lambda broker: probes.connections(broker, connections)), connections
        ),
        "latency": lambda: report.latency(each(found, "latency", lambda broker: probes.latency(broker, 2 * seconds))),
        "subscriptions": lambda: report.subscriptions(
            each(found, "subscriptions", lambda broker: subscription_steps(broker, options))
        ),
        "stuck": lambda: report.stuck(
            each(found, "stuck receiver", lambda broker: probes.stuck_receiver(broker, backlog, seconds)), backlog
        ),
        "api": lambda: report.http_api(
            each(mine, "HTTP API", lambda broker: probes.http_api(broker, 1000 if options.quick else 10_000, seconds)),
            1000 if options.quick else 10_000,
        ),
        "hooks": lambda: report.hooks(each(mine, "hooks", probes.hooks)),
        "rules": lambda: report.rules(
            each(found, "rules", lambda broker: probes.rules(broker, 20_000 if options.quick else 200_000))
        ),
        "retained": lambda: report.retained(
            each(
                found,
                "retained",
                lambda broker: retained.measure(
                    broker, 20_000 if options.quick else 1_000_000, 2 * seconds, broker.name in OURS
                ),
            )
        ),
        "turns": lambda: report.turns(each(mine, "longest turn", lambda broker: longest_turns(broker, seconds))),
    }
    written = []
    for name in options.sections:
        if name in ("turns", "hooks", "rules", "api") and not mine:
            continue
        written.append(sections[name]())
        print("\n" + written[-1], flush=True)
    return written


def longest_turns(broker: Broker, seconds: int) -> dict[str, float | None]:
    """The longest turn in each workload."""
    return {title: probes.longest_turn(broker, options, seconds) for title, options in probes.UNDER_FULL_LOAD.items()}


def main() -> int:
    """Measure and report; 1 when there is nothing to measure."""
    options = arguments()
    brokers.raise_file_limit()
    found = find_brokers(options)
    if not found:
        return 1
    text = "\n".join([report.heading(found, options.rounds, options.seconds), *measure(found, options)])
    output = options.output or (None if options.quick else HERE / "RESULTS.md")
    if output is not None:
        output.write_text(text)
        print(f"written to {output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
