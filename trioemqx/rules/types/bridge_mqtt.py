"""`bridge_mqtt`: another broker that rules send messages to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from trioemqx.config.fields import parse_duration
from trioemqx.config.rules import RuleEngineConfig
from trioemqx.rules.types import tls_params
from trioemqx.services.bridge import Bridge, BridgeConfig, BridgeError, QueueSettings
from trioemqx.services.bridge.local import Subscribed
from trioemqx.services.mqttclient import MqttTls
from trioemqx.services.rulekit import (
    ParamsRefused,
    Resource,
    ResourceFailed,
    ResourceSetup,
    ResourceType,
    RuleParam,
    Words,
)
from trioemqx.types import Message

CONNECT_SECONDS: Final = 8.0
LOOK_SECONDS: Final = 2.0
"""What a connection that was just lost gets to come back before it counts as down."""
VERSIONS: Final = {"mqttv3": 3, "mqttv4": 4, "mqttv5": 5}
CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384,ECDHE-ECDSA-CHACHA20-POLY1305,"
    "ECDHE-RSA-CHACHA20-POLY1305,ECDHE-ECDSA-AES128-GCM-SHA256,ECDHE-RSA-AES128-GCM-SHA256"
)

PARAMS: Final = (
    RuleParam("address", required=True, default="127.0.0.1:1883", title=Words("Broker Address", "远程 Broker 地址"),
        description=Words("host:port of the other broker", "远程 Broker 的地址 host:port")),
    RuleParam("pool_size", "number", required=True, default=8, title=Words("Pool Size", "连接池大小"),
        description=Words("Connections; a topic always takes the same one", "连接数; 同一主题总是使用同一个连接")),
    RuleParam("clientid", required=True, default="client", title=Words("ClientId", "客户端 Id"),
        description=Words("Client identifier of the connections", "连接使用的客户端 Id")),
    RuleParam("append", "boolean", default=True, title=Words("Append GUID", "附加 GUID"),
        description=Words("Make the client identifiers unique", "使客户端 Id 唯一")),
    RuleParam("username", default="", title=Words("Username", "用户名"),
        description=Words("User name at the other broker", "在远程 Broker 的用户名")),
    RuleParam("password", "password", default="", title=Words("Password", "密码"),
        description=Words("Password at the other broker", "在远程 Broker 的密码")),
    RuleParam("mountpoint", default="bridge/aws/${node}/", title=Words("Bridge MountPoint", "桥接挂载点"),
        description=Words("Put in front of topics; ${node} is the node's name", "加在主题之前; ${node} 是节点名")),
    RuleParam("disk_cache", default="off", enum=("on", "off"), title=Words("Disk Cache", "磁盘缓存"),
        description=Words("Keep what waits on disk", "将等待发送的消息保存到磁盘")),
    RuleParam("proto_ver", default="mqttv4", enum=tuple(VERSIONS), title=Words("Protocol Version", "协议版本"),
        description=Words("MQTT version", "MQTT 协议版本")),
    RuleParam("keepalive", default="60s", title=Words("Keepalive", "心跳间隔"),
        description=Words("Keep alive of the connections", "连接的心跳间隔")),
    RuleParam("reconnect_interval", default="30s", title=Words("Reconnect Interval", "重连间隔"),
        description=Words("The longest time between two tries to connect", "两次重连之间的最长时间")),
    RuleParam("retry_interval", default="20s", title=Words("Retry interval", "重传间隔"),
        description=Words("When a message without acknowledgement is sent again", "未确认的消息的重传间隔")),
    RuleParam("bridge_mode", "boolean", default=False, title=Words("Bridge Mode", "桥接模式"),
        description=Words("Tell the other broker that this is a bridge", "告知远程 Broker 这是桥接连接")),
    RuleParam("ssl", "boolean", default=False, title=Words("Enable SSL", "开启 SSL"),
        description=Words("Connect with TLS", "使用 TLS 连接")),
    RuleParam("cacertfile", "file", default="etc/certs/cacert.pem", title=Words("CA certificates", "CA 证书"),
        description=tls_params.CACERTFILE),
    RuleParam("certfile", "file", default="etc/certs/client-cert.pem", title=Words("SSL Certfile", "SSL 客户端证书"),
        description=tls_params.CERTFILE),
    RuleParam("keyfile", "file", default="etc/certs/client-key.pem", title=Words("SSL Keyfile", "SSL 密钥文件"),
        description=tls_params.KEYFILE),
    RuleParam("ciphers", default=CIPHERS, title=Words("SSL Ciphers", "SSL 加密算法"),
        description=Words("OpenSSL's names, for TLS 1.2", "TLS 1.2 的加密算法 (OpenSSL 名称)")),
    *tls_params.VERIFY,
)  # fmt: skip
FILES: Final = {spec.name: spec.default for spec in PARAMS if spec.type == "file"}
"""The files of TLS, with their defaults."""
RPC_PARAMS: Final = (
    RuleParam("address", required=True, default="emqx2@127.0.0.1", title=Words("EMQX Node Name", "EMQX 节点名称"),
        description=Words("Name of the other node", "远程节点名称")),
    RuleParam("mountpoint", default="bridge/emqx/${node}/", title=Words("Bridge MountPoint", "桥接挂载点"),
        description=Words("Put in front of topics", "加在主题之前")),
    RuleParam("pool_size", "number", required=True, default=8, title=Words("Pool Size", "连接池大小"),
        description=Words("Connections", "连接数")),
    RuleParam("reconnect_interval", default="30s", title=Words("Reconnect Interval", "重连间隔"),
        description=Words("The time between two tries to connect", "两次重连之间的时间")),
    RuleParam("batch_size", "number", default=32, title=Words("Batch Size", "批处理大小"),
        description=Words("Messages of one call", "每次调用的消息数")),
    RuleParam("disk_cache", default="off", enum=("on", "off"), title=Words("Disk Cache", "磁盘缓存"),
        description=Words("Keep what waits on disk", "将等待发送的消息保存到磁盘")),
)  # fmt: skip


class BridgeHost(Protocol):
    """What a bridge needs of the rule engine."""

    @property
    def settings(self) -> RuleEngineConfig:
        """`[rule_engine]`"""

    @property
    def node(self) -> str:
        """`name@host`"""

    def publish(self, message: Message) -> int:
        """Publish a message."""

    def wall(self) -> float:
        """Unix seconds."""


class OurSide:
    """This side of a bridge that sends what rules hand to it, and nothing else."""

    def __init__(self, host: BridgeHost) -> None:
        self._host = host

    @property
    def node(self) -> str:
        """The node's name."""
        return self._host.node

    def publish(self, message: Message) -> int:
        """Publish here."""
        return self._host.publish(message)

    def subscribe(self, filter: str, call: Callable[[Message], object], qos: int = 2) -> Subscribed:
        """Rules decide what is sent; a filter cannot."""
        raise BridgeError(f"a bridge of the rule engine has no forwards: {filter!r:.80}", "forwards")


