"""`log`: how much is logged, and where to, until the next start."""

from __future__ import annotations

import logging
from typing import Final

from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, shown
from trioemqx.services.log_format import level_name, level_number
from trioemqx.services.log_sinks import Sink
from trioemqx.services.logs import in_force

LOGGER: Final = logging.getLogger("trioemqx")
ELSEWHERE: Final = "the program that this broker is part of logs in its own way"


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    family = Family(commands, "log")
    family.add("set-level", set_level, "<Level>", "Set the overall log level")
    family.add("primary-level", primary_level, "[<Level>]", "Show or set the primary log level", primary_data)
    family.add("handlers list", list_handlers, help="Show log handlers", data=rows)
    family.add("handlers start", start, "<HandlerId>", "Start a log handler")
    family.add("handlers stop", stop, "<HandlerId>", "Stop a log handler")
    family.add("handlers set-level", set_handler_level, "<HandlerId> <Level>", "Set the level of a log handler")


def set_level(level: str) -> str:
    """What the broker logs, and what each handler takes of it."""
    number = _number(level, "[error] set overall log level failed: ")
    LOGGER.setLevel(number)
    for sink in _sinks():
        sink.setLevel(number)
    return level


def primary_level(level: str | None = None) -> str:
    """What the broker logs; a handler may take less."""
    if level is not None:
        LOGGER.setLevel(_number(level))
    return level_name(LOGGER.getEffectiveLevel())


def primary_data(level: str | None = None) -> dict[str, str]:
    """The same for programs."""
    return {"level": primary_level(level)}


def list_handlers() -> list[str]:
    """`LogHandler(id=file, level=warning, destination=log/emqx.log, status=started)`"""
    return [f"LogHandler({', '.join(f'{name}={shown(value)}' for name, value in row.items())})" for row in rows()]


def rows() -> list[dict[str, str]]:
    """The same for programs. A handler that has no level of its own takes everything that is logged."""
    return [
        {
            "id": sink.ident,
            "level": level_name(sink.level or LOGGER.getEffectiveLevel()),
            "destination": sink.destination,
            "status": "stopped" if sink.stopped else "started",
        }
        for sink in _sinks()
    ]


def start(ident: str) -> str:
    """Have a handler write again."""
    failure = f"[error] failed to start log handler {shown(ident)}: "
    sink = _find(ident, failure)
    if not sink.stopped:
        raise CommandError(f"{failure}already_started")
    sink.stopped = False
    return f"log handler {ident} started"


def stop(ident: str) -> str:
    """Have a handler write nothing."""
    failure = f"[error] failed to stop log handler {shown(ident)}: "
    sink = _find(ident, failure)
    if sink.stopped:
        raise CommandError(f"{failure}not_started")
    sink.stopped = True
    return f"log handler {ident} stopped"


def set_handler_level(ident: str, level: str) -> str:
    """What one handler takes of what is logged."""
    _find(ident, "[error] ").setLevel(_number(level))
    return level


def _sinks() -> list[Sink]:
    handle = in_force(LOGGER.name)
    return handle.sinks if handle is not None else []


def _find(ident: str, failure: str) -> Sink:
    sinks = {sink.ident: sink for sink in _sinks()}
    if ident not in sinks:
        reason = f"not_found; there are {', '.join(sinks)}" if sinks else f"not_found; {ELSEWHERE}"
        raise CommandError(f"{failure}{reason}")
    return sinks[ident]


def _number(level: str, failure: str = "[error] ") -> int:
    try:
        return level_number(level)
    except ValueError as error:
        raise CommandError(f"{failure}{error}") from error
