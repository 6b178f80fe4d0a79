"""From hooks to rules. A point is only listened to while some rule, or a setting, wants its events: an engine without
rules costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from trioemqx.config.rules import OFF
from trioemqx.errors import ProtocolError
from trioemqx.hookspecs import hookimpl
from trioemqx.rules import eventcolumns
from trioemqx.rules.eventcolumns import EventColumns
from trioemqx.rules.events import EVENTS, MESSAGE_PUBLISH, PREFIX
from trioemqx.rules.sql import EvalError
from trioemqx.rules.sql.jsontext import encode
from trioemqx.rules.sql.meter import meter
from trioemqx.types import ClientInfo, Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.rules.engine import RuleEngine
    from trioemqx.rules.entries import RuleEntry

log = logging.getLogger("trioemqx.rules")

APP: Final = "emqx_rule_engine"
PRIORITY: Final = -10
"""After plugins: rules see messages as these have changed them, and only those that they let pass."""
PUBLISHER: Final = "emqx_events"
EVENT: Final = "event"
"""The header of messages that tell of an event; no rule sees them."""


class RuleHooks:
    """The hooks, each of them there while it is needed."""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine
        self._host = engine.host
        self._lookup = engine.activation.lookup
        self._runner = engine.runner
        self._undo: dict[str, Callable[[], None]] = {}
        self._rules: dict[str, tuple[RuleEntry, ...]] = {}
        self._published: dict[str, int] = {}
        """The QoS of events that are published as messages."""
        self._ignore_sys = True

    def refresh(self) -> None:
        """Rules or settings have changed: listen to what they want, and to nothing else."""
        settings = self._engine.settings
        self._ignore_sys = settings.ignore_sys_message
        self._published = {
            event.name: qos for event in EVENTS if (qos := getattr(settings.events, event.name, OFF)) != OFF
        }
        self._rules = {event.name: self._lookup.event(event.topic) for event in EVENTS if not event.is_message}
        wanted = {name for name, rules in self._rules.items() if rules} | set(self._published)
        if self._lookup.wants_messages():
            wanted.add(MESSAGE_PUBLISH)
        if self._engine.activation.owning:
            wanted.add("client_disconnected")
        if not self._engine.on:
            wanted.clear()
        for name in set(self._undo) - wanted:
            self._undo.pop(name)()
        for name in sorted(wanted - set(self._undo)):
            listener = SimpleNamespace(**{name: getattr(self, name)})
            self._undo[name] = self._host.hooks.add(listener, APP, PRIORITY)

    # -- messages ----------------------------------------------------------------------------------------------------

    @hookimpl
    def message_publish(self, message: Message) -> None:
        """A message is published."""
        if (message.sys or message.headers) and self._unseen(message):
            return
        rules = self._lookup.messages(message.topic)
        if rules:
            now = int(self._host.wall() * 1000)
            self._runner.run(rules, eventcolumns.Published(self._host.broker.node, now, message))

    @hookimpl
    def message_delivered(self, client: ClientInfo, message: Message) -> None:
        """A message is about to be written to a client."""
        if not self._unseen(message):
            self._event("message_delivered", message=message, client=client)

    @hookimpl
    def message_acked(self, client: ClientInfo, message: Message) -> None:
        """A client has acknowledged a message."""
        if not self._unseen(message):
            self._event("message_acked", message=message, client=client)

    @hookimpl
    def message_dropped(self, message: Message, reason: str) -> None:
        """A message went to nobody."""
        if not self._unseen(message):
            self._event("message_dropped", message=message, reason=reason)

    @hookimpl
    def delivery_dropped(self, client: ClientInfo, message: Message, reason: str) -> None:
        """A client does not get a message."""
        if not self._unseen(message):
            self._event("delivery_dropped", message=message, client=client, reason=reason)

    def _unseen(self, message: Message) -> bool:
        """True for messages that rules do not see."""
        headers = message.headers
        if headers and EVENT in headers:
            return True
        return message.sys and self._ignore_sys

    # -- clients and sessions ----------------------------------------------------------------------------------------

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """A client was accepted."""
        self._event("client_connected", client=client)

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        """The connection of an accepted client has ended, and with it what functions keep for it."""
        self._event("client_disconnected", client=client, reason=reason)
        if self._engine.activation.owning:
            self._engine.environment.owned.drop(client.clientid)

    @hookimpl
    def client_connack(self, client: ClientInfo, reason: str) -> None:
        """A CONNACK is about to be written."""
        self._event("client_connack", client=client, reason=reason)

    @hookimpl
    def client_check_acl_complete(
        self, client: ClientInfo, action: str, topic: str, allowed: bool, from_cache: bool
    ) -> None:
        """An access decision was made."""
        self._event("client_check_acl_complete", client=client, what=(action, topic, allowed, from_cache))

    @hookimpl
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts) -> None:
        """A filter was subscribed."""
        self._event("session_subscribed", client=client, what=(filter, opts))

    @hookimpl
    def session_unsubscribed(self, client: ClientInfo, filter: str, opts: SubOpts) -> None:
        """A filter was unsubscribed."""
        self._event("session_unsubscribed", client=client, what=(filter, opts))

    # -- events ------------------------------------------------------------------------------------------------------

    def _event(self, name: str, **about: Any) -> None:
        """Offer an event to the rules that want it, and publish it where that is wanted."""
        broker = self._host.broker
        columns = eventcolumns.CLASSES[name](broker.node, int(self._host.wall() * 1000), **about)
        rules = self._rules[name]
        if rules:
            self._runner.run(rules, columns)
        qos = self._published.get(name)
        if qos is not None:
            self._publish(name, columns, qos)

    def _publish(self, name: str, columns: EventColumns, qos: int) -> None:
        meter.left = meter.work
        try:
            payload = encode(columns.everything()).encode()
            message = Message(PREFIX + name, payload, qos, publisher=PUBLISHER, sys=True)
            message.headers = {EVENT: True}
            self._host.broker.publish(message)
        except (EvalError, ProtocolError) as error:
            log.warning("the event %s is not published: %s", name, error)
