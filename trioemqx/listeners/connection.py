"""The life of one connection: a task that owns its socket, answers its channel's questions, and cleans up.

The bytes are moved by the pump. This task sleeps until the channel has a question that needs waiting for (a password to
be checked, an access rule to be asked for) or until the connection has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trioemqx.core.access import Question
from trioemqx.listeners.link import Link
from trioemqx.listeners.turn import Turn

Resolve = Callable[[Question], Awaitable[object]]


class Connection:
    """One per socket; `run` is its task."""

    __slots__ = ("_link", "_resolve", "_rung", "_task", "_turn", "_wake")

    def __init__(self, link: Link, turn: Turn, resolve: Resolve, wake: Callable[[], None]) -> None:
        self._link = link
        self._turn = turn
        self._resolve = resolve
        self._wake = wake
        self._rung = False
        self._task: trio.lowlevel.Task | None = None
        link.bell = self.ring

    def ring(self) -> None:
        """The pump has something for this task."""
        task = self._task
        if task is None:
            self._rung = True
        else:
            self._task = None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Until the connection has ended. Cancelling this task closes the socket, and so does a bug in it."""
        try:
            await self._serve()
        except Exception:
            self._turn.drop(self._link, "internal_error")
            raise
        finally:
            self._turn.drop(self._link, "shutdown")
            self._link.bell = None
            self._wake()  # its will, and messages of its share groups, are in the outboxes of others

    async def _serve(self) -> None:
        link = self._link
        while not link.gone:
            channel = link.channel
            if channel is not None and channel.question is not None:
                answer = await self._resolve(channel.question)
                self._turn.answered(link, answer)
                self._wake()
            elif self._rung:
                self._rung = False
                await trio.lowlevel.checkpoint()
            else:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
