"""Loads, unloads and reloads plugins and modules while clients stay connected.

One change at a time (`changes`). A reload proves the new code (`starting`: import, settings, hooks, `start`) while the
old generation serves; the switch (`serving`) is one synchronous step, in which state is handed over and every table
changes; then the old one is ended. Whatever fails before the switch changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
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
from trioemqx.services.plugins.changes import Changes
from trioemqx.services.plugins.discovery import Found, one_line
from trioemqx.services.plugins.errors import BadSettings, PluginError
from trioemqx.services.plugins.generation import STOP_SECONDS, Generation, configured, sentence
from trioemqx.services.plugins.handles import Host
from trioemqx.services.plugins.listing import Listed, listed
from trioemqx.services.plugins.logtail import LogTail
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.services.plugins.serving import Serving
from trioemqx.services.plugins.starting import Starter
from trioemqx.services.plugins.switches import switches

log = logging.getLogger("trioemqx.plugins")

T = TypeVar("T")
TABLES: Final = "plugin_tables module_tables module auth web prometheus psk telemetry bridge acl_file".split()
"""What of the configuration belongs to plugins and modules."""


class PluginManager:
    """The plugins and modules of one node. `run` is their branch of the nursery tree.

    `live` are those that serve, by name; `catalogue` knows what there is, `built_in` the parts of the broker that EMQX
    has as plugins, `tail` what plugins have logged last. `inline` keeps off threads: for virtual time, which would run
    on meanwhile.
    """

    def __init__(self, host: Host, hooks: HookRegistry, config: Config, inline: bool = False) -> None:
        self.built_in = switches()
        self.catalogue = Catalogue(config)
        self.serving = Serving(host, hooks, config)
        self.live = self.serving.live
        self.tail = LogTail(lambda: self.catalogue.found)
        self._starter = Starter(host, hooks, self.catalogue, self.serving, inline)
        self._changes = Changes()
        self._hooks = hooks
        self._inline = inline

    @property
    def config(self) -> Config:
        """The configuration that plugins have their settings from."""
        return self.catalogue.config

    @property
    def problems(self) -> list[str]:
        """What should be live and is not, one line each."""
        return [f"{name} was not loaded: {reason}" for name, reason in self.serving.failed.items()]

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what has to be loaded, report started, own the plugins' tasks until cancelled. A plugin that cannot be
        loaded does not stop the broker: what it guards is denied, and an alarm says why."""
        with self.tail.attached():
            async with trio.open_nursery() as nursery:
                self.serving.nursery = self._changes.nursery = nursery
                await self._load_wanted()
                task_status.started()
                await trio.sleep_forever()

    async def close(self) -> None:
        """Stop everything, the last one first; a change that is under way is given up."""
        async with self._changes.closed():
            for generation in reversed([*self.live.values()]):
                await self._end(generation)

    async def _load_wanted(self) -> None:
        catalogue = self.catalogue
        catalogue.discover()
        wanted = catalogue.wanted()
        for part in self.built_in.values():
            if part.turn is not None and not self._wants(part.name):
                part.switch(False)
        for problem in catalogue.unreadable:  # it might name what keeps strangers out, so nobody comes in
            self.serving.not_loaded(UNREADABLE, problem, None)
        for name in wanted:
            if name in self.built_in:
                continue
            try:
                await self._load(name)
            except Exception as error:
                reason = str(error) if isinstance(error, PluginError) else one_line(error)
                self.serving.not_loaded(name, reason, catalogue.found.get(name))

    def _wants(self, part: str) -> bool:
        """Whether a part of the broker is to be on at the start: unless the state file says that it was switched off.
        `plugins.load` says nothing of them."""
        return self.config.plugins.load is not None or self.catalogue.states["plugin"].get(part, True)

    # -- what everybody may ask --------------------------------------------------------------------------------------

    def listing(self, kind: str = "plugin") -> list[Listed]:
        """Everything of a kind (`plugin` or `module`) that could be loaded, by name."""
        return listed(kind, self.catalogue.discover(), self.serving)

    async def look(self, kind: str = "plugin") -> list[Listed]:
        """The same, without keeping others waiting while the disk is read."""
        return listed(kind, await self.off_loop(self.catalogue.discover), self.serving)

    def is_held(self, name: str) -> bool:
        """Whether it is live, or should be: until it is unloaded."""
        return self.serving.is_held(name)

    def folders(self) -> list[Path]:
        """The folders whose code is live, or was until it was switched off."""
        return self.serving.folders()

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

    async def change(self, change: Callable[[str], Awaitable[None]], name: str) -> None:
        """Do one change, and no other one meanwhile; it is done whole, whoever asked for it. Raises PluginError."""
        await self._changes.do(change, name)

    async def off_loop(self, call: Callable[[], T]) -> T:
        """What reads or writes files, in a thread."""
        return call() if self._inline else await trio.to_thread.run_sync(call)

    # -- settings ----------------------------------------------------------------------------------------------------

    async def configure(self, config: Config) -> list[str]:
        """Take a new configuration: plugins whose settings changed apply them or are reloaded. Returns a line for each
        that could not; it goes on with its old settings."""
        self.catalogue.config = config
        self.serving.configure(config)
        problems = []
        for name, generation in list(self.live.items()):
            try:
                await self._configure_one(generation, config)
            except BaseException as caught:
                problems.append(sentence(name, crash_of(caught)))
        return problems

    async def _configure_one(self, generation: Generation, config: Config) -> None:
        instance = generation.instance
        settings, timeout, priority, _shipped = configured(generation.found, type(instance), config)
        of_hooks = (timeout if timeout is not None else instance.hook_timeout, priority)
        same_hooks = of_hooks == (generation.timeout, generation.priority)
        if same_hooks and settings == instance.config:
            return
        if same_hooks and instance.config_changed(settings):
            instance.config = settings
            self.serving.forget_grants()
        else:
            await self.reload(generation.name)

    async def check(self, config: Config) -> None:
        """Raise PluginError when a live plugin could not take its settings in a configuration; nothing is changed."""
        for generation in list(self.live.values()):
            await self.off_loop(partial(configured, generation.found, type(generation.instance), config))

    async def _look_again(self) -> dict[str, Found]:
        """What there is now, and the settings as they are written now: those of plugins, the rest waits for SIGHUP.
        Raises PluginError when the configuration has errors."""
        config = self.config
        if config.source is not None and (config.path is not None or config.saved):
            try:
                new = await self.off_loop(partial(config.source, None))
            except ConfigErrors as errors:
                raise BadSettings("; ".join(map(str, errors.errors))) from errors
            tables = {table: getattr(new, table) for table in TABLES}
            self.catalogue.config = attrs.evolve(self.config, origins=new.origins, **tables)
        return await self.off_loop(self.catalogue.discover)

    async def _save(self, name: str, on: bool) -> None:
        task = self.catalogue.remember(name, on)
        if task is not None:
            await self.off_loop(partial(state.write, *task))

    # -- load and unload ---------------------------------------------------------------------------------------------

    async def _load_and_save(self, name: str) -> None:
        await self._look_again()
        if name in self.built_in:
            self.built_in[name].switch(True)
        else:
            await self._load(name)
        log.info("%s was loaded", name)
        await self._save(name, True)

    async def _load(self, name: str) -> None:
        if name in self.live:
            raise PluginError(f"{name}: already started", "already_started")
        await self._take_over(None, await self._starter.started(discovery.pick(self.catalogue.found, name)))

    async def _unload(self, name: str) -> None:
        generation = self.live.get(name)
        if name in self.built_in:
            self.built_in[name].switch(False)
        elif generation is not None:
            await self._end(generation)
        elif not self.is_held(name):
            if name not in await self.off_loop(self.catalogue.discover):
                discovery.pick(self.catalogue.found, name)
            raise PluginError(f"{name}: not started", "not_started")
        self.serving.unloaded(name)
        log.info("%s was unloaded", name)
        await self._save(name, False)

    async def _end(self, generation: Generation) -> None:
        calls = self._hooks.in_progress(generation.name)
        self.serving.leave(generation)
        await calls.settle(STOP_SECONDS)
        await generation.end()
        self.serving.clean(generation)

    # -- reload ------------------------------------------------------------------------------------------------------

    async def _reload(self, name: str) -> None:
        found = await self._look_again()
        old = self.live.get(name)
        if name in self.built_in:
            if not await self.built_in[name].reload():
                await self._save(name, True)
        elif old is None:
            await self._load(name)
            await self._save(name, True)
        elif old.instance.exclusive:
            await self._reload_exclusive(discovery.pick(found, name), old)
        else:
            await self._reload_beside(discovery.pick(found, name))
        log.info("%s was reloaded", name)

    async def _reload_beside(self, found: Found) -> None:
        """Start the new one while the old one serves, then switch."""
        new = await self._starter.started(found)
        old = self.live.get(found.name)  # None: it was switched off meanwhile
        calls = self._hooks.in_progress(found.name)
        await self._take_over(old, new)
        await calls.settle(STOP_SECONDS)
        if old is not None:
            await old.end()

    async def _take_over(self, old: Generation | None, new: Generation) -> None:
        """Switch to a new generation. Raises PluginError, and ends it, when it cannot take over."""
        try:
            self.serving.switch(old, new)
        except BaseException as caught:
            error = crash_of(caught)
            await new.end()
            self.serving.clean(new, old)
            raise PluginError(sentence(new.name, error)) from error

    async def _reload_exclusive(self, found: Found, old: Generation) -> None:
        """Stop the old one first. Its hooks stay, so that nothing opens meanwhile; it is started again when the new one
        cannot be."""
        new = await self._starter.prepared(found)
        old.context.go_dark(keep_hooks=True)
        await old.end(forget=False)
        try:
            await self._starter.run(new)
            self.serving.switch(old, new)
        except BaseException as caught:
            error = crash_of(caught)
            if not new.ended.is_set():
                await new.end()
                self.serving.clean(new, old)
            reason = sentence(found.name, error)
            await self._start_again(old, reason)
            raise PluginError(f"{reason}; the old one was started again") from error
        old.forget()

    async def _start_again(self, old: Generation, reason: str) -> None:
        """The old code in a new instance. Raises PluginError when that cannot start either; it is off then."""
        try:
            again = old.again()
            await self._starter.run(again)
            self.serving.switch(old, again, lenient=True)
        except BaseException as caught:
            error = crash_of(caught)
            self.serving.disable(old.name, f"{reason}; and the old one could not be started again: {one_line(error)}")
            raise PluginError(f"{reason}; the old one could not be started again: {one_line(error)}") from error
