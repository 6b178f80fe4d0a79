"""What every ClusterEngine has to do, run against each implementation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import pytest
import trio

from trioemqx.cluster.engine import ClusterEngine, MemberEvent, NodeGone
from trioemqx.cluster.local import LocalEngine

ENGINES: list[Callable[[], ClusterEngine]] = [lambda: LocalEngine("a@host")]


@pytest.fixture(params=ENGINES, ids=["local"])
def engine(request: pytest.FixtureRequest) -> ClusterEngine:
    return request.param()


async def test_a_claim_is_granted_to_whoever_names_the_last_revision(engine: ClusterEngine) -> None:
    first = await engine.claim("pump-1", None)
    assert first.owner == engine.node
    again = await engine.claim("pump-1", first.revision)
    assert again.revision > first.revision
    assert await engine.claim("pump-1", first.revision) == again, "an old revision gets the present claim"
    assert await engine.claim("pump-1", None) == again


async def test_a_released_client_identifier_can_be_claimed_anew(engine: ClusterEngine) -> None:
    first = await engine.claim("pump-1", None)
    await engine.release("pump-1", first.revision + 1)
    assert await engine.claim("pump-1", None) == first, "releasing another revision releases nothing"
    await engine.release("pump-1", first.revision)
    assert (await engine.claim("pump-1", None)).revision > first.revision


async def test_a_node_that_is_not_there_is_gone_at_once(engine: ClusterEngine, autojump_clock: object) -> None:
    start = trio.current_time()
    with pytest.raises(NodeGone):
        await engine.call("z@nowhere", "routes", b"", 15.0)
    assert trio.current_time() == start
    with pytest.raises(NodeGone):
        engine.forward("z@nowhere", b"pack")


async def test_calls_reach_the_handler_of_their_operation(engine: ClusterEngine) -> None:
    engine.handle["echo"] = lambda data: data[::-1]
    assert await engine.call(engine.node, "echo", b"abc", 1.0) == b"cba"
    assert await engine.call_all("echo", b"abc", 1.0) == {engine.node: b"cba"}


async def test_the_node_itself_is_a_member(engine: ClusterEngine) -> None:
    async with aclosing(engine.members()) as members:
        assert await anext(members) == MemberEvent(engine.node, True)
