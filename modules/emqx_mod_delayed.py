"""Messages for later: what is published to `$delayed/<N>/<topic>` is published to `<topic>` after N seconds."""

from __future__ import annotations

import heapq
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

import attrs
import trio

from trioemqx.plugin import ByteSize, Drop, Message, Plugin, Properties, ProtocolError, SettingError, hookimpl

from ._delayed_api import Api

API = ">=1,<2"
DESCRIPTION = "EMQX Delayed Publish Module"

PREFIX: Final = "$delayed/"
MAX_DELAY: Final = 4294967
"""Seconds. From this number on, N is a Unix time; and no message may wait longer."""
MAX_DIGITS: Final = 15
AHEAD: Final = 900
"""Priority: after topic rewrite (1000), before everything that should not see a message whose time has not come."""
BATCH: Final = 100
"""Messages published before others get a turn."""
SLICE: Final = 2000
"""Messages looked at for a page before others get a turn."""
LOOK: Final = 1.0
"""Seconds after which the wall clock is looked at again, since it may be set."""
NOTABLE: Final = 1000
"""Milliseconds; less may be a clock that is slowed down or sped up, as NTP does."""

OVERHEAD: Final = 1000
"""About the bytes that a message costs besides its own."""
FIELDS: Final = ("topic", "qos", "retain", "sys", "publisher", "username", "peerhost", "proto_ver")
"""What is stored of a message as it is."""

Waiting = tuple[int, str, Message, int, int]
"""(due in wall milliseconds, key, message, bytes, delay in milliseconds or 0 for a Unix time). Keys are unique, those
of one due time in the order of arrival."""


@attrs.frozen
class Config:
    """`[module.delayed]`: how much may wait. 0 = no limit, as EMQX has it."""

    max_delayed_messages: int = 100_000
    """Messages that may wait; 0 = unlimited."""
    max_delayed_bytes: ByteSize = 100 * 1024 * 1024
    """The same in bytes; 0 = unlimited."""

    def __attrs_post_init__(self) -> None:
        for name in ("max_delayed_messages", "max_delayed_bytes"):
            if getattr(self, name) < 0:
                raise SettingError("expected 0 (no limit) or more", name)


class Invalid(Exception):
    """The topic says no time at which something could be published somewhere."""


class Full(Exception):
    """A limit is reached."""


