"""Catches messages as they are published, for the test of a rule: the columns that its SQL would see."""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from trioemqx.core.callback import Callback
from trioemqx.core.subscription import Subscription
from trioemqx.errors import ProtocolError
from trioemqx.rules.eventcolumns import Published
from trioemqx.rules.sql import EvalError
from trioemqx.rules.sql.jsontext import encode
from trioemqx.services.web import ApiError, Call, Param, post
from trioemqx.services.web.answers import BAD_TOPIC, bad_params
from trioemqx.services.web.schema import ANY, rows, table
from trioemqx.types import Message, SubOpts

MAX_SECONDS: Final = 29
"""A request has 30."""
MAX_MESSAGES: Final = 50
MAX_BYTES: Final = 1024**2
"""Of payloads, in one answer."""
MAX_AT_ONCE: Final = 8
NAME: Final = "rule_capture"


class Catch:
    """What was caught. Delivering to it must cost next to nothing: columns are made later."""

    def __init__(self, limit: int) -> None:
        self.messages: list[Message] = []
        self.full = trio.Event()
        self._limit = limit
        self._bytes = 0

    def take(self, message: Message, subscription: Subscription) -> None:
        """One delivery."""
        if self.full.is_set():
            return
        self._bytes += len(message.payload)
        if self._bytes > MAX_BYTES:
            self.full.set()
            return
        self.messages.append(message)
        if len(self.messages) >= self._limit:
            self.full.set()


_catching: set[Catch] = set()


async def capture(call: Call) -> object:
    """Wait for messages that match a filter, so many seconds or until there are so many; the columns of each."""
    filter, limit = call.text("topic"), call.integer("limit", 10, 1, MAX_MESSAGES)
    seconds = min(call.integer("seconds", 10, 1, 30), MAX_SECONDS)
    if filter.startswith(("$share/", "$queue/", "$exclusive/")):
        raise bad_params("bad topic: a plain filter is needed")
    if len(_catching) >= MAX_AT_ONCE:
        raise ApiError(102, "others are capturing; try again later", 503)
    broker, catch = call.host.broker, Catch(limit)
    try:
        subscription = broker.listen(Callback(NAME, catch.take), filter, SubOpts(2))
    except ProtocolError:
        raise ApiError(BAD_TOPIC, "bad_topic") from None
    _catching.add(catch)
    try:
        with trio.move_on_after(seconds):
            await catch.full.wait()
    finally:
        _catching.discard(catch)
        broker.unlisten(subscription)
    now = int(call.host.wall() * 1000)
    found = []
    for message in catch.messages:
        await trio.lowlevel.checkpoint()
        try:
            found.append(msgspec.json.decode(encode(Published(call.host.node, now, message).everything())))
        except EvalError:  # larger than a rule may handle
            continue
    return found


ENDPOINTS = (
    post("/rules/capture", capture, name="capture_messages", descr="Catch messages as a rule would see them",
         group="rule_engine", app="emqx_rule_engine", ours=True, volatile=True, codes=(102, 107, 108, 115),
         data=rows(table(ANY)),
         body=(Param("topic", doc="A topic filter.", required=True),
               Param("seconds", "integer", "How long, at most 30.", default=10),
               Param("limit", "integer", "How many, at most 50.", default=10))),
)  # fmt: skip
