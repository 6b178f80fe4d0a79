"""Brokers and nodes: what runs where, since when, and how loaded it is."""

from __future__ import annotations

import os
import platform
import resource

import psutil
import trio.lowlevel

from trioemqx.api.host import ApiHost
from trioemqx.services import formats
from trioemqx.services.monitor import TASK_LIMIT
from trioemqx.services.systopics import DESCRIPTION
from trioemqx.services.web import Call, get
from trioemqx.services.web.call import whole
from trioemqx.services.web.schema import TEXT, WHOLE, either, record, rows, texts, wholes

BROKER = record(texts("node", "node_status", "version", "sysdescr", "otp_release", "uptime", "datetime"))
_NODE = {
    **texts("node", "node_status", "version", "otp_release", "uptime", "load1", "load5", "load15"),
    **wholes("connections", "live_connections", "max_fds", "process_used", "process_available"),
}
NODE = record({**_NODE, "memory_total": either(TEXT, WHOLE), "memory_used": either(TEXT, WHOLE)})
NODE_IN_BYTES = record({**_NODE, **wholes("memory_total", "memory_used")})


def broker_info(host: ApiHost) -> dict[str, object]:
    """One broker."""
    return {
        "node": host.node,
        "node_status": "Running",
        "version": host.version,
        "sysdescr": DESCRIPTION,
        "otp_release": f"Python {platform.python_version()}/trio {trio.__version__}",
        "uptime": formats.uptime(host.uptime()),
        "datetime": formats.local_time(host.wall()),
    }


def node_info(host: ApiHost) -> dict[str, object]:
    """One node; sizes are bytes."""
    connected = host.broker.registry.connected
    load1, load5, load15 = os.getloadavg()
    memory = psutil.virtual_memory()
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {
        "node": host.node,
        "node_status": "Running",
        "version": host.version,
        "otp_release": f"Python {platform.python_version()}/trio {trio.__version__}",
        "uptime": formats.uptime(host.uptime()),
        "connections": connected,
        "live_connections": connected,
        "load1": f"{load1:.2f}",
        "load5": f"{load5:.2f}",
        "load15": f"{load15:.2f}",
        "max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_used": tasks,
        "process_available": TASK_LIMIT,
        "memory_total": memory.total,
        "memory_used": min(psutil.Process().memory_info().rss, memory.total),
    }


def list_brokers(call: Call) -> object:
    """One entry per running node."""
    return [broker_info(call.host)]


def get_broker(call: Call) -> object:
    """One node's."""
    return broker_info(call.host)


def list_nodes(call: Call) -> object:
    """One entry per running node; sizes as people read them."""
    info = node_info(call.host)
    sizes = {name: formats.memory(whole(info[name]) or 0) for name in ("memory_total", "memory_used")}
    return [{**info, **sizes}]


def get_node(call: Call) -> object:
    """One node's, sizes in bytes."""
    return node_info(call.host)


ENDPOINTS = (
    get("/brokers", list_brokers, name="list_brokers", descr="A list of brokers in the cluster", group="brokers",
        listed="/brokers/", data=rows(BROKER)),
    get("/brokers/{node}", get_broker, name="get_broker", descr="Get broker info of a node", group="brokers",
        data=BROKER),
    get("/nodes", list_nodes, name="list_nodes", descr="A list of nodes in the cluster", group="nodes",
        listed="/nodes/", data=rows(NODE)),
    get("/nodes/{node}", get_node, name="get_node", descr="Lookup a node in the cluster", group="nodes",
        data=NODE_IN_BYTES),
)  # fmt: skip
