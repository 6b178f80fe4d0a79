"""Metrics for Prometheus: as text or JSON for who asks, and pushed to a gateway."""

from __future__ import annotations

from typing import ClassVar

import trio

from trioemqx.plugin import ApiError, Call, Param, PlainText, Plugin, get, schema

from .exposition import GROUPS, Sample, Value, groups, samples, text
from .machine import Machine
from .push import CONTENT_TYPE, Gateway
from .settings import Config

TYPES = ("json", "prometheus")
ANSWER = schema.record(dict.fromkeys(("stats", "metrics", *GROUPS.values()), schema.table(schema.NUMBER)))


class Prometheus(Plugin[Config]):
    """Reads the broker's counters and gauges when somebody asks."""

    prefix = ("prometheus",)
    content_type: ClassVar[str] = CONTENT_TYPE
    """Of `render_text`."""

    async def start(self) -> None:
        """Get ready; nothing is asked of the gateway yet."""
        self._machine = Machine()
        self._nodes = {self.context.broker.node: True}
        self._gateway: Gateway | None = None
        if self.config.push.gateway.server:
            self._gateway = Gateway(self.config, self.context, self.render_text)
        if self.config.collector:
            self.log.warning("prometheus.collector: Erlang modules cannot be called; not used")
        self.context.command("prometheus show", self.render_text, help="Show what Prometheus is shown")
        kind = Param("type", enum=TYPES, doc="`prometheus`: text for Prometheus.", default="json")
        self.context.http.serve(
            get("/emqx_prometheus", self._show, name="stats", descr="Get emqx all stats info", group="prometheus",
                query=(kind,), data=ANSWER, codes=(108,), anonymous=True)
        )  # fmt: skip

    def _show(self, call: Call) -> object:
        """What Prometheus asks for."""
        kind = call.get("type", "json")
        if kind not in TYPES:
            raise ApiError(108, "bad_params")
        return self.render_json() if kind == "json" else PlainText(self.render_text(), content_type=self.content_type)

    def render_text(self) -> str:
        """Everything in Prometheus' text format."""
        return text(self._samples())

    def render_json(self) -> dict[str, dict[str, Value]]:
        """`data` of EMQX's JSON answer: groups `stats`, `metrics`, `packets`, `messages`, `delivery`, `client`,
        `session`, each with values by name."""
        return groups(self._samples())

    def _samples(self) -> list[Sample]:
        metrics = self.context.metrics
        running = sum(self._nodes.values())
        cluster = {"nodes_running": running, "nodes_stopped": len(self._nodes) - running}
        return samples(metrics.stats(), metrics.values(), self._machine.read(), cluster)

    # -- in the background -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the cluster, count what waits, push."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_nodes)
            nursery.start_soon(self._count_queued)
            if self._gateway is not None:
                nursery.start_soon(self._gateway.run)

    async def _follow_nodes(self) -> None:
        async for node, up in self.context.broker.members():
            self._nodes[node] = up

    async def _count_queued(self) -> None:
        while True:
            self._machine.queued = await self.context.broker.queued()
            await trio.sleep(self.config.seconds)

    async def stop(self) -> None:
        """Close the connection to the gateway."""
        if self._gateway is not None:
            await self._gateway.aclose()

    def export_state(self) -> object:
        """How it stands with the gateway, which nodes there were."""
        return {"nodes": dict(self._nodes), "gateway": self._gateway.state() if self._gateway is not None else None}

    def import_state(self, state: object) -> None:
        """Go on from there."""
        if not isinstance(state, dict):
            return
        self._nodes.update(state["nodes"])
        if self._gateway is not None and state["gateway"] is not None:
            self._gateway.restore(state["gateway"])


plugin = Prometheus
