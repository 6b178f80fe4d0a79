"""What changes in sessions that are to outlive the process, collected until the store takes it; and who waits for that.

The core writes down what it does while it does it: between two batches nothing awaits, so a batch never holds half of a
step. `Broker.journal` is None when nothing is to be kept, `Session.journal` for a session without expiry; so the
ordinary path pays for one comparison.

A message is written once; each session that is to get it has a row of its own in `queue`, which says where the message
is and how far its delivery has come. The store removes a message with the last row that names it. What must not be said
before the disk holds it is put into the outbox behind a `gate`.

Tables: `sessions` (session), `subscriptions` (session:number), `messages` (number), `queue` (session:lane:number),
`awaiting` (session:packet identifier). Numbers are hexadecimal with fixed width, so that keys sort by age.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trioemqx.core.delivery import RELEASED, Delivery
from trioemqx.core.queue import lane_of
from trioemqx.core.stored import Stored
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel
    from trioemqx.core.session import Session
    from trioemqx.core.subscription import Subscription

SESSIONS: Final = "sessions"
SUBSCRIPTIONS: Final = "subscriptions"
MESSAGES: Final = "messages"
QUEUE: Final = "queue"
AWAITING: Final = "awaiting"
TABLES: Final = (SESSIONS, SUBSCRIPTIONS, MESSAGES, QUEUE, AWAITING)
WINDOW: Final = 32
PENDING: Final = 100


def _nothing() -> None:
    """Default for `bell`: nobody reads queues from the disk."""


class Journal:
    """One node's. `rows` maps (table, key) to what is to be written: None removes the row; a `Session`, `Subscription`,
    `Stored` or `Delivery` is encoded when the batch is handed over, as it is then; anything else is a small dict.

    `ticket` is the batch that is being collected, `gated` who waits for it. `count` grows with every change. `failing`:
    the last batch could not be written, so nothing is accepted that would have to be. `crowded`: the store is far
    behind, publishers are to be read more slowly.

    `most_pending` is how many messages of one client may wait for the disk; no more are read from it
    then. `window` is how many messages of an absent client's queue stay in memory. `wanted` are sessions that need more
    of what is on disk, or have something to drop there; `orphans` are sessions that ended with something on disk, and
    whether others of their share groups are to have it. `bell` tells who looks after both.
    """

    __slots__ = (
        "bell",
        "count",
        "crowded",
        "ending",
        "failing",
        "gated",
        "most_pending",
        "number",
        "orphans",
        "retained",
        "rows",
        "ticket",
        "wanted",
        "window",
    )

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], object] = {}
        self.gated: list[Channel] = []
        self.ticket = 1
        self.count = 0
        self.number = 0
        """The last one given to a session, subscription, message or release."""
        self.failing = False
        self.crowded = False
        self.retained = False
        """Somebody waits for a retained message to be written."""
        self.window = WINDOW
        self.most_pending = PENDING
        self.wanted: list[Session] = []
        self.orphans: list[tuple[str, bool]] = []
        self.ending: dict[str, int] = {}
        """By clientid: the batch with the end of a session that is still on disk. A crash would bring it back."""
        self.bell: Callable[[], None] = _nothing

    def next_key(self) -> str:
        """A number that was never used before, as text."""
        self.number += 1
        return f"{self.number:016x}"

    def gate(self, channel: Channel) -> None:
        """What is put into the channel's outbox from here on leaves when everything up to now has been written."""
        if channel.out.gate(self.ticket):
            self.gated.append(channel)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """Keep a session from now on, with all it has."""
        session.journal = self
        session.sid = self.next_key()
        self.session(session)
        for subscription in session.subscriptions.values():
            self.subscribed(session, subscription)
        for delivery in session.inflight.values():
            if delivery.qos:
                self.queued(session, delivery)
        queue = session.mqueue
        if queue is not None:
            queue.window = self.window
            for delivery in queue.items():
                if delivery.qos:
                    self.queued(session, delivery)
        for packet_id in session.awaiting_rel:
            self.awaits(session, packet_id)

    def end(self, session: Session, share: bool = False) -> None:
        """Keep a session no longer: nothing of it stays. What is on disk only goes bit by bit; with `share` other
        members get what is left of share groups."""
        self._put(SESSIONS, session.sid, None)
        clientid = session.info.clientid
        self.ending.pop(clientid, None)  # to the end: the batches stay in order
        self.ending[clientid] = self.ticket
        for subscription in session.subscriptions.values():
            self.unsubscribed(session, subscription)
        for delivery in session.inflight.values():
            self.finished(delivery)
        queue = session.mqueue
        if queue is not None:
            for delivery in queue.items():
                self.finished(delivery)
            if queue.on_disk():
                self.orphans.append((session.sid, share))
                self.bell()
        for packet_id in session.awaiting_rel:
            self.released(session, packet_id)
        session.journal = None

    def ended(self, ticket: int) -> None:
        """The disk has everything up to this batch."""
        written = []
        for clientid, batch in self.ending.items():
            if batch > ticket:
                break
            written.append(clientid)
        for clientid in written:
            del self.ending[clientid]

    def session(self, session: Session) -> None:
        """Its connection, expiry or will has changed."""
        self._put(SESSIONS, session.sid, session)

    def subscribed(self, session: Session, subscription: Subscription) -> None:
        """A subscription is new or has new options."""
        if not subscription.key:
            subscription.key = f"{session.sid}:{self.next_key()}"
        self._put(SUBSCRIPTIONS, subscription.key, subscription)

    def unsubscribed(self, session: Session, subscription: Subscription) -> None:
        """A subscription is gone."""
        if subscription.key:
            self._put(SUBSCRIPTIONS, subscription.key, None)
            subscription.key = ""

    # -- messages to the client --------------------------------------------------------------------------------------

    def queued(self, session: Session, delivery: Delivery) -> None:
        """A session has taken a message, to send it now or later."""
        message: Message = delivery.message
        stored = message.stored
        if not isinstance(stored, Stored) or stored.ticket != self.ticket:
            self.number += 1
            stored = Stored(self.number, message, self.ticket)
            message.stored = stored
            self.rows[(MESSAGES, f"{stored.number:016x}")] = stored
        self.number += 1
        delivery.number = stored.number
        delivery.key = queue_key(session.sid, lane_of(message.topic, session.zone), self.number)
        self._put(QUEUE, delivery.key, delivery)

    def finished(self, delivery: Delivery) -> None:
        """A session is done with a message: it has arrived, or was dropped by rule."""
        if delivery.key:
            self._put(QUEUE, delivery.key, None)
            delivery.key = ""

    def forget(self, key: str) -> None:
        """A row of `queue` that nobody needs."""
        self._put(QUEUE, key, None)

    def sending(self, session: Session, delivery: Delivery) -> None:
        """A message is about to be sent for the first time. QoS 2 not before its identifier is safe, or the client
        could see it again under another one; QoS 1 may go, its DUP flag is a hint."""
        if not delivery.key:
            return
        self.rows[(QUEUE, delivery.key)] = delivery
        if delivery.qos == 2:
            self.count += 1
            if session.channel is not None:
                self.gate(session.channel)

    def received(self, delivery: Delivery) -> None:
        """The client has a QoS 2 message. Whoever sends PUBREL has to `gate` it, or a restart would repeat the PUBLISH
        to a client that has forgotten the identifier."""
        if delivery.key:
            if delivery.state == RELEASED:
                self.number += 1
                delivery.released = self.number
            self._put(QUEUE, delivery.key, delivery)

    # -- messages of the client --------------------------------------------------------------------------------------

    def awaits(self, session: Session, packet_id: int) -> None:
        """A QoS 2 message of the client's has been taken; its identifier is in use until PUBREL."""
        self._put(AWAITING, f"{session.sid}:{packet_id}", {})

    def released(self, session: Session, packet_id: int) -> None:
        """The identifier is free again."""
        self._put(AWAITING, f"{session.sid}:{packet_id}", None)

    def _put(self, table: str, key: str, row: object) -> None:
        self.rows[(table, key)] = row
        self.count += 1


def queue_key(sid: str, lane: int, number: int) -> str:
    """The key of a row of `queue`."""
    return f"{sid}:{lane:05x}:{number:016x}"
