"""The settings, `[bridge.mqtt.<name>]` of etc/emqx.toml, and the bridges that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import attrs

from trioemqx.plugin import (
    BridgeConfig,
    BridgeError,
    ByteSize,
    Duration,
    MqttTls,
    QueuePath,
    QueueSettings,
    Secret,
    SettingError,
)

VERSIONS: Final = {"mqttv3": 3, "mqttv4": 4, "mqttv5": 5}
UNLIMITED: Final = 1000
"""Messages in flight where EMQX sets no limit: there has to be one."""
KEYS: Final = {
    "version": "proto_ver",
    "max_inflight": "max_inflight_size",
    "subscriptions": "subscription",
    "queue.seg_bytes": "queue.replayq_seg_bytes",
    "queue.max_total_bytes": "queue.max_total_size",
}
"""Names of a `BridgeConfig` that are others here."""


@attrs.frozen
class Subscription:
    """`[bridge.mqtt.<name>.subscription.<n>]`"""

    topic: str
    qos: int = 0


@attrs.frozen
class Queue:
    """`[bridge.mqtt.<name>.queue]`"""

    replayq_dir: QueuePath | None = None
    replayq_seg_bytes: ByteSize = 10 * 1024 * 1024
    max_total_size: ByteSize = 5 * 1024 * 1024 * 1024
    fsync: bool = False
    max_messages: int = 100_000
    max_bytes: ByteSize = 64 * 1024 * 1024

    def settings(self) -> QueueSettings:
        """Those of a bridge."""
        folder = self.replayq_dir if self.replayq_dir != Path() else None
        return QueueSettings(
            self.max_messages, self.max_bytes, folder, self.replayq_seg_bytes, self.max_total_size, self.fsync
        )


@attrs.frozen
class Settings:
    """`[bridge.mqtt.<name>]`"""

    address: str
    clientid: str
    proto_ver: Literal["mqttv3", "mqttv4", "mqttv5"] = "mqttv4"
    start_type: Literal["auto", "manual"] = "auto"
    bridge_mode: bool = False
    username: str = ""
    password: Secret = attrs.field(factory=Secret)
    clean_start: bool = True
    pool_size: int = 1
    forwards: tuple[str, ...] = ()
    forward_mountpoint: str = ""
    subscription: tuple[Subscription, ...] = ()
    receive_mountpoint: str = ""
    keepalive: Duration = 10.0
    reconnect_interval: Duration = 30.0
    retry_interval: Duration = 20.0
    connect_timeout: Duration = 10.0
    batch_size: int = 0
    max_inflight_size: int = 0
    max_packet_size: ByteSize = 1024 * 1024
    ssl: bool = False
    cacertfile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    verify: bool = False
    server_name_indication: str = ""
    ciphers: tuple[str, ...] = ()
    psk_ciphers: tuple[str, ...] = ()
    tls_versions: tuple[str, ...] = ("tlsv1.3", "tlsv1.2")
    queue: Queue = attrs.field(factory=Queue)

    def bridge(self) -> BridgeConfig:
        """The bridge. Raises BridgeError, whose key is one of a `BridgeConfig`."""
        if self.psk_ciphers:
            raise BridgeError("a bridge cannot use pre-shared keys; leave it out and use certificates", "psk_ciphers")
        return BridgeConfig(
            self.address,
            self.clientid,
            VERSIONS[self.proto_ver],
            self.pool_size,
            username=self.username or None,
            password=self.password.encode() if self.password else None,
            clean_start=self.clean_start,
            keepalive=int(self.keepalive),
            bridge_mode=self.bridge_mode,
            tls=self._tls() if self.ssl else None,
            connect_timeout=self.connect_timeout,
            reconnect_interval=self.reconnect_interval,
            retry_interval=self.retry_interval,
            max_inflight=self.max_inflight_size or UNLIMITED,
            max_packet_size=self.max_packet_size,
            forwards=self.forwards,
            forward_mountpoint=self.forward_mountpoint,
            subscriptions=tuple((each.topic, each.qos) for each in self.subscription),
            receive_mountpoint=self.receive_mountpoint,
            queue=self.queue.settings(),
        )

    def _tls(self) -> MqttTls:
        files = (self.cacertfile, self.certfile, self.keyfile)
        return MqttTls(*files, self.verify, self.server_name_indication, self.ciphers, self.tls_versions)


@attrs.frozen
class Config:
    """`[bridge]`; `bridges` are the parsed ones by name."""

    mqtt: dict[str, Settings] = attrs.field(factory=dict)
    """The bridges by name; the README of the plugin lists what each may have."""
    bridges: dict[str, BridgeConfig] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        bridges: dict[str, BridgeConfig] = {}
        for name, settings in self.mqtt.items():
            try:
                bridges[name] = settings.bridge()
            except BridgeError as error:
                key = KEYS.get(error.key, error.key)
                raise SettingError(str(error), "mqtt", name, *key.split(".")) from None
        folders = [bridge.queue.folder for bridge in bridges.values() if bridge.queue.folder is not None]
        if len({folder.absolute() for folder in folders}) < len(folders):
            raise SettingError("each bridge needs a queue.replayq_dir of its own", "mqtt")
        object.__setattr__(self, "bridges", bridges)
