"""The smaller parts of a plugin's context: metrics, alarms, bans, and tables of its own. `messaging` has the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from trioemqx.errors import crash_of
from trioemqx.services.plugins.handles import Handle, Host, Undo
from trioemqx.services.store.protocol import Row, Store, StoreError, all_items, key_for

if TYPE_CHECKING:
    from trioemqx.services.plugins.context import Context


class Counter:
    """A metric that only grows: `inc` adds to it."""

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self._metrics = host.broker.metrics

    def inc(self, by: int = 1) -> None:
        """Count."""
        self._metrics.inc(self.name, by)

    @property
    def value(self) -> int:
        """The count so far."""
        return self._metrics.values().get(self.name, 0)


class MetricsPart:
    """Counters and gauges, as `/api/v4` and Prometheus show them."""

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host

    def counter(self, name: str) -> Counter:
        """A counter by its full dotted name, from 0 (after a reload: from where it was)."""
        metrics = self._host.broker.metrics
        if name not in metrics.values():
            metrics.inc(name, 0)
        if name in metrics.extra:
            self._context.counters.add(name)
        return Counter(name, self._host)

    def gauge(self, name: str, read: Callable[[], int]) -> Handle:
        """A gauge in the stats, `<name>.count` and `<name>.max`; `read` gives its present value."""

        def shielded() -> int:
            try:
                return int(read())
            except BaseException as caught:
                error = crash_of(caught)
                self._context._crashed(error)
                return 0

        def acquire() -> Undo:
            self._host.gauges[name] = shielded
            return lambda: self._host.gauges.pop(name, None) and None

        return self._context.hold(acquire)

    def set(self, name: str, value: int) -> None:
        """Set one of EMQX's metrics that is a gauge: `messages.delayed`. AttributeError for another name."""
        attribute = name.replace(".", "_")
        getattr(self._host.broker.metrics, attribute)
        setattr(self._host.broker.metrics, attribute, value)

    def values(self) -> dict[str, int]:
        """Every counter of the broker by EMQX's name."""
        return self._host.broker.metrics.values()

    def stats(self) -> dict[str, int]:
        """Every gauge of the broker by EMQX's name, `.count` and `.max`."""
        return self._host.stats()


class AlarmsPart:
    """Alarms, which operators see until they are cleared."""

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host

    def raise_(self, name: str, details: Mapping[str, object] | None = None) -> bool:
        """Raise an alarm; False when it is active already."""
        self._context.alarm_names.add(name)
        return self._host.alarms.activate(name, details)

    def clear(self, name: str) -> bool:
        """Clear an alarm; False when it was not active."""
        self._context.alarm_names.discard(name)
        return self._host.alarms.deactivate(name)


class BansPart:
    """Who may not connect."""

    def __init__(self, host: Host, owner: str) -> None:
        self._host = host
        self._owner = owner

    def add(self, kind: str, who: str, seconds: int = 300, reason: str = "") -> None:
        """Ban a `clientid`, `username` or `peerhost`; a client id is disconnected at once. Raises BanRefused."""
        until = int(self._host.wall()) + seconds
        self._host.banned.create(kind, who, by=self._owner, reason=reason, until=until)

    def remove(self, kind: str, who: str) -> bool:
        """Lift a ban; False when there was none."""
        return self._host.banned.delete(kind, who)

    def check(self, clientid: str, username: str | None = None, peerhost: str = "") -> bool:
        """True while one of these is banned."""
        return self._host.banned.check(clientid, username, peerhost, self._host.wall()) is not None


class Table:
    """Rows of a plugin in the broker's store, under text keys. What was put is kept to the level of `store.sync`."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def put(self, key: str, row: Row) -> None:
        """Write a row (JSON: texts, numbers, true, false, None, lists and dicts), replacing what was there."""
        self._store.put(self._name, key_for(key), {"key": key, "row": dict(row)})

    def delete(self, key: str) -> None:
        """Remove a row; removing what is not there is no error."""
        self._store.delete(self._name, key_for(key))

    async def settled(self) -> bool:
        """Wait until what was put so far is as safe as the store makes things; False when it is not. For whoever puts
        many rows: only so many may wait for the disk, and further ones are not taken."""
        try:
            await self._store.apply(()).wait()
        except StoreError:
            return False
        return True

    async def rows(self) -> AsyncGenerator[tuple[str, Row], None]:
        """Every (key, row), in the order of keys. Who may leave before the end, also by an exception, uses
        `contextlib.aclosing`."""
        async with aclosing(all_items(self._store, self._name)) as items:
            async for _, stored in items:
                row = stored["row"]
                yield str(stored["key"]), row if isinstance(row, dict) else {}