class BridgeResource(Resource):
    """The connections to another broker; `bridge` sends once it has been made."""

    def __init__(self, setup: ResourceSetup, host: BridgeHost) -> None:
        self.bridge: Bridge | None = None
        self._host = host
        self._name = setup.id
        self._config = _settings(setup, host.settings)
        self._made = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Serve, once it has been made."""
        await self._made.wait()
        if self.bridge is not None:
            await self.bridge.run()

    async def start(self) -> None:
        """Read the certificates, and wait for the first connection."""
        try:
            self.bridge = await trio.to_thread.run_sync(self._bridge)
            self._made.set()
            await self.bridge.ensure_started(CONNECT_SECONDS)
        except BridgeError as error:
            raise ResourceFailed(f"{self._config.address}: {error}") from error

    def _bridge(self) -> Bridge:
        wake = self._changed.unpark_all
        return Bridge(self._name, self._config, OurSide(self._host), wall=self._host.wall, changed=wake)

    async def alive(self) -> bool:
        """Whether there is a connection, or one comes soon."""
        bridge = self.bridge
        if bridge is None:
            return False
        with trio.move_on_after(LOOK_SECONDS):
            while not bridge.connected:
                await self._changed.park()
        return bridge.connected > 0

    async def close(self) -> None:
        """Send what is queued if that is quick, and disconnect."""
        if self.bridge is not None:
            await self.bridge.stop()


def _settings(setup: ResourceSetup, engine: RuleEngineConfig) -> BridgeConfig:
    """Raises ParamsRefused with the setting that cannot be."""
    config = setup.config
    pool_size = config.get("pool_size", 8)
    if not isinstance(pool_size, int):
        raise ParamsRefused("{invalid_value,pool_size}")
    username, password = config.get("username") or None, config.get("password") or None
    on_disk = config.get("disk_cache") == "on"
    queue = QueueSettings(engine.queue_size, engine.queue_bytes, setup.folder / "queue" if on_disk else None)
    try:
        return BridgeConfig(
            address=config["address"],
            clientid=config["clientid"],
            version=VERSIONS[config.get("proto_ver", "mqttv4")],
            pool_size=pool_size,
            append=config.get("append", True),
            username=username,
            password=password.encode() if password is not None and username is not None else None,
            keepalive=int(_seconds(config, "keepalive", "60s")),
            bridge_mode=config.get("bridge_mode", False),
            tls=_tls(config) if config.get("ssl") in (True, "on") else None,
            reconnect_interval=_seconds(config, "reconnect_interval", "30s"),
            retry_interval=_seconds(config, "retry_interval", "20s"),
            forward_mountpoint=config.get("mountpoint", ""),
            queue=queue,
        )
    except BridgeError as error:
        key = error.key.removeprefix("forward_") or "config"
        raise ParamsRefused(f"{{invalid_value,{key}}}") from error


def _seconds(config: Any, name: str, default: str) -> float:
    try:
        return parse_duration(config.get(name, default))
    except ValueError as error:
        raise ParamsRefused(f"{{invalid_duration,{name}}}") from error


def _tls(config: Any) -> MqttTls:
    authorities, certificate, key = (_file(config, name) for name in FILES)
    name = config.get("server_name_indication") or ""
    ciphers = tuple(word.strip() for word in str(config.get("ciphers", "")).split(",") if word.strip())
    return MqttTls(authorities, certificate, key, bool(config.get("verify")), name, ciphers)


def _file(config: Any, name: str) -> Path | None:
    """What is to be read. EMQX comes with files where the defaults point to, and this broker does not: a default that
    is not there is as good as none."""
    path = config.get(name)
    if not path or (path == FILES[name] and not Path(path).exists()):
        return None
    return Path(path)


def bridge_mqtt(host: BridgeHost) -> ResourceType:
    """The resource type."""
    return ResourceType(
        name="bridge_mqtt",
        make=lambda setup: BridgeResource(setup, host),
        params=PARAMS,
        title=Words("MQTT Bridge", "MQTT Bridge"),
        description=Words("Connections to another MQTT broker", "到另一个 MQTT Broker 的连接"),
        provider="emqx_bridge_mqtt",
    )


def _no_rpc(setup: ResourceSetup) -> Resource:
    """It links nodes of Erlang."""
    raise ParamsRefused('{not_supported,<<"bridge_rpc links nodes of Erlang: use bridge_mqtt">>}')


BRIDGE_RPC: Final = ResourceType(
    name="bridge_rpc",
    make=_no_rpc,
    params=RPC_PARAMS,
    title=Words("EMQX Bridge", "EMQX Bridge"),
    description=Words("Links nodes of Erlang; not available here", "连接 Erlang 节点; 此处不可用"),
    provider="emqx_bridge_mqtt",
)
