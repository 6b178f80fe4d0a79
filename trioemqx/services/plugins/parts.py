"""The parts of a plugin's context: broker, metrics, alarms, bans, retained messages, and tables of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trioemqx.core.callback import Callback
from trioemqx.errors import crash_of
from trioemqx.services.commands import Commands
from trioemqx.services.rulekit import RuleHost
from trioemqx.services.store.protocol import Row, Store, StoreError, all_items, key_for
from trioemqx.services.web import Routes
from trioemqx.types import ClientInfo, Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.services.alarms import Alarms
    from trioemqx.services.banned import Banned
    from trioemqx.services.plugins.context import Context
    from trioemqx.services.plugins.manager import PluginManager
    from trioemqx.services.plugins.registry import HookRegistry

Undo = Callable[[], None]
SLICE: Final = 100
"""Retained messages looked for between two turns of the other tasks."""


_OURS: Final = f"{Path(__file__).resolve().parents[2]}{os.sep}"
"""The package's own code, with the rest of its path."""


class Host(Protocol):
    """What the broker around a plugin has to offer; the node is one."""

    broker: Broker
    alarms: Alarms
    banned: Banned
    store: Store
    commands: Commands
    hooks: HookRegistry
    gauges: dict[str, Callable[[], int]]
    data_dir: Path
    plugins: PluginManager
    web_routes: Routes

    @property
    def rules(self) -> RuleHost:
        """The rule engine."""

    def wall(self) -> float:
        """Unix seconds."""

    def uptime(self) -> float:
        """Seconds since the start."""

    def stats(self) -> dict[str, int]:
        """Every gauge by EMQX's name, `.count` and `.max`."""

    def members(self) -> AsyncGenerator[tuple[str, bool], None]:
        """(node, up) of the cluster's nodes, then of every change."""


def _is_ours(file: str) -> bool:
    """Whether a file is the broker's own; a wheel has the plugins that come with it inside the package."""
    return file.startswith(_OURS) and not file.removeprefix(_OURS).startswith(("plugins", "modules"))


def _caller() -> str:
    """File and line of the innermost frame that is not ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


class Handle:
    """Something a plugin holds: `close` gives it back before the plugin ends."""

    def __init__(self, context: Context, acquire: Callable[[], Undo], hooks: bool = False) -> None:
        self._hooks = hooks
        """Whether it is hooks that it holds."""
        self._context = context
        self._acquire = acquire
        self._undo: Undo | None = None
        self.place = _caller()
        """File and line of the plugin's code that asked for it."""

    def open(self) -> None:
        """Bring it into force; the context calls this."""
        if self._undo is None:
            self._undo = self._acquire()

    def close(self) -> None:
        """Give it back; a second call does nothing."""
        self._context.handles.pop(self, None)
        self._release()

    def _release(self) -> None:
        """Take it out of force; what goes wrong is the plugin's and is logged."""
        undo, self._undo = self._undo, None
        if undo is not None:
            try:
                undo()
            except BaseException as caught:
                error = crash_of(caught)
                self._context._crashed(error)


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


