"""Which clients take longest to get their messages."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from trioemqx.plugin import Call, ClientInfo, Duration, Message, Plugin, SettingError, delete, get, hookimpl, schema

API = ">=1,<2"
DESCRIPTION = "EMQX Slow Subscribers Statistics Module"

CHECK_SECONDS = 10
MOST = 1000
OF = {"app": "emqx_plugin_libs", "group": "slow_subscriptions"}
ROW = schema.record(
    {
        **schema.texts("clientid"),
        "node": schema.NODE,
        **schema.texts("topic"),
        **schema.wholes("timespan", "last_update_time"),
    }
)


@attrs.frozen
class Config:
    """`[module.slow_subs]`. What `stats_type` measures of a delivery: `whole` = from the publication to its end,
    `internal` = until it was first sent, `response` = from there to the acknowledgement.

    `notice_interval`, `notice_qos` and `notice_batch_size` are accepted, as by EMQX 4.4, and have no effect.
    """

    threshold: Duration = 0.5
    """Deliveries that take longer are slow."""
    expire_interval: Duration = 300.0
    """How long an entry stays."""
    top_k_num: int = 10
    """Entries that are kept, the slowest ones."""
    stats_type: Literal["whole", "internal", "response"] = "whole"
    """What is measured: whole: from the publication to the end of the delivery; internal: until it was first sent;
    response: from there to the acknowledgement."""
    notice_interval: Duration = 0.0
    """Accepted, without effect."""
    notice_qos: Literal[0, 1, 2] = 0
    """Accepted, without effect."""
    notice_batch_size: int = 500
    """Accepted, without effect."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.top_k_num <= MOST:
            raise SettingError(f"expected a number from 1 to {MOST}", "top_k_num")
        if self.expire_interval <= 0:
            raise SettingError("expected more than 0 seconds", "expire_interval")


@attrs.define
class Slow:
    """The latest slow delivery of a topic to a client: how long it took, and when it ended, in seconds of both
    clocks."""

    seconds: float
    wall: float
    at: float


class SlowSubs(Plugin[Config]):
    """Keeps the `top_k_num` slowest of (client, topic), each with its latest time above the threshold."""

    prefix = ("module.slow_subs",)

    async def start(self) -> None:
        """Begin with an empty table."""
        self._table: dict[tuple[str, str], Slow] = {}
        self._floor = 0.0
        """With a full table: what its fastest entry took, at most."""
        self.context.every(CHECK_SECONDS, self._expire)
        cleared, told = "Clear current data and re count slow topic", "Get slow topics statistics record data"
        self.context.http.serve(
            delete("/slow_subscriptions", self._clear, name="clear_history", descr=cleared, **OF),
            get("/slow_subscriptions", self._entries, name="get_history", descr=told, data=schema.rows(ROW), **OF),
        )

    def export_state(self) -> object:
        """The table, and what its times mean."""
        rows = [(*key, slow.seconds, slow.wall, slow.at) for key, slow in self._table.items()]
        return {"stats_type": self.config.stats_type, "rows": rows}

    def import_state(self, state: Any) -> None:
        """Go on with the table as far as it fits the settings; other times than ours cannot be compared."""
        if state["stats_type"] != self.config.stats_type:
            return
        rows = sorted(state["rows"], key=lambda row: -row[2])
        for clientid, topic, *times in rows[: self.config.top_k_num]:
            if times[0] > self.config.threshold:
                self._table[clientid, topic] = Slow(*times)

    @hookimpl
    def delivery_completed(
        self, client: ClientInfo, message: Message, session_birth_time: int, first_sent: float
    ) -> None:
        """A delivery has ended: note it when it was slow."""
        now = self.context.now()
        kind = self.config.stats_type
        if kind == "whole":
            seconds = now - message.received
        elif kind == "internal":
            seconds = first_sent - message.received
        else:
            seconds = now - first_sent
        if seconds <= self.config.threshold or message.timestamp < session_birth_time:
            return
        # A retained message may be old without anybody being slow; how fast a client took it still says something.
        if message.retained and kind != "response":
            return
        self._note((client.clientid, message.topic), Slow(seconds, self.context.wall(), now))

    def _note(self, key: tuple[str, str], slow: Slow) -> None:
        table = self._table
        if key not in table and len(table) >= self.config.top_k_num:
            if slow.seconds <= self._floor:
                return
            fastest = min(table, key=lambda known: table[known].seconds)
            self._floor = table[fastest].seconds
            if slow.seconds <= self._floor:
                return
            del table[fastest]
        table[key] = slow
        self._floor = min(self._floor, slow.seconds)

    def _expire(self) -> None:
        oldest = self.context.now() - self.config.expire_interval
        for key in [key for key, slow in self._table.items() if slow.at < oldest]:
            del self._table[key]

    # -- for the API -------------------------------------------------------------------------------------------------

    def entries(self) -> list[dict[str, object]]:
        """The rows of `/slow_subscriptions`, the slowest first: clientid, node, topic, timespan (ms), last_update_time
        (wall ms)."""
        node = self.context.broker.node
        return [
            {
                "clientid": clientid,
                "node": node,
                "topic": topic,
                "timespan": round(slow.seconds * 1000),
                "last_update_time": int(slow.wall * 1000),
            }
            for (clientid, topic), slow in sorted(self._table.items(), key=lambda row: -row[1].seconds)
        ]

    def clear(self) -> None:
        """Forget everything."""
        self._table.clear()
        self._floor = 0.0

    def _entries(self, call: Call) -> object:
        return self.entries()

    def _clear(self, call: Call) -> None:
        self.clear()


plugin = SlowSubs
