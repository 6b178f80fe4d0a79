"""Tables of results, as Markdown that also reads well in a terminal."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path

import load
from api import Api
from brokers import Broker
from probes import Connections, Rules, Stuck, Subscriptions
from retained import DEAF, Retained
from workloads import Cell, Table

REFERENCE = "mosquitto"


def short(value: float) -> str:
    """A figure with as many digits as it deserves: 1.24 M, 312 k, 940."""
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e5:
        return f"{value / 1e3:.0f} k"
    if value >= 1e3:
        return f"{value / 1e3:.1f} k"
    return f"{value:.0f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in plain text too; all but the first are aligned to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 2) if not at else "-" * (width + 1) + ":" for at, width in enumerate(widths))
    return "\n".join([line(head), rule + "|", *map(line, rows)])


def machine() -> str:
    """What all this ran on."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = cpu[1].strip() if cpu else platform.processor()
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}"


def heading(brokers: Sequence[Broker], rounds: int, seconds: int) -> str:
    """What was measured, on what, when, and how to read it."""
    versions = "\n".join(f"- {broker.name}: {broker.version}" for broker in brokers)
    return f"""\
# Benchmark results

Written by `benchmarks/run.py` on {time.strftime("%Y-%m-%d")}.

Machine: {machine()}. Load generator on core {load.CORES.load}, each broker on core {load.CORES.broker}, payload
64 bytes, {rounds} alternating rounds of {seconds} s, medians. Figures of a shared machine swing: read the columns
against each other.

{versions}

All brokers run without limits of inflight and queued messages and without writing to disk. mosquitto runs with
`set_tcp_nodelay` where latency is measured and without (its default, better for throughput) elsewhere. *compiled* and
*interpreted* are the same sources of trioemqx.
"""


def throughput(table: Table, brokers: Sequence[Broker]) -> str:
    """Deliveries a second, with the ratio to the reference, and what was lost."""
    rows = []
    for title, cells in table.items():
        base = cells[REFERENCE].rate if REFERENCE in cells else 0.0
        lost = [f"{name} {cell.lost}" for name, cell in cells.items() if cell.lost]
        lost += [f"{name} {cell.bad} malformed" for name, cell in cells.items() if cell.bad]
        rows.append([title, *(_cell(cells[broker.name], broker, base) for broker in brokers), ", ".join(lost) or "0"])
    head = ["delivered/s (× mosquitto)", *(broker.name for broker in brokers), "lost"]
    return f"## Throughput\n\n{markdown(head, rows)}\n"


def _cell(cell: Cell, broker: Broker, base: float) -> str:
    if not cell.rates:
        return "failed"
    ratio = f" ({cell.rate / base:.2f})" if base and broker.name != REFERENCE else ""
    cut = f", {cell.disconnected} cut off" if cell.disconnected else ""
    return short(cell.rate) + ratio + cut


def connections(results: dict[str, Connections], count: int) -> str:
    """Connect rate and memory of idle connections."""
    rows = [[name, short(one.per_s), short(one.bytes_each)] for name, one in results.items()]
    return f"## {count} idle connections\n\n{markdown(['broker', 'connects/s', 'bytes each'], rows)}\n"


def latency(results: dict[str, load.Load]) -> str:
    """Latency at a fixed rate."""
    rows = [
        [name, f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}", f"{one.max_ms:.1f}", str(one.lost)]
        for name, one in results.items()
    ]
    head = ["broker", "p50 ms", "p99 ms", "max ms", "lost"]
    return f"## Latency at 5000 messages/s (50 × 100/s)\n\n{markdown(head, rows)}\n"


def subscriptions(results: dict[str, list[Subscriptions]]) -> str:
    """Cost against the number of subscriptions."""
    rows = [
        [f"{name}, {one.count:,} {one.kind}"]
        + (
            [one.failure.splitlines()[0][:60], "", "", ""]
            if one.failure
            else [
                short(one.spread_per_s),
                short(one.beside_per_s),
                short(one.bytes_each) if one.count >= 1000 else "–",
                short(one.subscribed_per_s) if one.count >= 1000 else "–",
            ]
        )
        for name, many in results.items()
        for one in many
    ]
    head = ["subscriptions", "spread over them/s", "ten other topics/s", "bytes each", "subscribed/s"]
    about = "Spread: every message to another topic, chosen at random, with its one subscriber; one publisher."
    return f"## Cost against the number of subscriptions\n\n{about}\n\n{markdown(head, rows)}\n"


def stuck(results: dict[str, Stuck], megabytes: int) -> str:
    """Others' latency with a stuck receiver."""
    rows = [
        [
            name,
            _quantiles(one.before),
            _quantiles(one.behind),
            f"{one.grown / 2**20:.0f} MB",
            "kept" if one.kept else "closed",
            f"{one.held / 2**20:.0f} MB",
        ]
        for name, one in results.items()
    ]
    head = ["broker", "p50 / p99 ms before", "behind the backlog", "memory grown", "stuck client", "backlog held"]
    return f"## One receiver that never reads, {megabytes} MB behind\n\n{markdown(head, rows)}\n"


def _quantiles(measured: load.Load) -> str:
    if measured.lost:
        return f"{measured.lost} not delivered"
    return f"{measured.p50_ms:.3f} / {measured.p99_ms:.3f}"


