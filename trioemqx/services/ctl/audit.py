"""`audit`: who changed what."""

from __future__ import annotations

import datetime
from typing import Final

from trioemqx.services.audit import Deed
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, shown

LINES: Final = 100


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = AuditCommands(node)
    Family(commands, "audit").add("list", of.lines, "[<N>]", "List the last changes, newest first", of.rows)


class AuditCommands:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def lines(self, count: str = str(LINES)) -> list[str]:
        """`2026-02-03T04:05:06Z admin 127.0.0.1 DELETE /api/v4/clients/c1: ok`"""
        return [line(deed) for deed in self._last(count)]

    def rows(self, count: str = str(LINES)) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        return [deed.row() for deed in self._last(count)]

    def _last(self, count: str) -> list[Deed]:
        if not (count.isascii() and count.isdigit() and len(count) < 8):
            raise CommandError(f"a number of lines, not {shown(count)}")
        return self._node.audit.deeds()[: int(count)]


def line(deed: Deed) -> str:
    """One line."""
    at = datetime.datetime.fromtimestamp(deed.at // 1_000_000, datetime.UTC)
    who = f"{shown(deed.who)} {deed.peer or deed.door}"
    return f"{at:%Y-%m-%dT%H:%M:%SZ} {who} {deed.method} {shown(deed.path)}: {deed.result}"
