"""Metrics (counters since the start) and stats (gauges, with the highest value since the start)."""

from __future__ import annotations

from typing import Final

from trioemqx.services.web import Call, get
from trioemqx.services.web.schema import NODE, WHOLE, record, rows, table

NUMBERS: Final = table(WHOLE)


def all_metrics(call: Call) -> object:
    """One entry per running node."""
    return [{"node": call.host.node, "metrics": call.host.metrics}]


def node_metrics(call: Call) -> object:
    """One node's, by name."""
    return call.host.metrics


def all_stats(call: Call) -> object:
    """One entry per running node."""
    return [{"node": call.host.node, "stats": call.host.stats()}]


def node_stats(call: Call) -> object:
    """One node's, by name."""
    return call.host.stats()


ENDPOINTS = (
    get("/metrics", all_metrics, name="list_all_metrics", descr="A list of metrics of all nodes in the cluster",
        group="metrics", data=rows(record({"node": NODE, "metrics": NUMBERS}))),
    get("/nodes/{node}/metrics", node_metrics, name="list_node_metrics", descr="A list of metrics of a node",
        group="metrics", data=NUMBERS),
    get("/stats", all_stats, name="list_stats", descr="A list of stats of all nodes in the cluster", group="stats",
        listed="/stats/", data=rows(record({"node": NODE, "stats": NUMBERS}))),
    get("/nodes/{node}/stats", node_stats, name="lookup_node_stats", descr="A list of stats of a node", group="stats",
        listed="/nodes/:node/stats/", data=NUMBERS),
)  # fmt: skip
