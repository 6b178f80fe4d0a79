"""The one pluggy registry: who implements which hook, compiled into the tuples that the broker calls.

pluggy declares the points, finds implementations and says which arguments each takes. The order is ours: by priority,
then by the order in which plugins were loaded, so that a reload changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from trioemqx.hooks import AclCall, Chain, Hooks
from trioemqx.services.plugins.discovery import DENYING
from trioemqx.services.plugins.errors import PluginRefused
from trioemqx.services.plugins.implementations import (
    ACL_POINTS,
    ASYNC_POINTS,
    POINTS,
    REFUSALS,
    Calls,
    Registered,
    Settling,
    SwitchedOff,
    denying,
    function_name,
    implementations,
)
from trioemqx.services.plugins.measuring import Stopwatch, measured

if TYPE_CHECKING:
    from trioemqx.metrics import Metrics

log = logging.getLogger("trioemqx.plugins")

MAX_ERRORS: Final = 10_000
"""Pairs of plugin and point whose crashes are counted."""

Sink = Callable[[str, str, tuple[object, ...], object], None]
"""Told (plugin, point, arguments, result or exception) of each call while a point is traced."""


@attrs.frozen
class Entry:
    """An implementation of a point. `errors` counts its crashes since the start."""

    plugin: str
    function: str
    priority: int
    errors: int


class HookRegistry:
    """Registers objects with `@hookimpl` methods and compiles them into `compiled`.

    `orders` may name the plugins that come first at a point, `(name, …)` by point (`auth_order`, `acl_order`).
    `on_crash` is told (plugin, point) of every crash, `on_slow` (plugin, point, seconds) of a sync hook that held the
    loop.
    """

    def __init__(self) -> None:
        self.compiled = Hooks()
        self.compiled.crashed = self._crashed
        self.compiled.clock = time.perf_counter
        self.compiled.tell_slow = self._slow
        self.metrics: Metrics | None = None
        self.orders: Mapping[str, tuple[str, ...]] = {}
        self.on_crash: Callable[[str, str], None] = lambda plugin, point: None
        self.on_rules: Callable[[], None] = lambda: None
        """Called when access rules came or went with a further object of a plugin."""
        self.on_slow: Callable[[str, str, float], None] = lambda plugin, point, seconds: None
        self._registered: dict[str, Registered] = {}
        self._further: list[Registered] = []
        """More objects of plugins that are registered, or are about to be."""
        self._positions: dict[str, int] = {}
        self._sinks: dict[str, list[Sink]] = {}
        self._stopwatches: list[Stopwatch] = []
        self._errors: dict[tuple[str, str], int] = {}

    # -- who is there ------------------------------------------------------------------------------------------------

    def register(self, plugin: object, name: str, priority: int | None = None, timeout: float | None = None) -> None:
        """Add an object's implementations under a name. `priority` replaces those of its marks, `timeout` bounds its
        async hooks. Raises PluginRefused; nothing is registered then."""
        if name in self._registered or any(known.plugin is plugin for known in self._registered.values()):
            raise PluginRefused(f"{name}: already registered")
        self.replace(plugin, name, priority, timeout)

    def replace(self, plugin: object, name: str, priority: int | None = None, timeout: float | None = None) -> None:
        """As `register`, in place of what was registered under the name: in the same position, in one assignment per
        point, with no await between them."""
        calls = self.check(plugin, name, priority)
        position = self._position(name)
        known = self._registered[name] = Registered(name, plugin, position, {}, timeout)
        known.count(calls)
        self._compile()

    def add(self, implementations: object, name: str, priority: int | None = None) -> Callable[[], None]:
        """Register a further object's implementations under a plugin's name: in its position, with its timeout, until
        the function that is returned is called. Raises PluginRefused."""
        calls = self.check(implementations, name, priority)
        position = self._position(name)
        more = Registered(name, implementations, position, {})
        more.count(calls)
        self._further.append(more)
        self._compile()
        if more.decides():
            self.on_rules()

        def remove() -> None:
            self._further.remove(more)
            self._compile()
            if more.decides():
                self.on_rules()

        return remove

    def unregister(self, name: str) -> bool:
        """Remove what was registered under a name; False when nothing was. A call in progress finishes."""
        self._positions.pop(name, None)
        if self._registered.pop(name, None) is None:
            return False
        self._compile()
        return True

    def disable(self, name: str, connect: bool = False) -> None:
        """Switch a plugin's hooks off: those that decide who may do what deny from now on, `client_connect` too with
        `connect`; the others are gone."""
        known = self._registered.get(name)
        if known is not None:
            own = [known, *(more for more in self._further if more.name == name)]
            kept = {point: rank for part in own for point, (_, rank) in part.calls.items() if point in DENYING}
            if not connect:
                kept.pop("client_connect", None)
            known.calls = {point: (denying(point), rank) for point, rank in kept.items()}
            self._compile()

    def guard(self, name: str, points: tuple[str, ...]) -> None:
        """Deny at these points for a plugin that should be live and is not."""
        position = self._position(name)
        calls = {point: (denying(point), 0) for point in points if point in DENYING}
        self._registered[name] = Registered(name, None, position, calls)
        self._compile()

    def _position(self, name: str) -> int:
        """A plugin's place among those of the same priority: that of its first load."""
        return self._positions.setdefault(name, max(self._positions.values(), default=0) + 1)

    def check(self, plugin: object, name: str, priority: int | None = None) -> Calls:
        """As `implementations`: raises PluginRefused for what could not be registered."""
        return implementations(plugin, name, priority)

    def order(self, orders: Mapping[str, tuple[str, ...]]) -> None:
        """Take a new `auth_order` and `acl_order`."""
        self.orders = orders
        self._compile()

    def denies(self, name: str) -> bool:
        """True when a plugin's hooks only say no, because it should be live and is not."""
        known = self._registered.get(name)
        return known is not None and bool(known.calls) and all(call in REFUSALS for call, _ in known.calls.values())

    def in_progress(self, name: str) -> Settling:
        """The async calls of what is registered under a name now."""
        return Settling(tuple(known.progress for known in self._everything() if known.name == name))

    def _everything(self) -> list[Registered]:
        return [*self._registered.values(), *self._further]

    def details(self) -> Iterator[tuple[str, list[Entry]]]:
        """As `describe`, with the function of each and how often it crashed."""
        for point in sorted(POINTS):
            if chain := self._ordered(point):
                yield (
                    point,
                    [
                        Entry(
                            known.name,
                            function_name(known.plugin, point),
                            known.calls[point][1],
                            self._errors.get((known.name, point), 0),
                        )
                        for known in chain
                    ],
                )

    def describe(self) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """(point, [(plugin, priority) in the order of calls]) for every point that somebody listens to."""
        for point in sorted(POINTS):
            if chain := self._ordered(point):
                yield point, [(known.name, known.calls[point][1]) for known in chain]

    # -- tracing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def trace(self, point: str, sink: Sink) -> Iterator[None]:
        """Tell `sink` of every call at a point for the length of the block. KeyError for an unknown point."""
        if point not in POINTS:
            raise KeyError(point)
        self._sinks.setdefault(point, []).append(sink)
        self._compile()
        try:
            yield
        finally:
            self._sinks[point].remove(sink)
            self._compile()

    def _traced(self, name: str, point: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, telling the sinks of the point."""

        def tell(args: tuple[object, ...], result: object) -> None:
            for sink in list(self._sinks[point]):
                sink(name, point, args, result)

        def plain(*args: object) -> object:
            try:
                result = call(*args)
            except Exception as error:
                tell(args, error)
                raise
            tell(args, result)
            return result

        async def waiting(*args: object) -> object:
            try:
                result = await call(*args)
            except Exception as error:
                tell(args, error)
                raise
            tell(args, result)
            return result

        return waiting if point in ASYNC_POINTS else plain

    # -- measuring ---------------------------------------------------------------------------------------------------

    @property
    def measuring(self) -> int:
        """How many are measuring."""
        return len(self._stopwatches)

    def measure(self, told: Stopwatch) -> Callable[[], None]:
        """Have a function told how long each call at each point takes, until the function that is returned is called.
        The time of an async hook has its waiting in it. While nobody measures, calls cost what they did before."""
        self._stopwatches.append(told)
        self._compile()

        def stop() -> None:
            self._stopwatches.remove(told)
            self._compile()

        return stop

    # -- compiling ---------------------------------------------------------------------------------------------------

    def _ordered(self, point: str) -> list[Registered]:
        """Who implements a point, in the order of calls."""
        first = {name: place for place, name in enumerate(self.orders.get(point, ()))}
        chain = [known for known in self._everything() if point in known.calls]
        chain.sort(key=lambda known: (first.get(known.name, len(first)), -known.calls[point][1], known.position))
        return chain

    def _chain(self, point: str) -> Chain:
        return tuple(
            (known.name, self._watched(known.name, point, known.calls[point][0])) for known in self._ordered(point)
        )

    def _watched(self, name: str, point: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, measured and traced where somebody wants that."""
        if self._stopwatches:
            call = measured(call, name, point, self._stopwatches, point in ASYNC_POINTS)
        return self._traced(name, point, call) if self._sinks.get(point) else call

    def _compile(self) -> None:
        """New tuples for every point."""
        compiled = self.compiled
        for point in POINTS:
            setattr(compiled, point, self._chain(point))
        compiled.acl = self._acl_chain()
        compiled.timeouts = {
            known.name: known.timeout for known in self._registered.values() if known.timeout is not None
        }

    def _acl_chain(self) -> tuple[AclCall, ...]:
        """Both access points in one order: an implementation that can answer at once may come before one that waits."""
        merged = []
        for point in ACL_POINTS:
            waits = point in ASYNC_POINTS
            first = {name: place for place, name in enumerate(self.orders.get("client_check_acl", ()))}
            merged += [
                ((first.get(known.name, len(first)), -known.calls[point][1], known.position), call, waits)
                for known, (_, call) in zip(self._ordered(point), self._chain(point), strict=True)
            ]
        names = {known.position: known.name for known in self._everything()}
        merged.sort(key=lambda entry: entry[0])
        return tuple((names[rank[2]], call, waits) for rank, call, waits in merged)

    # -- what went wrong ---------------------------------------------------------------------------------------------

    def _crashed(self, plugin: str, point: str, error: BaseException) -> None:
        if isinstance(error, SwitchedOff):
            return
        if self.metrics is not None:
            self.metrics.hook_crashed += 1
        if len(self._errors) < MAX_ERRORS or (plugin, point) in self._errors:
            self._errors[plugin, point] = self._errors.get((plugin, point), 0) + 1
        log.error("hook %s of %s crashed", point, plugin, exc_info=error)
        self.on_crash(plugin, point)

    def _slow(self, plugin: str, point: str, seconds: float) -> None:
        self.on_slow(plugin, point, seconds)
