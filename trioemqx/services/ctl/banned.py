"""`banned`: who may not connect."""

from __future__ import annotations

from typing import Final

from trioemqx.services.banned import Ban, BanRefused
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, shown

KINDS: Final = "clientid|username|peerhost"
MOST_SECONDS: Final = 10_000_000_000


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Bans(node)
    family = Family(commands, "banned")
    family.add("list", of.lines, help="List bans", data=of.rows)
    family.add("add", of.add, f"{KINDS} <Value> [<Seconds>] [<Reason>]", "Ban, for 300 seconds or as long as said")
    family.add("del", of.delete, f"{KINDS} <Value>", "Lift a ban")


class Bans:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def lines(self) -> list[str]:
        """`Banned(clientid=c1, by=ctl, reason=noisy, at=1700000000, until=1700000300)`"""
        return [
            f"Banned({ban.kind}={shown(ban.who)}, by={shown(ban.by)}, reason={shown(ban.reason) or 'undefined'}, "
            f"at={ban.at}, until={ban.until})"
            for ban in self._node.banned.entries()
        ]

    def rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        return [ban_row(ban) for ban in self._node.banned.entries()]

    def add(self, kind: str, value: str, seconds: str = "300", reason: str = "") -> str:
        """Ban somebody from now on; one that was banned already gets the new end and reason."""
        if not (seconds.isascii() and seconds.isdigit() and 0 < int(seconds[:12]) < MOST_SECONDS):
            raise CommandError(f"Error: Seconds is a number above 0, not {seconds!r:.40}")
        until = int(self._node.wall()) + int(seconds)
        try:
            self._node.banned.create(kind, value, by="ctl", reason=reason, until=until)
        except BanRefused as error:
            raise CommandError(f"Error: {error}") from error
        return "ok"

    def delete(self, kind: str, value: str) -> str:
        """Lift a ban."""
        try:
            found = self._node.banned.delete(kind, value)
        except BanRefused as error:
            raise CommandError(f"Error: {error}") from error
        if not found:
            raise CommandError(NOT_FOUND)
        return "ok"


def ban_row(ban: Ban) -> dict[str, object]:
    """A ban as the HTTP API has it; times are Unix seconds."""
    return {
        "who": ban.who,
        "as": ban.kind,
        "reason": ban.reason or "undefined",
        "by": ban.by,
        "at": ban.at,
        "until": ban.until,
    }
