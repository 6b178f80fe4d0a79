"""Bans: client ids, user names and addresses that may not connect."""

from __future__ import annotations

from typing import Final

from trioemqx.services.banned import KINDS, BanRefused, TableFull
from trioemqx.services.ctl.banned import ban_row
from trioemqx.services.paging import page as cut
from trioemqx.services.web import ApiError, Call, Page, Param, delete, get, post
from trioemqx.services.web.answers import UNKNOWN_ERROR, bad_params, missing
from trioemqx.services.web.call import whole
from trioemqx.services.web.schema import record, rows, some, texts, wholes

MISSING: Final = f"missing mandatory params: {['who', 'as']}"
KIND: Final = f"value of 'as' must be one of: {list(KINDS)}"
BAN: Final = record({"as": some(*KINDS), **texts("who", "reason", "by"), **wholes("at", "until")})
SENT: Final = record(BAN["properties"], optional=("by", "at", "until"))


async def list_bans(call: Call) -> Page:
    """A page of them."""
    page, limit = call.paging()
    found, count, more = await cut(call.host.banned.entries(), None, page, limit)
    return Page([ban_row(ban) for ban in found], page, limit, count, more)


def create(call: Call) -> object:
    """Ban somebody, from now on; whoever is connected is disconnected. The answer is what was sent."""
    if not call.has("who") or not call.has("as"):
        raise missing(MISSING)
    kind = checked_kind(call.get("as"))
    if not call.has("reason"):
        raise missing()
    who, reason, by = call.get("who"), call.get("reason"), call.get("by", "user")
    if not (isinstance(who, str) and isinstance(reason, str) and isinstance(by, str)):
        raise bad_params()
    try:
        call.host.banned.create(kind, who, by=by, reason=reason, at=seconds(call, "at"), until=seconds(call, "until"))
    except TableFull as error:
        raise ApiError(UNKNOWN_ERROR, str(error)) from error
    except BanRefused as error:
        raise bad_params() from error
    return call.flat()


def lift(call: Call) -> None:
    """Lift a ban; one that does not exist is no error."""
    kind = checked_kind(call.args["as"])
    try:
        call.host.banned.delete(kind, call.args["who"])
    except BanRefused as error:
        raise bad_params() from error


def checked_kind(kind: object) -> str:
    """One of KINDS. Raises ApiError 108."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise bad_params(KIND)
    return kind


def seconds(call: Call, name: str) -> int | None:
    """Unix seconds; None when they were not sent. Raises ApiError 108."""
    if not call.has(name):
        return None
    value = call.get(name)
    sent_in_query = any(key == name for key, _ in call.query)  # where there are only texts
    number = None if isinstance(value, str) and not sent_in_query else whole(value)
    if number is None or number < 0:
        raise bad_params()
    return number


ENDPOINTS = (
    get("/banned", list_bans, name="list_banned", descr="List banned", group="banned", listed="/banned/",
        query=(Param("_page", "integer", "The page, from 1.", default=1),
               Param("_limit", "integer", "Rows of a page; without it `management.max_row_limit`.")),
        data=rows(BAN), paged=True, codes=(108,)),
    post("/banned", create, name="create_banned", descr="Create banned", group="banned", listed="/banned/",
         body=(Param("who", doc="Client id, user name or address.", required=True),
               Param("as", doc="Which of them.", required=True, enum=KINDS),
               Param("reason", doc="Why.", required=True),
               Param("by", doc="Who says so.", default="user"),
               Param("at", "integer", "Since when, Unix seconds; without it now."),
               Param("until", "integer", "Until when, Unix seconds; without it five minutes from now.")),
         data=SENT, codes=(102, 107, 108)),
    delete("/banned/{as}/{who}", lift, name="delete_banned", descr="Delete banned", group="banned",
           listed="/banned/:who", codes=(108,)),
)  # fmt: skip
