"""Subscriptions and routes: who wants what, and where."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import trio

from trioemqx.api.v4.clients import PAGING, refused
from trioemqx.core.shared import Group
from trioemqx.services import clients
from trioemqx.services.filters import FilterError
from trioemqx.services.web import Call, Page, Param, get, paged
from trioemqx.services.web.endpoints import BadPath, decoded
from trioemqx.services.web.schema import record, rows, some, texts, wholes

SUBSCRIPTION: Final = record({**texts("node", "clientid", "topic"), "qos": some(0, 1, 2)})
ROUTE: Final = record(texts("topic", "node"))
MEMBER: Final = record({**texts("clientid", "node"), "qos": some(0, 1, 2)})
SHARED: Final = record({**texts("group", "filter", "strategy"), **wholes("count"), "members": rows(MEMBER)})
SLICE: Final = 5000
"""Filters looked at between two turns of the other tasks."""
MAX_MEMBERS: Final = 1000
"""Of a group that are shown; `count` is all."""
FILTERS: Final = (
    Param("clientid", doc="Equal."),
    Param("topic", doc="Equal to the filter, without share prefix."),
    Param("qos", "integer", "Equal."),
    Param("share", doc="The name of a share group."),
    Param("_match_topic", doc="A filter that the subscription's filter matches as if it were a topic."),
)


async def list_subscriptions(call: Call) -> Page:
    """A page of the subscriptions for which the filters hold."""
    page, limit = call.paging()
    broker = call.host.broker
    try:
        found, count, more = await clients.subscription_page(broker, broker.node, wanted(call), page, limit)
    except FilterError as error:
        raise refused(error) from None
    return Page(found, page, limit, count, more)


def wanted(call: Call) -> dict[str, object]:
    """The parameters; EMQX decodes `topic` once more than the query."""
    params = call.flat()
    topic = params.get("topic")
    if isinstance(topic, str):
        with suppress(BadPath):
            params["topic"] = decoded(topic)
    return params


def of_client(call: Call) -> object:
    """All subscriptions of a client; of one that is not here none."""
    session = call.host.broker.find(call.args["clientid"])
    return [] if session is None else clients.subscription_rows(session, call.host.broker.node)


async def list_routes(call: Call) -> Page:
    """A page of the routes: a row per filter and node, and one more per share group."""
    page, limit = call.paging()
    broker = call.host.broker
    found, count, more = await clients.route_page(broker, broker.node, page, limit)
    return Page(found, page, limit, count, more)


def lookup_routes(call: Call) -> object:
    """The routes of exactly one filter."""
    broker = call.host.broker
    return clients.route_rows(broker, broker.node, call.args["topic"])


async def list_shared(call: Call) -> Page:
    """A page of the share groups, each with its members here."""
    node = call.host.node
    groups: list[Group] = []
    for place, entry in enumerate(call.host.broker.router.entries(), 1):
        groups += entry.groups or ()
        if place % SLICE == 0:
            await trio.lowlevel.checkpoint()
    return await paged(call, groups, partial(_group_row, node), limit=100)


def _group_row(node: str, group: Group) -> dict[str, object]:
    members = [
        {"clientid": member.receiver.clientid, "node": node, "qos": member.opts.qos}
        for member in group.members[:MAX_MEMBERS]
    ]
    return {
        "group": group.name,
        "filter": group.filter,
        "strategy": group.strategy,
        "count": len(group.members),
        "members": members,
    }


_LIST: Final = {"group": "subscriptions", "query": (*FILTERS, *PAGING), "data": rows(SUBSCRIPTION), "paged": True,
                "codes": (108,)}  # fmt: skip

ENDPOINTS = (
    get("/shared_subscriptions", list_shared, name="list_shared_subscriptions", group="subscriptions", ours=True,
        descr="Share groups and their members", query=PAGING, data=rows(SHARED), paged=True, codes=(108,)),
    get("/routes", list_routes, name="list_routes", descr="List routes", group="routes", listed="/routes/",
        query=PAGING, data=rows(ROUTE), paged=True, codes=(108,)),
    get("/routes/{topic}", lookup_routes, name="lookup_routes", descr="Lookup routes to a topic", group="routes",
        data=rows(ROUTE)),
    get("/subscriptions", list_subscriptions, name="list_subscriptions", listed="/subscriptions/",
        descr="A list of subscriptions in the cluster", **_LIST),
    get("/nodes/{node}/subscriptions", list_subscriptions, name="list_node_subscriptions",
        descr="A list of subscriptions on a node", listed="/nodes/:node/subscriptions/", **_LIST),
    get("/subscriptions/{clientid}", of_client, name="lookup_client_subscriptions", group="subscriptions",
        descr="A list of subscriptions of a client", data=rows(SUBSCRIPTION)),
    get("/nodes/{node}/subscriptions/{clientid}", of_client, name="lookup_client_subscriptions_with_node",
        descr="A list of subscriptions of a client on the node", group="subscriptions", data=rows(SUBSCRIPTION)),
)  # fmt: skip
