"""One generation of a plugin: its code as it was when it was imported, its instance, its context, its tasks.

discovered → imported → configured → started → live → stopping → forgotten. The manager takes it from step to step; the
task here owns everything that waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import trio

from trioemqx.config.model import Config
from trioemqx.errors import crash_of
from trioemqx.metrics import Metrics
from trioemqx.services.plugins import importing, settings
from trioemqx.services.plugins.base import Plugin
from trioemqx.services.plugins.context import Context
from trioemqx.services.plugins.discovery import Found, one_line
from trioemqx.services.plugins.errors import PluginError, PluginRefused
from trioemqx.services.plugins.handles import Host
from trioemqx.services.supervise import GaveUp, supervise

log = logging.getLogger("trioemqx.plugins")

STOP_SECONDS: Final = 5.0
"""How long `stop` may take."""
STUCK_SECONDS: Final = 5.0
"""How long tasks may take to end once they are cancelled."""
HURRIED_SECONDS: Final = 1.0
"""The same when the whole broker is cancelled."""


class Generation:
    """`instance` is the plugin's object; `priority` and `timeout` what its settings say of its hooks. `failure` is what
    its `start` raised."""

    def __init__(
        self, found: Found, package: str, instance: Plugin[Any], context: Context, remake: Callable[[], Generation]
    ) -> None:
        self.found = found
        self.package = package
        self.again = remake
        """Makes another instance of the same code and settings, not started."""
        self.instance = instance
        self.context = context
        self.priority: int | None = None
        self.timeout: float | None = None
        self.failure: BaseException | None = None
        self.live = False
        self.ended = trio.Event()
        self._go = trio.Event()
        self._end = trio.Event()
        self._stopping = trio.CancelScope()

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.found.name

    # -- its task ----------------------------------------------------------------------------------------------------

    async def run(
        self,
        seconds: float,
        metrics: Metrics,
        on_crash: Callable[[str, BaseException], object],
        on_recovered: Callable[[str], object],
        on_gave_up: Callable[[Generation, GaveUp], None],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Start within `seconds`, wait for `go`, run until `end`, stop. `failure` is set when it could not start."""
        try:
            async with trio.open_nursery() as nursery:
                self.context.attach(nursery)
                await self._start(seconds)
                task_status.started()
                if self.failure is None:
                    await self._until(self._go, self._end)
                    if not self._end.is_set():
                        run = (metrics, on_crash, on_recovered, on_gave_up)
                        nursery.start_soon(self._background, *run, name=f"{self.name}: run")
                        await self._end.wait()
                self.context.attach(None)
                nursery.cancel_scope.cancel()
        finally:
            self.context.attach(None)
            with trio.CancelScope(shield=True):
                await self._stop(STOP_SECONDS if self._end.is_set() else HURRIED_SECONDS)
            self.ended.set()

    async def _start(self, seconds: float) -> None:
        with trio.move_on_after(seconds) as scope:
            try:
                await self.instance.start()
            except BaseException as caught:
                self.failure = crash_of(caught)
        if scope.cancelled_caught:
            self.failure = PluginError(f"{self.name}: start() has not ended within {seconds:g} s")

    async def _until(self, *events: trio.Event) -> None:
        """Wait for one of several events."""
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            for event in events:
                nursery.start_soon(wait, event)

    async def _background(
        self,
        metrics: Metrics,
        on_crash: Callable[[str, BaseException], object],
        on_recovered: Callable[[str], object],
        on_gave_up: Callable[[Generation, GaveUp], None],
    ) -> None:
        try:
            await supervise(self.name, self.instance.run, metrics=metrics, on_crash=on_crash, on_recovered=on_recovered)
        except GaveUp as error:
            on_gave_up(self, error)

    async def _stop(self, seconds: float) -> None:
        if self.failure is not None:
            return
        began = trio.current_time()
        self._stopping.deadline = began + seconds
        try:
            with self._stopping:
                await self.instance.stop()
        except BaseException as caught:
            error = crash_of(caught)
            log.error("%s: stop() crashed", self.name, exc_info=error)
        if self._stopping.cancelled_caught:
            log.error("%s: stop() has not ended within %g s", self.name, trio.current_time() - began)

    # -- what the manager says ---------------------------------------------------------------------------------------

    def go(self) -> None:
        """The hooks are live: start `run`."""
        self.live = True
        self._go.set()

    async def end(self, forget: bool = True) -> None:
        """Let requests to its endpoints end, cancel its tasks, stop it, forget its code."""
        self.live = False
        await self.context.http.finish(STOP_SECONDS)
        self._end.set()
        try:
            with trio.move_on_after(STOP_SECONDS + STUCK_SECONDS):
                await self.ended.wait()
        except trio.Cancelled:
            self._stopping.deadline = min(self._stopping.deadline, trio.current_time() + HURRIED_SECONDS)
            raise
        if not self.ended.is_set():
            log.error("%s: its tasks do not end; it is left to itself", self.name)
        if forget:
            self.forget()

    def forget(self) -> None:
        """Let go of the code."""
        importing.forget(self.package)


