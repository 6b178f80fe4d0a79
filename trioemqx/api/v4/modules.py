"""Modules: the small features that come with the broker."""

from __future__ import annotations

from typing import Final

from trioemqx.api.host import ApiHost
from trioemqx.api.v4.plugins import done, problem
from trioemqx.services.web import Call, Endpoint, get, put
from trioemqx.services.web.answers import not_found_page
from trioemqx.services.web.schema import FLAG, NODE, record, rows, texts

MODULE: Final = record(
    {**texts("name", "description"), "active": FLAG, **texts("problem")},
    optional=("problem",),
)
RULES: Final = "emqx_mod_acl_internal"
"""The only module that a reload does something to: it reads the file of access rules again."""


async def found(host: ApiHost) -> list[dict[str, object]]:
    """A row per module; `problem` says why one is not live that should be."""
    return [
        {"name": module.name, "description": module.description, "active": module.active, **problem(module)}
        for module in await host.plugins.look("module")
    ]


async def list_all(call: Call) -> object:
    """One entry per running node."""
    return [{"node": call.host.node, "modules": await found(call.host)}]


async def list_node(call: Call) -> object:
    """One node's."""
    return await found(call.host)


async def load(call: Call) -> None:
    """Load one, and at every start from now on."""
    await done(call.host.plugins.load(await _known(call)))


async def unload(call: Call) -> None:
    """Unload one, and do not load it at the next start."""
    await done(call.host.plugins.unload(await _known(call)))


async def reload(call: Call) -> None:
    """Read the access rules again. Nothing happens to another module, as in EMQX."""
    name = await _known(call)
    if name == RULES:
        await done(call.host.plugins.reload(name))


async def _known(call: Call) -> str:
    """The module of the path. Raises ApiError with HTTP 404 when there is none of that name."""
    name = call.args["module"]
    if not any(module.name == name for module in await call.host.plugins.look("module")):
        raise not_found_page()
    return name


def _changes(above: str, infix: str, where: str, letter: str) -> tuple[Endpoint, ...]:
    """Load, unload and reload, on one node or on all. `letter` begins the first description, as it does in EMQX."""
    return (
        put(f"{above}/modules/{{module}}/load", load, name=f"load{infix}_module", descr=f"{letter}oad a module{where}",
            group="modules", app="emqx_modules", codes=(102, 110)),
        put(f"{above}/modules/{{module}}/unload", unload, name=f"unload{infix}_module",
            descr=f"Unload a module{where}", group="modules", app="emqx_modules", codes=(102, 111)),
        put(f"{above}/modules/{{module}}/reload", reload, name=f"reload{infix}_module",
            descr=f"Reload a module{where}", group="modules", app="emqx_modules", codes=(102,)),
    )  # fmt: skip


ENDPOINTS = (
    get("/modules", list_all, name="list_all_modules", descr="List all modules in the cluster", group="modules",
        app="emqx_modules", listed="/modules/", data=rows(record({"node": NODE, "modules": rows(MODULE)}))),
    get("/nodes/{node}/modules", list_node, name="list_node_modules", descr="List all modules on a node",
        group="modules", app="emqx_modules", listed="/nodes/:node/modules/", data=rows(MODULE)),
    *_changes("/nodes/{node}", "_node", "", "L"),
    *_changes("", "", " in the cluster", "l"),
)  # fmt: skip
