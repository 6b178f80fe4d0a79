"""Pushes to a Prometheus push gateway at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import trio

from trioemqx.plugin import Context, HttpClient, HttpError, HttpTls, PluginError

from .settings import SHIPPED_SERVER, Config

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT: Final = 5.0
ALARM: Final = "prometheus_push_failed"
ALARM_AFTER: Final = 3
"""Failures in a row."""


class Gateway:
    """Pushes what `render` returns. A failure is told once per cause; an alarm follows, unless this is the gateway that
    EMQX ships and it has never answered: then nobody runs one."""

    def __init__(self, config: Config, context: Context, render: Callable[[], str]) -> None:
        settings = config.push.gateway
        self._render = render
        self._context = context
        self._interval = config.seconds
        name, _, host = context.broker.node.partition("@")
        job = f"/metrics/job/{quote(name, '')}/instance/{quote(f'{name}~{host}', '')}"
        try:
            tls = HttpTls(cacertfile=settings.cacertfile, verify=True).context()
        except ValueError as error:
            raise PluginError(f"prometheus.push.gateway.{str(error).removeprefix('ssl.')}") from None
        self._client = HttpClient(
            settings.server,
            pool_size=1,
            timeout=min(TIMEOUT, self._interval),
            headers=[("Content-Type", CONTENT_TYPE)],
            tls=tls if settings.server.lower().startswith("https:") else None,
        )
        self.shown = self._client.url.shown
        self._target = self._client.url.target.partition("?")[0].rstrip("/") + job
        self._expected = settings.server.rstrip("/") != SHIPPED_SERVER
        self.failures = 0
        self.problem = ""
        self._pushed, self._failed = (
            context.metrics.counter(f"plugin.{context.name}.{what}") for what in ("pushed", "push_failed")
        )

    async def run(self) -> None:
        """Push for ever."""
        while True:
            await trio.sleep(self._interval)
            await self.push()

    async def push(self) -> None:
        """Push once."""
        try:
            answer = await self._client.request("POST", self._target, body=self._render().encode())
        except HttpError as error:
            self._fail(str(error))
            return
        if answer.status not in (200, 202):
            said = answer.body[:200].decode("utf-8", "replace").partition("\n")[0]
            self._fail(f"it answered {answer.status} {said!r}" if said else f"it answered {answer.status}")
            return
        self._pushed.inc()
        self._expected = True
        if self.problem:
            self._context.log.warning("the push gateway %s takes metrics again", self.shown)
        self.failures, self.problem = 0, ""
        self._context.alarms.clear(ALARM)

    def _fail(self, problem: str) -> None:
        self.failures += 1
        self._failed.inc()
        if problem != self.problem:
            advice = "" if self._expected else '; without a gateway set prometheus.push.gateway.server = ""'
            self._context.log.warning("nothing pushed to %s: %s%s", self.shown, problem, advice)
        self.problem = problem
        self.alarm()

    def alarm(self) -> None:
        """Tell operators when it is time to."""
        if self._expected and self.failures >= ALARM_AFTER:
            self._context.alarms.raise_(ALARM, {"url": self.shown, "error": self.problem})

    def state(self) -> dict[str, object]:
        """For the next generation."""
        return {
            "url": self.shown,
            "failures": self.failures,
            "problem": self.problem,
            "expected": self._expected,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on where the last generation was with the same gateway."""
        failures = state.get("failures")
        if state.get("url") == self.shown and isinstance(failures, int):
            self.failures, self.problem = failures, str(state.get("problem"))
            self._expected = self._expected or state.get("expected") is True
            self.alarm()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()
