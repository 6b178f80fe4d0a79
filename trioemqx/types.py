"""The values everybody passes around: who a client is, what a message carries, how a subscription is set.

These are plain classes, not attrs ones, because the core makes one per message or reads one per delivery and this
module is compiled with it. Long, because they are one vocabulary that every layer imports.
"""

from __future__ import annotations

from itertools import count
from typing import Final

_SERIAL: Final = count()
"""Tells apart the messages of one millisecond."""

PUBLISH: Final = "publish"
SUBSCRIBE: Final = "subscribe"


PROPERTY_NAMES: Final = (
    "assigned_client_identifier",
    "authentication_data",
    "authentication_method",
    "content_type",
    "correlation_data",
    "maximum_packet_size",
    "maximum_qos",
    "message_expiry_interval",
    "payload_format_indicator",
    "reason_string",
    "receive_maximum",
    "request_problem_information",
    "request_response_information",
    "response_information",
    "response_topic",
    "retain_available",
    "server_keep_alive",
    "server_reference",
    "session_expiry_interval",
    "shared_subscription_available",
    "subscription_identifier",
    "subscription_identifier_available",
    "topic_alias",
    "topic_alias_maximum",
    "user_property",
    "wildcard_subscription_available",
    "will_delay_interval",
)


class Properties:
    """MQTT 5 properties of any packet [MQTT5 2.2.2]. An absent property is None; times are seconds.

    `user_property` is a list of (name, value) pairs in wire order. `subscription_identifier` is a list because a
    PUBLISH may carry several.
    """

    __slots__ = PROPERTY_NAMES

    def __init__(self) -> None:
        self.payload_format_indicator: int | None = None
        self.message_expiry_interval: int | None = None
        self.content_type: str | None = None
        self.response_topic: str | None = None
        self.correlation_data: bytes | None = None
        self.subscription_identifier: list[int] | None = None
        self.session_expiry_interval: int | None = None
        self.assigned_client_identifier: str | None = None
        self.server_keep_alive: int | None = None
        self.authentication_method: str | None = None
        self.authentication_data: bytes | None = None
        self.request_problem_information: int | None = None
        self.will_delay_interval: int | None = None
        self.request_response_information: int | None = None
        self.response_information: str | None = None
        self.server_reference: str | None = None
        self.reason_string: str | None = None
        self.receive_maximum: int | None = None
        self.topic_alias_maximum: int | None = None
        self.topic_alias: int | None = None
        self.maximum_qos: int | None = None
        self.retain_available: int | None = None
        self.user_property: list[tuple[str, str]] | None = None
        self.maximum_packet_size: int | None = None
        self.wildcard_subscription_available: int | None = None
        self.subscription_identifier_available: int | None = None
        self.shared_subscription_available: int | None = None

    def copy(self) -> Properties:
        """A shallow copy, so that a delivery can add its own identifier or expiry."""
        twin = Properties()
        for name in PROPERTY_NAMES:
            setattr(twin, name, getattr(self, name))
        return twin

    def as_dict(self) -> dict[str, object]:
        """The properties that are present, by their names here; for hooks, logs and the API."""
        found = {}
        for name in PROPERTY_NAMES:
            value: object = getattr(self, name)
            if value is not None:
                found[name] = value
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Properties) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"Properties({inside})"


class SubOpts:
    """How one subscription wants its messages [MQTT5 3.8.3.1]: qos 0-2, nl (No Local), rap (Retain As Published), rh
    (Retain Handling 0-2), and the Subscription Identifier (0 = none). A `client.subscribe` hook sets `deny` to have the
    filter refused with 0x80."""

    __slots__ = ("deny", "identifier", "nl", "qos", "rap", "rh")

    def __init__(self, qos: int = 0, nl: bool = False, rap: bool = False, rh: int = 0, identifier: int = 0) -> None:
        self.qos = qos
        self.nl = nl
        self.rap = rap
        self.rh = rh
        self.identifier = identifier
        self.deny = False

    def copy(self) -> SubOpts:
        """The same options, to be changed."""
        twin = SubOpts(self.qos, self.nl, self.rap, self.rh, self.identifier)
        twin.deny = self.deny
        return twin

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SubOpts)
            and self.qos == other.qos
            and self.nl == other.nl
            and self.rap == other.rap
            and self.rh == other.rh
            and self.identifier == other.identifier
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"SubOpts(qos={self.qos}, nl={self.nl}, rap={self.rap}, rh={self.rh}, identifier={self.identifier})"


