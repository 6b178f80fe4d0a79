"""Retained messages: stored and delivered while this is loaded. Their limits are `[retainer]` of etc/emqx.toml."""

from __future__ import annotations

from base64 import b64encode
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from trioemqx.plugin import (
    PAGING,
    ApiError,
    Call,
    CommandError,
    Endpoint,
    Message,
    NoConfig,
    Page,
    Param,
    Plugin,
    ProtocolError,
    delete,
    get,
    schema,
    validate_filter,
)

ROW: Final = {
    **schema.texts("topic"),
    "qos": schema.some(0, 1, 2),
    **schema.texts("from_clientid"),
    "publish_at": {"type": "string", "format": "date-time"},
    **schema.wholes("payload_size"),
}
WHOLE_MESSAGE: Final = {
    **ROW,
    "payload": {"type": "string", "contentEncoding": "base64"},
    "encoding": schema.some("base64"),
}
FILTER: Final = Param(
    "topic", doc="Topic filter. A wildcard at its beginning does not reach topics that begin with `$`."
)
FOREVER: Final = float("inf")
AGE: Final = Param("older_than", "integer", "Only messages that were published at least so many seconds ago.")
COUNT: Final = Param("count", "boolean", "Count all that match, also beyond the page.", default=False)


class Retainer(Plugin[NoConfig]):
    """Switches the broker's retained service on, and has EMQX's `retainer` commands."""

    async def start(self) -> None:
        """Ask for the service, and add the commands."""
        context = self.context
        context.retained.serve()
        context.command("retainer info", self._info, help="Show the count of retained messages", data=self._count)
        context.command("retainer topics", self._topics, help="Show all topics of retained messages")
        context.command(
            "retainer clean",
            self._clean,
            usage="retainer clean [<filter>]",
            help="Clean all retained messages, or those that match a filter",
        )
        context.http.serve(*self._endpoints())

    def _info(self) -> str:
        return f"retained/total: {self.context.retained.count()}"

    def _count(self) -> dict[str, int]:
        return {"total": self.context.retained.count()}

    def _topics(self) -> list[str]:
        return self.context.retained.topics()

    def _clean(self, filter: str | None = None) -> str:
        if filter is not None:
            try:
                validate_filter(filter)
            except ProtocolError as error:
                raise CommandError(f"Error: {error}") from error
        topics = self.context.retained.topics(filter)
        for topic in topics:
            self.context.retained.delete(topic)
        return f"Cleaned {len(topics)} retained messages"

    # -- HTTP --------------------------------------------------------------------------------------------------------

    def _endpoints(self) -> tuple[Endpoint, ...]:
        """EMQX 4 has none for retained messages."""
        ours: dict[str, Any] = {"group": "retained_messages", "ours": True}
        number = schema.record(schema.wholes("deleted"))
        needed = Param("topic", doc=FILTER.doc, required=True)
        return (
            get("/retained_messages", self._list, name="list_retained_messages", descr="A list of retained messages",
                query=(*PAGING, FILTER, AGE, COUNT), data=schema.rows(schema.record(ROW)), paged=True,
                codes=(108, 115), **ours),
            get("/retained_messages/{topic}", self._lookup, name="lookup_retained_message",
                descr="The retained message of a topic, with its payload", data=schema.record(WHOLE_MESSAGE),
                codes=(102,), **ours),
            delete("/retained_messages", self._delete_all, name="clean_retained_messages",
                   descr="Delete the retained messages that match a filter", query=(needed, AGE), data=number,
                   codes=(107, 108, 115), **ours),
            delete("/retained_messages/{topic}", self._delete, name="delete_retained_message",
                   descr="Delete the retained message of a topic", data=number, **ours),
        )  # fmt: skip

    async def _list(self, call: Call) -> Page:
        """One page. The search is walked through from its beginning, a slice at a time."""
        page, limit = call.paging()
        filter = _filter(call) if call.has("topic") else None
        newest, counted = self._newest(call), call.flag("count", False)
        first, seen = (max(page, 1) - 1) * limit, 0
        rows: list[dict[str, object]] = []
        async with aclosing(self.context.retained.messages(filter)) as messages:
            async for message in messages:
                if message.timestamp > newest:
                    continue
                seen += 1
                if first < seen <= first + limit:
                    rows.append(_row(message))
                elif seen > first + limit and not counted:
                    break
        everything = filter is None and newest == FOREVER
        count = seen if counted else self.context.retained.count() if everything else -1
        return Page(rows, page, limit, count, seen > first + limit)

    def _newest(self, call: Call) -> float:
        """When a message was published at the latest that `older_than` lets through, in milliseconds."""
        return (self.context.wall() - call.integer("older_than")) * 1000 if call.has("older_than") else FOREVER

    def _lookup(self, call: Call) -> object:
        message = self.context.retained.get(call.args["topic"])
        if message is None:
            raise ApiError(102, "not_found")
        return {**_row(message), "payload": b64encode(message.payload).decode(), "encoding": "base64"}

    def _delete(self, call: Call) -> object:
        return {"deleted": int(self.context.retained.delete(call.args["topic"]))}

    async def _delete_all(self, call: Call) -> object:
        count, newest = 0, self._newest(call)
        async with aclosing(self.context.retained.messages(_filter(call))) as messages:
            async for message in messages:
                if message.timestamp <= newest:
                    count += self.context.retained.delete(message.topic)
        return {"deleted": count}


def _filter(call: Call) -> str:
    """The parameter `topic`. Raises ApiError 107, 115."""
    filter = call.need("topic")
    try:
        validate_filter(filter if isinstance(filter, str) else "")
    except ProtocolError:
        raise ApiError(115, "bad_topic") from None
    return str(filter)


def _row(message: Message) -> dict[str, object]:
    return {
        "topic": message.topic,
        "qos": message.qos,
        "from_clientid": message.publisher,
        "publish_at": datetime.fromtimestamp(message.timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
        "payload_size": len(message.payload),
    }


plugin = Retainer