def class_of(found: Found) -> tuple[type[Plugin[Any]], str]:
    """Import a plugin: (its class, the name of its generation, to be forgotten). Raises PluginError with one line that
    says what is wrong, and where."""
    try:
        module = importing.fresh(found.name, found.main)
    except BaseException as caught:
        error = crash_of(caught)
        raise PluginRefused(f"{found.name}: {located(error, found)}") from error
    package = importing.package_of(module)
    cls = getattr(module, "plugin", None)
    if isinstance(cls, type) and issubclass(cls, Plugin):
        return cls, package
    importing.forget(package)
    raise PluginRefused(f"{found.name}: {found.main} has no `plugin = <class of trioemqx.plugin.Plugin>`")


def prepare(found: Found, config: Config, host: Host, on_crash: Callable[[str, BaseException], None]) -> Generation:
    """Import, configure and make the instance. Raises PluginError with one line that says what is wrong, and where."""
    cls, package = class_of(found)
    try:
        chosen, timeout, priority, shipped = configured(found, cls, config)

        def make() -> Generation:
            def crashed(name: str, error: BaseException) -> None:
                if generation.live:
                    on_crash(name, error)
                else:  # it is not, or not yet, the one that serves: nothing is held against that one
                    host.broker.metrics.hook_crashed += 1
                    log.error("%s crashed while it was not live", name, exc_info=error)

            context = Context(found.name, host, crashed)
            generation = Generation(found, package, _instance(cls, context, chosen, found), context, make)
            generation.priority = context.hook_priority = priority
            context.shipped = shipped
            generation.timeout = timeout if timeout is not None else cls.hook_timeout
            return generation

        return make()
    except BaseException:
        importing.forget(package)
        raise


def configured(
    found: Found, cls: type[Plugin[Any]], config: Config
) -> tuple[Any, float | None, int | None, frozenset[str]]:
    """A plugin's settings as they are written now, those of its hooks, and which are as shipped: (settings, timeout,
    priority, keys). Raises PluginError."""
    gathered = settings.gather(found, cls.prefix, config)
    timeout, priority = settings.reserved(gathered)
    try:
        made = settings.build(settings.config_class(cls), gathered, f"{found.kind}s.{found.name}")
    except BaseException as caught:
        error = crash_of(caught)
        if isinstance(error, PluginError):
            raise
        raise PluginRefused(f"{found.name}: {located(error, found)}") from error
    return made, timeout, priority, frozenset(map(".".join, gathered.shipped))


def _instance(cls: type[Plugin[Any]], context: Context, config: Any, found: Found) -> Plugin[Any]:
    try:
        return cls(context, config)
    except BaseException as caught:
        error = crash_of(caught)
        raise PluginRefused(f"{found.name}: {located(error, found)}") from error


def sentence(name: str, error: BaseException) -> str:
    """What the operator reads of whatever kept a plugin from something: one line that names the plugin."""
    return str(error) if isinstance(error, PluginError) else f"{name}: {one_line(error)}"


def located(error: BaseException, found: Found) -> str:
    """An exception in one line, with the plugin's file and line that raised it."""
    if isinstance(error, SyntaxError):
        return one_line(error)
    place, _ = _place(error, found)
    return f"{place}: {one_line(error)}" if place else one_line(error)


def _place(error: BaseException, found: Found) -> tuple[str, bool]:
    """(file and line of the plugin's code that an exception came through last, whether that is what raised it)."""
    base = str(found.folder or found.main.parent)
    place, own = "", False
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        own = file.startswith(base)
        if own:
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place, own


def explain(found: Found, failure: BaseException) -> str:
    """Why a generation could not start, in one line."""
    if isinstance(failure, PluginError):
        place, own = _place(failure, found)
        # what the plugin says is for operators as it is; what a call of it to the broker says needs the place
        return str(failure) if own or not place else f"{failure} ({place})"
    return f"{found.name}: start(): {located(failure, found)}"
