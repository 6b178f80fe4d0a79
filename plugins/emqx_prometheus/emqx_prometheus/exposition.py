"""What Prometheus is shown, by EMQX's names, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

Value = int | float

RENAMED: Final = {"packets.connect.received": "emqx_packets_connect"}
FALLING: Final = frozenset({"messages.retained", "messages.delayed"})
"""Metrics that are gauges: they say how many there are."""
HIDDEN: Final = frozenset({"client.connect", "client.connack"})
"""Counters that EMQX does not show to Prometheus; nor the gauges of channels, which are those of sessions."""
TEXT_ONLY: Final = frozenset(
    {"client.acl.allow", "client.acl.deny", "client.acl.cache_hit", "client.auth.success", "client.auth.failure"}
)
GROUPS: Final = {
    "bytes": "packets",
    "packets": "packets",
    "messages": "messages",
    "delivery": "delivery",
    "client": "client",
    "session": "session",
}
"""Of the JSON: where counters are, by the first word of their names. Beside these there are `stats`, and `metrics` with
the gauges of the machine."""

MACHINE: Final = {
    "cpu_use": "Busy share of all processors, percent",
    "cpu_idle": "Idle share of all processors, percent",
    "run_queue": "Tasks that are ready to run",
    "process_messages_in_queues": "Messages that wait in the queues of sessions",
    "total_memory": "Memory of the machine, bytes",
    "used_memory": "Memory in use on the machine, bytes",
}
CLUSTER: Final = {"nodes_running": "Nodes of the cluster that run", "nodes_stopped": "Nodes of the cluster that do not"}

_ALLOWED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@attrs.frozen
class Sample:
    """One metric. `name` is Prometheus' one, `kind` is `gauge` or `counter`, `group` where it is in the JSON, if at
    all."""

    name: str
    kind: str
    help: str
    value: Value
    group: str = ""


def samples(
    stats: Mapping[str, int], metrics: Mapping[str, int], machine: Mapping[str, Value], cluster: Mapping[str, int]
) -> list[Sample]:
    """Everything, each name once: of two that differ only in characters that Prometheus does not have the first."""
    found: dict[str, Sample] = {}
    machine_gauges = _gauges("vm", MACHINE, machine, "metrics")
    for sample in (*_stats(stats), *_counters(metrics), *machine_gauges, *_gauges("cluster", CLUSTER, cluster)):
        found.setdefault(sample.name, sample)
    return list(found.values())


def _stats(stats: Mapping[str, int]) -> Iterator[Sample]:
    for source, value in stats.items():
        if not source.startswith("channels."):
            yield Sample(name_of(source), "gauge", f"EMQX stat {source}", value, "stats")


def _counters(metrics: Mapping[str, int]) -> Iterator[Sample]:
    for source, value in metrics.items():
        if source not in HIDDEN:
            kind = "gauge" if source in FALLING else "counter"
            group = "" if source in TEXT_ONLY else GROUPS.get(source.partition(".")[0], "")
            yield Sample(name_of(source), kind, f"EMQX metric {source}", value, group)


def _gauges(prefix: str, texts: Mapping[str, str], values: Mapping[str, Value], group: str = "") -> Iterator[Sample]:
    for name, value in values.items():
        yield Sample(f"emqx_{prefix}_{name}", "gauge", texts[name], value, group)


def name_of(source: str) -> str:
    """`packets.received` is `emqx_packets_received`; what has no place in a name becomes `_`."""
    if source in RENAMED:
        return RENAMED[source]
    return "emqx_" + "".join(letter if letter in _ALLOWED else "_" for letter in source)


def text(found: Iterable[Sample]) -> str:
    """Prometheus' text format, version 0.0.4."""
    lines = []
    for sample in found:
        told = sample.help.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"# HELP {sample.name} {told}\n# TYPE {sample.name} {sample.kind}\n{sample.name} {sample.value}\n")
    return "".join(lines)


def groups(found: Iterable[Sample]) -> dict[str, dict[str, Value]]:
    """The same by EMQX's groups, without what EMQX's JSON does not have: the cluster, and counters of plugins."""
    grouped: dict[str, dict[str, Value]] = {group: {} for group in ("stats", "metrics", *GROUPS.values())}
    for sample in found:
        if sample.group:
            grouped[sample.group][sample.name] = sample.value
    return grouped
