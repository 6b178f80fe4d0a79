"""Throughput: the same workloads on every broker, in alternating rounds, so that a busy minute hits all of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import load
from brokers import Broker, Unavailable
from load import LoadFailed


@dataclass(frozen=True)
class Workload:
    """`options` are mqttload's: publishers, subscribers, topics, QoS, window (messages a publisher has under way)."""

    title: str
    options: str


WORKLOADS = [
    Workload("10 → 10 on 10 topics, QoS 0, window 100", "-P 10 -S 10 -T 10 -q 0 -w 100"),
    Workload("1 → 100, QoS 0", "-P 1 -S 100 -T 1 -q 0 -w 100"),
    Workload("1 → 1000, QoS 0", "-P 1 -S 1000 -T 1 -q 0 -w 100"),
    Workload("100 → 1, QoS 0", "-P 100 -S 1 -T 1 -q 0 -w 100"),
    Workload("10 → 10 on 10 topics, QoS 1, window 100", "-P 10 -S 10 -T 10 -q 1 -w 100"),
    Workload("100 → 100 on 100 topics, QoS 0, window 1", "-P 100 -S 100 -T 100 -q 0 -w 1"),
    Workload("100 → 100 on 100 topics, QoS 1, window 1", "-P 100 -S 100 -T 100 -q 1 -w 1"),
]


@dataclass
class Cell:
    """What one broker did in one workload, over all rounds."""

    rates: list[float] = field(default_factory=list)
    lost: int = 0
    bad: int = 0
    disconnected: int = 0
    failure: str = ""

    @property
    def rate(self) -> float:
        """Median of delivered messages a second, 0 when nothing was measured."""
        return statistics.median(self.rates) if self.rates else 0.0


Table = dict[str, dict[str, Cell]]
"""Workload title -> broker name -> what it did."""


def measure(brokers: list[Broker], rounds: int, seconds: int) -> Table:
    """Run everything. All brokers stay up throughout; the ones that wait for their turn use no time."""
    table: Table = {work.title: {broker.name: Cell() for broker in brokers} for work in WORKLOADS}
    for broker in brokers:
        broker.start()
    try:
        for broker in brokers:
            load.run(broker.port, WORKLOADS[0].options, 1)
        for turn in range(rounds):
            for work in WORKLOADS:
                for broker in brokers:
                    _once(broker, work, seconds, table[work.title][broker.name])
                print(f"  round {turn + 1}/{rounds}: {work.title}", flush=True)
    finally:
        for broker in brokers:
            broker.stop()
    return table


def _once(broker: Broker, work: Workload, seconds: int, cell: Cell) -> None:
    try:
        broker.check()
        result = load.run(broker.port, work.options, seconds)
        broker.check()
    except (LoadFailed, Unavailable) as error:
        cell.failure = str(error)
        return
    cell.rates.append(result.delivered_per_s)
    cell.lost += result.lost
    cell.bad += result.bad
    cell.disconnected += result.disconnected
