"""Bridges: messages of this broker to another one, and its messages here.

A `Bridge` has lanes, one for each connection; a topic always takes the same lane, so its order is kept. Each lane has a
queue, in memory (`memoryqueue`) or on disk (`diskqueue`, on files of `segments`), that holds a message until the other
broker has acknowledged it. So a message arrives at least once.

Read `config`, `item`, `lanequeue`, `memoryqueue`, `lane`, `runner`, `bridge`; then the disk: `segments`, `records`,
`buffer`, `diskqueue`, `folder`.
"""

from __future__ import annotations

from trioemqx.services.bridge.bridge import Bridge
from trioemqx.services.bridge.config import BridgeConfig, BridgeError, QueueSettings
from trioemqx.services.bridge.counters import BridgeCounters
from trioemqx.services.bridge.local import Local
from trioemqx.services.bridge.status import BridgeStatus

__all__ = ["Bridge", "BridgeConfig", "BridgeCounters", "BridgeError", "BridgeStatus", "Local", "QueueSettings"]
