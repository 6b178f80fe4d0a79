"""Listeners of MQTT and of HTTP: where they are, how many use them, and their restart."""

from __future__ import annotations

from typing import Final

from trioemqx.api.host import ApiHost
from trioemqx.errors import ListenerError
from trioemqx.services.ctl.listeners import ORDER, http_row, listener_row
from trioemqx.services.filters import term
from trioemqx.services.web import ApiError, Call, PlainText, get, put
from trioemqx.services.web.answers import UNKNOWN_ERROR
from trioemqx.services.web.schema import FLAG, NODE, WHOLE, record, rows, table, texts, wholes

LISTENER: Final = record(
    {
        **texts("protocol", "listen_on", "identifier"),
        **wholes("acceptors", "max_conns", "current_conns"),
        "shutdown_count": rows(table(WHOLE)),
    },
    optional=("identifier",),
)
WEBSOCKET: Final = record({**wholes("port"), **texts("path"), "tls": FLAG})
RESTARTED: Final = list(b"Listener restarted.")
"""EMQX sends a text as the numbers of its letters."""


def found(host: ApiHost) -> list[dict[str, object]]:
    """TCP and TLS, then HTTP, then WebSocket. Those that were stopped are left out."""
    manager = host.listeners
    running = [listener for name, listener in manager.listeners.items() if not manager.stopped(name)]
    running.sort(key=lambda listener: ORDER.index(listener.config.kind))
    servers = host.api.servers if host.api is not None else ()
    return [
        *(listener_row(listener) for listener in running if not listener.config.websocket),
        *(http_row(server) for server in servers),
        *(listener_row(listener) for listener in running if listener.config.websocket),
    ]


def list_all(call: Call) -> object:
    """One entry per running node."""
    return [{"node": call.host.node, "listeners": found(call.host)}]


def list_node(call: Call) -> object:
    """One node's."""
    return found(call.host)


def for_browsers(call: Call) -> object:
    """Where a browser can speak MQTT: the WebSocket listeners that are open."""
    manager = call.host.listeners
    return {
        "websocket": [
            {"port": listener.port, "path": listener.config.mqtt_path, "tls": listener.config.tls}
            for name, listener in manager.listeners.items()
            if listener.config.websocket and not manager.stopped(name)
        ]
    }


def restart_all(call: Call) -> object:
    """Restart a listener on every node; its clients are disconnected."""
    name = call.args["identifier"]
    if name.startswith("http"):
        return PlainText('"http_listener_restart_unsupported"', 403, "application/json")
    failure = _restart(call.host, name)
    if failure:
        raise ApiError(UNKNOWN_ERROR, f"{{restart,[{{{atom(call.host.node)},{{error,{failure}}}}}]}}")
    return None


def restart_node(call: Call) -> object:
    """Restart a listener on one node; its clients are disconnected."""
    failure = _restart(call.host, call.args["identifier"])
    if failure:
        raise ApiError(UNKNOWN_ERROR, failure)
    return RESTARTED


def _restart(host: ApiHost, name: str) -> str:
    """What went wrong, as Erlang prints it; "" when nothing did."""
    try:
        host.listeners.restart(name)
    except KeyError:
        return f"{{no_such_listener,{term(name)}}}"
    except ListenerError as error:
        return term(str(error))
    return ""


def atom(text: str) -> str:
    """A name as Erlang prints one: quoted when it is more than letters, digits, `_` and `@`."""
    plain = text.replace("_", "a").replace("@", "a")
    if text[:1].islower() and plain.isascii() and plain.isalnum():
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


ENDPOINTS = (
    get("/listeners", list_all, name="list_listeners", descr="A list of listeners in the cluster", group="listeners",
        listed="/listeners/", data=rows(record({"node": NODE, "listeners": rows(LISTENER)}))),
    get("/nodes/{node}/listeners", list_node, name="list_node_listeners", group="listeners",
        descr="A list of listeners on the node", data=rows(LISTENER)),
    get("/settings/listener", for_browsers, name="listener_settings", group="listeners", ours=True,
        descr="Where a browser can speak MQTT", data=record({"websocket": rows(WEBSOCKET)})),
    put("/listeners/{identifier}/restart", restart_all, name="restart_listener", group="listeners",
        descr="Restart a listener in the cluster", codes=(102,)),
    put("/nodes/{node}/listeners/{identifier}/restart", restart_node, name="restart_node_listener", group="listeners",
        descr="Restart a listener on a node", data=rows(WHOLE), codes=(102,)),
)  # fmt: skip