class BrokerPart:
    """Messages, subscriptions and clients."""

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host

    @property
    def node(self) -> str:
        """The node's name, `name@host`."""
        return self._host.broker.node

    @property
    def version(self) -> str:
        """The version of trioemqx."""
        return self._host.broker.version

    def uptime(self) -> float:
        """Seconds since the broker started."""
        return self._host.uptime()

    def loaded(self, kind: str) -> list[str]:
        """The names of the live plugins (`plugin`) or modules (`module`), sorted; with those parts of the broker that
        EMQX has as plugins."""
        plugins = self._host.plugins
        built_in = [part.name for part in plugins.built_in.values() if part.active] if kind == "plugin" else []
        return sorted([*built_in, *(name for name, live in plugins.live.items() if live.found.kind == kind)])

    def publish(self, message: Message) -> int:
        """Publish; returns the number of receivers. Hooks see the message, access rules do not apply. Raises
        ProtocolError for an invalid topic, TypeError for a payload that is not bytes."""
        payload: object = message.payload
        if not isinstance(payload, bytes):
            raise TypeError(f"a Message with payload {payload!r:.100}: expected bytes, got {type(payload).__name__}")
        return self._host.broker.publish(message)

    def subscribe(self, filter: str, call: Callable[[Message], object], qos: int = 2) -> Handle:
        """Call a function with every message that matches a filter (`$share/…` too). It must not wait. Raises
        ProtocolError for an invalid filter, at once when the plugin is live."""
        receiver = Callback(self._context.name, lambda message, subscription: self._context.shielded(call, message))

        def acquire() -> Undo:
            broker = self._host.broker
            return partial(broker.unlisten, broker.listen(receiver, filter, SubOpts(qos)))

        return self._context.hold(acquire)

    def clients(self) -> list[ClientInfo]:
        """The clients that are connected."""
        return [session.info for session in self._host.broker.clients() if session.connected()]

    def find(self, clientid: str) -> ClientInfo | None:
        """A connected client."""
        session = self._host.broker.find(clientid)
        return session.info if session is not None and session.connected() else None

    def kick(self, clientid: str) -> bool:
        """End a client and its session; False when there is none."""
        return self._host.broker.kick(clientid)

    def subscribe_client(self, clientid: str, filter: str, opts: SubOpts) -> int:
        """Subscribe a client on its behalf, also one whose session waits for it: no access rule, no `client.subscribe`
        hook, and of the zone's limits only `max_subscriptions`. Returns the reason code, 0x80 without a session."""
        return self._host.broker.subscribe(clientid, filter, opts)

    def unsubscribe_client(self, clientid: str, filter: str) -> int:
        """Remove a subscription of a client; returns the reason code, 0x80 without a session."""
        return self._host.broker.unsubscribe(clientid, filter)

    def has_subscribers(self, topic: str) -> bool:
        """True when somebody is subscribed to a topic."""
        return bool(self._host.broker.router.match(topic))

    def forget_acl(self) -> None:
        """Empty the ACL cache of every connection: the rules have changed."""
        self._host.broker.forget_grants()

    def queues(self) -> list[tuple[str, int, int]]:
        """(clientid, queued messages, messages in flight) of every session; for diagnostics."""
        return [
            (session.clientid, len(session.mqueue) if session.mqueue is not None else 0, len(session.inflight))
            for session in self._host.broker.clients()
        ]

    async def queued(self) -> int:
        """How many messages wait in the queues of all sessions. Counting lets others run, however many there are."""
        total = 0
        for number, session in enumerate(self._host.broker.clients(), 1):
            total += len(session.mqueue) if session.mqueue is not None else 0
            if number % 1000 == 0:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return total

    def members(self) -> AsyncGenerator[tuple[str, bool], None]:
        """Follow the cluster: (node, True) for each node that is here, this one too, then (node, up) for every change.
        It never ends: who stops reading before being cancelled has to close it (`contextlib.aclosing`)."""
        return self._host.members()


class RetainedPart:
    """The broker's retained messages."""

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host

    def serve(self) -> Handle:
        """Store and deliver retained messages for as long as the plugin is live; without it RETAIN has no effect."""

        def acquire() -> Undo:
            self._host.broker.retaining += 1
            return self._release

        return self._context.hold(acquire)

    def _release(self) -> None:
        self._host.broker.retaining -= 1

    def count(self) -> int:
        """How many there are."""
        return len(self._host.broker.retained)

    def topics(self, filter: str | None = None) -> list[str]:
        """Their topics, or those that match a filter (`$` topics only where it names them)."""
        broker = self._host.broker
        return [message.topic for message in broker.retained.page(filter, 0, len(broker.retained), broker.now)]

    def get(self, topic: str) -> Message | None:
        """The message of a topic. It is shared: look, do not change."""
        broker = self._host.broker
        broker.tell_time()
        return broker.retained.get(topic, broker.now)

    async def messages(self, filter: str | None = None) -> AsyncGenerator[Message, None]:
        """The messages whose topics match a valid filter (`$` topics only where it names them), or all of them, looked
        for in slices. They may be deleted on the way. Who may leave before the end uses `contextlib.aclosing`."""
        broker = self._host.broker
        broker.tell_time()
        search = broker.retained.search("#" if filter is None else filter, filter is None)
        while not search.done:
            for message in search.take(SLICE, broker.now):
                yield message
            await trio.lowlevel.checkpoint()

    def delete(self, topic: str) -> bool:
        """Delete one; False when there was none."""
        broker = self._host.broker
        found = broker.retained.delete(topic)
        broker.metrics.messages_retained = len(broker.retained)
        return found


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
