"""`clients`: sessions, whether their clients are here or not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from trioemqx.core.session import Session
from trioemqx.services.clients import client_row, each_client
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, shown


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Clients(node)
    family = Family(commands, "clients")
    family.add("list", of.lines, help="List all clients", data=of.rows)
    family.add("show", of.show, "<ClientId>", "Show a client", data=of.row)
    family.add("kick", of.kick, "<ClientId>", "Kick out a client")


class Clients:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def lines(self) -> AsyncGenerator[str, None]:
        """A line for each, while others run."""
        async with aclosing(each_client(self._node.broker)) as sessions:
            async for session in sessions:
                yield line(session)

    async def rows(self) -> AsyncGenerator[dict[str, object], None]:
        """As the HTTP API has them."""
        async with aclosing(each_client(self._node.broker)) as sessions:
            async for session in sessions:
                yield client_row(session, self._node.node)

    def show(self, clientid: str) -> str:
        """One line."""
        return line(self._find(clientid))

    def row(self, clientid: str) -> dict[str, object]:
        """One client as the HTTP API has it."""
        return client_row(self._find(clientid), self._node.node)

    def kick(self, clientid: str) -> str:
        """End a client and its session; it is no error when there is none."""
        self._node.broker.kick(clientid)
        return "ok"

    def _find(self, clientid: str) -> Session:
        session = self._node.broker.find(clientid)
        if session is None:
            raise CommandError(NOT_FOUND)
        return session


def line(session: Session) -> str:
    """`Client(<clientid>, username=..., ...)`; times are Unix milliseconds."""
    info = session.info
    connected = session.connected()
    fields: dict[str, object] = {
        "username": "undefined" if info.username is None else shown(info.username),
        "peername": info.peername,
        "clean_start": _word(info.clean_start),
        "keepalive": info.keepalive,
        "session_expiry_interval": session.expiry_interval,
        "subscriptions": len(session.subscriptions),
        "inflight": len(session.inflight),
        "awaiting_rel": len(session.awaiting_rel),
        "delivered_msgs": session.sent.qos0 + session.sent.qos1 + session.sent.qos2,
        "enqueued_msgs": len(session.mqueue) if session.mqueue is not None else 0,
        "dropped_msgs": session.queue_dropped,
        "connected": _word(connected),
        "created_at": session.created_at,
        "connected_at": info.connected_at,
    }
    if not connected:
        fields["disconnected_at"] = session.disconnected_at
    return f"Client({shown(session.clientid)}, {', '.join(f'{name}={value}' for name, value in fields.items())})"


def _word(value: bool) -> str:
    return "true" if value else "false"
