"""Commands with their exit codes, and what `--json` prints."""

from __future__ import annotations

import json
from typing import Any

import trio

from trioemqx.services.commands import Commands
from trioemqx.testing import TestBroker


async def execute(commands: Commands, words: list[str]) -> tuple[int, list[str]]:
    """(exit code, lines) of one command line."""
    lines: list[str] = []

    async def write(line: str) -> None:
        lines.append(line)
        await trio.lowlevel.checkpoint()

    return await commands.execute(words, write), lines


async def ctl(broker: TestBroker, line: str) -> tuple[int, list[str]]:
    """The same of a running broker; words are separated by blanks."""
    return await execute(broker.node.commands, line.split())


async def data(broker: TestBroker, line: str, code: int = 0) -> Any:
    """What a command prints with `--json`."""
    found, lines = await ctl(broker, f"{line} --json")
    assert found == code, lines
    return json.loads("\n".join(lines))
