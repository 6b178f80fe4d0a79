"""Clients, subscriptions and routes as the HTTP API and the command line show them.

A row is a dictionary with EMQX's field names, made from what a session holds at that moment. Lists are walked in slices
and filtered before rows are built, so a page costs what looking costs and the rows that are on it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.session import Session
from trioemqx.core.subscription import Subscription
from trioemqx.core.traffic import Traffic
from trioemqx.services.filters import client_filter, plain_address, queue_length, subscription_filter
from trioemqx.services.paging import SLICE, Row, built, page, slowly

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.router import FilterEntry

UNDEFINED: Final = "undefined"
"""Erlang's word for what is not set."""
Page = tuple[list[Row], int, bool]
"""Rows, how many there are in all (-1 = not counted), and whether there are more after these."""
Route = tuple[str, str]
"""A filter, and a node that wants its messages."""


# -- one client --------------------------------------------------------------------------------------------------------


def client_row(session: Session, node: str) -> Row:
    """One client as `GET /clients` shows it. `node` is the node's name.

    Counters are those of the present or the last connection, but for `mqueue_dropped`, which is the session's. What
    only an Erlang process has is filled with what comes nearest: `mailbox_len` pieces that wait for the socket and
    packets that wait for an answer, `heap_size` bytes held for the client, `reductions` packets handled.
    """
    traffic = _traffic(session)
    row = _identity(session, node)
    row.update(_gauges(session))
    row.update(_counters(session, traffic))
    row.update(_runtime(session, traffic))
    return row


def _identity(session: Session, node: str) -> Row:
    info = session.info
    connected = session.channel is not None
    row: Row = {
        "node": node,
        "clientid": session.clientid,
        "username": UNDEFINED if info.username is None else info.username,
        "mountpoint": info.mountpoint or UNDEFINED,
        "zone": info.zone,
        "proto_name": info.proto_name,
        "proto_ver": info.proto_ver,
        "ip_address": plain_address(info.peerhost),
        "port": info.peerport,
        "is_bridge": info.is_bridge,
        "clean_start": info.clean_start,
        "keepalive": info.keepalive,
        "expiry_interval": session.expiry_interval,
        "connected": connected,
        "connected_at": local_time(info.connected_at),
        "created_at": local_time(session.created_at),
    }
    if not connected:
        row["disconnected_at"] = local_time(session.disconnected_at)
    return row


def _gauges(session: Session) -> Row:
    zone = session.zone
    return {
        "subscriptions_cnt": len(session.subscriptions),
        "max_subscriptions": zone.max_subscriptions,
        "inflight": len(session.inflight),
        "max_inflight": session.window,
        "mqueue_len": queue_length(session),
        "max_mqueue": zone.max_mqueue_len,
        "mqueue_dropped": session.queue_dropped,
        "awaiting_rel": len(session.awaiting_rel),
        "max_awaiting_rel": zone.max_awaiting_rel,
    }


def _traffic(session: Session) -> Traffic | None:
    """What the connection has counted: the present one, or the one the session has outlived."""
    channel = session.channel
    return session.last_traffic if channel is None else Traffic(channel)


def _counters(session: Session, traffic: Traffic | None) -> Row:
    sent = session.sent
    row: Row = {
        "send_pkt": sent.pkt,
        "send_msg": sent.qos0 + sent.qos1 + sent.qos2,
        "send_msg.qos0": sent.qos0,
        "send_msg.qos1": sent.qos1,
        "send_msg.qos2": sent.qos2,
        "send_msg.dropped": sent.dropped,
        "send_msg.dropped.expired": sent.dropped_expired,
        "send_msg.dropped.queue_full": sent.dropped_queue_full,
        "send_msg.dropped.too_large": sent.dropped_too_large,
    }
    if traffic is None:  # a session that has never had a connection here
        row.update(NO_TRAFFIC)
        return row
    row["recv_oct"] = traffic.recv_oct
    row["recv_cnt"] = traffic.recv_cnt
    row["recv_pkt"] = traffic.recv_pkt
    row["recv_msg"] = traffic.recv_qos0 + traffic.recv_qos1 + traffic.recv_qos2
    row["recv_msg.qos0"] = traffic.recv_qos0
    row["recv_msg.qos1"] = traffic.recv_qos1
    row["recv_msg.qos2"] = traffic.recv_qos2
    row["recv_msg.dropped"] = traffic.recv_dropped
    row["send_oct"] = traffic.send_oct
    row["send_cnt"] = traffic.send_cnt
    return row


NO_TRAFFIC: Final[Mapping[str, object]] = dict.fromkeys(
    (
        "recv_oct",
        "recv_cnt",
        "recv_pkt",
        "recv_msg",
        "recv_msg.qos0",
        "recv_msg.qos1",
        "recv_msg.qos2",
        "recv_msg.dropped",
        "send_oct",
        "send_cnt",
    ),
    0,
)


def _runtime(session: Session, traffic: Traffic | None) -> Row:
    channel = session.channel
    queue = session.mqueue
    waiting = 0
    held = 0 if queue is None else queue.bytes
    if channel is not None:
        waiting = len(channel.out.parts) + (channel.question is not None)
        held += channel.out.size + channel.framer.pending()
    received = 0 if traffic is None else traffic.recv_pkt
    return {"mailbox_len": waiting, "heap_size": held, "reductions": received + session.sent.pkt}


