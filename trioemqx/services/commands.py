"""The commands of `trioemqx ctl`: one registry that the broker and plugins add to, so that names can be shared.

A command is known by its words (`plugins load`). Several owners may have commands under the same first word; each takes
its own away when it goes.

`--json` as the first or the last word asks any command for JSON: what its `data` gives, as the HTTP API has it, or else
the lines it would print. An array has a row per line, so that a long one can be written, and read, as it is made.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final

import attrs

from trioemqx.errors import TrioemqxError, crash_of

log = logging.getLogger("trioemqx.ctl")

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
JSON: Final = "--json"
_WIDTH: Final = 70
_LINE: Final = "-" * 110

Result = str | Iterable[str] | None
Write = Callable[[str], Awaitable[None]]
"""Takes one line of output."""
Show = Callable[[object, Write], Awaitable[None]]


class CommandError(TrioemqxError):
    """A command cannot do what it was asked; its text is what the user reads. The exit code is 1."""


@attrs.frozen(eq=False)
class Command:
    """`words` are what the user types first, `usage` the whole syntax, `help` its description.

    `run` is called with the words that follow; it returns what to print (a text, an iterable of lines, None), or is a
    coroutine function that does, or an async generator of lines. What its signature does not take is answered with the
    usage. `data` takes the same words and gives what `--json` prints: a mapping, or rows, in one of these ways.
    """

    words: tuple[str, ...]
    usage: str
    help: str
    run: Callable[..., Result | Awaitable[Result] | AsyncIterator[str]]
    data: Callable[..., object] | None = None

    def call(self, arguments: list[str], as_json: bool) -> object:
        """The result of `run`, or what JSON is made of."""
        if not as_json:
            return self.run(*arguments)
        return self.data(*arguments) if self.data is not None else self.run(*arguments)


class Commands:
    """All commands there are now. `execute` runs one line."""

    def __init__(self) -> None:
        self._commands: dict[tuple[str, ...], Command] = {}
        self.on_end: Callable[[str, Command, list[str], bool], object] = _forget
        """Told of each command that has ended: who gave it, itself, its arguments, and whether it failed."""
        self.kept: Callable[[Command, list[str]], Awaitable[str]] = _is_kept
        """Called when one has done what it was told to; waits until that is as safe as the store makes things, and
        gives "", or why it is not."""

    def add(self, command: Command) -> Callable[[], None]:
        """Add a command; the result takes it away again. ValueError when its words are taken."""
        if not command.words:
            raise ValueError("a command needs a word")
        if command.words in self._commands:
            raise ValueError(f"there is a command {' '.join(command.words)} already")
        self._commands[command.words] = command

        def remove() -> None:
            if self._commands.get(command.words) is command:
                del self._commands[command.words]

        return remove

    def all(self) -> list[Command]:
        """Every command, in the order of its words."""
        return [command for _, command in sorted(self._commands.items())]

    def names(self) -> list[str]:
        """The first words, sorted."""
        return sorted({words[0] for words in self._commands})

    def usage(self, first: str = "") -> list[str]:
        """The usage lines of all commands, or of those under one first word, as EMQX prints them."""
        lines = []
        for name in [first] if first else self.names():
            if not first:
                lines.append(_LINE)
            lines += [
                f"{command.usage:<{_WIDTH - 1}} # {command.help}"
                for words, command in sorted(self._commands.items())
                if words[0] == name
            ]
        return lines

    async def execute(self, argv: list[str], write: Write, who: str = "") -> int:
        """Run a command line for `who`; `write` takes one line of output at a time. Returns the exit code: 0, 1 for a
        command that failed or is not known, 2 for wrong arguments. A crash is logged and told in one line."""
        as_json = JSON in (*argv[:1], *argv[-1:])
        words = [word for place, word in enumerate(argv) if word != JSON or place not in (0, len(argv) - 1)]
        if not words or words == ["help"] or words[0] not in self.names():
            for line in ["Usage: emqx_ctl", *self.usage()]:
                await write(line)
            return OK if not words or words == ["help"] else FAILED
        command = self._find(words)
        arguments = words[len(command.words) :] if command is not None else []
        if command is None or not _takes(command.run, arguments):
            for line in self.usage(words[0]):
                await write(line)
            return USAGE
        code = FAILED  # also when it is cancelled
        try:
            code = await _run(command, arguments, _print_json if as_json else _print, write)
            if code == OK and (problem := await self.kept(command, arguments)):
                await write(f"Error: in force, but not on disk: {problem}")
                code = FAILED
        finally:
            self.on_end(who, command, arguments, code != OK)
        return code

    def _find(self, argv: list[str]) -> Command | None:
        """The command with the most words that the line begins with."""
        for length in range(len(argv), 0, -1):
            found = self._commands.get(tuple(argv[:length]))
            if found is not None:
                return found
        return None


def _forget(who: str, command: Command, arguments: list[str], failed: bool) -> None:
    """Default of `on_end`."""


async def _is_kept(command: Command, arguments: list[str]) -> str:
    """Default of `kept`."""
    return ""


def _takes(function: Callable[..., object], arguments: list[str]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True


class _Unwritten(Exception):
    """Nobody takes the output any more, which is no crash of the command."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _run(command: Command, arguments: list[str], show: Show, write: Write) -> int:
    async def tell(line: str) -> None:
        try:
            await write(line)
        except Exception as error:
            raise _Unwritten(error) from error

    try:
        await show(command.call(arguments, show is _print_json), tell)
    except _Unwritten as unwritten:
        raise unwritten.error from None
    except CommandError as error:
        await show(str(error), write)
        return FAILED
    except BaseException as caught:
        crash = crash_of(caught)
        log.error("ctl %s crashed", " ".join(command.words), exc_info=crash)
        await show(f"Error: {type(crash).__name__}: {crash}", write)
        return FAILED
    return OK


async def _print(result: object, write: Write) -> None:
    """Text, line by line."""
    async with aclosing(_each(await _settled(result))) as lines:
        async for line in lines:
            await write(line)


async def _print_json(result: object, write: Write) -> None:
    """A text as `{"message": ...}`, rows and lines as an array, anything else as it is."""
    result = await _settled(result)
    if isinstance(result, str):
        result = {"message": result}
    if result is None or isinstance(result, Mapping | bool | int | float):
        await write(_json(result))
        return
    held = "["
    async with aclosing(_each(result)) as rows:
        async for row in rows:
            await write(held if held == "[" else f"{held},")
            held = _json(row)
    if held == "[":
        await write("[]")
    else:
        await write(held)
        await write("]")


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def _each(result: Any) -> AsyncGenerator[Any, None]:
    """What there is to print, one by one; a text by its lines."""
    if result is None:
        return
    if isinstance(result, AsyncGenerator):
        async with aclosing(result):
            async for item in result:
                yield item
    elif hasattr(result, "__aiter__"):
        async for item in result:
            yield item
    else:
        for item in result.splitlines() if isinstance(result, str) else result:
            yield item


def _json(value: object) -> str:
    """JSON that passes every terminal unchanged: ASCII, without control characters."""
    return json.dumps(value).replace("\x7f", "\\u007f")
