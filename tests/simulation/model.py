"""What must hold, whatever happens: written from the MQTT specification and the broker's durability contract.

The model knows only what clients know: what they sent and when, which acknowledgements reached them, what they
received. `seq` numbers these moments. A rule speaks of what is certain for the clients: a message counts as accepted
when its PUBACK or PUBREC has arrived, a subscription as made when its SUBACK has; what was under way when something
broke may have happened or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import attrs

from simulation.clients import Item

WILLS = "w"
RETAINED = "r"


@attrs.frozen
class Broken:
    """A rule that did not hold. `rule` is its name, `text` what happened."""

    rule: str
    text: str

    def __str__(self):
        return f"{self.rule}: {self.text}"


@attrs.define(eq=False)
class Epoch:
    """One session of a device, from the CONNACK that said it is new. `sure` while nothing has happened that may have
    ended it. `subscribed` maps filters to (seq of the SUBACK, QoS)."""

    device: object
    sure: bool = True
    subscribed: dict = attrs.field(factory=dict)
    received: list = attrs.field(factory=list)
    """(item, QoS, retain) in order."""
    crashed: bool = False
    """It was not to outlive the broker, and the broker has crashed."""


@attrs.define(eq=False)
class WillItem:
    """A will. `due` and `dismissed` are the seq at which its fate was certain, 0 = it is not."""

    topic: str
    payload: bytes
    number: int
    due: int = 0
    dismissed: int = 0


def matches(filter, topic):
    """[MQTT 4.7], written down once more."""
    words, levels = filter.split("/"), topic.split("/")
    for index, word in enumerate(words):
        if word == "#":
            return True
        if index >= len(levels) or (word != "+" and word != levels[index]):
            return False
    return len(words) == len(levels)


def group_of(filter):
    """(group, filter) of a shared subscription, ("", filter) otherwise."""
    if filter.startswith("$share/"):
        _, group, rest = filter.split("/", 2)
        return group, rest
    return "", filter


def item_qos(item):
    """The QoS with which a message was published; that of a will does not matter."""
    return item.qos if isinstance(item, Item) else 1


class Model:
    """Told by the devices; `problems` are the rules that did not hold."""

    def __init__(self, trace):
        self.problems = []
        self.items = {}
        self.wills = {}
        self.epochs = defaultdict(list)
        self.writes = defaultdict(list)
        """What was published to retained topics, in order."""
        self.seq = 0
        self.dropped = 0
        """What brokers have dropped by rule and counted."""
        self._maybe = set()
        """Devices whose session may exist though no CONNACK said so, or may be gone though nobody said so."""
        self._ended = defaultdict(int)
        """By device, when somebody may have ended its session."""
        self._trace = trace

    def broken(self, rule, text):
        """Note that a rule did not hold."""
        self._trace("BROKEN", rule, text)
        self.problems.append(Broken(rule, text))

    def tick(self):
        """The number of this moment."""
        self.seq += 1
        return self.seq

    # -- what devices tell -------------------------------------------------------------------------------------------

    def new_item(self, device, topic, number, qos, retain, payload):
        """A message that is going to be sent."""
        item = Item(device.name, topic, number, qos, retain, payload)
        if payload:
            self.items[payload] = item
        return item

    def sent(self, device, item):
        """For the first time."""
        item.first_sent = self.tick()
        if item.retain:
            self.writes[item.topic].append(item)

    def acked(self, device, item, ack):
        """PUBACK or PUBREC came."""
        if ack.code >= 0x80:
            item.refused = True
        else:
            item.acked = self.tick()

    def connecting(self, device, conn, clean):
        """A CONNECT leaves. With clean start the session before may end with it, unseen."""
        conn.clean = clean
        if clean:
            self.unsure(device)
        else:
            self._maybe.add(device)
        conn.began = self.tick()

    def connected(self, device, conn, present):
        """CONNACK without error."""
        epochs = self.epochs[device]
        if present:
            if conn.clean:
                self.broken("session", f"{device.name} asked for a clean session and got an old one [MQTT-3.2.2-2]")
            elif not epochs and device not in self._maybe:
                self.broken("session", f"{device.name} got a session it never had")
        elif epochs and epochs[-1].sure and device.spec.durable:
            self.broken("session", f"the session of {device.name} is lost")
        if not present or not epochs:
            if epochs:
                epochs[-1].sure = False
            epochs.append(Epoch(device))
        if conn.began > self._ended[device]:
            self._maybe.discard(device)
        else:  # what this CONNACK, which was under way, speaks of may be gone already
            epochs[-1].sure = False

    def unsure(self, device):
        """The session of this device may have ended."""
        self._ended[device] = self.tick()
        if self.epochs[device]:
            self.epochs[device][-1].sure = False
        self._maybe.add(device)

    def crashed(self):
        """The broker is gone, and with it every session that was not to outlive it."""
        for device, epochs in self.epochs.items():
            if epochs and not device.spec.durable:
                epochs[-1].crashed = True

    def subscribed(self, device, filter, qos):
        """SUBACK."""
        self.epochs[device][-1].subscribed[filter] = (self.tick(), qos)

    def window(self, device, conn):
        """[MQTT-3.3.4-9]"""
        if device.spec.version == 5 and len(conn.open) > device.spec.receive_maximum:
            self.broken(
                "window", f"{device.name} has {len(conn.open)} open, receive maximum {device.spec.receive_maximum}"
            )

    def will(self, device, number):
        """The will of a new connection."""
        will = WillItem(f"{WILLS}/{device.name}", f"will|{device.name}|{number}".encode(), number)
        self.wills[will.payload] = will
        return will

    def received(self, device, packet):
        """A message for the application: look at it alone; the rest is for the end."""
        epoch = self.epochs[device][-1] if self.epochs[device] else None
        if epoch is None:
            self.broken("order", f"{device.name} got PUBLISH before CONNACK [MQTT-3.2.0-1]")
            return
        item = self.items.get(packet.payload) or self.wills.get(packet.payload)
        if item is None or item.topic != packet.topic:
            self.broken("content", f"{device.name} got {packet.payload[:60]!r} on {packet.topic}, which nobody sent")
            return
        filters = [(f, q) for f, q in device.spec.filters if matches(group_of(f)[1], packet.topic)]
        if not filters:
            self.broken("content", f"{device.name} got {item}, for which it has no subscription")
            return
        if isinstance(item, Item):
            if not item.first_sent:
                self.broken("content", f"{device.name} got {item} before it was sent")
            if packet.qos > min(item.qos, max(q for _, q in filters)):
                self.broken("content", f"{device.name} got {item} with QoS {packet.qos}")
            if packet.retain and not item.retain:
                self.broken("content", f"{device.name} got {item} as retained")
        epoch.received.append((item, packet.qos, packet.retain))

    # -- the end -----------------------------------------------------------------------------------------------------

    def judge(self):
        """All rules about whole histories."""
        for epochs in self.epochs.values():
            for epoch in epochs:
                self._once(epoch)
                self._ordered(epoch)
        self._nothing_lost()
        self._groups()
        self._judge_wills()

    def _once(self, epoch):
        """QoS 2: exactly once means at most once here, per matching subscription [MQTT-4.3.3]."""
        counts = Counter((item, qos) for item, qos, retain in epoch.received if not retain)
        for (item, qos), count in counts.items():
            filters = [q for f, q in epoch.device.spec.filters if matches(group_of(f)[1], item.topic)]
            if (qos == 2 or item_qos(item) == 0) and count > len(filters):
                self.broken("once", f"{epoch.device.name} got {item} {count} times with QoS {qos}")

    def _ordered(self, epoch):
        """[MQTT-4.6.0-6], and across reconnects: first deliveries of a topic and publisher ascend within a QoS. A QoS 1
        message that its publisher has sent again is a new one [MQTT 4.3.2]: when the first copy was dropped by rule,
        or came before the subscription, the second may be the first to arrive."""
        newest = defaultdict(int)
        seen = set()
        shared = any(group_of(f)[0] for f, _ in epoch.device.spec.filters)
        for item, qos, retain in epoch.received:
            if not isinstance(item, Item) or retain or (item, qos) in seen or (shared and item.topic.startswith("s/")):
                continue
            seen.add((item, qos))
            key = (item.topic, item.qos, qos)
            sent_anew = item.qos == 1 and item.again and self._first_was_missed(epoch, item, qos)
            if item.number < newest[key] and not sent_anew:
                self.broken("order", f"{epoch.device.name} got {item} after number {newest[key]}")
            newest[key] = max(newest[key], item.number)

    def _first_was_missed(self, epoch, item, qos):
        """Whether the first copy of a message may not have come to a session: at QoS 0 it may be lost with the
        connection."""
        since = [seq for filter, (seq, _) in epoch.subscribed.items() if matches(group_of(filter)[1], item.topic)]
        return qos == 0 or bool(self.dropped) or not since or item.first_sent < max(since)

    def _current(self):
        """Sessions that must still be there, with all they are owed."""
        return [
            epochs[-1] for device, epochs in self.epochs.items() if epochs and epochs[-1].sure and device.spec.durable
        ]

    def _nothing_lost(self):
        """Acknowledged means delivered, to every lasting session that had subscribed before."""
        missing = []
        for epoch in self._current():
            got = {item for item, _, _ in epoch.received}
            for filter, (since, qos) in epoch.subscribed.items():
                if group_of(filter)[0] or qos == 0:
                    continue
                missing += [
                    f"{item}, acknowledged, never came to {epoch.device.name}"
                    for item in self.items.values()
                    if item.acked and item.first_sent > since and matches(filter, item.topic) and item not in got
                ]
        self._excuse(missing)

    def _excuse(self, missing):
        """The broker may drop by rule what it counts."""
        if len(missing) > self.dropped:
            for text in missing:
                self.broken("lost", text)

    def _groups(self):
        """A shared subscription gets each message in one of its members [MQTT5 4.8.2]. A member whose session was lost
        in a crash does not count: it waits for no commit, so it may have had what the publisher has to send again."""
        members = defaultdict(list)
        for device, epochs in self.epochs.items():
            for filter, _ in device.spec.filters:
                if group_of(filter)[0]:
                    members[filter].append(epochs)
        missing = []
        for filter, histories in members.items():
            steady = all(len(epochs) == 1 and epochs[0].sure and epochs[0].device.spec.durable for epochs in histories)
            counts = Counter()
            for epochs in histories:
                for epoch in epochs:
                    counts.update((item, qos) for item, qos, _ in epoch.received if not (qos == 2 and epoch.crashed))
            for item in self.items.values():
                if not matches(group_of(filter)[1], item.topic):
                    continue
                if counts[(item, 2)] > 1:
                    self.broken("once", f"{item} came {counts[(item, 2)]} times to the group {filter}")
                subscribed = [epochs[0].subscribed.get(filter) for epochs in histories]
                if not steady or any(entry is None or entry[1] == 0 for entry in subscribed):
                    continue
                since = max(seq for seq, _ in subscribed)
                if item.acked and item.first_sent > since and not sum(counts[(item, qos)] for qos in range(3)):
                    missing.append(f"{item}, acknowledged, never came to the group {filter}")
        self._excuse(missing)

    def _judge_wills(self):
        """A will comes when the connection broke, once, and not after DISCONNECT [MQTT-3.1.2-8, 3.1.2-10]."""
        for epochs in self.epochs.values():
            for epoch in epochs:
                for item, _, _ in epoch.received:
                    if isinstance(item, WillItem) and item.dismissed:
                        self.broken("will", f"{item.payload} was published after DISCONNECT")
        for epoch in self._current():
            got = {item for item, _, _ in epoch.received}
            for filter, (since, qos) in epoch.subscribed.items():
                for will in self.wills.values():
                    if will.due > since and qos and matches(filter, will.topic) and will not in got:
                        self._excuse([f"{will.payload}, due, never came to {epoch.device.name}"])

    def check_retained(self, found):
        """`found` maps topics to payloads of a probe that subscribed when all was quiet. A QoS 1 message that was sent
        again may have come after a later one."""
        for topic, writes in self.writes.items():
            last = max((index for index, item in enumerate(writes) if item.acked), default=-1)
            allowed = [item.payload for item in writes[max(0, last) :]]
            allowed += [item.payload for item in writes[: max(0, last)] if item.qos == 1 and item.again]
            payload = found.get(topic, b"")
            if payload not in allowed and not (last < 0 and payload == b""):
                item = self.items.get(payload)
                self.broken("retained", f"{topic} holds {item}, which is older than {writes[last]}, acknowledged")
