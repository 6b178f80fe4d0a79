"""What the lanes of a bridge are made of."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from trioemqx.services.bridge.config import BridgeConfig, QueueSettings
from trioemqx.services.bridge.diskqueue import DiskQueue
from trioemqx.services.bridge.folder import QueueFolder
from trioemqx.services.bridge.lanequeue import Drop, LaneQueue
from trioemqx.services.bridge.memoryqueue import MemoryQueue


def client_ids(config: BridgeConfig) -> list[str]:
    """One for each lane. Two connections with the same one would push each other out."""
    lanes = range(config.pool_size)
    if config.append:
        token = secrets.token_hex(4)
        return [f"{config.clientid}_{token}{lane:02x}" for lane in lanes]
    return [config.clientid] if config.pool_size == 1 else [f"{config.clientid}_{lane}" for lane in lanes]


def make_queues(
    settings: QueueSettings, lanes: int, drop: Drop, ready: Callable[[], object]
) -> tuple[Sequence[LaneQueue], QueueFolder | None]:
    """The queues, and the folder they are in, which has to be opened. The limits are for all of them together."""
    if settings.folder is None:
        messages, size = (max(1, limit // lanes) for limit in (settings.max_messages, settings.max_bytes))
        return [MemoryQueue(messages, size, drop) for _ in range(lanes)], None
    share = max(1, settings.max_total_bytes // lanes)

    def make(folder: Path) -> DiskQueue:
        return DiskQueue(folder, settings.seg_bytes, share, settings.fsync, drop, ready)

    folder = QueueFolder(settings.folder, lanes, make)
    return folder.queues, folder
