"""The broker: what everybody else talks to. Publish, subscribe, kick, look, count.

The REST API, the command line, plugins, rules and the cluster link are clients of this class and see no internals. All
methods are synchronous and complete when they return; what they put into outboxes is written when the pump runs next,
which `wake` asks for. Long, because it is the one list of all that there is to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from trioemqx.core import tuning
from trioemqx.core.access import Access
from trioemqx.core.handlers import subscribe as subscribing
from trioemqx.core.journal import Journal
from trioemqx.core.limiter import TokenBucket
from trioemqx.core.pressure import Pressure
from trioemqx.core.reasons import UNSPECIFIED_ERROR
from trioemqx.core.registry import Registry
from trioemqx.core.retained import Retained
from trioemqx.core.router import FilterEntry, Route, Router
from trioemqx.core.session import Session
from trioemqx.core.shared import Exclusive, Group
from trioemqx.core.subscription import Receiver, Subscription
from trioemqx.core.topics import parse_filter, validate_filter, validate_topic
from trioemqx.core.zone import Zone
from trioemqx.errors import PacketError
from trioemqx.hooks import Drop, Hooks
from trioemqx.metrics import Metrics
from trioemqx.types import ClientInfo, Message, SubOpts

WORK_LIMIT: Final = 3000
"""Packets plus deliveries of one turn of the pump; more wait for the next turn, so that nobody else starves."""
MAX_PENDING_WILLS: Final = 10000
MAX_OVERFLOWED: Final = 10000
"""Sessions whose queues overflowed between two looks of the service that reports them."""


def _nothing() -> None:
    """Default for `wake`: no pump is running (tests of the core)."""


def _no_cluster(node: str, message: Message) -> None:
    """Default for `forward`: a single node has no remote routes, so nobody gets here."""


class Broker:
    """One node's facade.

    `now` is monotonic seconds and `now_ms` wall time in milliseconds, set by the pump at the start of each turn. The
    methods may be called from any task of the broker's Trio run, never from a thread.
    """

    def __init__(
        self,
        access: Access,
        node: str = "trioemqx@127.0.0.1",
        version: str = "",
        strategy: str = "random",
        strategies: dict[str, str] | None = None,
        dispatch_ack: bool = False,
        retained: Retained | None = None,
        random: Random | None = None,
    ) -> None:
        self.access = access
        self.node = node
        self.version = version
        self.dispatch_ack = dispatch_ack
        self.metrics = Metrics()
        self.hooks = Hooks()
        self.router = Router(strategy=strategy, strategies=strategies, random=random)
        self.exclusive = Exclusive()
        self.retained = retained if retained is not None else Retained()
        self.registry = Registry(self)
        self.journal: Journal | None = None
        """Where sessions that outlive the process are written down; None when none does."""
        self.now = 0.0
        self.now_ms = 0
        self.work = 0
        self.work_limit = WORK_LIMIT
        self.wake: Callable[[], None] = _nothing
        """Asks the pump to write what outboxes have got."""
        self.tell_time: Callable[[], None] = _nothing
        """Calls `at` with the present time; the facade's methods do it first, since they are called from anywhere."""
        self.forward: Callable[[str, Message], None] = _no_cluster
        """Sends a message to another node; routes to other nodes exist only when there is a cluster."""
        self.on_receiver_crash: Callable[[Receiver, Exception], None] | None = None
        self.on_refused: Callable[[ClientInfo, PacketError], None] | None = None
        """Told what a client did wrong before its connection is closed, for logs."""
        self.pending_wills: list[tuple[ClientInfo, Message]] = []
        """Wills whose access rule has to be asked of a backend; a service answers and publishes them."""
        self.pressure = Pressure()
        self.overflowed: list[Session] = []
        """Clients whose queue has lost messages, with how many since the session began, until a service takes them."""
        self.zones: dict[str, Zone] = {}
        self.picks: dict[object, object] = {}
        """Share-group positions for messages that no connection published."""
        self.buckets: dict[str, TokenBucket] = {}
        self.retaining = 1
        """How many want retained messages served (the retainer plugin does); 0: RETAIN has no effect."""
        self.stop_publish_clear_msg = False
        """Whether the empty message that clears a retained topic is kept from subscribers."""

    def at(self, now: float, now_ms: int) -> None:
        """Tell the time: monotonic seconds and wall milliseconds."""
        self.now = now
        self.now_ms = now_ms

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(self, message: Message) -> int:
        """Publish a message of the broker, the API, a plugin or a rule; returns the number of receivers.

        Raises ProtocolError (0x90) for an invalid topic. No ACL, quota or mountpoint applies.
        """
        validate_topic(message.topic)
        if message.topic.startswith("$SYS/"):
            message.sys = True
        self.tell_time()
        if message.received == 0.0:
            message.received = self.now
        if message.timestamp == 0:
            message.timestamp = self.now_ms
        receivers = self.publish_on(message, self.router.route(message.topic), self.picks)
        self.wake()
        return receivers

    def publish_on(self, message: Message, route: Route, picks: dict[object, object]) -> int:
        """The publish path: hooks, retained store, subscribers. `picks` is the publisher's memory of share groups."""
        if not message.sys:
            self.metrics.messages_publish += 1
        if self.hooks.message_publish:
            try:
                changed = self.hooks.run_message_publish(message, validate_topic)
            except Drop:
                return 0
            if changed is not message:
                message = changed
                route = self.router.route(message.topic)
        if message.retain and self.retaining:
            self._retain(message)
            if self.stop_publish_clear_msg and not message.payload:
                return 0
        receivers = self.dispatch(message, route, picks)
        if receivers == 0 and not message.sys:
            self._nobody(message)
        return receivers

    def dispatch(self, message: Message, route: Route, picks: dict[object, object]) -> int:
        """Hand a message to every subscription of a route: one delivery per matching filter, one per share group."""
        receivers = 0
        router = self.router
        router.walking += 1
        for entry in route.entries:
            members = entry.members
            for subscription in members:
                try:
                    subscription.receiver.deliver(message, subscription)
                except Exception as error:
                    self._receiver_crashed(subscription.receiver, error)
            receivers += len(members)
            if entry.groups is not None:
                receivers += self._dispatch_groups(message, entry, picks)
            if entry.remote is not None:
                receivers += self._forward(message, entry.remote)
        router.walking -= 1
        self.work += receivers
        return receivers

    def dispatch_run(self, run: bytes, count: int, v5: bool, split: Callable[[], list[Message]], route: Route) -> None:
        """`dispatch` for a run of like QoS 0 frames (`handlers.runs`) along a route without groups and remote nodes.
        `split` makes messages of them for receivers that need them one by one."""
        router = self.router
        router.walking += 1
        messages: list[Message] | None = None
        for entry in route.entries:
            members = entry.members
            for subscription in members:
                receiver = subscription.receiver
                try:
                    if receiver.deliver_run(run, count, v5, subscription):
                        continue
                    if messages is None:
                        messages = split()
                    for message in messages:
                        receiver.deliver(message, subscription)
                except Exception as error:
                    self._receiver_crashed(receiver, error)
            self.work += len(members) * count
        router.walking -= 1

    def _forward(self, message: Message, nodes: list[str]) -> int:
        """Hand a message to the cluster for every other node that wants it."""
        self.metrics.messages_forward += len(nodes)
        for node in nodes:
            self.forward(node, message)
        return len(nodes)

    def _dispatch_groups(self, message: Message, entry: FilterEntry, picks: dict[object, object]) -> int:
        receivers = 0
        for group in entry.groups or ():
            if self._dispatch_one(message, group, picks):
                receivers += 1
        return receivers

    def _dispatch_one(self, message: Message, group: Group, picks: dict[object, object]) -> bool:
        """Deliver to one member. With `shared_dispatch_ack_enabled` a member whose window is full, or who is away, may
        refuse a QoS 1 or 2 message; when all refuse, one is picked that cannot."""
        chosen: Subscription | None = None
        if self.dispatch_ack and message.qos > 0:
            refused: list[Subscription] = []
            while True:
                chosen = group.pick(picks, message.publisher, message.topic, refused)
                if chosen is None or chosen.receiver.accepts():
                    break
                refused.append(chosen)
        if chosen is None:
            chosen = group.pick(picks, message.publisher, message.topic, None)
        if chosen is None:
            return False
        try:
            chosen.receiver.deliver(message, chosen)
        except Exception as error:
            self._receiver_crashed(chosen.receiver, error)
        return True

    def redispatch(self, message: Message, group: str, filter: str) -> None:
        """Give a shared message of a session that has ended to another member of its group."""
        entry = self.router.entry(filter)
        if entry is None:
            return
        for candidate in entry.groups or ():
            if candidate.name == group:
                self._dispatch_one(message, candidate, self.picks)
                return

    def _retain(self, message: Message) -> None:
        """Store, replace or (empty payload) delete the retained message of the topic [MQTT-3.3.1-5..7]."""
        if self.pressure.refuse_retained and message.payload and self.retained.get(message.topic, self.now) is None:
            self.retained.refused += 1
            self.metrics.overload["overload.retained.refused"] += 1
            return
        self.retained.store(message, self.now)
        self.metrics.messages_retained = len(self.retained)

    def note_overflow(self, session: Session) -> None:
        """A session's queue was full and has lost a message."""
        if not session.overflowed and len(self.overflowed) < MAX_OVERFLOWED:
            session.overflowed = True
            self.overflowed.append(session)

    def _nobody(self, message: Message) -> None:
        metrics = self.metrics
        metrics.messages_dropped += 1
        metrics.messages_dropped_no_subscribers += 1
        if self.hooks.message_dropped:
            self.hooks.notify(self.hooks.message_dropped, "message_dropped", message, self.node, "no_subscribers")

    def _receiver_crashed(self, receiver: Receiver, error: Exception) -> None:
        """A bug in one receiver must cost neither the publisher nor the other receivers anything."""
        self.metrics.connection_crashed += 1
        if self.on_receiver_crash is not None:
            self.on_receiver_crash(receiver, error)

    # -- wills -------------------------------------------------------------------------------------------------------

    def fire_will(self, client: ClientInfo, will: Message) -> None:
        """Publish a will if the client may publish to its topic; the topic is mounted like any of the client's."""
        zone = self.zones.get(client.zone)
        if zone is None or not zone.enable_acl:
            self.publish_will(client, will)
            return
        allowed = self.access.check_acl_now(client, zone, "publish", will.topic)
        if allowed is None:
            if len(self.pending_wills) < MAX_PENDING_WILLS:
                self.pending_wills.append((client, will))
            else:
                self.metrics.messages_dropped += 1
        elif allowed:
            self.publish_will(client, will)

    def publish_will(self, client: ClientInfo, will: Message) -> None:
        """The ACL has allowed the will."""
        message = will.copy()
        message.topic = client.mountpoint + will.topic
        message.received = self.now
        message.timestamp = self.now_ms
        if message.properties is not None:
            message.properties = message.properties.copy()
            message.properties.will_delay_interval = None
        self.publish(message)

    # -- clients and subscriptions -----------------------------------------------------------------------------------

    def find(self, clientid: str) -> Session | None:
        """The session of a client identifier, connected or not."""
        return self.registry.sessions.get(clientid)

    def clients(self) -> list[Session]:
        """All sessions, connected or not, in the order in which they began."""
        return list(self.registry.sessions.values())

    def kick(self, clientid: str) -> bool:
        """Disconnect a client (MQTT 5: 0x98) and end its session; False when there is none."""
        self.tell_time()
        found = self.registry.kick(clientid)
        self.wake()
        return found

    def subscribe(self, clientid: str, name: str, opts: SubOpts) -> int:
        """Subscribe a client to a filter on its behalf, also one whose session waits for it; retained messages go to it
        or into its queue. Returns the reason code: the QoS, 0x8F for an invalid filter, 0x97 at `max_subscriptions`,
        0x80 when there is no session."""
        session = self.registry.sessions.get(clientid)
        if session is None:
            return UNSPECIFIED_ERROR
        self.tell_time()
        code = subscribing.subscribe_for(session, name, opts)
        self.wake()
        return code

    def unsubscribe(self, clientid: str, name: str) -> int:
        """Remove a filter of a client, present or not; 0x00, 0x11 when it had none, 0x80 when there is no session."""
        session = self.registry.sessions.get(clientid)
        if session is None:
            return UNSPECIFIED_ERROR
        return subscribing.unsubscribe_one(session, name)

    def set_keepalive(self, clientid: str, seconds: int) -> bool:
        """Let a client be silent for so long (0..65535, else ValueError; 0 = for ever), from now on and until it
        connects again; False when there is no session."""
        return tuning.set_keepalive(self, clientid, seconds)

    def set_rate(
        self, clientid: str, bytes_in: tuple[float, float] | None, messages_in: tuple[float, float] | None
    ) -> bool:
        """Replace both inbound limits of a client's connection by (count, seconds) or None = no limit; nothing happens
        when the client is away. False when there is no session. ValueError unless counts and seconds are above 0."""
        return tuning.set_rate(self, clientid, bytes_in, messages_in)

    def clear_rate(self, clientid: str) -> bool:
        """Take both inbound limits from a client's connection; False when there is no session."""
        return tuning.set_rate(self, clientid, None, None)

    def set_quota(self, clientid: str, messages_routing: tuple[float, float]) -> bool:
        """Replace the quota of a client's connection, (messages, seconds), as `set_rate` does with rates. What its zone
        allows all its clients together still applies."""
        return tuning.set_quota(self, clientid, messages_routing)

    def clear_quota(self, clientid: str) -> bool:
        """Take the quota from a client's connection; False when there is no session."""
        return tuning.set_quota(self, clientid, None)

    def acl_cache(self, clientid: str) -> list[tuple[str, str, bool, int]] | None:
        """(`publish` or `subscribe`, topic, allowed, Unix milliseconds) of the access decisions that a client's
        connection remembers, oldest first; None when there is no session."""
        return tuning.acl_cache(self, clientid)

    def clean_acl_cache(self, clientid: str) -> bool:
        """Have a client's connection forget its access decisions; False when there is no session."""
        return tuning.clean_acl_cache(self, clientid)

    def listen(self, receiver: Receiver, name: str, opts: SubOpts) -> Subscription:
        """Subscribe something that is not a client (a plugin's callback, a rule, a bridge). Raises ProtocolError."""
        parsed = parse_filter(name)
        validate_filter(parsed.filter)
        subscription = Subscription(receiver, parsed.filter, opts, parsed.group, name)
        self.router.subscribe(subscription)
        return subscription

    def unlisten(self, subscription: Subscription) -> None:
        """End a subscription made by `listen`."""
        self.router.unsubscribe(subscription)

    def forget_grants(self) -> None:
        """Empty the ACL cache of every connection (ACL reload, plugin load and unload)."""
        self.hooks.rules_epoch += 1
        for channel in list(self.registry.channels):
            channel.forget_grants()

    def most_pending(self) -> int:
        """How many messages of one client may wait for the disk."""
        return 0 if self.journal is None else self.journal.most_pending

    # -- looking -----------------------------------------------------------------------------------------------------

    def zone_bucket(self, zone: Zone) -> TokenBucket | None:
        """The zone's `quota.overall_messages_routing`, shared by its connections; None without one."""
        quota = zone.quota_overall_messages_routing
        if quota is None:
            return None
        bucket = self.buckets.get(zone.name)
        if bucket is None:
            bucket = self.buckets[zone.name] = TokenBucket(quota[0], quota[1])
        return bucket

    def gauges(self) -> dict[str, int]:
        """Present values of EMQX's stats, without `.count`/`.max`; `services.stats` keeps the maxima."""
        router = self.router
        sessions = len(self.registry.sessions)
        return {
            "connections": self.registry.connected,
            "live_connections": self.registry.connected,
            "channels": sessions,
            "sessions": sessions,
            "topics": router.rows,
            "routes": router.rows,
            "subscribers": router.subscriptions - router.shared,
            "subscriptions": router.subscriptions,
            "suboptions": router.subscriptions,
            "subscriptions.shared": router.shared,
            "retained": len(self.retained),
        }
