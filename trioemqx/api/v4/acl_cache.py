"""The caches of access decisions, of all clients at once."""

from __future__ import annotations

from trioemqx.services.web import Call, delete


def clean(call: Call) -> None:
    """What has been decided before now is decided anew when it is needed."""
    call.host.broker.forget_grants()


ENDPOINTS = (
    delete("/acl-cache", clean, name="clean_acl_cache_all", descr="Clean acl cache on all nodes", group="acl-cache"),
    delete("/nodes/{node}/acl-cache", clean, name="clean_acl_cache_node", descr="Clean acl cache on specific node",
           group="acl-cache", listed="nodes/:node/acl-cache"),
    delete("/node/{node}/acl-cache", clean, name="clean_acl_cache_node", descr="Clean acl cache on specific node",
           group="acl-cache", listed=None),
)  # fmt: skip
