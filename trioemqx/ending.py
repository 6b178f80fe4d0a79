"""How a node ends: in good order, within a time that nobody can stretch.

Three bounds, each for what the one before cannot deal with. Every step of the orderly end has one of its own; all steps
together have ORDERLY, after which everything is cancelled; and what does not even end then (code that blocks in a
thread, that shields itself, that holds the event loop) is left behind by `LastResort`, which ends the process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trioemqx.errors import ReasonCode

if TYPE_CHECKING:
    from trioemqx.api.service import ApiService
    from trioemqx.core.broker import Broker
    from trioemqx.listeners.manager import ListenerManager
    from trioemqx.listeners.pump import Pump
    from trioemqx.rules.engine import RuleEngine
    from trioemqx.services.plugins.manager import PluginManager

log = logging.getLogger("trioemqx.node")

DRAIN: Final = 5.0
"""Seconds connected clients get to take what is queued for their sockets when the node stops."""
ORDERLY: Final = 12.0
"""Seconds for the whole of the orderly end; then what is left is cancelled."""
LAST_RESORT: Final = 25.0
"""Seconds after the signal at which the process ends whatever still runs. systemd's patience is 30."""
HURRIED: Final = 3.0
"""The same after a second signal."""
SAVING: Final = 10.0
"""Seconds the last resort leaves the store."""
HELD: Final = 70
"""Exit code when the event loop is held, so that nothing more could be written."""
SHUTTING_DOWN: Final = ReasonCode.SERVER_SHUTTING_DOWN.value


class Ending(Protocol):
    """What of a node has to be ended."""

    listeners: ListenerManager
    pump: Pump
    pump_lives: bool
    broker: Broker
    rules: RuleEngine
    plugins: PluginManager
    api: ApiService | None

    def end_connections(self) -> None:
        """Cancel the tasks of all connections."""


async def in_order(node: Ending) -> None:
    """Clients, then rules, plugins and the HTTP API, each told and given time."""
    with trio.move_on_after(ORDERLY) as scope:
        await drain(node)
        await node.rules.drain()
        await node.plugins.close()
        if node.api is not None:
            await node.api.end()
    if scope.cancelled_caught:
        log.error("not everything has ended in good order within %g s; it is cancelled", ORDERLY)


async def drain(node: Ending) -> None:
    """Stop accepting, tell MQTT 5 clients, let sockets take what is queued, then end every connection."""
    node.listeners.close()
    node.pump.tell_time()
    registry = node.broker.registry
    registry.defers = True
    node.pump.turn.close_deadline = DRAIN
    for channel in list(registry.channels):
        channel.close(SHUTTING_DOWN, "shutdown")
    node.broker.wake()
    with trio.move_on_after(DRAIN if node.pump_lives else 0):
        while registry.channels:  # noqa: ASYNC110 - the core that empties it knows no events
            await trio.sleep(0.02)
    node.end_connections()


async def _nothing() -> None:
    """Default for `LastResort.save`: no store is open."""


class LastResort:
    """Ends the process when it does not end by itself. Made in Trio's thread, by the main task.

    `save` writes what is not on disk yet; while something holds the event loop it cannot, but then nothing has been
    acknowledged either that it would have to write. `code` is what the process ends with.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self.save: Callable[[], Awaitable[None]] = _nothing
        self.code = 0
        self._leave = leave
        self._token = trio.lowlevel.current_trio_token()
        self._main = trio.lowlevel.current_task()
        self._news = threading.Condition()
        self._ended = False
        self._patience: float | None = None
        self._running = False
        self._saved = threading.Event()

    def within(self, seconds: float) -> None:
        """Be patient for so long from now on, whatever was said before."""
        with self._news:
            self._patience = seconds
            self._news.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="last resort", daemon=True).start()

    def ended(self) -> None:
        """Everything has ended by itself."""
        with self._news:
            self._ended = True
            self._news.notify()

    def _run(self) -> None:
        with self._news:
            while not self._ended and self._patience is not None:
                seconds, self._patience = self._patience, None
                self._news.wait(seconds)
            if self._ended:
                return
        try:
            self._token.run_sync_soon(trio.lowlevel.spawn_system_task, self._in_trio)
        except trio.RunFinishedError:
            return
        saved = self._saved.wait(SAVING + 1)
        why = "not everything has ended; the log names it" if saved else "something holds the event loop"
        print(f"trioemqx: ended by force: {why}", file=sys.stderr, flush=True)
        self._leave(self.code if saved else HELD)

    async def _in_trio(self) -> None:
        try:
            log.critical("left behind, because they do not end: %s", ", ".join(running_below(self._main)))
            with trio.move_on_after(SAVING):
                await self.save()
        except Exception:
            log.exception("what was left could not be written")
        finally:
            self._saved.set()


def running_below(task: trio.lowlevel.Task) -> list[str]:
    """The names of the tasks below one that have no tasks of their own."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    if not children:
        return [task.name]
    return [name for child in children for name in running_below(child)]
