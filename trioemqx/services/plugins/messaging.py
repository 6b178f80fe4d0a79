"""The parts of a plugin's context that are about messages: the broker with its clients, and what it retains."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.callback import Callback
from trioemqx.services.plugins.handles import Handle, Host, Undo
from trioemqx.types import ClientInfo, Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.services.plugins.context import Context

SLICE: Final = 100
"""Retained messages looked for between two turns of the other tasks."""


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
