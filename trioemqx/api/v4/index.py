"""`GET /api/v4`: which endpoints there are."""

from __future__ import annotations

from trioemqx.api.v4.shipped import SHIPPED, place
from trioemqx.services.web import Call, Endpoint, get
from trioemqx.services.web.schema import record, rows, texts


def listed_path(endpoint: Endpoint) -> str:
    """A path as EMQX's index writes it: `/clients/:clientid`."""
    if endpoint.listed:
        return endpoint.listed
    return "/" + "/".join(f":{part[1:-1]}" if part[0] == "{" else part for part in endpoint.parts)


def index(call: Call) -> object:
    """Every endpoint of this listener, in EMQX's order, those of plugins that come with the broker loaded or not."""
    from trioemqx.api.v4 import all_endpoints

    known = {(found.method, found.path) for found in SHIPPED.endpoints}
    more = [found for found in call.host.web_routes.endpoints if (found.method, found.path) not in known]
    return [
        {"name": found.name, "method": found.method, "path": listed_path(found), "descr": found.descr}
        for found in sorted([*SHIPPED.endpoints, *all_endpoints(), *more], key=place)
        if call.listener in found.listeners and found.name and found.listed is not None
    ]


ENDPOINTS = (
    get(
        "/",
        index,
        descr="The endpoints of this API",
        group="index",
        data=rows(record(texts("name", "method", "path", "descr"))),
    ),
)
