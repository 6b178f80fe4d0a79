"""`/delayed`: the messages that wait for their time. EMQX 4.4 has no such endpoints."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from trioemqx.plugin import PAGING, ApiError, Call, Endpoint, Page, delete, get, schema

if TYPE_CHECKING:
    from .emqx_mod_delayed import Delayed, Waiting

APP: Final = "emqx_mod_delayed"
UNKNOWN: Final = 102
LIMIT: Final = 100
MOST: Final = 1000
ROW: Final = {
    **schema.texts("id", "topic", "from_clientid"),
    "qos": schema.some(0, 1, 2),
    "retain": schema.FLAG,
    **schema.wholes("publish_at", "size"),
}
WHOLE: Final = {**ROW, "payload": schema.TEXT, "encoding": schema.some("base64")}


class Api:
    """Translates requests for the module."""

    def __init__(self, delayed: Delayed) -> None:
        self._delayed = delayed

    def endpoints(self) -> tuple[Endpoint, ...]:
        """List, show, delete."""
        ours: dict[str, Any] = {"group": "delayed", "app": APP, "ours": True}
        return (
            get("/delayed", self.all, name="list_delayed_messages", descr="Messages that wait for their time",
                query=PAGING, data=schema.rows(schema.record(ROW)), paged=True, codes=(108,), **ours),
            get("/delayed/{id}", self.one, name="lookup_delayed_message", descr="A waiting message with its payload",
                data=schema.record(WHOLE), codes=(UNKNOWN,), **ours),
            delete("/delayed/{id}", self.forget, name="delete_delayed_message",
                   descr="Delete a message before its time", codes=(UNKNOWN,), **ours),
        )  # fmt: skip

    async def all(self, call: Call) -> object:
        """A page, by the time at which they will be published."""
        number, limit = call.paging(LIMIT)
        number, limit = max(number, 1), min(limit, MOST)
        first = (number - 1) * limit
        found, count = await self._delayed.page(first, limit)
        return Page([row(entry) for entry in found], number, limit, count, first + len(found) < count)

    def one(self, call: Call) -> object:
        """One of them."""
        entry = self._delayed.find(call.args["id"])
        if entry is None:
            raise ApiError(UNKNOWN, "not_found")
        return {**row(entry), "payload": b64encode(entry[2].payload).decode(), "encoding": "base64"}

    def forget(self, call: Call) -> None:
        """Delete one; it is never published."""
        if not self._delayed.forget(call.args["id"]):
            raise ApiError(UNKNOWN, "not_found")


def row(entry: Waiting) -> dict[str, object]:
    """`publish_at` is in Unix milliseconds."""
    due, key, message, _size, _delay = entry
    return {
        "id": key,
        "topic": message.topic,
        "from_clientid": message.publisher,
        "qos": message.qos,
        "retain": message.retain,
        "publish_at": due,
        "size": len(message.payload),
    }
