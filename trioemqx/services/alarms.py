"""What needs an operator's attention: active alarms, and the history of those that ended.

An alarm is active once per name. Raising and clearing it is logged, and published under `$SYS` as JSON. The store holds
both lists, so that what was wrong before a crash can still be read after it.
"""

from __future__ import annotations

import bisect
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs
import trio

from trioemqx.services.store.protocol import Delete, Op, Put, Row, Store, all_items, key_for
from trioemqx.types import Message, Properties

log = logging.getLogger("trioemqx.alarms")

LOG: Final = "log"
PUBLISH: Final = "publish"
ACTIVE_TABLE: Final = "alarms"
HISTORY_TABLE: Final = "alarms_history"
INFINITY: Final = "infinity"
_MICRO: Final = 1_000_000

HIGH_CPU_USAGE: Final = "high_cpu_usage"
HIGH_SYSTEM_MEMORY_USAGE: Final = "high_system_memory_usage"
HIGH_PROCESS_MEMORY_USAGE: Final = "high_process_memory_usage"
TOO_MANY_PROCESSES: Final = "too_many_processes"
TOO_MANY_CONNECTIONS: Final = "too_many_connections"
TOO_FEW_DESCRIPTORS: Final = "too_few_descriptors"
OVERLOAD_MEMORY: Final = "overload_memory"
OVERLOAD_LAG: Final = "overload_lag"
QUEUE_FULL: Final = "queue_full"
API_CRASHING: Final = "api_crashing"
STORE_FAILED: Final = "store_failed"
STORE_DAMAGED: Final = "store_damaged"
STORE_LOG_LARGE: Final = "store_log_large"

Details = Mapping[str, object]


@attrs.frozen
class Alarm:
    """One alarm. Times are microseconds of wall time; `deactivate_at` is None while it is active."""

    name: str
    message: str
    details: Details
    activate_at: int
    deactivate_at: int | None = None

    @property
    def activated(self) -> bool:
        """True while the alarm has not been cleared."""
        return self.deactivate_at is None

    def as_dict(self) -> dict[str, object]:
        """The JSON members of EMQX's `$SYS` messages."""
        return {
            "name": self.name,
            "details": dict(self.details),
            "message": self.message,
            "activate_at": self.activate_at,
            "deactivate_at": INFINITY if self.deactivate_at is None else self.deactivate_at,
            "activated": self.activated,
        }


@attrs.frozen
class AlarmSettings:
    """`alarm.*`: actions out of `log` and `publish`, and how much history is kept (entries, seconds)."""

    actions: frozenset[str] = frozenset({LOG, PUBLISH})
    size_limit: int = 1000
    validity_period: float = 86400.0


