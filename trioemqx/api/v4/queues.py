"""The messages that wait for a client, and those that it has not acknowledged. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from trioemqx.api.v4.clients import absent
from trioemqx.core.session import Session
from trioemqx.services import waiting
from trioemqx.services.web import PAGING, Call, Page, get
from trioemqx.services.web.schema import FLAG, record, rows, some, texts, wholes

LIMIT: Final = 100
MOST: Final = 1000
_MESSAGE: Final = {
    **texts("msgid", "topic", "from_clientid"),
    **wholes("queued_at", "size"),
    "qos": some(0, 1, 2),
    "retain": FLAG,
    "payload": {"type": "string", "contentEncoding": "base64"},
    "truncated": FLAG,
}
STATES: Final = some("queued", "wait_puback", "wait_pubrec", "wait_pubcomp")

Source = Callable[[Session, int, int], Awaitable[tuple[list[waiting.Row], int]]]


async def list_mqueue(call: Call) -> Page:
    """A page of the queue, in the order in which it will be sent."""
    return await _page(call, waiting.queue_rows)


async def list_inflight(call: Call) -> Page:
    """A page of the window, the oldest first."""
    return await _page(call, waiting.inflight_rows)


async def _page(call: Call, source: Source) -> Page:
    session = call.host.broker.find(call.args["clientid"])
    if session is None:
        raise absent()
    number, limit = call.paging(LIMIT)
    number, limit = max(number, 1), min(limit, MOST)
    first = (number - 1) * limit
    found, total = await source(session, first, limit)
    return Page(found, number, limit, total, first + len(found) < total)


_LIST: Final[dict[str, Any]] = {
    "group": "clients", "ours": True, "query": PAGING, "paged": True, "codes": (108, 112),
}  # fmt: skip

ENDPOINTS = (
    get("/clients/{clientid}/mqueue", list_mqueue, name="list_client_mqueue", descr="Messages that wait for a client",
        data=rows(record(_MESSAGE)), **_LIST),
    get("/clients/{clientid}/inflight", list_inflight, name="list_client_inflight",
        descr="Messages that a client has not acknowledged",
        data=rows(record({**_MESSAGE, **wholes("packet_id"), "state": STATES})), **_LIST),
)  # fmt: skip