class Delayed(Plugin[Config]):
    """Keeps messages in the broker's store and, by due time, in memory.

    The publisher gets the acknowledgement of a message without subscribers (MQTT 5: 0x10), also for one that is
    refused. At its time a message takes the full publish path, as a new message with the publisher, QoS, flags and
    properties it had: a Message-Expiry-Interval counts from there. A delay is that long also when somebody sets the
    clock meanwhile; a Unix time goes by the clock. What is due while the broker is down is published at the next start.
    A mountpoint stands in front of `$delayed/`, so clients that have one cannot delay.
    """

    prefix = ("module.delayed",)

    async def start(self) -> None:
        """Read what an earlier run left."""
        context = self.context
        self._waiting: list[Waiting] = []
        self._bytes = 0
        self._serial = 0
        self._live = False
        self._offset = self._wall() - _steady()
        self._sooner = trio.Event()
        self._table = context.table("messages")
        self._invalid = context.metrics.counter(f"plugin.{context.name}.invalid")
        self._full = context.metrics.counter(f"plugin.{context.name}.full")
        self._banned = context.metrics.counter(f"plugin.{context.name}.banned")
        async for key, row in self._table.rows():
            try:
                due, message, delay = from_row(row)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.log.error("a stored message cannot be read and is left out: %s: %r", key, error)
            else:
                if delay:  # the clock may have been put back since
                    due = min(due, self._wall() + delay)
                self._add((due, key, message, size_of(message), delay))
        context.metrics.gauge("delayed", lambda: len(self._waiting))
        context.hold(self._go_live)
        context.http.serve(*Api(self).endpoints())

    def export_state(self) -> object:
        """All that waits, as it is: the store has it too, and reading it again could find what has just been sent."""
        return {"waiting": self._waiting, "bytes": self._bytes, "serial": self._serial, "offset": self._offset}

    def import_state(self, state: Any) -> None:
        """Instead of what `start` has read."""
        self._waiting, self._bytes, self._serial = state["waiting"], state["bytes"], state["serial"]
        self._offset = state["offset"]

    def config_changed(self, config: Config) -> bool:
        """The limits are those of the moment."""
        return True

    async def run(self) -> None:
        """Publish each message at its time."""
        while True:
            self._sooner = trio.Event()
            with trio.move_on_after(self._publish_due()):
                await self._sooner.wait()

    @hookimpl(priority=AHEAD)
    def message_publish(self, message: Message) -> None:
        """Stop what is to come later."""
        if message.topic.startswith(PREFIX):
            self._take(message)
            raise Drop

    # -- in ----------------------------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        """Keep a message, or say why not. Whatever goes wrong, it must not be published under its literal topic."""
        source, topic = message.publisher, message.topic
        try:
            self._keep(message)
        except Invalid as error:
            self._invalid.inc()
            self.log.warning("refused a message of %.200r to %.200r: %s", source, topic, error)
        except Full as error:
            self._full.inc()
            self.log.warning("refused a message of %.200r to %.200r: %s", source, topic, error)
        except Exception:
            self._full.inc()
            self.log.exception("could not keep a message of %.200r to %.200r", source, topic)

    def _keep(self, message: Message) -> None:
        now = self._now()
        due, topic, delay = parse(message.topic, now)
        later = message.copy()
        later.topic = topic
        later.received, later.timestamp = 0.0, 0  # those of the moment it is published at
        size = size_of(later)
        limits = self.config
        if 0 < limits.max_delayed_messages <= len(self._waiting):
            raise Full(f"{len(self._waiting)} messages wait, max_delayed_messages of [module.delayed] allows no more")
        if 0 < limits.max_delayed_bytes < self._bytes + size:
            raise Full(f"{self._bytes} bytes wait, max_delayed_bytes of [module.delayed] leaves no room for {size}")
        self._serial += 1
        key = f"{due:015}.{now:015}.{self._serial:015}"
        self._table.put(key, to_row(due, later, delay))
        self._add((due, key, later, size, delay))
        if self._waiting[0][1] == key:
            self._sooner.set()

    def _add(self, entry: Waiting) -> None:
        heapq.heappush(self._waiting, entry)
        self._bytes += entry[3]
        self._count()

    # -- out ---------------------------------------------------------------------------------------------------------

    def _publish_due(self) -> float:
        """Publish what is due, at most BATCH; returns the seconds until there may be more."""
        waiting = self._waiting
        for _ in range(BATCH):
            if not self._live or not waiting:  # not live: the next generation has taken over
                return LOOK
            now = self._now()  # first: it may move what waits
            if (left := waiting[0][0] - now) > 0:
                return min(left / 1000, LOOK)
            _, key, message, size, _ = heapq.heappop(waiting)
            self._bytes -= size
            self._count()
            self._table.delete(key)
            self._publish(message)
        return 0.0

    def _publish(self, message: Message) -> None:
        if self.context.bans.check(message.publisher):
            self._banned.inc()
            self.log.info("discarded a message of %r, who is banned, to %r", message.publisher, message.topic)
            return
        try:
            self.context.broker.publish(message)
        except ProtocolError as error:
            self.log.error("could not publish a message to %.200r: %s", message.topic, error)

    # -- for people --------------------------------------------------------------------------------------------------

    async def page(self, first: int, count: int) -> tuple[list[Waiting], int]:
        """(those from place `first` on by due time, at most `count`; how many there are). Looked for in slices."""
        everything = list(self._waiting)
        parts = []
        for start in range(0, len(everything), SLICE):
            parts.append(sorted(everything[start : start + SLICE], key=itemgetter(0, 1)))
            await trio.lowlevel.checkpoint()
        found = []
        for place, entry in enumerate(heapq.merge(*parts, key=itemgetter(0, 1))):
            if place >= first + count:
                break
            if place >= first:
                found.append(entry)
            if place % SLICE == 0:
                await trio.lowlevel.checkpoint()
        return found, len(everything)

    def find(self, key: str) -> Waiting | None:
        """One of them."""
        return next((entry for entry in self._waiting if entry[1] == key), None)

    def forget(self, key: str) -> bool:
        """Delete one; False when there is none, or its time has come."""
        waiting = self._waiting
        place = next((place for place, entry in enumerate(waiting) if entry[1] == key), None)
        if place is None:
            return False
        self._bytes -= waiting[place][3]
        waiting[place] = waiting[-1]
        waiting.pop()
        heapq.heapify(waiting)
        self._count()
        self._table.delete(key)
        return True

    # -- figures -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        """The wall clock. When somebody has set it since it was last looked at, delays are moved along."""
        wall = self._wall()
        offset = wall - _steady()
        if abs(by := offset - self._offset) >= NOTABLE:
            self._offset = offset
            self._waiting[:] = [(entry[0] + by if entry[4] else entry[0], *entry[1:]) for entry in self._waiting]
            heapq.heapify(self._waiting)
        return wall

    def _wall(self) -> int:
        return int(self.context.wall() * 1000)

    def _count(self) -> None:
        if self._live:
            self.context.metrics.set("messages.delayed", len(self._waiting))

    def _go_live(self) -> Callable[[], None]:
        self._live = True
        self._count()
        return self._go_dark

    def _go_dark(self) -> None:
        self._live = False
        self.context.metrics.set("messages.delayed", 0)


