"""Loads, unloads and reloads plugins and modules while clients stay connected.

One change at a time. A reload proves the new code (import, settings, hooks, `start`) while the old generation serves;
the switch is one synchronous step, in which state is handed over and every table changes; then the old one is ended.
Whatever fails before the switch changes nothing.

Long, because load, unload and reload are one story of the same few tables, which no other file may touch.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import trio

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.model import Config
from trioemqx.errors import crash_of
from trioemqx.services.plugins import discovery, state
from trioemqx.services.plugins.base import Plugin
from trioemqx.services.plugins.catalogue import UNREADABLE, Catalogue
from trioemqx.services.plugins.discovery import Found, one_line
from trioemqx.services.plugins.errors import BadSettings, PluginError, PluginRefused
from trioemqx.services.plugins.generation import STOP_SECONDS, Generation, configured, explain, located, prepare
from trioemqx.services.plugins.handles import Host
from trioemqx.services.plugins.logtail import LogTail
from trioemqx.services.plugins.ordering import orders
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.services.plugins.switches import switches
from trioemqx.services.plugins.watch import DISABLED_ALARM, NOT_LOADED_ALARM, Watch
from trioemqx.services.supervise import GaveUp

log = logging.getLogger("trioemqx.plugins")

T = TypeVar("T")
TABLES: Final = "plugin_tables module_tables module auth web prometheus psk telemetry bridge acl_file".split()
"""What of the configuration belongs to plugins and modules."""


@attrs.frozen
class Listed:
    """One line of `ctl plugins list`."""

    name: str
    kind: str
    version: str
    description: str
    type: str
    active: bool
    problem: str = ""


class PluginManager:
    """The plugins and modules of one node. `run` is their branch of the nursery tree.

    `inline` imports code in the event loop instead of a thread: for virtual time, which would run on meanwhile.
    """

    def __init__(self, host: Host, hooks: HookRegistry, config: Config, inline: bool = False) -> None:
        self.config = config
        self.live: dict[str, Generation] = {}
        self._host = host
        self._hooks = hooks
        self._inline = inline
        self._lock = trio.Lock()
        self._changing = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self.built_in = switches()
        """Parts of the broker that EMQX has as plugins."""
        self.catalogue = Catalogue(config)
        self.tail = LogTail(lambda: self.catalogue.found)
        self._watch = Watch(host, self._disable, config.plugins.max_crashes)
        self._off: dict[str, Generation] = {}
        """What was switched off, until it is loaded or unloaded."""
        self._failed: dict[str, str] = {}
        """Why what should be live is not."""
        self._closing = False
        self._serving = False
        self._had_rules = False
        hooks.on_crash = self._watch.hook_crashed
        hooks.on_slow = self._slow
        hooks.on_rules = self._forget_rules
        hooks.orders = orders(config)

    @property
    def problems(self) -> list[str]:
        """What should be live and is not, one line each."""
        return [f"{name} was not loaded: {reason}" for name, reason in self._failed.items()]

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what has to be loaded, report started, own the plugins' tasks until cancelled. A plugin that cannot be
        loaded does not stop the broker: what it guards is denied, and an alarm says why."""
        with self.tail.attached():
            async with trio.open_nursery() as self._nursery:
                await self._load_wanted()
                self._serving = True
                task_status.started()
                await trio.sleep_forever()

    async def close(self) -> None:
        """Stop everything, the last one first; a change that is under way is given up."""
        self._closing = True
        self._changing.cancel()
        async with self._lock:
            for generation in reversed([*self.live.values()]):
                await self._end(generation)

    async def _load_wanted(self) -> None:
        self.catalogue.discover()
        wanted = self.catalogue.wanted()
        states = self.catalogue.states["plugin"]
        for part in self.built_in.values():
            if part.turn is not None and not states.get(part.name, True) and self.config.plugins.load is None:
                part.switch(False)
        for problem in self.catalogue.unreadable:  # it might name what keeps strangers out, so nobody comes in
            self._not_loaded(UNREADABLE, problem)
        for name in wanted:
            if name in self.built_in:
                continue
            try:
                await self._load(name)
            except Exception as error:
                self._not_loaded(name, str(error) if isinstance(error, PluginError) else one_line(error))

    def _not_loaded(self, name: str, reason: str) -> None:
        """Something that should be live is not: say so, and deny what it might have decided."""
        log.error("%s was not loaded: %s", name, reason)
        self._watch.alarm(NOT_LOADED_ALARM, name, reason=reason)
        self._failed[name] = reason
        found = self.catalogue.found.get(name)
        guards = discovery.guards_of_name(name) if found is None else discovery.guards_in_code(found)
        if guards:
            self._hooks.guard(name, guards)
            log.error("%s: denied until it is loaded or unloaded: %s", name, ", ".join(guards))

    # -- what everybody may ask --------------------------------------------------------------------------------------

    def listing(self, kind: str = "plugin") -> list[Listed]:
        """Everything of a kind (`plugin` or `module`) that could be loaded, by name."""
        return self._listed(kind, self.catalogue.discover())

    async def look(self, kind: str = "plugin") -> list[Listed]:
        """The same, without keeping others waiting while the disk is read."""
        return self._listed(kind, await self.off_loop(self.catalogue.discover))

    def _listed(self, kind: str, catalogue: Mapping[str, Found]) -> list[Listed]:
        found = {name: f for name, f in catalogue.items() if f.kind == kind}
        found.update({name: g.found for name, g in self.live.items() if g.found.kind == kind})
        return [
            Listed(name, kind, f.version, f.description, f.type, name in self.live, self._problem(f))
            for name, f in sorted(found.items())
        ]

    def _problem(self, found: Found) -> str:
        """Why it is not live, or cannot be, where there is a reason."""
        if found.name in self.live:
            return ""
        if found.name in self._off:
            return "switched off after crashes"
        return self._failed.get(found.name, found.problem)

    def is_held(self, name: str) -> bool:
        """Whether it is live, or should be: until it is unloaded."""
        return name in self.live or name in self._off or name in self._failed

    def folders(self) -> list[Path]:
        """The folders whose code is live, or was until it was switched off."""
        generations = (*self.live.values(), *self._off.values())
        return [generation.found.folder for generation in generations if generation.found.folder is not None]

    def plugin(self, name: str) -> Plugin[Any]:
        """The instance of a live plugin. KeyError."""
        return self.live[name].instance

    async def load(self, name: str) -> None:
        """Load a plugin or module and remember it for the next start. Raises PluginError (`already_started`,
        `not_found`, or one line that says what is wrong); nothing is changed then, unless the line says that it could
        not be remembered."""
        await self.change(self._load_and_save, name)

    async def unload(self, name: str) -> None:
        """End a plugin and remember that. Raises PluginError `not_found`, `not_started`."""
        await self.change(self._unload, name)

    async def reload(self, name: str) -> None:
        """Take a plugin's files and settings as they are now; one that is not loaded is loaded. Raises PluginError; the
        old generation goes on then."""
        await self.change(self._reload, name)

    async def configure(self, config: Config) -> list[str]:
        """Take a new configuration: plugins whose settings changed apply them or are reloaded. Returns a line for each
        that could not; it goes on with its old settings."""
        self.config = self.catalogue.config = config
        self._hooks.order(orders(config))
        self._forget_rules()
        self._watch.max_crashes = config.plugins.max_crashes
        problems = []
        for name, generation in list(self.live.items()):
            instance = generation.instance
            try:
                settings, timeout, priority, _shipped = configured(generation.found, type(instance), config)
                before = (instance.config, generation.timeout, generation.priority)
                timeout = timeout if timeout is not None else instance.hook_timeout
                if (settings, timeout, priority) == before:
                    continue
                if (timeout, priority) == before[1:] and instance.config_changed(settings):
                    instance.config = settings
                    self._forget_rules()
                else:
                    await self.reload(name)
            except BaseException as caught:
                error = crash_of(caught)
                problems.append(str(error) if isinstance(error, PluginError) else f"{name}: {one_line(error)}")
        return problems

    async def check(self, config: Config) -> None:
        """Raise PluginError when a live plugin could not take its settings in a configuration; nothing is changed."""
        for generation in list(self.live.values()):
            await self.off_loop(partial(configured, generation.found, type(generation.instance), config))

    # -- steps -------------------------------------------------------------------------------------------------------

    async def change(self, change: Callable[[str], Awaitable[None]], name: str) -> None:
        """Do one change, and no other one meanwhile, in a task of ours: whoever asked for it may go away in the middle,
        it is still done whole."""
        if self._nursery is None or self._closing:
            raise PluginError(f"{name}: the broker is not running")
        done = trio.Event()
        failures: list[PluginError] = []

        async def run() -> None:
            try:
                async with self._lock:
                    with trio.CancelScope() as self._changing:
                        if self._closing:
                            self._changing.cancel()
                        await change(name)
                    if self._changing.cancelled_caught:
                        raise PluginError(f"{name}: the broker is stopping")
            except PluginError as error:
                failures.append(error)
            except Exception as error:
                log.error("%s: the change failed", name, exc_info=error)
                failures.append(PluginError(f"{name}: {one_line(error)}"))
            finally:
                done.set()

        self._nursery.start_soon(run)
        await done.wait()
        if failures:
            raise failures[0]

    async def _look_again(self) -> dict[str, Found]:
        """What there is now, and the settings as they are written now: those of plugins, the rest waits for SIGHUP.
        Raises PluginError when the configuration has errors."""
        source = self.config.source
        if source is not None and (self.config.path is not None or self.config.saved):
            try:
                new = await self.off_loop(partial(source, None))
            except ConfigErrors as errors:
                raise BadSettings("; ".join(map(str, errors.errors))) from errors
            tables = {table: getattr(new, table) for table in TABLES}
            self.config = self.catalogue.config = attrs.evolve(self.config, origins=new.origins, **tables)
        return await self.off_loop(self.catalogue.discover)

    async def _load_and_save(self, name: str) -> None:
        await self._look_again()
        if name in self.built_in:
            self.built_in[name].switch(True)
        else:
            await self._load(name)
        log.info("%s was loaded", name)
        await self._save(name, True)

    async def _unload(self, name: str) -> None:
        generation = self.live.get(name)
        if name in self.built_in:
            self.built_in[name].switch(False)
        elif generation is not None:
            await self._end(generation)
        elif name not in self._off and name not in self._failed:
            if name not in await self.off_loop(self.catalogue.discover):
                discovery.pick(self.catalogue.found, name)
            raise PluginError(f"{name}: not started", "not_started")
        self._hooks.unregister(name)
        self._settled(name)
        self._forget_rules()
        log.info("%s was unloaded", name)
        await self._save(name, False)

    def _settled(self, name: str) -> None:
        """It is live now, or is not to be: what was wrong with it before is over."""
        off = self._off.pop(name, None)
        if off is not None:
            self._clean(off, () if name not in self.live else self.live[name].context.counters)
        self._failed.pop(name, None)
        self._watch.clear(name)

    async def _reload(self, name: str) -> None:
        catalogue = await self._look_again()
        if name in self.built_in:
            if not await self.built_in[name].reload():
                await self._save(name, True)
            log.info("%s was reloaded", name)
            return
        found = discovery.pick(catalogue, name)
        old = self.live.get(name)
        if old is None:
            await self._load(name)
            await self._save(name, True)
        elif old.instance.exclusive:
            await self._reload_exclusive(found, old)
        else:
            new = await self._started(found)
            if self.live.get(name) is not old:  # it was switched off meanwhile
                old = None
            calls = self._hooks.in_progress(name)
            try:
                self._switch(old, new)
            except BaseException as caught:
                error = crash_of(caught)
                await new.end()
                self._clean(new, () if old is None else old.context.counters)
                reason = str(error) if isinstance(error, PluginError) else f"{name}: {one_line(error)}"
                raise PluginError(reason) from error
            await calls.settle(STOP_SECONDS)
            if old is not None:
                await old.end()
        log.info("%s was reloaded", name)

    async def off_loop(self, call: Callable[[], T]) -> T:
        """What reads or writes files, in a thread."""
        return call() if self._inline else await trio.to_thread.run_sync(call)

    async def _load(self, name: str) -> None:
        if name in self.live:
            raise PluginError(f"{name}: already started", "already_started")
        new = await self._started(discovery.pick(self.catalogue.found, name))
        try:
            self._switch(None, new)
        except BaseException as caught:
            error = crash_of(caught)
            await new.end()
            self._clean(new)
            reason = str(error) if isinstance(error, PluginError) else f"{name}: {one_line(error)}"
            raise PluginError(reason) from error

    async def _started(self, found: Found) -> Generation:
        """A new generation, proved and started, not live yet."""
        generation = await self._prepared(found)
        await self._run(generation)
        return generation

    async def _prepared(self, found: Found) -> Generation:
        """A new generation whose code, settings and hooks are right, not started yet."""
        make = partial(prepare, found, self.config, self._host, self._crashed)
        generation = make() if self._inline else await self._in_thread(found.name, make)
        try:
            self._hooks.check(generation.instance, found.name, generation.priority)
        except Exception as error:
            generation.forget()
            raise (
                error if isinstance(error, PluginError) else PluginRefused(f"{found.name}: {one_line(error)}")
            ) from error
        return generation

    async def _in_thread(self, name: str, make: Callable[[], Generation]) -> Generation:
        """Import in a thread: code that does not come to an end there holds up neither the broker nor its end."""
        late = False

        def import_it() -> Generation:
            generation = make()
            if late:
                generation.forget()
            return generation

        seconds = self.config.plugins.start_timeout
        try:
            with trio.fail_after(seconds):
                return await trio.to_thread.run_sync(import_it, abandon_on_cancel=True)
        except trio.TooSlowError:
            late = True
            raise PluginError(f"{name}: its import has not ended within {seconds:g} s") from None

    async def _run(self, generation: Generation) -> None:
        """Start a generation's task. Raises PluginError when its `start` fails."""
        if self._nursery is None:
            raise PluginError(f"{generation.name}: the broker is not running")
        seconds = self.config.plugins.start_timeout
        metrics = self._host.broker.metrics
        run = partial(generation.run, seconds, metrics, self._watch.run_crashed, self._watch.recovered, self._gave_up)
        await self._nursery.start(run, name=f"plugin {generation.name}")
        if generation.failure is not None:
            await generation.end()
            live = self.live.get(generation.name)
            self._clean(generation, () if live is None else live.context.counters)
            raise PluginError(explain(generation)) from generation.failure

    def _hand_over(self, old: Generation, new: Generation, lenient: bool) -> None:
        """The state, from one generation to the next, when the old one exports any. When `lenient`, what goes wrong is
        only logged."""
        if getattr(old.instance.export_state, "__func__", None) is Plugin.export_state:
            return
        step, found = "export_state()", old.found
        try:
            state = old.instance.export_state()
            step, found = "import_state()", new.found
            new.instance.import_state(state)
        except BaseException as caught:
            error = crash_of(caught)
            if not lenient:
                raise PluginError(f"{new.name}: {step}: {located(error, found)}") from error
            log.error("%s: its state could not be kept", new.name, exc_info=error)

    def _switch(self, old: Generation | None, new: Generation, lenient: bool = False) -> None:
        """The new generation takes over: no await in here, so nobody sees both or neither. Raises what a hand-over or
        what the new one holds raises; the old one is in place then."""
        name = new.name
        if old is not None:
            self._hand_over(old, new, lenient)
            old.context.go_dark()
        try:
            new.context.go_live()
            self._hooks.replace(new.instance, name, new.priority, new.timeout)
        except BaseException:
            new.context.go_dark()
            if old is not None:
                old.context.go_live()
            raise
        if old is not None:
            self._clean(old, new.context.counters, new.context.alarm_names)
        self.live[name] = new
        self._settled(name)
        self._forget_rules()
        new.go()

    async def _reload_exclusive(self, found: Found, old: Generation) -> None:
        """Stop the old one first. Its hooks stay, so that nothing opens meanwhile; it is started again when the new one
        cannot be."""
        new = await self._prepared(found)
        old.context.go_dark(keep_hooks=True)
        await old.end(forget=False)
        try:
            await self._run(new)
            self._switch(old, new)
        except BaseException as caught:
            error = crash_of(caught)
            if not new.ended.is_set():
                await new.end()
                self._clean(new, old.context.counters)
            reason = str(error) if isinstance(error, PluginError) else f"{found.name}: {one_line(error)}"
            await self._start_again(old, reason)
            raise PluginError(f"{reason}; the old one was started again") from error
        old.forget()

    async def _start_again(self, old: Generation, reason: str) -> None:
        """The old code in a new instance. Raises PluginError when that cannot start either; it is off then."""
        try:
            again = old.again()
            await self._run(again)
            self._switch(old, again, lenient=True)
        except BaseException as caught:
            error = crash_of(caught)
            self._disable(old.name, f"{reason}; and the old one could not be started again: {one_line(error)}")
            raise PluginError(f"{reason}; the old one could not be started again: {one_line(error)}") from error

    def _leave(self, generation: Generation) -> None:
        """Take a generation out of everything that calls it."""
        self._hooks.unregister(generation.name)
        generation.context.go_dark()
        self._forget_rules()

    async def _end(self, generation: Generation) -> None:
        calls = self._hooks.in_progress(generation.name)
        self._leave(generation)
        self.live.pop(generation.name, None)
        await calls.settle(STOP_SECONDS)
        await generation.end()
        self._clean(generation)

    def _clean(self, generation: Generation, counters: Iterable[str] = (), alarms: Iterable[str] = ()) -> None:
        """Take away what a generation has left in the broker's tables, but for what the one that serves has as well."""
        for name in generation.context.counters - set(counters):
            self._host.broker.metrics.extra.pop(name, None)
        for alarm in generation.context.alarm_names - set(alarms):
            self._host.alarms.deactivate(alarm)
        generation.context.alarm_names.clear()

    def _forget_rules(self) -> None:
        """Access decisions may differ from now on."""
        has_rules = bool(self._hooks.compiled.acl)
        if has_rules or self._had_rules:
            self._host.broker.forget_grants()
        self._had_rules = has_rules

    async def _save(self, name: str, on: bool) -> None:
        task = self.catalogue.remember(name, on)
        if task is not None:
            await self.off_loop(partial(state.write, *task))

    def _crashed(self, plugin: str, error: BaseException) -> None:
        self._watch.task_crashed(plugin, error)

    def _slow(self, plugin: str, point: str, seconds: float) -> None:
        """A sync hook held the event loop; parts of the broker that have hooks tell of themselves."""
        if plugin in self.live:
            self._watch.slow(plugin, point, seconds)

    def _gave_up(self, generation: Generation, error: GaveUp) -> None:
        if self.live.get(generation.name) is generation:
            self._disable(generation.name, f"run(): {error}")

    def _disable(self, name: str, reason: str) -> None:
        """Switch a live plugin off for good: its hooks at once, its tasks as soon as they let go."""
        generation = self.live.pop(name, None)
        if generation is None:
            return
        log.critical("%s is switched off: %s", name, reason)
        self._off[name] = generation
        self._hooks.disable(name, connect=generation.found.type == "auth")
        generation.context.go_dark()
        self._watch.alarm(DISABLED_ALARM, name, reason=reason)
        self._forget_rules()
        if self._nursery is not None:
            self._nursery.start_soon(generation.end)
