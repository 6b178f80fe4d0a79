"""How a bridge does."""

from __future__ import annotations

import attrs


@attrs.frozen
class BridgeStatus:
    """`connected` of `pool_size` connections are there; `error` is why one is not. `queued` messages
    wait, `in_flight` ones are sent and not acknowledged."""

    name: str
    started: bool
    connected: int
    pool_size: int
    error: str
    queued: int
    in_flight: int
    counters: dict[str, int]
