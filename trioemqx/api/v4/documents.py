"""`GET /api/v4/openapi.json`: this API, for programs and for the page `/api-docs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from trioemqx.api.openapi import JSON, document
from trioemqx.services.web import Call, Endpoint, PlainText, get

_MADE: Final[dict[str, tuple[Sequence[Endpoint], str, str]]] = {}
"""The last document by listener, with what it was made of."""


def served(call: Call) -> list[Endpoint]:
    """The endpoints of this listener: the broker's, and those of live plugins and modules."""
    from trioemqx.api.v4 import all_endpoints

    found = [*all_endpoints(), *call.host.web_routes.endpoints]
    return [endpoint for endpoint in found if call.listener in endpoint.listeners]


def openapi(call: Call) -> object:
    """The document as it is now: plugins come and go."""
    endpoints, version = served(call), call.host.version
    made = _MADE.get(call.listener)
    if made is None or made[:2] != (endpoints, version):
        text = msgspec.json.encode(document(endpoints, version)).decode("utf-8")
        made = _MADE[call.listener] = (endpoints, version, text)
    return PlainText(made[2], content_type=JSON)


ENDPOINTS = (
    get(
        "/openapi.json",
        openapi,
        name="openapi",
        descr="This API as an OpenAPI 3.1 document",
        group="index",
        listed=None,
        bare={"type": "object", "properties": {"openapi": {"type": "string"}}, "required": ["openapi"]},
        ours=True,
    ),
)
