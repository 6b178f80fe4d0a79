"""A subscription, and whoever receives its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioemqx.types import Message, SubOpts

if TYPE_CHECKING:
    from trioemqx.core.router import FilterEntry


class Receiver:
    """Anything a message can be delivered to: a session, or a callback of a plugin."""

    __slots__ = ("clientid",)

    def __init__(self, clientid: str) -> None:
        self.clientid = clientid

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """Take one message for one matching subscription. Never waits and never raises for a slow receiver."""
        raise NotImplementedError

    def deliver_run(self, run: bytes, count: int, v5: bool, subscription: Subscription) -> bool:
        """Take `count` QoS 0 PUBLISH frames of MQTT 5 (or 3) as they are; False when they must come one by one."""
        return False

    def connected(self) -> bool:
        """False for a session whose client is away; shared groups prefer members that are connected."""
        return True

    def lasts(self) -> bool:
        """Whether QoS 1 and 2 messages for it have to be written to the store."""
        return False

    def accepts(self) -> bool:
        """Whether a shared QoS 1 or 2 message would be sent at once (`shared_dispatch_ack_enabled`)."""
        return True


class Subscription:
    """One filter of one receiver. `filter` is the mounted inner filter, `group` the share group ("" = not shared,
    `$queue` for `$queue/...`), `name` what the client wrote. `entry` and `slot` belong to the router, `key` to the
    journal."""

    __slots__ = (
        "entry",
        "filter",
        "group",
        "identifier",
        "key",
        "name",
        "nl",
        "opts",
        "qos",
        "rap",
        "receiver",
        "slot",
    )

    def __init__(self, receiver: Receiver, filter: str, opts: SubOpts, group: str = "", name: str = "") -> None:
        self.receiver = receiver
        self.filter = filter
        self.group = group
        self.name = name or filter
        self.entry: FilterEntry | None = None
        self.slot = -1
        self.key = ""
        self.set(opts)

    def mounted(self) -> str:
        """The filter inside its mountpoint, with its share prefix; what `session.subscribed` tells."""
        if not self.group:
            return self.filter
        return f"$queue/{self.filter}" if self.group == "$queue" else f"$share/{self.group}/{self.filter}"

    def set(self, opts: SubOpts) -> None:
        """Take new options (a repeated SUBSCRIBE [MQTT-3.8.4-3]); the hot ones are copied out of `opts`."""
        self.opts = opts
        self.qos = opts.qos
        self.nl = opts.nl
        self.rap = opts.rap
        self.identifier = opts.identifier
