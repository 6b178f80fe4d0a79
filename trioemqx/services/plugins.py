"""The one pluggy registry: who implements which hook, compiled into the tuples that the broker calls."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

from trioemqx.errors import TrioemqxError
from trioemqx.hooks import Chain, Hooks
from trioemqx.hookspecs import PROJECT, AsyncHooks, SyncHooks

if TYPE_CHECKING:
    from trioemqx.metrics import Metrics

log = logging.getLogger("trioemqx.plugins")


class PluginRefused(TrioemqxError):
    """A hook implementation of the wrong colour or with arguments its point does not have."""


def _points(declared: type) -> list[str]:
    return [name for name in vars(declared) if not name.startswith("_")]


ASYNC_POINTS = frozenset(_points(AsyncHooks))
POINTS = ASYNC_POINTS | frozenset(_points(SyncHooks))


class HookRegistry:
    """Registers objects with `@hookimpl` methods and compiles them into `compiled`."""

    def __init__(self) -> None:
        self.compiled = Hooks()
        self.compiled.crashed = self._crashed
        self.metrics: Metrics | None = None
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(AsyncHooks)
        self._manager.add_hookspecs(SyncHooks)

    def register(self, plugin: object, name: str) -> None:
        """Add an object's implementations under a name. Raises PluginRefused; nothing is registered then."""
        if self._manager.has_plugin(name) or self._manager.is_registered(plugin):
            raise PluginRefused(f"{name}: already registered")
        try:
            self._manager.register(plugin, name)
            self._check(name)
        except (pluggy.PluginValidationError, PluginRefused) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise error if isinstance(error, PluginRefused) else PluginRefused(f"{name}: {error}") from error
        self._compile()

    def _check(self, name: str) -> None:
        """Every implementation of a plugin has the colour of its point, whatever the method itself is called."""
        for point in POINTS:
            for found in getattr(self._manager.hook, point).get_hookimpls():
                if found.plugin_name != name:
                    continue
                if found.hookwrapper or found.wrapper:
                    raise PluginRefused(f"{name}: {point} cannot be a wrapper")
                _check_colour(name, point, found.function)

    def unregister(self, name: str) -> bool:
        """Remove what was registered under a name; False when nothing was. A call in progress finishes."""
        if not self._manager.has_plugin(name):
            return False
        self._manager.unregister(name=name)
        self._compile()
        return True

    def _compile(self) -> None:
        """New tuples for every point, in pluggy's call order (last registered first, tryfirst and trylast apart)."""
        for point in POINTS:
            implementations = getattr(self._manager.hook, point).get_hookimpls()
            chain: Chain = tuple(
                (found.plugin_name, _adapted(point, found.function, found.argnames))
                for found in reversed(implementations)
            )
            setattr(self.compiled, point, chain)

    def _crashed(self, plugin: str, point: str, error: Exception) -> None:
        if self.metrics is not None:
            self.metrics.hook_crashed += 1
        log.error("hook %s of %s crashed", point, plugin, exc_info=error)


def _check_colour(plugin: str, point: str, method: Callable[..., Any]) -> None:
    is_async = inspect.iscoroutinefunction(method)
    if is_async == (point in ASYNC_POINTS):
        return
    wanted = "async def" if point in ASYNC_POINTS else "def"
    raise PluginRefused(f"{plugin}: {point} must be written with `{wanted}`")


def _adapted(point: str, function: Callable[..., Any], argnames: tuple[str, ...]) -> Callable[..., Any]:
    """The function itself when it takes every argument of its point in order, else a wrapper that picks its own."""
    declared = AsyncHooks if point in ASYNC_POINTS else SyncHooks
    names = list(inspect.signature(getattr(declared, point)).parameters)[1:]
    if list(argnames) == names:
        return function
    picks = [names.index(name) for name in argnames]

    def call(*args: Any) -> Any:
        return function(*[args[index] for index in picks])

    return call
