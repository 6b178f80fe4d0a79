"""How to connect: where to, as whom, and what may be in flight."""

from __future__ import annotations

import ssl
import warnings
from typing import Final

import attrs

from trioemqx.codec.control import Connect, Will
from trioemqx.services.http import HttpTls
from trioemqx.types import Properties

_TLS_VERSIONS: Final = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
MAX_FLIGHT: Final = 65_535
"""Packet identifiers there are."""


@attrs.frozen
class ServerAddress:
    """`host:port`. IPv6 hosts stand in brackets, the port may be left out."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int = 1883) -> ServerAddress:
        """Raises ValueError with what is wrong."""
        if "@" in text:
            raise ValueError(f"{text!r:.80} names a node; write the address of its MQTT listener, host:port")
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
        if not host:
            host, port = text, ""
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not inner or (inner == host and ":" in host) or not host.isprintable() or set(host) & set(" /"):
            raise ValueError(f"{text!r:.80} is no address; it should look like host:port or [ipv6]:port")
        if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
            raise ValueError(f"{text!r:.80}: a port is a number from 1 to 65535")
        return cls(inner, int(port) if port else default_port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class MqttTls(HttpTls):
    """TLS by EMQX's names. `ciphers` are OpenSSL's names, for TLS 1.2 and older. Versions below `tlsv1.2` are only used
    when they are named."""

    ciphers: tuple[str, ...] = ()
    tls_versions: tuple[str, ...] = ("tlsv1.3", "tlsv1.2")

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises ValueError with one line that names the key."""
        context = super().context()
        unknown = [name for name in self.tls_versions if name not in _TLS_VERSIONS]
        if unknown or not self.tls_versions:
            raise ValueError(f"tls_versions: {', '.join(unknown) or 'empty'} (known: {', '.join(_TLS_VERSIONS)})")
        with warnings.catch_warnings():
            # Python warns about versions that are old; the operator named them on purpose.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = min(_TLS_VERSIONS[name] for name in self.tls_versions)
            context.maximum_version = max(_TLS_VERSIONS[name] for name in self.tls_versions)
        names = [name for name in self.ciphers if not name.startswith("TLS_")]  # those of TLS 1.3 are all on
        if names:
            try:
                context.set_ciphers(":".join(names))
            except ssl.SSLError:
                raise ValueError(f"ciphers: none of {', '.join(names)} is known to {ssl.OPENSSL_VERSION}") from None
        return context


@attrs.frozen
class ClientOptions:
    """One client. `version` is 3 (MQTT 3.1), 4 (3.1.1) or 5. Times are seconds, sizes bytes.

    `is_bridge` sets the top bit of the protocol level, which servers such as EMQX and mosquitto take for a bridge: it
    gets RETAIN as it was published. `session_expiry` and `receive_maximum` are told to MQTT 5 servers. `max_inflight`
    bounds QoS 1 and 2 messages that are not acknowledged, `max_packet_size` what may come in. `connect_timeout` is for
    everything until CONNACK. `retry_interval`: after so long without an acknowledgement a message is sent again in
    MQTT 3; MQTT 5 does not allow that [MQTT-4.4.0-1], so there a server that acknowledges nothing for so long is left.
    0 switches that off. Raises ValueError for what no CONNECT can say.
    """

    clientid: str = ""
    version: int = 4
    username: str | None = None
    password: bytes | None = attrs.field(default=None, repr=False)
    keepalive: int = 60
    clean_start: bool = True
    session_expiry: int = 0
    is_bridge: bool = False
    will: Will | None = None
    receive_maximum: int = 100
    max_inflight: int = 32
    max_packet_size: int = 1024 * 1024
    connect_timeout: float = 10.0
    retry_interval: float = 20.0

    def __attrs_post_init__(self) -> None:
        if self.version not in (3, 4, 5):
            raise ValueError(f"version: expected 3, 4 or 5, got {self.version}")
        for name, low, high in (
            ("keepalive", 0, 0xFFFF),
            ("session_expiry", 0, 0xFFFF_FFFF),
            ("receive_maximum", 1, 0xFFFF),
            ("max_inflight", 1, MAX_FLIGHT),
            ("max_packet_size", 16, 0xFFFF_FFFF),
            ("retry_interval", 0, float("inf")),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: expected {low} to {high:g}, got {getattr(self, name)}")
        if self.connect_timeout <= 0:
            raise ValueError("connect_timeout: expected more than 0")
        if self.password is not None and self.username is None and self.version < 5:
            raise ValueError("password: MQTT 3 allows none without a username")  # [MQTT-3.1.2-22]
        if not self.clientid and not self.clean_start and self.version < 5:
            raise ValueError("clientid: MQTT 3 needs one when clean_start is false")  # [MQTT-3.1.3-8]

    def connect_packet(self) -> Connect:
        """The CONNECT for these options."""
        properties: Properties | None = None
        if self.version == 5:
            properties = Properties()
            properties.receive_maximum = self.receive_maximum
            properties.maximum_packet_size = self.max_packet_size
            if self.session_expiry:
                properties.session_expiry_interval = self.session_expiry
        return Connect(
            "MQIsdp" if self.version == 3 else "MQTT",
            self.version,
            self.is_bridge,
            self.clean_start,
            self.keepalive,
            self.clientid,
            self.username,
            self.password,
            self.will,
            properties,
        )