class ClientInfo:
    """One client as hooks, access rules and the API see it. Everything here is known once CONNECT has been read.

    `peerhost` and `peerport` are the client's address (after a PROXY header), `sockport` the local port. `socktype` is
    `tcp`, `ssl` or `ws`. `connected_at` is milliseconds of wall time, `expiry_interval` and `keepalive` are seconds.
    `cn` and `dn` come from a client certificate or a PROXY v2 header. `extra` holds what authentication merged in.
    """

    __slots__ = (
        "anonymous",
        "clean_start",
        "clientid",
        "cn",
        "connected_at",
        "dn",
        "expiry_interval",
        "extra",
        "is_bridge",
        "is_superuser",
        "keepalive",
        "listener",
        "mountpoint",
        "peerhost",
        "peerport",
        "properties",
        "proto_name",
        "proto_ver",
        "receive_maximum",
        "said",
        "sockname",
        "sockport",
        "socktype",
        "username",
        "ws_cookie",
        "zone",
    )

    def __init__(
        self,
        clientid: str = "",
        username: str | None = None,
        peerhost: str = "",
        peerport: int = 0,
        sockname: str = "",
        sockport: int = 0,
        socktype: str = "tcp",
        listener: str = "",
        zone: str = "",
    ) -> None:
        self.clientid = clientid
        self.username = username
        self.peerhost = peerhost
        self.peerport = peerport
        self.sockname = sockname
        self.sockport = sockport
        self.socktype = socktype
        self.listener = listener
        self.zone = zone
        self.proto_name = "MQTT"
        self.proto_ver = 4
        self.keepalive = 0
        self.clean_start = True
        self.expiry_interval = 0
        self.receive_maximum = 65535
        self.is_bridge = False
        self.is_superuser = False
        self.anonymous = False
        self.mountpoint = ""
        self.properties: Properties | None = None
        self.said: Properties | None = None
        """Those of the SUBSCRIBE, UNSUBSCRIBE, PUBACK, PUBREC or DISCONNECT that hooks are called for."""
        self.cn: str | None = None
        self.dn: str | None = None
        self.ws_cookie: str | None = None
        self.connected_at = 0
        self.extra: dict[str, object] | None = None

    @property
    def peername(self) -> str:
        """`host:port` of the client, IPv6 hosts in brackets, as EMQX prints it in log lines."""
        host = f"[{self.peerhost}]" if ":" in self.peerhost else self.peerhost
        return f"{host}:{self.peerport}"

    def __repr__(self) -> str:
        return f"<ClientInfo {self.clientid!r} username={self.username!r} {self.peername} v{self.proto_ver}>"


