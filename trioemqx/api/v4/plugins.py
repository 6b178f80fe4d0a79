"""Plugins: which there are, and their loading, unloading and reloading while clients stay connected."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from trioemqx.api.host import ApiHost
from trioemqx.services.plugins.errors import BadSettings, PluginError
from trioemqx.services.plugins.listing import Listed, with_built_in
from trioemqx.services.web import ApiError, Call, get, put
from trioemqx.services.web.answers import ALREADY_STARTED, NOT_STARTED, UNKNOWN_ERROR, not_found_page
from trioemqx.services.web.schema import FLAG, NODE, record, rows, some, texts

TYPES: Final = ("auth", "bridge", "protocol", "backend", "feature")
PLUGIN: Final = record(
    {**texts("name", "version", "description"), "active": FLAG, "type": some(*TYPES),
     **texts("problem", "origin", "sha256")},
    optional=("problem", "origin", "sha256"),
)  # fmt: skip
CODES: Final = {"already_started": ALREADY_STARTED, "not_started": NOT_STARTED}


async def found(host: ApiHost) -> list[dict[str, object]]:
    """A row per plugin; `problem` says why one is not live that should be, or cannot be. One that was uploaded has an
    `origin`, and the hash of its archive."""
    listed = with_built_in(host.plugins.built_in.values(), await host.plugins.look("plugin"))
    uploaded = host.plugins.catalogue.uploaded
    return [
        {
            "name": plugin.name,
            "version": plugin.version,
            "description": plugin.description,
            "active": plugin.active,
            "type": plugin.type if plugin.type in TYPES else "feature",
            **problem(plugin),
            **({"origin": "uploaded", "sha256": uploaded[plugin.name].sha256} if plugin.name in uploaded else {}),
        }
        for plugin in listed
    ]


def problem(listed: Listed) -> dict[str, object]:
    """A further member, where there is one."""
    return {"problem": listed.problem} if listed.problem else {}


async def list_all(call: Call) -> object:
    """One entry per running node."""
    return [{"node": call.host.node, "plugins": await found(call.host)}]


async def list_node(call: Call) -> object:
    """One node's, by name."""
    return await found(call.host)


async def load(call: Call) -> None:
    """Load one, and at every start from now on."""
    await _check(call.host, call.args["plugin"])
    await done(call.host.plugins.load(call.args["plugin"]))


async def unload(call: Call) -> None:
    """Unload one, and do not load it at the next start."""
    await _check(call.host, call.args["plugin"])
    await done(call.host.plugins.unload(call.args["plugin"]))


async def reload(call: Call) -> None:
    """Take a plugin's files and settings as they are now; one that is not loaded is loaded."""
    await _check(call.host, call.args["plugin"])
    await done(call.host.plugins.reload(call.args["plugin"]))


async def _check(host: ApiHost, name: str) -> None:
    """Raise ApiError unless it is a plugin: HTTP 404 for a name that nobody knows."""
    if name in host.plugins.built_in or any(plugin.name == name for plugin in await host.plugins.look("plugin")):
        return
    if any(module.name == name for module in await host.plugins.look("module")):
        raise ApiError(UNKNOWN_ERROR, "not_found")
    raise not_found_page()


async def done(change: Awaitable[None]) -> None:
    """Wait for a change. Raises ApiError: what went wrong in EMQX's words where it has some."""
    try:
        await change
    except BadSettings as error:
        raise ApiError(UNKNOWN_ERROR, "parse_config_file_failed", extra={"reason": str(error)}) from error
    except PluginError as error:
        raise ApiError(CODES.get(error.reason, UNKNOWN_ERROR), error.reason) from error


_ON_NODE: Final = "/nodes/{node}/plugins/{plugin}"

ENDPOINTS = (
    get("/plugins", list_all, name="list_all_plugins", descr="List all plugins in the cluster", group="plugins",
        listed="/plugins/", data=rows(record({"node": NODE, "plugins": rows(PLUGIN)}))),
    get("/nodes/{node}/plugins", list_node, name="list_node_plugins", descr="List all plugins on a node",
        group="plugins", listed="/nodes/:node/plugins/", data=rows(PLUGIN)),
    put(f"{_ON_NODE}/load", load, name="load_node_plugin", descr="Load a plugin", group="plugins", codes=(102, 110)),
    put(f"{_ON_NODE}/unload", unload, name="unload_node_plugin", descr="Unload a plugin", group="plugins",
        codes=(102, 111)),
    put(f"{_ON_NODE}/reload", reload, name="reload_node_plugin", descr="Reload a plugin", group="plugins",
        codes=(102,)),
    put("/plugins/{plugin}/unload", unload, name="unload_plugin", descr="Unload a plugin in the cluster",
        group="plugins", codes=(102, 111)),
    put("/plugins/{plugin}/reload", reload, name="reload_plugin", descr="Reload a plugin in the cluster",
        group="plugins", codes=(102,)),
)  # fmt: skip
