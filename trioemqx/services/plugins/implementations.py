"""What a plugin implements: found by pluggy, checked against the declared points, and counted while it runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

import attrs
import pluggy
import trio

from trioemqx.hookspecs import PRIORITY, PROJECT, AsyncHooks, SyncHooks
from trioemqx.services.plugins.errors import PluginRefused

Calls = dict[str, tuple[Callable[..., Any], int]]
"""What a plugin implements: (function, priority) by point."""


def _points(declared: type) -> list[str]:
    return [name for name in vars(declared) if not name.startswith("_")]


ASYNC_POINTS: Final = frozenset(_points(AsyncHooks))
POINTS: Final = ASYNC_POINTS | frozenset(_points(SyncHooks))
MARK: Final = f"{PROJECT}_impl"
"""The attribute that `hookimpl` leaves at a function."""
ACL_POINTS: Final = ("client_check_acl", "client_check_acl_now")


class InProgress:
    """The async calls of a plugin that are under way."""

    def __init__(self) -> None:
        self.count = 0
        self._idle: trio.Event | None = None

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, counted while it runs."""

        async def run(*args: object) -> object:
            self.count += 1
            try:
                return await call(*args)
            finally:
                self.count -= 1
                if self.count == 0 and self._idle is not None:
                    self._idle.set()

        return run

    async def settle(self, seconds: float) -> None:
        """Wait until none is left, at most so long."""
        if self.count:
            self._idle = trio.Event()
            with trio.move_on_after(seconds):
                await self._idle.wait()


class Settling:
    """The async calls of all of a plugin's objects."""

    def __init__(self, parts: tuple[InProgress, ...]) -> None:
        self._parts = parts

    async def settle(self, seconds: float) -> None:
        """Wait until none is left, at most so long."""
        with trio.move_on_after(seconds):
            for part in self._parts:
                await part.settle(seconds)


class SwitchedOff(Exception):
    """What a denying point of a plugin that is switched off raises, at every call."""


@attrs.define(eq=False)
class Registered:
    """One plugin's implementations: `calls` maps a point to (function, priority)."""

    name: str
    plugin: object
    position: int
    calls: Calls
    timeout: float | None = None
    progress: InProgress = attrs.field(factory=InProgress)

    def decides(self) -> bool:
        """True when it has a say in what clients may do."""
        return any(point in self.calls for point in ACL_POINTS)

    def count(self, calls: Calls) -> None:
        """Take these implementations, the async ones counted while they run."""
        self.calls = {
            point: (self.progress.counted(call) if point in ASYNC_POINTS else call, rank)
            for point, (call, rank) in calls.items()
        }


def implementations(plugin: object, name: str, priority: int | None = None) -> Calls:
    """The implementations of an object by point, adapted to their points' arguments. Raises PluginRefused for a
    point that does not exist, an argument it does not have, or the wrong colour."""
    manager = _manager()
    _check_points(manager, plugin, name)
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        _manager.cache_clear()  # it may know half of the plugin
        raise PluginRefused(f"{name}: {' '.join(str(error).split())}") from None
    try:
        return _found(manager, name, priority)
    finally:
        manager.unregister(plugin)


@functools.cache
def _manager() -> _Manager:
    """One that knows all points and no plugin: it looks at one at a time."""
    manager = _Manager(PROJECT)
    manager.add_hookspecs(AsyncHooks)
    manager.add_hookspecs(SyncHooks)
    return manager


def _found(manager: _Manager, name: str, priority: int | None) -> Calls:
    """What the only plugin of a manager implements. Raises PluginRefused."""
    found = {}
    for point in sorted(POINTS):
        for implementation in getattr(manager.hook, point).get_hookimpls():
            function = implementation.function
            if implementation.hookwrapper or implementation.wrapper:
                raise PluginRefused(f"{name}: {point} cannot be a wrapper")
            _check_colour(name, point, function)
            rank = priority if priority is not None else int(getattr(function, PRIORITY, 0))
            found[point] = (_adapted(point, function, implementation.argnames), rank)
    return found


def function_name(plugin: object, point: str) -> str:
    """What implements a point in an object, `Mine.message_publish`; empty for what only denies."""
    cls = type(plugin)
    if plugin is None:
        return ""
    manager = _Manager(PROJECT)
    for name in (point, *dir(plugin)):
        options = manager.parse_hookimpl_opts(plugin, name) if hasattr(cls, name) else None
        if options is not None and (options.get("specname") or name) == point:
            return f"{cls.__name__}.{name}"
    return cls.__name__


def _refuse(*args: object) -> object:
    """An implementation that has no answer but a crash, which the callers of denying points take for a no."""
    raise SwitchedOff


async def _refuse_later(*args: object) -> object:
    raise SwitchedOff


REFUSALS: Final = (_refuse, _refuse_later)


def denying(point: str) -> Callable[..., Any]:
    """An implementation of a point that always says no."""
    return _refuse_later if point in ASYNC_POINTS else _refuse


class _Manager(pluggy.PluginManager):
    """Leaves properties alone: what they give may be there only once the plugin has started. Most methods of a plugin
    implement nothing, so they are told apart without pluggy's thorough search."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """What `hookimpl` noted at a method; None for anything else."""
        cls = type(plugin)
        if hasattr(plugin, "__dict__") and name not in vars(plugin):
            found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
            if isinstance(found, property | functools.cached_property):
                return None
            if inspect.isroutine(found) and not hasattr(found, MARK):
                return None
        return super().parse_hookimpl_opts(plugin, name)


def _check_points(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Every implementation is one of a point that exists."""
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            continue
        point = options.get("specname") or attribute
        if point not in POINTS:
            close = get_close_matches(point, sorted(POINTS), 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise PluginRefused(f"{name}: there is no hook point {point}{hint}")
        _check_arguments(name, point, getattr(plugin, attribute))


def _check_arguments(plugin: str, point: str, method: Callable[..., Any]) -> None:
    """It takes nothing that its point does not have."""
    names = _arguments(point)
    for wanted, parameter in inspect.signature(method).parameters.items():
        if (
            wanted not in names
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            and parameter.default is parameter.empty
        ):
            close = get_close_matches(wanted, names, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise PluginRefused(f"{plugin}: {point} has no argument {wanted}{hint}; it has {', '.join(names)}")


def _arguments(point: str) -> list[str]:
    declared = AsyncHooks if point in ASYNC_POINTS else SyncHooks
    return list(inspect.signature(getattr(declared, point)).parameters)[1:]


def _check_colour(plugin: str, point: str, method: Callable[..., Any]) -> None:
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise PluginRefused(f"{plugin}: {point} yields; it has to return its answer")
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in inspect.signature(method).parameters.values()):
        raise PluginRefused(f"{plugin}: {point} has keyword-only arguments; they are passed by position")
    is_async = inspect.iscoroutinefunction(method)
    if is_async == (point in ASYNC_POINTS):
        return
    wanted = "async def" if point in ASYNC_POINTS else "def"
    raise PluginRefused(f"{plugin}: {point} must be written with `{wanted}`")


def _adapted(point: str, function: Callable[..., Any], argnames: tuple[str, ...]) -> Callable[..., Any]:
    """The function itself when it takes every argument of its point in order, else a wrapper that picks its own."""
    names = _arguments(point)
    if list(argnames) == names:
        return function
    picks = [names.index(name) for name in argnames]

    def call(*args: Any) -> Any:
        return function(*[args[index] for index in picks])

    return call
