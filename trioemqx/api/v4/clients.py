"""Clients: lists, look-ups, kick, and what can be changed of a connection while it lives."""

from __future__ import annotations

from typing import Final

from trioemqx.services import clients
from trioemqx.services.filters import FilterError
from trioemqx.services.policies import Policy, parse_policy
from trioemqx.services.web import ApiError, Call, Endpoint, Page, Param, delete, get, post, put
from trioemqx.services.web.answers import NOT_ONLINE, UNKNOWN_ERROR, bad_params
from trioemqx.services.web.call import whole
from trioemqx.services.web.schema import FLAG, record, rows, some, texts, wholes

CLIENT: Final = record(
    {
        **texts("node", "clientid", "username", "mountpoint", "zone", "proto_name", "ip_address"),
        **wholes("proto_ver", "port", "keepalive", "expiry_interval"),
        **dict.fromkeys(("is_bridge", "clean_start", "connected"), FLAG),
        **texts("connected_at", "created_at", "disconnected_at"),
        **wholes("subscriptions_cnt", "max_subscriptions", "inflight", "max_inflight", "mqueue_len", "max_mqueue"),
        **wholes("mqueue_dropped", "awaiting_rel", "max_awaiting_rel"),
        **wholes("recv_oct", "recv_cnt", "recv_pkt", "recv_msg", "send_oct", "send_cnt", "send_pkt", "send_msg"),
        **wholes("recv_msg.qos0", "recv_msg.qos1", "recv_msg.qos2", "recv_msg.dropped"),
        **wholes("send_msg.qos0", "send_msg.qos1", "send_msg.qos2", "send_msg.dropped", "send_msg.dropped.expired"),
        **wholes("send_msg.dropped.queue_full", "send_msg.dropped.too_large"),
        **wholes("mailbox_len", "heap_size", "reductions"),
    },
    optional=("disconnected_at",),
)
GRANT: Final = record(
    {
        "access": some("publish", "subscribe"),
        **texts("topic"),
        "result": some("allow", "deny"),
        **wholes("updated_time"),
    }
)
MAX_KEEPALIVE: Final = 65535

PAGING: Final = (
    Param("_page", "integer", "The page, from 1.", default=1),
    Param("_limit", "integer", "Rows of a page; without it `management.max_row_limit`."),
)
FILTERS: Final = (
    Param("clientid", doc="Equal."),
    Param("username", doc="Equal."),
    Param("zone", doc="Equal."),
    Param("ip_address", doc="Equal; IPv4."),
    Param("conn_state", doc="Whether the client is here.", enum=("connected", "disconnected", "idle")),
    Param("clean_start", doc="Equal.", enum=("true", "false")),
    Param("proto_name", doc="Equal."),
    Param("proto_ver", "integer", "Equal."),
    Param("_like_clientid", doc="Contained in the client id."),
    Param("_like_username", doc="Contained in the user name."),
    Param("_gte_created_at", "integer", "Session made then or later, Unix seconds."),
    Param("_lte_created_at", "integer", "Session made then or earlier, Unix seconds."),
    Param("_gte_connected_at", "integer", "Connected then or later, Unix seconds."),
    Param("_lte_connected_at", "integer", "Connected then or earlier, Unix seconds."),
    Param("_gte_mqueue_len", "integer", "At least so many messages queued."),
    Param("_lte_mqueue_len", "integer", "At most so many messages queued."),
    Param("_gte_mqueue_dropped", "integer", "At least so many messages dropped."),
    Param("_lte_mqueue_dropped", "integer", "At most so many messages dropped."),
)


def refused(error: FilterError) -> ApiError:
    """The answer for a filter that cannot be."""
    return ApiError(108, error.text, 400 if error.bad_request else 200)


async def list_clients(call: Call) -> Page:
    """A page of the clients for which the filters hold, those that are away included."""
    page, limit = call.paging()
    broker = call.host.broker
    try:
        found, count, more = await clients.client_page(broker, broker.node, call.flat(), page, limit)
    except FilterError as error:
        raise refused(error) from None
    return Page(found, page, limit, count, more)


def lookup_client(call: Call) -> object:
    """The client, as a list of one, or of none."""
    session = call.host.broker.find(call.args["clientid"])
    return [] if session is None else [clients.client_row(session, call.host.broker.node)]


async def by_username(call: Call) -> object:
    """Every client with that user name."""
    broker = call.host.broker
    return await clients.clients_by_username(broker, broker.node, call.args["username"])


def kick(call: Call) -> None:
    """End connection and session; a client that is not here is no error."""
    call.host.broker.kick(call.args["clientid"])


def list_acl_cache(call: Call) -> object:
    """What has been decided about the client's topics and is still remembered."""
    grants = call.host.broker.acl_cache(call.args["clientid"])
    if grants is None:
        raise absent()
    return [
        {"access": action, "topic": topic, "result": "allow" if allowed else "deny", "updated_time": at}
        for action, topic, allowed, at in grants
    ]


def clean_acl_cache(call: Call) -> None:
    """Forget it."""
    demand(call.host.broker.clean_acl_cache(call.args["clientid"]))


