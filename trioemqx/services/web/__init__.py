"""What an endpoint of the HTTP API is: its declaration, the request it gets, the answers it may give.

The broker's own endpoints and those of plugins are made of the same parts. Serving them is `trioemqx.api`'s.
"""

from __future__ import annotations

from trioemqx.services.web import schema
from trioemqx.services.web.answers import ApiError, Bare, Download, Page, PlainText
from trioemqx.services.web.call import Call, Params
from trioemqx.services.web.endpoints import Endpoint, Param, Routes, delete, get, post, put
from trioemqx.services.web.lists import PAGING, paged

__all__ = [
    "PAGING",
    "ApiError",
    "Bare",
    "Call",
    "Download",
    "Endpoint",
    "Page",
    "Param",
    "Params",
    "PlainText",
    "Routes",
    "delete",
    "get",
    "paged",
    "post",
    "put",
    "schema",
]
