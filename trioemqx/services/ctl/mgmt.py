"""`mgmt`: applications of the HTTP API. Secrets are kept as hashes: one is printed when it is made, and never again."""

from __future__ import annotations

from typing import Final

from trioemqx.services.applications import Application, AppRefused
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, shown
from trioemqx.services.roles import ADMINISTRATOR

HIDDEN: Final = "******"
UNSET: Final = "undefined"
REFUSED: Final = {"already_existed": "already existed"}


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Apps(node)
    family = Family(commands, "mgmt")
    family.add("list", of.lines, help="List applications of the HTTP API", data=of.rows)
    family.add("insert", of.insert, "<AppId> <Name> [<Role>]", "Add an application and print its secret")
    family.add("lookup", of.lookup, "<AppId>", "Show an application", data=of.row)
    family.add("update", of.update, "<AppId> <true|false>", "Let an application in, or keep it out")
    family.add("delete", of.delete, "<AppId>", "Remove an application")


class Apps:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def lines(self) -> list[str]:
        """`app_id: admin, secret: ******, name: Default, desc: ..., status: true, expired: undefined`"""
        return [line(app) for app in self._node.applications.entries()]

    def rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        return [app_row(app) for app in self._node.applications.entries()]

    async def insert(self, app_id: str, name: str, role: str = ADMINISTRATOR) -> str:
        """Add one; its secret is `management.application.default_secret`, or else a random one."""
        secret = self._node.config.management.application_default_secret or ""
        try:
            return f"AppSecret: {await self._node.applications.add(app_id, name, secret, role=role)}"
        except AppRefused as error:
            raise CommandError(f"Error: {REFUSED.get(str(error), error)}") from error

    def lookup(self, app_id: str) -> str:
        """One."""
        return line(self._find(app_id))

    def row(self, app_id: str) -> dict[str, object]:
        """One, as the HTTP API has it."""
        return app_row(self._find(app_id))

    def update(self, app_id: str, status: str) -> str:
        """Switch one on or off."""
        if status not in ("true", "false"):
            raise CommandError(f"Error: the status is true or false, not {status!r:.40}")
        app = self._node.applications.find(app_id)
        if app is None:
            raise CommandError("Error: not_found")
        self._node.applications.update(
            app_id, name=app.name, desc=app.desc, status=status == "true", expired=app.expired
        )
        return "update successfully."

    def delete(self, app_id: str) -> str:
        """Remove one; its next request is refused."""
        if not self._node.applications.delete(app_id):
            raise CommandError("Error: app not found")
        return "ok"

    def _find(self, app_id: str) -> Application:
        app = self._node.applications.find(app_id)
        if app is None:
            raise CommandError(NOT_FOUND)
        return app


def line(app: Application) -> str:
    """One line; like a row it has a role only where that is not administrator: what reads EMQX's knows the others."""
    role = "" if app.role == ADMINISTRATOR else f", role: {shown(app.role)}"
    expired = UNSET if app.expired is None else app.expired
    return (
        f"app_id: {app.app_id}, secret: {HIDDEN}, name: {shown(app.name) or UNSET}, desc: {shown(app.desc) or UNSET}, "
        f"status: {'true' if app.status else 'false'}, expired: {expired}{role}"
    )


def app_row(app: Application) -> dict[str, object]:
    """An application as the HTTP API has it."""
    row: dict[str, object] = {
        "app_id": app.app_id,
        "secret": HIDDEN,
        "name": app.name or UNSET,
        "desc": app.desc or UNSET,
        "status": app.status,
        "expired": UNSET if app.expired is None else app.expired,
    }
    return row if app.role == ADMINISTRATOR else {**row, "role": app.role}
