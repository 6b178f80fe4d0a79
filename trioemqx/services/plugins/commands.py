"""`plugins`, `modules` and `hooks` of `trioemqx ctl`, in EMQX's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import trio

from trioemqx.services.commands import Command, CommandError, Commands
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.implementations import POINTS
from trioemqx.services.plugins.listing import Listed, with_built_in
from trioemqx.services.plugins.manager import PluginManager
from trioemqx.services.plugins.registry import HookRegistry
from trioemqx.types import Message

TRACE_QUEUE: Final = 1000
"""Calls of a traced point that wait to be printed; what does not fit is counted and left out."""
PAYLOAD: Final = 60
"""Bytes of a message's payload."""
ALMOST: Final = 0.8
"""How alike names must be, which have their beginning in common anyway."""
SHOWN: Final = 200
"""Characters of an argument."""


def add_commands(commands: Commands, manager: PluginManager, hooks: HookRegistry) -> None:
    """Add the commands of this module."""
    for kind in ("plugin", "module"):
        of = OfKind(manager, kind)
        for word, run, argument, help in (
            ("list", of.list, "", f"Show loaded {kind}s"),
            ("load", of.load, f" <{kind.title()}>", f"Load {kind}"),
            ("unload", of.unload, f" <{kind.title()}>", f"Unload {kind}"),
            ("reload", of.reload, f" <{kind.title()}>", f"Reload {kind}"),
        ):
            data = of.rows if word == "list" else None
            commands.add(Command((f"{kind}s", word), f"{kind}s {word}{argument}", help, run, data))
    tracing = Tracing(hooks)
    commands.add(Command(("plugins", "trace"), "plugins trace <Hook>", "Print the calls of a point", tracing.trace))
    what = "Show who listens to which hook point, in order"
    commands.add(Command(("hooks",), "hooks", what, tracing.hooks, tracing.rows))


class OfKind:
    """The commands of plugins, or of modules; they differ in a few words."""

    def __init__(self, manager: PluginManager, kind: str) -> None:
        self._manager = manager
        self._kind = kind
        self._title = kind.title()

    async def list(self) -> AsyncIterator[str]:
        """`Plugin(emqx_retainer, description=EMQX Retainer, active=true)`"""
        for found in await self._listed():
            problem = f", problem={found.problem}" if found.problem else ""
            active = "true" if found.active else "false"
            yield f"{self._title}({found.name}, description={found.description}, active={active}{problem})"

    async def rows(self) -> AsyncIterator[dict[str, object]]:
        """The same as the HTTP API has it; `problem` is there when there is one."""
        for found in await self._listed():
            row: dict[str, object] = {"name": found.name, "description": found.description, "active": found.active}
            if self._kind == "plugin":
                row |= {"version": found.version, "type": found.type}
            yield row | ({"problem": found.problem} if found.problem else {})

    async def _listed(self) -> Sequence[Listed]:
        """All of this kind, and what only EMQX has as plugins."""
        found = await self._manager.look(self._kind)
        return with_built_in(self._manager.built_in.values(), found) if self._kind == "plugin" else found

    async def load(self, name: str) -> str:
        """Load one."""
        try:
            await self._check_kind(name)
            await self._manager.load(name)
        except PluginError as error:
            raise await self._failed("Load", name, error) from error
        return f"{self._title} {name} loaded successfully."

    async def unload(self, name: str) -> str:
        """Unload one."""
        part = self._manager.built_in.get(name) if self._kind == "plugin" else None
        if part is not None and part.turn is None:
            raise CommandError(f"{self._title} {name} can not be unloaded.")
        try:
            await self._check_kind(name)
            await self._manager.unload(name)
        except PluginError as error:
            raise await self._failed("Unload", name, error) from error
        return f"{self._title} {name} unloaded successfully."

    async def reload(self, name: str) -> str:
        """Take its files and settings as they are now."""
        try:
            await self._check_kind(name)
            await self._manager.reload(name)
        except PluginError as error:
            raise await self._failed("Reload", name, error) from error
        return f"{self._title} {name} reloaded successfully."

    async def _failed(self, what: str, name: str, error: PluginError) -> CommandError:
        """The first line is EMQX's; a name that is nearly right gets a second one."""
        reason = error.reason
        if reason == "not_found" and (what, self._kind) == ("Reload", "plugin"):
            reason = "The plugin doesn't exist"
        lines = [f"{what} {self._kind} {name} error: {reason}."]
        if error.reason == "not_found":
            known = [found.name for found in await self._manager.look(self._kind) if found.name != name]
            lines += [f"Did you mean {close}?" for close in nearest(name, known)]
        return CommandError("\n".join(lines))

    async def _check_kind(self, name: str) -> None:
        """Raise PluginError for a name of the other kind."""
        other = "module" if self._kind == "plugin" else "plugin"
        if any(found.name == name for found in await self._manager.look(other)):
            raise PluginError(f"it is a {other}: trioemqx ctl {other}s ...")


class Tracing:
    """Who is called, and with what."""

    def __init__(self, hooks: HookRegistry) -> None:
        self._hooks = hooks

    def rows(self) -> dict[str, list[dict[str, object]]]:
        """The same for programs."""
        return {
            point: [
                {"name": name, "priority": priority, "denies": bool(self._hooks.denies(name))}
                for name, priority in chain
            ]
            for point, chain in self._hooks.describe()
        }

    def hooks(self) -> Iterator[str]:
        """`message_publish: emqx_mod_rewrite (1000), emqx_web_hook (0)`"""
        for point, chain in self._hooks.describe():
            shown = (f"{name} ({priority}{', denies' if self._hooks.denies(name) else ''})" for name, priority in chain)
            yield f"{point}: {', '.join(shown)}"

    async def trace(self, point: str) -> AsyncIterator[str]:
        """Print the calls of a point until the connection is closed."""
        name = point.replace(".", "_")
        if name not in POINTS:
            close = get_close_matches(name, sorted(POINTS), 1)
            raise CommandError(f"there is no hook point {point}" + (f" (did you mean {close[0]}?)" if close else ""))
        send, receive = trio.open_memory_channel[str](TRACE_QUEUE)
        lost = 0

        def sink(plugin: str, point: str, args: tuple[object, ...], result: object) -> None:
            nonlocal lost
            shown = ", ".join(_short(arg) for arg in args)
            try:
                send.send_nowait(f"{plugin}.{point}({shown}) -> {_short(result)}")
            except trio.WouldBlock:
                lost += 1

        with self._hooks.trace(name, sink):
            yield f"tracing {name}; end with Ctrl-C"
            async for line in receive:
                yield line
                if lost:
                    yield f"... {lost} calls not shown"
                    lost = 0


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known name that a misspelt one is nearest to, also when what EMQX puts before it was left out; or none."""
    names = list(known)
    ends = [full for full in names if full.endswith(f"_{name}")]
    close = get_close_matches(name, names, 1, ALMOST) or ends[:1] or get_close_matches(f"emqx_{name}", names, 1, ALMOST)
    return close or get_close_matches(f"emqx_mod_{name}", names, 1, ALMOST)


def _short(value: object) -> str:
    text = repr(value)
    if isinstance(value, Message):
        text = f"{text[:-1]} payload={value.payload[:PAYLOAD]!r}{'...' if len(value.payload) > PAYLOAD else ''}>"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
