"""The settings of a bridge, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from trioemqx.core.topics import is_wildcard, parse_filter, validate_filter
from trioemqx.errors import ProtocolError, TrioemqxError
from trioemqx.services.mqttclient import ClientOptions, MqttTls, ServerAddress

MAX_POOL: Final = 64
NODE: Final = "${node}"


class BridgeError(TrioemqxError):
    """A bridge cannot do what it was asked; one line. `key` is the setting at fault, if it is one."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


@attrs.frozen
class QueueSettings:
    """What may wait. Without `folder` it is in memory: `max_messages` and `max_bytes`, and the oldest are
    dropped. With one it is in files of about `seg_bytes`, together at most `max_total_bytes`; the oldest file is
    dropped. `fsync` makes them survive a power cut too, at the price of a flush of the disk for each batch."""

    max_messages: int = 100_000
    max_bytes: int = 64 * 1024 * 1024
    folder: Path | None = None
    seg_bytes: int = 10 * 1024 * 1024
    max_total_bytes: int = 5 * 1024 * 1024 * 1024
    fsync: bool = False


@attrs.frozen
class BridgeConfig:
    """One bridge. Times are seconds.

    `address` is `host:port`; `version` 3 (MQTT 3.1), 4 (3.1.1) or 5. `pool_size` connections share the messages that go
    out, by topic; `append` gives each a client identifier of its own that is unique, otherwise they are numbered when
    there are several. `forwards` are local filters; what matches goes to the other side under `forward_mountpoint`.
    `subscriptions` are (filter, QoS) there; what comes is published here under `receive_mountpoint`. `${node}` in a
    mountpoint is the node's name. `bridge_mode` sets the bridge bit in the protocol level of MQTT 3.

    After a connection was lost the next one is tried in a second, then after twice as long each time, at most
    `reconnect_interval`. Raises BridgeError for what cannot be.
    """

    address: str
    clientid: str
    version: int = 4
    pool_size: int = 1
    append: bool = False
    username: str | None = None
    password: bytes | None = attrs.field(default=None, repr=False)
    clean_start: bool = True
    keepalive: int = 60
    bridge_mode: bool = False
    tls: MqttTls | None = None
    connect_timeout: float = 10.0
    reconnect_interval: float = 30.0
    retry_interval: float = 20.0
    max_inflight: int = 32
    max_packet_size: int = 1024 * 1024
    session_expiry: int = 7200
    forwards: tuple[str, ...] = ()
    forward_mountpoint: str = ""
    subscriptions: tuple[tuple[str, int], ...] = ()
    receive_mountpoint: str = ""
    queue: QueueSettings = attrs.field(factory=QueueSettings)

    def __attrs_post_init__(self) -> None:
        try:
            ServerAddress.parse(self.address)
        except ValueError as error:
            raise BridgeError(str(error), "address") from None
        if not 1 <= self.pool_size <= MAX_POOL:
            raise BridgeError(f"expected 1 to {MAX_POOL}", "pool_size")
        if self.reconnect_interval <= 0:
            raise BridgeError("expected more than 0", "reconnect_interval")
        for name in ("max_messages", "max_bytes", "seg_bytes", "max_total_bytes"):
            if getattr(self.queue, name) <= 0:
                raise BridgeError("expected more than 0", f"queue.{name}")
        for key in ("forward_mountpoint", "receive_mountpoint"):
            if is_wildcard(getattr(self, key)) or "\0" in getattr(self, key):
                raise BridgeError("a mountpoint has no wildcards", key)
        for filter in self.forwards:
            check_filter(filter, "forwards")
        for filter, qos in self.subscriptions:
            check_filter(filter, "subscriptions")
            if qos not in (0, 1, 2):
                raise BridgeError(f"QoS {qos} of {filter!r:.80}: expected 0, 1 or 2", "subscriptions")
        self.options(self.clientid)

    def options(self, clientid: str) -> ClientOptions:
        """Those of one connection."""
        try:
            return ClientOptions(
                clientid,
                self.version,
                self.username,
                self.password,
                self.keepalive,
                self.clean_start,
                0 if self.clean_start else self.session_expiry,
                self.bridge_mode and self.version < 5,
                max_inflight=self.max_inflight,
                max_packet_size=self.max_packet_size,
                connect_timeout=self.connect_timeout,
                retry_interval=self.retry_interval,
            )
        except ValueError as error:
            key, _, text = str(error).partition(": ")
            raise BridgeError(text, key) from None


def check_filter(filter: str, key: str = "") -> None:
    """Raises BridgeError for what is no topic filter."""
    try:
        validate_filter(parse_filter(filter).filter)
    except ProtocolError as error:
        raise BridgeError(f"not a topic filter: {filter!r:.80}: {error.text}", key) from None


def mounted(mountpoint: str, topic: str) -> str:
    """A topic under a mountpoint, with exactly one `/` between them, as EMQX has it."""
    return f"{mountpoint.removesuffix('/')}/{topic.removeprefix('/')}" if mountpoint else topic
