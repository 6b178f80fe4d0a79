"""Who catches what: services are restarted, connections end alone.

`except*` is used throughout, because a nursery inside what is guarded raises groups. Cancellation and KeyboardInterrupt
always pass. SystemExit does not: only a plugin's code raises it, and it must not end the broker.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from trioemqx.errors import TrioemqxError

if TYPE_CHECKING:
    from trioemqx.metrics import Metrics

log = logging.getLogger("trioemqx.supervise")

Crashed = Callable[[str, BaseException], object]
"""Called with (service, what it raised) after each crash."""
Named = Callable[[str], object]


class GaveUp(TrioemqxError):
    """A service crashed too often to be restarted once more. `service` is its name; the last crash is the cause."""

    def __init__(self, service: str, crashes: int, window: float) -> None:
        super().__init__(f"{service} crashed {crashes} times in {window:g} s")
        self.service = service


@attrs.frozen
class RestartPolicy:
    """Wait `first` seconds after the first crash, twice as long after each further one, at most `longest`; give up at
    `crashes` crashes within `window` seconds. A service that ran for `window` seconds starts from the beginning."""

    first: float = 0.2
    longest: float = 10.0
    crashes: int = 5
    window: float = 60.0


def _ignore(name: str) -> None:
    """Default for the callbacks: nobody wants to know."""


def _ignore_crash(name: str, error: BaseException) -> None:
    """Default for the callbacks: nobody wants to know."""


async def supervise(
    name: str,
    fn: Callable[[], Awaitable[object]],
    *,
    metrics: Metrics,
    on_crash: Crashed = _ignore_crash,
    on_give_up: Named = _ignore,
    on_recovered: Named = _ignore,
    policy: RestartPolicy | None = None,
    clock: Callable[[], float] = trio.current_time,
) -> None:
    """Run `fn` until it returns, restarting it when it crashes.

    Each crash is logged with its traceback, counted, and told to `on_crash` (which raises the alarm
    `<service>_crashed`); `on_recovered` is called once a restarted service has run for `policy.window` seconds.
    Raises GaveUp, after telling `on_give_up`, when the policy's limit is reached. `clock` gives seconds and is only
    read to count crashes.
    """

    def report(crash: BaseException) -> None:
        metrics.service_crashed += 1
        log.error("service %s crashed", name, exc_info=crash)
        on_crash(name, crash)

    policy = policy or RestartPolicy()
    recent: deque[float] = deque(maxlen=policy.crashes)
    delay = policy.first
    while True:
        began = clock()
        crash = await _run_once(name, fn, report, on_recovered if recent else None, policy.window)
        if crash is None:
            return
        now = clock()
        if now - began >= policy.window:
            recent.clear()
            delay = policy.first
        recent.append(now)
        if len(recent) == policy.crashes and now - recent[0] <= policy.window:
            on_give_up(name)
            raise GaveUp(name, policy.crashes, policy.window) from crash
        await trio.sleep(delay)
        delay = min(policy.longest, delay * 2)


async def _run_once(
    name: str,
    fn: Callable[[], Awaitable[object]],
    report: Callable[[BaseException], None],
    on_recovered: Named | None,
    window: float,
) -> BaseException | None:
    """One life of the service: None when it returned, else what it raised, after reporting it. What was raised beside
    a crash (a cancellation) passes through."""
    crash: BaseException | None = None
    try:
        if on_recovered is None:
            await fn()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_after, window, on_recovered, name)
                await fn()
                nursery.cancel_scope.cancel()
    except* (Exception, SystemExit) as group:
        crash = _single(group)
        report(crash)
    return crash


async def _after(seconds: float, call: Named, name: str) -> None:
    await trio.sleep(seconds)
    call(name)


def _single(group: BaseException) -> BaseException:
    """The error itself when a group holds just one: its traceback is what people want to read."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group


def _nobody() -> Mapping[str, object]:
    return {}


async def guarded(
    name: str,
    fn: Callable[[], Awaitable[object]],
    *,
    metrics: Metrics,
    extra: Callable[[], Mapping[str, object]] = _nobody,
    on_crash: Crashed = _ignore_crash,
) -> None:
    """Run one connection: a bug in it ends it alone, logged with its traceback and counted.

    `name` says what it is ("connection"), `extra` gives the log record's client id and peer as they are when it
    crashes. A peer that goes away in the middle of an operation is no crash.
    """
    try:
        await fn()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("%s: the peer went away", name, extra=extra())
    except* Exception as group:
        crash = _single(group)
        metrics.connection_crashed += 1
        log.error("%s crashed", name, exc_info=crash, extra=extra())
        on_crash(name, crash)


async def open_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A branch of the tree that others put tasks into."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        task_status.started(nursery)
