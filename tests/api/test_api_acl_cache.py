"""The caches of access decisions, all at once."""

from __future__ import annotations

import pytest

from trioemqx.hookspecs import hookimpl
from trioemqx.testing import TestBroker
from trioemqx.types import ClientInfo


class Rules:
    """Lets everybody, or nobody."""

    allow = True

    @hookimpl
    def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool:
        return self.allow


@pytest.mark.parametrize("path", ["/acl-cache", "/nodes/{node}/acl-cache", "/node/{node}/acl-cache"])
async def test_decisions_are_made_anew(broker: TestBroker, path: str) -> None:
    """DELETE /acl-cache, DELETE /nodes/{node}/acl-cache and DELETE /node/{node}/acl-cache"""
    rules = Rules()
    broker.node.hooks.register(rules, "rules")
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c")
    await client.publish("t", b"one", qos=1)
    assert await watcher.message() == ("t", b"one")
    rules.allow = False
    await client.publish("t", b"two", qos=1)
    assert await watcher.message() == ("t", b"two"), "the decision is remembered"
    assert broker.node.broker.acl_cache("c") != []
    assert (await broker.api("DELETE", path.format(node=broker.node.node))).json() == {"code": 0}
    assert broker.node.broker.acl_cache("c") == []
    await client.publish("t", b"three", qos=1)
    assert await watcher.nothing()


async def test_nobody_knows_the_node(broker: TestBroker) -> None:
    for path in ("/nodes/x@y/acl-cache", "/node/x@y/acl-cache", "/nodes/%00/acl-cache"):
        assert (await broker.api("DELETE", path)).status == 404


async def test_the_index_has_it_as_emqx_has(broker: TestBroker) -> None:
    listed = [row["path"] for row in (await broker.api("GET", "/")).data if "acl-cache" in row["path"]]
    assert sorted(listed) == ["/acl-cache", "nodes/:node/acl-cache"]
