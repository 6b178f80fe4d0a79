"""The seam between nodes. The broker talks to nothing else across machines or processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import attrs
import trio

from trioemqx.errors import TrioemqxError


class NodeGone(TrioemqxError):
    """The node that was called is not there."""


@attrs.frozen
class Claim:
    """Who owns a client identifier, and the revision that the next compare-and-set must name."""

    owner: str
    revision: int


@attrs.frozen
class MemberEvent:
    """A node has joined (`up`) or left."""

    node: str
    up: bool


class ClusterEngine(Protocol):
    """What a cluster has to do for one node. `LocalEngine` is the cluster of one."""

    node: str
    handle: dict[str, Callable[[bytes], bytes]]
    """What other nodes' calls of an operation are answered with."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the engine's tasks; returns when the engine is lost for good."""

    def forward(self, node: str, pack: bytes) -> None:
        """Send packed messages to a node; never waits."""

    def broadcast(self, kind: str, data: bytes) -> None:
        """Tell every other node (route deltas, bans, configuration); never waits."""

    async def call(self, node: str, op: str, data: bytes, seconds: float) -> bytes:
        """Ask one node. Raises NodeGone at once when it is not there."""

    async def call_all(self, op: str, data: bytes, seconds: float) -> dict[str, bytes]:
        """Ask every node, this one included; answers by node name."""

    async def claim(self, clientid: str, expected: int | None) -> Claim:
        """Compare-and-set the ownership of a client identifier; the answer says who owns it now."""

    async def release(self, clientid: str, revision: int) -> None:
        """Give a client identifier back, unless it has been claimed by somebody else since `revision`."""

    def members(self) -> AsyncGenerator[MemberEvent, None]:
        """The nodes that are here, then every change."""
