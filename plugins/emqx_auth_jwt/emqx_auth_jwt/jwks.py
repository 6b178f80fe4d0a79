"""The keys that a server publishes: fetched at intervals, and the last good set kept."""

from __future__ import annotations

from typing import Final

import trio

from trioemqx.plugin import Context, HttpClient, HttpError, HttpTls, PluginError

from .keys import JwksError, VerifyKey, key_set
from .settings import Jwks

FIRST_RETRY: Final = 5.0
"""Seconds after a failure; twice as long after each further one, at most `refresh_interval`."""
ALARM_AFTER: Final = 3
"""Failures in a row."""
ALARM: Final = "jwks_unusable"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class RemoteKeys:
    """A key set by URL. `by_kid` are its keys, empty as long as none was loaded."""

    def __init__(self, settings: Jwks, context: Context) -> None:
        self._settings = settings
        self._context = context
        try:
            tls = HttpTls(cacertfile=settings.cacertfile, verify=settings.verify).context()
        except ValueError as error:
            raise PluginError(f"auth.jwt.jwks.{str(error).removeprefix('ssl.')}") from None
        self._client = HttpClient(
            settings.url,
            pool_size=1,
            timeout=settings.timeout,
            connect_timeout=settings.timeout,
            headers=[("Accept", "application/jwk-set+json, application/json")],
            tls=tls if settings.url.lower().startswith("https:") else None,
            max_answer=settings.max_size,
        )
        self.shown = self._client.url.shown
        if not self._client.url.tls and self._client.url.host not in LOOPBACK:
            context.log.warning("%s: without https anybody on the way can put in keys of their own", self.shown)
        self.by_kid: dict[str, tuple[VerifyKey, ...]] = {}
        self.body = b""
        """The set as it came, for the next generation."""
        self.loaded_at = 0.0
        self.failures = 0
        self._problem = ""
        self._complaints: list[str] = []
        self._wanted = trio.Event()
        self._asked_at = 0.0
        self._failed = context.metrics.counter(f"plugin.{context.name}.jwks_failed")

    @property
    def loaded(self) -> bool:
        """True when there are keys."""
        return bool(self.by_kid)

    def unknown(self) -> None:
        """A token names a key that is not here: there may be new ones. Asked at most each `cooldown`, because anybody
        can make up a key id."""
        if trio.current_time() - self._asked_at >= self._settings.cooldown:
            self._wanted.set()

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            with trio.move_on_after(self._pause()):
                await self._wanted.wait()
            self._wanted = trio.Event()
            await self.refresh()

    def _pause(self) -> float:
        interval = self._settings.refresh_interval
        return min(interval, FIRST_RETRY * 2 ** min(self.failures - 1, 20)) if self.failures else interval

    async def refresh(self) -> None:
        """Fetch the set; what is wrong is logged, and the keys stay."""
        self._asked_at = trio.current_time()
        try:
            answer = await self._client.request("GET")
            if answer.status != 200:
                hint = "; redirects are not followed" if 300 <= answer.status < 400 else ""
                raise JwksError(f"the server answered {answer.status}{hint}")
            self.take(answer.body, self._context.wall())
        except (HttpError, JwksError) as error:
            self._fail(str(error))
        else:
            self._succeed()

    def take(self, body: bytes, at: float) -> None:
        """Use a set that was fetched at Unix time `at`. Raises JwksError; nothing is changed then."""
        self.by_kid, complaints = key_set(body, self._settings.max_keys)
        self.body, self.loaded_at = body, at
        if complaints != self._complaints:
            for line in complaints:
                self._context.log.warning("%s: %s", self.shown, line)
        self._complaints = complaints

    def _succeed(self) -> None:
        if self._problem:
            self._context.log.warning("%s: the keys can be fetched again", self.shown)
        self.failures, self._problem = 0, ""
        self._context.alarms.clear(ALARM)

    def _fail(self, problem: str) -> None:
        self.failures += 1
        self._failed.inc()
        if problem != self._problem:
            kept = "the last good keys stay" if self.loaded else "tokens that name a key (kid) are not understood"
            self._context.log.error("%s: %s; %s", self.shown, problem, kept)
        self._problem = problem
        if self.failures >= ALARM_AFTER:
            self.alarm()

    def alarm(self) -> None:
        """Tell operators."""
        details = {"url": self.shown, "error": self._problem, "keys": len(self.by_kid), "loaded_at": self.loaded_at}
        self._context.alarms.raise_(ALARM, details)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()
