"""The cluster of one: every call is a function call, every claim a dictionary entry. Also the fake that tests use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import trio

from trioemqx.cluster.engine import Claim, MemberEvent, NodeGone


class LocalEngine:
    """`ClusterEngine` for a node that is alone."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.handle: dict[str, Callable[[bytes], bytes]] = {}
        self._claims: dict[str, Claim] = {}
        self._revision = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """A cluster of one has no tasks; it lasts as long as the node."""
        task_status.started()
        await trio.sleep_forever()

    def forward(self, node: str, pack: bytes) -> None:
        """Raises NodeGone: the route table of a single node names no other."""
        raise NodeGone(node)

    def broadcast(self, kind: str, data: bytes) -> None:
        """There is nobody else to tell."""

    async def call(self, node: str, op: str, data: bytes, seconds: float) -> bytes:
        """Call this node itself; any other is gone. An operation nobody handles raises KeyError."""
        await trio.lowlevel.checkpoint()
        if node != self.node:
            raise NodeGone(node)
        return self.handle[op](data)

    async def call_all(self, op: str, data: bytes, seconds: float) -> dict[str, bytes]:
        """The answer of this node."""
        return {self.node: await self.call(self.node, op, data, seconds)}

    async def claim(self, clientid: str, expected: int | None) -> Claim:
        """Take a client identifier if its revision is still `expected` (None: nobody has it)."""
        await trio.lowlevel.checkpoint()
        known = self._claims.get(clientid)
        if (None if known is None else known.revision) == expected:
            self._revision += 1
            known = self._claims[clientid] = Claim(self.node, self._revision)
        if known is None:
            raise NodeGone(clientid)
        return known

    async def release(self, clientid: str, revision: int) -> None:
        """Forget a claim that is still at `revision`."""
        await trio.lowlevel.checkpoint()
        known = self._claims.get(clientid)
        if known is not None and known.revision == revision:
            del self._claims[clientid]

    async def members(self) -> AsyncGenerator[MemberEvent, None]:
        """This node, and then nothing more for ever."""
        yield MemberEvent(self.node, True)
        await trio.sleep_forever()
