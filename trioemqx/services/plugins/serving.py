"""What serves now: the live generation of each plugin, and what the broker's tables hold because of it.

Nothing here awaits. A change of hands (`Serving.switch`) is therefore one step: nobody sees two generations of a
plugin, or none. The manager takes generations from step to step; no other module changes these tables.
"""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from trioemqx.config.model import Config
from trioemqx.errors import crash_of
from trioemqx.services.plugins import discovery
from trioemqx.services.plugins.base import Plugin
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.generation import Generation, located
from trioemqx.services.plugins.handles import Host
from trioemqx.services.plugins.ordering import orders
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.services.plugins.watch import DISABLED_ALARM, NOT_LOADED_ALARM, Watch
from trioemqx.services.supervise import GaveUp

log = logging.getLogger("trioemqx.plugins")


class Serving:
    """`live` are the generations that serve, by name; `nursery` is where their tasks run, None before the start."""

    def __init__(self, host: Host, hooks: HookRegistry, config: Config) -> None:
        self.live: dict[str, Generation] = {}
        self.off: dict[str, Generation] = {}
        """What was switched off after crashes, until it is loaded or unloaded."""
        self.failed: dict[str, str] = {}
        """Why what should be live is not, until it is loaded or unloaded."""
        self.nursery: trio.Nursery | None = None
        self.watch = Watch(host, self.disable, config.plugins.max_crashes)
        self._host = host
        self._hooks = hooks
        self._had_rules = False
        hooks.on_crash = self.watch.hook_crashed
        hooks.on_slow = self._slow
        hooks.on_rules = self.forget_grants
        hooks.orders = orders(config)

    # -- what there is -----------------------------------------------------------------------------------------------

    def is_held(self, name: str) -> bool:
        """Whether it is live, or should be: until it is unloaded."""
        return name in self.live or name in self.off or name in self.failed

    def folders(self) -> list[Path]:
        """The folders whose code is live, or was until it was switched off."""
        generations = (*self.live.values(), *self.off.values())
        return [generation.found.folder for generation in generations if generation.found.folder is not None]

    def problem(self, found: Found) -> str:
        """Why a plugin is not live, or cannot be; "" when it is, and where there is no reason."""
        if found.name in self.live:
            return ""
        if found.name in self.off:
            return "switched off after crashes"
        return self.failed.get(found.name, found.problem)

    # -- changes -----------------------------------------------------------------------------------------------------

    def configure(self, config: Config) -> None:
        """Take what a configuration says of all plugins together."""
        self._hooks.order(orders(config))
        self.forget_grants()
        self.watch.max_crashes = config.plugins.max_crashes

    def switch(self, old: Generation | None, new: Generation, lenient: bool = False) -> None:
        """The new generation takes over from the old one, with its state. With `lenient` a state that cannot be handed
        over is lost and logged. Raises PluginError when it cannot, and whatever the new one's hooks and handles raise;
        the old one is in place then."""
        name = new.name
        if old is not None:
            _hand_over(old, new, lenient)
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
            self.clean(old, new)
        self.live[name] = new
        self.settled(name)
        self.forget_grants()
        new.go()

    def leave(self, generation: Generation) -> None:
        """Take a live generation out of everything that calls it. It is still to be ended, and cleaned up after."""
        self._hooks.unregister(generation.name)
        generation.context.go_dark()
        self.forget_grants()
        self.live.pop(generation.name, None)

    def unloaded(self, name: str) -> None:
        """A plugin is not to be live any more: what it denied while it should have been is open again."""
        self._hooks.unregister(name)
        self.settled(name)
        self.forget_grants()

    def settled(self, name: str) -> None:
        """It is live now, or is not to be: what was wrong with it before is over."""
        off = self.off.pop(name, None)
        if off is not None:
            self.clean(off, self.live.get(name))
        self.failed.pop(name, None)
        self.watch.clear(name)

    def clean(self, generation: Generation, serving: Generation | None = None) -> None:
        """Take away the metrics and alarms that a generation has left, but for those that the one which is serving has
        as well."""
        counters = set() if serving is None else serving.context.counters
        alarms = set() if serving is None else serving.context.alarm_names
        for name in generation.context.counters - counters:
            self._host.broker.metrics.extra.pop(name, None)
        for alarm in generation.context.alarm_names - alarms:
            self._host.alarms.deactivate(alarm)
        generation.context.alarm_names.clear()

    def forget_grants(self) -> None:
        """Have clients asked for again: access decisions may differ from now on."""
        has_rules = bool(self._hooks.compiled.acl)
        if has_rules or self._had_rules:
            self._host.broker.forget_grants()
        self._had_rules = has_rules

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def not_loaded(self, name: str, reason: str, found: Found | None) -> None:
        """Something that should be live is not: say so, and deny what it might have decided. `found` is None where only
        its name is known."""
        log.error("%s was not loaded: %s", name, reason)
        self.watch.alarm(NOT_LOADED_ALARM, name, reason=reason)
        self.failed[name] = reason
        guards = discovery.guards_of_name(name) if found is None else discovery.guards_in_code(found)
        if guards:
            self._hooks.guard(name, guards)
            log.error("%s: denied until it is loaded or unloaded: %s", name, ", ".join(guards))

    def disable(self, name: str, reason: str) -> None:
        """Switch a live plugin off for good: its hooks at once, its tasks as soon as they let go."""
        generation = self.live.pop(name, None)
        if generation is None:
            return
        log.critical("%s is switched off: %s", name, reason)
        self.off[name] = generation
        self._hooks.disable(name, connect=generation.found.type == "auth")
        generation.context.go_dark()
        self.watch.alarm(DISABLED_ALARM, name, reason=reason)
        self.forget_grants()
        if self.nursery is not None:
            self.nursery.start_soon(generation.end)

    def gave_up(self, generation: Generation, error: GaveUp) -> None:
        """A generation's `run` crashed too often."""
        if self.live.get(generation.name) is generation:
            self.disable(generation.name, f"run(): {error}")

    def _slow(self, plugin: str, point: str, seconds: float) -> None:
        """A sync hook held the event loop; parts of the broker that have hooks tell of themselves."""
        if plugin in self.live:
            self.watch.slow(plugin, point, seconds)


def _hand_over(old: Generation, new: Generation, lenient: bool) -> None:
    """The state, from one generation to the next, when the old one exports any. Raises PluginError, or, when `lenient`,
    logs what goes wrong."""
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
