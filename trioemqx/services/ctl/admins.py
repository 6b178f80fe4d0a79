"""`admins`: users of the dashboard."""

from __future__ import annotations

from typing import Final

from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family
from trioemqx.services.dashboard_users import UserRefused

REFUSED: Final = {"Username Already Exist": "already existed"}


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Admins(node)
    family = Family(commands, "admins")
    family.add("add", of.add, "<Username> <Password> [<Tags>]", "Add a dashboard user")
    family.add("passwd", of.passwd, "<Username> <Password>", "Give a dashboard user another password")
    family.add("del", of.delete, "<Username>", "Remove a dashboard user")


class Admins:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def add(self, username: str, password: str, tags: str = "") -> str:
        """Add a user."""
        try:
            await self._node.dashboard_users.add(username, password, tags)
        except UserRefused as error:
            raise CommandError(f"Error: {REFUSED.get(str(error), error)}") from error
        return "ok"

    async def passwd(self, username: str, password: str) -> str:
        """Set a password, without asking for the old one: who may run this owns the broker."""
        try:
            done = await self._node.dashboard_users.set_password(username, password)
        except UserRefused as error:
            raise CommandError(f"Error: {error}") from error
        if not done:
            raise CommandError("Error: Username Not Found")
        return "ok"

    def delete(self, username: str) -> str:
        """Remove a user; one that is not there is removed already."""
        self._node.dashboard_users.delete(username)
        return "ok"
