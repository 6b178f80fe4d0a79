"""From a plugin's files to a generation that has started: what is proved before anything that serves is touched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from trioemqx.services.plugins.catalogue import Catalogue
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import PluginError, PluginRefused
from trioemqx.services.plugins.generation import Generation, explain, prepare, sentence
from trioemqx.services.plugins.handles import Host
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.services.plugins.serving import Serving


class Starter:
    """Every method raises PluginError with one line for the operator, and leaves nothing behind then.

    `inline` imports code in the event loop instead of a thread: for virtual time, which would run on meanwhile.
    """

    def __init__(self, host: Host, hooks: HookRegistry, catalogue: Catalogue, serving: Serving, inline: bool) -> None:
        self._host = host
        self._hooks = hooks
        self._catalogue = catalogue
        self._serving = serving
        self._inline = inline

    async def started(self, found: Found) -> Generation:
        """A new generation, proved and started, not live yet."""
        generation = await self.prepared(found)
        await self.run(generation)
        return generation

    async def prepared(self, found: Found) -> Generation:
        """A new generation whose code, settings and hooks are right, not started yet."""
        make = partial(prepare, found, self._catalogue.config, self._host, self._serving.watch.task_crashed)
        generation = make() if self._inline else await self._in_thread(found.name, make)
        try:
            self._hooks.check(generation.instance, found.name, generation.priority)
        except Exception as error:
            generation.forget()
            if isinstance(error, PluginError):
                raise
            raise PluginRefused(sentence(found.name, error)) from error
        return generation

    async def _in_thread(self, name: str, make: Callable[[], Generation]) -> Generation:
        """Import in a thread: code that does not come to an end there holds up neither the broker nor its end."""
        late = False

        def import_it() -> Generation:
            generation = make()
            if late:
                generation.forget()
            return generation

        seconds = self._catalogue.config.plugins.start_timeout
        try:
            with trio.fail_after(seconds):
                return await trio.to_thread.run_sync(import_it, abandon_on_cancel=True)
        except trio.TooSlowError:
            late = True
            raise PluginError(f"{name}: its import has not ended within {seconds:g} s") from None

    async def run(self, generation: Generation) -> None:
        """Start a generation's task, and wait until its `start` has ended."""
        serving = self._serving
        if serving.nursery is None:
            raise PluginError(f"{generation.name}: the broker is not running")
        run = partial(
            generation.run,
            self._catalogue.config.plugins.start_timeout,
            self._host.broker.metrics,
            serving.watch.run_crashed,
            serving.watch.recovered,
            serving.gave_up,
        )
        await serving.nursery.start(run, name=f"plugin {generation.name}")
        failure = generation.failure
        if failure is not None:
            await generation.end()
            serving.clean(generation, serving.live.get(generation.name))
            raise PluginError(explain(generation.found, failure)) from failure
