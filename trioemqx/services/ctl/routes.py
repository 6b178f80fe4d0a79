"""`routes` and `subscriptions`: which filters there are, and who has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

from trioemqx.errors import reason_name
from trioemqx.services.clients import each_route, each_subscription, route_rows, subscription_row, subscription_rows
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, shown
from trioemqx.types import SubOpts

QOS: Final = ("0", "1", "2")
NO_SESSION: Final = 0x80
FAILURES: Final = 0x80
"""Reason codes from here on are failures."""
HAD_NONE: Final = 0x11


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    routes = Family(commands, "routes")
    of_routes = Routes(node)
    routes.add("list", of_routes.lines, help="List all routes", data=of_routes.rows)
    routes.add("show", of_routes.show, "<Topic>", "Show a route", data=of_routes.found)
    family = Family(commands, "subscriptions")
    of = Subscriptions(node)
    family.add("list", of.lines, help="List all subscriptions", data=of.rows)
    family.add("show", of.show, "<ClientId>", "Show subscriptions of a client", data=of.found)
    family.add("add", of.add, "<ClientId> <Topic> <QoS>", "Add a subscription of a client")
    family.add("del", of.delete, "<ClientId> <Topic>", "Delete a subscription of a client")


class Routes:
    """Filters that somebody is subscribed to."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def lines(self) -> AsyncGenerator[str, None]:
        """`sensors/# -> emqx@127.0.0.1`"""
        async with aclosing(self.rows()) as rows:
            async for row in rows:
                yield _route(row)

    def rows(self) -> AsyncGenerator[dict[str, object], None]:
        """As the HTTP API has them."""
        return each_route(self._node.broker, self._node.node)

    def show(self, topic: str) -> Iterator[str]:
        """Those of exactly this filter."""
        return map(_route, self.found(topic))

    def found(self, topic: str) -> list[dict[str, object]]:
        """The same, as the HTTP API has them."""
        return route_rows(self._node.broker, self._node.node, topic)


class Subscriptions:
    """Filters of clients."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    async def lines(self) -> AsyncGenerator[str, None]:
        """`c1 -> sensors/#`"""
        async with aclosing(self.rows()) as rows:
            async for row in rows:
                yield _subscription(row)

    async def rows(self) -> AsyncGenerator[dict[str, object], None]:
        """As the HTTP API has them."""
        async with aclosing(each_subscription(self._node.broker)) as subscriptions:
            async for subscription in subscriptions:
                yield subscription_row(subscription, self._node.node)

    def show(self, clientid: str) -> Iterator[str]:
        """Those of one client."""
        return map(_subscription, self.found(clientid))

    def found(self, clientid: str) -> list[dict[str, object]]:
        """The same, as the HTTP API has them."""
        session = self._node.broker.find(clientid)
        if session is None:
            raise CommandError(NOT_FOUND)
        return subscription_rows(session, self._node.node)

    def add(self, clientid: str, topic: str, qos: str) -> str:
        """Subscribe a client on its behalf."""
        if qos not in QOS:
            raise CommandError("QoS should be 0, 1, 2")
        code = self._node.broker.subscribe(clientid, topic, SubOpts(int(qos)))
        return _said(code)

    def delete(self, clientid: str, topic: str) -> str:
        """Take a subscription from a client; it is no error when it has none."""
        code = self._node.broker.unsubscribe(clientid, topic)
        return _said(0 if code == HAD_NONE else code)


def _said(code: int) -> str:
    """EMQX's answer to a reason code."""
    if code == NO_SESSION:
        raise CommandError("Error: Channel not found!")
    if code >= FAILURES:
        raise CommandError(f"Error: {reason_name(code)}")
    return "ok"


def _route(row: dict[str, object]) -> str:
    return f"{shown(str(row['topic']))} -> {row['node']}"


def _subscription(row: dict[str, object]) -> str:
    return f"{shown(str(row['clientid']))} -> {shown(str(row['topic']))}"
