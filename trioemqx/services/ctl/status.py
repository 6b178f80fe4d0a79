"""`status` and `broker`: that it runs, since when, and every figure it counts."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping

import trio

from trioemqx.services.commands import Commands
from trioemqx.services.ctl.facade import CtlNode, Family
from trioemqx.services.systopics import DESCRIPTION, format_datetime, format_uptime


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Status(node)
    Family(commands, "status").add("", of.status, help="Show broker status", data=of.status_data)
    family = Family(commands, "broker")
    family.add("", of.broker, help="Show broker version, uptime and description", data=of.broker_data)
    family.add("stats", of.stats, help="Show broker statistics of clients, topics, subscribers", data=node.stats)
    family.add("metrics", of.metrics, help="Show broker metrics", data=lambda: node.metrics)


class Status:
    """What the node says about itself."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def status(self) -> str:
        """`Node 'emqx@127.0.0.1' 0.1.0 is started`"""
        return f"Node '{self._node.node}' {self._node.version} is {self._state()}"

    def status_data(self) -> dict[str, object]:
        """The same for programs."""
        return {"node": self._node.node, "version": self._node.version, "status": self._state()}

    def _state(self) -> str:
        """There is no control socket before the broker has started."""
        return "stopping" if self._node.stopping.is_set() else "started"

    def broker(self) -> Iterator[str]:
        """Four lines, in EMQX's order."""
        row = self.broker_data()
        return (f"{key:<10}: {row[key]}" for key in ("sysdescr", "version", "uptime", "datetime"))

    def broker_data(self) -> dict[str, object]:
        """A broker as the HTTP API has it. `otp_release` tells what it runs on."""
        node = self._node
        return {
            "node": node.node,
            "node_status": "Running",
            "version": node.version,
            "sysdescr": DESCRIPTION,
            "otp_release": f"Python {platform.python_version()}/trio {trio.__version__}",
            "uptime": format_uptime(node.uptime()),
            "datetime": format_datetime(node.wall()),
        }

    def stats(self) -> Iterator[str]:
        """Every gauge."""
        return figures(self._node.stats())

    def metrics(self) -> Iterator[str]:
        """Every counter."""
        return figures(self._node.metrics)


def figures(values: Mapping[str, int]) -> Iterator[str]:
    """`connections.count             : 3`, sorted."""
    return (f"{name:<30}: {value}" for name, value in sorted(values.items()))