class Message:
    """One published message on its way to its subscribers.

    `publisher` is the clientid, or a name such as `sys` or `http_api`. `received` is the broker's monotonic clock in
    seconds, `timestamp` wall time in milliseconds. `sys` marks messages of the broker itself, which are left out of the
    message counters. `retained` marks a delivery from the retained store. `headers` is free for hooks.

    A message that came in as a PUBLISH keeps the frame and cuts its payload out only when somebody asks, because most
    messages are forwarded as they came. `frame_v3` and `frame_v5` are the QoS 0 encodings, `head`/`tail` the parts
    around the packet identifier at QoS 1 and 2, all made once and shared by every receiver of that version.
    """

    __slots__ = (
        "_id",
        "_payload",
        "frame_v3",
        "frame_v5",
        "head_v3",
        "head_v5",
        "headers",
        "peerhost",
        "properties",
        "proto_ver",
        "publisher",
        "qos",
        "raw",
        "raw_at",
        "received",
        "retain",
        "retained",
        "stored",
        "sys",
        "tail_v5",
        "timestamp",
        "topic",
        "username",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes | None = None,
        qos: int = 0,
        retain: bool = False,
        publisher: str = "",
        properties: Properties | None = None,
        received: float = 0.0,
        timestamp: int = 0,
        sys: bool = False,
    ) -> None:
        self.topic = topic
        self._payload: bytes | None = payload
        self.qos = qos
        self.retain = retain
        self.publisher = publisher
        self.properties: Properties | None = properties
        self.received = received
        self.timestamp = timestamp
        self.sys = sys
        self.retained = False
        self.stored: object = None
        """The row that keeps it for sessions, while they need it."""
        self._id = ""
        self.username: str | None = None
        self.peerhost = ""
        self.proto_ver = 0
        self.headers: dict[str, object] | None = None
        self.raw = b""
        self.raw_at = 0
        self.frame_v3: bytes | None = None
        self.frame_v5: bytes | None = None
        self.head_v3: bytes | None = None
        self.head_v5: bytes | None = None
        self.tail_v5: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The application bytes, cut from the incoming frame on first use."""
        payload = self._payload
        if payload is None:
            payload = self._payload = self.raw[self.raw_at :]
        return payload

    @property
    def id(self) -> str:
        """A 32-digit hexadecimal, time-ordered identifier, like EMQX's 128-bit message id; made on first use."""
        if not self._id:
            self._id = f"{self.timestamp * 1000:016X}{next(_SERIAL) & 0xFFFFFFFFFFFFFFFF:016X}"
        return self._id

    def copy(self, topic: str | None = None, payload: bytes | None = None) -> Message:
        """The same message without its shared encodings, for a hook that wants to change it: with another topic or
        payload where one is given."""
        twin = Message(
            self.topic if topic is None else topic,
            self.payload if payload is None else payload,
            self.qos,
            self.retain,
            self.publisher,
            self.properties,
            self.received,
            self.timestamp,
        )
        twin.sys = self.sys
        twin.retained = self.retained
        twin.username = self.username
        twin.peerhost = self.peerhost
        twin.proto_ver = self.proto_ver
        twin.headers = dict(self.headers) if self.headers is not None else None
        return twin

    def with_qos(self, qos: int) -> Message:
        """The message as one receiver gets it: itself, or a copy with that receiver's QoS."""
        if self.qos == qos:
            return self
        twin = self.copy()
        twin.qos = qos
        return twin

    def __repr__(self) -> str:
        return f"<Message {self.topic!r} qos={self.qos} retain={self.retain} from={self.publisher!r}>"


class Credentials:
    """What a client brought to prove who it is. An absent password is None and is not the same as an empty one; the
    representation never shows it."""

    __slots__ = ("password", "username")

    def __init__(self, username: str | None, password: bytes | None) -> None:
        self.username = username
        self.password = password

    def __repr__(self) -> str:
        return f"<Credentials username={self.username!r} password={'absent' if self.password is None else '******'}>"


class Verdict:
    """What authentication decided. `code` 0 admits, any other reason code refuses with it."""

    __slots__ = ("anonymous", "code", "extra", "is_superuser", "mountpoint")

    def __init__(
        self,
        code: int = 0,
        is_superuser: bool = False,
        mountpoint: str | None = None,
        anonymous: bool = False,
        extra: dict[str, object] | None = None,
    ) -> None:
        self.code = code
        self.is_superuser = is_superuser
        self.mountpoint: str | None = mountpoint
        self.anonymous = anonymous
        self.extra: dict[str, object] | None = extra

    @property
    def allowed(self) -> bool:
        """True when the client may come in."""
        return self.code == 0

    def __repr__(self) -> str:
        return f"Verdict(code=0x{self.code:02x}, is_superuser={self.is_superuser}, anonymous={self.anonymous})"