def turns(results: dict[str, dict[str, float | None]]) -> str:
    """Longest time between two checkpoints of our event loop."""
    workloads = list(next(iter(results.values())))
    rows = [
        [name, *("–" if one[title] is None else f"{one[title]:.1f}" for title in workloads)]
        for name, one in results.items()
    ]
    about = "0.0: no turn used up its slice. Other work on the broker's core counts as well."
    table = markdown(["broker", *workloads], rows)
    return f"## Longest turn of the event loop under full load, ms\n\n{about}\n\n{table}\n"


def hooks(results: dict[str, dict[str, float]]) -> str:
    """What plugins at `message.publish` cost."""
    rows = []
    for name, found in results.items():
        bare = found["0"]
        cells = [f"{found[count]:.0f} (+{found[count] - bare:.0f})" for count in ("1", "3", "10")]
        rows.append([name, f"{found['test']:.0f}", f"{bare:.0f}", *cells])
    about = "Inside the broker, to one subscriber, without reading and writing. A hook does nothing but return."
    head = ["broker", "look at an empty point, from Python", "no hook", "one hook", "three", "ten"]
    return f"## Hooks on message.publish, ns per message\n\n{about}\n\n{markdown(head, rows)}\n"


def rules(results: dict[str, Rules]) -> str:
    """What rules cost."""
    cases = list(next(found.each for found in results.values() if found.each))
    rows = []
    for name, found in results.items():
        cells = ["–"] * len(cases)
        relayed = short(found.plain_per_s)
        if found.each:
            bare = found.each["idle"]
            cells = [f"{bare:.1f}", *(f"{found.each[case]:.1f} (+{found.each[case] - bare:.1f})" for case in cases[1:])]
            relayed += f" / {short(found.judged_per_s)} / {short(found.by_rule_per_s)}"
        rows.append([name, *cells, relayed])
    about = (
        "µs per message inside the broker, to nobody, without reading and writing. `elsewhere`: 1000 rules on other "
        "topics. The others: one with `WHERE payload.temp > 20`, which is false (`filtered`) or republishes "
        "(`matching`). Last: messages a second from one client to another: as they are, as they are while such a rule "
        "looks into each of them in vain, and republished by such a rule."
    )
    head = ["broker", "no rule", *cases[1:], "relayed: plain / judged / by a rule"]
    return f"## Rules\n\n{about}\n\n{markdown(head, rows)}\n"


def http_api(results: dict[str, Api], clients: int) -> str:
    """Lists and publishing by HTTP, and what MQTT notices of it."""
    titles = list(next(iter(results.values())).lists) if results else []
    lists = [
        [title, *(f"{one.lists[title][0]:.1f} / {one.lists[title][1]:.1f}" for one in results.values())]
        for title in titles
    ]
    rows = [
        [
            name,
            short(one.single_per_s),
            short(one.batch_per_s),
            f"{short(one.quiet_per_s)} / {short(one.pulled_per_s)}",
            f"{one.quiet.p99_ms:.2f} / {one.pulled.p99_ms:.2f}",
            f"{one.quiet.max_ms:.1f} / {one.pulled.max_ms:.1f}",
            f"{one.quiet_wait:.1f} / {one.pulled_wait:.1f}",
        ]
        for name, one in results.items()
    ]
    head = [
        "broker",
        "POST /mqtt/publish, requests/s",
        "publish_batch of 100, messages/s",
        "MQTT 10 → 10 messages/s, alone / with five lists a second",
        "MQTT p99 ms at 5000/s, alone / with lists",
        "slowest of them, ms",
        "slowest PINGRESP, ms",
    ]
    about = f"{clients:,} clients connected, ten subscriptions each; one kept-alive connection."
    return (
        f"## The HTTP API\n\n{about}\n\nLists: median / slowest of 30, ms.\n\n"
        f"{markdown(['list', *results], lists)}\n\n{markdown(head, rows)}\n"
    )


def retained(results: dict[str, Retained]) -> str:
    """Many retained messages, and one who wants them all beside others who have work to do."""
    rows = [
        [
            name,
            short(one.fill_per_s),
            f"{one.start:.1f}" if one.start else "–",
            short(one.bytes_each),
            f"{one.first * 1000:.1f} / {one.last:.1f}",
            f"{one.alone.p99_ms:.2f} / {one.beside.p99_ms:.2f} ({one.beside.max_ms:.1f})",
            f"{one.walks:.1f}",
            f"{one.deaf_bytes / DEAF / 1024:.0f} KiB",
            "–" if one.longest is None else f"{one.longest:.1f}",
        ]
        for name, one in results.items()
    ]
    head = [
        "broker",
        "filled/s",
        "start with them, s",
        "bytes each",
        "`#`: first, ms / last, s",
        "p99 ms of others, alone / beside walks (max)",
        "walks meanwhile",
        "a deaf receiver",
        "longest turn, ms",
    ]
    count = next(iter(results.values())).count if results else 0
    about = (
        f"{count:,} topics with 64 bytes each, published at QoS 1. A walk is somebody who subscribes to all of them; "
        "the others send 5000 messages a second."
    )
    return f"## Retained messages\n\n{about}\n\n{markdown(head, rows)}\n"