def set_rate(call: Call) -> None:
    """Limit what the connection sends us, until it ends."""
    bytes_in, messages_in = policy(call, "conn_bytes_in"), policy(call, "conn_messages_in")
    if bytes_in is not None or messages_in is not None:
        demand(call.host.broker.set_rate(call.args["clientid"], bytes_in, messages_in))


def clear_rate(call: Call) -> None:
    """Remove that limit."""
    demand(call.host.broker.clear_rate(call.args["clientid"]))


def set_quota(call: Call) -> None:
    """Limit how many messages of the connection are routed, until it ends."""
    routing = policy(call, "conn_messages_routing")
    if routing is not None:
        demand(call.host.broker.set_quota(call.args["clientid"], routing))


def clear_quota(call: Call) -> None:
    """Remove that limit."""
    demand(call.host.broker.clear_quota(call.args["clientid"]))


def set_keepalive(call: Call) -> None:
    """Change the keep-alive of the connection; 0 switches it off."""
    value = call.need("interval", "params_not_found")
    seconds = min(value, MAX_KEEPALIVE + 1) if type(value) is int else whole(value)
    if seconds is None:
        raise bad_params()
    if not 0 <= seconds <= MAX_KEEPALIVE:
        raise ApiError(UNKNOWN_ERROR, "mqtt3.1.1 specification: keepalive must between 0~65535")
    demand(call.host.broker.set_keepalive(call.args["clientid"], seconds))


def policy(call: Call, name: str) -> Policy | None:
    """A rate limit among the parameters; None when it was not sent. Raises ApiError 108."""
    if not call.has(name):
        return None
    try:
        return parse_policy(call.get(name))
    except ValueError:
        raise bad_params(f"bad {name}: must be <limit>, <duration>, such as 100KB, 10s") from None


def absent() -> ApiError:
    """112: there is no such session."""
    return ApiError(NOT_ONLINE, "not_found")


def demand(found: bool) -> None:
    """Raise ApiError 112 unless there was such a session."""
    if not found:
        raise absent()


def _lists(path: str, name: str, descr: str, listed: str) -> Endpoint:
    return get(
        path, list_clients, name=name, descr=descr, group="clients", listed=listed, query=(*FILTERS, *PAGING),
        data=rows(CLIENT), paged=True, codes=(108,),
    )  # fmt: skip


_CLIENT: Final = "/clients/{clientid}"
_POLICY: Final = {"group": "clients", "codes": (108, 112)}

ENDPOINTS = (
    _lists("/clients", "list_clients", "A list of clients on current node", "/clients/"),
    _lists("/nodes/{node}/clients", "list_node_clients", "A list of clients on specified node", "nodes/:node/clients/"),
    get(_CLIENT, lookup_client, name="lookup_client", descr="Lookup a client in the cluster", group="clients",
        data=rows(CLIENT)),
    get("/nodes/{node}/clients/{clientid}", lookup_client, name="lookup_node_client", group="clients",
        descr="Lookup a client on the node", listed="nodes/:node/clients/:clientid", data=rows(CLIENT)),
    get("/clients/username/{username}", by_username, name="lookup_client_via_username", group="clients",
        descr="Lookup a client via username in the cluster", data=rows(CLIENT)),
    get("/nodes/{node}/clients/username/{username}", by_username, name="lookup_node_client_via_username",
        descr="Lookup a client via username on the node ", group="clients", data=rows(CLIENT)),
    delete(_CLIENT, kick, name="kickout_client", descr="Kick out the client in the cluster", group="clients"),
    delete(f"{_CLIENT}/acl_cache", clean_acl_cache, name="clean_acl_cache", group="clients", codes=(112,),
           descr="Clear the ACL cache of a specified client in the cluster"),
    get(f"{_CLIENT}/acl_cache", list_acl_cache, name="list_acl_cache", group="clients", data=rows(GRANT), codes=(112,),
        descr="List the ACL cache of a specified client in the cluster"),
    post(f"{_CLIENT}/ratelimit", set_rate, name="set_ratelimit_policy", descr="Set the client ratelimit policy",
         body=(Param("conn_bytes_in", doc="`<bytes>, <duration>`, such as `100KB, 10s`."),
               Param("conn_messages_in", doc="`<messages>, <duration>`.")), **_POLICY),
    delete(f"{_CLIENT}/ratelimit", clear_rate, name="clean_ratelimit", descr="Clear the ratelimit policy",
           group="clients", codes=(112,)),
    post(f"{_CLIENT}/quota", set_quota, name="set_quota_policy", descr="Set the client quota policy",
         body=(Param("conn_messages_routing", doc="`<messages>, <duration>`."),), **_POLICY),
    delete(f"{_CLIENT}/quota", clear_quota, name="clean_quota", descr="Clear the quota policy", group="clients",
           codes=(112,)),
    put(f"{_CLIENT}/keepalive", set_keepalive, name="set_keepalive", descr="Set the client keepalive", group="clients",
        body=(Param("interval", "integer", "Seconds, 0 to 65535; 0: none.", required=True),),
        codes=(102, 107, 108, 112)),
)  # fmt: skip
