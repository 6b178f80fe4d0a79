"""Reason codes, their EMQX names, and the errors that carry one to the edge.

A packet that breaks a rule raises here, deep in the codec or the core, and is turned into a CONNACK, a DISCONNECT or a
plain close by the channel, which alone knows the protocol version and the state of the connection.
"""

from __future__ import annotations

from enum import IntEnum


class ReasonCode(IntEnum):
    """MQTT 5 reason codes [MQTT5 2.4]. Several names share 0x00; `reason_name` gives EMQX's spelling."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USERNAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEPALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


# EMQX spells these three differently from the lower-cased member name.
_EMQX_SPELLING = {
    0x01: "granted_qos1",
    0x02: "granted_qos2",
    0x04: "disconnect_with_will_message",
    0x91: "packet_identifier_inuse",
}


def reason_name(code: int) -> str:
    """EMQX's name of a reason code, as used in hooks, logs and `shutdown_count`; unknown codes give `unknown_error`."""
    if code in _EMQX_SPELLING:
        return _EMQX_SPELLING[code]
    try:
        return ReasonCode(code).name.lower()
    except ValueError:
        return "unknown_error"


def connack_return_code(code: int) -> int:
    """The MQTT 3.1 / 3.1.1 CONNACK return code (0-5) that stands for an MQTT 5 reason code, as EMQX 4.4 maps them."""
    if code == 0:
        return 0
    if code <= 0x84:
        return 1
    if code == 0x85:
        return 2
    if code == 0x86:
        return 4
    if code in (0x87, 0x8A, 0x8C):
        return 5
    return 3


class TrioemqxError(Exception):
    """Base of every error this package raises on purpose."""


class PacketError(TrioemqxError):
    """A peer broke the protocol.

    `code` goes on the wire; `name` is EMQX's close reason (`frame_too_large`, `malformed_packet`, a reason-code name),
    counted in the listener's `shutdown_count`; the text says what was wrong, for logs and MQTT 5 Reason-Strings.
    """

    def __init__(self, code: int, text: str, name: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.name = name or reason_name(code)


class MalformedPacket(PacketError):
    """Bytes that cannot be read as a packet [MQTT5 4.13.1]. The code is 0x81 unless the length itself is refused."""

    def __init__(self, text: str, name: str = "malformed_packet", code: int = 0x81) -> None:
        super().__init__(code, text, name)


class ProtocolError(PacketError):
    """A well-formed packet that is not allowed here, with the reason code its clause demands."""


class ConfigError(TrioemqxError):
    """One line for the operator: `source` is `file:line` (or the environment variable), `key` the dotted path, `hint`
    the nearest valid key or what a value should look like."""

    def __init__(self, text: str, key: str = "", source: str = "", hint: str = "") -> None:
        where = f"{source}: " if source else ""
        what = f"{key}: " if key else ""
        advice = f" ({hint})" if hint else ""
        super().__init__(f"{where}{what}{text}{advice}")
        self.key = key
        self.source = source
        self.hint = hint


class ListenerError(TrioemqxError):
    """A listener could not be opened: port in use, address unknown, certificate unreadable."""


def crash_of(error: BaseException) -> BaseException:
    """What foreign code (a plugin's) raised, as a crash of that code: exceptions and SystemExit, alone or in groups.

    What is not its own is raised on: cancellation and KeyboardInterrupt, also from the inside of a group.
    """
    others: BaseException | None = error
    if isinstance(error, BaseExceptionGroup):
        others = error.split((Exception, SystemExit))[1]
    elif isinstance(error, (Exception, SystemExit)):
        others = None
    if others is not None:
        raise others
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