def local_time(milliseconds: int) -> str:
    """`2020-05-15 17:39:00`, in the machine's time zone."""
    return _local_second(milliseconds // 1000)


@lru_cache(maxsize=4096)
def _local_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


# -- subscriptions and routes ------------------------------------------------------------------------------------------


def subscription_row(subscription: Subscription, node: str) -> Row:
    """One subscription. A shared one has `$share/<group>/` before its filter, also where the client wrote `$queue/`."""
    filter = subscription.filter
    return {
        "node": node,
        "clientid": subscription.receiver.clientid,
        "topic": f"$share/{subscription.group}/{filter}" if subscription.group else filter,
        "qos": subscription.qos,
    }


def subscription_rows(session: Session, node: str) -> list[Row]:
    """All subscriptions of one session, in the order in which they were made."""
    return [subscription_row(subscription, node) for subscription in session.subscriptions.values()]


def route_rows(broker: Broker, node: str, filter: str) -> list[Row]:
    """The routes of exactly one filter."""
    entry = broker.router.entry(filter)
    return [] if entry is None else [_route_row(route) for route in _routes([entry], node)]


def _routes(entries: list[FilterEntry], node: str) -> Iterator[Route]:
    """One route for the plain subscriptions of a filter here, one per share group, one per other node that wants it. An
    entry that has gone meanwhile has none."""
    for entry in entries:
        if entry.members:
            yield entry.filter, node
        for _ in entry.groups or ():
            yield entry.filter, node
        for name in entry.remote or ():
            yield entry.filter, name


def _route_row(route: Route) -> Row:
    topic, node = route
    return {"topic": topic, "node": node}


# -- lists -------------------------------------------------------------------------------------------------------------


async def client_page(broker: Broker, node: str, params: Mapping[str, object], number: int, limit: int) -> Page:
    """A page of the clients for which the filters among a request's parameters hold, oldest session first. Raises
    FilterError."""
    wanted = client_filter(params)
    source = broker.clients()
    if wanted is not None and "clientid" in wanted.names:
        source = _one(broker, params["clientid"])
    sessions, count, more = await page(source, wanted, number, limit)
    return await built(sessions, lambda session: _row_of(broker, session, node)), count, more


async def clients_by_username(broker: Broker, node: str, username: str) -> list[Row]:
    """Every client with exactly this user name."""
    wanted = client_filter({"username": username})
    source = broker.clients()
    sessions, _, _ = await page(source, wanted, 1, len(source))
    return await built(sessions, lambda session: _row_of(broker, session, node))


async def subscription_page(broker: Broker, node: str, params: Mapping[str, object], number: int, limit: int) -> Page:
    """A page of the subscriptions of clients for which the filters among a request's parameters hold. Raises
    FilterError."""
    wanted = subscription_filter(params)
    names = frozenset[str]() if wanted is None else wanted.names
    if "clientid" in names:
        source = _subscriptions(_one(broker, params["clientid"]))
    elif "topic" in names:
        source = _subscriptions_to(broker, params["topic"])
    else:
        source = _subscriptions(broker.clients())
    exact = names == {"topic"}
    found, count, more = await page(source, wanted, number, limit, exact)
    return await built(found, lambda one: None if one.entry is None else subscription_row(one, node)), count, more


async def route_page(broker: Broker, node: str, number: int, limit: int) -> Page:
    """A page of the routes. Most filters have one: these are counted without being looked at one by one."""
    first = (max(number, 1) - 1) * limit
    count = 0
    rows: list[Row] = []
    entries = broker.router.entries()
    for at in range(0, len(entries), SLICE):
        part = entries[at : at + SLICE]
        routes: list[Route] | None = None
        if any(entry.groups or entry.remote or not entry.members for entry in part):
            routes = list(_routes(part, node))
        size = len(part) if routes is None else len(routes)
        if count + size > first and len(rows) < limit:
            routes = list(_routes(part, node)) if routes is None else routes
            rows += map(_route_row, routes[max(first - count, 0) :][: limit - len(rows)])
        count += size
        await trio.lowlevel.checkpoint()
    return rows, count, count > first + limit


def each_client(broker: Broker) -> AsyncGenerator[Session, None]:
    """All sessions, oldest first, with time for others in between."""
    return slowly(broker.clients())


def each_subscription(broker: Broker) -> AsyncGenerator[Subscription, None]:
    """All subscriptions of clients, with time for others in between."""
    return slowly(_subscriptions(broker.clients()))


def each_route(broker: Broker, node: str) -> AsyncGenerator[Row, None]:
    """All routes, as rows, with time for others in between."""
    return slowly(map(_route_row, _routes(broker.router.entries(), node)))


def _one(broker: Broker, clientid: object) -> list[Session]:
    """The session of a client identifier, as a list."""
    session = broker.find(clientid) if isinstance(clientid, str) else None
    return [] if session is None else [session]


def _row_of(broker: Broker, session: Session, node: str) -> Row | None:
    """The row of a session, unless that has ended since the list was made."""
    return client_row(session, node) if broker.find(session.clientid) is session else None


def _subscriptions(sessions: list[Session]) -> Iterator[Subscription]:
    """Those of each session as they are when its turn comes."""
    return chain.from_iterable(list(session.subscriptions.values()) for session in sessions)


def _subscriptions_to(broker: Broker, topic: object) -> Iterator[Subscription]:
    """Subscriptions of clients to exactly one filter, shared ones too. Their order changes when one of them ends."""
    entry = broker.router.entry(topic) if isinstance(topic, str) else None
    if entry is None:
        return
    members = list(entry.members)
    for group in entry.groups or ():
        members += group.members
    for subscription in members:
        if isinstance(subscription.receiver, Session):
            yield subscription
