"""Who is here: client identifiers, their sessions, and the channels that are open.

Opening a session is one synchronous step, so it needs no lock: between two awaits nobody else can bind the same client
identifier. The old connection only gets a DISCONNECT into its outbox; its task cleans up later and finds that the
session is no longer its own. Long, because open, take over, wait and end are steps between the same two tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trioemqx.core.deadlines import Deadlines
from trioemqx.core.delivery import SENT
from trioemqx.core.reasons import ADMINISTRATIVE_ACTION, KEEPALIVE_TIMEOUT, SESSION_TAKEN_OVER
from trioemqx.core.session import Session
from trioemqx.core.states import CONNECTED, NEW
from trioemqx.core.subscription import Subscription
from trioemqx.core.topics import ParsedFilter
from trioemqx.core.traffic import Traffic
from trioemqx.errors import reason_name
from trioemqx.types import ClientInfo, Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel

NEVER: Final = 0xFFFFFFFF


class Registry:
    """Sessions by client identifier, connected or waiting, and every open channel.

    `client_disconnect_discarded` and `client_disconnect_takeovered` are EMQX's `broker.*` settings: whether
    `client.disconnected` fires for those two reasons.
    """

    __slots__ = (
        "broker",
        "channels",
        "client_disconnect_discarded",
        "client_disconnect_takeovered",
        "connected",
        "defers",
        "on_session_end",
        "sessions",
        "timers",
    )

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.sessions: dict[str, Session] = {}
        self.channels: dict[Channel, None] = {}
        self.timers = Deadlines()
        """Session expiry and will delay, keyed by ("expire" | "will", clientid)."""
        self.connected = 0
        self.defers = False
        """The node stops: sessions that outlive it stay as they are, their wills with them, until it is back."""
        self.client_disconnect_discarded = False
        self.client_disconnect_takeovered = False
        self.on_session_end: Callable[[ClientInfo, str], None] | None = None
        """Told how a session ended that had outlived its connection; a listener itself sees a connection's end."""

    # -- opening -----------------------------------------------------------------------------------------------------

    def open(self, channel: Channel, info: ClientInfo) -> tuple[Session, bool]:
        """Give the channel its session; True when an existing one is resumed [MQTT-3.1.2-4..6]. The session may have
        `ended` already: a hook has kicked the client.

        A session belongs to one user: another user name with the same client identifier gets a new one, as with clean
        start, so that nobody reads what was queued for somebody else.
        """
        old = self.sessions.get(info.clientid)
        if old is not None and old.channel is not None and old.channel.closing:
            self.leave(old.channel, old.channel.closing)  # its end came in the same turn and has not been written yet
            old = self.sessions.get(info.clientid)
        if old is not None and not info.clean_start and old.info.username == info.username:
            self._take_over(old, channel, info)
            if not old.ended:
                self._record(old)
            return old, True
        if old is not None:
            self._discard(old)
        session = Session(self.broker, info, channel.zone)
        session.attach(channel, info)
        self.sessions[info.clientid] = session
        self._record(session)
        self.broker.metrics.session_created += 1
        hooks = self.broker.hooks
        if hooks.session_created:
            hooks.notify(hooks.session_created, "session_created", info, session)
        return session, False

    def _record(self, session: Session) -> None:
        """The session has a new connection: keep it, as it is now, if it is to outlive the process."""
        journal = self.broker.journal
        if journal is None:
            return
        lasts = session.expiry_interval > 0
        queue = session.mqueue
        if session.journal is not None and not lasts and not (queue is not None and queue.on_disk()):
            journal.end(session)
        elif session.journal is not None:
            journal.session(session)
        elif lasts:
            journal.begin(session)

    def _take_over(self, session: Session, channel: Channel, info: ClientInfo) -> None:
        """The session moves to a new connection; a running will delay is cancelled [MQTT-3.1.3-9]."""
        hooks = self.broker.hooks
        metrics = self.broker.metrics
        self._stop_timers(session)
        self._tell_end(session, "takeovered")
        session.will = None
        metrics.session_resumed += 1
        if hooks.session_resumed:
            hooks.notify(hooks.session_resumed, "session_resumed", info, session)
        old = session.channel
        if old is not None and not session.ended:
            metrics.session_takeovered += 1
            if hooks.session_takeovered:
                hooks.notify(hooks.session_takeovered, "session_takeovered", old.info, session)
            self._part(old, SESSION_TAKEN_OVER, "takeovered", self.client_disconnect_takeovered)
            self._will_of_old(old, session.expiry_interval == 0)
        if session.ended:  # a hook has kicked the client
            return
        self._remount(session, info)
        session.attach(channel, info)
        channel.walks = session.walks
        session.walks = None

    def _remount(self, session: Session, info: ClientInfo) -> None:
        """A session resumed under another mountpoint must not go on receiving from the old one."""
        if session.info.mountpoint != info.mountpoint:
            for subscription in list(session.subscriptions.values()):
                self._remove(session, subscription)

    def _discard(self, session: Session) -> None:
        """A clean start (or another user) throws the old session away."""
        session.ended = True
        hooks = self.broker.hooks
        old = session.channel
        self.broker.metrics.session_discarded += 1
        if hooks.session_discarded:
            hooks.notify(hooks.session_discarded, "session_discarded", session.info, session)
        if old is not None:
            self._part(old, SESSION_TAKEN_OVER, "discarded", self.client_disconnect_discarded)
            self._will_of_old(old, True)
        elif session.will is not None:  # the session ends before the delay has passed [MQTT-3.1.2-8]
            self.broker.fire_will(session.info, session.will)
        self._tell_end(session, "discarded")
        self._bury(session)

    def _will_of_old(self, old: Channel, ends: bool) -> None:
        """The connection that lost its session was closed by us, so its will is due, unless it has a delay. `ends`: the
        session is thrown away, or was to end with its connection, which is the end of the delay too [MQTT5 3.1.4]."""
        will = old.will
        old.will = None
        if will is None:
            return
        properties = will.properties
        delay = properties.will_delay_interval if properties is not None else None
        if not delay or ends:
            self.broker.fire_will(old.info, will)

    def _part(self, channel: Channel, code: int, reason: str, tell: bool) -> None:
        """Take the session away from a live connection and close it."""
        session = channel.session
        channel.session = None
        channel.walks = None
        if session is not None:
            session.detach()
        if tell:
            self._tell_disconnected(channel, reason)
        channel.close(code, reason)

    # -- closing -----------------------------------------------------------------------------------------------------

    def closed(self, channel: Channel, reason: str) -> str:
        """The socket is gone: end or keep the session, deal with the will. Returns the reason that counts.

        `reason` is what the transport saw; a reason the channel chose itself comes first.
        """
        self.channels.pop(channel, None)
        return self.leave(channel, channel.closing or reason)

    def leave(self, channel: Channel, name: str) -> str:
        """The connection is over for the protocol, though its socket may still wait for the peer: the will and the
        session's clocks do not wait with it. Doing it again changes nothing."""
        if channel.state == CONNECTED:
            self.connected -= 1
        channel.state = NEW
        session = channel.session
        if session is None:
            return name
        channel.session = None
        channel.walks = None
        session.detach()
        session.disconnected_at = self.broker.now_ms
        self._tell_disconnected(channel, name)
        will = channel.will
        channel.will = None
        if session.expiry_interval == 0 or session.ended:  # by a hook
            if will is not None:
                self.broker.fire_will(channel.info, will)
            self.terminate(session, name)
            return name
        if self.defers and session.journal is not None and name == "shutdown":
            session.will = will
            channel.kept = session.waiting = True
            return name
        channel.kept = session.waiting = True
        session.last_traffic = Traffic(channel)
        self._keep(session, will)
        if session.journal is not None:
            session.journal.session(session)
        return name

    def revoke(self, channel: Channel) -> None:
        """CONNECT is refused after all. A session that began with it ends with it, since a client that was never told
        of a session must not be told later that there is one [MQTT-3.2.2-4]; and its will is not published."""
        channel.will = None
        if channel.began and channel.session is not None:
            channel.session.expiry_interval = 0

    def _keep(self, session: Session, will: Message | None) -> None:
        """The session waits for its client: start the clocks of its expiry and of the will's delay."""
        now = self.broker.now
        if session.expiry_interval != NEVER:
            session.expires_at = now + session.expiry_interval
            self.timers.set(("expire", session.clientid), session.expires_at)
        if will is None:
            return
        delay = will.properties.will_delay_interval if will.properties is not None else None
        if not delay:
            self.broker.fire_will(session.info, will)
            return
        session.will = will
        session.will_at = now + min(delay, session.expiry_interval)
        self.timers.set(("will", session.clientid), session.will_at)

    def run_timers(self, now: float, limit: int = 1000) -> bool:
        """Expire sessions and publish delayed wills that are due, at most `limit`; True when there may be more."""
        due = self.timers.due(now, limit)
        for key in due:
            if not isinstance(key, tuple):
                continue
            kind, clientid = key
            session = self.sessions.get(clientid)
            if session is None or session.channel is not None:
                continue
            if session.will is not None and (kind == "will" or session.will_at <= now):
                will = session.will
                session.will = None
                self.broker.fire_will(session.info, will)
                if session.journal is not None:
                    session.journal.session(session)
            if kind == "expire":
                self.terminate(session, "expired")
        return len(due) >= limit

    def terminate(self, session: Session, reason: str) -> None:
        """The session ends for good: subscriptions, timers and its name go; shared messages go to other members. Doing
        it again changes nothing."""
        if session.ended:
            return
        session.ended = True
        self._tell_end(session, reason)
        metrics = self.broker.metrics
        metrics.session_terminated += 1
        hooks = self.broker.hooks
        if hooks.session_terminated:
            hooks.notify(hooks.session_terminated, "session_terminated", session.info, reason, session)
        will = session.will
        session.will = None
        if will is not None and reason not in ("kicked", "not_authorized"):
            self.broker.fire_will(session.info, will)
        if reason == "kicked":
            self._forget(session)
        else:
            self._bury(session)

    def _bury(self, session: Session) -> None:
        """Forget a session and give its unfinished shared messages to other members of their groups."""
        if session.journal is not None:
            session.journal.end(session, share=True)
        orphans = _shared_leftovers(session)
        self._forget(session)
        for message, group, filter in orphans:
            self.broker.redispatch(message, group, filter)

    def kick(self, clientid: str) -> bool:
        """End a client and its session at once (API, ban): DISCONNECT 0x98, the will is published without its delay."""
        session = self.sessions.get(clientid)
        if session is None or session.ended:
            return False
        channel = session.channel
        will = session.will if channel is None else channel.will
        session.will = None
        if channel is not None:
            channel.will = None
            self._part(channel, ADMINISTRATIVE_ACTION, "kicked", True)
        if will is not None:
            self.broker.fire_will(session.info, will)
        self.terminate(session, "kicked")
        return True

    def _forget(self, session: Session) -> None:
        if session.journal is not None:
            session.journal.end(session)
        self._stop_timers(session)
        for subscription in list(session.subscriptions.values()):
            self._remove(session, subscription)
        if self.sessions.get(session.clientid) is session:
            del self.sessions[session.clientid]
        session.inflight.clear()
        session.awaiting_rel.clear()
        session.mqueue = None
        session.walks = None

    def _stop_timers(self, session: Session) -> None:
        self.timers.cancel(("expire", session.clientid))
        self.timers.cancel(("will", session.clientid))

    def _tell_end(self, session: Session, reason: str) -> None:
        if session.waiting and self.on_session_end is not None:
            self.on_session_end(session.info, reason)

    def _tell_disconnected(self, channel: Channel, reason: str) -> None:
        self.broker.metrics.client_disconnected += 1
        hooks = self.broker.hooks
        if hooks.client_disconnected:
            hooks.notify(hooks.client_disconnected, "client_disconnected", channel.info, reason)

    # -- subscriptions -----------------------------------------------------------------------------------------------

    def key(self, parsed: ParsedFilter, mounted: str) -> str:
        """How a session files a subscription: `t` and `$share/g/t` are two."""
        return f"$share/{parsed.group}/{mounted}" if parsed.group else mounted

    def subscribe(self, session: Session, parsed: ParsedFilter, name: str, opts: SubOpts) -> tuple[Subscription, bool]:
        """Add a subscription or give an existing one new options; True when it is new."""
        mounted = session.info.mountpoint + parsed.filter
        key = self.key(parsed, mounted)
        known = session.subscriptions.get(key)
        if known is not None:
            known.set(opts)
            if session.journal is not None:
                session.journal.subscribed(session, known)
            return known, False
        subscription = Subscription(session, mounted, opts, parsed.group, name)
        session.subscriptions[key] = subscription
        if session.journal is not None:
            session.journal.subscribed(session, subscription)
        self.broker.router.subscribe(subscription)
        return subscription, True

    def unsubscribe(self, session: Session, parsed: ParsedFilter) -> Subscription | None:
        """Remove a subscription; None when there was none."""
        mounted = session.info.mountpoint + parsed.filter
        subscription = session.subscriptions.get(self.key(parsed, mounted))
        if subscription is not None:
            self._remove(session, subscription)
        return subscription

    def _remove(self, session: Session, subscription: Subscription) -> None:
        parsed = ParsedFilter(subscription.filter, subscription.group)
        session.subscriptions.pop(self.key(parsed, subscription.filter), None)
        if session.journal is not None:
            session.journal.unsubscribed(session, subscription)
        self.broker.router.unsubscribe(subscription)
        if not subscription.group:
            if session.walks:
                session.walks.pop(subscription.filter, None)
            self.broker.exclusive.release(subscription.filter, session.clientid)

    # -- sweep -------------------------------------------------------------------------------------------------------

    def check(self, channel: Channel, now: float) -> None:
        """Everything about one channel that depends on time alone; called about once a second for each."""
        if channel.closing:
            return
        if channel.state != CONNECTED:
            if now >= channel.connect_deadline and channel.question is None:  # a backend has its own time limit
                channel.close(0, "idle_timeout")
            return
        out = channel.out
        if channel.question is not None or channel.pause_until > now or (out.blocked and out.size > out.low):
            channel.last_packet = now  # we are not reading: that the client is silent means nothing
        elif channel.keepalive > 0.0 and now - channel.last_packet >= channel.keepalive:
            channel.close(KEEPALIVE_TIMEOUT, reason_name(KEEPALIVE_TIMEOUT))
            return
        session = channel.session
        if session is None:
            return
        zone = channel.zone
        if session.awaiting_rel and zone.await_rel_timeout > 0.0:
            late = session.forget_unreleased(now, zone.await_rel_timeout)
            channel.recv_dropped += late
            self.broker.metrics.messages_dropped += late
            self.broker.metrics.messages_dropped_await_pubrel_timeout += late
        if session.inflight and zone.retry_interval > 0.0 and not session.v5:
            session.retry(now, zone.retry_interval)


def _shared_leftovers(session: Session) -> list[tuple[Message, str, str]]:
    """Messages of share groups that this session has not acknowledged: QoS 1 in flight, QoS 1 and 2 in its queue."""
    found = [
        (delivery.message, delivery.group, delivery.filter)
        for delivery in session.inflight.values()
        if delivery.group and delivery.qos == 1 and delivery.state == SENT
    ]
    queue = session.mqueue
    while queue:
        waiting = queue.get(session.broker.now)
        session.drop_expired(queue)
        if waiting is None:
            break
        if waiting.group and waiting.qos > 0:
            found.append((waiting.message, waiting.group, waiting.filter))
    return found
