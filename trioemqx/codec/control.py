"""The packets that are not per message. `Publish` and `Ack` are in `packets`.

`properties` is None when the packet has none, and always in MQTT 3. In MQTT 3 `code` and `codes` are return codes.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from trioemqx.codec.packets import Ack, Publish
from trioemqx.types import Properties, SubOpts


@attrs.define
class Will:
    """The message a server publishes when a client goes without DISCONNECT [MQTT5 3.1.2.5]."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None


@attrs.define
class Connect:
    """CONNECT [MQTT5 3.1]. `proto_ver` is 3, 4 or 5; the top bit of the level, which marks a bridge, is `is_bridge`.
    `keepalive` is seconds. An absent user name or password is None, an empty one is not."""

    proto_name: str = "MQTT"
    proto_ver: int = 4
    is_bridge: bool = False
    clean_start: bool = True
    keepalive: int = 0
    clientid: str = ""
    username: str | None = None
    password: bytes | None = attrs.field(default=None, repr=False)
    will: Will | None = None
    properties: Properties | None = None


@attrs.define
class Connack:
    """CONNACK [MQTT5 3.2]."""

    session_present: bool = False
    code: int = 0
    properties: Properties | None = None


@attrs.define
class Subscribe:
    """SUBSCRIBE [MQTT5 3.8]. The packet's Subscription Identifier is also in each `SubOpts.identifier`."""

    packet_id: int
    filters: list[tuple[str, SubOpts]]
    properties: Properties | None = None


@attrs.define
class Suback:
    """SUBACK [MQTT5 3.9]: one code per filter, in order."""

    packet_id: int
    codes: list[int]
    properties: Properties | None = None


@attrs.define
class Unsubscribe:
    """UNSUBSCRIBE [MQTT5 3.10]."""

    packet_id: int
    filters: list[str]
    properties: Properties | None = None


@attrs.define
class Unsuback:
    """UNSUBACK [MQTT5 3.11]: one code per filter in MQTT 5, none in MQTT 3."""

    packet_id: int
    codes: list[int] = attrs.field(factory=list)
    properties: Properties | None = None


@attrs.define
class Pingreq:
    """PINGREQ [MQTT5 3.12]."""


@attrs.define
class Pingresp:
    """PINGRESP [MQTT5 3.13]."""


@attrs.define
class Disconnect:
    """DISCONNECT [MQTT5 3.14]."""

    code: int = 0
    properties: Properties | None = None


@attrs.define
class Auth:
    """AUTH [MQTT5 3.15]."""

    code: int = 0
    properties: Properties | None = None


Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Ack
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