def _steady() -> int:
    """Milliseconds of a clock that nobody sets."""
    return int(trio.current_time() * 1000)


def parse(literal: str, now: int) -> tuple[int, str, int]:
    """(due in milliseconds, topic, delay in milliseconds or 0 for a Unix time) of `$delayed/<N>/<topic>` at `now`;
    `due` and `now` are wall time. Raises Invalid."""
    digits, slash, topic = literal.removeprefix(PREFIX).partition("/")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS):
        raise Invalid("the level after $delayed has to be a number of seconds or a Unix time")
    if not slash or not topic:
        raise Invalid("there is no topic after the delay")
    if topic.startswith("$SYS/"):  # a client may not publish there, and who may use $delayed was not asked about it
        raise Invalid("nothing can be published to $SYS/ later")
    seconds = int(digits)
    if seconds < MAX_DELAY:
        return now + seconds * 1000, topic, seconds * 1000
    due = max(seconds * 1000, now)
    if due - now > MAX_DELAY * 1000:
        raise Invalid(f"the time is more than {MAX_DELAY} s ahead")
    return due, topic, 0


def to_row(due: int, message: Message, delay: int) -> dict[str, object]:
    """A message, due at `due` (wall milliseconds) or after `delay`, for the store. `headers`, which hooks use
    among themselves, are not kept there."""
    row: dict[str, object] = {name: getattr(message, name) for name in FIELDS}
    row["due"], row["delay"] = due, delay
    row["payload"] = b64encode(message.payload).decode()
    if message.properties is not None:
        row["properties"] = {name: _plain(value) for name, value in message.properties.as_dict().items()}
    return row


def from_row(row: Mapping[str, Any]) -> tuple[int, Message, int]:
    """(due, message, delay). Raises KeyError, TypeError, ValueError or AttributeError for what is no such row."""
    message = Message(str(row["topic"]), b64decode(row["payload"], validate=True))
    for name in FIELDS:
        setattr(message, name, row[name])
    if "properties" in row:
        message.properties = Properties()
        for name, value in row["properties"].items():
            setattr(message.properties, name, _restored(name, value))
    return int(row["due"]), message, int(row.get("delay", 0))


def size_of(message: Message) -> int:
    """About the bytes that a message takes while it waits."""
    size = OVERHEAD + len(message.payload) + len(message.topic)
    properties = message.properties
    if properties is not None:
        size += len(properties.content_type or "") + len(properties.response_topic or "")
        size += len(properties.correlation_data or b"")
        size += sum(100 + len(name) + len(value) for name, value in properties.user_property or ())
    return size


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, list):
        return [list(member) if isinstance(member, tuple) else member for member in value]
    return value


def _restored(name: str, value: Any) -> object:
    if isinstance(value, dict):
        return b64decode(value["base64"], validate=True)
    return [tuple(member) for member in value] if name == "user_property" else value


plugin = Delayed
