"""States of a connection: `new -> authenticating -> connected`; a channel that is closing says so itself."""

from __future__ import annotations

from typing import Final

NEW: Final = 0
AUTHENTICATING: Final = 1
"""CONNECT has been read; CONNACK has not been sent."""
CONNECTED: Final = 2
