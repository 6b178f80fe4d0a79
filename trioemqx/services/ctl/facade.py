"""What the commands see of a node, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from functools import wraps
from typing import Final, Protocol

import trio

from trioemqx.config.listener import ListenerConfig
from trioemqx.config.management import HttpListenerConfig
from trioemqx.config.model import Config
from trioemqx.core.broker import Broker
from trioemqx.services.alarms import Alarms
from trioemqx.services.applications import Applications
from trioemqx.services.audit import AuditLog
from trioemqx.services.backup import Backup
from trioemqx.services.banned import Banned
from trioemqx.services.commands import Command, CommandError, Commands
from trioemqx.services.dashboard_users import DashboardUsers
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.services.store.protocol import Store

NOT_FOUND: Final = "Not Found."


class ListenerLike(Protocol):
    """One listener."""

    @property
    def id(self) -> str:
        """`mqtt:tcp:external`"""

    @property
    def address(self) -> str:
        """Where it really listens."""

    @property
    def port(self) -> int:
        """The bound port; 0 while closed."""

    @property
    def config(self) -> ListenerConfig:
        """Its settings."""

    @property
    def current(self) -> int:
        """Connections now."""

    @property
    def shutdown_count(self) -> Mapping[str, int]:
        """Ended connections by reason."""


class ListenersLike(Protocol):
    """All listeners."""

    @property
    def listeners(self) -> Mapping[str, ListenerLike]:
        """By id."""

    def stop(self, name: str) -> None:
        """Stop listening. Raises KeyError, ListenerError."""

    def restart(self, name: str) -> None:
        """Drop the connections and listen anew. Raises KeyError, ListenerError."""

    def stopped(self, name: str) -> bool:
        """True between `stop` and `restart`."""

    def reload_certificates(self) -> list[str]:
        """Read the files again; a line per listener that keeps its old ones."""


class HttpServerLike(Protocol):
    """One address of the HTTP API."""

    @property
    def id(self) -> str:
        """`http:management`"""

    @property
    def address(self) -> str:
        """Where it really listens."""

    @property
    def config(self) -> HttpListenerConfig:
        """Its settings."""

    @property
    def streams(self) -> Sized:
        """Connections now."""

    @property
    def stopped(self) -> bool:
        """Whether it was stopped and not restarted."""

    def stop(self) -> None:
        """Stop listening until `restart`."""

    def restart(self) -> None:
        """End all connections and listen again."""


class ApiLike(Protocol):
    """The HTTP API."""

    @property
    def servers(self) -> Sequence[HttpServerLike]:
        """Its addresses."""


class GateLike(Protocol):
    """The limits of the whole node."""

    @property
    def max_connections(self) -> int:
        """Of all listeners together."""


class CtlNode(Protocol):
    """The node, as commands use it."""

    @property
    def node(self) -> str:
        """Its name, `name@host`."""

    @property
    def version(self) -> str:
        """The version of trioemqx."""

    @property
    def metrics(self) -> dict[str, int]:
        """Every counter by EMQX's name."""

    @property
    def broker(self) -> Broker:
        """The core."""

    @property
    def alarms(self) -> Alarms:
        """Active and ended alarms."""

    @property
    def audit(self) -> AuditLog:
        """Who changed what."""

    @property
    def banned(self) -> Banned:
        """Who may not connect."""

    @property
    def applications(self) -> Applications:
        """Who may use the HTTP API."""

    @property
    def dashboard_users(self) -> DashboardUsers:
        """Who may use the dashboard."""

    @property
    def backup(self) -> Backup:
        """Export and import."""

    @property
    def config(self) -> Config:
        """All settings."""

    @property
    def store(self) -> Store:
        """What is kept over a restart."""

    @property
    def hooks(self) -> HookRegistry:
        """Who listens to which point."""

    @property
    def plugins(self) -> PluginManager:
        """Plugins and modules."""

    @property
    def listeners(self) -> ListenersLike:
        """All listeners."""

    @property
    def api(self) -> ApiLike | None:
        """The HTTP API, when there is one."""

    @property
    def gate(self) -> GateLike:
        """The limits of the whole node."""

    @property
    def stopping(self) -> trio.Event:
        """Set once the node drains."""

    def wall(self) -> float:
        """Unix seconds."""

    def uptime(self) -> float:
        """Seconds since the start."""

    def stats(self) -> dict[str, int]:
        """Every gauge by EMQX's name, `.count` and `.max`."""


class Family:
    """Adds commands that begin with the same words: `add("stop", run, "<Identifier>", "Stop a listener")`. `check` is
    called before each of them and raises CommandError when there is nobody to answer."""

    def __init__(self, commands: Commands, word: str, check: Callable[[], None] | None = None) -> None:
        self._commands = commands
        self._word = word
        self._check = check

    def add(
        self,
        words: str,
        run: Callable[..., object],
        arguments: str = "",
        help: str = "",
        data: Callable[..., object] | None = None,
    ) -> None:
        """Add one command; see `Command`."""
        if self._check is not None:
            run = _checked(self._check, run)
            data = _checked(self._check, data) if data is not None else None
        typed = f"{self._word} {words}".split()
        usage = " ".join([*typed, *arguments.split()])
        self._commands.add(Command(tuple(typed), usage, help, run, data))  # type: ignore[arg-type]


def _checked(check: Callable[[], None], run: Callable[..., object]) -> Callable[..., object]:
    @wraps(run)  # what arguments it takes is seen by its signature
    def checked(*arguments: str) -> object:
        check()
        return run(*arguments)

    return checked


def shown(text: str) -> str:
    """A text from the network on a line of its own, whatever is in it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def check_node(node: CtlNode, name: str, failure: str) -> None:
    """Raise CommandError unless `name` is this node, the only one there is."""
    if name != node.node:
        raise CommandError(f"{failure}: there is no node {shown(name)}, this is {node.node}")