class Alarms:
    """The node's alarms. `publish` takes a Message, `wall` gives Unix seconds, `now` the broker's monotonic clock.

    At most `max_active` alarms are active at once, because clients can cause some; `refused` counts those beyond.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        publish: Callable[[Message], object],
        settings: AlarmSettings | None = None,
        *,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
        max_active: int = 10_000,
    ) -> None:
        self.settings = settings or AlarmSettings()
        self.refused = 0
        self._prefix = f"$SYS/brokers/{node}/alarms"
        self._store = store
        self._publish = publish
        self._wall = wall
        self._now = now
        self._max_active = max_active
        self._active: dict[str, Alarm] = {}
        self._history: list[Alarm] = []
        """By time of activation, oldest first."""

    async def load(self) -> None:
        """Read what an earlier run stored; what was active then becomes history."""
        async for _, row in all_items(self._store, HISTORY_TABLE):
            self._history.append(_from_row(row))
        self._history.sort(key=_activation)
        at = self._micros()
        left = [_from_row(row) async for _, row in all_items(self._store, ACTIVE_TABLE)]
        ops: list[Op] = [Delete(ACTIVE_TABLE, key_for(alarm.name)) for alarm in left]
        for alarm in left:
            ops += self._remember(attrs.evolve(alarm, deactivate_at=at))
        self._store.apply(ops)
        self.sweep()

    def activate(self, name: str, details: Details | None = None) -> bool:
        """Raise an alarm; False when it is active already (EMQX: already_existed) or too many are."""
        if name in self._active:
            return False
        if len(self._active) >= self._max_active:
            self.refused += 1
            return False
        alarm = Alarm(name, describe(name, details), dict(details or {}), self._micros())
        self._store.put(ACTIVE_TABLE, key_for(name), _to_row(alarm))
        self._active[name] = alarm
        self._announce("activate", alarm)
        return True

    def deactivate(self, name: str, details: Details | None = None) -> bool:
        """Clear an alarm; False when it is not active (EMQX: not_found). History keeps the details it was raised with;
        the event published carries `details` when they are given."""
        alarm = self._active.pop(name, None)
        if alarm is None:
            return False
        ended = attrs.evolve(alarm, deactivate_at=self._micros())
        self._store.apply([Delete(ACTIVE_TABLE, key_for(name)), *self._remember(ended)])
        if details is not None:
            ended = attrs.evolve(ended, details=dict(details), message=describe(name, details))
        self._announce("deactivate", ended)
        return True

    def is_active(self, name: str) -> bool:
        """True between activation and deactivation."""
        return name in self._active

    @property
    def count(self) -> int:
        """How many are active."""
        return len(self._active)

    def active(self) -> list[Alarm]:
        """Active alarms in the order they were raised."""
        return list(self._active.values())

    def history(self) -> list[Alarm]:
        """Alarms that ended, by time of activation, oldest first."""
        return list(self._history)

    def clear_history(self) -> None:
        """Forget all alarms that ended."""
        self._store.apply(self._forget(self._history))
        self._history = []

    def sweep(self) -> int:
        """Forget alarms activated longer than validity_period ago; returns how many."""
        oldest = self._micros() - int(self.settings.validity_period * _MICRO)
        count = bisect.bisect_left(self._history, oldest, key=_activation)
        if count:
            self._store.apply(self._forget(self._history[:count]))
            del self._history[:count]
        return count

    async def run(self) -> None:
        """Sweep the history every validity_period, for ever."""
        while True:
            await trio.sleep(max(1.0, self.settings.validity_period))
            self.sweep()

    def _remember(self, alarm: Alarm) -> list[Op]:
        """Enter an ended alarm into the history; returns what to write."""
        bisect.insort(self._history, alarm, key=_activation)
        surplus = len(self._history) - max(0, self.settings.size_limit)
        ops: list[Op] = [Put(HISTORY_TABLE, _history_key(alarm), _to_row(alarm))]
        if surplus > 0:
            ops += self._forget(self._history[:surplus])
            del self._history[:surplus]
        return ops

    def _forget(self, alarms: Iterable[Alarm]) -> list[Op]:
        return [Delete(HISTORY_TABLE, _history_key(alarm)) for alarm in alarms]

    def _announce(self, what: str, alarm: Alarm) -> None:
        if LOG in self.settings.actions:
            log.warning("alarm %sd: %s (%s)", what, alarm.name, alarm.message)
        if PUBLISH in self.settings.actions:
            self._publish(self._event(what, alarm))

    def _event(self, what: str, alarm: Alarm) -> Message:
        text = json.dumps(alarm.as_dict(), ensure_ascii=False, separators=(",", ":"))
        properties = Properties()
        properties.content_type = "application/json"
        topic = f"{self._prefix}/{what}"
        return Message(
            topic, text.encode(), 0, False, "sys", properties, self._now(), int(self._wall() * 1000), sys=True
        )

    def _micros(self) -> int:
        return int(self._wall() * _MICRO)


def describe(name: str, details: Details | None) -> str:
    """The message of an alarm, in EMQX's words. Without details it is the name."""
    if not details:
        return name
    kind, _, rest = name.partition("/")
    if kind == "conn_congestion":
        return f"connection congested: {rest}"
    if kind.endswith("_crashed") and "error" in details:
        return f"{rest or name.removesuffix('_crashed')} crashed: {details['error']}"
    words = _WORDS.get(kind)
    if words is None:
        return "Unknown alarm"
    try:
        return words.format_map(details)
    except KeyError:
        return "Unknown alarm"


_WORDS: Final = {
    HIGH_CPU_USAGE: "{usage}% cpu usage",
    HIGH_SYSTEM_MEMORY_USAGE: "System memory usage is higher than {high_watermark}%",
    HIGH_PROCESS_MEMORY_USAGE: "Process memory usage is higher than {high_watermark}%",
    TOO_MANY_PROCESSES: "{usage}% process usage",
    TOO_MANY_CONNECTIONS: "Clients are kept out: the limit of {limit} connections is reached",
    TOO_FEW_DESCRIPTORS: "Accepting pauses: fewer than {limit} file descriptors are free",
    OVERLOAD_MEMORY: "The broker sheds load: {usage}% of the memory it may have is in use",
    OVERLOAD_LAG: "New connections are refused: the event loop is {milliseconds} ms late",
    QUEUE_FULL: "The queue of {clientid} is full and loses messages",
    API_CRASHING: "Requests to the HTTP API fail: {error}",
    "plugin_slow": "{plugin}: {hook} held the event loop for {milliseconds} ms",
    "plugin_disabled": "{plugin} is switched off: {reason}",
    "plugin_not_loaded": "{plugin} was not loaded: {reason}",
    "rule_slow": "Rule {rule} held the event loop for {milliseconds} ms",
    "rule_disabled": "Rule {rule} is switched off: {reason}",
    STORE_FAILED: "The store cannot write: {error}",
    STORE_LOG_LARGE: "The store's write-ahead log has {size} bytes",
    STORE_DAMAGED: "The store was damaged and begins empty; what it held is in {moved_to}",
    "partition": "Partition occurs at node {occurred}",
    "resource": "Resource {type}({id}) is down",
}


def _activation(alarm: Alarm) -> int:
    return alarm.activate_at


def _history_key(alarm: Alarm) -> str:
    return f"{alarm.activate_at:020d}/{key_for(alarm.name)}"


def _to_row(alarm: Alarm) -> Row:
    return attrs.asdict(alarm, recurse=False)


def _from_row(row: Row) -> Alarm:
    details, at, ended = row["details"], row["activate_at"], row["deactivate_at"]
    return Alarm(
        str(row["name"]),
        str(row["message"]),
        details if isinstance(details, dict) else {},
        at if isinstance(at, int) else 0,
        ended if isinstance(ended, int) else None,
    )
