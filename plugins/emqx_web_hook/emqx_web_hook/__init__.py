"""Tells a web server of yours what happens: one POST for each event that a rule names.

Hooks only put events into a bounded queue; workers send them. However slow the server is, the broker does not wait.
"""

from __future__ import annotations

import json
import random
import ssl
from typing import Final

import trio

from trioemqx.plugin import Context, HttpClient, HttpError, Plugin, PluginError

from .events import Events
from .lanes import Event, Lanes
from .settings import HOOKS, Config

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries of a worker; each pause is twice the one before."""
LATER: Final = frozenset({429, 502, 503, 504})
"""Statuses that say the server may take the event later."""
UNREACHABLE: Final = 3
"""Failures in a row that raise the alarm."""
KEPT: Final = 1.0
"""Seconds after which a generation that has handed its events over knows that it was not replaced."""
DRAIN: Final = 3.0
"""Seconds in which the workers may send what is left when the plugin ends."""
MAX_ANSWER: Final = 64 * 1024


class WebHook(Plugin[Config]):
    """Every event is tried at least once, and in its client's order; it may arrive twice."""

    prefix = ("web.hook",)

    def __init__(self, context: Context, config: Config) -> None:
        super().__init__(context, config)
        counter = context.metrics.counter
        actions = [hook.replace(".", "_") for hook in HOOKS]
        self._counters = {action: counter(f"webhook.{action}") for action in actions}
        own = f"plugin.{context.name}"
        self._sent, self._failed, dropped = counter(f"{own}.sent"), counter(f"{own}.failed"), counter(f"{own}.dropped")
        self.lanes = Lanes(config.pool_size, config.queue_size, config.queue_bytes, config.queue_full, dropped.inc)
        self._failures = 0
        self._ran = self._ending = False
        self._handed_over_at = float("-inf")

    async def start(self) -> None:
        """Read the certificates, and ask for the hooks. The server itself may come later."""
        config = self.config
        self._client = HttpClient(
            config.url,
            pool_size=config.pool_size,
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
            headers=config.sent_headers().items(),
            tls=self._tls(),
            server_name=config.ssl.server_name_indication,
            max_answer=MAX_ANSWER,
        )
        self._url = self._client.url.shown
        self._alarm = f"web_hook_unreachable/{self._url}"
        self.context.metrics.gauge("webhook.queued", lambda: len(self.lanes))
        if not config.rules:
            self.log.warning("web.hook.rule has no rule, so nothing is sent")
            return
        encoding = config.body.encoding_of_payload_field
        events = Events(config.rules, encoding, lambda: int(self.context.wall() * 1000), self._emit)
        self.context.hooks(events.wanted())

    def _tls(self) -> ssl.SSLContext | None:
        if not self.config.url.startswith("https:"):
            return None
        if not self.config.ssl.verify:
            self.log.warning("web.hook.ssl.verify is false: the server's certificate is not checked")
        try:
            return self.config.ssl.context()
        except ValueError as error:
            raise PluginError(f"{self.context.name}: web.hook.{error}") from None

    def _emit(self, action: str, clientid: str, members: dict[str, object]) -> None:
        self._counters[action].inc()
        said = {"action": action, "node": self.context.broker.node, **members}
        body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        self.lanes.put(Event(action, clientid, body, trio.current_time()))

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The workers."""
        self._ran = True
        self.lanes.give_back()
        async with trio.open_nursery() as nursery:
            for lane in range(self.config.pool_size):
                nursery.start_soon(self._work, lane)

    async def stop(self) -> None:
        """Send what is left, unless a next generation does or the server does not answer."""
        self.lanes.give_back()
        if self._ran and not self._handed_over():
            if not self._failures:
                await self._drain()
            if len(self.lanes):
                self.log.warning("%d events have not been sent to %s", len(self.lanes), self._url)
        await self._client.aclose()

    async def _drain(self) -> None:
        self._ending = True
        with trio.move_on_after(DRAIN):
            async with trio.open_nursery() as nursery:
                for lane in range(self.config.pool_size):
                    nursery.start_soon(self._work, lane)
                await self.lanes.empty()
                nursery.cancel_scope.cancel()
        self.lanes.give_back()

    def export_state(self) -> object:
        """Every event that has not been answered: plain tuples, in order."""
        self._handed_over_at = trio.current_time()
        return [(event.action, event.clientid, event.body, event.born) for event in self.lanes.everything()]

    def _handed_over(self) -> bool:
        """True just after `export_state`. Still alive a second later, this generation was kept: the reload failed."""
        return trio.current_time() - self._handed_over_at < KEPT

    def import_state(self, state: object) -> None:
        """Go on with the events of the old generation."""
        if isinstance(state, list):
            for action, clientid, body, born in state:
                self.lanes.put(Event(action, clientid, body, born))

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _work(self, lane: int) -> None:
        """Send the events of a lane, one after the other."""
        pause = FIRST_PAUSE
        while True:
            event = await self.lanes.take(lane)
            if self._handed_over() and not self._ending:
                await trio.sleep(KEPT)  # the next generation has it, and we are about to be cancelled
            while (problem := await self._post(event)) is not None:
                self._no_answer(problem)
                old = trio.current_time() - event.born >= self.config.retry_for
                if old or self._ending:
                    self._failed.inc()
                    break
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
            self.lanes.done(lane)
            if problem is not None:
                await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Wait, not all workers for the same time."""
        await trio.sleep(seconds * random.uniform(0.75, 1.25))

    async def _post(self, event: Event) -> str | None:
        """Send an event. None when it is settled, also when the server does not want it; else what has to be waited
        for."""
        try:
            answer = await self._client.request("POST", body=event.body)
        except HttpError as error:
            return str(error)
        if answer.status in LATER:
            return f"status {answer.status}"
        if self._failures:
            self.log.warning("%s takes events again", self._url)
        if self._failures >= UNREACHABLE:
            self.context.alarms.clear(self._alarm)
        self._failures = 0
        if 200 <= answer.status < 300:
            self._sent.inc()
        else:
            self._failed.inc()
            self.log.error("%s answered status %d to %s of %s", self._url, answer.status, event.action, event.clientid)
        return None

    def _no_answer(self, problem: str) -> None:
        self._failures += 1
        if self._failures == 1:
            self.log.error("%s does not take events: %s; they wait", self._url, problem)
        if self._failures >= UNREACHABLE:
            details = {"plugin": self.context.name, "url": self._url, "error": problem}
            self.context.alarms.raise_(self._alarm, details)


plugin = WebHook
