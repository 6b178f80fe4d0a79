"""All that a plugin may touch. What a plugin gets through its context it need not give back: it goes with the plugin.

Subscriptions, commands and gauges that `start` asks for come into force when the plugin's hooks do, in the same step;
so at a reload there is no message that both generations see.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from trioemqx.errors import crash_of
from trioemqx.hooks import SLOW
from trioemqx.services.commands import Command
from trioemqx.services.plugins.base import EventQueue
from trioemqx.services.plugins.discovery import one_line
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.handles import Handle, Host, Undo
from trioemqx.services.plugins.messaging import BrokerPart, RetainedPart
from trioemqx.services.plugins.parts import AlarmsPart, BansPart, MetricsPart, Table
from trioemqx.services.plugins.rules import RulesPart
from trioemqx.services.plugins.web import HttpPart
from trioemqx.types import Message


class Context:
    """A plugin's world. `log` is its logger; `data_dir` a folder of its own that survives everything."""

    def __init__(self, name: str, host: Host, on_crash: Callable[[str, BaseException], None]) -> None:
        self.name = name
        self.log = logging.getLogger(f"trioemqx.plugin.{name}")
        self.handles: dict[Handle, None] = {}
        """What the plugin holds; its owner opens and closes it."""
        self.counters: set[str] = set()
        self.alarm_names: set[str] = set()
        self.hook_priority: int | None = None
        """`hook_priority` of the plugin's settings."""
        self.shipped: frozenset[str] = frozenset()
        """Settings whose values nobody wrote: they are what the broker uses without a configuration file. Known from
        `start` on."""
        self.broker = BrokerPart(self, host)
        self.metrics = MetricsPart(self, host)
        self.alarms = AlarmsPart(self, host)
        self.bans = BansPart(host, name)
        self.retained = RetainedPart(self, host)
        self.http = HttpPart(self, host)
        self.rules = RulesPart(self, host)
        self._host = host
        self._on_crash = on_crash
        self._live = False
        self._nursery: trio.Nursery | None = None

    @property
    def data_dir(self) -> Path:
        """`<node.data_dir>/plugins/<name>`, made when it is first asked for."""
        folder = self._host.data_dir / "plugins" / self.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def node_data_dir(self) -> Path:
        """`node.data_dir`, for what has had a folder of its own there since EMQX, such as `trace`. What is new belongs
        in `data_dir`."""
        return self._host.data_dir

    def now(self) -> float:
        """The broker's monotonic clock, in seconds; `Message.received` is on it."""
        return trio.current_time()

    def wall(self) -> float:
        """Unix seconds; `Message.timestamp` is in milliseconds of it."""
        return self._host.wall()

    def table(self, name: str) -> Table:
        """A table of the plugin's own in the broker's store; `name` in lower-case letters and `_`."""
        return Table(self._host.store, f"{self.name}_{name}")

    # -- tasks -------------------------------------------------------------------------------------------------------

    def spawn(self, call: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a coroutine function in a task of the plugin's. A crash is logged and counts against the plugin; it is
        not started again. RuntimeError once the plugin has ended."""
        if self._nursery is None:
            raise RuntimeError(f"{self.name} has ended")
        self._nursery.start_soon(self._task, call, args, name=f"{self.name}: {getattr(call, '__qualname__', call)}")

    def every(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function, or a coroutine function, each so many seconds. A crash counts, and the next time comes."""
        self.spawn(self._repeat, seconds, call)

    def queue(self, size: int = 1000, full: str = "drop_oldest", name: str = "events") -> EventQueue[Any]:
        """A bounded queue from hooks to a task. What it drops is counted as `plugin.<plugin>.<name>.dropped`."""
        return EventQueue(size, full, self.metrics.counter(f"plugin.{self.name}.{name}.dropped").inc)

    async def _task(self, call: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        try:
            await call(*args)
        except* (Exception, SystemExit) as group:
            self._on_crash(self.name, group)

    async def _repeat(self, seconds: float, call: Callable[[], object]) -> None:
        while True:
            await trio.sleep(seconds)
            try:
                result = call()
                if isinstance(result, Awaitable):
                    await result
            except* (Exception, SystemExit) as group:
                self._on_crash(self.name, group)

    def shielded(self, call: Callable[[Message], object], message: Message) -> None:
        """Call the plugin's function with a message; a crash is the plugin's."""
        began = time.perf_counter()
        try:
            call(message)
        except BaseException as caught:
            error = crash_of(caught)
            self._on_crash(self.name, error)
        if (seconds := time.perf_counter() - began) > SLOW:
            self._host.hooks.on_slow(self.name, "a subscription", seconds)

    # -- what it holds -----------------------------------------------------------------------------------------------

    def command(
        self,
        words: str,
        run: Callable[..., Any],
        *,
        usage: str = "",
        help: str = "",
        data: Callable[..., object] | None = None,
    ) -> Handle:
        """Add a command to `trioemqx ctl`: `words` is what is typed, `run` takes what follows as texts and returns what
        to print; `data` takes the same and gives what `--json` prints, otherwise that is the lines of `run` (see
        `services.commands.Command`). Raise `CommandError` to fail with one line."""
        command = Command(tuple(words.split()), usage or words, help, run, data)
        return self.hold(lambda: self._host.commands.add(command))

    def hooks(self, implementations: object) -> Handle:
        """Have another object's `@hookimpl` methods called as if they were the plugin's, for as long as the handle is
        open. For points that are needed now and then: one that somebody implements costs the broker time, above all
        `message_publish` and `message_delivered`. Raises PluginError for an implementation that does not fit, at once
        when the plugin is live."""
        return self._hold(lambda: self._host.hooks.add(implementations, self.name, self.hook_priority), True)

    def measure_hooks(self, told: Callable[[str, str, float], object]) -> Handle:
        """Have a function told (plugin, hook point, seconds) of every call of every plugin's hooks, for as long as the
        handle is open; the time of an async hook has its waiting in it. For diagnostics: each call of a hook is slower
        by the time that `told` takes."""

        def shielded(plugin: str, point: str, seconds: float) -> None:
            try:
                told(plugin, point, seconds)
            except Exception as error:
                self._on_crash(self.name, error)

        return self.hold(lambda: self._host.hooks.measure(shielded))

    def hold(self, acquire: Callable[[], Undo]) -> Handle:
        """Have something for as long as the plugin is live. `acquire` is called when it goes live, or now when it is,
        and returns what gives it back."""
        return self._hold(acquire, False)

    def _hold(self, acquire: Callable[[], Undo], hooks: bool) -> Handle:
        handle = Handle(self, acquire, hooks)
        self.handles[handle] = None
        if self._live:
            handle.open()
        return handle

    # -- for its owner -----------------------------------------------------------------------------------------------

    def attach(self, nursery: trio.Nursery | None) -> None:
        """Where the plugin's tasks live; None when it has ended."""
        self._nursery = nursery

    def go_live(self) -> None:
        """Bring into force what `start` asked for. When one of them cannot be had none is, and the error is raised."""
        self._live = True
        try:
            for handle in list(self.handles):
                self._open(handle)
        except BaseException:
            self.go_dark()
            raise

    def _open(self, handle: Handle) -> None:
        """What cannot be had is told with the line that asked for it, which is long gone by now."""
        try:
            handle.open()
        except BaseException as caught:
            error = crash_of(caught)
            raise PluginError(f"{self.name}: {handle.place}: {one_line(error)}") from error

    def go_dark(self, keep_hooks: bool = False) -> None:
        """Take everything out of force, or everything but hooks; it can go live again."""
        self._live = False
        for handle in reversed(list(self.handles)):
            if not (keep_hooks and handle._hooks):
                handle._release()

    def _crashed(self, error: BaseException) -> None:
        """Something of the plugin's crashed."""
        self._on_crash(self.name, error)
