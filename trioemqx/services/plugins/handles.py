"""What a plugin's context stands on: the broker behind it, and handles on what the plugin holds of it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, Protocol

from trioemqx.errors import crash_of
from trioemqx.services.commands import Commands
from trioemqx.services.rulekit import RuleHost
from trioemqx.services.store.protocol import Store
from trioemqx.services.web import Routes

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.services.alarms import Alarms
    from trioemqx.services.banned import Banned
    from trioemqx.services.plugins.context import Context
    from trioemqx.services.plugins.manager import PluginManager
    from trioemqx.services.plugins.registry import HookRegistry

Undo = Callable[[], None]
_OURS: Final = f"{Path(__file__).resolve().parents[2]}{os.sep}"
"""The package's own code, with the rest of its path."""


class Host(Protocol):
    """What the broker around a plugin has to offer; the node is one."""

    broker: Broker
    alarms: Alarms
    banned: Banned
    store: Store
    commands: Commands
    hooks: HookRegistry
    gauges: dict[str, Callable[[], int]]
    data_dir: Path
    plugins: PluginManager
    web_routes: Routes

    @property
    def rules(self) -> RuleHost:
        """The rule engine."""

    def wall(self) -> float:
        """Unix seconds."""

    def uptime(self) -> float:
        """Seconds since the start."""

    def stats(self) -> dict[str, int]:
        """Every gauge by EMQX's name, `.count` and `.max`."""

    def members(self) -> AsyncGenerator[tuple[str, bool], None]:
        """(node, up) of the cluster's nodes, then of every change."""


def _is_ours(file: str) -> bool:
    """Whether a file is the broker's own; a wheel has the plugins that come with it inside the package."""
    return file.startswith(_OURS) and not file.removeprefix(_OURS).startswith(("plugins", "modules"))


def _caller() -> str:
    """File and line of the innermost frame that is not ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


class Handle:
    """Something a plugin holds: `close` gives it back before the plugin ends."""

    def __init__(self, context: Context, acquire: Callable[[], Undo], hooks: bool = False) -> None:
        self._hooks = hooks
        """Whether it is hooks that it holds."""
        self._context = context
        self._acquire = acquire
        self._undo: Undo | None = None
        self.place = _caller()
        """File and line of the plugin's code that asked for it."""

    def open(self) -> None:
        """Bring it into force; the context calls this."""
        if self._undo is None:
            self._undo = self._acquire()

    def close(self) -> None:
        """Give it back; a second call does nothing."""
        self._context.handles.pop(self, None)
        self._release()

    def _release(self) -> None:
        """Take it out of force; what goes wrong is the plugin's and is logged."""
        undo, self._undo = self._undo, None
        if undo is not None:
            try:
                undo()
            except BaseException as caught:
                error = crash_of(caught)
                self._context._crashed(error)
