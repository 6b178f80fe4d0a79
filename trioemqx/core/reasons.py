"""Reason codes that the core answers with, by their names in MQTT 5 [MQTT5 2.4].

They are the numbers of `errors.ReasonCode`, as constants that the compiler puts where they are used.
"""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x00
NO_SUBSCRIPTION_EXISTED: Final = 0x11
CONTINUE_AUTHENTICATION: Final = 0x18
RE_AUTHENTICATE: Final = 0x19
UNSPECIFIED_ERROR: Final = 0x80
PROTOCOL_ERROR: Final = 0x82
UNSUPPORTED_PROTOCOL_VERSION: Final = 0x84
CLIENT_IDENTIFIER_NOT_VALID: Final = 0x85
BAD_USERNAME_OR_PASSWORD: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
SERVER_BUSY: Final = 0x89
BAD_AUTHENTICATION_METHOD: Final = 0x8C
KEEPALIVE_TIMEOUT: Final = 0x8D
SESSION_TAKEN_OVER: Final = 0x8E
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
PACKET_IDENTIFIER_NOT_FOUND: Final = 0x92
PACKET_TOO_LARGE: Final = 0x95
QUOTA_EXCEEDED: Final = 0x97
ADMINISTRATIVE_ACTION: Final = 0x98
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0x9E
WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0xA2

FAILURES: Final = 0x80
"""Codes from here on say that something was not done."""
