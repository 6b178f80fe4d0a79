"""The audit log: who changed what, when and from where. EMQX 4.4 has none."""

from __future__ import annotations

from typing import Final

from trioemqx.services.audit import Deed
from trioemqx.services.web import PAGING, Call, Page, Param, get, paged
from trioemqx.services.web.call import MAX_INT
from trioemqx.services.web.schema import record, rows, some, texts, wholes

DOORS: Final = ("management", "dashboard", "ctl")
DEED: Final = record(
    {**wholes("at"), "door": some(*DOORS), **texts("who", "peer", "method", "path", "result")},
)
EQUAL: Final = ("door", "who", "peer", "method", "result")


async def list_audit(call: Call) -> Page:
    """A page of what is kept, newest first."""
    equal = {name: call.text(name) for name in EQUAL if call.has(name)}
    part = call.text("_like_path", "")
    since, until = call.integer("since", 0), call.integer("until", MAX_INT)

    def wanted(deed: Deed) -> bool:
        fits = all(getattr(deed, name) == value for name, value in equal.items())
        return fits and part in deed.path and since <= deed.at // 1_000_000 < until

    conditions = [wanted] if equal or part or call.has("since") or call.has("until") else []
    return await paged(call, call.host.audit.deeds(), Deed.row, conditions)


ENDPOINTS = (
    get("/audit", list_audit, name="list_audit", descr="List what was changed, and by whom", group="audit",
        query=(Param("door", doc="Equal.", enum=DOORS),
               Param("who", doc="Equal: an application, a user of the dashboard, or of the operating system (ctl)."),
               Param("peer", doc="Equal: an address."),
               Param("method", doc="Equal: HTTP's method, or ctl."),
               Param("result", doc="Equal: ok, failed, or the code of the refusal."),
               Param("_like_path", doc="A part of the path, or of the command."),
               Param("since", "integer", "Unix seconds."),
               Param("until", "integer", "Unix seconds, exclusive."), *PAGING),
        data=rows(DEED), paged=True, codes=(108,), ours=True, roles=()),
)  # fmt: skip
